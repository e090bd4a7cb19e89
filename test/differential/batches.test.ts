/**
 * Batches do what packets do one by one, where there is little room: entries are evicted, collected and made anew, and who goes
 * next is the same on both sides, or the maps would soon hold others.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MapId } from '../../assembly/abi.js';
import { CtEntry, CtTuple4, CtTuple6, MetricsValue, NatEntry4, NatEntry6 } from '../../pkg/structs.js';
import { compile } from '../broken/compile.js';
import { UNSEEN } from '../broken/flows.js';
import { modules } from '../datapath.js';
import { drawCluster, evolve } from './cluster.js';
import { BLOCK, compareOutcomes, EVOLVED } from './epoch.js';
import { Random } from './random.js';
import { Subject } from './subject.js';
import { Traffic } from './traffic.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 1);
const EPOCHS = 12;
const BLOCKS = 250;
/** Blocks between two looks at the maps: whoever looks at a connection has its flows tell it what they counted. */
const BETWEEN = 9;
const CROWDED = {
  conntrack4: 48,
  conntrack6: 48,
  snat4: 24,
  snat6: 24,
  flows4: 40,
  flows6: 40,
  openings4: 40,
  openings6: 40,
};

/** The maps that flows are kept along with: keys and values. */
const KEPT = [
  [MapId.CT4, CtTuple4.size, CtEntry.size],
  [MapId.CT6, CtTuple6.size, CtEntry.size],
  [MapId.SNAT4, CtTuple4.size, NatEntry4.size],
  [MapId.SNAT6, CtTuple6.size, NatEntry6.size],
] as const;

/** Indices of all metrics. */
const METRICS = Array.from({ length: 512 }, (_, i) => String.fromCharCode(i & 255, i >> 8, 0, 0));

const contents = ({ datapath }: Subject): string[] => [
  ...KEPT.flatMap(([map, key, value]) =>
    datapath.keys(map, key).map((one) => `${map} ${one} ${datapath.lookup(map, one, value)}`),
  ),
  ...METRICS.map((index) => datapath.lookup(MapId.METRICS, index, MetricsValue.size)!),
];

/** The host takes out or overwrites what packets left, in the same way on all sides. */
function interfere(sides: readonly Subject[], random: Random): void {
  const [map, keySize, valueSize] = random.pick(KEPT);
  const keys = sides[0]!.datapath.keys(map, keySize);
  if (keys.length === 0 || !random.chance(10)) return;
  const key = random.pick(keys);
  const value = sides[0]!.datapath.lookup(map, key, valueSize)!;
  const [isFlush, isUpdate] = [random.chance(5), random.chance(50)];
  for (const { datapath } of sides)
    if (isFlush) datapath.wasm.flushConnections();
    else if (isUpdate) datapath.update(map, key, value);
    else datapath.delete(map, key);
}

/** Runs one epoch on both sides. Where they part, or null; how many packets followed a flow, and how many opened a connection as others had. */
function compare(
  module: WebAssembly.Module,
  epoch: number,
): { found: string | null; followed: number; opened: number } {
  // Now and then a family keeps no flows.
  const sizes = { ...CROWDED, ...(epoch % 4 === 3 ? { flows6: 0 } : {}) };
  const [batched, plain] = [new Subject(module, sizes), new Subject(module, sizes)];
  const random = new Random(SEED, epoch);
  const cluster = drawCluster(random);
  const both = [batched, plain];
  for (const one of both) one.load(cluster);
  const traffic = new Traffic(cluster, random);
  let clock = 1000;
  const result = (found: string | null): ReturnType<typeof compare> => ({
    found,
    ...batched.datapath.flowCounters(),
  });
  for (let block = 0; block < BLOCKS; block++) {
    if (block % EVOLVED === EVOLVED - 1) {
      const changed = evolve(cluster, random);
      for (const one of both) one.load(changed);
      traffic.use(changed);
    }
    clock += random.pick([0, 0, 1, 5, 70]);
    const places = random.below(16);
    for (const { datapath } of both) {
      datapath.wasm.setClock(clock);
      datapath.wasm.collect(places);
    }
    const arrivals = Array.from({ length: BLOCK }, () => traffic.next());
    // Traffic goes on from what came out: it needs bytes of its own.
    const expected = plain.run(arrivals, true).map((one) => ({ ...one, frame: one.frame.slice() }));
    for (const [i, outcome] of batched.run(arrivals).entries()) {
      const text = compareOutcomes(outcome, expected[i]!);
      if (text !== null) return result(`packet ${block * BLOCK + i} of epoch ${epoch}: ${text}`);
      traffic.learn(arrivals[i]!, expected[i]!);
    }
    interfere([plain, batched], random);
    if (block % BETWEEN !== 0 && block !== BLOCKS - 1) continue;
    const [a, b] = both.map(contents) as [string[], string[]];
    if (a.join() !== b.join()) return result(`the maps after block ${block} of epoch ${epoch}`);
  }
  return result(null);
}

test(`${EPOCHS * BLOCKS * BLOCK} packets in crowded maps: the same in batches and one by one (HOPSCOPE_SEED=${SEED})`, () => {
  const all = { followed: 0, opened: 0 };
  for (let epoch = 0; epoch < EPOCHS; epoch++) {
    const { found, followed, opened } = compare(modules.fast, epoch);
    assert.equal(found, null);
    all.followed += followed;
    all.opened += opened;
  }
  const few = (EPOCHS * BLOCKS * BLOCK) / 100;
  assert.ok(all.followed > few && all.opened > few / 5, JSON.stringify(all));
});

for (const broken of UNSEEN)
  test(`caught where there is little room: ${broken.name}`, async () => {
    const module = new WebAssembly.Module(Uint8Array.from(await compile('fast', broken)));
    const epochs = Array.from({ length: EPOCHS }, (_, epoch) => epoch);
    assert.ok(epochs.some((epoch) => compare(module, epoch).found !== null));
  });
