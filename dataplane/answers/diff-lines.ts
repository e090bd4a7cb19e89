/** Where two texts differ, line by line. */

/** Lines `from` up to, not including, `to` of the old text, and what stands there in the new. */
export interface Hunk {
  readonly old: readonly [from: number, to: number];
  readonly now: readonly [from: number, to: number];
}

export const linesOf = (text: string): string[] => text.split('\n');

/** Longer texts than this, the product of their lines, are one hunk from their first to their last difference. */
const MOST = 4_000_000;

/** The hunks that make the new lines of the old; those of several items of a list are one for each item. */
export function hunksOf(old: readonly string[], now: readonly string[]): Hunk[] {
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head++;
  let tail = 0;
  const most = Math.min(old.length, now.length) - head;
  while (tail < most && old.at(-1 - tail) === now.at(-1 - tail)) tail++;
  const [oldEnd, nowEnd] = [old.length - tail, now.length - tail];
  if (head === oldEnd && head === nowEnd) return [];
  const size = (oldEnd - head) * (nowEnd - head);
  const pairs = size > MOST ? [] : common(old.slice(head, oldEnd), now.slice(head, nowEnd));
  const hunks: Hunk[] = [];
  let [i, j] = [head, head];
  for (const [a, b] of [...pairs.map(([a, b]) => [a + head, b + head] as const), [oldEnd, nowEnd] as const]) {
    if (a > i || b > j) hunks.push({ old: [i, a], now: [j, b] });
    [i, j] = [a + 1, b + 1];
  }
  return hunks.map((hunk) => slid(hunk, old, now)).flatMap((hunk) => items(hunk, old, now));
}

/** Pairs of lines of a longest common subsequence. */
function common(a: readonly string[], b: readonly string[]): [number, number][] {
  const width = b.length + 1;
  const longest = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--)
      longest[i * width + j] =
        a[i] === b[j]
          ? longest[(i + 1) * width + j + 1]! + 1
          : Math.max(longest[(i + 1) * width + j]!, longest[i * width + j + 1]!);
  }
  const pairs: [number, number][] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) pairs.push([i++, j++]);
    else if (longest[(i + 1) * width + j]! >= longest[i * width + j + 1]!) i++;
    else j++;
  }
  return pairs;
}

const isItem = (line: string | undefined): boolean => line !== undefined && /^\s*- /.test(line);
const indentOf = (line: string): number => line.length - line.trimStart().length;

/** What is only added, or only taken away, may begin further up where the lines are alike: at the beginning of an item, if it can. */
function slid(hunk: Hunk, old: readonly string[], now: readonly string[]): Hunk {
  const added = hunk.old[0] === hunk.old[1];
  if (!added && hunk.now[0] !== hunk.now[1]) return hunk;
  const lines = added ? now : old;
  const [from, to] = added ? hunk.now : hunk.old;
  for (let up = 0; from - up >= 0; up++) {
    if (isItem(lines[from - up])) {
      const move = ([first, last]: readonly [number, number]): [number, number] => [first - up, last - up];
      return { old: move(hunk.old), now: move(hunk.now) };
    }
    if (lines[from - up - 1] !== lines[to - up - 1]) break;
  }
  return hunk;
}

/** A hunk of whole items of a list as one for each: where it only adds or takes away, or has as many lines before as after. */
function items(hunk: Hunk, old: readonly string[], now: readonly string[]): Hunk[] {
  const { old: before, now: after } = hunk;
  const sizes = [before[1] - before[0], after[1] - after[0]] as const;
  const sides = [sizes[0] > 0 ? old.slice(...before) : null, sizes[1] > 0 ? now.slice(...after) : null].filter(
    (side) => side !== null,
  );
  const startsOf = (lines: readonly string[]): number[] =>
    lines.flatMap((line, i) => (isItem(line) && indentOf(line) === indentOf(lines[0]!) ? [i] : []));
  const [starts = [], others = starts] = sides.map(startsOf);
  const alike = sides.length === 1 || sizes[0] === sizes[1];
  if (!alike || starts[0] !== 0 || starts.join() !== others.join()) return [hunk];
  return starts.map((start, i) => {
    const end = starts[i + 1];
    const part = ([from, to]: readonly [number, number]): [number, number] =>
      from === to ? [from, to] : [from + start, end === undefined ? to : from + end];
    return { old: part(before), now: part(after) };
  });
}
