/** `hopscope`: the command line. Output goes to standard output whole or not at all; everything else to standard error. */
import { readFileSync, writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { isMainThread } from 'node:worker_threads';
import { nearest } from '../nearest.js';
import { report } from '../problems.js';
import { Session } from '../session.js';
import { DEFAULT_SETTINGS, isSetting, SETTINGS, withSetting, type Settings } from '../settings.js';
import { allowed } from '../settings-file.js';
import { serve } from './bench-worker.js';
import { CallError, Exit, type Call, type Command, type Modules, type Output } from './call.js';
import { COMMANDS } from './commands.js';
import { readPaths, type Files } from './files.js';
import { helpOf, overview } from './help.js';

declare const HOPSCOPE_VERSION: string;

/** Beside the program lie both builds of the datapath. */
function loadModules(): Modules {
  const module = (name: string): WebAssembly.Module =>
    new WebAssembly.Module(readFileSync(new URL(name, import.meta.url)));
  return {
    get fast() {
      return module('./dataplane.wasm');
    },
    get trace() {
      return module('./dataplane.trace.wasm');
    },
  };
}

/** `--set key=value`, as far as the settings know them. */
function readSettings(pairs: readonly string[]): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const pair of pairs) {
    const [key = '', ...rest] = pair.split('=');
    const value = rest.join('=');
    if (!isSetting(key)) throw new CallError(`--set ${pair}: there is no setting ${key}; ${meantBy(key)}`);
    if (withSetting(DEFAULT_SETTINGS, key, value) === null)
      throw new CallError(`--set ${pair}: ${key} cannot be ${value === '' ? 'empty' : value}: ${remedy(key)}`);
    settings[key] = value;
  }
  return settings;
}

const meantBy = (key: string): string => {
  const near = nearest(key, Object.keys(SETTINGS));
  return near === null ? 'hopscope reach --help lists them' : `did you mean ${near}?`;
};

/** What a setting may be instead, and what it is for. */
function remedy(key: keyof Settings): string {
  const may = key === 'nodes' ? 'names with IPv4 addresses such as n1=10.0.0.1,n2=10.0.0.2' : allowed(key);
  // Words speak for themselves; of any other, the first sentence says what it is.
  const [what = ''] = /^[^.]*\.(?= |$)/.exec(SETTINGS[key].description) ?? [];
  return 'enum' in SETTINGS[key].schema ? `it must be ${may}` : `it must be ${may}. ${what}`;
}

function openSession(modules: Modules, files: Files, set: readonly string[], tell: (line: string) => void): Session {
  const session = new Session(modules.trace, readSettings(set));
  for (const [file, content] of files) session.setFile(file, content);
  for (const { code, severity, message, file, range } of session.inputProblems().map(report)) {
    if (severity === 'error') tell(`${file}:${range.start.line}:${range.start.column}: ${code} ${message}`);
  }
  return session;
}

async function run(args: readonly string[]): Promise<Output> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help')
    return { text: overview(COMMANDS), exit: name === undefined ? Exit.WRONG : Exit.DONE };
  if (name === '--version') return { text: `${HOPSCOPE_VERSION}\n`, exit: Exit.DONE };
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command) throw new CallError(`there is no command ${name}; there are ${Object.keys(COMMANDS).join(', ')}`);
  const { values, positionals } = read(command, rest);
  if (values['help'] === true) return { text: helpOf(command), exit: Exit.DONE };
  const { set, ...options } = values;
  const modules = loadModules();
  const tell = (line: string): void => void process.stderr.write(`${line}\n`);
  const call: Call = {
    paths: positionals,
    options: options as Record<string, string | undefined>,
    flags: new Set(Object.keys(options).filter((name) => options[name] === true)),
    modules,
    session: (files) => {
      if (!files && positionals.length === 0)
        throw new CallError('which manifests? Name a file, a folder, or - for standard input');
      // What check finds, it prints itself.
      return openSession(
        modules,
        files ?? readPaths(positionals),
        (set as string[] | undefined) ?? [],
        name === 'check' ? () => {} : tell,
      );
    },
    tell,
  };
  return command.run(call);
}

function read(command: Command, args: readonly string[]): { values: Record<string, unknown>; positionals: string[] } {
  try {
    return parseArgs({
      args: [...args],
      options: { ...command.options, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
    });
  } catch (error) {
    throw new CallError(`${(error as Error).message}\nusage: ${command.usage}`);
  }
}

/** Units of text that are written together, at least. */
const TOGETHER = 1 << 20;

/** Writes all of it, some pieces at a time. */
function print(text: Output['text']): void {
  if (text instanceof Uint8Array) return void write(text);
  const encoder = new TextEncoder();
  if (typeof text === 'string') return void write(encoder.encode(text));
  let held = '';
  for (const piece of text) {
    held += piece;
    if (held.length < TOGETHER) continue;
    if (!write(encoder.encode(held))) return;
    held = '';
  }
  write(encoder.encode(held));
}

/** A pipe takes what it has room for, and says so. False where nobody reads on. */
function write(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Whoever reads has closed the pipe: there is nobody to tell.
      if (code === 'EPIPE') return false;
      if (code !== 'EAGAIN') throw error;
    }
  }
  return true;
}

async function main(): Promise<void> {
  try {
    const { text, exit } = await run(process.argv.slice(2));
    print(text);
    process.exitCode = exit;
  } catch (error) {
    if (error instanceof CallError) {
      process.stderr.write(`hopscope: ${error.message}\n`);
      process.exitCode = Exit.WRONG;
    } else {
      process.stderr.write(`hopscope: a fault of ours, please report it: ${(error as Error).stack ?? String(error)}\n`);
      process.exitCode = Exit.FAULT;
    }
  }
}

if (isMainThread) await main();
else serve();
