/** Ranges of addresses as ends of flows: `ip:FIRST-LAST`. */
import { compareAddresses, parseAddress, plus, type Address } from '../addresses.js';
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

/** The end that two ranges make together, where the second follows upon the first. */
function joined(a: string, b: string): string | null {
  const [x, y] = [rangeOf(a), rangeOf(b)];
  return x && y && plus(x[1], 1) === y[0] ? `${a.slice(0, a.indexOf('-'))}${b.slice(b.indexOf('-'))}` : null;
}

/** Flows whose ranges touch, and that are alike otherwise, as one; in the order of their ends. */
export function mergeRanges<Flow extends { readonly from: string; readonly to: string }>(
  flows: readonly Flow[],
  alike: (a: Flow, b: Flow) => boolean,
): Flow[] {
  const merged: Flow[] = [];
  for (const flow of [...flows].sort((a, b) => compareEnds(a.from, b.from) || compareEnds(a.to, b.to))) {
    const index = merged.findIndex(
      (before) =>
        ((before.from === flow.from && joined(before.to, flow.to)) ||
          (before.to === flow.to && joined(before.from, flow.from))) &&
        alike(before, flow),
    );
    const before = merged[index];
    if (!before) merged.push(flow);
    else if (before.from === flow.from) merged[index] = { ...before, to: joined(before.to, flow.to)! };
    else merged[index] = { ...before, from: joined(before.from, flow.from)! };
  }
  return merged;
}
