/**
 * What Cilium says about a packet, read from its documentation alone (docs.cilium.io: Network Policy, "Layer 3", "Layer 4",
 * "Layer 7", "Deny Policies", "Policy Enforcement Modes"; the API reference of cilium.io/v2): brute force over every rule, with no
 * line of the product's. NetworkPolicies hold beside, by their own model.
 */
import {
  blockContains,
  idOf,
  judge,
  labelsOfNamespace,
  namespaceOf,
  portsNamed,
  requirementHolds,
  type Cluster as KubernetesCluster,
  type LabelSelector,
  type Labels,
  type ObjectMeta,
  type Pod,
  type Protocol,
} from './networkpolicy.js';

export interface CidrRule {
  cidr?: string;
  except?: string[];
  cidrGroupRef?: string;
  cidrGroupSelector?: LabelSelector;
}

export interface HttpRule {
  method?: string;
  path?: string;
  host?: string;
  headers?: string[];
}

export interface PortRule {
  ports: { port: string; endPort?: number; protocol?: Protocol | 'ANY' }[];
  rules?: { http: HttpRule[] };
}

/** Rules of all four lists; which fields one may have depends on the list. */
export interface Rule {
  fromEndpoints?: LabelSelector[];
  fromEntities?: string[];
  fromCIDR?: string[];
  fromCIDRSet?: CidrRule[];
  toEndpoints?: LabelSelector[];
  toEntities?: string[];
  toCIDR?: string[];
  toCIDRSet?: CidrRule[];
  toPorts?: PortRule[];
}

export interface Spec {
  endpointSelector: LabelSelector;
  ingress?: Rule[];
  ingressDeny?: Rule[];
  egress?: Rule[];
  egressDeny?: Rule[];
  enableDefaultDeny?: { ingress?: boolean; egress?: boolean };
}

export interface CiliumPolicy {
  apiVersion: 'cilium.io/v2';
  kind: 'CiliumNetworkPolicy' | 'CiliumClusterwideNetworkPolicy';
  metadata: ObjectMeta;
  spec?: Spec;
  specs?: Spec[];
}

export interface CidrGroup {
  apiVersion: 'cilium.io/v2';
  kind: 'CiliumCIDRGroup';
  metadata: ObjectMeta;
  spec: { externalCIDRs: string[] };
}

export interface Cluster extends KubernetesCluster {
  cilium: CiliumPolicy[];
  groups: CidrGroup[];
}

export type End = { pod: string } | { ip: string } | { node: string };

export interface Request {
  method: string;
  path: string;
  host: string;
  headers: Record<string, string>;
}

export interface Probe {
  from: End;
  to: End;
  protocol: Protocol;
  port: number;
  http: Request | null;
}

export interface Expectation {
  verdict: 'ALLOWED' | 'DENIED' | 'CONDITIONAL';
  direction: Direction | null;
  /** Cilium's drop reason: 133 where no rule allows, 181 where one denies. */
  reason: 133 | 181 | null;
  /** Of the HTTP request. */
  status: 200 | 403 | null;
  /** 'namespace/name' of what isolates, or 'namespace/name rule' of what allows or denies; null where it does not matter. */
  deciders: string[] | null;
}

type Direction = 'ingress' | 'egress';

/** Who stands at the other end, as a policy of the subject sees it. */
type Peer = { kind: 'pod'; pod: Pod } | { kind: 'host' } | { kind: 'remote-node' } | { kind: 'world'; address: string };

type L7 = 'allows' | 'refuses' | 'untold';

interface Side {
  isolatedBy: string[];
  allowedBy: { name: string; l7: L7 }[];
  deniedBy: string[];
}

export function decide(cluster: Cluster, probe: Probe): Expectation {
  const sender = podOf(cluster, probe.from);
  const receiver = podOf(cluster, probe.to);
  const egress = sender && sideOf(cluster, 'egress', sender, peerOf(cluster, probe.to, sender), probe);
  const ingress = receiver && sideOf(cluster, 'ingress', receiver, peerOf(cluster, probe.from, receiver), probe);

  let untold = false;
  // The sender's proxy answers the client before anything of it is on its way to the receiver.
  for (const [direction, side] of [
    ['egress', egress],
    ['ingress', ingress],
  ] as const) {
    if (!side) continue;
    // "Deny policies take precedence over allow policies."
    if (side.deniedBy.length > 0) return denied(direction, 181, side.deniedBy);
    if (side.isolatedBy.length > 0 && side.allowedBy.length === 0) return denied(direction, 133, side.isolatedBy);
    const rules = side.allowedBy;
    if (rules.length === 0 || rules.some(({ l7 }) => l7 === 'allows')) continue;
    // The node itself is always let in, past the proxy's rules.
    if (direction === 'ingress' && receiver && peerOf(cluster, probe.from, receiver).kind === 'host') continue;
    if (rules.every(({ l7 }) => l7 === 'refuses')) {
      const names = rules.map(({ name }) => name);
      return { ...denied(direction, 133, names), status: probe.http ? 403 : null };
    }
    untold = true;
  }
  if (untold) return { verdict: 'CONDITIONAL', direction: null, reason: null, status: null, deciders: null };
  const allowing = [...(egress?.allowedBy ?? []), ...(ingress?.allowedBy ?? [])].map(({ name }) => name);
  return { verdict: 'ALLOWED', direction: null, reason: null, status: probe.http ? 200 : null, deciders: allowing };
}

const denied = (direction: Direction, reason: 133 | 181, deciders: string[]): Expectation => ({
  verdict: 'DENIED',
  direction,
  reason,
  status: null,
  deciders,
});

/** Everything that policies of either language say at one end. */
function sideOf(cluster: Cluster, direction: Direction, subject: Pod, peer: Peer, probe: Probe): Side {
  const destination = direction === 'ingress' ? subject : peer.kind === 'pod' ? peer.pod : null;
  const side: Side = { isolatedBy: [], allowedBy: [], deniedBy: [] };

  const selecting = cluster.cilium.flatMap((policy) =>
    specsOf(policy)
      .filter(({ spec }) => isAbout(cluster, policy, spec, subject))
      .map((one) => ({ policy, ...one })),
  );
  for (const { policy, spec, path } of selecting) {
    if (isolates(spec, direction)) side.isolatedBy.push(nameOf(policy));
    for (const deny of [false, true]) {
      const list = deny ? (`${direction}Deny` as const) : direction;
      (spec[list] ?? []).forEach((rule, index) => {
        if (!peerMatches(cluster, policy, rule, direction, peer)) return;
        const name = `${nameOf(policy)} ${path}${list}[${index}]`;
        for (const l7 of portMatches(rule, probe, destination)) {
          if (deny) side.deniedBy.push(name);
          else side.allowedBy.push({ name, l7 });
        }
      });
    }
  }
  // "The local host is always let in" (allow-localhost), whatever isolates.
  if (direction === 'ingress' && peer.kind === 'host') side.isolatedBy = [];

  const party = peer.kind === 'pod' ? { pod: peer.pod, address: null } : { pod: null, address: addressOf(peer) };
  const subjectParty = { pod: subject, address: null };
  const packet =
    direction === 'egress'
      ? { source: subjectParty, destination: party, protocol: probe.protocol, port: probe.port }
      : { source: party, destination: subjectParty, protocol: probe.protocol, port: probe.port };
  const kubernetes = judge(cluster, direction === 'egress' ? 'Egress' : 'Ingress', packet, {
    ipBlockMatchesPods: false,
  });
  if (direction === 'egress' || peer.kind !== 'host') side.isolatedBy.push(...kubernetes.isolatedBy);
  side.allowedBy.push(...kubernetes.allowedBy.map((name): Side['allowedBy'][number] => ({ name, l7: 'allows' })));
  return side;
}

/** An address that no block of a NetworkPolicy holds stands for a node. */
const addressOf = (peer: Peer): string | null => (peer.kind === 'world' ? peer.address : null);

/** `spec`, then `specs`. */
const specsOf = ({ spec, specs }: CiliumPolicy): { spec: Spec; path: string }[] => [
  ...(spec ? [{ spec, path: '' }] : []),
  ...(specs ?? []).map((one, index) => ({ spec: one, path: `specs[${index}].` })),
];

const nameOf = ({ metadata }: CiliumPolicy): string => `${metadata.namespace ?? ''}/${metadata.name}`;

/** A CiliumNetworkPolicy is about pods of its own namespace, whatever its selector says of namespaces. */
function isAbout(cluster: Cluster, policy: CiliumPolicy, { endpointSelector }: Spec, pod: Pod): boolean {
  if (policy.kind === 'CiliumClusterwideNetworkPolicy') return selects(endpointSelector, labelsOf(cluster, pod));
  if (namespaceOf(pod) !== policy.metadata.namespace) return false;
  const isNamespace = (key: string): boolean => bare(key) === NAMESPACE;
  const { matchLabels, matchExpressions } = endpointSelector;
  return selects(
    {
      matchLabels: Object.fromEntries(Object.entries(matchLabels ?? {}).filter(([key]) => !isNamespace(key))),
      matchExpressions: (matchExpressions ?? []).filter(({ key }) => !isNamespace(key)),
    },
    labelsOf(cluster, pod),
  );
}

/** enableDefaultDeny: "If not specified, the default is true for each traffic direction that has rules, and false otherwise." */
function isolates(spec: Spec, direction: Direction): boolean {
  const rules = direction === 'ingress' ? [spec.ingress, spec.ingressDeny] : [spec.egress, spec.egressDeny];
  return spec.enableDefaultDeny?.[direction] ?? rules.some((list) => (list?.length ?? 0) > 0);
}

const NAMESPACE = 'io.kubernetes.pod.namespace';
const NAMESPACE_LABELS = 'io.cilium.k8s.namespace.labels.';

const bare = (key: string): string => key.replace(/^(any|k8s|reserved):/, '');
const sourceOf = (key: string): string => /^(any|k8s|reserved):/.exec(key)?.[1] ?? 'any';

/** The labels of an endpoint's identity, each with its source. */
function labelsOf(cluster: Cluster, pod: Pod): Labels {
  const namespace = namespaceOf(pod);
  const own = Object.entries(pod.metadata.labels ?? {});
  const ofNamespace = Object.entries(labelsOfNamespace(cluster, namespace)).map(
    ([key, value]) => [NAMESPACE_LABELS + key, value] as const,
  );
  const derived = [
    [NAMESPACE, namespace],
    ['io.cilium.k8s.policy.serviceaccount', pod.spec.serviceAccountName ?? 'default'],
    ['io.cilium.k8s.policy.cluster', 'default'],
  ] as const;
  return Object.fromEntries([...own, ...ofNamespace, ...derived].map(([key, value]) => [`k8s:${key}`, value]));
}

/** A key without a source, or of source `any`, is of any source. */
function selects({ matchLabels, matchExpressions }: LabelSelector, labels: Labels): boolean {
  const requirements = [
    ...Object.entries(matchLabels ?? {}).map(([key, value]) => ({ key, operator: 'In' as const, values: [value] })),
    ...(matchExpressions ?? []),
  ];
  return requirements.every((requirement) => {
    const seen = Object.entries(labels).filter(
      ([key]) =>
        bare(key) === bare(requirement.key) &&
        (sourceOf(requirement.key) === 'any' || sourceOf(key) === sourceOf(requirement.key)),
    );
    return requirementHolds(requirement, Object.fromEntries(seen.map(([, value]) => [requirement.key, value])));
  });
}

/** "fromEndpoints without a namespace label: the policy's own namespace"; for a clusterwide policy, pods of every namespace. */
function endpointsMatch(cluster: Cluster, policy: CiliumPolicy, selector: LabelSelector, peer: Peer): boolean {
  const keys = [...Object.keys(selector.matchLabels ?? {}), ...(selector.matchExpressions ?? []).map(({ key }) => key)];
  const labels = peer.kind === 'pod' ? labelsOf(cluster, peer.pod) : { [`reserved:${peer.kind}`]: '' };
  if (keys.some((key) => sourceOf(key) === 'reserved')) return selects(selector, labels);
  // "Peers are of the local cluster unless the selector says otherwise": what is no pod has no label of a cluster.
  if (peer.kind !== 'pod' && !keys.some((key) => bare(key) === 'io.cilium.k8s.policy.cluster')) return false;
  if (!keys.some((key) => bare(key) === NAMESPACE)) {
    const clusterwide = policy.kind === 'CiliumClusterwideNetworkPolicy';
    if (clusterwide && peer.kind !== 'pod') return false;
    const free = clusterwide || keys.some((key) => bare(key).startsWith(NAMESPACE_LABELS));
    if (!free && (peer.kind !== 'pod' || namespaceOf(peer.pod) !== policy.metadata.namespace)) return false;
  }
  return selects(selector, labels);
}

/** "Layer 3": a rule that names nobody, and a port, is about anyone; one that names neither about nobody. */
function peerMatches(cluster: Cluster, policy: CiliumPolicy, rule: Rule, direction: Direction, peer: Peer): boolean {
  const ingress = direction === 'ingress';
  const endpoints = ingress ? rule.fromEndpoints : rule.toEndpoints;
  const entities = ingress ? rule.fromEntities : rule.toEntities;
  const cidrs = ingress ? rule.fromCIDR : rule.toCIDR;
  const cidrSet = ingress ? rule.fromCIDRSet : rule.toCIDRSet;
  if (endpoints === undefined && entities === undefined && cidrs === undefined && cidrSet === undefined)
    return rule.toPorts !== undefined && rule.toPorts.length > 0;
  return (
    (endpoints ?? []).some((selector) => endpointsMatch(cluster, policy, selector, peer)) ||
    (entities ?? []).some((entity) => entityMatches(entity, peer)) ||
    (peer.kind === 'world' &&
      [...(cidrs ?? []).map((cidr): CidrRule => ({ cidr })), ...(cidrSet ?? [])].some((one) =>
        blocksOf(cluster, one).some((block) => blockContains({ cidr: block, except: one.except ?? [] }, peer.address)),
      ))
  );
}

function blocksOf({ groups }: Cluster, { cidr, cidrGroupRef, cidrGroupSelector }: CidrRule): string[] {
  if (cidr !== undefined) return [cidr.includes('/') ? cidr : `${cidr}/32`];
  return groups
    .filter(({ metadata }) =>
      cidrGroupRef !== undefined
        ? metadata.name === cidrGroupRef
        : selects(cidrGroupSelector ?? {}, withSource(metadata.labels ?? {})),
    )
    .flatMap(({ spec }) => spec.externalCIDRs);
}

const withSource = (labels: Labels): Labels =>
  Object.fromEntries(Object.entries(labels).map(([key, value]) => [`k8s:${key}`, value]));

/** "Entities Based". */
function entityMatches(entity: string, peer: Peer): boolean {
  switch (entity) {
    case 'all':
      return true;
    case 'world':
    case 'world-ipv4':
      return peer.kind === 'world';
    case 'host':
    case 'remote-node':
      return peer.kind === entity;
    case 'cluster':
      return peer.kind !== 'world';
    default:
      return false;
  }
}

/** "Layer 4" and "Layer 7": what each port that matches says of the request; once, and `allows`, for a rule about any traffic. */
function portMatches({ toPorts }: Rule, probe: Probe, destination: Pod | null): L7[] {
  if (toPorts === undefined || toPorts.length === 0) return ['allows'];
  return toPorts.flatMap(({ ports, rules }) => {
    const matching = ports.some(({ port, endPort, protocol = 'ANY' }) => {
      if (protocol !== 'ANY' && protocol !== probe.protocol) return false;
      if (!/^\d+$/.test(port)) return portsNamed(port, probe.protocol, destination).includes(probe.port);
      const first = Number(port);
      if (first === 0 && !endPort) return true;
      return first <= probe.port && probe.port <= (endPort || first);
    });
    return matching ? [requestFate(rules?.http, probe.http)] : [];
  });
}

function requestFate(rules: HttpRule[] | undefined, request: Request | null): L7 {
  if (rules === undefined) return 'allows';
  if (rules.some((rule) => Object.keys(rule).length === 0)) return 'allows';
  if (request === null) return 'untold';
  const whole = (pattern: string | undefined, text: string): boolean =>
    pattern === undefined || new RegExp(`^(?:${pattern})$`).test(text);
  const lets = rules.some(
    ({ method, path, host, headers = [] }) =>
      whole(method, request.method) &&
      whole(path, request.path) &&
      whole(host, request.host) &&
      headers.every((header) => {
        const [name = '', value] = header.split(/: ?/);
        const found = request.headers[name.toLowerCase()];
        return found !== undefined && (value === undefined || found === value);
      }),
  );
  return lets ? 'allows' : 'refuses';
}

function podOf(cluster: Cluster, end: End): Pod | null {
  if ('pod' in end) return cluster.pods.find((pod) => idOf(pod) === end.pod) ?? null;
  return 'ip' in end ? (cluster.pods.find((pod) => pod.status?.podIP === end.ip) ?? null) : null;
}

function peerOf(cluster: Cluster, end: End, subject: Pod): Peer {
  if ('node' in end) return { kind: end.node === subject.spec.nodeName ? 'host' : 'remote-node' };
  const pod = podOf(cluster, end);
  return pod ? { kind: 'pod', pod } : { kind: 'world', address: (end as { ip: string }).ip };
}
