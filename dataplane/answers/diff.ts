/** What an edit gains and loses: two reachabilities, compared over the finest ranges that either draws. */
import { compareAddresses, familyOf, formatAddress, plus, type Address } from '../addresses.js';
import { compare } from '../hash.js';
import type { Protocol } from '../manifests/objects.js';
import type { State } from '../state.js';
import type { Decider } from './decide.js';
import { query } from './query.js';
import { mergeRanges, rangeOf } from './ranges.js';
import type { ReachPorts } from './reach-open.js';
import { reach, type Connection, type Reach } from './reach.js';

export interface Change {
  readonly from: string;
  readonly to: string;
  readonly ports: readonly ReachPorts[];
  /** What decides about these packets now: the rules that let them, or the policies that isolate; none where an end is gone or nothing isolates. */
  readonly deciders: readonly Decider[];
}

export interface Diff {
  readonly schema: 'hopscope.diff/1';
  readonly gained: readonly Change[];
  readonly lost: readonly Change[];
  /** Workloads that only one side has. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Ends of either side about which not everything could be read. */
  readonly unknown: readonly string[];
}

type Ranges = (readonly [number, number])[];

/** Open ports by `from`, `to` and protocol. */
type Open = Map<string, Ranges>;

const SEPARATOR = '\n';

export function diff(before: State, after: State): Diff | { readonly error: string } {
  const options = { from: null, to: null, protocol: null };
  const [old, now] = [reach(before, options), reach(after, options)];
  if ('error' in old) return old;
  if ('error' in now) return now;
  const cuts = cutsOf([...old.connections, ...now.connections]);
  const [oldOpen, nowOpen] = [openOf(old, cuts), openOf(now, cuts)];
  const workloads = ({ endpoints }: Reach): Set<string> =>
    new Set(endpoints.filter(({ kind }) => kind !== 'external').map(({ ref }) => ref));
  const [had, has] = [workloads(old), workloads(now)];
  return {
    schema: 'hopscope.diff/1',
    gained: changes(after, nowOpen, oldOpen),
    lost: changes(after, oldOpen, nowOpen),
    added: [...has].filter((ref) => !had.has(ref)).sort(compare),
    removed: [...had].filter((ref) => !has.has(ref)).sort(compare),
    unknown: [...new Set([...old.unknown, ...now.unknown].map(({ ref }) => ref))].sort(compare),
  };
}

/** Where ranges of addresses begin, in either reachability. */
function cutsOf(connections: readonly Connection[]): Address[] {
  const cuts = new Set<Address>();
  for (const { from, to } of connections) {
    for (const end of [from, to]) {
      const range = rangeOf(end);
      if (range) cuts.add(range[0]).add(plus(range[1], 1));
    }
  }
  return [...cuts].sort(compareAddresses);
}

/** An end, or the parts of a range that the cuts make. */
function partsOf(end: string, cuts: readonly Address[]): string[] {
  const range = rangeOf(end);
  if (!range) return [end];
  const [first, last] = range;
  const starts = cuts.filter((cut) => familyOf(cut) === familyOf(first) && cut >= first && cut <= last);
  const endOf = (i: number): Address => (starts[i + 1] === undefined ? last : plus(starts[i + 1]!, -1));
  return starts.map((start, i) => `ip:${formatAddress(start)}-${formatAddress(endOf(i))}`);
}

function openOf({ connections }: Reach, cuts: readonly Address[]): Open {
  const open: Open = new Map();
  for (const { from, to, ports } of connections) {
    for (const source of partsOf(from, cuts)) {
      for (const target of partsOf(to, cuts))
        for (const { protocol, ranges } of ports) open.set([source, target, protocol].join(SEPARATOR), [...ranges]);
    }
  }
  return open;
}

/** The ports of `a` that are not in `b`; both sorted and without overlap. */
export function without(a: Ranges, b: Ranges): Ranges {
  const left: Ranges = [];
  for (const [first, last] of a) {
    let next = first;
    for (const [from, to] of b) {
      if (to < next || from > last) continue;
      if (from > next) left.push([next, from - 1]);
      next = Math.max(next, to + 1);
    }
    if (next <= last) left.push([next, last]);
  }
  return left;
}

/** What `these` has beyond `those`, by pair of ends; ranges of addresses that touch and change alike are one. */
function changes(after: State, these: Open, those: Open): Change[] {
  const pairs = new Map<string, ReachPorts[]>();
  for (const [key, ranges] of these) {
    const more = without(ranges, those.get(key) ?? []);
    if (more.length === 0) continue;
    const [from, to, protocol] = key.split(SEPARATOR) as [string, string, Protocol];
    const pair = [from, to].join(SEPARATOR);
    pairs.set(pair, [...(pairs.get(pair) ?? []), { protocol, ranges: more }]);
  }
  const found = [...pairs].map(([pair, ports]): Change => {
    const [from, to] = pair.split(SEPARATOR) as [string, string];
    return { from, to, ports, deciders: decidersOf(after, from, to, ports[0]!) };
  });
  return mergeRanges(found, (a, b) => JSON.stringify([a.ports, a.deciders]) === JSON.stringify([b.ports, b.deciders]));
}

/** Why the packets of a change fare as they do now: asked with one of them. */
function decidersOf(after: State, from: string, to: string, { protocol, ranges }: ReachPorts): readonly Decider[] {
  const answered = query(after, { from, to, protocol, port: ranges[0]![0], sourcePort: null, node: null, http: null });
  return 'error' in answered ? [] : answered.answer.deciders;
}
