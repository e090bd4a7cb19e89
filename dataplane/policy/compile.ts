/** From policies to policymap entries. */
import { ReservedIdentity } from '../../assembly/abi.js';
import { namedPort, type Cluster, type ClusterNode } from '../cluster/cluster.js';
import { Numbers } from '../hash.js';
import { indexed } from '../indexed.js';
import { joined, kept, keptFor, sameItems } from '../kept.js';
import type { AdminPolicy } from '../manifests/admin.js';
import type { CalicoPolicy } from '../manifests/calico.js';
import type { CiliumPolicy } from '../manifests/cilium.js';
import type { NetworkPolicy, PolicySource } from '../manifests/objects.js';
import type { Settings } from '../settings.js';
import { fromAdminPolicy, type AdminParts } from './admin.js';
import { fromCalicoPolicy, type CalicoParts } from './calico.js';
import { fromCiliumPolicy, type CiliumParts } from './cilium.js';
import { fqdnName } from './fqdn.js';
import {
  everyIdentity,
  matchesPods,
  selectEndpoints,
  selectPrefix,
  type Identities,
  type PodIdentity,
} from './identities.js';
import { EVERYTHING, MapState, type Grant, type PolicymapEntry } from './mapstate.js';
import { fromNetworkPolicy, protocolOf } from './networkpolicy.js';
import { isRepresentative } from './representatives.js';
import {
  prefixesOf,
  type Direction,
  type Peer,
  type Policy,
  type PortNumbers,
  type PortRange,
  type Rule,
  type TrafficPrefix,
} from './rules.js';
import { selects } from './selectors.js';
import { areOrdered, stacksOf } from './tiers.js';
import { TierState, type TieredPolicymap } from './tierstate.js';

/** The policies of all languages, in the order of their manifests; those about nodes hold only where these have a firewall. */
export const policiesOf = (cluster: Cluster, { hostFirewall }: Settings): Policy[] =>
  joined(cluster.policies.map((source) => fromSource(source, cluster))).filter(
    ({ aboutNodes }) => hostFirewall || !aboutNodes,
  );

function fromSource(
  source: PolicySource,
  { nodes, namespaces, services, families, cidrGroups, tiers, networkSets }: Cluster,
): readonly Policy[] {
  switch (source.kind) {
    case 'NetworkPolicy':
      return fromKubernetes(source);
    case 'CiliumNetworkPolicy':
    case 'CiliumClusterwideNetworkPolicy':
      return fromCilium(source, cidrGroups, services);
    case 'ClusterNetworkPolicy':
    case 'AdminNetworkPolicy':
    case 'BaselineAdminNetworkPolicy':
      return fromAdmin(source, nodes);
    case 'CalicoPolicy':
      return fromCalico(source, families, namespaces, networkSets, nodes, services, tiers);
  }
}

const fromKubernetes = keptFor((source: NetworkPolicy) => [fromNetworkPolicy(source)]);
const fromCilium = keptFor(
  (source: CiliumPolicy, cidrGroups: CiliumParts['cidrGroups'], services: CiliumParts['services']) =>
    fromCiliumPolicy(source, { cidrGroups, services }),
);
const fromAdmin = keptFor((source: AdminPolicy, nodes: AdminParts['nodes']) => [fromAdminPolicy(source, { nodes })]);
const fromCalico = keptFor(
  (
    source: CalicoPolicy,
    families: CalicoParts['families'],
    namespaces: CalicoParts['namespaces'],
    networkSets: CalicoParts['networkSets'],
    nodes: CalicoParts['nodes'],
    services: CalicoParts['services'],
    tiers: CalicoParts['tiers'],
  ) => fromCalicoPolicy(source, { families, namespaces, networkSets, nodes, services, tiers }),
);

/** The policy of all pods, or nodes, to which the same policies apply in the same way. */
export interface CompiledPolicy {
  readonly id: number;
  readonly applied: readonly Policy[];
  /** The policies that isolate the pods, by direction; none: not isolated. */
  readonly isolatedBy: Readonly<Record<Direction, readonly Policy[]>>;
  readonly entries: readonly PolicymapEntry[];
  /** Where policies are asked in an order: who isolates from what no entry holds. An entry is then decided by all that it names. */
  readonly refusals: TieredPolicymap['refusals'] | null;
  /** Where the answer may change within a protocol, besides the start of the port range. */
  readonly boundaries: readonly PortRange[];
}

export interface CompiledPolicies {
  readonly all: readonly Policy[];
  readonly policies: readonly CompiledPolicy[];
  readonly ofIdentity: ReadonlyMap<PodIdentity, CompiledPolicy>;
  /** The policies of the nodes themselves; none without a firewall there. */
  readonly ofNode: ReadonlyMap<ClusterNode, CompiledPolicy>;
}

/** Which identities a peer selects: computed once for each peer. */
class Peers {
  private readonly selected = new WeakMap<Peer, readonly number[]>();
  readonly byNumber: ReadonlyMap<number, PodIdentity>;
  readonly everyone: readonly number[];

  constructor(
    readonly identities: Identities,
    private readonly settings: Settings,
  ) {
    this.byNumber = new Map(identities.pods.map((identity) => [identity.number, identity]));
    this.everyone = everyIdentity(identities);
  }

  of(peer: Peer): readonly number[] {
    let numbers = this.selected.get(peer);
    if (!numbers) this.selected.set(peer, (numbers = this.select(peer)));
    return numbers;
  }

  /** Whether the pods of an identity are among a peer. */
  has(peer: Peer, { number }: PodIdentity): boolean {
    const numbers = this.of(peer);
    return numbers.includes(number) || numbers.includes(0);
  }

  private meet({ all, none }: Peer & { readonly kind: 'where' }): number[] {
    const among = (peers: readonly Peer[]): Set<number> => new Set(peers.flatMap((peer) => this.of(peer)));
    const groups = all.map(among);
    const without = among(none);
    return this.everyone.filter((number) => groups.every((group) => group.has(number)) && !without.has(number));
  }

  /** 0 is anyone. */
  private select(peer: Peer): readonly number[] {
    const { identities, settings } = this;
    switch (peer.kind) {
      case 'anyone':
        return [0];
      case 'endpoints':
        return selectEndpoints(identities, peer.selector);
      case 'prefix':
        return selectPrefix(identities, peer.cidr, peer.except, matchesPods(peer, settings));
      case 'fqdn':
        return identities.fqdns
          .filter(({ fqdn }) => fqdnName(fqdn) === fqdnName(peer.fqdn))
          .map(({ number }) => number);
      case 'where':
        return this.meet(peer);
    }
  }
}

/** What compiling asks of the peers of rules. */
type PeerNumbers = Pick<Peers, 'of' | 'has' | 'byNumber' | 'everyone'>;

/** Compiles again what pods have, as it would be had they other policies: what an edit to a rule changes. */
export class Recompiler {
  private readonly peers: Peers;
  private readonly localhost: boolean;

  constructor(identities: Identities, settings: Settings) {
    this.peers = new Peers(identities, settings);
    this.localhost = settings.allowLocalhost !== 'policy';
  }

  /** Whom a rule is about; 0 for anyone. */
  identitiesOf(rule: Rule): readonly number[] {
    return identitiesOf(rule, this.peers);
  }

  /** What pods of an identity would have, did these policies apply to them. */
  compile(applied: readonly Policy[], of: PodIdentity): CompiledPolicy {
    return compileGroup(0, applied, of, this.peers, this.localhost);
  }

  /** Of that, the entries for a peer and for any. */
  between(applied: readonly Policy[], of: PodIdentity, peer: number): CompiledPolicy {
    const pod = this.peers.byNumber.get(peer);
    const only: PeerNumbers = {
      of: (asked) => this.peers.of(asked).filter((number) => number === 0 || number === peer),
      has: (asked, identity) => this.peers.has(asked, identity),
      byNumber: new Map(pod ? [[peer, pod]] : []),
      everyone: this.peers.everyone.filter((number) => number === peer),
    };
    const compiled = compileGroup(0, applied, of, only, this.localhost);
    return { ...compiled, entries: compiled.entries.filter(({ identity }) => identity === 0 || identity === peer) };
  }
}

/** What a policy was compiled from, besides itself. */
interface Compiled {
  readonly policy: CompiledPolicy;
  readonly peers: Peers;
  readonly pod: PodIdentity | null;
  readonly localhost: boolean;
  /** Whom each peer of its rules selected. */
  readonly selected: readonly (readonly number[])[];
}

/** Numbers of policies stay while the policies they stand for do, and what was compiled while it would come out the same. */
export class PolicyCompiler {
  private readonly numbers = new Numbers();
  private compiled: ReadonlyMap<string, Compiled> = new Map();
  private readonly peers = kept((identities: Identities, settings: Settings) => new Peers(identities, settings));
  private readonly subjects = indexed(({ pods }: Subject) => pods);
  private readonly groupOf = keptFor((identity: PodIdentity, about: readonly Subject[], peers: Peers | null) => {
    const applied = about.map(({ policy }) => policy);
    return { key: groupKey(applied, identity, peers), applied };
  });

  compile(
    all: readonly Policy[],
    nodes: readonly ClusterNode[],
    identities: Identities,
    settings: Settings,
  ): CompiledPolicies {
    const peers = this.peers(identities, settings);
    const subjects = this.subjects(
      all
        .filter(({ aboutNodes }) => !aboutNodes)
        .map((policy) => subjectOf(policy, identities.selected.of(policy.subject))),
    );
    const groups = grouped(identities.pods, (identity) => {
      const about = subjects.all(identity);
      return this.groupOf(identity, about, about.some(({ isPartly }) => isPartly) ? peers : null);
    });
    const ofHosts = all.filter(({ aboutNodes }) => aboutNodes);
    const hosts = grouped(settings.hostFirewall ? nodes : [], ({ labels }) => {
      const applied = ofHosts.filter(({ subject }) => selects(subject, { source: 'k8s', labels }));
      return { key: ['nodes', ...applied.map(({ key }) => key)].join('\n'), applied };
    });
    const localhost = settings.allowLocalhost !== 'policy';
    const ids = this.numbers.assign([...groups.keys(), ...hosts.keys()]);
    const ofIdentity = new Map<PodIdentity, CompiledPolicy>();
    const policies: CompiledPolicy[] = [];
    const compiled = new Map<string, Compiled>();
    const compile = (key: string, applied: readonly Policy[], pod: PodIdentity | null): CompiledPolicy => {
      const id = ids.get(key)!;
      const before = this.compiled.get(key);
      const isLike =
        before?.policy.id === id &&
        before.localhost === localhost &&
        before.pod === pod &&
        sameItems(before.policy.applied, applied);
      const selected =
        isLike && before.peers === peers
          ? before.selected
          : applied.flatMap(({ rules }) => rules.flatMap((rule) => selectedBy(rule, peers)));
      const isSame =
        isLike &&
        (before.peers.identities === identities || !asksPeers(applied)) &&
        before.selected.length === selected.length &&
        selected.every((numbers, i) => sameItems(numbers, before.selected[i]!));
      const policy = isSame ? before.policy : compileGroup(id, applied, pod, peers, localhost);
      compiled.set(key, { policy, peers, pod, localhost, selected });
      policies.push(policy);
      return policy;
    };
    for (const [key, { applied, members }] of groups) {
      const policy = compile(key, applied, members[0]!);
      for (const member of members) ofIdentity.set(member, policy);
    }
    const ofNode = new Map<ClusterNode, CompiledPolicy>();
    for (const [key, { applied, members }] of hosts) {
      const policy = compile(key, applied, null);
      for (const member of members) ofNode.set(member, policy);
    }
    this.compiled = compiled;
    return { all, policies: policies.sort((a, b) => a.id - b.id), ofIdentity, ofNode };
  }
}

/** A policy and the pods that it is about. */
interface Subject {
  readonly policy: Policy;
  readonly pods: readonly PodIdentity[];
  /** Whether some of its rules are about a part of them. */
  readonly isPartly: boolean;
}

const subjectOf = keptFor((policy: Policy, pods: readonly PodIdentity[]): Subject => ({
  policy,
  pods: pods.filter(({ example }) => !isRepresentative(example)),
  isPartly: policy.rules.some(({ own }) => own !== undefined),
}));

/** Whom each peer that a rule names selects, and whom the rule is about. */
const selectedBy = ({ own, peers: named }: Rule, peers: Peers): (readonly number[])[] => [
  ...(own ? [peers.of(own)] : []),
  ...(named ?? []).map((peer) => peers.of(peer)),
];

/** Whether compiling looks at identities beyond whom peers select: at all there are, or at the ports of others' pods. */
const asksPeers = (applied: readonly Policy[]): boolean =>
  areOrdered(applied) ||
  applied.some(({ rules }) =>
    rules.some(
      ({ origin, ports }) => origin.direction === 'egress' && ports?.some(({ port }) => typeof port === 'string'),
    ),
  );

interface Group<Member> {
  readonly applied: readonly Policy[];
  readonly members: Member[];
}

/** Those to which the same policies apply in the same way. */
function grouped<Member>(
  members: readonly Member[],
  groupOf: (member: Member) => { readonly key: string; readonly applied: readonly Policy[] },
): ReadonlyMap<string, Group<Member>> {
  const groups = new Map<string, Group<Member>>();
  for (const member of members) {
    const { key, applied } = groupOf(member);
    const group = groups.get(key);
    if (group) group.members.push(member);
    else groups.set(key, { applied, members: [member] });
  }
  return groups;
}

/** Pods share a policy when the same policies and rules apply and the ports these ask for by name are the same. */
function groupKey(applied: readonly Policy[], identity: PodIdentity, peers: Peers | null): string {
  const ports: string[] = [];
  for (const { rules } of applied) {
    for (const { origin, own, ports: asked } of rules) {
      if (own) ports.push(peers!.has(own, identity) ? '+' : '-');
      if (origin.direction === 'egress') continue;
      for (const { port, protocol } of asked ?? []) {
        if (typeof port !== 'string') continue;
        ports.push(`${port}/${protocol}=${numbersOf(port, protocol, identity)?.first ?? '-'}`);
      }
    }
  }
  return [...applied.map(({ key }) => key), ...ports].join(' ');
}

function compileGroup(
  id: number,
  applied: readonly Policy[],
  example: PodIdentity | null,
  peers: PeerNumbers,
  localhost: boolean,
): CompiledPolicy {
  const boundaries: PortRange[] = [];
  const isolatedBy = {
    ingress: applied.filter(({ isolates }) => isolates.includes('ingress')),
    egress: applied.filter(({ isolates }) => isolates.includes('egress')),
  };
  const base = { id, applied, isolatedBy, boundaries };
  const applies = ({ own }: Rule): boolean => own === undefined || (example !== null && peers.has(own, example));
  if (areOrdered(applied)) {
    const state = new TierState(stacksOf(applied), peers.everyone, localhost);
    for (const policy of applied)
      for (const rule of policy.rules.filter(applies)) {
        // Rules that are written as one stand in one place.
        const nth = policy.rules.findIndex(({ origin }) => origin === rule.origin);
        const action = rule.pass ? 'pass' : rule.deny ? 'deny' : 'allow';
        addRule(rule, boundaries, example, peers, (identity, traffic, grant) =>
          state.add(rule.origin.direction, identity, { traffic, policy, nth, action, grant }),
        );
      }
    return { ...base, ...state.list() };
  }
  const state = new MapState();
  if (isolatedBy.egress.length === 0) state.add(0, true, EVERYTHING, false, null);
  if (isolatedBy.ingress.length === 0) state.add(0, false, EVERYTHING, false, null);
  // Cilium's allow-localhost, and Kubernetes' rule that a pod's own node always reaches it.
  else if (localhost) state.add(ReservedIdentity.HOST, false, EVERYTHING, false, null);
  for (const rule of applied.flatMap(({ rules }) => rules))
    addRule(rule, boundaries, example, peers, (identity, traffic, grant) =>
      state.add(identity, rule.origin.direction === 'egress', traffic, rule.deny, grant),
    );
  return { ...base, entries: state.list(), refusals: null };
}

/** Whom a rule is about: 0 for anyone. */
function identitiesOf({ peers: named }: Rule, peers: PeerNumbers): readonly number[] {
  if (named === null) return [0];
  const found = new Set(named.flatMap((peer) => peers.of(peer)));
  return found.has(0) ? [0] : [...found];
}

/** Tells `add` what a rule says of each identity and each prefix of traffic. */
function addRule(
  rule: Rule,
  boundaries: PortRange[],
  example: PodIdentity | null,
  peers: PeerNumbers,
  add: (identity: number, traffic: TrafficPrefix, grant: Grant) => void,
): void {
  const { origin, ports, authentication } = rule;
  const identities = identitiesOf(rule, peers);
  if (ports === null) {
    for (const identity of identities) add(identity, EVERYTHING, { origin, l7: null, authentication });
    return;
  }
  for (const { protocol, port, l7 } of ports) {
    const grant = { origin, l7, authentication };
    const addRange = (identity: number, { first, last }: PortNumbers): void => {
      boundaries.push({ protocol, first, last });
      for (const prefix of prefixesOf(first, last)) add(identity, { protocol, ...prefix }, grant);
    };
    if (typeof port !== 'string') for (const identity of identities) addRange(identity, port);
    else if (origin.direction === 'ingress') {
      // The name is one of the selected pod's own ports; a node has none.
      const numbers = example && numbersOf(port, protocol, example);
      if (numbers) for (const identity of identities) addRange(identity, numbers);
    } else {
      // The name is the peer's: each pod is asked for its own; an address has no named ports.
      for (const identity of identities[0] === 0 ? peers.byNumber.keys() : identities) {
        const peer = peers.byNumber.get(identity);
        const numbers = peer && numbersOf(port, protocol, peer);
        if (numbers) addRange(identity, numbers);
      }
    }
  }
}

function numbersOf(name: string, protocol: number, { example }: PodIdentity): PortNumbers | null {
  const word = protocolOf(protocol);
  const number = word && namedPort(example.spec, name, word)?.containerPort.value;
  return number ? { first: number, last: number } : null;
}
