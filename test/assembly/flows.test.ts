/** Flows count for their connections, and tell them in time; what is kept of them and what is not makes no difference. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MapId } from '../../assembly/abi.js';
import { Lane } from '../../dataplane/bench/lane.js';
import { PROFILES } from '../../dataplane/bench/profiles.js';
import { decode } from '../../dataplane/wasm.js';
import { CtEntry, CtTuple4 } from '../../pkg/structs.js';
import { compile } from '../broken/compile.js';
import { ANSWERED, FORGETFUL, RARE, RECORDED } from '../broken/flows.js';
import { modules } from '../datapath.js';
import { pod, service, TWO_NODES } from '../lab.js';
import { packet } from '../packet.js';
import { Twins } from './twins.js';

/** One flow's next packets, more than it can count by itself, and what its three connections have counted of them. */
function many(module: WebAssembly.Module): [bigint, bigint][] {
  const lane = Lane.open(
    module,
    PROFILES.find(({ name }) => name === 'size-1500')!,
  );
  lane.openFlows();
  const keys = lane.datapath.keys(MapId.CT4, CtTuple4.size);
  const entries = (): { packets: bigint; bytes: bigint }[] =>
    keys.map((key) => decode(CtEntry, lane.datapath.lookup(MapId.CT4, key, CtEntry.size)!));
  const before = entries();
  lane.datapath.wasm.replay(0, MANY, 1, lane.workload.stride);
  return entries()
    .map(({ packets, bytes }, i): [bigint, bigint] => [packets - before[i]!.packets, bytes - before[i]!.bytes])
    .filter(([packets]) => packets !== 0n);
}

const MANY = 2 ** 24 + 5;

test('a flow of more packets than it can count by itself', () => {
  const counted: [bigint, bigint] = [BigInt(MANY), 1500n * BigInt(MANY)];
  assert.deepEqual(many(modules.fast), [counted, counted, counted]);
});

for (const broken of FORGETFUL)
  test(`caught: ${broken.name}`, async () => {
    const module = new WebAssembly.Module(Uint8Array.from(await compile('fast', broken)));
    const packets = BigInt(MANY);
    assert.ok(many(module).some((counted) => counted[0] !== packets || counted[1] !== 1500n * packets));
  });

const POD = `${TWO_NODES}${pod('a', '10.1.0.5', 'n1')}`;
const toItself = (port: number, ttl = 64): Uint8Array =>
  packet().eth().ipv4('10.1.0.5', '10.1.0.5', { ttl }).udp(port, port).bytes();

/**
 * A pod whose packets are their own answers. The first opens a connection and does not arrive, the second answers it, the third shows it
 * to be one that goes on: it outlives the others.
 */
function answering(module = modules.fast): Twins {
  const twins = new Twins(POD, 16, module);
  for (const ttl of [1, 64, 64, 64, 64]) twins.send(twins.from('a', toItself(9, ttl)));
  for (let i = 0; i < 40; i++) twins.send(twins.from('a', toItself(1000 + i)));
  return twins;
}

test('a pod that answers itself', () => assert.notEqual(answering().followed, 0));

test(`caught: ${ANSWERED.name}`, async () => {
  const module = new WebAssembly.Module(Uint8Array.from(await compile('fast', ANSWERED)));
  assert.throws(() => answering(module), assert.AssertionError);
});

/** Packets of one flow, followed and then recorded. */
function recorded(module = modules.trace): number {
  const twins = new Twins(`${POD}${pod('b', '10.1.0.6', 'n1')}`, 16, module);
  const frame = packet().eth().ipv4('10.1.0.5', '10.1.0.6').udp(1000, 9).bytes();
  twins.process(Array.from({ length: 5 }, () => twins.from('a', frame)));
  assert.notEqual(twins.followed, 0);
  return twins.trace(twins.from('a', frame));
}

test('what is recorded of a packet says what its flow has counted', () => assert.notEqual(recorded(), 0));

test(`caught: ${RECORDED.name}`, async () => {
  const module = new WebAssembly.Module(Uint8Array.from(await compile('trace', RECORDED)));
  assert.throws(() => recorded(module), assert.AssertionError);
});

/** Where a frame of IPv4 has the checksum of UDP, and of TCP. */
const [UDP_CHECKSUM, TCP_CHECKSUM] = [40, 50];
const ACK = 16;

/** The same frame with each of these checksums. */
function* withChecksums(frame: Uint8Array, at: number, checksums: Iterable<number>): Generator<Uint8Array> {
  for (const checksum of checksums)
    yield Uint8Array.of(...frame.subarray(0, at), checksum >>> 8, checksum & 255, ...frame.subarray(at + 2));
}

/** Flows that differ in their destination alone; every checksum that there is, through a Service; and one that says zero otherwise. */
function rare(module = modules.fast): void {
  const yaml = `${POD}${pod('b', '10.1.0.6', 'n1')}${service('b', '10.96.0.1', 80, 8080).replace('port:', 'protocol: UDP, port:')}`;
  const twins = new Twins(yaml, 1024, module);
  const from = (frame: Uint8Array): ReturnType<Twins['from']> => twins.from('a', frame);
  const outside = Array.from({ length: 400 }, (_, i) =>
    from(
      packet()
        .eth()
        .ipv4('10.1.0.5', `203.0.${i >> 8}.${i & 255}`)
        .udp(1000, 9)
        .bytes(),
    ),
  );
  twins.process([...outside, ...outside]);
  const asked = packet().eth().ipv4('10.1.0.5', '10.96.0.1').udp(1000, 80).bytes();
  twins.process(
    [
      ...withChecksums(
        asked,
        UDP_CHECKSUM,
        Array.from({ length: 1 << 16 }, (_, i) => i),
      ),
    ].map(from),
  );
  const direct = packet().eth().ipv4('10.1.0.5', '10.1.0.6').tcp(40000, 80, ACK).bytes();
  twins.process([...withChecksums(direct, TCP_CHECKSUM, [1, 2, 0xffff, 0])].map(from));
  assert.ok(twins.followed > 65_000);
}

test('flows that differ in their destination alone, and every checksum', () => rare());

for (const broken of RARE)
  test(`caught: ${broken.name}`, async () => {
    const module = new WebAssembly.Module(Uint8Array.from(await compile('fast', broken)));
    assert.throws(() => rare(module), assert.AssertionError);
  });
