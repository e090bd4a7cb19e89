import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MapId, Program } from '../../assembly/abi.js';
import { formatAddress } from '../../dataplane/addresses.js';
import { bench, quantile, type BenchReport, type Machine } from '../../dataplane/bench/bench.js';
import { Floor } from '../../dataplane/bench/floor.js';
import { JavaScriptLane, isInJavaScript } from '../../dataplane/bench/javascript/lane.js';
import { Lane, Stopwatch, verify } from '../../dataplane/bench/lane.js';
import { PROFILES, type Profile } from '../../dataplane/bench/profiles.js';
import { WrongAnswer, type StartWorker } from '../../dataplane/bench/subject.js';
import { countOf, strideOf, writeTemplates } from '../../dataplane/bench/templates.js';
import { laneWorker, serveLane, type FromLane } from '../../dataplane/bench/workers.js';
import { benchJson } from '../../dataplane/format/bench-json.js';
import { benchMarkdown } from '../../dataplane/format/bench-md.js';
import { growthPlots, stagePlots } from '../../dataplane/format/bench-plots.js';
import { benchBars, benchTable } from '../../dataplane/format/bench-table.js';
import { tupleOf } from '../../dataplane/packet.js';
import { decode, encode, type Datapath } from '../../dataplane/wasm.js';
import {
  CtEntry,
  EndpointConfig,
  EndpointKey4,
  IpcacheKey4,
  CtTuple4,
  LbBackendKey,
  LbKey4,
  Packet,
} from '../../pkg/structs.js';
import { modules } from '../datapath.js';
import { lossesOf, ratiosOf } from './gate.js';

const FLOWS = 300;
const machine: Machine = { cpu: 'abacus', cores: 1, node: 'v20.0.0', wasm: '-O3' };

/** A profile with few flows and Services, so that it takes no time. */
function small({ traffic, ...listed }: Profile): Profile {
  const connections = traffic.opening ? 2 * FLOWS : 3 * FLOWS;
  return {
    ...listed,
    traffic: { ...traffic, services: Math.min(traffic.services, 20), flows: FLOWS, connections, maglevTableSize: 251 },
  };
}

const named = (name: string): Profile => small(PROFILES.find((profile) => profile.name === name)!);
const open = (profile: Profile): Lane => Lane.open(modules.fast, profile);

for (const profile of PROFILES.map(small)) {
  test(`${profile.name} gives what it says, in both builds of the dataplane alike`, () => {
    const { forwarded, digest } = verify(profile, open(profile), Lane.open(modules.trace, profile));
    assert.equal(forwarded, profile.traffic.stop === null ? FLOWS : 0);
    assert.match(digest, /^[0-9a-f]{8}$/);
  });
}

for (const profile of PROFILES.map(small).filter(({ traffic }) => isInJavaScript(traffic))) {
  test(`${profile.name} gives the same in JavaScript`, () => {
    const lane = open(profile);
    const javaScript = new JavaScriptLane(profile, lane);
    for (const each of [lane, javaScript]) each.openFlows();
    assert.deepEqual(javaScript.pass(), lane.pass());
    assert.equal(javaScript.replay(FLOWS - 1, 2), profile.traffic.stop === null ? 2 : 0);
  });
}

test('the floor receives each packet, and counts it in the line of its flow', () => {
  const floor = Floor.open(modules.fast, named('established-1k'));
  floor.replay(0, FLOWS);
  floor.replay(FLOWS - 1, 2);
  assert.deepEqual([...floor.touched].sort(), [...Array<number>(FLOWS - 2).fill(1), 2, 2]);
});

/** How many packets each connection in the table has seen. */
function packetsOfConnections({ datapath }: Lane): bigint[] {
  return datapath
    .keys(MapId.CT4, CtTuple4.size)
    .map((key) => decode(CtEntry, datapath.lookup(MapId.CT4, key, CtEntry.size)!).packets);
}

test('established flows are all in conntrack, three entries each, and stay there', () => {
  const lane = open(named('established-1k'));
  lane.openFlows();
  lane.pass();
  assert.deepEqual(packetsOfConnections(lane), Array<bigint>(3 * FLOWS).fill(3n));
});

test('every packet of new-flows opens a connection, however often its template has come round', () => {
  const lane = open(named('new-flows'));
  lane.openFlows();
  new Stopwatch(lane).warmUp(20);
  assert.deepEqual(packetsOfConnections(lane), Array<bigint>(2 * FLOWS).fill(1n));
});

/** Where the first flow's packet ends, and whose name it has then. */
function arrival(name: string): { program: number; node: number; source: string } {
  const lane = open(named(name));
  lane.openFlows();
  lane.pass();
  const { wasm } = lane.datapath;
  const { program, node, data, length } = new Packet(new DataView(wasm.memory.buffer), wasm.packets());
  const { source } = tupleOf(new Uint8Array(wasm.memory.buffer, data, length))!;
  return { program, node, source: formatAddress(source) };
}

test('the world’s clients reach pods of the other node: in the first one’s name, or with direct server return in their own', () => {
  // The first packet of the last batch is that of flow 256, of client 6.
  assert.deepEqual(arrival('snat-1k'), { program: Program.DELIVERED, node: 2, source: '10.0.0.1' });
  assert.deepEqual(arrival('dsr-1k'), { program: Program.DELIVERED, node: 2, source: '203.0.113.7' });
});

test('flows of a flood that do not survive show', () => {
  const lane = open(named('flood'));
  lane.openFlows();
  lane.checkSurvivors(0);
  lane.datapath.flushConnections();
  assert.throws(() => lane.checkSurvivors(0), /flood: flow 0 did not survive/);
});

/** A lane whose first backend, endpoint 251, has a hardware address with the bits of `change` turned. */
function withMac(profile: Profile, change: bigint): Lane {
  const lane = open(profile);
  const index = String.fromCharCode(251, 0, 0, 0);
  const config = decode(EndpointConfig, lane.datapath.lookup(MapId.ENDPOINT_CONFIG, index, EndpointConfig.size)!);
  const changed = encode(EndpointConfig, { ...config, mac: config.mac ^ change });
  assert.equal(lane.datapath.update(MapId.ENDPOINT_CONFIG, index, changed), 0);
  return lane;
}

test('one bit of one map entry shows in the digest', () => {
  const profile = named('established-1k');
  verify(profile, withMac(profile, 0n), open(profile));
  assert.throws(() => verify(profile, withMac(profile, 1n), open(profile)), /established-1k: digest/);
});

test('a packet that is refused shows in the count', () => {
  const profile = named('established-1k');
  const lane = open(profile);
  lane.datapath.delete(MapId.LB4_BACKENDS, encode(LbBackendKey, { backendId: 1 }));
  assert.throws(() => verify(profile, lane, open(profile)), WrongAnswer);
});

/** Parts of a map's neighbours, in the order of its buckets, of which the later one was put in first. */
function descents({ wasm, sizes }: Datapath, map: MapId, keySize: number, number: (key: DataView) => number): number {
  const count = wasm.mapKeys(map, wasm.scratch(), sizes.scratch);
  const keys = Array.from({ length: count }, (_, i) =>
    number(new DataView(wasm.memory.buffer, wasm.scratch() + i * keySize, keySize)),
  );
  return keys.filter((key, i) => i > 0 && key < keys[i - 1]!).length / (count - 1);
}

test('the maps spread keys that differ in few bits: one long chain would hold them in the order they came', () => {
  const profile = PROFILES.find(({ name }) => name === 'established-1k')!;
  const { datapath } = Lane.open(modules.fast, profile);
  const parts = {
    ipcache: descents(datapath, MapId.IPCACHE4, IpcacheKey4.size, (key) => key.getUint32(0)),
    lxc: descents(datapath, MapId.LXC4, EndpointKey4.size, (key) => key.getUint32(0)),
    services: descents(datapath, MapId.LB4_SERVICES, LbKey4.size, (key) => key.getUint32(0)),
    backends: descents(datapath, MapId.LB4_BACKENDS, LbBackendKey.size, (key) => key.getUint32(0, true)),
  };
  for (const [map, part] of Object.entries(parts)) assert.ok(part > 0.4 && part < 0.7, `${map}: ${part}`);
});

test('a report has the median of the rounds and the tail of the samples', async () => {
  const steps: string[] = [];
  const report = await bench(modules, {
    profiles: ['established-1k', 'edit-shop'],
    rounds: 2,
    machine,
    onProgress: (done, total, what) => steps.push(`${done}/${total} ${what}`),
  });
  assert.deepEqual(steps, [
    '0/6 established-1k: preparing',
    '1/6 edit-shop: preparing',
    '2/6 established-1k: round 1 of 2',
    '3/6 edit-shop: round 1 of 2',
    '4/6 established-1k: round 2 of 2',
    '5/6 edit-shop: round 2 of 2',
    '6/6 done',
  ]);
  assert.equal(report.cancelled, false);
  assert.deepEqual(
    report.results.map(({ profile, unit, rounds }) => ({ profile, unit, rounds })),
    [
      { profile: 'established-1k', unit: 'packet', rounds: 2 },
      { profile: 'edit-shop', unit: 'edit', rounds: 2 },
    ],
  );
  for (const { nsPerPacket, mpps, memoryMiB, spread, packets } of report.results) {
    assert.ok(spread.min <= nsPerPacket.median && nsPerPacket.median <= spread.max);
    assert.ok(mpps > 0 && memoryMiB > 0 && packets > 0);
  }
});

test('a cluster is loaded, edited, and asked who reaches whom', async () => {
  const { results } = await bench(modules, { profiles: ['cold-100', 'edit-100', 'reach-100'], rounds: 2, machine });
  assert.deepEqual(
    results.map(({ unit, packets }) => [unit, packets]),
    [
      ['load', 8],
      ['edit', 8],
      ['edit', 8],
    ],
  );
});

test('the others that take the same packets are in the report, and Maglev tables too', async () => {
  const { results } = await bench(modules, { profiles: ['established-1k', 'maglev-251-3'], rounds: 1, machine });
  assert.deepEqual(
    results.map(({ unit, baselines }) => [unit, ...baselines.map(({ name }) => name)]),
    [['packet', 'plain', 'JavaScript', 'floor'], ['build']],
  );
  for (const { ratio } of results[0]!.baselines) assert.ok(ratio > 0);
});

/** Workers that work in this thread. */
const startWorker: StartWorker = (start) =>
  laneWorker((onMessage) => {
    const later = (message: FromLane): void => void setTimeout(() => onMessage(message), 0);
    const work = serveLane(start, later);
    return { ask: work, end: () => undefined };
  });

test('two workers are held against one', async () => {
  const options = { profiles: ['workers-2-1k'], rounds: 1, machine };
  const { results } = await bench(modules, { ...options, startWorker });
  assert.deepEqual(
    results[0]!.baselines.map(({ name }) => name),
    ['one worker'],
  );
  assert.ok(results[0]!.baselines[0]!.ratio > 0 && results[0]!.memoryMiB > 5);
  await assert.rejects(bench(modules, options), /there are no workers for workers-2-1k here/);
});

test('each flow is one worker’s, and each worker has its share', () => {
  const { traffic } = PROFILES.find(({ name }) => name === 'established-1k')!;
  const framesOf = (worker: number, workers: number): string[] => {
    const own = { ...traffic, workers, worker };
    const bytes = Buffer.from(new ArrayBuffer(countOf(own) * strideOf(own)));
    writeTemplates(own, new DataView(bytes.buffer), 0);
    return Array.from({ length: countOf(own) }, (_, i) =>
      bytes.subarray(i * strideOf(own), (i + 1) * strideOf(own)).toString('hex'),
    );
  };
  const shares = [framesOf(0, 2), framesOf(1, 2)];
  assert.deepEqual(shares.flat().sort(), framesOf(0, 1).sort());
  for (const share of shares) assert.ok(share.length > 400, `${share.length} of 1,000`);
});

test('cancelled, it tells what there is', async () => {
  const signal = { aborted: false };
  const onProgress = (_done: number, _total: number, what: string): void => {
    if (what.includes('round 2')) signal.aborted = true;
  };
  const report = await bench(modules, {
    profiles: ['services-10', 'size-64'],
    rounds: 50,
    machine,
    onProgress,
    signal,
  });
  assert.equal(report.cancelled, true);
  assert.deepEqual(
    report.results.map(({ rounds }) => rounds),
    [1, 1],
  );

  const none = await bench(modules, { profiles: ['established-1m'], rounds: 1, machine, signal: { aborted: true } });
  assert.deepEqual(none.results, []);
});

test('a name that is no profile’s is refused before anything runs', async () => {
  await assert.rejects(bench(modules, { profiles: ['fastest'], rounds: 1, machine }), RangeError);
});

test('quantiles lie between the values they stand between', () => {
  assert.equal(quantile([10], 0.99), 10);
  assert.equal(quantile([10, 20, 30], 0.5), 20);
  assert.equal(quantile([10, 20], 0.5), 15);
});

const REPORT: BenchReport = {
  schema: 'hopscope.bench/1',
  machine,
  cancelled: true,
  results: [
    {
      profile: 'established-1k',
      unit: 'packet',
      packets: 131072,
      rounds: 1,
      nsPerPacket: { median: 181.2, p99: 1250 },
      spread: { min: 181.2, max: 181.2 },
      sample: 4096,
      batch: 256,
      mpps: 5.519,
      memoryMiB: 5.4,
      digest: 'bca9ebe3',
      baselines: [
        { name: 'plain', nsPerPacket: { median: 543.6, p99: 1300 }, ratio: 3 },
        { name: 'floor', nsPerPacket: { median: 18.1, p99: 20 }, ratio: 0.1 },
      ],
      stages: [],
    },
  ],
};

test('the table', () => {
  assert.equal(
    benchTable(REPORT),
    `PROFILE         MEDIAN    P99     ROUNDS                    RATE       MEMORY   OTHERS
established-1k  181.2 ns  1.3 µs  1 (181.2 ns to 181.2 ns)  5.52 Mpps  5.4 MiB  plain × 3.00, floor × 0.10

abacus, 1 cores; Node v20.0.0; wasm -O3
Packets already in memory, no network card, a clock that stands still; one core, but for workers, whose time is until the last of them is done. Time is per packet (maglev: per table; cold, edit, reach: each): median over rounds, 99th percentile over samples.
Others take the same packets in turns with it, in so many times its time: plain goes packet by packet, JavaScript is the same pipeline in that, the floor touches the same memory and does nothing else.
Cancelled: not all rounds were run.
`,
  );
});

/** A report of profiles that took so many nanoseconds. */
const reportOf = (medians: Readonly<Record<string, number>>): BenchReport => ({
  ...REPORT,
  results: Object.entries(medians).map(([profile, median]) => ({
    ...REPORT.results[0]!,
    profile,
    nsPerPacket: { median, p99: median },
    baselines: [{ name: 'plain', nsPerPacket: { median, p99: median }, ratio: 1 }],
  })),
});

test('growth is drawn where two sizes of a row were measured', () => {
  const report = reportOf({ 'established-1k': 20, 'established-1m': 40, 'services-10': 30 });
  assert.deepEqual(growthPlots(report).map(benchBars), [
    [
      'Flows',
      '1,000      20.0 ns  ████████████████████',
      '1,000,000  40.0 ns  ████████████████████████████████████████',
    ],
  ]);
});

test('a stage costs what its way takes longer than that which ends before', async () => {
  const { results } = await bench(modules, { profiles: ['established-1k'], rounds: 1, machine });
  const { stages, nsPerPacket } = results[0]!;
  assert.equal(stages.length, 5);
  const sum = stages.reduce((all, { ns }) => all + ns, 0);
  assert.ok(sum >= nsPerPacket.median - 1, `${sum} of ${nsPerPacket.median}`);

  const ways = { 'stop-receive': 4, 'stop-parse': 8, 'stop-service': 10, 'stop-policy': 40, 'size-64': 60 };
  const plain = reportOf(ways);
  assert.deepEqual(
    stagePlots(plain).flatMap(({ bars }) => bars.map(({ ns }) => ns)),
    [4, 4, 2, 30, 20],
  );
  assert.deepEqual(stagePlots(reportOf({ 'stop-receive': 4 })), []);
});

test('JSON is the report', () => {
  assert.deepEqual(JSON.parse(benchJson(REPORT)), REPORT);
});

test('Markdown has a row for each profile', () => {
  assert.match(
    benchMarkdown(REPORT),
    /^\| profile \| median \| p99 .*\n\|---.*\n\| established&#45;1k \| 181&#46;2 ns \|/,
  );
});

test('the gate sees a loss of more than 15 %, and what is not measured any more', () => {
  const expected = { 'established-1k': { plain: 3.5, JavaScript: 9 } };
  assert.deepEqual(ratiosOf(REPORT), { 'established-1k': { plain: 3 } });
  assert.deepEqual(lossesOf({ 'established-1k': { plain: 2.98, JavaScript: 8 } }, expected), []);
  assert.deepEqual(lossesOf({ 'established-1k': { plain: 2.97 } }, expected), [
    { profile: 'established-1k', baseline: 'plain', expected: 3.5, found: 2.97 },
    { profile: 'established-1k', baseline: 'JavaScript', expected: 9, found: null },
  ]);
});
