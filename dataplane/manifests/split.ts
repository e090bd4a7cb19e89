import { linesBetween } from './place.js';

export const MAX_DOCUMENTS = 100_000;

/** The text of one document and where it stands in its file; see SourceText. */
export interface Piece {
  readonly text: string;
  readonly offset: number;
  readonly line: number;
}

/** A line that starts with `---` or `...`, and the rest of it. What must not stand before it is quicker to see than what must. */
const MARKER = /(?<![^\r\n])(---|\.\.\.)(?=[ \t\r\n]|$)([^\r\n]*)(?:\r\n|\r|\n|$)/g;

/** A line that is neither blank nor a comment. */
const CONTENT = /^[^\S\r\n]*[^\s#]/m;

/** Only directives, comments and blank lines, with at least one directive. */
const DIRECTIVES = /^%/m;
const BEYOND_DIRECTIVES = /^[^\S\r\n]*[^\s#%]/m;

/**
 * Splits a file at its document markers, which YAML allows nowhere else at the left margin. Documents without
 * content are left out. A marker line with content after it (`--- {a: b}`) belongs to the document it opens.
 * Null where the file holds more than MAX_DOCUMENTS.
 */
export function split(text: string): Piece[] | null {
  const pieces: Piece[] = [];
  let markers = 0;
  let start = 0;
  let line = 0;
  let counted = 0;

  const cut = (end: number): void => {
    const piece = text.slice(start, end);
    if (!CONTENT.test(piece)) return;
    line += linesBetween(text, counted, start);
    counted = start;
    pieces.push({ text: piece, offset: start, line });
  };

  for (const marker of text.matchAll(MARKER)) {
    if (++markers > MAX_DOCUMENTS) return null;
    const opens = marker[1] === '---';
    const before = text.slice(start, marker.index);
    if (opens && DIRECTIVES.test(before) && !BEYOND_DIRECTIVES.test(before)) continue;
    cut(marker.index);
    start = opens && CONTENT.test(marker[2]!) ? marker.index : marker.index + marker[0].length;
  }
  cut(text.length);
  return pieces;
}
