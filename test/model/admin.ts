/**
 * What the policies of administrators say about a packet, read from their API's documentation alone (network-policy-api.sigs.k8s.io,
 * the fields of v1alpha1 and v1alpha2): tier by tier, rule by rule, with no line of the product's. NetworkPolicies stand between the
 * two tiers, by their own model.
 */
import {
  blockContains,
  idOf,
  judge,
  labelsOfNamespace,
  namespaceOf,
  portsNamed,
  selects,
  type Cluster as KubernetesCluster,
  type Labels,
  type LabelSelector,
  type Pod,
  type Protocol,
} from './networkpolicy.js';
import type { End, Probe } from './probes.js';

export interface NamespacedPods {
  namespaces?: LabelSelector;
  pods?: { namespaceSelector?: LabelSelector; podSelector: LabelSelector };
}

export interface Peer extends NamespacedPods {
  nodes?: LabelSelector;
  networks?: string[];
}

export interface Numbers {
  number?: number;
  range?: { start: number; end: number };
}

/** v1alpha2. */
export interface ProtocolMatch {
  tcp?: { destinationPort: Numbers };
  udp?: { destinationPort: Numbers };
  sctp?: { destinationPort: Numbers };
  destinationNamedPort?: string;
}

/** v1alpha1. */
export interface PortMatch {
  portNumber?: { protocol?: Protocol; port: number };
  portRange?: { protocol?: Protocol; start: number; end: number };
  namedPort?: string;
}

export interface Rule {
  action: 'Accept' | 'Allow' | 'Deny' | 'Pass';
  from?: Peer[];
  to?: Peer[];
  protocols?: ProtocolMatch[];
  ports?: PortMatch[];
}

export interface AdminPolicy {
  apiVersion: string;
  kind: 'ClusterNetworkPolicy' | 'AdminNetworkPolicy' | 'BaselineAdminNetworkPolicy';
  metadata: { name: string };
  spec: {
    tier?: 'Admin' | 'Baseline';
    priority?: number;
    subject: NamespacedPods;
    ingress?: Rule[];
    egress?: Rule[];
  };
}

export interface Node {
  apiVersion: 'v1';
  kind: 'Node';
  metadata: { name: string; labels: Labels };
  status: { addresses: { type: 'InternalIP'; address: string }[] };
}

export interface Cluster extends KubernetesCluster {
  nodes: Node[];
  admin: AdminPolicy[];
}

export interface Expectation {
  verdict: 'ALLOWED' | 'DENIED' | 'UNKNOWN';
  direction: Direction | null;
  /** Cilium's drop reason: 133 where a NetworkPolicy isolates and no rule allows, 181 where a rule denies. */
  reason: 133 | 181 | null;
  /** 'name rule' of what allows or denies, or 'namespace/name' of what isolates. */
  deciders: string[];
}

type Direction = 'ingress' | 'egress';

/** Who stands at the other end. Host-network pods are left out, so that a node is nothing but a node. */
interface Other {
  pod: Pod | null;
  node: Node | null;
  address: string;
}

type Ruling =
  | { says: 'allow' | 'deny' | 'pass'; rules: string[] }
  /** Policies with one priority differ: "the implementation can apply any of the matching policies". */
  | { says: 'undefined' }
  | null;

type Side = { says: 'allow' | 'deny'; rules: string[] } | { says: 'isolated'; by: string[] } | { says: 'undefined' };

const UNKNOWN: Expectation = { verdict: 'UNKNOWN', direction: null, reason: null, deciders: [] };

export function decide(cluster: Cluster, probe: Probe): Expectation {
  const from = otherAt(cluster, probe.from);
  const to = otherAt(cluster, probe.to);
  const egress = from.pod && sideOf(cluster, 'egress', from.pod, to, from, probe);
  const ingress = to.pod && sideOf(cluster, 'ingress', to.pod, from, to, probe);
  if (egress?.says === 'undefined' || ingress?.says === 'undefined') return UNKNOWN;
  for (const [direction, side] of [
    ['egress', egress],
    ['ingress', ingress],
  ] as const) {
    if (side?.says === 'deny') return { verdict: 'DENIED', direction, reason: 181, deciders: side.rules };
    if (side?.says === 'isolated') return { verdict: 'DENIED', direction, reason: 133, deciders: side.by };
  }
  const rules = [egress, ingress].flatMap((side) => (side?.says === 'allow' ? side.rules : []));
  return { verdict: 'ALLOWED', direction: null, reason: null, deciders: rules };
}

/**
 * "Policy tiers are evaluated in the following order: Admin tier, NetworkPolicy tier, Baseline tier." A NetworkPolicy "always makes a
 * final decision for selected pods". Without any decision, "all pods can communicate with each other".
 */
function sideOf(cluster: Cluster, direction: Direction, subject: Pod, other: Other, self: Other, probe: Probe): Side {
  if (tellsNodesApart(cluster, direction, subject, other)) return { says: 'undefined' };
  const admin = ask(cluster, 'Admin', direction, subject, other, probe);
  if (admin?.says === 'undefined') return { says: 'undefined' };
  if (admin && admin.says !== 'pass') return { says: admin.says, rules: admin.rules };

  const ends = { subject: { pod: subject, address: self.address }, other: partyOf(other) };
  const packet =
    direction === 'egress'
      ? { source: ends.subject, destination: ends.other, protocol: probe.protocol, port: probe.port }
      : { source: ends.other, destination: ends.subject, protocol: probe.protocol, port: probe.port };
  const kubernetes = judge(cluster, direction === 'egress' ? 'Egress' : 'Ingress', packet, {
    ipBlockMatchesPods: false,
  });
  if (kubernetes.isolatedBy.length > 0) {
    // "Traffic to and from the node where a Pod is running is always allowed."
    if (direction === 'ingress' && other.node?.metadata.name === subject.spec.nodeName)
      return { says: 'allow', rules: kubernetes.allowedBy };
    if (kubernetes.allowedBy.length > 0) return { says: 'allow', rules: kubernetes.allowedBy };
    return { says: 'isolated', by: kubernetes.isolatedBy };
  }
  const baseline = ask(cluster, 'Baseline', direction, subject, other, probe);
  if (baseline?.says === 'undefined') return { says: 'undefined' };
  return baseline && baseline.says !== 'pass'
    ? { says: baseline.says, rules: baseline.rules }
    : { says: 'allow', rules: [] };
}

/** A NetworkPolicy's blocks are for what is no node of the cluster. */
const partyOf = ({ pod, node, address }: Other): { pod: Pod | null; address: string | null } => ({
  pod,
  address: node ? null : address,
});

const tierOf = ({ kind, spec }: AdminPolicy): string =>
  kind === 'ClusterNetworkPolicy' ? (spec.tier ?? '') : kind === 'AdminNetworkPolicy' ? 'Admin' : 'Baseline';

/** "Policies with lower priority values have higher precedence"; in a policy, "a rule that appears at the top". */
function ask(cluster: Cluster, tier: string, direction: Direction, subject: Pod, other: Other, probe: Probe): Ruling {
  const policies = cluster.admin.filter(
    (policy) => tierOf(policy) === tier && podsMatch(cluster, policy.spec.subject, subject),
  );
  const priorities = [...new Set(policies.map(({ spec }) => spec.priority ?? 0))].sort((a, b) => a - b);
  for (const priority of priorities) {
    const rulings = policies
      .filter(({ spec }) => (spec.priority ?? 0) === priority)
      .flatMap((policy) => {
        const rules = policy.spec[direction] ?? [];
        const index = rules.findIndex(
          (rule) =>
            (rule.from ?? rule.to ?? []).some((peer) => peerMatches(cluster, peer, other)) &&
            portsMatch(rule, probe, direction === 'egress' ? other.pod : subject),
        );
        const { action } = rules[index] ?? {};
        if (!action) return [];
        const says = action === 'Deny' ? 'deny' : action === 'Pass' ? 'pass' : 'allow';
        return [{ says, rule: `/${policy.metadata.name} ${direction}[${index}]` } as const];
      });
    if (new Set(rulings.map(({ says }) => says)).size > 1) return { says: 'undefined' };
    const [first] = rulings;
    if (first) return { says: first.says, rules: rulings.map(({ rule }) => rule) };
  }
  return null;
}

/** "Namespaces defines a way to select all pods within a set of Namespaces", "Pods … a set of pods in a set of namespaces". */
function podsMatch(cluster: Cluster, { namespaces, pods }: NamespacedPods, pod: Pod): boolean {
  const labels = labelsOfNamespace(cluster, namespaceOf(pod));
  if (namespaces) return selects(namespaces, labels);
  return (
    pods !== undefined &&
    selects(pods.namespaceSelector ?? {}, labels) &&
    selects(pods.podSelector, pod.metadata.labels ?? {})
  );
}

/** "Networks … cluster-internal traffic will be checked against the rule as well." */
function peerMatches(cluster: Cluster, peer: Peer, { pod, node, address }: Other): boolean {
  if (peer.networks) return peer.networks.some((cidr) => blockContains({ cidr }, address));
  if (peer.nodes) return node !== null && selects(peer.nodes, node.metadata.labels);
  return pod !== null && podsMatch(cluster, peer, pod);
}

/**
 * The product has one identity for all nodes but the pod's own: where a rule of the pod is about some of the nodes and not others, it
 * answers about a node that it does not know.
 */
function tellsNodesApart(cluster: Cluster, direction: Direction, subject: Pod, other: Other): boolean {
  if (!other.node) return false;
  const peers = cluster.admin
    .filter(({ spec }) => podsMatch(cluster, spec.subject, subject))
    .flatMap(({ spec }) => (spec[direction] ?? []).flatMap((rule) => rule.from ?? rule.to ?? []));
  const groups = peers.flatMap((peer): Peer[] => peer.networks?.map((network) => ({ networks: [network] })) ?? [peer]);
  return groups.some((peer) => {
    const matched = cluster.nodes.map((node) =>
      peerMatches(cluster, peer, { pod: null, node, address: addressOf(node) }),
    );
    return matched.includes(true) && matched.includes(false);
  });
}

function portsMatch({ protocols, ports }: Rule, { protocol, port }: Probe, destination: Pod | null): boolean {
  const named = (name: string): boolean => portsNamed(name, protocol, destination).includes(port);
  const within = ({ start, end }: { start: number; end: number }): boolean => start <= port && port <= end;
  if (protocols)
    return protocols.some(({ tcp, udp, sctp, destinationNamedPort }) => {
      if (destinationNamedPort !== undefined) return named(destinationNamedPort);
      const match = { TCP: tcp, UDP: udp, SCTP: sctp }[protocol];
      if (!match) return false;
      const { number, range } = match.destinationPort;
      return range ? within(range) : number === port;
    });
  if (!ports) return true;
  return ports.some(({ portNumber, portRange, namedPort }) => {
    if (namedPort !== undefined) return named(namedPort);
    if (portRange) return (portRange.protocol ?? 'TCP') === protocol && within(portRange);
    return portNumber !== undefined && (portNumber.protocol ?? 'TCP') === protocol && portNumber.port === port;
  });
}

const addressOf = ({ status }: Node): string => status.addresses[0]!.address;

function otherAt(cluster: Cluster, end: End): Other {
  if ('node' in end) {
    const node = cluster.nodes.find(({ metadata }) => metadata.name === end.node)!;
    return { pod: null, node, address: addressOf(node) };
  }
  const pod = cluster.pods.find((one) => ('pod' in end ? idOf(one) === end.pod : one.status?.podIP === end.ip)) ?? null;
  return { pod, node: null, address: 'ip' in end ? end.ip : (pod?.status?.podIP ?? '') };
}
