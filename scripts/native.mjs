/** What the comparisons with native code share: the benchmark's own workloads in a file, and programs that run it round by round. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buildDatapath } from './build.mjs';
import { bundle, load } from './harness.mjs';

/** In the order in which the programs read them. */
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
const WARM_UP_CALLS = 1000;
const MODULE = 'dist/bench-native/bench.mjs';

/** Says why nothing, or nothing good, was measured. The status to exit with. */
export function loudly(message) {
  console.error(`\n*** ${message}\n`);
  return 1;
}

export const isThere = (program) => spawnSync(program, ['--version']).status === 0;

export const versionOf = (program) => spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout.split('\n')[0];

/** Compiles; false after telling what the compiler has to say. */
export const compile = (compiler, args) => spawnSync(compiler, args, { stdio: 'inherit' }).status === 0;

export const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Runs `main` with a folder of its own, and exits with the status it gives. */
export async function withFolder(main) {
  const folder = mkdtempSync(join(tmpdir(), 'hopscope-bench-'));
  try {
    process.exitCode = await main(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The benchmark's own code and the built datapath, so that both sides get what it makes. */
export async function benchmark() {
  await buildDatapath();
  await bundle(
    `export * from './dataplane/bench/lane.js';
     export { PROFILES } from './dataplane/bench/profiles.js';
     export { Packet } from './pkg/structs.js';`,
    MODULE,
  );
  const compiled = (name) => new WebAssembly.Module(readFileSync(`pkg/${name}`));
  return { ...(await load(MODULE)), fast: compiled('dataplane.wasm'), trace: compiled('dataplane.trace.wasm') };
}

/**
 * A profile on all sides: in wasm by both paths, and in each of the native `programs`, which are given the workload's file behind
 * their own arguments. Throws where one forwards another number of packets.
 */
export async function contest(bench, programs, profile, folder) {
  console.error(`preparing ${profile.name}`);
  const lane = bench.Lane.open(bench.fast, profile);
  const { forwarded, digest } = bench.verify(profile, lane, bench.Lane.open(bench.trace, profile, 'plain'));
  const file = join(folder, profile.name);
  writeWorkload(bench, lane, file);
  const contestants = [];
  for (const { name, command, args = [] } of programs) {
    const native = talkTo(command, [file, ...args]);
    const first = await native.ask();
    if (first.forwarded !== forwarded)
      throw new Error(`${profile.name}: ${name} forwards ${first.forwarded} packets, wasm ${forwarded}`);
    contestants.push({
      name,
      digest: first.digest,
      round: async () => nsOf(await native.ask('round')),
      end: native.end,
    });
  }
  rmSync(file);
  const cursor = new bench.Cursor(lane.templates);
  for (const path of ['plain', 'fast']) {
    const watch = new bench.Stopwatch(lane.by(path), cursor);
    watch.warmUp(WARM_UP_CALLS);
    contestants.unshift({ name: path, digest, round: () => median(watch.round()), end: () => undefined });
  }
  return { profile, digest, contestants: contestants.map((each) => ({ ...each, times: [] })) };
}

/** What a round took, without what it takes to run nothing. */
const nsOf = ({ ns, empty = 0 }) => ns - empty;

/** Rounds in turns: one of each contestant of each profile. */
export async function rounds(contests, count) {
  for (let round = 0; round < count; round++)
    for (const { contestants } of contests) for (const { round: run, times } of contestants) times.push(await run());
  for (const { contestants } of contests) for (const { end } of contestants) end();
}

/** A program that answers each line with one line of JSON. */
function talkTo(program, args) {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  const ended = once(child, 'exit').then(([status]) => {
    throw new Error(`${program} ended with status ${status}`);
  });
  ended.catch(() => undefined);
  return {
    async ask(line) {
      if (line) child.stdin.write(`${line}\n`);
      return JSON.parse((await Promise.race([once(lines, 'line'), ended]))[0]);
    },
    end: () => child.stdin.end(),
  };
}

/** The maps and templates as the programs read them; Maglev tables as the datapath built them. */
function writeWorkload({ Packet, CALLS, SAMPLES }, lane, path) {
  const { workload, datapath } = lane;
  const { wasm, sizes } = datapath;
  const { templates, stride, entries, maglev, order } = workload;
  const words = (...numbers) => Buffer.from(Uint32Array.from(numbers).buffer);
  const file = openSync(path, 'w');
  const write = (...buffers) => buffers.forEach((buffer) => writeSync(file, buffer));
  write(words(...SIZES.map((name) => sizes[name])));
  write(words(sizes.maglevTableSize, templates, stride, Packet.size, CALLS, SAMPLES, entries.length));
  write(
    Buffer.concat(
      entries.flatMap(({ map, key, value }) => [
        words(map, key.length, value.length),
        Buffer.from(key + value, 'latin1'),
      ]),
    ),
  );
  write(words(maglev.length));
  for (const { revNatIndex } of maglev) {
    const table = lane.maglevTable(revNatIndex);
    write(words(revNatIndex, table.length), Buffer.from(table.buffer));
  }
  write(Buffer.from(order.buffer));
  write(Buffer.from(wasm.memory.buffer, wasm.templates(), templates * stride));
  closeSync(file);
}
