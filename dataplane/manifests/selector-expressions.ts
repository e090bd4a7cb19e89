/** Calico's selectors: expressions over labels. `libcalico-go/lib/selector`, `tokenizer.go` and `parser.go`. */

export type Expression =
  | { readonly op: 'all' | 'global' }
  | { readonly op: 'not'; readonly of: Expression }
  | { readonly op: 'and' | 'or'; readonly of: readonly Expression[] }
  | { readonly op: 'has'; readonly key: string }
  | { readonly op: 'in' | 'not in'; readonly key: string; readonly values: readonly string[] }
  | { readonly op: Part; readonly key: string; readonly text: string };

type Part = 'contains' | 'starts with' | 'ends with';

/** Deeper than this, an expression is refused. */
const DEEPEST = 64;

const SPACE = /\s*/y;
const KEY = /[A-Za-z0-9_./-]{1,512}/y;
const TEXT = /"([^"]*)"|'([^']*)'/y;
const PARTS: readonly (readonly [Part, RegExp])[] = [
  ['contains', /contains\b/y],
  ['starts with', /starts\s*with\b/y],
  ['ends with', /ends\s*with\b/y],
];

/** The expression, which without any text selects everything; null where the text is none. */
export function parseExpression(text: string): Expression | null {
  if (text.trim() === '') return { op: 'all' };
  const parser = new Parser(text);
  const expression = parser.alternatives(0);
  return parser.atEnd ? expression : null;
}

class Parser {
  private at = 0;

  constructor(private readonly text: string) {}

  get atEnd(): boolean {
    this.take(SPACE);
    return this.at === this.text.length;
  }

  /** `||` binds less than `&&`. */
  alternatives(depth: number): Expression | null {
    return this.joined('or', /\|\|/y, () => this.joined('and', /&&/y, () => this.operation(depth)));
  }

  private joined(op: 'and' | 'or', between: RegExp, read: () => Expression | null): Expression | null {
    const of: Expression[] = [];
    do {
      const one = read();
      if (!one) return null;
      of.push(one);
    } while (this.next(between));
    return of.length === 1 ? of[0]! : { op, of };
  }

  private operation(depth: number): Expression | null {
    if (depth > DEEPEST) return null;
    if (this.next(/!(?!=)/y)) {
      const of = this.operation(depth + 1);
      return of && { op: 'not', of };
    }
    if (this.next(/\(/y)) {
      const within = this.alternatives(depth + 1);
      return within && this.next(/\)/y) ? within : null;
    }
    if (this.next(/all\(\s*\)/y)) return { op: 'all' };
    if (this.next(/global\(\s*\)/y)) return { op: 'global' };
    const asked = this.next(/has\(\s*([A-Za-z0-9_./-]{1,512})\s*\)/y);
    if (asked) return { op: 'has', key: asked[1]! };
    const key = this.next(KEY)?.[0];
    return key === undefined ? null : this.comparison(key);
  }

  private comparison(key: string): Expression | null {
    const equal = this.next(/==|!=/y)?.[0];
    if (equal !== undefined) {
      const value = this.literal();
      return value === null ? null : { op: equal === '==' ? 'in' : 'not in', key, values: [value] };
    }
    const without = this.next(/not\s*in\b/y) !== null;
    if (without || this.next(/in\b/y)) {
      const values = this.set();
      return values && { op: without ? 'not in' : 'in', key, values };
    }
    for (const [op, word] of PARTS) {
      if (!this.next(word)) continue;
      const text = this.literal();
      return text === null ? null : { op, key, text };
    }
    return null;
  }

  private set(): string[] | null {
    if (!this.next(/\{/y)) return null;
    const values: string[] = [];
    if (this.next(/\}/y)) return values;
    do {
      const value = this.literal();
      if (value === null) return null;
      values.push(value);
    } while (this.next(/,/y));
    return this.next(/\}/y) ? values : null;
  }

  private literal(): string | null {
    const found = this.next(TEXT);
    return found && (found[1] ?? found[2] ?? '');
  }

  /** What comes next, after any white space; null where that is something else. */
  private next(pattern: RegExp): RegExpExecArray | null {
    this.take(SPACE);
    return this.take(pattern);
  }

  private take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at += found[0].length;
    return found;
  }
}

/** Whether labels match. `!=` and `not in` hold where the key is absent; `global()` where `isGlobal` says so. */
export function holds(expression: Expression, labels: ReadonlyMap<string, string>, isGlobal: boolean): boolean {
  switch (expression.op) {
    case 'all':
      return true;
    case 'global':
      return isGlobal;
    case 'not':
      return !holds(expression.of, labels, isGlobal);
    case 'and':
      return expression.of.every((one) => holds(one, labels, isGlobal));
    case 'or':
      return expression.of.some((one) => holds(one, labels, isGlobal));
    case 'has':
      return labels.has(expression.key);
    case 'in':
    case 'not in': {
      const value = labels.get(expression.key);
      return (value !== undefined && expression.values.includes(value)) === (expression.op === 'in');
    }
    case 'contains':
      return labels.get(expression.key)?.includes(expression.text) ?? false;
    case 'starts with':
      return labels.get(expression.key)?.startsWith(expression.text) ?? false;
    case 'ends with':
      return labels.get(expression.key)?.endsWith(expression.text) ?? false;
  }
}

/** The same expression about other keys. */
export function mapKeys(expression: Expression, rename: (key: string) => string): Expression {
  switch (expression.op) {
    case 'all':
    case 'global':
      return expression;
    case 'not':
      return { op: 'not', of: mapKeys(expression.of, rename) };
    case 'and':
    case 'or':
      return { op: expression.op, of: expression.of.map((one) => mapKeys(one, rename)) };
    default:
      return { ...expression, key: rename(expression.key) };
  }
}

/** The keys that an expression asks for. */
export function keysOf(expression: Expression): string[] {
  switch (expression.op) {
    case 'all':
    case 'global':
      return [];
    case 'not':
      return keysOf(expression.of);
    case 'and':
    case 'or':
      return expression.of.flatMap(keysOf);
    default:
      return [expression.key];
  }
}
