/** What tests and the long runs share: their part in TypeScript, bundled for Node, and numbers of the command line. */
import { mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';

/** How tests and the long runs are bundled. */
export const FOR_NODE = {
  bundle: true,
  platform: 'node',
  format: 'esm',
  packages: 'external',
  loader: { '.yaml': 'text' },
  define: { HOPSCOPE_VERSION: JSON.stringify('test') },
  logLevel: 'warning',
};

/** Bundles what `contents` exports, by paths from the project's root, into `outfile`. */
export async function bundle(contents, outfile) {
  mkdirSync(dirname(outfile), { recursive: true });
  await build({
    stdin: { contents, resolveDir: process.cwd(), loader: 'ts' },
    outfile,
    ...FOR_NODE,
  });
}

export const load = (outfile) => import(pathToFileURL(resolve(outfile)).href);

/** Nothing less than a number, or a run of nothing would find nothing wrong. */
export function whole(text) {
  if (!/^\d+$/.test(text)) throw new Error(`${text} is no number`);
  return Number(text);
}
