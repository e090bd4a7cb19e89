/**
 * Holds the WebAssembly against the same datapath in C (test/bench/native/plain.c), compiled with clang or gcc -O3
 * -march=native: the same maps, the same packets, rounds in turns. Fails when a digest differs.
 *
 *   node scripts/bench-native.mjs [--rounds 15] [--profile NAME,NAME] [--at-most 1.3]
 *
 * --at-most: fail too when the WebAssembly takes more than so many times as long as the C.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { buildDatapath } from './build.mjs';

const SOURCE = 'test/bench/native/plain.c';
/** In the order in which plain.c reads them. */
const SIZES = [
  'services4',
  'backends4',
  'reverseNat4',
  'maglev4',
  'conntrack4',
  'ipcache4',
  'policy',
  'lxc4',
  'endpointConfig',
  'nodeConfig',
  'nodes4',
];

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    profile: { type: 'string', default: 'all' },
    'at-most': { type: 'string' },
  },
});

const temporary = mkdtempSync(join(tmpdir(), 'hopscope-bench-'));
try {
  process.exitCode = await main();
} finally {
  rmSync(temporary, { recursive: true });
}

async function main() {
  if (process.platform !== 'linux')
    return loudly(`This comparison needs Linux, and this is ${process.platform}. Nothing was measured.`);
  const compiler = ['clang', 'gcc'].find((name) => spawnSync(name, ['--version']).status === 0);
  if (!compiler) return loudly('There is no C compiler: install clang or gcc. Nothing was measured.');
  await buildDatapath();
  const program = join(temporary, 'plain');
  const flags = ['-O3', '-march=native', '-std=gnu11'];
  const compiled = spawnSync(compiler, [...flags, '-o', program, SOURCE], { stdio: 'inherit' });
  if (compiled.status !== 0) return loudly(`${compiler} does not compile ${SOURCE}.`);
  const version = spawnSync(compiler, ['--version'], { encoding: 'utf8' }).stdout.split('\n')[0];

  const bench = await benchModule();
  const modules = { fast: moduleOf('dataplane.wasm'), trace: moduleOf('dataplane.trace.wasm') };
  const known = bench.PROFILES.filter(({ traffic }) => isKnown(traffic)).map(({ name }) => name);
  const names = options.profile === 'all' ? known : options.profile.split(',');
  const pairs = [];
  for (const name of names) pairs.push(await pairOf(bench, modules, program, name));

  console.log(`${cpus()[0].model}; Node ${process.version}; ${version}, ${flags.join(' ')}`);
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const pair of pairs) {
      const { watch, native, times } = pair;
      times.wasm.push(median(watch.round()));
      times.c.push((await native.ask('round')).ns);
    }
  }
  for (const { native } of pairs) native.end();

  const rows = pairs.map(({ name, times, digests }) => {
    const [c, wasm] = [median(times.c), median(times.wasm)];
    return { name, c, wasm, ratio: wasm / c, digests };
  });
  console.log(
    ['profile'.padEnd(18), 'C ns', 'wasm ns', 'wasm/C', ' digest']
      .map((cell, i) => (i ? cell.padStart(9) : cell))
      .join(''),
  );
  for (const { name, c, wasm, ratio, digests } of rows) {
    const agreed = digests.c === digests.wasm ? digests.c : `C ${digests.c}, wasm ${digests.wasm}: DIFFERENT`;
    console.log(
      `${name.padEnd(18)}${c.toFixed(1).padStart(9)}${wasm.toFixed(1).padStart(9)}${ratio.toFixed(2).padStart(9)}   ${agreed}`,
    );
  }
  if (rows.some(({ digests }) => digests.c !== digests.wasm))
    return loudly('The digests differ: one of the two gives wrong answers.');
  const limit = options['at-most'];
  const slow = rows.filter(({ ratio }) => ratio > Number(limit));
  if (limit && slow.length > 0)
    return loudly(`More than ${limit} times as slow as C: ${slow.map(({ name }) => name).join(', ')}.`);
  return 0;
}

/** plain.c knows IPv4 from pods to Services, and no answers. */
function isKnown({ family, clients, survivor }) {
  return family === 'IPv4' && clients === 'pods' && survivor === 0;
}

function loudly(message) {
  console.error(`\n*** ${message}\n`);
  return 1;
}

function moduleOf(name) {
  return new WebAssembly.Module(readFileSync(`pkg/${name}`));
}

function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/** The benchmark's own code, so that both sides get what it makes. */
async function benchModule() {
  const outfile = join(temporary, 'bench.mjs');
  const contents = `export * from './dataplane/bench/lane.js'; export { PROFILES } from './dataplane/bench/profiles.js';`;
  await build({
    stdin: { contents, resolveDir: process.cwd(), loader: 'ts' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'es2022',
    outfile,
    logLevel: 'warning',
  });
  return import(pathToFileURL(outfile).href);
}

/** A profile on both sides, each with its flows open and one pass over all templates done. */
async function pairOf(bench, modules, program, name) {
  const profile = bench.PROFILES.find((candidate) => candidate.name === name);
  if (!profile || !isKnown(profile.traffic)) throw new Error(`there is no profile ${name} in C`);
  console.error(`preparing ${name}`);
  const lane = bench.Lane.open(modules.fast, profile);
  const fromWasm = bench.verify(profile, lane, bench.Lane.open(modules.trace, profile, 'plain'));
  const path = join(temporary, name);
  writeWorkload(bench, lane, path);
  const native = talkTo(program, [path]);
  const fromC = await native.ask();
  rmSync(path);
  if (fromC.forwarded !== fromWasm.forwarded)
    throw new Error(`${name}: C forwards ${fromC.forwarded} packets, wasm ${fromWasm.forwarded}`);
  const watch = new bench.Stopwatch(lane);
  watch.warmUp(1000);
  return { name, watch, native, digests: { c: fromC.digest, wasm: fromWasm.digest }, times: { c: [], wasm: [] } };
}

/** A program that answers each line with one line of JSON. */
function talkTo(program, args) {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  child.on('exit', (status) => {
    if (status) throw new Error(`${SOURCE} ended with status ${status}`);
  });
  return {
    async ask(line) {
      if (line) child.stdin.write(`${line}\n`);
      return JSON.parse((await once(lines, 'line'))[0]);
    },
    end: () => child.stdin.end(),
  };
}

/** The maps and templates as plain.c reads them; Maglev tables as the datapath built them. */
function writeWorkload(bench, lane, path) {
  const { workload, datapath } = lane;
  const { wasm, sizes } = datapath;
  const words = (...numbers) => Buffer.from(Uint32Array.from(numbers).buffer);
  const file = openSync(path, 'w');
  const write = (...buffers) => buffers.forEach((buffer) => writeSync(file, buffer));
  write(words(...SIZES.map((name) => sizes[name]), bench.CALLS, bench.SAMPLES, workload.entries.length));
  write(
    Buffer.concat(
      workload.entries.flatMap(({ map, key, value }) => [
        words(map, key.length, value.length),
        Buffer.from(key + value, 'latin1'),
      ]),
    ),
  );
  write(words(workload.maglev.length));
  for (const { revNatIndex } of workload.maglev) {
    const table = lane.maglevTable(revNatIndex);
    write(words(revNatIndex, table.length), Buffer.from(table.buffer));
  }
  write(words(workload.templates, workload.stride), Buffer.from(workload.order.buffer));
  write(Buffer.from(wasm.memory.buffer, wasm.templates(), workload.templates * workload.stride));
  closeSync(file);
}
