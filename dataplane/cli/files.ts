/** Reads what PATHs name: a file, a folder (all .yaml, .yml and .json below it), or `-` for standard input. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { compare } from '../hash.js';
import { SETTINGS_FILE } from '../settings.js';
import { CallError } from './call.js';

/** Manifests by the name under which messages show them: the path as a person would type it, with slashes. */
export type Files = Map<string, Uint8Array>;

const MANIFEST = /\.(ya?ml|json)$/i;
const SKIPPED = new Set(['node_modules', '.git']);
/** A folder deeper than this is a loop, or nobody's manifests. */
const MAX_DEPTH = 32;

/** Whether a name is a manifest's, or that of the settings. */
export const isManifest = (name: string): boolean => MANIFEST.test(name);

const named = (path: string): string => path.split(sep).join('/').replace(/^\.\//, '');

export function readPaths(paths: readonly string[]): Files {
  const files: Files = new Map();
  for (const path of paths) {
    if (path === '-') {
      files.set('-', readFileSync(0));
      continue;
    }
    const stats = statSync(path, { throwIfNoEntry: false });
    if (!stats) throw new CallError(`${path}: there is no such file or folder`);
    if (stats.isDirectory()) readFolder(path, 0, files);
    else if (stats.isFile()) files.set(named(path), readFileSync(path));
    else throw new CallError(`${path}: not a file or folder`);
    const settings = join(stats.isDirectory() ? path : dirname(path), SETTINGS_FILE);
    if (statSync(settings, { throwIfNoEntry: false })?.isFile()) files.set(named(settings), readFileSync(settings));
  }
  return files;
}

/** A file of text that is no manifest; `-` for standard input. */
export function readText(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch {
    throw new CallError(`${path}: cannot be read`);
  }
}

function readFolder(folder: string, depth: number, files: Files): void {
  if (depth > MAX_DEPTH) return;
  const entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => compare(a.name, b.name));
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (SKIPPED.has(entry.name) || entry.name === SETTINGS_FILE) continue;
    // Only regular files: a pipe or a device would never end, and what a link leads to is read where it stands, or not at all.
    if (entry.isDirectory()) readFolder(path, depth + 1, files);
    else if (entry.isFile() && isManifest(entry.name)) files.set(named(path), readFileSync(path));
  }
}
