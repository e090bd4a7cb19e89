/**
 * Holds the WebAssembly against the reference of test/reference, packet by packet.
 *
 *   npm run differential -- [--packets 10000000] [--minutes 10] [--seed 1] [--workers 2]    status 1 on a difference
 *   npm run differential -- --seed N --epoch K                              shows the first packet of an epoch that differs
 *   npm run differential:broken -- [--seed 1] [--workers 2] [WORDS]         broken builds; status 1 unless all of test/broken/semantic.ts are caught
 *
 * With --minutes it ends after so many, however few packets those were.
 *
 * Those of test/broken/table.ts, which touch memory that is not theirs, are run too, and told apart: what they do wrong need not
 * show in a packet. WORDS pick broken builds by their name.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { buildDatapath } from './build.mjs';
import { bundle, load, whole } from './harness.mjs';

const BUNDLE = 'dist/differential/differential.mjs';
const EXPORTS = `
  export { EPOCH, explain, runEpoch } from './test/differential/epoch.js';
  export { Subject } from './test/differential/subject.js';
  export { BROKEN } from './test/broken/table.js';
  export { SEMANTIC } from './test/broken/semantic.js';
  export { apply, compile } from './test/broken/compile.js';
  export { DropReason, Program } from './assembly/abi.js';`;
const FAST = 'pkg/dataplane.wasm';
/** Packets after which a broken build counts as not caught, of either kind, and the time after which it is ended. */
const BROKEN_PACKETS = 2_000_000;
const TOUCHING_PACKETS = 100_000;
const BROKEN_MS = 600_000;
/** Packets between two lines about how far it is. */
const STEP = 5_000_000;
/** After so many differences there is nothing more to learn. */
const ENOUGH = 5;

if (!isMainThread) await serve();
else {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      packets: { type: 'string', default: '10000000' },
      seed: { type: 'string', default: '1' },
      minutes: { type: 'string' },
      workers: { type: 'string', default: '2' },
      epoch: { type: 'string' },
    },
  });
  const [what, ...words] = positionals;
  const [seed, workers] = [whole(values.seed), whole(values.workers)];
  await buildDatapath();
  await bundle(EXPORTS, BUNDLE);
  const harness = await load(BUNDLE);
  if (what !== 'run' && what !== 'broken') throw new Error('differential.mjs run, or differential.mjs broken');
  if (what === 'broken') process.exitCode = await broken(harness, seed, workers, words.join(' '));
  else if (values.epoch) process.exitCode = show(harness, seed, whole(values.epoch));
  else process.exitCode = await run(harness, seed, workers, whole(values.packets), whole(values.minutes ?? '100000'));
}

function thousands(number) {
  return number.toLocaleString('en');
}

function moduleOf(bytes) {
  return new WebAssembly.Module(bytes);
}

/** Epochs are handed out one by one, until all are run, enough differ or the time is over. */
async function run({ EPOCH, DropReason, Program }, seed, lanes, packets, minutes) {
  const epochs = Math.ceil(packets / EPOCH);
  const start = performance.now();
  const ends = new Map();
  const found = [];
  let next = 0;
  let done = 0;
  let followed = 0;
  let opened = 0;
  const lane = async () => {
    const worker = new Worker(new URL(import.meta.url));
    while (next < epochs && found.length < ENOUGH && performance.now() - start < minutes * 60_000) {
      const epoch = next++;
      worker.postMessage({ epoch, seed });
      const [answer] = await once(worker, 'message');
      for (const [end, count] of answer.ends) ends.set(end, (ends.get(end) ?? 0) + count);
      if (answer.difference) found.push(answer.difference);
      const before = done;
      done += answer.packets;
      followed += answer.followed;
      opened += answer.opened;
      if (Math.floor(before / STEP) < Math.floor(done / STEP)) console.error(`${thousands(done)} packets`);
    }
    await worker.terminate();
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  const seconds = (performance.now() - start) / 1000;
  const shares = [...ends]
    .sort(([, a], [, b]) => b - a)
    .map(([end, count]) => `${end < 0 ? DropReason[-end] : Program[end]} ${((100 * count) / done).toFixed(2)} %`);
  console.log(shares.join(', '));
  const share = (part) => `${((100 * part) / done).toFixed(2)} %`;
  console.log(`${share(followed)} followed a flow that was kept, ${share(opened)} opened a connection as others had`);
  for (const { epoch, text } of found)
    console.log(`${text}\n  npm run differential -- --seed ${seed} --epoch ${epoch}`);
  console.log(
    `seed ${seed}: ${thousands(done)} packets in ${next} epochs, ${found.length} differences, ` +
      `${seconds.toFixed(0)} s, ${thousands(Math.round(done / seconds))} packets/s with ${lanes} workers`,
  );
  return found.length > 0 ? 1 : 0;
}

function show({ EPOCH, explain }, seed, epoch) {
  const found = explain(moduleOf(readFileSync(FAST)), { seed, epoch, packets: EPOCH });
  console.log(found ? found.text : `epoch ${epoch} of seed ${seed}: ${thousands(EPOCH)} packets, no difference`);
  return found ? 1 : 0;
}

async function broken({ SEMANTIC, BROKEN, apply }, seed, lanes, words) {
  const picked = (all) => all.filter(({ name }) => name.includes(words));
  const applies = (one) => {
    try {
      apply(one, readFileSync(`assembly/${one.file}`, 'utf8'));
      return true;
    } catch {
      return false;
    }
  };
  const start = performance.now();
  const semantic = await runBroken(picked(SEMANTIC), seed, lanes, BROKEN_PACKETS);
  // What the recording build alone does wrong shows in no packet.
  const memory = picked(BROKEN).filter((one) => one.build === 'fast' && applies(one));
  const seen = await runBroken(memory, seed, lanes, TOUCHING_PACKETS);
  console.log(`${seen} of ${memory.length} that touch what is not theirs differ too`);
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  console.log(`${semantic} of ${picked(SEMANTIC).length} caught, in ${seconds} s`);
  return semantic === picked(SEMANTIC).length ? 0 : 1;
}

/** How many of them differ from the reference. */
async function runBroken(all, seed, lanes, packets) {
  const queue = [...all];
  let caught = 0;
  const lane = async () => {
    let worker = new Worker(new URL(import.meta.url));
    for (let next = queue.shift(); next; next = queue.shift()) {
      worker.postMessage({ name: next.name, seed, packets });
      const [answer] = (await Promise.race([once(worker, 'message'), sleep(BROKEN_MS, null, { ref: false })])) ?? [];
      const isCaught = !answer || answer.caught;
      if (isCaught) caught++;
      console.log(`${isCaught ? 'caught' : 'MISSED'}  ${next.name}: ${answer?.text ?? 'it does not end'}`);
      if (answer) continue;
      await worker.terminate();
      worker = new Worker(new URL(import.meta.url));
    }
    await worker.terminate();
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return caught;
}

/** A worker: runs an epoch, or compiles a broken build and runs it until it differs. */
async function serve() {
  const harness = await load(BUNDLE);
  let subject = null;
  parentPort.on('message', async ({ epoch, name, seed, packets: most }) => {
    if (name !== undefined) return parentPort.postMessage(await catchBroken(harness, name, seed, most));
    subject ??= new harness.Subject(moduleOf(readFileSync(FAST)));
    const before = subject.datapath.flowCounters();
    const ends = new Map();
    let packets = 0;
    const onEnd = ({ verdict, program }) => {
      packets++;
      const end = verdict === 0 ? program : verdict;
      ends.set(end, (ends.get(end) ?? 0) + 1);
    };
    const difference = harness.runEpoch(subject, { seed, epoch, packets: harness.EPOCH, exact: false, onEnd });
    const after = subject.datapath.flowCounters();
    const followed = after.followed - before.followed;
    const opened = after.opened - before.opened;
    parentPort.postMessage({ packets, difference, ends: [...ends], followed, opened });
  });
}

async function catchBroken({ SEMANTIC, BROKEN, EPOCH, Subject, compile, runEpoch }, name, seed, packets) {
  const one = [...SEMANTIC, ...BROKEN].find((candidate) => candidate.name === name);
  let module;
  try {
    module = moduleOf(await compile(one.build, one));
  } catch (error) {
    return { caught: false, text: error.message };
  }
  try {
    const subject = new Subject(module);
    for (let epoch = 0; epoch * EPOCH < packets; epoch++) {
      const found = runEpoch(subject, { seed, epoch, packets: EPOCH, exact: false });
      if (found) return { caught: true, text: found.text.split('\n')[0] };
    }
    return { caught: false, text: 'no difference' };
  } catch (error) {
    return { caught: true, text: error.message };
  }
}
