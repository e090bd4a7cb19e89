/** No access to memory but the packet's and the regions' own; and a build that makes one is caught. `npm run fuzz:memory` runs millions. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { DsrDispatch, Family, Program, Step } from '../../assembly/abi.js';
import { apply, compile } from '../broken/compile.js';
import { BROKEN } from '../broken/table.js';
import { clusters } from './cluster.js';
import { addressBytes, ethernet, ipv4, tcp } from './frames.js';
import { EPOCH, fuzz, story } from './fuzz.js';
import { Guarded, Violation } from './guarded.js';
import { instrument } from './instrument.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 1);
const CLUSTERS = clusters();
const shipped = {
  fast: instrument(readFileSync('pkg/dataplane.wasm'), false),
  trace: instrument(readFileSync('pkg/dataplane.trace.wasm'), false),
};

/** Of direct server return: the Service was learnt, not told. */
const LEARNT = 256;

/** What each program does that no other mode makes it do, for both families. */
const STORIES = [Family.IPV4, Family.IPV6].flatMap((family) => [
  ...(
    [
      [Program.FROM_CONTAINER, Step.LB],
      [Program.FROM_CONTAINER, Step.REVERSE_LB],
      [Program.FROM_CONTAINER, Step.ENCAP],
      [Program.FROM_CONTAINER, Step.ROUTE],
      [Program.FROM_CONTAINER, Step.PROXY],
      [Program.LXC_POLICY, Step.DELIVER],
      [Program.LXC_POLICY, Step.REVERSE_LB],
      [Program.LXC_POLICY, Step.PROXY],
      [Program.FROM_NETDEV, Step.LB],
      [Program.FROM_NETDEV, Step.NAT],
      [Program.FROM_NETDEV, Step.REVERSE_NAT],
      [Program.FROM_NETDEV, Step.REVERSE_LB],
      [Program.FROM_NETDEV, Step.ROUTE],
      [Program.TO_NETDEV, Step.NAT],
      [Program.TO_NETDEV, Step.POLICY],
      [Program.TO_NETDEV, Step.PACE],
      [Program.TO_WIREGUARD, Step.ENCRYPT],
      [Program.FROM_WIREGUARD, Step.DECRYPT],
      [Program.FROM_OVERLAY, Step.DECAP],
      [Program.FROM_HOST, Step.LB],
      [Program.FROM_HOST, Step.POLICY],
      [Program.TO_HOST, Step.POLICY],
      [Program.FROM_PROXY, Step.DELIVER],
      [Program.FROM_PROXY, Step.ENCAP],
      [Program.FROM_PROXY, Step.ROUTE],
      [Program.SOCK_CONNECT, Step.SOCK],
      [Program.SOCK_CONNECT, Step.DELIVER],
      [Program.SOCK_RECVMSG, Step.SOCK],
    ] as const
  ).map(([program, step]) => story(program, step, family)),
  ...[DsrDispatch.OPT, DsrDispatch.GENEVE].flatMap((dispatch) => [
    story(Program.FROM_NETDEV, Step.DSR, family, dispatch),
    story(Program.FROM_OVERLAY, Step.DSR, family, LEARNT | dispatch),
  ]),
  story(Program.FROM_NETDEV, Step.DSR, family, LEARNT | DsrDispatch.OPT),
  story(Program.FROM_NETDEV, Step.IPIP, family, DsrDispatch.IPIP),
  story(Program.FROM_NETDEV, Step.IPIP, family, LEARNT | DsrDispatch.IPIP),
]);

for (const [build, packets] of [
  ['fast', 300_000],
  ['trace', 2 * CLUSTERS.length * EPOCH],
] as const) {
  test(`${packets} packets through the ${build} build touch nothing that is not theirs (HOPSCOPE_SEED=${SEED})`, () => {
    const report = fuzz(shipped[build], CLUSTERS, { seed: SEED, from: 0, packets, recording: build === 'trace' });
    assert.deepEqual(report.found, [], `npm run fuzz:memory -- --build ${build} --seed ${SEED} --packet NUMBER`);
    if (build === 'trace') for (const one of STORIES) assert.ok(report.told.has(one), `${one} was told of`);
    assert.ok(report.accesses > packets * 20, `${report.accesses} accesses were checked`);
    assert.ok(report.answered > packets / 1000, `${report.answered} senders were told`);
    const reasons = [...report.ends.keys()].filter((end) => end < 0);
    assert.ok(reasons.length >= 20, `dropped for ${reasons.length} reasons`);
    for (const end of [Program.DELIVERED, Program.HOST, Program.WORLD, Program.PROXY])
      assert.ok((report.ends.get(end) ?? 0) > packets / 10_000, `${report.ends.get(end)} ended at ${end}`);
  });
}

test('every broken build can still be made: its fragment stands where it should', () => {
  for (const broken of BROKEN) {
    const source = readFileSync(`assembly/${broken.file}`, 'utf8');
    assert.notEqual(apply(broken, source), source, broken.name);
  }
  assert.equal(new Set(BROKEN.map(({ name }) => name)).size, BROKEN.length);
});

/** One on a packet's way, one in the maps, one in what is recorded; `npm run fuzz:broken` runs them all. */
for (const name of [
  'a UDP header may be cut off',
  'a hash map hands out one entry more',
  'the ring is full one record too late',
]) {
  test(`caught: ${name}`, async () => {
    const broken = BROKEN.find((candidate) => candidate.name === name)!;
    const module = instrument(await compile(broken.build, broken), false);
    const run = { seed: SEED, recording: broken.build === 'trace' };
    const { found } = fuzz(module, CLUSTERS, { ...run, from: 0, packets: 3 * EPOCH });
    assert.ok(found.length > 0 && found.every(({ memory }) => memory));
    const last = found.at(-1)!;
    const again = fuzz(module, CLUSTERS, { ...run, from: last.packet, packets: 256, once: true });
    assert.deepEqual(again.found, [last], 'the packet is had again without those before its epoch');
  });
}

test('not caught: the sources as they are, compiled in the same way', async () => {
  const module = instrument(await compile('fast', null), false);
  const report = fuzz(module, CLUSTERS, { seed: SEED, from: 0, packets: 20_000, recording: false });
  assert.deepEqual(report.found, []);
});

const FRAME = Uint8Array.from(ethernet(ipv4('10.1.0.5', '10.1.0.6', tcp(40000, 8080))).bytes);

/** A dataplane whose first packet is `FRAME`. */
function guarded(): Guarded {
  const made = new Guarded(shipped.fast, CLUSTERS[0]!);
  made.memory.set(FRAME, made.frameAt(0));
  const endpoint = made.cluster.endpoint.get('client')!;
  made.place(0, FRAME.length, { program: Program.FROM_CONTAINER, node: 1, endpoint, mark: 0 });
  made.plant(0);
  return made;
}

test('the packet is run, and its bytes alone are its own', () => {
  const made = guarded();
  made.process(1);
  made.intact(1);
  assert.equal(made.recordOf(0).program, Program.DELIVERED);
  assert.deepEqual([...made.memory.subarray(made.frameAt(0) + 30, made.frameAt(0) + 34)], addressBytes('10.1.0.6'));
});

for (const [what, at] of [
  ['behind the packet', (made: Guarded) => made.frameAt(0) + FRAME.length],
  ['behind a map', (made: Guarded) => made.regions[5]!.end],
  ['at null', () => 0],
] as const) {
  test(`a byte written ${what} by whatever means is seen`, () => {
    const made = guarded();
    made.process(1);
    made.memory[at(made)] = 1;
    assert.throws(() => made.intact(1), Violation);
  });
}
