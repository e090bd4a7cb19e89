/**
 * Regular expressions as Envoy matches them: RE2's syntax, which holds POSIX's extended one, over the whole text. Each state that
 * could be reached is kept at once, so that no expression and no text make matching slow. Thompson, "Regular Expression Search
 * Algorithm" (CACM 1968).
 */

type Test = (code: number) => boolean;

/** One state: a character to read, a place in the text to be at, or ways to go on without reading. */
type State =
  | { readonly kind: 'read'; readonly test: Test; readonly next: number }
  | { readonly kind: 'at'; readonly end: boolean; readonly next: number }
  | { readonly kind: 'split'; readonly next: readonly number[] }
  | { readonly kind: 'accept' };

/** A part of an expression. */
interface Part {
  /** States that it is built of, at least 1 also where it needs none. */
  readonly size: number;
  /** Builds them so that they lead to `next`, and returns where they begin. */
  readonly build: (states: State[], next: number) => number;
}

export interface Regex {
  /** Whether the expression matches all of a text. */
  readonly matches: (text: string) => boolean;
}

/** States of one expression at most: repetitions multiply. RE2 has such a limit as well. */
const MAX_STATES = 20_000;
/** Repetitions that an expression may count to. RE2 `kMaxRepeat`. */
const MAX_REPEAT = 1000;
const MAX_DEPTH = 100;

const CLASSES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    alnum: 'A-Za-z0-9',
    alpha: 'A-Za-z',
    digit: '0-9',
    lower: 'a-z',
    upper: 'A-Z',
    punct: '!-/:-@[-`{-~',
    space: '\\t-\\r ',
    blank: '\\t ',
    word: 'A-Za-z0-9_',
    xdigit: '0-9A-Fa-f',
  }),
);

const ESCAPED_CLASSES: Readonly<Record<string, string>> = { d: '0-9', w: 'A-Za-z0-9_', s: '\\t\\n\\f\\r ' };
const ESCAPED_CHARACTERS: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', f: '\f', v: '\v', a: '\x07' };

class Unsupported extends Error {}

/** An expression ready to match; null where it is none, or has syntax beyond what is told above. */
export function compileRegex(pattern: string): Regex | null {
  try {
    const states: State[] = [{ kind: 'accept' }];
    const start = new Parser(pattern).whole().build(states, 0);
    return { matches: (text) => run(states, start, text) };
  } catch (error) {
    if (error instanceof Unsupported) return null;
    throw error;
  }
}

/** A part is refused before it is built: one repetition around another multiplies. */
function part(size: number, build: Part['build']): Part {
  if (size > MAX_STATES) throw new Unsupported();
  return { size, build };
}

const one = (state: (next: number) => State): Part => part(1, (states, next) => states.push(state(next)) - 1);

const sizeOf = (parts: readonly Part[]): number => parts.reduce((sum, { size }) => sum + size, 1);

function run(states: readonly State[], start: number, text: string): boolean {
  let current = closure(states, [start], true, text === '');
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const reached: number[] = [];
    for (const index of current) {
      const state = states[index]!;
      if (state.kind === 'read' && state.test(code)) reached.push(state.next);
    }
    current = closure(states, reached, false, i === text.length - 1);
  }
  return current.has(0);
}

/** All states that can be reached without reading. */
function closure(states: readonly State[], from: readonly number[], first: boolean, last: boolean): Set<number> {
  const found = new Set<number>();
  const open = [...from];
  for (let index = open.pop(); index !== undefined; index = open.pop()) {
    if (found.has(index)) continue;
    found.add(index);
    const state = states[index]!;
    if (state.kind === 'split') open.push(...state.next);
    else if (state.kind === 'at' && (state.end ? last : first)) open.push(state.next);
  }
  return found;
}

const sequence = (parts: readonly Part[]): Part =>
  part(sizeOf(parts), (states, next) => parts.reduceRight((end, { build }) => build(states, end), next));

const either = (parts: readonly Part[]): Part =>
  parts.length === 1
    ? parts[0]!
    : part(sizeOf(parts), (states, next) => {
        const ways = parts.map(({ build }) => build(states, next));
        return states.push({ kind: 'split', next: ways }) - 1;
      });

const optional = ({ size, build }: Part): Part =>
  part(size + 1, (states, next) => states.push({ kind: 'split', next: [build(states, next), next] }) - 1);

/** Any number of times: the split comes first, so that the part can lead back to it. */
const star = ({ size, build }: Part): Part =>
  part(size + 1, (states, next) => {
    const ways = [next];
    const split = states.push({ kind: 'split', next: ways }) - 1;
    ways.push(build(states, split));
    return split;
  });

const read = (test: Test): Part => one((next) => ({ kind: 'read', test, next }));

const at = (end: boolean): Part => one((next) => ({ kind: 'at', end, next }));

class Parser {
  private position = 0;
  private depth = 0;

  constructor(private readonly pattern: string) {}

  whole(): Part {
    const part = this.alternatives();
    if (this.position < this.pattern.length) throw new Unsupported();
    return part;
  }

  private get next(): string | undefined {
    return this.pattern[this.position];
  }

  private take(text: string): boolean {
    if (!this.pattern.startsWith(text, this.position)) return false;
    this.position += text.length;
    return true;
  }

  private alternatives(): Part {
    if (++this.depth > MAX_DEPTH) throw new Unsupported();
    const parts = [this.repeats()];
    while (this.take('|')) parts.push(this.repeats());
    this.depth--;
    return either(parts);
  }

  private repeats(): Part {
    const parts: Part[] = [];
    while (this.next !== undefined && this.next !== '|' && this.next !== ')') parts.push(this.repeated(this.atom()));
    return sequence(parts);
  }

  /** One operator at most, lazy or not, which is the same where all of a text must match. */
  private repeated(once: Part): Part {
    const repeated = this.operator(once);
    if (repeated === null) return once;
    this.take('?');
    if (this.next === '*' || this.next === '+' || this.next === '?') throw new Unsupported();
    return repeated;
  }

  private operator(once: Part): Part | null {
    if (this.take('*')) return star(once);
    if (this.take('+')) return sequence([once, star(once)]);
    if (this.take('?')) return optional(once);
    const counted = /^\{(\d{1,4})(,(\d{0,4}))?\}/.exec(this.pattern.slice(this.position));
    if (!counted) return null;
    this.position += counted[0].length;
    const least = Number(counted[1]);
    const most = counted[2] === undefined ? least : counted[3] === '' ? null : Number(counted[3]);
    if (Math.max(least, most ?? 0) > MAX_REPEAT || (most !== null && most < least)) throw new Unsupported();
    const required = Array.from({ length: least }, () => once);
    const more = most === null ? [star(once)] : Array.from({ length: most - least }, () => optional(once));
    return sequence([...required, ...more]);
  }

  private atom(): Part {
    const character = this.pattern[this.position++]!;
    switch (character) {
      case '.':
        return read((code) => code !== 0x0a);
      case '^':
        return at(false);
      case '$':
        return at(true);
      case '[':
        return read(this.set());
      case '\\':
        return read(this.escape());
      case '(': {
        if (this.next === '?' && !this.take('?:') && !/^\?P?<\w+>/.test(this.pattern.slice(this.position)))
          throw new Unsupported();
        const name = /^\?P?<\w+>/.exec(this.pattern.slice(this.position));
        this.position += name?.[0].length ?? 0;
        const group = this.alternatives();
        if (!this.take(')')) throw new Unsupported();
        return group;
      }
      case '*':
      case '+':
      case '?':
        throw new Unsupported();
      default:
        return read(is(character));
    }
  }

  /** What follows a backslash: a class of characters, or one that would else have a meaning. */
  private escape(): Test {
    const character = this.pattern[this.position++];
    if (character === undefined) throw new Unsupported();
    const named = ESCAPED_CLASSES[character.toLowerCase()];
    if (named !== undefined) return inSet(named, character !== character.toLowerCase());
    const control = ESCAPED_CHARACTERS[character];
    if (control !== undefined) return is(control);
    if (/[A-Za-z0-9]/.test(character)) throw new Unsupported();
    return is(character);
  }

  /** After `[`: `]` first, and `-` first or last, are themselves. */
  private set(): Test {
    const negated = this.take('^');
    const tests: Test[] = [];
    for (let first = true; first || this.next !== ']'; first = false) {
      if (this.next === undefined) throw new Unsupported();
      const posix = /^\[:(\^?)(\w+):\]/.exec(this.pattern.slice(this.position));
      if (posix) {
        const members = CLASSES.get(posix[2]!);
        if (members === undefined) throw new Unsupported();
        this.position += posix[0].length;
        tests.push(inSet(members, posix[1] === '^'));
        continue;
      }
      const [low, test] = this.member();
      if (low !== null && this.next === '-' && this.pattern[this.position + 1] !== ']') {
        this.position++;
        if (this.next === undefined) throw new Unsupported();
        const [high] = this.member();
        if (high === null || high < low) throw new Unsupported();
        tests.push((code) => low <= code && code <= high);
      } else tests.push(test);
    }
    this.position++;
    return (code) => tests.some((test) => test(code)) !== negated;
  }

  /** One character of a set with its code; null for a class of them. */
  private member(): readonly [number | null, Test] {
    const character = this.pattern[this.position++]!;
    if (character !== '\\') return [character.charCodeAt(0), is(character)];
    const escaped = this.next;
    const test = this.escape();
    if (escaped === undefined || escaped.toLowerCase() in ESCAPED_CLASSES) return [null, test];
    return [(ESCAPED_CHARACTERS[escaped] ?? escaped).charCodeAt(0), test];
  }
}

const is = (character: string): Test => {
  const wanted = character.charCodeAt(0);
  return (code) => code === wanted;
};

/** A test for the members of a class, written as within brackets. */
function inSet(members: string, negated: boolean): Test {
  const pattern = new RegExp(`^[${members.replace('[-`', '\\[-`')}]$`);
  return (code) => pattern.test(String.fromCharCode(code)) !== negated;
}
