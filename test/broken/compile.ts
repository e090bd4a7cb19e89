/** The datapath compiled from its sources, or from those with one fragment replaced; quickly, not well optimised. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { asc } from './asc.mjs';
import type { Broken } from './table.js';

/** The file of `assembly/` with the fragment replaced. Throws when the fragment does not stand there once. */
export function apply({ name, file, from, to }: Broken, source: string): string {
  const times = source.split(from).length - 1;
  if (times !== 1)
    throw new Error(`mutation no longer applies: ${name}: assembly/${file} has ${times} times ${JSON.stringify(from)}`);
  return source.replace(from, () => to);
}

/** A build, with the names of its functions. */
export async function compile(build: Broken['build'], broken: Broken | null): Promise<Uint8Array> {
  let wasm: Uint8Array | null = null;
  const readFile = (name: string, folder: string): string | null => {
    try {
      const source = readFileSync(join(folder, name), 'utf8');
      return broken && name === `assembly/${broken.file}` ? apply(broken, source) : source;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code) return null;
      throw error;
    }
  };
  const options = ['--target', build, '--optimizeLevel', '2', '--debug', '--outFile', 'built.wasm'];
  let messages = '';
  const { error } = await asc(options, {
    readFile,
    writeFile: (name, contents) => {
      if (name === 'built.wasm') wasm = contents as Uint8Array;
    },
    stderr: { write: (text) => void (messages += String(text)) },
  });
  if (error ?? !wasm) throw new Error(`${broken?.name ?? build} does not compile: ${error?.message}\n${messages}`);
  return wasm;
}
