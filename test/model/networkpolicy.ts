/**
 * What Kubernetes says about a packet, read straight from its API reference (networking.k8s.io/v1 NetworkPolicy,
 * meta/v1 LabelSelector) and from nothing else: it shares no line with the product, so the two can only agree by both
 * being right. Brute force throughout; a reader should be able to hold each function against one paragraph of the spec.
 *
 * Objects are taken as the API server would accept them. A field that is null is one that is absent.
 */

type Optional<T> = T | null | undefined;

export type Labels = Record<string, string>;
export type Protocol = 'TCP' | 'UDP' | 'SCTP';
export type PolicyType = 'Ingress' | 'Egress';

export interface ObjectMeta {
  name: string;
  namespace?: Optional<string>;
  labels?: Optional<Labels>;
}

export interface Namespace {
  apiVersion: 'v1';
  kind: 'Namespace';
  metadata: ObjectMeta;
}

export interface ContainerPort {
  containerPort: number;
  name?: Optional<string>;
  protocol?: Optional<Protocol>;
}

export interface Container {
  name: string;
  image?: string;
  ports?: Optional<ContainerPort[]>;
}

export interface Pod {
  apiVersion: 'v1';
  kind: 'Pod';
  metadata: ObjectMeta;
  spec: { nodeName?: string; serviceAccountName?: string; containers: Container[] };
  status?: Optional<{ phase?: string; podIP?: Optional<string> }>;
}

export interface LabelSelectorRequirement {
  key: string;
  operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  values?: Optional<string[]>;
}

export interface LabelSelector {
  matchLabels?: Optional<Labels>;
  matchExpressions?: Optional<LabelSelectorRequirement[]>;
}

export interface IPBlock {
  cidr: string;
  except?: Optional<string[]>;
}

export interface NetworkPolicyPeer {
  podSelector?: Optional<LabelSelector>;
  namespaceSelector?: Optional<LabelSelector>;
  ipBlock?: Optional<IPBlock>;
}

export interface NetworkPolicyPort {
  protocol?: Optional<Protocol>;
  port?: Optional<number | string>;
  endPort?: Optional<number>;
}

export interface NetworkPolicyIngressRule {
  from?: Optional<NetworkPolicyPeer[]>;
  ports?: Optional<NetworkPolicyPort[]>;
}

export interface NetworkPolicyEgressRule {
  to?: Optional<NetworkPolicyPeer[]>;
  ports?: Optional<NetworkPolicyPort[]>;
}

export interface NetworkPolicySpec {
  podSelector?: Optional<LabelSelector>;
  policyTypes?: Optional<PolicyType[]>;
  ingress?: Optional<NetworkPolicyIngressRule[]>;
  egress?: Optional<NetworkPolicyEgressRule[]>;
}

export interface NetworkPolicy {
  apiVersion: 'networking.k8s.io/v1';
  kind: 'NetworkPolicy';
  metadata: ObjectMeta;
  spec: NetworkPolicySpec;
}

export interface Cluster {
  namespaces: Namespace[];
  pods: Pod[];
  policies: NetworkPolicy[];
}

/** One end of a packet: a pod by 'namespace/name', or an IPv4 address, which is a pod's if a pod reports it. */
export type End = { pod: string } | { ip: string };

/** A first packet of a flow; replies follow the flow and are never judged. At least one end is a pod. */
export interface Probe {
  from: End;
  to: End;
  protocol: Protocol;
  port: number;
}

export interface Options {
  /**
   * Kubernetes leaves open whether an ipBlock covers pods ("These should be cluster-external IPs, since Pod IPs are
   * ephemeral and unpredictable"): its own tests say yes, Cilium says no.
   */
  ipBlockMatchesPods: boolean;
}

export interface Expectation {
  allowed: boolean;
  /** The first side that refuses; egress is judged first. */
  refusedAt: 'egress' | 'ingress' | null;
  /** 'namespace/name' of every policy that isolates the refusing side, sorted; empty when allowed. */
  isolatedBy: string[];
  /**
   * 'namespace/name ingress[0]' of every rule that allows, sorted; empty for a side that is not isolated, that refuses,
   * or that is not judged since egress has refused already.
   */
  allowedBy: { egress: string[]; ingress: string[] };
}

/** An end once it is known whether a pod stands behind it. */
export interface Party {
  pod: Pod | null;
  address: string | null;
}

/** A packet with both its ends known. */
export interface Packet {
  source: Party;
  destination: Party;
  protocol: Protocol;
  port: number;
}

/** Ingress and egress rules differ only in what their list of peers is called. */
interface Rule {
  peers: Optional<NetworkPolicyPeer[]>;
  ports: Optional<NetworkPolicyPort[]>;
}

/** What one side of the connection says: it refuses if something isolates it and nothing allows. */
export interface Judgement {
  isolatedBy: string[];
  allowedBy: string[];
}

/**
 * "For a connection from a source pod to a destination pod to be allowed, both the egress policy on the source pod and
 * the ingress policy on the destination pod need to allow the connection" (Concepts, Network Policies).
 */
export function decide(cluster: Cluster, probe: Probe, options: Options): Expectation {
  const packet: Packet = {
    source: partyAt(cluster, probe.from),
    destination: partyAt(cluster, probe.to),
    protocol: probe.protocol,
    port: probe.port,
  };
  // "A Pod cannot block access to itself" (Concepts, Network Policies).
  if (packet.source.pod !== null && packet.source.pod === packet.destination.pod) return allowed([], []);

  const egress = judge(cluster, 'Egress', packet, options);
  if (refuses(egress)) return refused('egress', egress, []);
  const ingress = judge(cluster, 'Ingress', packet, options);
  if (refuses(ingress)) return refused('ingress', ingress, egress.allowedBy);
  return allowed(egress.allowedBy, ingress.allowedBy);
}

function allowed(egress: string[], ingress: string[]): Expectation {
  return { allowed: true, refusedAt: null, isolatedBy: [], allowedBy: { egress, ingress } };
}

function refused(side: 'egress' | 'ingress', judgement: Judgement, egress: string[]): Expectation {
  return { allowed: false, refusedAt: side, isolatedBy: judgement.isolatedBy, allowedBy: { egress, ingress: [] } };
}

function refuses(judgement: Judgement): boolean {
  return judgement.isolatedBy.length > 0 && judgement.allowedBy.length === 0;
}

/** "Network policies do not conflict; they are additive": every policy that isolates the pod is asked, each rule of it. */
export function judge(cluster: Cluster, direction: PolicyType, packet: Packet, options: Options): Judgement {
  const subject = direction === 'Egress' ? packet.source : packet.destination;
  const other = direction === 'Egress' ? packet.destination : packet.source;
  const pod = subject.pod;
  if (pod === null) return { isolatedBy: [], allowedBy: [] };

  const isolating = cluster.policies.filter((policy) => isolates(policy, direction, pod));
  const allowing = isolating.flatMap((policy) =>
    rulesOf(policy, direction).flatMap((rule, index) =>
      ruleMatches(cluster, policy, rule, other, packet, options)
        ? [`${idOf(policy)} ${direction.toLowerCase()}[${index}]`]
        : [],
    ),
  );
  return { isolatedBy: isolating.map(idOf).sort(), allowedBy: allowing.sort() };
}

/** A pod is isolated in a direction by any policy of its own namespace that selects it and has the direction's type. */
function isolates(policy: NetworkPolicy, direction: PolicyType, pod: Pod): boolean {
  return (
    namespaceOf(policy) === namespaceOf(pod) &&
    selects(policy.spec.podSelector ?? {}, pod.metadata.labels ?? {}) &&
    policyTypesOf(policy).includes(direction)
  );
}

/**
 * spec.policyTypes: "If this field is not specified, it will default based on the existence of ingress or egress rules;
 * policies that contain an egress section are assumed to affect egress, and all policies (whether or not they contain
 * an ingress section) are assumed to affect ingress." An egress section without a rule does not count, as the text
 * goes on to say: to deny all egress "you must specify a policyTypes value that include Egress".
 */
function policyTypesOf(policy: NetworkPolicy): PolicyType[] {
  const { policyTypes, egress } = policy.spec;
  if (policyTypes != null && policyTypes.length > 0) return policyTypes;
  return egress != null && egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
}

function rulesOf(policy: NetworkPolicy, direction: PolicyType): Rule[] {
  return direction === 'Ingress'
    ? (policy.spec.ingress ?? []).map((rule) => ({ peers: rule.from, ports: rule.ports }))
    : (policy.spec.egress ?? []).map((rule) => ({ peers: rule.to, ports: rule.ports }));
}

/** "The traffic must match both ports and from"; either list, "if this field is empty or missing", matches everything. */
function ruleMatches(
  cluster: Cluster,
  policy: NetworkPolicy,
  rule: Rule,
  other: Party,
  packet: Packet,
  options: Options,
): boolean {
  const peers = rule.peers ?? [];
  const ports = rule.ports ?? [];
  return (
    (peers.length === 0 || peers.some((peer) => peerMatches(cluster, policy, peer, other, options))) &&
    (ports.length === 0 || ports.some((port) => portMatches(port, packet)))
  );
}

/**
 * NetworkPolicyPeer, in the order of its fields:
 * 1. ipBlock: "If this field is set then neither of the other fields can be."
 * 2. podSelector alone: "the pods matching podSelector in the policy's own namespace".
 * 3. namespaceSelector alone: "all pods in the namespaces selected by namespaceSelector".
 * 4. both: "the pods matching podSelector in the namespaces selected by namespaceSelector".
 */
function peerMatches(
  cluster: Cluster,
  policy: NetworkPolicy,
  peer: NetworkPolicyPeer,
  other: Party,
  options: Options,
): boolean {
  const { ipBlock, podSelector, namespaceSelector } = peer;
  if (ipBlock != null) {
    if (other.pod !== null && !options.ipBlockMatchesPods) return false;
    return other.address !== null && blockContains(ipBlock, other.address);
  }
  if (podSelector == null && namespaceSelector == null) throw new Error(`${idOf(policy)}: a peer must not be empty`);
  if (other.pod === null) return false;

  const inNamespace =
    namespaceSelector == null
      ? namespaceOf(other.pod) === namespaceOf(policy)
      : selects(namespaceSelector, labelsOfNamespace(cluster, namespaceOf(other.pod)));
  return inNamespace && selects(podSelector ?? {}, other.pod.metadata.labels ?? {});
}

/**
 * NetworkPolicyPort:
 * - protocol: "If not specified, this field defaults to TCP."
 * - port: "a numerical or named port on a pod. If this field is not provided, this matches all port names and numbers."
 *   A port is always the destination's, so a name is one of the pod the packet goes to, in both directions.
 * - endPort: "the range of ports from port to endPort if set, inclusive".
 */
function portMatches(wanted: NetworkPolicyPort, packet: Packet): boolean {
  if ((wanted.protocol ?? 'TCP') !== packet.protocol) return false;
  if (wanted.port == null) return true;
  if (typeof wanted.port === 'string') {
    return portsNamed(wanted.port, packet.protocol, packet.destination.pod).includes(packet.port);
  }
  return wanted.port <= packet.port && packet.port <= (wanted.endPort ?? wanted.port);
}

/** The numbers a pod gives a port name, for one protocol; something that is not a pod names no ports. */
export function portsNamed(name: string, protocol: Protocol, pod: Pod | null): number[] {
  return (pod?.spec.containers ?? [])
    .flatMap((container) => container.ports ?? [])
    .filter((port) => port.name === name && (port.protocol ?? 'TCP') === protocol)
    .map((port) => port.containerPort);
}

/** LabelSelector: "matchLabels and matchExpressions are ANDed. An empty label selector matches all objects." */
export function selects(selector: LabelSelector, labels: Labels): boolean {
  return (
    Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value) &&
    (selector.matchExpressions ?? []).every((requirement) => requirementHolds(requirement, labels))
  );
}

/** "NotIn" and "DoesNotExist" hold for an absent key (Concepts, Labels and Selectors, set-based requirement). */
export function requirementHolds(requirement: LabelSelectorRequirement, labels: Labels): boolean {
  const value = labels[requirement.key];
  const values = requirement.values ?? [];
  switch (requirement.operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    default:
      throw new Error(`no such operator: ${String(requirement.operator)}`);
  }
}

/** "The Kubernetes control plane sets an immutable label kubernetes.io/metadata.name on all namespaces", known or not. */
export function labelsOfNamespace(cluster: Cluster, name: string): Labels {
  const object = cluster.namespaces.find((namespace) => namespace.metadata.name === name);
  return { ...object?.metadata.labels, 'kubernetes.io/metadata.name': name };
}

/** IPBlock: the cidr, less "CIDRs that should not be included within this rule". */
export function blockContains(block: IPBlock, address: string): boolean {
  return cidrContains(block.cidr, address) && !(block.except ?? []).some((hole) => cidrContains(hole, address));
}

/** Bits of the CIDR's address below its length do not count, so '192.168.1.1/24' is '192.168.1.0/24'. IPv4 only. */
export function cidrContains(cidr: string, address: string): boolean {
  const { first, last } = rangeOf(cidr);
  const number = numberOf(address);
  return first <= number && number <= last;
}

/** The first and the last address of an IPv4 CIDR. */
export function rangeOf(cidr: string): { first: number; last: number } {
  const [base = '', length = ''] = cidr.split('/');
  if (!/^\d+$/.test(length) || Number(length) > 32) throw new Error(`not an IPv4 CIDR: ${cidr}`);
  const size = 2 ** (32 - Number(length));
  const first = Math.floor(numberOf(base) / size) * size;
  return { first, last: first + size - 1 };
}

/** An IPv4 address as a whole number from 0 to 2³² − 1. */
export function numberOf(address: string): number {
  const bytes = address.split('.').map(Number);
  if (bytes.length !== 4 || bytes.some((byte) => !Number.isInteger(byte) || byte < 0 || byte > 255)) {
    throw new Error(`not an IPv4 address: ${address}`);
  }
  return bytes.reduce((number, byte) => number * 256 + byte, 0);
}

function partyAt(cluster: Cluster, end: End): Party {
  if ('ip' in end) {
    return { pod: cluster.pods.find((pod) => pod.status?.podIP === end.ip) ?? null, address: end.ip };
  }
  const pod = cluster.pods.find((candidate) => idOf(candidate) === end.pod);
  if (pod === undefined) throw new Error(`no such pod: ${end.pod}`);
  return { pod, address: pod.status?.podIP ?? null };
}

/** 'namespace/name'. */
export function idOf(object: Pod | NetworkPolicy): string {
  return `${namespaceOf(object)}/${object.metadata.name}`;
}

/** An object that names no namespace is created in 'default'. */
export function namespaceOf(object: Pod | NetworkPolicy): string {
  return object.metadata.namespace ?? 'default';
}
