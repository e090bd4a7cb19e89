/** The policymap of pods, or nodes, to which the same policies apply. */
import { ReservedIdentity } from '../../assembly/abi.js';
import { namedPort } from '../cluster/cluster.js';
import { groupedBy, joined } from '../kept.js';
import type { PodIdentity } from './identities.js';
import { EVERYTHING, MapState, type Grant, type PolicymapEntry } from './mapstate.js';
import { protocolOf } from './networkpolicy.js';
import { among, identitiesOf, type PeerNumbers } from './peers.js';
import {
  prefixesOf,
  type Direction,
  type Policy,
  type PortNumbers,
  type PortRange,
  type Rule,
  type TrafficPrefix,
} from './rules.js';
import { areOrdered, stacksOf } from './tiers.js';
import { TierState, type TieredPolicymap } from './tierstate.js';

/** The policy of all pods, or nodes, to which the same policies apply in the same way. */
export interface CompiledPolicy {
  readonly id: number;
  readonly applied: readonly Policy[];
  /** The policies that isolate the pods, by direction; none: not isolated. */
  readonly isolatedBy: Readonly<Record<Direction, readonly Policy[]>>;
  /** The entries by the identity that they are about, 0 for any; in the order of these. */
  readonly rows: ReadonlyMap<number, readonly PolicymapEntry[]>;
  /** The same in one list. */
  readonly entries: readonly PolicymapEntry[];
  /** Where policies are asked in an order: who isolates from what no entry holds. An entry is then decided by all that it names. */
  readonly refusals: TieredPolicymap['refusals'] | null;
  /** Where the answer may change within a protocol, besides the start of the port range. */
  readonly boundaries: readonly PortRange[];
}

/** What a policymap is made of besides the peers of its rules. */
export interface Subjects {
  readonly id: number;
  readonly applied: readonly Policy[];
  /** Any of the pods; null for nodes. */
  readonly example: PodIdentity | null;
  /** Whether the pods' own node always reaches them. */
  readonly localhost: boolean;
}

/** Whether compiling looks at identities beyond whom peers select: at all there are, or at the ports of others' pods. */
export const asksPeers = (applied: readonly Policy[]): boolean =>
  areOrdered(applied) ||
  applied.some(({ rules }) =>
    rules.some(
      ({ origin, ports }) => origin.direction === 'egress' && ports?.some(({ port }) => typeof port === 'string'),
    ),
  );

/** The policymap of some pods, or nodes; of peers that are not all there are, the part about those. */
export function compilePolicymap(subjects: Subjects, peers: PeerNumbers): CompiledPolicy {
  const { applied } = subjects;
  if (areOrdered(applied)) {
    const { entries, refusals } = tieredEntries(subjects, peers);
    return policymapOf(subjects, rowsOf(entries), refusals, peers);
  }
  return policymapOf(subjects, rowsOf(entriesOf(subjects, peers)), null, peers);
}

/** The same again where some peers have come to be among those that rules select, or are so no more; all other rows stay. */
export function recompilePolicymap(
  before: CompiledPolicy,
  subjects: Subjects,
  peers: PeerNumbers,
  changed: ReadonlySet<number>,
): CompiledPolicy {
  const fresh = [...rowsOf(entriesOf(subjects, among(peers, changed)))].filter(([number]) => changed.has(number));
  const rows = new Map<number, readonly PolicymapEntry[]>();
  let next = 0;
  for (const [number, row] of before.rows) {
    while (next < fresh.length && fresh[next]![0] <= number) rows.set(...fresh[next++]!);
    if (!changed.has(number)) rows.set(number, row);
  }
  for (const [number, row] of fresh.slice(next)) rows.set(number, row);
  return policymapOf(subjects, rows, null, peers);
}

/** Of a policymap, the rows about these identities. */
export const only = (policymap: CompiledPolicy, identities: ReadonlySet<number>): CompiledPolicy =>
  withRows(policymap, new Map([...policymap.rows].filter(([identity]) => identities.has(identity))));

function policymapOf(
  subjects: Subjects,
  rows: CompiledPolicy['rows'],
  refusals: CompiledPolicy['refusals'],
  peers: PeerNumbers,
): CompiledPolicy {
  const { id, applied } = subjects;
  const isolatedBy = { ingress: isolating(applied, 'ingress'), egress: isolating(applied, 'egress') };
  return withRows({ id, applied, isolatedBy, refusals, boundaries: boundariesOf(subjects, peers) }, rows);
}

const withRows = (
  { id, applied, isolatedBy, refusals, boundaries }: Omit<CompiledPolicy, 'rows' | 'entries'>,
  rows: CompiledPolicy['rows'],
): CompiledPolicy => ({
  id,
  applied,
  isolatedBy,
  rows,
  get entries() {
    return joined([...rows.values()]);
  },
  refusals,
  boundaries,
});

const isolating = (applied: readonly Policy[], direction: Direction): Policy[] =>
  applied.filter(({ isolates }) => isolates.includes(direction));

function rowsOf(entries: readonly PolicymapEntry[]): CompiledPolicy['rows'] {
  return inOrder(groupedBy(entries, ({ identity }) => identity));
}

const inOrder = <Row>(rows: ReadonlyMap<number, Row>): ReadonlyMap<number, Row> =>
  new Map([...rows].sort(([a], [b]) => a - b));

/** The rules that are about the pods. */
const rulesFor = ({ rules }: Policy, { example }: Subjects, peers: PeerNumbers): readonly Rule[] =>
  rules.filter(({ own }) => own === undefined || (example !== null && peers.has(own, example)));

function entriesOf(subjects: Subjects, peers: PeerNumbers): PolicymapEntry[] {
  const { applied, localhost } = subjects;
  const state = new MapState();
  if (isolating(applied, 'egress').length === 0) state.add(0, true, EVERYTHING, false, []);
  if (isolating(applied, 'ingress').length === 0) state.add(0, false, EVERYTHING, false, []);
  // Cilium's allow-localhost, and Kubernetes' rule that a pod's own node always reaches it.
  else if (localhost) state.add(ReservedIdentity.HOST, false, EVERYTHING, false, []);
  for (const rule of applied.flatMap((policy) => rulesFor(policy, subjects, peers)))
    for (const { identities, traffic, grant } of said(rule, subjects, peers)) {
      const grants = [grant];
      for (const identity of identities)
        for (const one of traffic) state.add(identity, rule.origin.direction === 'egress', one, rule.deny, grants);
    }
  return state.list();
}

function tieredEntries(subjects: Subjects, peers: PeerNumbers): TieredPolicymap {
  const { applied, localhost } = subjects;
  const state = new TierState(stacksOf(applied), peers.everyone, localhost);
  for (const policy of applied)
    for (const rule of rulesFor(policy, subjects, peers)) {
      // Rules that are written as one stand in one place.
      const nth = policy.rules.findIndex(({ origin }) => origin === rule.origin);
      const action = rule.pass ? 'pass' : rule.deny ? 'deny' : 'allow';
      for (const { identities, traffic, grant } of said(rule, subjects, peers))
        for (const identity of identities)
          for (const one of traffic)
            state.add(rule.origin.direction, identity, { traffic: one, policy, nth, action, grant });
    }
  return state.list();
}

/** Where the answer may change: the ports that rules name, of peers that there are. */
function boundariesOf(subjects: Subjects, peers: PeerNumbers): readonly PortRange[] {
  const found = new Map<string, PortRange>();
  for (const rule of subjects.applied.flatMap((policy) => rulesFor(policy, subjects, peers)))
    for (const { identities, range } of said(rule, subjects, peers))
      if (range && identities.length > 0) found.set(`${range.protocol} ${range.first} ${range.last}`, range);
  return [...found.values()].sort((a, b) => a.protocol - b.protocol || a.first - b.first || a.last - b.last);
}

/** What a rule says of some identities: of the same ports, or, with null, of any traffic. */
interface Said {
  readonly identities: readonly number[];
  readonly range: PortRange | null;
  readonly traffic: readonly TrafficPrefix[];
  readonly grant: Grant;
}

function said(rule: Rule, { example }: Subjects, peers: PeerNumbers): Said[] {
  const { origin, authentication } = rule;
  const identities = identitiesOf(rule, peers);
  if (rule.ports === null)
    return [{ identities, range: null, traffic: [EVERYTHING], grant: { origin, l7: null, authentication } }];
  return rule.ports.flatMap(({ protocol, port, l7 }): Said[] => {
    const grant = { origin, l7, authentication };
    const of = (some: readonly number[], ports: PortNumbers | null): Said[] => {
      if (!ports) return [];
      const { first, last } = ports;
      const traffic = prefixesOf(first, last).map((prefix) => ({ protocol, ...prefix }));
      return [{ identities: some, range: { protocol, first, last }, traffic, grant }];
    };
    if (typeof port !== 'string') return of(identities, port);
    // The name is one of the selected pod's own ports; a node has none.
    if (origin.direction === 'ingress') return of(identities, example && numbersOf(port, protocol, example));
    // The name is the peer's: each pod is asked for its own; an address has no named ports.
    return [...(identities[0] === 0 ? peers.byNumber.keys() : identities)].flatMap((identity) => {
      const peer = peers.byNumber.get(identity);
      return of([identity], peer ? numbersOf(port, protocol, peer) : null);
    });
  });
}

/** The ports that a pod has under a name; null for none. */
export function numbersOf(name: string, protocol: number, { example }: PodIdentity): PortNumbers | null {
  const word = protocolOf(protocol);
  const number = word && namedPort(example.spec, name, word)?.containerPort.value;
  return number ? { first: number, last: number } : null;
}
