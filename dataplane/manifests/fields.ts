import { meantKey } from '../nearest.js';
import { problem, type Problem, type ProblemCode } from '../problems.js';
import type { Located, Place } from './place.js';
import type { ScalarValue } from './scalars.js';
import type { Entry, Mapping, Tree } from './tree.js';

/** More names than a message can list. */
const MANY = 8;

/** Of a mapping that is not there. */
const NO_ENTRIES: Mapping['entries'] = new Map<string, Entry>();
const NO_STRINGS: ReadonlyMap<string, Located<string>> = new Map<string, Located<string>>();

/**
 * The fields of one mapping, read by type. Nothing here throws: a field is
 * - a value with its place,
 * - `null` where it is absent, or null, which Kubernetes takes for absent,
 * - `undefined` where it is there and refused. The refusal is then already reported, at the value.
 *
 * Readers that can do without the field write `?? null`; those that must fail closed look for `undefined`.
 */
export class Fields {
  constructor(
    readonly mapping: Mapping,
    readonly problems: Problem[],
  ) {}

  get at(): Place {
    return this.mapping.at;
  }

  get names(): Iterable<string> {
    return this.mapping.entries.keys();
  }

  has(name: string): boolean {
    return this.valueOf(name) !== null;
  }

  /** The place of the value, or of the key where the value is empty; the whole mapping where there is no such field. */
  placeOf(name: string): Place {
    const entry = this.mapping.entries.get(name);
    if (!entry) return this.at;
    return entry.value.at.end > entry.value.at.start ? entry.value.at : entry.keyAt;
  }

  keyAt(name: string): Place {
    return this.mapping.entries.get(name)?.keyAt ?? this.at;
  }

  /** Reports a problem at the value of a field. Returns undefined, the sign of a refused field. */
  refuse(code: ProblemCode, name: string, message: string, fixes: readonly string[] = []): undefined {
    this.problems.push(problem(code, this.placeOf(name), message, { fixes }));
    return undefined;
  }

  /** What is read of a part with which the rest of an object has nothing to do, whatever is refused there. */
  apart<Part>(read: () => Part): Part {
    const reported = this.problems.length;
    const part = read();
    const own = this.problems.splice(reported);
    this.problems.push(...own.map((one) => ({ ...one, assumed: one.assumed ?? ('rest' as const) })));
    return part;
  }

  /** What was read of a field that Kubernetes requires: an absent one is reported, and refused. */
  required<Value>(name: string, found: Value | null | undefined): Value | undefined {
    return found === null ? this.refuse('HS1009', name, `${name} is missing.`) : found;
  }

  /** False, and reported, where the mapping has a field that Kubernetes does not know here: probably a misspelled one. */
  only(...names: readonly string[]): boolean {
    return this.unknown(names, 'HS1010').length === 0;
  }

  /** The fields that Kubernetes does not know here, reported: as a warning unless nothing of the object counts with them. */
  unknown(names: readonly string[], code: ProblemCode = 'HS1016'): Located<string>[] {
    const unknown: Located<string>[] = [];
    for (const name of this.names) {
      if (names.includes(name)) continue;
      const meant = meantKey(name, names);
      const others = names.length > MANY ? '' : `; there are ${names.join(', ')}`;
      const message = `There is no field ${quote(name)} here${others}.`;
      const at = this.keyAt(name);
      this.problems.push(problem(code, at, message, { fixes: meant === null ? [] : [`change to ${meant}`] }));
      unknown.push({ value: name, at });
    }
    return unknown;
  }

  /** The value of a scalar as it stands; null for anything else. */
  scalar(name: string): ScalarValue {
    const value = this.valueOf(name);
    return value?.type === 'scalar' ? value.value : null;
  }

  /** Another scalar than a string is reported, and its text taken for the string that was meant. */
  string(name: string): Located<string> | null | undefined {
    const value = this.valueOf(name);
    if (value === null) return null;
    const text = this.textOf(value, name);
    return text === undefined ? undefined : { value: text, at: value.at };
  }

  text(name: string): string | null {
    const value = this.valueOf(name);
    return value === null ? null : (this.textOf(value, name) ?? null);
  }

  /** One of the words; Kubernetes takes an empty string for an absent field. */
  oneOf<Word extends string>(name: string, words: readonly Word[]): Located<Word> | null | undefined {
    const found = this.string(name);
    if (!found || found.value === '') return found && null;
    const word = words.find((one) => one === found.value);
    if (word !== undefined) return { value: word, at: found.at };
    return this.refuse('HS1010', name, `${name} must be ${alternatives(words)}, not ${quote(found.value)}.`);
  }

  boolean(name: string): boolean {
    const value = this.valueOf(name);
    if (value === null) return false;
    if (value.type === 'scalar' && typeof value.value === 'boolean') return value.value;
    this.wrongType(name, 'true or false', value);
    return false;
  }

  integer(name: string, low: number, high: number): Located<number> | null | undefined {
    const value = this.valueOf(name);
    if (value === null) return null;
    if (value.type !== 'scalar' || typeof value.value !== 'number') return this.wrongType(name, 'a number', value);
    if (Number.isInteger(value.value) && value.value >= low && value.value <= high) {
      return { value: value.value, at: value.at };
    }
    return this.refuse(
      'HS1010',
      name,
      `${name} must be a whole number from ${low} to ${high}, not ${cut(value.text)}.`,
    );
  }

  port(name: string): Located<number> | null | undefined {
    return this.integer(name, 1, 65535);
  }

  /** A port, or 0, which stands for none. */
  portOrZero(name: string): Located<number> | null | undefined {
    const found = this.integer(name, 0, 65535);
    return found?.value === 0 ? null : found;
  }

  /** IntOrString: a port number or the name of a container port. A quoted number is a name, and not a valid one. */
  portOrName(name: string): Located<number | string> | null | undefined {
    const value = this.valueOf(name);
    if (value?.type === 'scalar' && typeof value.value === 'number') return this.port(name);
    const found = this.string(name);
    if (!found || isPortName(found.value)) return found;
    const fixes = /^\d+$/.test(found.value) ? [`Write ${cut(found.value)} without quotes`] : [];
    return this.refuse('HS1010', name, `${quote(found.value)} is not a port number or the name of a port.`, fixes);
  }

  /** A mapping in a field. */
  fields(name: string): Fields | null | undefined {
    const value = this.valueOf(name);
    if (value === null) return null;
    return value.type === 'mapping' ? new Fields(value, this.problems) : this.wrongType(name, 'a mapping', value);
  }

  /** A mapping which, where absent, is as good as one without fields. */
  optional(name: string): Fields | undefined {
    const found = this.fields(name);
    return found === null ? this.empty(name) : found;
  }

  /** The same for readers who can go on without a refused one. */
  within(name: string): Fields {
    return this.optional(name) ?? this.empty(name);
  }

  private empty(name: string): Fields {
    return new Fields({ type: 'mapping', at: this.placeOf(name), entries: NO_ENTRIES }, this.problems);
  }

  list(name: string): { readonly at: Place; readonly items: readonly Tree[] } | null | undefined {
    const value = this.valueOf(name);
    if (value === null) return null;
    return value.type === 'sequence' ? value : this.wrongType(name, 'a list', value);
  }

  /** A list of mappings, with `undefined` in the place of each item that is none. */
  mappings(name: string): { readonly at: Place; readonly items: readonly (Fields | undefined)[] } | null | undefined {
    const list = this.list(name);
    return list && { at: list.at, items: list.items.map((item) => this.item(item, name)) };
  }

  /** What is read of each item; `undefined` where the list, or one of them, is refused. */
  items<Item>(name: string, read: (item: Fields) => Item | undefined): Item[] | null | undefined {
    const list = this.mappings(name);
    if (!list) return list;
    const items = list.items.map((item) => item && read(item));
    return items.every((item): item is Item => item !== undefined) ? items : undefined;
  }

  /** The items of a list that are mappings, for readers to whom the others do not matter. */
  each(name: string): readonly Fields[] {
    const found: Fields[] = [];
    for (const item of this.list(name)?.items ?? []) {
      const fields = this.item(item, name);
      if (fields) found.push(fields);
    }
    return found;
  }

  strings(name: string): readonly Located<string>[] {
    const strings: Located<string>[] = [];
    for (const item of this.list(name)?.items ?? []) {
      const value = this.textOf(item, name);
      if (value !== undefined) strings.push({ value, at: item.at });
    }
    return strings;
  }

  /** The fields of this mapping as strings; a null is an empty one, as Kubernetes decodes it. */
  asStrings(): ReadonlyMap<string, Located<string>> {
    if (this.mapping.entries.size === 0) return NO_STRINGS;
    const strings = new Map<string, Located<string>>();
    for (const [name, { value }] of this.mapping.entries) {
      const text = this.textOf(value, name);
      if (text !== undefined) strings.set(name, { value: text, at: this.placeOf(name) });
    }
    return strings;
  }

  private valueOf(name: string): Tree | null {
    const value = this.mapping.entries.get(name)?.value;
    return value === undefined || (value.type === 'scalar' && value.value === null) ? null : value;
  }

  private item(item: Tree, name: string): Fields | undefined {
    if (item.type === 'mapping') return new Fields(item, this.problems);
    const at = item.at.end > item.at.start ? item.at : this.keyAt(name);
    this.problems.push(problem('HS1008', at, `Each item of ${name} must be a mapping, not ${describe(item)}.`));
    return undefined;
  }

  private textOf(value: Tree, name: string): string | undefined {
    if (value.type !== 'scalar') {
      this.problems.push(problem('HS1008', value.at, `${cut(name)} must be a string, not ${describe(value)}.`));
      return undefined;
    }
    if (typeof value.value === 'number' || typeof value.value === 'boolean') {
      const message = `${cut(name)} must be a string; without quotes, ${cut(value.text)} is ${describe(value)}.`;
      const fixes = [`Quote it: "${cut(value.text)}"`];
      this.problems.push(problem('HS1008', value.at, message, { fixes, assumed: isWord(value) ? 'text' : null }));
    }
    return value.text;
  }

  private wrongType(name: string, expected: string, value: Tree): undefined {
    return this.refuse('HS1008', name, `${name} must be ${expected}, not ${describe(value)}.`);
  }
}

/** IANA service name, as Kubernetes wants the names of ports. */
export const isPortName = (text: string): boolean =>
  text.length <= 15 && /^[a-z0-9]+(-[a-z0-9]+)*$/.test(text) && /[a-z]/.test(text);

/** A boolean to YAML 1.1 alone (`y`, `no`, `On`), which YAML 1.2 and whoever writes it take for a word. */
const isWord = ({ value, text }: Tree & { type: 'scalar' }): boolean =>
  typeof value === 'boolean' && !/^(true|false)$/i.test(text);

/** A value from a manifest as a message shows it: bounded. */
export const cut = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);
export const quote = (text: string): string => `"${cut(text)}"`;

const alternatives = (words: readonly string[]): string => words.join(', ').replace(/, ([^,]*)$/, ' or $1');

function describe(value: Tree): string {
  if (value.type !== 'scalar') return value.type === 'sequence' ? 'a list' : 'a mapping';
  if (value.value === null) return 'nothing';
  if (typeof value.value === 'string') return quote(value.text);
  return typeof value.value === 'number' ? `the number ${cut(value.text)}` : `the boolean ${value.value}`;
}
