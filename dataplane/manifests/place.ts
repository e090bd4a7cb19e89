/** A position as the editor counts: line and column from 1, columns in UTF-16 units. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** From `start` up to, not including, `end`. */
export interface Range {
  readonly start: Position;
  readonly end: Position;
}

/** A range in a file; what a message, a link or an `origin` points at. */
export interface Location {
  readonly file: string;
  readonly range: Range;
}

/**
 * The text that places count in: one YAML document of a file. When text above it changes, only `offset` and
 * `line` move, so everything read from the document, and everything computed from that, stays as it is.
 */
export class SourceText {
  /** null until somebody asks, for few documents are ever shown. Nothing that tells of a text, such as JSON, tells of this. */
  #lineStarts: readonly number[] | null = null;

  /** `offset`: UTF-16 units from the start of the file to the start of `text`; `line`: lines of the file above its first line. */
  constructor(
    readonly file: string,
    readonly text: string,
    public offset = 0,
    public line = 0,
  ) {}

  /** Offsets in `text` at which its lines start; the first is 0. */
  get lineStarts(): readonly number[] {
    return (this.#lineStarts ??= lineStartsOf(this.text));
  }
}

/** A stretch of a source text, in UTF-16 units from its start. */
export interface Place {
  readonly source: SourceText;
  readonly start: number;
  readonly end: number;
}

/** A value and the place it was read from. */
export interface Located<T> {
  readonly value: T;
  readonly at: Place;
}

const NO_VALUES: ReadonlyMap<string, never> = new Map<string, never>();

/** Values without their places. */
export function valuesOf<T>(located: ReadonlyMap<string, Located<T>>): ReadonlyMap<string, T> {
  if (located.size === 0) return NO_VALUES;
  const values = new Map<string, T>();
  for (const [key, { value }] of located) values.set(key, value);
  return values;
}

/** Offsets at which the lines of `text` start: after each LF, CR LF or lone CR. */
function lineStartsOf(text: string): number[] {
  const starts = [0];
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 0x0a || (unit === 0x0d && text.charCodeAt(i + 1) !== 0x0a)) starts.push(i + 1);
  }
  return starts;
}

/** How many lines of `text` end between two offsets: the same, of which none is kept. */
export function linesBetween(text: string, from: number, to: number): number {
  const part = text.slice(from, to);
  let lines = 0;
  for (let i = part.indexOf('\n'); i !== -1; i = part.indexOf('\n', i + 1)) lines++;
  for (let i = part.indexOf('\r'); i !== -1; i = part.indexOf('\r', i + 1)) if (part[i + 1] !== '\n') lines++;
  return lines;
}

function positionIn(source: SourceText, offset: number): Position {
  let low = 0;
  let high = source.lineStarts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (source.lineStarts[middle]! <= offset) low = middle;
    else high = middle - 1;
  }
  return { line: source.line + low + 1, column: offset - source.lineStarts[low]! + 1 };
}

/** Where a place stands in its file now. */
export function locate(place: Place): Location {
  return {
    file: place.source.file,
    range: { start: positionIn(place.source, place.start), end: positionIn(place.source, place.end) },
  };
}

/** `file:line`, as messages name a place. */
export function lineOf(place: Place): string {
  const { file, range } = locate(place);
  return `${file}:${range.start.line}`;
}

/** The offset in a source text of a position in its file; null when the position is not in it. */
export function offsetIn(source: SourceText, { line, column }: Position): number | null {
  const start = source.lineStarts[line - 1 - source.line];
  if (start === undefined) return null;
  const offset = start + column - 1;
  return offset <= source.text.length ? offset : null;
}

/** What a place has on its first line: what is marked of a thing that spans several. */
export function firstLineOf({ source, start, end }: Place): Place {
  const newline = source.text.indexOf('\n', start);
  return { source, start, end: newline > start && newline < end ? newline : end };
}

/** Where the value of a place ends: without the white space and line ends that a block takes in after it. */
export function endOf({ source, start, end }: Place): Place {
  let last = Math.min(end, source.text.length);
  while (last > start && /\s/.test(source.text[last - 1]!)) last--;
  return { source, start: last, end: last };
}
