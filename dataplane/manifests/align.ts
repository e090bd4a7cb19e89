/** For each new text: the old document of that very text, or the one that probably was edited into it. */
export interface Alignment<Document> {
  readonly same: Document | null;
  readonly former: Document | null;
}

/**
 * Matches the texts of a file with its documents before an edit. Those of equal text are the same, first along the
 * common beginning and end of the lists, then in order anywhere between. What is left is matched by position between
 * the documents that stayed.
 */
export function align<Document extends { readonly source: { readonly text: string } }>(
  before: readonly Document[],
  texts: readonly string[],
): Alignment<Document>[] {
  const same: (number | null)[] = texts.map(() => null);
  let head = 0;
  while (head < texts.length && before[head]?.source.text === texts[head]) same[head] = head++;
  let tail = 0;
  while (tail < Math.min(texts.length, before.length) - head) {
    if (before.at(-1 - tail)!.source.text !== texts.at(-1 - tail)) break;
    tail++;
    same[texts.length - tail] = before.length - tail;
  }
  matchBetween(before, texts, same, head, tail);

  const kept = new Set(same);
  let next = 0;
  return same.map((index) => {
    if (index !== null) {
      next = Math.max(next, index + 1);
      return { same: before[index]!, former: null };
    }
    const candidate = kept.has(next) ? undefined : before[next];
    if (candidate) next++;
    return { same: null, former: candidate ?? null };
  });
}

function matchBetween<Document extends { readonly source: { readonly text: string } }>(
  before: readonly Document[],
  texts: readonly string[],
  same: (number | null)[],
  head: number,
  tail: number,
): void {
  const byText = new Map<string, number[]>();
  for (let index = before.length - tail - 1; index >= head; index--) {
    const text = before[index]!.source.text;
    const indices = byText.get(text);
    if (indices) indices.push(index);
    else byText.set(text, [index]);
  }
  if (byText.size === 0) return;
  for (let index = head; index < texts.length - tail; index++) {
    same[index] = byText.get(texts[index]!)?.pop() ?? null;
  }
}
