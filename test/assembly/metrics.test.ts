/** Counters: every packet is counted once, under what became of it and the direction in which it did. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IpProto, MapId, Program } from '../../assembly/abi.js';
import { decode, type PacketOut } from '../../dataplane/wasm.js';
import { frameOf } from '../../dataplane/packet.js';
import { MetricsValue } from '../../pkg/structs.js';
import { address, Lab, pod, service, TWO_NODES } from '../lab.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 1);

const CLUSTER =
  TWO_NODES +
  pod('web', '10.1.0.2', 'n1') +
  pod('near', '10.1.0.3', 'n1') +
  pod('db', '10.2.0.2', 'n2') +
  service('db', '10.96.0.7', 80, 8080) +
  service('gone', '10.96.0.8', 80, 8080) +
  `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 8080}]}]
`;

const DELIVERED: number = Program.DELIVERED;
const LXC_POLICY: number = Program.LXC_POLICY;

type Counted = Map<string, { count: number; bytes: number }>;

/** What the map says, counters of zero left out. */
function counters({ state }: Lab): Counted {
  const datapath = state.loader.current;
  const found: Counted = new Map();
  for (let index = 0; index < datapath.wasm.mapCapacity(MapId.METRICS); index++) {
    const key = String.fromCharCode(index & 255, index >> 8, 0, 0);
    const { count, bytes } = decode(MetricsValue, datapath.lookup(MapId.METRICS, key, MetricsValue.size)!);
    if (count > 0n)
      found.set(`${index >> 1} ${index & 1 ? 'egress' : 'ingress'}`, { count: Number(count), bytes: Number(bytes) });
  }
  return found;
}

/** The same, counted from what came back. A packet ends at a pod's ingress, or on its way out of somewhere. */
function expected(outs: readonly PacketOut[]): Counted {
  const found: Counted = new Map();
  for (const { verdict, program, frame } of outs) {
    const ingress = program === DELIVERED || program === LXC_POLICY;
    const key = `${-verdict} ${ingress ? 'ingress' : 'egress'}`;
    const { count, bytes } = found.get(key) ?? { count: 0, bytes: 0 };
    found.set(key, { count: count + 1, bytes: bytes + frame.length });
  }
  return found;
}

const sorted = (counted: Counted): [string, object][] => [...counted].sort(([a], [b]) => (a < b ? -1 : 1));

test('forwarded and dropped together are all packets, in each direction and in bytes', () => {
  const lab = new Lab(CLUSTER);
  const flow = fc.record({
    from: fc.constantFrom('web', 'near', 'db', 'outside'),
    to: fc.constantFrom('10.1.0.2', '10.2.0.2', '10.96.0.7', '10.96.0.8', '192.168.0.2', '203.0.113.9', '10.2.0.99'),
    port: fc.constantFrom(80, 8080, 9),
    sourcePort: fc.integer({ min: 1024, max: 65535 }),
    protocol: fc.constantFrom(IpProto.TCP, IpProto.UDP, IpProto.SCTP),
    cut: fc.constantFrom(0, 0, 0, 30),
  });
  const outs: PacketOut[] = [];
  fc.assert(
    fc.property(flow, ({ from, to, port, sourcePort, protocol, cut }) => {
      const pods = lab.state.cluster.pods;
      const source = pods.find(({ name }) => name === from)?.address ?? address('203.0.113.9');
      const whole = frameOf({ source, destination: address(to), protocol, sourcePort, destinationPort: port });
      const frame = whole.subarray(0, whole.length - cut);
      outs.push(from === 'outside' ? lab.arrive('n1', frame) : lab.send(from, frame));
      assert.deepEqual(sorted(counters(lab)), sorted(expected(outs)));
    }),
    { numRuns: 120, seed: SEED },
  );
  const total = [...counters(lab).values()].reduce((sum, { count }) => sum + count, 0);
  assert.equal(total, 120);
  assert.ok(counters(lab).size >= 6, 'several reasons and both directions were there');
});
