/** What an edit gains and loses: two reachabilities, compared as sets, and which part of the edit each flow comes from. */
import { compare } from '../hash.js';
import type { State } from '../state.js';
import type { Decider } from './decide.js';
import { MAX_ENTRIES } from './cases.js';
import { causesOf, unknownIn, type Caused } from './diff-causes.js';
import type { Edit } from './diff-edits.js';
import { connectionsOf } from './diff-flows.js';
import { nodesOf } from './diff-services.js';
import { query } from './query.js';
import { endsOf } from './reach-ends.js';
import { mergeRanges } from './ranges.js';
import type { Connection, Reach } from './reach.js';

export interface Change extends Connection {
  /** What decides about these packets now: the rules that let them, or the policies that isolate; none where an end is gone or nothing isolates. */
  readonly deciders: readonly Decider[];
  /** The edits that brought it about, by their number in `edits`. */
  readonly edits: readonly number[];
  /** Whether only all of these edits together do; else each of them alone does. */
  readonly together: boolean;
}

export interface Diff {
  readonly schema: 'hopscope.diff/1';
  /** What was edited, where anything is gained or lost. */
  readonly edits: readonly Edit[];
  readonly gained: readonly Change[];
  readonly lost: readonly Change[];
  /** Workloads that only one side has. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Ends of either side about which not everything could be read: no flow of theirs counts as gained or lost. */
  readonly unknown: readonly string[];
  /** Those of them about which everything could be read before. */
  readonly newlyUnknown: readonly string[];
}

/** Whether there is anything to tell of. */
export const isDifferent = ({ gained, lost, newlyUnknown }: Diff): boolean =>
  gained.length + lost.length + newlyUnknown.length > 0;

/** `module` is the tracing build of the datapath. */
export function diff(before: State, after: State, module: WebAssembly.Module): Diff {
  const { old, now, edits, gained, lost } = causesOf(before, after, module);
  const [had, has] = [workloadsIn(old), workloadsIn(now)];
  const unread = unknownIn(old);
  return {
    schema: 'hopscope.diff/1',
    edits,
    gained: gained.flatMap((caused) => changes(after, after, caused)),
    lost: lost.flatMap((caused) => changes(before, after, caused)),
    added: [...has].filter((ref) => !had.has(ref)).sort(compare),
    removed: [...had].filter((ref) => !has.has(ref)).sort(compare),
    unknown: [...unknownIn(old, now)].sort(compare),
    newlyUnknown: [...unknownIn(now)].filter((ref) => !unread.has(ref)).sort(compare),
  };
}

const workloadsIn = ({ endpoints }: Reach): Set<string> =>
  new Set(endpoints.filter(({ kind }) => kind !== 'external').map(({ ref }) => ref));

/** Flows of the same edits, by pair of ends, as they are in one state; ranges of addresses that touch and change alike are one. */
function changes(state: State, after: State, { flows, edits, together }: Caused): Change[] {
  const clients = new Map(endsOf(state).map((end) => [end.ref, nodesOf(state, end)]));
  const everywhere = state.cluster.nodes.map(({ name }) => name);
  const likes = new Map(endsOf(after).map(({ ref, like }) => [ref, like]));
  const asked = new Map<string, readonly Decider[]>();
  /** Ends that are alike have the same deciders. */
  const deciders = (connection: Connection): readonly Decider[] => {
    const { from, to, ports, icmp } = connection;
    const key = JSON.stringify([likes.get(from) ?? from, likes.get(to) ?? to, ports, icmp]);
    const known = asked.get(key) ?? decidersOf(after, connection);
    asked.set(key, known);
    return known;
  };
  /** Nodes are left out where they are all that the client may be on. */
  const plain = (connection: Connection): Connection => ({
    ...connection,
    ports: connection.ports.map((open) => {
      if (!open.via) return open;
      const own = clients.get(connection.from) ?? everywhere;
      const isBalanced = !['ClusterIP', 'NodePort'].includes(open.via.at);
      const nodes = isBalanced ? own.slice(0, MAX_ENTRIES) : own;
      if (!nodes.every((node) => open.via!.nodes?.includes(node))) return open;
      const { at, backend } = open.via;
      return { ...open, via: { at, backend } };
    }),
  });
  const found = connectionsOf(flows)
    .map(plain)
    .map((connection): Change => ({
      ...connection,
      deciders: deciders(connection),
      edits,
      together,
    }));
  const told = ({ ports, icmp, deciders }: Change): string => JSON.stringify([ports, icmp, deciders]);
  return mergeRanges(found, (a, b) => told(a) === told(b));
}

/** Why the packets of a change fare as they do now: asked with one of them. */
function decidersOf(after: State, { from, to, ports, icmp = [] }: Connection): readonly Decider[] {
  const [open] = ports;
  const [message] = icmp;
  // At a node port, or an address outside, it is the Service that says who gets there.
  if (open?.via && open.via.at !== 'ClusterIP') return [];
  const asked = open
    ? { protocol: open.protocol, port: open.ranges[0]![0], icmpType: null }
    : { protocol: message!.protocol, port: null, icmpType: message!.types[0]![0] };
  const answered = query(after, { from, to, ...asked, sourcePort: null, node: null, http: null });
  return 'error' in answered ? [] : answered.answer.deciders;
}
