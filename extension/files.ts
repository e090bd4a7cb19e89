/** Files of a workspace folder: found and read through VS Code's file systems only, and none from outside the folder. */
import * as vscode from 'vscode';

export const YAML = '**/*.{yaml,yml}';
export const JSON_FILES = '**/*.json';
/** Below these nothing is looked for, whatever `files.exclude` says. */
const SKIPPED = ['node_modules', '.git'];
const SKIPPED_GLOB = `**/{${SKIPPED.join(',')}}/**`;

export const MAX_FILES = 5000;
/** Bytes; larger files are refused by the reader too. */
export const MAX_FILE_SIZE = 20 * 1024 * 1024;
/** Folders entered one below another where there is no search. */
const MAX_DEPTH = 32;

export const isCandidate = (path: string): boolean =>
  /\.(ya?ml|json)$/i.test(path) && !path.split('/').some((segment) => SKIPPED.includes(segment));

/** Up to `limit` files that match, in order of their paths, by VS Code's search, which knows `files.exclude`. */
export async function find(folder: vscode.Uri, glob: string, limit: number): Promise<vscode.Uri[]> {
  const found = await vscode.workspace.findFiles(new vscode.RelativePattern(folder, glob), SKIPPED_GLOB, limit);
  // Most virtual file systems have no search.
  const uris =
    found.length > 0 || folder.scheme === 'file'
      ? found
      : await walk(folder, glob === JSON_FILES ? /\.json$/i : /\.ya?ml$/i, limit);
  return uris.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Whether one file would be found: no `files.exclude` speaks against it. */
export async function isIncluded(uri: vscode.Uri, folder: vscode.Uri): Promise<boolean> {
  if (folder.scheme !== 'file') return true;
  const path = uri.path.slice(folder.path.length).replace(/^\//, '');
  const glob = path.replace(/[[\]{}*?]/g, '[$&]');
  return (await vscode.workspace.findFiles(new vscode.RelativePattern(folder, glob), SKIPPED_GLOB, 1)).length > 0;
}

export async function isFolder(uri: vscode.Uri): Promise<boolean> {
  if (uri.path.split('/').some((segment) => SKIPPED.includes(segment))) return false;
  const stat = await vscode.workspace.fs.stat(uri).then(undefined, () => null);
  return stat?.type === vscode.FileType.Directory;
}

async function walk(folder: vscode.Uri, name: RegExp, limit: number): Promise<vscode.Uri[]> {
  const found: vscode.Uri[] = [];
  let level = [folder];
  for (let depth = 0; depth < MAX_DEPTH && level.length > 0 && found.length < limit; depth++) {
    const next: vscode.Uri[] = [];
    for (const parent of level) {
      const entries = await vscode.workspace.fs.readDirectory(parent).then(undefined, () => []);
      for (const [entry, type] of entries) {
        const uri = vscode.Uri.joinPath(parent, entry);
        if (type === vscode.FileType.Directory && !SKIPPED.includes(entry)) next.push(uri);
        else if (type === vscode.FileType.File && name.test(entry)) found.push(uri);
      }
    }
    level = next;
  }
  return found.slice(0, limit);
}

/** A file's bytes; or why it is not read. Rejects when it is gone. `links` remembers folders that were looked at before. */
export async function read(
  uri: vscode.Uri,
  folder: vscode.Uri,
  links: Map<string, boolean>,
): Promise<Uint8Array | { readonly refused: string }> {
  const { type, size } = await vscode.workspace.fs.stat(uri);
  if (type & vscode.FileType.SymbolicLink || (await isLinked(parentOf(uri), folder, links)))
    return { refused: 'links are not followed' };
  if (type !== vscode.FileType.File) return { refused: 'it is no regular file' };
  if (size > MAX_FILE_SIZE) return { refused: 'it is larger than 20 MB' };
  return vscode.workspace.fs.readFile(uri);
}

const parentOf = (uri: vscode.Uri): vscode.Uri => vscode.Uri.joinPath(uri, '..');

/** Whether the way down from the workspace folder goes over a link, which may lead out of it. */
async function isLinked(uri: vscode.Uri, folder: vscode.Uri, links: Map<string, boolean>): Promise<boolean> {
  if (uri.path.length <= folder.path.length) return false;
  const known = links.get(uri.path);
  if (known !== undefined) return known;
  const { type } = await vscode.workspace.fs.stat(uri);
  const linked = (type & vscode.FileType.SymbolicLink) !== 0 || (await isLinked(parentOf(uri), folder, links));
  links.set(uri.path, linked);
  return linked;
}
