/** From policies to policymap entries. */
import { IpProto, ReservedIdentity } from '../../assembly/abi.js';
import { parsePrefix } from '../addresses.js';
import { namedPort, type Cluster, type ClusterNode, type ClusterPod } from '../cluster/cluster.js';
import { matches } from '../cluster/selectors.js';
import { Numbers } from '../hash.js';
import type {
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  NetworkPolicyRule,
  Protocol,
} from '../manifests/objects.js';
import type { Settings } from '../settings.js';
import { selectPrefix, type Identities, type PodIdentity } from './identities.js';
import { prefixesOf, type Direction, type PortRange, type RuleOrigin, type TrafficPrefix } from './rules.js';

export const PROTOCOL_NUMBERS: Readonly<Record<Protocol, number>> = {
  TCP: IpProto.TCP,
  UDP: IpProto.UDP,
  SCTP: IpProto.SCTP,
};

const EVERYTHING: TrafficPrefix = { protocol: 0, port: 0, length: 0 };

/** One entry of the policymap, and the rules that put it there; none for what holds without any policy. */
export interface CompiledEntry extends TrafficPrefix {
  /** The peer; 0 for any. */
  readonly identity: number;
  readonly egress: boolean;
  readonly origins: readonly RuleOrigin[];
}

/** The policy of all pods to which the same policies apply in the same way. */
export interface CompiledPolicy {
  readonly id: number;
  /** The policies that isolate the pods, by direction; none: not isolated. */
  readonly isolatedBy: Readonly<Record<Direction, readonly NetworkPolicy[]>>;
  readonly entries: readonly CompiledEntry[];
  /** Where the answer may change within a protocol, besides the start of the port range. */
  readonly boundaries: readonly PortRange[];
}

export interface CompiledPolicies {
  readonly policies: readonly CompiledPolicy[];
  readonly ofIdentity: ReadonlyMap<PodIdentity, CompiledPolicy>;
  /** The policies of the nodes themselves; none without a firewall there. */
  readonly ofNode: ReadonlyMap<ClusterNode, CompiledPolicy>;
}

/** Which identities a peer selects (and at which policies' namespaces): computed once for each peer. */
class Peers {
  private readonly selected = new Map<NetworkPolicyPeer, readonly number[]>();
  readonly byNumber: ReadonlyMap<number, PodIdentity>;

  constructor(
    private readonly cluster: Cluster,
    private readonly identities: Identities,
    private readonly settings: Settings,
  ) {
    this.byNumber = new Map(identities.pods.map((identity) => [identity.number, identity]));
  }

  of(peer: NetworkPolicyPeer, namespace: string): readonly number[] {
    let numbers = this.selected.get(peer);
    if (!numbers) {
      numbers = this.select(peer, namespace);
      this.selected.set(peer, numbers);
    }
    return numbers;
  }

  private select({ podSelector, namespaceSelector, ipBlock }: NetworkPolicyPeer, namespace: string): number[] {
    if (ipBlock) {
      const cidr = parsePrefix(ipBlock.cidr.value);
      if (cidr === null) return [];
      const except = ipBlock.except.map((hole) => parsePrefix(hole.value)).filter((hole) => hole !== null);
      return selectPrefix(this.identities, cidr, except, this.settings.ipBlockMatchesPods);
    }
    const inNamespace = (pod: ClusterPod): boolean =>
      namespaceSelector === null
        ? pod.namespace === namespace
        : matches(namespaceSelector, this.cluster.namespaces.get(pod.namespace)?.labels ?? new Map());
    return this.identities.pods
      .filter(({ example }) => inNamespace(example) && (podSelector === null || matches(podSelector, example.labels)))
      .map(({ number }) => number);
  }
}

/** Whether a policy applies to a pod. */
export const selects = (policy: NetworkPolicy, pod: ClusterPod): boolean =>
  policy.metadata.namespace === pod.namespace && matches(policy.podSelector, pod.labels);

/** Numbers of policies stay while the policies they stand for do. */
export class PolicyCompiler {
  private readonly numbers = new Numbers();

  compile(cluster: Cluster, identities: Identities, settings: Settings): CompiledPolicies {
    const peers = new Peers(cluster, identities, settings);
    const groups = new Map<string, { applied: NetworkPolicy[]; members: PodIdentity[] }>();
    for (const identity of identities.pods) {
      const applied = cluster.policies.filter((policy) => selects(policy, identity.example));
      const key = groupKey(applied, identity);
      const group = groups.get(key);
      if (group) group.members.push(identity);
      else groups.set(key, { applied, members: [identity] });
    }
    const localhost = settings.allowLocalhost !== 'policy';
    const ids = this.numbers.assign([...groups.keys(), ...(settings.hostFirewall ? [OF_NODES] : [])]);
    const ofIdentity = new Map<PodIdentity, CompiledPolicy>();
    const policies: CompiledPolicy[] = [];
    for (const [key, { applied, members }] of groups) {
      const policy = compileGroup(ids.get(key)!, applied, members[0]!, peers, localhost);
      policies.push(policy);
      for (const member of members) ofIdentity.set(member, policy);
    }
    const ofNode = new Map<ClusterNode, CompiledPolicy>();
    const host = ids.get(OF_NODES);
    if (host !== undefined) {
      const policy = unrestricted(host);
      policies.push(policy);
      for (const node of cluster.nodes) ofNode.set(node, policy);
    }
    return { policies: policies.sort((a, b) => a.id - b.id), ofIdentity, ofNode };
  }
}

/** Under which the policy of the nodes has its number: no group of pods has this key. */
const OF_NODES = 'nodes\n';

/** A policy that lets everything, both ways: that of nodes which no policy selects. */
function unrestricted(id: number): CompiledPolicy {
  const entries = [false, true].map((egress) => ({ identity: 0, egress, ...EVERYTHING, origins: [] }));
  return { id, isolatedBy: { ingress: [], egress: [] }, entries, boundaries: [] };
}

/** Pods share a policy when the same policies apply and the ports these ask for by name are the same. */
function groupKey(applied: readonly NetworkPolicy[], identity: PodIdentity): string {
  const names = applied.map((policy) => `${policy.metadata.namespace}/${policy.metadata.name.value}`);
  const ports: string[] = [];
  for (const policy of applied) {
    for (const rule of policy.ingress?.rules ?? []) {
      for (const { port, protocol } of rule.ports ?? []) {
        if (typeof port?.value !== 'string') continue;
        ports.push(
          `${port.value}/${protocol}=${namedPort(identity.example.spec, port.value, protocol)?.containerPort.value ?? '-'}`,
        );
      }
    }
  }
  return [...names, ...ports].join(' ');
}

class EntryTable {
  private readonly entries = new Map<string, { entry: Omit<CompiledEntry, 'origins'>; origins: RuleOrigin[] }>();

  add(identity: number, egress: boolean, traffic: TrafficPrefix, origin: RuleOrigin | null): void {
    const key = `${identity} ${egress} ${traffic.protocol} ${traffic.port} ${traffic.length}`;
    let held = this.entries.get(key);
    if (!held) this.entries.set(key, (held = { entry: { identity, egress, ...traffic }, origins: [] }));
    if (origin && !held.origins.includes(origin)) held.origins.push(origin);
  }

  list(): CompiledEntry[] {
    return [...this.entries.values()].map(({ entry, origins }) => ({ ...entry, origins }));
  }
}

function compileGroup(
  id: number,
  applied: readonly NetworkPolicy[],
  example: PodIdentity,
  peers: Peers,
  localhost: boolean,
): CompiledPolicy {
  const table = new EntryTable();
  const boundaries: PortRange[] = [];
  const isolatedBy = {
    ingress: applied.filter((policy) => policy.policyTypes.includes('Ingress')),
    egress: applied.filter((policy) => policy.policyTypes.includes('Egress')),
  };
  for (const direction of ['ingress', 'egress'] as const) {
    const egress = direction === 'egress';
    const policies = isolatedBy[direction];
    if (policies.length === 0) table.add(0, egress, EVERYTHING, null);
    // Cilium's allow-localhost, and Kubernetes' rule that a pod's own node always reaches it.
    else if (!egress && localhost) table.add(ReservedIdentity.HOST, false, EVERYTHING, null);
    for (const policy of policies) {
      policy[direction]?.rules.forEach((rule, index) => {
        const { metadata, kind } = policy;
        const origin = {
          kind,
          namespace: metadata.namespace,
          name: metadata.name.value,
          direction,
          index,
          at: rule.at,
        };
        addRule(table, boundaries, rule, origin, example, peers);
      });
    }
  }
  return { id, isolatedBy, entries: table.list(), boundaries };
}

/** An absent or empty list of peers is every peer; of ports, every port. */
function addRule(
  table: EntryTable,
  boundaries: PortRange[],
  rule: NetworkPolicyRule,
  origin: RuleOrigin,
  example: PodIdentity,
  peers: Peers,
): void {
  const egress = origin.direction === 'egress';
  const identities = rule.peers?.length
    ? [...new Set(rule.peers.flatMap((peer) => peers.of(peer, origin.namespace)))]
    : [0];
  if (!rule.ports?.length) {
    for (const identity of identities) table.add(identity, egress, EVERYTHING, origin);
    return;
  }
  const add = (identity: number, range: PortRange): void => {
    boundaries.push(range);
    const protocol = PROTOCOL_NUMBERS[range.protocol];
    for (const { port, length } of prefixesOf(range.first, range.last))
      table.add(identity, egress, { protocol, port, length }, origin);
  };
  for (const port of rule.ports) {
    const fixed = rangeOf(port);
    if (fixed) for (const identity of identities) add(identity, fixed);
    else if (!egress) {
      // The name is one of the selected pod's own ports.
      const range = resolve(port, example);
      if (range) for (const identity of identities) add(identity, range);
    } else {
      // The name is the peer's: each pod is asked for its own; an address has no named ports.
      const peersAsked = identities[0] === 0 ? [...peers.byNumber.keys()] : identities;
      for (const identity of peersAsked) {
        const peer = peers.byNumber.get(identity);
        const range = peer && resolve(port, peer);
        if (range) add(identity, range);
      }
    }
  }
}

/** The numbers that a port entry names; null when it asks for a port by name. No port at all is every port of the protocol. */
function rangeOf({ protocol, port, endPort }: NetworkPolicyPort): PortRange | null {
  if (port === null) return { protocol, first: 0, last: 65535 };
  if (typeof port.value === 'string') return null;
  return { protocol, first: port.value, last: endPort?.value ?? port.value };
}

function resolve({ protocol, port }: NetworkPolicyPort, identity: PodIdentity): PortRange | null {
  const found = namedPort(identity.example.spec, String(port?.value), protocol);
  return found && { protocol, first: found.containerPort.value, last: found.containerPort.value };
}
