/** Ranges of addresses as ends of flows: `ip:FIRST-LAST`. */
import { compareAddresses, familyOf, parseAddress, plus, type Address } from '../addresses.js';
import { compare } from '../hash.js';

const RANGE = /^ip:([\da-f.:]+)-([\da-f.:]+)$/;

/** First and last address of an end; null for one that is no range. */
export function rangeOf(end: string): readonly [Address, Address] | null {
  const [, first, last] = RANGE.exec(end) ?? [];
  return first === undefined || last === undefined ? null : [parseAddress(first)!, parseAddress(last)!];
}

/** Workloads by name, then ranges by address. */
export function compareEnds(a: string, b: string): number {
  const [x, y] = [rangeOf(a), rangeOf(b)];
  if (x && y) return compareAddresses(x[0], y[0]);
  return x ? 1 : y ? -1 : compare(a, b);
}

/** One range of two, where the second follows upon the first. */
const joined = (a: string, b: string): string => `${a.slice(0, a.indexOf('-'))}${b.slice(b.indexOf('-'))}`;

/** Flows whose ranges touch, and that are alike otherwise, as one; in the order of their ends. */
export function mergeRanges<Flow extends { readonly from: string; readonly to: string }>(
  flows: readonly Flow[],
  alike: (a: Flow, b: Flow) => boolean,
): Flow[] {
  const merged: Flow[] = [];
  /** Where the flows are that end right before an address: by their other end and that address. */
  const before = new Map<string, number[]>();
  const keyOf = (side: 'from' | 'to', other: string, address: Address): string =>
    `${side} ${other} ${familyOf(address)} ${address}`;
  const note = (flow: Flow, index: number): void => {
    for (const [side, other] of SIDES) {
      const range = rangeOf(flow[side]);
      if (!range) continue;
      const key = keyOf(side, flow[other], plus(range[1], 1));
      before.set(key, [...(before.get(key) ?? []), index]);
    }
  };
  for (const flow of [...flows].sort((a, b) => compareEnds(a.from, b.from) || compareEnds(a.to, b.to))) {
    const found = SIDES.flatMap(([side, other]) => {
      const range = rangeOf(flow[side]);
      const indices = range ? (before.get(keyOf(side, flow[other], range[0])) ?? []) : [];
      const index = indices.find((one) => alike(merged[one]!, flow));
      return index === undefined ? [] : [{ side, index }];
    });
    const [into] = found;
    if (!into) note(flow, merged.push(flow) - 1);
    else {
      const { side, index } = into;
      const one = merged[index]!;
      const key = keyOf(side, one[side === 'to' ? 'from' : 'to'], plus(rangeOf(one[side])![1], 1));
      before.set(
        key,
        before.get(key)!.filter((other) => other !== index),
      );
      merged[index] = { ...one, [side]: joined(one[side], flow[side]) };
      note(merged[index], index);
    }
  }
  return merged;
}

const SIDES = [
  ['to', 'from'],
  ['from', 'to'],
] as const;
