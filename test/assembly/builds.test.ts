/** Both builds of the datapath, and batches split at every point, give the same verdicts and bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Program } from '../../assembly/abi.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine } from '../../dataplane/state.js';
import type { PacketIn, PacketOut } from '../../dataplane/wasm.js';
import { modules } from '../datapath.js';
import { pod, service, TWO_NODES } from '../lab.js';
import { packet } from '../packet.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 7);

const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p}
spec: {podSelector: {matchLabels: {app: b}}, ingress: [{from: [{podSelector: {matchLabels: {app: a}}}], ports: [{port: 8080}]}]}
---
`;
const YAML =
  TWO_NODES +
  pod('a', '10.1.0.5', 'n1') +
  pod('b', '10.2.0.7', 'n2') +
  pod('c', '10.1.0.6', 'n1') +
  service('b', '10.96.0.30', 80, 8080) +
  POLICY;

/** xorshift32: the same packets for the same seed. */
function random(seed: number): () => number {
  let x = seed | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

/** Packets between the pods and the Service, a third of them with bytes changed or cut off. */
function packets(count: number): PacketIn[] {
  const next = random(SEED);
  const addresses = ['10.1.0.5', '10.2.0.7', '10.1.0.6', '10.96.0.30', '203.0.113.1', '192.168.0.2'];
  return Array.from({ length: count }, () => {
    const destination = addresses[next() % addresses.length]!;
    const ports = [80, 8080, 53][next() % 3]!;
    const ip = packet()
      .eth()
      .ipv4(addresses[next() % 3]!, destination);
    const built = [ip.tcp(40000 + (next() % 4), ports, next() & 255), ip.udp(40000, ports), ip.sctp(40000, ports)][
      next() % 3
    ]!;
    const frame = built.payload(...Array.from({ length: next() % 8 }, () => next() & 255)).bytes();
    if (next() % 3 === 0) for (let i = next() % 4; i >= 0; i--) frame[next() % frame.length] = next() & 255;
    const cut = next() % 7 === 0 ? frame.subarray(0, next() % (frame.length + 1)) : frame;
    const program = next() % 4 === 0 ? Program.FROM_NETDEV : Program.FROM_CONTAINER;
    return { frame: cut, node: 1 + (next() % 2), program, endpoint: 1 + (next() % 3) };
  });
}

function engine(build: keyof typeof modules): Engine {
  const made = new Engine(modules[build], DEFAULT_SETTINGS);
  made.manifests.set('lab.yaml', YAML);
  return made;
}

const told = ({ verdict, program, node, endpoint, frame, ...rest }: PacketOut): string =>
  JSON.stringify([verdict, program, node, endpoint, Buffer.from(frame).toString('hex'), rest]);

test(`20,000 packets: the build that records and the one that does not agree (HOPSCOPE_SEED=${SEED})`, () => {
  const [fast, trace] = [engine('fast').current.loader.current, engine('trace').current.loader.current];
  const all = packets(20_000);
  for (let i = 0; i < all.length; i += 250) {
    const batch = all.slice(i, i + 250);
    const [a, b] = [fast.process(batch), trace.process(batch)];
    for (let j = 0; j < batch.length; j++) assert.equal(told(a[j]!), told(b[j]!), `packet ${i + j}`);
  }
});

test('recording changes nothing', () => {
  const [plain, recorded] = [engine('trace').current.loader.current, engine('trace').current.loader.current];
  for (const packet of packets(2000))
    assert.equal(told(recorded.traced(packet).out), told(plain.process([packet])[0]!));
});

test('a batch split at any point is the same batch', () => {
  const all = packets(64);
  const whole = engine('fast').current.loader.current.process(all).map(told);
  for (let split = 0; split <= all.length; split++) {
    const dataplane = engine('fast').current.loader.current;
    assert.deepEqual(
      [...dataplane.process(all.slice(0, split)), ...dataplane.process(all.slice(split))].map(told),
      whole,
    );
  }
});
