/** `git:REF` as one side of a diff: the manifests as that revision has them. */
import { execFileSync } from 'node:child_process';
import { CallError } from './call.js';
import { isManifest, type Files } from './files.js';

/** Runs git with fixed words; the revision is checked, so that it can be no option. */
function git(...args: readonly string[]): Buffer {
  try {
    return execFileSync('git', args, { maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    throw new CallError(`git ${args[0]}: ${String((error as { stderr?: Buffer }).stderr ?? error).trim()}`);
  }
}

/** The manifests below `paths` (the whole folder for none) in a revision, under the names they have on disk. */
export function readRevision(revision: string, paths: readonly string[]): Files {
  if (!/^[\w./@^~][\w./@^~-]*$/.test(revision)) throw new CallError(`git:${revision}: not a revision`);
  const listed = git('ls-tree', '-r', '-z', '--name-only', revision, '--', ...paths).toString('utf8');
  const names = listed.split('\0').filter(isManifest);
  return new Map(names.map((name) => [name, new Uint8Array(git('show', `${revision}:./${name}`))]));
}
