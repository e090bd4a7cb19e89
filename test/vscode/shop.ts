/** The workspace that the tests in VS Code open. */
import { cpSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOSTILE_FILE, HOSTILE_MANIFEST } from './hostile.js';

/** A copy of the shop, and next to its manifests a file that only looks for trouble. */
export function shopCopy(): string {
  const folder = mkdtempSync(join(tmpdir(), 'hopscope-shop-'));
  cpSync('examples/shop', folder, { recursive: true });
  mkdirSync(join(folder, '.vscode'));
  writeFileSync(join(folder, '.vscode/settings.json'), '{}\n');
  writeFileSync(join(folder, HOSTILE_FILE), HOSTILE_MANIFEST);
  return folder;
}
