/**
 * What Calico says about a packet, read from its documentation alone (docs.tigera.io: "Network policy", "Global network policy", "Tier",
 * "Network set", "Selectors"): tier by tier, policy by policy, rule by rule, with no line of the product's. NetworkPolicies of
 * Kubernetes stand in the default tier with order 1000, by their own model.
 */
import {
  cidrContains,
  idOf,
  judge,
  labelsOfNamespace,
  namespaceOf,
  portsNamed,
  type Cluster as KubernetesCluster,
  type Labels,
  type Pod,
} from './networkpolicy.js';
import type { End, Probe } from './probes.js';

/** A selector before it is written down; `textOf` writes it. */
export type Expression =
  | { op: 'all' | 'global' }
  | { op: '!'; of: Expression }
  | { op: '&&' | '||'; left: Expression; right: Expression }
  | { op: 'has'; key: string }
  | { op: '==' | '!=' | 'contains' | 'starts with' | 'ends with'; key: string; text: string }
  | { op: 'in' | 'not in'; key: string; texts: string[] };

export function textOf(expression: Expression): string {
  switch (expression.op) {
    case 'all':
    case 'global':
      return `${expression.op}()`;
    case '!':
      return `!${wrapped(expression.of)}`;
    case '&&':
    case '||':
      return `${wrapped(expression.left)} ${expression.op} ${wrapped(expression.right)}`;
    case 'has':
      return `has(${expression.key})`;
    case 'in':
    case 'not in':
      return `${expression.key} ${expression.op} { ${expression.texts.map((text) => `"${text}"`).join(', ')} }`;
    default:
      return `${expression.key} ${expression.op} '${expression.text}'`;
  }
}

const wrapped = (expression: Expression): string =>
  expression.op === '&&' || expression.op === '||' ? `(${textOf(expression)})` : textOf(expression);

export type Port = number | string;

export interface Entity {
  nets?: string[];
  notNets?: string[];
  selector?: Expression;
  notSelector?: Expression;
  namespaceSelector?: Expression;
  serviceAccounts?: { names: string[] };
  ports?: Port[];
  notPorts?: Port[];
}

export interface Rule {
  action: 'Allow' | 'Deny' | 'Log' | 'Pass';
  protocol?: string;
  notProtocol?: string;
  source?: Entity;
  destination?: Entity;
}

export interface CalicoPolicy {
  apiVersion: string;
  kind: 'NetworkPolicy' | 'GlobalNetworkPolicy';
  metadata: { name: string; namespace?: string };
  spec: {
    tier?: string;
    order?: number;
    selector?: Expression;
    namespaceSelector?: Expression;
    types?: ('Ingress' | 'Egress')[];
    ingress?: Rule[];
    egress?: Rule[];
  };
}

export interface Tier {
  apiVersion: string;
  kind: 'Tier';
  metadata: { name: string };
  spec: { order?: number; defaultAction?: 'Deny' | 'Pass' };
}

export interface NetworkSet {
  apiVersion: string;
  kind: 'NetworkSet' | 'GlobalNetworkSet';
  metadata: { name: string; namespace?: string; labels: Labels };
  spec: { nets: string[] };
}

export interface Node {
  apiVersion: 'v1';
  kind: 'Node';
  metadata: { name: string };
  status: { addresses: { type: 'InternalIP'; address: string }[] };
}

export interface Cluster extends KubernetesCluster {
  nodes: Node[];
  tiers: Tier[];
  sets: NetworkSet[];
  calico: CalicoPolicy[];
}

export interface Expectation {
  verdict: 'ALLOWED' | 'DENIED' | 'UNKNOWN';
  direction: Direction | null;
  reason: 133 | 181 | null;
  /** null where it does not matter. */
  deciders: string[] | null;
}

type Direction = 'ingress' | 'egress';

interface Party {
  pod: Pod | null;
  node: Node | null;
  address: string;
}

interface Packet extends Probe {
  source: Party;
  destination: Party;
}

type Side = { says: 'allow' | 'deny'; rules: string[] } | { says: 'isolated'; by: string[] };

export function decide(cluster: Cluster, probe: Probe): Expectation {
  const packet = { ...probe, source: partyAt(cluster, probe.from), destination: partyAt(cluster, probe.to) };
  for (const direction of ['egress', 'ingress'] as const)
    if (tellsNodesApart(cluster, direction, packet))
      return { verdict: 'UNKNOWN', direction: null, reason: null, deciders: [] };
  // "Calico always lets a node reach its own pods", whatever rules say of it.
  if (packet.source.node && packet.source.node.metadata.name === packet.destination.pod?.spec.nodeName)
    return { verdict: 'ALLOWED', direction: null, reason: null, deciders: null };
  const egress = sideOf(cluster, 'egress', packet);
  const ingress = sideOf(cluster, 'ingress', packet);
  for (const [direction, side] of [
    ['egress', egress],
    ['ingress', ingress],
  ] as const) {
    if (side.says === 'deny') return { verdict: 'DENIED', direction, reason: 181, deciders: side.rules };
    if (side.says === 'isolated') return { verdict: 'DENIED', direction, reason: 133, deciders: side.by };
  }
  const rules = [egress, ingress].flatMap((side) => (side.says === 'allow' ? side.rules : []));
  return { verdict: 'ALLOWED', direction: null, reason: null, deciders: rules };
}

const subjectOf = (direction: Direction, { source, destination }: Packet): Party =>
  direction === 'egress' ? source : destination;
const otherOf = (direction: Direction, { source, destination }: Packet): Party =>
  direction === 'egress' ? destination : source;

/**
 * "Tiers … are applied in order"; in each the policies by order, then by name; of each the rules in order. "Log: continue", "Pass: skip
 * to the next tier". What no rule of a tier with policies for the pod matches meets the tier's default action; past the last tier pods
 * of Kubernetes are open.
 */
function sideOf(cluster: Cluster, direction: Direction, packet: Packet): Side {
  const { pod } = subjectOf(direction, packet);
  if (!pod) return { says: 'allow', rules: [] };

  const kubernetes = judge(
    cluster,
    direction === 'egress' ? 'Egress' : 'Ingress',
    { ...packet, source: plain(packet.source), destination: plain(packet.destination) },
    { ipBlockMatchesPods: false },
  );
  tiers: for (const tier of tiersOf(cluster)) {
    const policies = policiesOf(cluster, tier.name, direction, pod);
    const isDefault = tier.name === 'default';
    const isolating = [...policies.map(nameOf), ...(isDefault ? kubernetes.isolatedBy : [])];
    if (isolating.length === 0) continue;
    // Kubernetes' own stand between those of lower and those of higher order; they only allow.
    let asked = !isDefault || kubernetes.allowedBy.length === 0;
    for (const policy of [...policies, null]) {
      if (!asked && (policy === null || orderOf(policy) > 1000)) return { says: 'allow', rules: kubernetes.allowedBy };
      if (policy && orderOf(policy) > 1000) asked = true;
      for (const [index, rule] of (policy?.spec[direction] ?? []).entries()) {
        if (rule.action === 'Log' || !matches(cluster, policy!, rule, packet)) continue;
        if (rule.action === 'Pass') continue tiers;
        const rules = [`${nameOf(policy!)} ${direction}[${index}]`];
        return { says: rule.action === 'Deny' ? 'deny' : 'allow', rules };
      }
    }
    if (tier.defaultAction === 'Deny') return { says: 'isolated', by: isolating };
  }
  return { says: 'allow', rules: [] };
}

/** A block of a NetworkPolicy is for what is no node. */
const plain = ({ pod, node, address }: Party): { pod: Pod | null; address: string | null } => ({
  pod,
  address: node ? null : address,
});

function tiersOf({ tiers }: Cluster): { name: string; order: number; defaultAction: string }[] {
  return [
    { name: 'default', order: 1_000_000, defaultAction: 'Deny' },
    ...tiers.map(({ metadata, spec }) => ({
      name: metadata.name,
      order: spec.order ?? Infinity,
      defaultAction: spec.defaultAction ?? 'Deny',
    })),
  ].sort((a, b) => (a.order === b.order ? (a.name < b.name ? -1 : 1) : a.order < b.order ? -1 : 1));
}

const orderOf = ({ spec }: CalicoPolicy): number => spec.order ?? Infinity;

/** Those of a tier that are about a pod, in their order: "policies with identical order … in alphanumerical order". */
function policiesOf(cluster: Cluster, tier: string, direction: Direction, pod: Pod): CalicoPolicy[] {
  const key = ({ kind, metadata }: CalicoPolicy): string => `${metadata.name}/${metadata.namespace ?? ''}/${kind}`;
  return cluster.calico
    .filter(
      (policy) =>
        (policy.spec.tier ?? 'default') === tier &&
        typesOf(policy).includes(direction === 'ingress' ? 'Ingress' : 'Egress') &&
        isAbout(cluster, policy, pod),
    )
    .sort((a, b) => (orderOf(a) === orderOf(b) ? (key(a) < key(b) ? -1 : 1) : orderOf(a) < orderOf(b) ? -1 : 1));
}

/** "Ingress, if there are no egress rules; Egress, if there are egress rules but no ingress rules; both otherwise." */
function typesOf({ spec: { types, ingress = [], egress = [] } }: CalicoPolicy): string[] {
  if (types && types.length > 0) return types;
  if (egress.length === 0) return ['Ingress'];
  return ingress.length === 0 ? ['Egress'] : ['Ingress', 'Egress'];
}

function isAbout(cluster: Cluster, { kind, metadata, spec }: CalicoPolicy, pod: Pod): boolean {
  if (kind === 'NetworkPolicy' && namespaceOf(pod) !== metadata.namespace) return false;
  return (
    (spec.selector === undefined || holds(spec.selector, labelsOf(pod))) &&
    (spec.namespaceSelector === undefined ||
      holds(spec.namespaceSelector, namespaceLabels(cluster, namespaceOf(pod)), true))
  );
}

const nameOf = ({ metadata }: CalicoPolicy): string => `${metadata.namespace ?? ''}/${metadata.name}`;

const labelsOf = (pod: Pod): Labels => ({
  ...pod.metadata.labels,
  'projectcalico.org/namespace': namespaceOf(pod),
  'projectcalico.org/serviceaccount': pod.spec.serviceAccountName ?? 'default',
});

const namespaceLabels = (cluster: Cluster, name: string): Labels => ({
  ...labelsOfNamespace(cluster, name),
  'projectcalico.org/name': name,
});

/** `namespaced`: whether what is asked about has a namespace, where its labels do not say. */
function holds(expression: Expression, labels: Labels, namespaced = 'projectcalico.org/namespace' in labels): boolean {
  switch (expression.op) {
    case 'all':
      return true;
    case 'global':
      return !namespaced;
    case '!':
      return !holds(expression.of, labels, namespaced);
    case '&&':
      return holds(expression.left, labels, namespaced) && holds(expression.right, labels, namespaced);
    case '||':
      return holds(expression.left, labels, namespaced) || holds(expression.right, labels, namespaced);
  }
  const value = labels[expression.key];
  switch (expression.op) {
    case 'has':
      return value !== undefined;
    case '==':
      return value === expression.text;
    case '!=':
      return value !== expression.text;
    case 'in':
      return value !== undefined && expression.texts.includes(value);
    case 'not in':
      return value === undefined || !expression.texts.includes(value);
    case 'contains':
      return value !== undefined && value.indexOf(expression.text) >= 0;
    case 'starts with':
      return value !== undefined && value.slice(0, expression.text.length) === expression.text;
    case 'ends with':
      return value !== undefined && value.slice(value.length - expression.text.length) === expression.text;
  }
}

/** A block, or an address alone. */
const netHolds = (net: string, address: string): boolean =>
  net.includes('/') ? cidrContains(net, address) : net === address;

/** "All criteria of a rule must hold." */
function matches(cluster: Cluster, policy: CalicoPolicy, rule: Rule, packet: Packet): boolean {
  if (rule.protocol !== undefined && rule.protocol !== packet.protocol) return false;
  if (rule.notProtocol !== undefined && rule.notProtocol === packet.protocol) return false;
  return (
    entityMatches(cluster, policy, rule.source ?? {}, packet.source) &&
    entityMatches(cluster, policy, rule.destination ?? {}, packet.destination) &&
    portsMatch(rule.destination ?? {}, packet)
  );
}

function entityMatches(cluster: Cluster, policy: CalicoPolicy, entity: Entity, party: Party): boolean {
  const { nets, notNets, selector, notSelector, namespaceSelector, serviceAccounts } = entity;
  const { namespace } = policy.metadata;
  const within = (cidrs: string[]): boolean => cidrs.some((cidr) => netHolds(cidr, party.address));
  if (nets && !within(nets)) return false;
  if (notNets && within(notNets)) return false;
  // "NotSelector … packets that are not from Calico-controlled endpoints that do have the label": sets count as such.
  if (notSelector && selected(cluster, party, (labels) => holds(notSelector, labels))) return false;
  if (!selector && !notSelector && !namespaceSelector && !serviceAccounts) return true;
  if (!selector && !namespaceSelector && !serviceAccounts && namespace === undefined) return true;
  return selected(cluster, party, (labels, ofNamespace) => {
    if (selector && !holds(selector, labels)) return false;
    if (serviceAccounts && !serviceAccounts.names.includes(labels['projectcalico.org/serviceaccount'] ?? ''))
      return false;
    // "For NetworkPolicy, an empty NamespaceSelector implies … the same namespace."
    if (!namespaceSelector) return namespace === undefined || labels['projectcalico.org/namespace'] === namespace;
    return namespaceHolds(namespaceSelector, ofNamespace);
  });
}

/** `all()` is every namespace, and nothing that is in none; `global()` the reverse. */
function namespaceHolds(expression: Expression, labels: Labels | null): boolean {
  switch (expression.op) {
    case 'all':
      return labels !== null;
    case 'global':
      return labels === null;
    case '!':
      return !namespaceHolds(expression.of, labels);
    case '&&':
      return namespaceHolds(expression.left, labels) && namespaceHolds(expression.right, labels);
    case '||':
      return namespaceHolds(expression.left, labels) || namespaceHolds(expression.right, labels);
    default:
      return holds(expression, labels ?? {}, labels !== null);
  }
}

/** Whether a party is a pod, or has an address of a network set, with such labels. */
function selected(
  cluster: Cluster,
  { pod, address }: Party,
  asked: (labels: Labels, ofNamespace: Labels | null) => boolean,
): boolean {
  const isSelected = pod !== null && asked(labelsOf(pod), namespaceLabels(cluster, namespaceOf(pod)));
  return (
    isSelected ||
    cluster.sets.some(
      (set) =>
        set.spec.nets.some((cidr) => netHolds(cidr, address)) && asked(setLabels(set), setNamespace(cluster, set)),
    )
  );
}

const setLabels = ({ metadata }: NetworkSet): Labels => ({
  ...metadata.labels,
  ...(metadata.namespace === undefined ? {} : { 'projectcalico.org/namespace': metadata.namespace }),
});

const setNamespace = (cluster: Cluster, { metadata }: NetworkSet): Labels | null =>
  metadata.namespace === undefined ? null : namespaceLabels(cluster, metadata.namespace);

function portsMatch({ ports, notPorts }: Entity, { protocol, port, destination }: Packet): boolean {
  const one = (asked: Port): boolean => {
    if (typeof asked === 'number') return asked === port;
    const [first, last] = asked.split(':');
    if (last !== undefined) return Number(first) <= port && port <= Number(last);
    return portsNamed(asked, protocol, destination.pod).includes(port);
  };
  return (!ports || ports.some(one)) && !notPorts?.some(one);
}

/** The product has one identity for all nodes but the pod's own: of blocks that hold some of the nodes' addresses, it cannot tell. */
function tellsNodesApart(cluster: Cluster, direction: Direction, packet: Packet): boolean {
  const { pod } = subjectOf(direction, packet);
  const { node } = otherOf(direction, packet);
  if (!pod || !node) return false;
  const some = (cidrs: string[]): boolean => {
    const held = cluster.nodes.map((one) => cidrs.some((cidr) => netHolds(cidr, addressOf(one))));
    return held.includes(true) && held.includes(false);
  };
  return cluster.calico
    .filter(
      (policy) =>
        isAbout(cluster, policy, pod) && typesOf(policy).includes(direction === 'ingress' ? 'Ingress' : 'Egress'),
    )
    .flatMap(({ spec }) => spec[direction] ?? [])
    .filter(({ action }) => action !== 'Log')
    .some((rule) => {
      const entity = (direction === 'ingress' ? rule.source : rule.destination) ?? {};
      return some(entity.nets ?? []) || some(entity.notNets ?? []);
    });
}

const addressOf = ({ status }: Node): string => status.addresses[0]!.address;

function partyAt(cluster: Cluster, end: End): Party {
  if ('node' in end) {
    const node = cluster.nodes.find(({ metadata }) => metadata.name === end.node)!;
    return { pod: null, node, address: addressOf(node) };
  }
  const pod = cluster.pods.find((one) => ('pod' in end ? idOf(one) === end.pod : one.status?.podIP === end.ip)) ?? null;
  return { pod, node: null, address: 'ip' in end ? end.ip : (pod?.status?.podIP ?? '') };
}
