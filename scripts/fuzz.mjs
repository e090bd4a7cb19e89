/**
 * Runs packets through the datapath with a check compiled in before each access to memory (test/memory).
 *
 *   npm run fuzz:memory -- [--packets 50000000] [--seed 1]     both builds, as they are shipped; status 1 on a violation
 *   npm run fuzz:memory -- --seed N --build fast --packet N    shows one packet of such a run, and what it does
 *   npm run fuzz:broken -- [--seed 1] [WORDS]                  the broken builds of test/broken; status 1 unless all are caught
 *
 * The build that records gets one packet for fifty of the other's. WORDS pick broken builds by their name.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { buildDatapath } from './build.mjs';
import { bundle, load, whole } from './harness.mjs';

const BUNDLE = 'dist/fuzz/memory.mjs';
const EXPORTS = `
  export { clusters } from './test/memory/cluster.js';
  export { EPOCH, fuzz } from './test/memory/fuzz.js';
  export { instrument } from './test/memory/instrument.js';
  export { BROKEN } from './test/broken/table.js';
  export { compile } from './test/broken/compile.js';
  export { BATCH_SIZE, DropReason, Program } from './assembly/abi.js';`;
/** Packets after which a broken build counts as not caught, and the time after which it is ended. */
const BROKEN_PACKETS = 2_000_000;
const BROKEN_MS = 120_000;
/** Broken builds are compiled and run so many at a time. */
const LANES = 2;
const RECORDED_SHARE = 50;
const STEP = 5_000_000;

if (!isMainThread) await serve();
else {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      packets: { type: 'string', default: '50000000' },
      seed: { type: 'string', default: '1' },
      build: { type: 'string' },
      packet: { type: 'string' },
    },
  });
  const [what, ...words] = positionals;
  const seed = whole(values.seed);
  await buildDatapath();
  await bundle(EXPORTS, BUNDLE);
  const harness = await load(BUNDLE);
  if (what !== 'memory' && what !== 'broken') throw new Error('fuzz.mjs memory, or fuzz.mjs broken');
  if (what === 'broken') process.exitCode = await broken(harness, seed, words.join(' '));
  else if (values.packet) process.exitCode = showPacket(harness, seed, values.build ?? 'fast', whole(values.packet));
  else process.exitCode = memory(harness, seed, whole(values.packets));
}

/** A build as `npm run build` makes it, instrumented. */
function shipped({ instrument }, build) {
  return instrument(readFileSync(build === 'trace' ? 'pkg/dataplane.trace.wasm' : 'pkg/dataplane.wasm'), true);
}

function thousands(number) {
  return number.toLocaleString('en');
}

function memory(harness, seed, packets) {
  const parts = [
    { build: 'fast', packets },
    { build: 'trace', packets: Math.ceil(packets / RECORDED_SHARE) },
  ];
  let violations = 0;
  for (const part of parts) {
    const module = shipped(harness, part.build);
    const start = performance.now();
    let next = STEP;
    const report = harness.fuzz(module, harness.clusters(), {
      seed,
      from: 0,
      packets: part.packets,
      recording: part.build === 'trace',
      onEpoch: (done) => {
        if (done < next) return;
        next += STEP;
        console.error(`${part.build}: ${thousands(done)} packets`);
      },
    });
    const seconds = (performance.now() - start) / 1000;
    violations += report.found.length;
    console.log(
      `${part.build}: ${thousands(report.packets)} packets, ${thousands(report.accesses)} accesses checked, ` +
        `${seconds.toFixed(1)} s, ${thousands(Math.round(report.packets / seconds))} packets/s, ` +
        `${report.found.length} violations`,
    );
    console.log(`  ${endsText(harness, report.ends)}`);
    for (const { packet, text } of report.found)
      console.log(`  ${text}\n    npm run fuzz:memory -- --seed ${seed} --build ${part.build} --packet ${packet}`);
  }
  console.log(`seed ${seed}: ${violations} violations`);
  return violations > 0 ? 1 : 0;
}

/** `DELIVERED 12 %, INVALID 3 %`: how a sample of the packets ended, the most frequent first. */
function endsText({ DropReason, Program }, ends) {
  const total = [...ends.values()].reduce((sum, count) => sum + count, 0);
  return [...ends]
    .sort(([, a], [, b]) => b - a)
    .map(([end, count]) => `${end < 0 ? DropReason[-end] : Program[end]} ${((100 * count) / total).toFixed(1)} %`)
    .join(', ');
}

function showPacket(harness, seed, build, packet) {
  const { BATCH_SIZE, EPOCH, Program } = harness;
  const report = harness.fuzz(shipped(harness, build), harness.clusters(), {
    seed,
    from: packet,
    packets: BATCH_SIZE - (packet % BATCH_SIZE),
    recording: build === 'trace',
    once: true,
    onFrame: (number, frame, { program, node, endpoint }) => {
      if (number !== packet) return;
      console.log(`packet ${packet} enters at ${Program[program]}, node ${node}, endpoint ${endpoint}:`);
      console.log(Buffer.from(frame).toString('hex'));
    },
  });
  for (const { packet, text } of report.found) console.log(`packet ${packet}: ${text}`);
  if (report.found.length === 0) console.log(`no violation from packet ${packet - (packet % EPOCH)} to this one`);
  return report.found.length > 0 ? 1 : 0;
}

async function broken({ BROKEN }, seed, words) {
  const picked = BROKEN.filter(({ name }) => name.includes(words));
  const queue = [...picked];
  const start = performance.now();
  let caught = 0;
  const lane = async () => {
    let worker = new Worker(new URL(import.meta.url));
    for (let next = queue.shift(); next; next = queue.shift()) {
      worker.postMessage({ name: next.name, seed });
      const [answer] = (await Promise.race([once(worker, 'message'), sleep(BROKEN_MS, null, { ref: false })])) ?? [];
      if (answer?.found) caught++;
      console.log(`${answer?.found ? 'caught' : 'MISSED'}  ${next.name}: ${answer?.text ?? 'it does not end'}`);
      if (answer) continue;
      await worker.terminate();
      worker = new Worker(new URL(import.meta.url));
    }
    await worker.terminate();
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  console.log(`${caught} of ${picked.length} caught, in ${((performance.now() - start) / 1000).toFixed(0)} s`);
  return caught === picked.length ? 0 : 1;
}

/** A worker: compiles a broken build, and runs it until it is caught. */
async function serve() {
  const { BROKEN, clusters, compile, fuzz, instrument } = await load(BUNDLE);
  const all = clusters();
  parentPort.on('message', async ({ name, seed }) => {
    const broken = BROKEN.find((candidate) => candidate.name === name);
    try {
      const module = instrument(await compile(broken.build, broken), false);
      const run = { seed, from: 0, packets: BROKEN_PACKETS, recording: broken.build === 'trace', once: true };
      const [found] = fuzz(module, all, run).found;
      parentPort.postMessage({
        found: found?.memory,
        text: found ? `packet ${found.packet}, ${found.text}` : 'nothing was found',
      });
    } catch (error) {
      parentPort.postMessage({ found: false, text: error.message });
    }
  });
}
