/** Builds everything: the datapath into `pkg/`, and the command line, the extension and its worker into `dist/`. */
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { main as asc } from 'assemblyscript/asc';
import binaryen from 'binaryen';
import { build } from 'esbuild';

const quiet = process.argv.includes('--quiet');
const { version } = JSON.parse(readFileSync('package.json', 'utf8'));

/** What `pkg/` is made from, and where the digest stands of that which it was made from last. */
const SOURCES = ['assembly', 'asconfig.json', 'package-lock.json', 'scripts/build.mjs', 'scripts/pkg-transform.mjs'];
const DIGEST = 'pkg/.sources';

/** Both builds of the datapath, unless they are there; the tracing one also writes the glue and the struct views. */
export async function buildDatapath() {
  mkdirSync('pkg', { recursive: true });
  const digest = digestOf(SOURCES);
  if (existsSync(DIGEST) && readFileSync(DIGEST, 'utf8') === digest) return;
  const targets = [
    ['--target', 'trace', '--transform', './scripts/pkg-transform.mjs'],
    ['--target', 'fast'],
  ];
  for (const options of targets) {
    const { error, stderr } = await asc(options);
    if (error) throw new Error(`asc ${options.join(' ')}: ${error.message}\n${stderr.toString()}`);
  }
  for (const name of ['dataplane.wasm', 'dataplane.trace.wasm']) inlineMore(`pkg/${name}`);
  writeFileSync(DIGEST, digest);
}

function digestOf(paths) {
  const hash = createHash('sha256');
  const add = (path) => {
    if (statSync(path).isDirectory()) for (const name of readdirSync(path).sort()) add(`${path}/${name}`);
    else hash.update(`${path}\0`).update(readFileSync(path)).update('\0');
  };
  for (const path of paths) add(path);
  return hash.digest('hex');
}

const { BulkMemory, BulkMemoryOpt, MutableGlobals, NontrappingFPToInt, SIMD128, SignExt } = binaryen.Features;
/** What asc is told to use (asconfig.json), and every engine that we run in has. */
const FEATURES = BulkMemory | BulkMemoryOpt | MutableGlobals | NontrappingFPToInt | SIMD128 | SignExt;

/** A pipeline is a list of small steps, each called from few places: inlining more of them than asc does gains up to 8 %. */
function inlineMore(file) {
  const module = binaryen.readBinary(readFileSync(file));
  module.setFeatures(FEATURES);
  binaryen.setOptimizeLevel(3);
  binaryen.setShrinkLevel(0);
  binaryen.setAlwaysInlineMaxSize(400);
  binaryen.setFlexibleInlineMaxSize(400);
  binaryen.setOneCallerInlineMaxSize(2000);
  module.optimize();
  writeFileSync(file, module.emitBinary());
  module.dispose();
}

const shared = {
  bundle: true,
  minify: false,
  sourcemap: false,
  legalComments: 'none',
  logLevel: 'warning',
  target: 'es2022',
  metafile: true,
  // The same modules as in a browser's worker; only Node's own, and VS Code's, come from outside.
  platform: 'neutral',
  mainFields: ['module', 'main'],
  conditions: ['browser', 'import'],
  external: ['node:*', 'vscode'],
  define: { HOPSCOPE_VERSION: JSON.stringify(version) },
  loader: { '.yaml': 'text' },
};

/** What runs where. The worker and the command line hold the same engine. */
export const bundles = {
  'dist/hopscope.mjs': {
    entryPoints: ['dataplane/cli/main.ts'],
    format: 'esm',
    banner: { js: '#!/usr/bin/env node' },
  },
  'dist/extension.cjs': { entryPoints: ['extension/main.ts'], format: 'cjs' },
  'dist/worker.cjs': { entryPoints: ['extension/worker.ts'], format: 'cjs' },
};

export async function buildBundles() {
  mkdirSync('dist', { recursive: true });
  const built = {};
  for (const [outfile, options] of Object.entries(bundles))
    built[outfile] = (await build({ ...shared, ...options, outfile })).metafile;
  for (const name of ['dataplane.wasm', 'dataplane.trace.wasm']) copyFileSync(`pkg/${name}`, `dist/${name}`);
  return built;
}

if (process.argv[1]?.endsWith('build.mjs')) {
  const start = Date.now();
  await buildDatapath();
  await buildBundles();
  if (!quiet) console.log(`built pkg/ and dist/ in ${Date.now() - start} ms`);
}
