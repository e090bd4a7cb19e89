import type { Place, SourceText } from './place.js';
import { resolvePlain } from './scalars.js';
import type { Entry, Mapping, Scalar, Sequence, Tree } from './tree.js';

/**
 * The tree of a document in the YAML that programs write: block style, each value on the line of its key or dash, as a word,
 * between quotes without escapes, or in brackets on that line. null for any other, well-formed or not: then the parser decides.
 * Both give the same tree, place by place (`test/manifests/plain.test.ts`); this one takes a fiftieth of the time.
 */
export function plainTreeOf(source: SourceText): Tree | null {
  try {
    return new PlainReader(source).read();
  } catch (error) {
    if (error === NOT_PLAIN) return null;
    throw error;
  }
}

/** Thrown where the parser must decide. */
const NOT_PLAIN = new Error('not plain');

/** What is nested deeper is left to the parser, which knows how deep is too deep. */
const MAX_DEPTH = 32;
/** Letters of a key without a question mark, at most. YAML 1.2.2, section 8.2.2 */
const MAX_KEY = 1024;

/** What a character may be part of: bits. */
const KEY = 1;
const PLAIN = 2;
const QUOTED = 4;

/** Of each ASCII character. What may be an indicator somewhere, and the braces of templates, are part of nothing but quotes. */
const PARTS = new Uint8Array(128);
const partsOf = (characters: string, parts: number): void => {
  for (const character of characters) PARTS[character.charCodeAt(0)]! |= parts;
};
partsOf('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-', KEY | PLAIN | QUOTED);
partsOf(' @+=,~()$^;', PLAIN | QUOTED);
partsOf(':[]*&!|<>?%#', QUOTED);

const NEWLINE = 0x0a;
const SPACE = 0x20;
const DOUBLE_QUOTE = 0x22;
const HASH = 0x23;
const SINGLE_QUOTE = 0x27;
const COMMA = 0x2c;
const DASH = 0x2d;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

const isPart = (unit: number, of: number): boolean => unit < 128 && (PARTS[unit]! & of) !== 0;

/** Ends of lines besides LF: where Kubernetes' reader sees them, the parser does. */
const isOtherLineEnd = (unit: number): boolean => unit === 0x0d || unit === 0x85 || unit === 0x2028 || unit === 0x2029;

class PlainReader {
  private readonly text: string;
  /** Between values: the first character of a line, behind its indentation. */
  private at = 0;
  /** The indentation of that line; -1 behind the last one. */
  private column = 0;
  /** Behind the line of the last value: so far a collection that ends with it reaches. */
  private end = 0;
  private depth = 0;

  constructor(private readonly source: SourceText) {
    this.text = source.text;
  }

  read(): Tree {
    this.nextLine(0);
    if (this.column !== 0) throw NOT_PLAIN;
    const tree = this.block();
    if (this.column >= 0) throw NOT_PLAIN;
    return tree;
  }

  /** Goes to the next line with a value, from the beginning of a line on. A comment must stand above a line as far in as it is. */
  private nextLine(from: number): void {
    const { text } = this;
    let comment = -1;
    for (let start = from; ;) {
      let at = start;
      while (text.charCodeAt(at) === SPACE) at++;
      const unit = text.charCodeAt(at);
      if (unit === NEWLINE) start = at + 1;
      else if (unit === HASH) {
        if (comment !== -1 && comment !== at - start) throw NOT_PLAIN;
        comment = at - start;
        start = this.behindComment(at);
      } else {
        this.at = at;
        this.column = at < text.length ? at - start : -1;
        if (comment !== -1 && comment !== this.column) throw NOT_PLAIN;
        if (this.column === -1 && at > start) throw NOT_PLAIN;
        return;
      }
    }
  }

  private behindComment(from: number): number {
    const { text } = this;
    let at = from;
    while (at < text.length && text.charCodeAt(at) !== NEWLINE)
      if (isOtherLineEnd(text.charCodeAt(at++))) throw NOT_PLAIN;
    return Math.min(at + 1, text.length);
  }

  /** Behind a value, whose line must end there; the next must not be its continuation, which would stand farther in than `column`. */
  private endLine(at: number, column: number): void {
    const { text } = this;
    let end = at;
    while (text.charCodeAt(end) === SPACE) end++;
    if (end < text.length && text.charCodeAt(end) !== NEWLINE) {
      if (end === at || text.charCodeAt(end) !== HASH) throw NOT_PLAIN;
      this.end = this.behindComment(end);
    } else this.end = Math.min(end + 1, text.length);
    this.nextLine(this.end);
    if (this.column > column) throw NOT_PLAIN;
  }

  /** The collection that begins here. */
  private block(): Tree {
    if (++this.depth > MAX_DEPTH) throw NOT_PLAIN;
    const tree = this.isItem(this.at) ? this.sequence() : this.mapping();
    this.depth--;
    return tree;
  }

  private isItem(at: number): boolean {
    return this.text.charCodeAt(at) === DASH && this.text.charCodeAt(at + 1) === SPACE;
  }

  private sequence(): Sequence {
    const { source, text, at: start, column } = this;
    const items: Tree[] = [];
    do {
      const dash = this.at;
      let at = dash + 1;
      while (text.charCodeAt(at) === SPACE) at++;
      if (this.isItem(at) || this.isKey(at)) {
        this.at = at;
        this.column = column + at - dash;
        items.push(this.block());
      } else items.push(this.inline(at, column));
      if (this.column > column) throw NOT_PLAIN;
    } while (this.column === column && this.isItem(this.at));
    return { type: 'sequence', at: { source, start, end: this.end }, items };
  }

  private mapping(): Mapping {
    const { source, text, at: start, column } = this;
    const entries = new Map<string, Entry>();
    let count = 0;
    do {
      const begin = this.at;
      const end = this.keyEnd(begin);
      const name = text.slice(begin, end);
      // Words and numbers are other keys than their letters, and of two alike the parser tells.
      if (end === begin || resolvePlain(name) !== name) throw NOT_PLAIN;
      entries.set(name, { keyAt: { source, start: begin, end }, value: this.valueOf(end + 1, column) });
      if (entries.size !== ++count) throw NOT_PLAIN;
      if (this.column > column) throw NOT_PLAIN;
    } while (this.column === column);
    return { type: 'mapping', at: { source, start, end: this.end }, entries };
  }

  private isKey(at: number): boolean {
    return this.keyEnd(at) > at;
  }

  /** Where a key that begins here ends, before its colon; `from` where none does. */
  private keyEnd(from: number): number {
    const { text } = this;
    let at = from;
    while (isPart(text.charCodeAt(at), KEY)) at++;
    if (text.charCodeAt(at) !== COLON || text.charCodeAt(from) === DASH || at - from > MAX_KEY) return from;
    const next = text.charCodeAt(at + 1);
    return next === SPACE || next === NEWLINE ? at : from;
  }

  /** The value behind a colon: on its line, or on those below, a sequence as far in as its key. */
  private valueOf(from: number, column: number): Tree {
    if (this.text.charCodeAt(from) === SPACE) {
      let at = from;
      while (this.text.charCodeAt(at) === SPACE) at++;
      return this.inline(at, column);
    }
    this.nextLine(from);
    if (this.column > column || (this.column === column && this.isItem(this.at))) return this.block();
    throw NOT_PLAIN;
  }

  /** A value on one line, to its end. */
  private inline(at: number, column: number): Tree {
    const value = this.value(at, false);
    this.endLine(value.at.end, column);
    return value;
  }

  private value(at: number, inBrackets: boolean): Tree {
    switch (this.text.charCodeAt(at)) {
      case DOUBLE_QUOTE:
      case SINGLE_QUOTE:
        return this.quoted(at);
      case OPEN_BRACKET:
        return this.bracketed(at);
      case OPEN_BRACE:
        return this.braced(at);
      default:
        return this.word(at, inBrackets);
    }
  }

  private word(start: number, inBrackets: boolean): Scalar {
    const { text } = this;
    const first = text.charCodeAt(start);
    let end = start;
    if (inBrackets) while (isPart(text.charCodeAt(end), KEY)) end++;
    else while (isPart(text.charCodeAt(end), PLAIN) || this.isInnerColon(end)) end++;
    while (end > start && text.charCodeAt(end - 1) === SPACE) end--;
    if (!isPart(first, KEY) || (first === DASH && !isPart(text.charCodeAt(start + 1), KEY))) throw NOT_PLAIN;
    const word = text.slice(start, end);
    return { type: 'scalar', at: this.place(start, end), value: resolvePlain(word), text: word };
  }

  /** A colon with a letter behind it, as in an image's name. */
  private isInnerColon(at: number): boolean {
    return this.text.charCodeAt(at) === COLON && isPart(this.text.charCodeAt(at + 1), KEY);
  }

  private quoted(start: number): Scalar {
    const { text } = this;
    const quote = text.charCodeAt(start);
    let end = start + 1;
    while (isPart(text.charCodeAt(end), QUOTED)) end++;
    // Two quotes within single ones stand for one of them.
    if (text.charCodeAt(end) !== quote || text.charCodeAt(end + 1) === quote) throw NOT_PLAIN;
    const value = text.slice(start + 1, end);
    return { type: 'scalar', at: this.place(start, end + 1), value, text: value };
  }

  private bracketed(start: number): Sequence {
    const items: Tree[] = [];
    const end = this.each(start, CLOSE_BRACKET, (at) => {
      const item = this.value(at, true);
      items.push(item);
      return item.at.end;
    });
    return { type: 'sequence', at: this.place(start, end), items };
  }

  private braced(start: number): Mapping {
    const { text } = this;
    const entries = new Map<string, Entry>();
    const end = this.each(start, CLOSE_BRACE, (begin) => {
      const end = this.keyEnd(begin);
      const name = text.slice(begin, end);
      if (end === begin || text.charCodeAt(end + 1) !== SPACE || entries.has(name) || resolvePlain(name) !== name)
        throw NOT_PLAIN;
      const value = this.value(this.behindSpaces(end + 1), true);
      entries.set(name, { keyAt: this.place(begin, end), value });
      return value.at.end;
    });
    return { type: 'mapping', at: this.place(start, end), entries };
  }

  /** What stands between brackets, with commas between; `read` says where one ends. Returns where all does. */
  private each(start: number, close: number, read: (at: number) => number): number {
    if (++this.depth > MAX_DEPTH) throw NOT_PLAIN;
    const { text } = this;
    let at = this.behindSpaces(start + 1);
    if (text.charCodeAt(at) !== close)
      for (;;) {
        at = this.behindSpaces(read(at));
        if (text.charCodeAt(at) !== COMMA) break;
        at = this.behindSpaces(at + 1);
      }
    if (text.charCodeAt(at) !== close) throw NOT_PLAIN;
    this.depth--;
    return at + 1;
  }

  private behindSpaces(from: number): number {
    let at = from;
    while (this.text.charCodeAt(at) === SPACE) at++;
    return at;
  }

  private place(start: number, end: number): Place {
    return { source: this.source, start, end };
  }
}
