/** What every command shares: how a call is read, and what a command gives back. */
import type { Session } from '../session.js';
import type { Files } from './files.js';

/** Exit statuses: scripts rely on them. */
export const enum Exit {
  DONE = 0,
  FOUND = 1,
  WRONG = 2,
  FAULT = 3,
}

/** The call or its input is wrong: told in one line, with status 2. */
export class CallError extends Error {}

export interface Modules {
  readonly fast: WebAssembly.Module;
  readonly trace: WebAssembly.Module;
}

/** A command line, read. */
export interface Call {
  readonly paths: readonly string[];
  readonly options: Readonly<Record<string, string | undefined>>;
  /** Options without a value that were given. */
  readonly flags: ReadonlySet<string>;
  readonly modules: Modules;
  /** The manifests that the call names (or those given), loaded with its settings. */
  readonly session: (files?: Files) => Session;
  /** Tells of progress, on standard error. */
  readonly tell: (line: string) => void;
}

export interface Output {
  /** Goes to standard output whole; in pieces where it may be longer than a text can be. */
  readonly text: string | Uint8Array | Iterable<string>;
  readonly exit: Exit;
}

/** An option as `parseArgs` takes it and as the help shows it: with a value, or without (`boolean`). */
export interface Option {
  readonly type: 'string' | 'boolean';
  readonly multiple?: boolean;
  /** What stands for the value; empty for one without. */
  readonly value: string;
  readonly description: string;
}

export interface Command {
  readonly summary: string;
  readonly usage: string;
  readonly help: string;
  readonly example: string;
  readonly options: Readonly<Record<string, Option>>;
  /** Whether some of its options, or its questions, take a REF. */
  readonly takesReferences?: boolean;
  readonly run: (call: Call) => Output | Promise<Output>;
}

/** One of the words that an option takes. */
export function choice<T extends string>(call: Call, option: string, words: readonly T[], otherwise: T): T {
  const value = call.options[option];
  if (value === undefined) return otherwise;
  const found = words.find((word) => word === value);
  if (found === undefined) throw new CallError(`--${option} ${value}: expected ${words.join(', ')}`);
  return found;
}

export function required(call: Call, option: string): string {
  const value = call.options[option];
  if (value === undefined) throw new CallError(`--${option} is needed`);
  return value;
}

/** A port, or another number between `first` and `last`. */
export function number(call: Call, option: string, first: number, last: number): number | null {
  const value = call.options[option];
  if (value === undefined) return null;
  const parsed = /^\d{1,9}$/.test(value) ? Number(value) : NaN;
  if (!(parsed >= first && parsed <= last))
    throw new CallError(`--${option} ${value}: expected a number from ${first} to ${last}`);
  return parsed;
}
