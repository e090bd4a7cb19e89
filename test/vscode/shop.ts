/** The workspace that the tests in VS Code open. */
import { cpSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOSTILE_FILE, HOSTILE_MANIFEST } from './hostile.js';

/** What must not be read: it would be an error. */
const FORBIDDEN = 'apiVersion: v1\nkind: Service\nmetadata: { name: forbidden }\nspec: { ports: [{ port: 99999 }] }\n';

export interface ShopCopy {
  /** Holds all the rest; to be removed after the tests. */
  readonly root: string;
  /** The example shop, a file that only looks for trouble, and files that must not be read. */
  readonly shop: string;
  /** Both examples, each a folder of its own. */
  readonly workspace: string;
}

export function shopCopy(): ShopCopy {
  const root = mkdtempSync(join(tmpdir(), 'hopscope-'));
  const shop = join(root, 'shop');
  for (const name of ['shop', 'echo']) cpSync(join('examples', name), join(root, name), { recursive: true });
  writeFileSync(join(shop, HOSTILE_FILE), HOSTILE_MANIFEST);
  mkdirSync(join(shop, 'node_modules'));
  mkdirSync(join(root, 'outside'));
  writeFileSync(join(shop, 'node_modules/forbidden.yaml'), FORBIDDEN);
  writeFileSync(join(root, 'outside/forbidden.yaml'), FORBIDDEN);
  try {
    symlinkSync(join(root, 'outside/forbidden.yaml'), join(shop, 'link.yaml'));
    symlinkSync(join(root, 'outside'), join(shop, 'links'));
  } catch {
    // Not everybody may make links.
  }
  const workspace = join(root, 'examples.code-workspace');
  cpSync('examples/examples.code-workspace', workspace);
  return { root, shop, workspace };
}
