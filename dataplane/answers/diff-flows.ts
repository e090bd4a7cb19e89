/** Flows as sets: which ports, or messages, are open between two ends, and under what a proxy asks for. */
import { compare } from '../hash.js';
import { compareAddresses, familyOf, formatAddress, plus, type Address } from '../addresses.js';
import type { Protocol } from '../manifests/objects.js';
import { rangeOf } from './ranges.js';
import type { Connection, Reach } from './reach.js';
import type { Layer7, Range, ReachIcmp, ReachPorts, Via } from './reach-open.js';

/** Numbers by what they are of: `from`, `to`, protocol, and what a proxy asks for, or the way to a Service's port; sorted, without overlap. */
export type Flows = ReadonlyMap<string, readonly Range[]>;

const SEPARATOR = '\n';

/** What a proxy asks for, of connections to ports left aside. */
type Ask = Omit<Layer7, 'ranges'>;

const ANYTHING = '';

const isIcmp = (protocol: string): protocol is ReachIcmp['protocol'] => protocol.startsWith('ICMP');

/** Where ranges of addresses begin, in any of these reachabilities. */
export function cutsOf(all: readonly Reach[]): Address[] {
  const cuts = new Set<Address>();
  for (const { connections } of all) {
    for (const { from, to } of connections) {
      for (const end of [from, to]) {
        const range = rangeOf(end);
        if (range) cuts.add(range[0]).add(plus(range[1], 1));
      }
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

export function flowsOf({ connections }: Reach, cuts: readonly Address[]): Flows {
  const flows = new Map<string, readonly Range[]>();
  const parts = new Map<string, string[]>();
  const cut = (end: string): string[] => {
    const known = parts.get(end) ?? partsOf(end, cuts);
    parts.set(end, known);
    return known;
  };
  for (const { from, to, ports, icmp = [] } of connections) {
    const open = [...ports.flatMap(facets), ...icmp.map(({ protocol, types }) => [protocol, ANYTHING, types] as const)];
    for (const source of cut(from)) {
      for (const target of cut(to))
        for (const [protocol, ask, ranges] of open) flows.set([source, target, protocol, ask].join(SEPARATOR), ranges);
    }
  }
  return flows;
}

/** Open ports by what proxies ask of them: one proxy's alternatives each for itself, those of two together. */
function facets({ protocol, ranges, layer7 = [], via }: ReachPorts): (readonly [Protocol, string, readonly Range[]])[] {
  if (via) return [[protocol, JSON.stringify(via), ranges]];
  const free = layer7.reduce<readonly Range[]>((rest, ask) => without(rest, ask.ranges), ranges);
  const found = new Map<string, readonly Range[]>();
  if (free.length > 0) found.set(ANYTHING, free);
  layer7.forEach(({ ranges: own, ...ask }, i) => {
    const others = layer7.filter((_, other) => other !== i);
    const alone = others.reduce<readonly Range[]>((rest, other) => without(rest, other.ranges), own);
    if (alone.length > 0) for (const one of ask.anyOf) found.set(JSON.stringify([{ ...ask, anyOf: [one] }]), alone);
    const shared = others.flatMap((other) => common(own, other.ranges));
    if (shared.length > 0)
      found.set(JSON.stringify(layer7.map(({ direction, kind, anyOf }): Ask => ({ direction, kind, anyOf }))), shared);
  });
  return [...found].map(([ask, open]) => [protocol, ask, open] as const);
}

/** The numbers of `a` that are not in `b`. */
export function without(a: readonly Range[], b: readonly Range[]): Range[] {
  const left: Range[] = [];
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

/** The numbers that both have. */
export const common = (a: readonly Range[], b: readonly Range[]): Range[] => without(a, without(a, b));

/** The flows of `a` that are not in `b`: there, what a proxy asks nothing of holds what one would let. */
export function minus(a: Flows, b: Flows): Flows {
  const left = new Map<string, readonly Range[]>();
  for (const [key, ranges] of a) {
    const freely = [...key.split(SEPARATOR).slice(0, 3), ANYTHING].join(SEPARATOR);
    const rest = without(without(ranges, b.get(key) ?? []), b.get(freely) ?? []);
    if (rest.length > 0) left.set(key, rest);
  }
  return left;
}

/** The flows of which neither end is one of some, nor the two as a pair, nor who answers for a Service. */
export const apartFrom = (flows: Flows, isOne: (end: string) => boolean): Flows =>
  new Map([...flows].filter(([key]) => !endsOf(key).some(isOne)));

function endsOf(key: string): string[] {
  const [from = '', to = '', , ask = ''] = key.split(SEPARATOR);
  const via = viaOf(ask);
  if (!via) return [from, to];
  const pairs = [`${from} → ${to}`, ...(rangeOf(from) ? [`world → ${to}`] : [])];
  return [from, to, ...pairs, via.backend.replace(/:\d+$/, '')];
}

const viaOf = (ask: string): Via | null => (ask.startsWith('{') ? (JSON.parse(ask) as Via) : null);

/** Flows by which of some sets hold them; of each, the numbers of those sets. */
export function sorted(
  flows: Flows,
  sets: readonly Flows[],
): { readonly sets: readonly number[]; readonly flows: Flows }[] {
  const groups = new Map<string, { sets: number[]; flows: Map<string, readonly Range[]> }>();
  for (const [key, ranges] of flows) {
    const holding = sets.flatMap((set, i) => (set.has(key) ? [{ i, ranges: set.get(key)! }] : []));
    const starts = new Set([ranges, ...holding.map((set) => set.ranges)].flat().flatMap(([a, b]) => [a, b + 1]));
    const cuts = [...starts].sort((a, b) => a - b);
    for (const [index, start] of cuts.entries()) {
      const stretch: readonly Range[] = [[start, (cuts[index + 1] ?? start + 1) - 1]];
      if (common(ranges, stretch).length === 0) continue;
      const own = holding.filter((set) => common(set.ranges, stretch).length > 0).map(({ i }) => i);
      const group = groups.get(own.join()) ?? { sets: own, flows: new Map<string, readonly Range[]>() };
      groups.set(own.join(), group);
      group.flows.set(key, joined([...(group.flows.get(key) ?? []), ...stretch]));
    }
  }
  return [...groups.values()];
}

/** Stretches in order as few as can be. */
function joined(ranges: readonly Range[]): Range[] {
  const found: Range[] = [];
  for (const [first, last] of ranges) {
    const before = found.at(-1);
    if (before && before[1] + 1 === first) found[found.length - 1] = [before[0], last];
    else found.push([first, last]);
  }
  return found;
}

/** Flows as connections again, a pair of ends each. */
export function connectionsOf(flows: Flows): Connection[] {
  const pairs = new Map<string, { from: string; to: string; ports: ReachPorts[]; icmp: ReachIcmp[] }>();
  for (const [key, ranges] of flows) {
    const [from = '', to = '', protocol = '', ask = ANYTHING] = key.split(SEPARATOR);
    const pair = pairs.get([from, to].join(SEPARATOR)) ?? { from, to, ports: [], icmp: [] };
    pairs.set([from, to].join(SEPARATOR), pair);
    if (isIcmp(protocol)) pair.icmp.push({ protocol, types: ranges });
    else pair.ports.push(portsOf(protocol as Protocol, ranges, ask));
  }
  return [...pairs.values()].map(({ from, to, ports, icmp }) => ({
    from,
    to,
    ports: mergedAsks(ports),
    ...(icmp.length > 0 ? { icmp } : {}),
  }));
}

function portsOf(protocol: Protocol, ranges: readonly Range[], ask: string): ReachPorts {
  if (ask === ANYTHING) return { protocol, ranges };
  const via = viaOf(ask);
  if (via) return { protocol, ranges, via };
  return { protocol, ranges, layer7: (JSON.parse(ask) as Ask[]).map((one) => ({ ranges, ...one })) };
}

/** The alternatives of one proxy that were told apart, together again where they are about the same ports; and so the nodes of a way. */
function mergedAsks(ports: readonly ReachPorts[]): ReachPorts[] {
  const merged = new Map<string, ReachPorts>();
  for (const open of ports) {
    const [ask, ...more] = open.layer7 ?? [];
    const key = JSON.stringify([
      open.protocol,
      open.ranges,
      ask && more.length === 0 ? [ask.direction, ask.kind] : open.layer7,
      open.via && [open.via.at, open.via.backend],
    ]);
    const [before] = merged.get(key)?.layer7 ?? [];
    const way = merged.get(key)?.via;
    if (way && open.via)
      merged.set(key, {
        ...open,
        via: { ...way, nodes: [...(way.nodes ?? []), ...(open.via.nodes ?? [])].sort(compare) },
      });
    else if (ask && before) merged.set(key, { ...open, layer7: [{ ...ask, anyOf: [...before.anyOf, ...ask.anyOf] }] });
    else merged.set(key, open);
  }
  return [...merged.values()];
}
