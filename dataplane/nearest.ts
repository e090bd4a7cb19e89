/** What somebody probably meant who typed something else. */

/** Longer texts are not compared: labels, names and keys of Kubernetes are all shorter. */
const LONGEST = 63;

/**
 * The candidate that a slip or two away from `typed` gives: the nearest, of equals the first in order of UTF-16 units.
 * null where none is near. Texts that differ in digits alone are names of different things (`v1`, `v2`), not slips.
 */
export function nearest(typed: string, candidates: Iterable<string>): string | null {
  let best: string | null = null;
  let least = slipsIn(typed) + 1;
  for (const candidate of candidates) {
    if (candidate === typed || isNumberedAlike(typed, candidate)) continue;
    const distance = distanceOf(typed, candidate, least);
    if (distance < least || (distance === least && best !== null && candidate < best)) {
      best = candidate;
      least = distance;
    }
  }
  return best;
}

/** Letters that a beginning must have to be one: `prot` is of `protocol`. */
const BEGINNING = 3;

const letters = (text: string): string => text.toLowerCase().replace(/[^a-z]/g, '');

/** The key that was probably meant by another: spelt in another way, begun, or a slip or two away. */
export function meantKey(typed: string, keys: readonly string[]): string | null {
  const own = letters(typed);
  const isBegun = (key: string): boolean => own.length >= BEGINNING && letters(key).startsWith(own);
  return keys.find((key) => letters(key) === own) ?? keys.find(isBegun) ?? nearest(typed, keys);
}

/** Short texts are near to too many others. */
const slipsIn = (typed: string): number => (typed.length < 3 ? 0 : typed.length < 6 ? 1 : 2);

const isNumberedAlike = (one: string, other: string): boolean =>
  one.replace(/\d+/g, '0') === other.replace(/\d+/g, '0');

/** Letters to add, drop, change or swap with the next to get from one text to the other; `limit + 1` for more than `limit`. */
function distanceOf(one: string, other: string, limit: number): number {
  if (Math.abs(one.length - other.length) > limit || Math.max(one.length, other.length) > LONGEST) return limit + 1;
  let twoBefore: number[] = [];
  let before = Array.from({ length: other.length + 1 }, (_, j) => j);
  for (let i = 1; i <= one.length; i++) {
    const row = [i];
    for (let j = 1; j <= other.length; j++) {
      const same = one[i - 1] === other[j - 1] ? 0 : 1;
      let cost = Math.min(before[j]! + 1, row[j - 1]! + 1, before[j - 1]! + same);
      if (i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1])
        cost = Math.min(cost, twoBefore[j - 2]! + 1);
      row.push(cost);
    }
    twoBefore = before;
    before = row;
  }
  return Math.min(before[other.length]!, limit + 1);
}
