/** Both families, ICMP, fragments and errors, packet by packet, through a dual-stack cluster of two nodes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BATCH_SIZE, DropReason, Program } from '../../assembly/abi.js';
import type { PacketIn } from '../../dataplane/wasm.js';
import { DUAL_PODS } from '../dual.js';
import { flowOf, Lab } from '../lab.js';
import { checksumsHold, packet } from '../packet.js';

const CLUSTER = `${DUAL_PODS}apiVersion: v1
kind: Service
metadata: {name: far}
spec:
  type: LoadBalancer
  clusterIPs: [10.96.0.30, "fd00:96::30"]
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  selector: {app: far}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080, name: t}, {port: 53, targetPort: 8053, protocol: UDP, name: u}]
`;

/** The same on each family: addresses of the client, its neighbour, the far pod, the Service, somebody outside, and the nodes. */
const FAMILIES = {
  IPv4: {
    client: '10.1.0.5',
    near: '10.1.0.6',
    far: '10.2.0.7',
    service: '10.96.0.30',
    outside: '203.0.113.9',
    n1: '192.168.0.1',
  },
  IPv6: {
    client: 'fd00:1::5',
    near: 'fd00:1::6',
    far: 'fd00:2::7',
    service: 'fd00:96::30',
    outside: '2001:db8::9',
    n1: 'fd00::1',
  },
} as const;

for (const [family, at] of Object.entries(FAMILIES)) {
  const six = family === 'IPv6';
  const ip = (source: string, destination: string, more = {}): ReturnType<typeof packet> =>
    six ? packet().eth().ipv6(source, destination, more) : packet().eth().ipv4(source, destination, more);
  const flow = (source: string, sport: number, destination: string, dport: number): string =>
    six ? `${source}:${sport} > ${destination}:${dport}` : `${source}:${sport} > ${destination}:${dport}`;

  test(`${family}: a pod to a Service on the other node, and back`, () => {
    const lab = new Lab(CLUSTER);
    const out = lab.send('client', ip(at.client, at.service).tcp(40000, 80).bytes());
    assert.deepEqual(
      [out.verdict, out.program, out.node, flowOf(out.frame)],
      [0, Program.DELIVERED, 2, flow(at.client, 40000, at.far, 8080)],
    );
    const back = lab.send('far', ip(at.far, at.client).tcp(8080, 40000, 0x12).bytes());
    assert.deepEqual(
      [back.verdict, back.program, flowOf(back.frame)],
      [0, Program.DELIVERED, flow(at.service, 80, at.client, 40000)],
    );
    assert.ok(checksumsHold(out.frame) && checksumsHold(back.frame));
  });

  test(`${family}: from outside through a node port to the other node, in the node's name, and back`, () => {
    const lab = new Lab(CLUSTER);
    const out = lab.arrive('n1', ip(at.outside, at.n1).tcp(50000, 30080).bytes());
    assert.deepEqual([out.verdict, out.node, flowOf(out.frame)], [0, 2, flow(at.n1, 50000, at.far, 8080)]);
    const back = lab.send('far', ip(at.far, at.n1).tcp(8080, 50000, 0x12).bytes());
    assert.deepEqual(
      [back.verdict, back.program, flowOf(back.frame)],
      [0, Program.WORLD, flow(at.n1, 30080, at.outside, 50000)],
    );
    assert.ok(checksumsHold(out.frame) && checksumsHold(back.frame));
  });

  test(`${family}: an echo to a pod, and to the world in the node's name, each answered`, () => {
    const lab = new Lab(CLUSTER);
    const [ask, answer] = six ? [128, 129] : [8, 0];
    const out = lab.send('client', ip(at.client, at.far).icmp(ask, 0, 0x12340001).bytes());
    assert.deepEqual([out.verdict, out.program, out.node], [0, Program.DELIVERED, 2]);
    assert.equal(lab.send('far', ip(at.far, at.client).icmp(answer, 0, 0x12340001).bytes()).verdict, 0);

    const world = lab.send('client', ip(at.client, at.outside).icmp(ask, 0, 0x12340001).bytes());
    assert.deepEqual([world.program, checksumsHold(world.frame)], [Program.WORLD, true]);
    const id = (world.frame[six ? 58 : 38]! << 8) | world.frame[six ? 59 : 39]!;
    assert.ok(id >= 32768, `the id is the port that source NAT took: ${id}`);
    const back = lab.arrive(
      'n1',
      ip(at.outside, at.n1)
        .icmp(answer, 0, (id << 16) | 1)
        .bytes(),
    );
    assert.deepEqual([back.verdict, back.program, back.node], [0, Program.DELIVERED, 1]);
    assert.equal((back.frame[six ? 58 : 38]! << 8) | back.frame[six ? 59 : 39]!, 0x1234);
    assert.ok(checksumsHold(back.frame));
  });

  test(`${family}: an error about what went to a Service comes from the Service, and quotes it`, () => {
    const lab = new Lab(CLUSTER);
    const sent = lab.send('client', ip(at.client, at.service).udp(40000, 53).payload(1, 2, 3, 4).bytes());
    const [type, code] = six ? [1, 4] : [3, 3];
    const error = lab.send(
      'far',
      ip(at.far, at.client)
        .icmp(type, code)
        .payload(...sent.frame.subarray(14))
        .bytes(),
    );
    assert.deepEqual([error.verdict, error.program, error.node], [0, Program.DELIVERED, 1]);
    const quote = error.frame.subarray(14 + (six ? 40 : 20) + 8);
    assert.equal(
      flowOf(Uint8Array.from([...error.frame.subarray(0, 14), ...quote])),
      flow(at.client, 40000, at.service, 53),
    );
    assert.ok(flowOf(error.frame).startsWith(`${at.service}:`), flowOf(error.frame));
    assert.ok(checksumsHold(error.frame));
  });

  test(`${family}: no Service on that port, and the sender is told`, () => {
    const lab = new Lab(CLUSTER);
    const out = lab.send('client', ip(at.client, at.service).tcp(40000, 81).bytes());
    assert.deepEqual(
      [out.verdict, out.answered, out.program],
      [-DropReason.NO_SERVICE, Program.DELIVERED, Program.FROM_CONTAINER],
    );
    const header = six ? 54 : 34;
    assert.deepEqual([out.frame[header], out.frame[header + 1]], six ? [1, 4] : [3, 3]);
    assert.ok(checksumsHold(out.frame));
  });

  test(`${family}: too long for the tunnel, and the sender is told what fits`, () => {
    const lab = new Lab(CLUSTER);
    const long = ip(at.client, at.service)
      .udp(40000, 53)
      .payload(...new Array<number>(1500 - (six ? 48 : 28)).fill(7))
      .bytes();
    const out = lab.send('client', long);
    assert.deepEqual(
      [out.verdict, out.answered, out.program, out.node],
      [-DropReason.FRAG_NEEDED, Program.DELIVERED, Program.FROM_CONTAINER, 1],
    );
    const header = six ? 54 : 34;
    assert.deepEqual([...out.frame.subarray(header, header + 2)], six ? [2, 0] : [3, 4]);
    assert.deepEqual([...out.frame.subarray(header + 4, header + 8)], [0, 0, 5, 0xaa]);
    const quote = out.frame.subarray(header + 8);
    assert.equal(
      flowOf(Uint8Array.from([...out.frame.subarray(0, 14), ...quote])),
      flow(at.client, 40000, at.service, 53),
    );
    assert.ok(checksumsHold(out.frame));
  });

  test(`${family}: the pieces of a packet go where the first one went`, () => {
    const piece = (id: number, first: boolean): Uint8Array => {
      const build = six
        ? ip(at.client, at.service, { extensions: [[44, [0, 0, first ? 0 : 0, first ? 1 : 0xb8, 0, 0, 0, id]]] })
        : ip(at.client, at.service, { fragment: first ? 0x2000 : 0x0017, id });
      return build
        .udp(40000, 53)
        .payload(...new Array<number>(176).fill(9))
        .bytes();
    };
    const lab = new Lab(CLUSTER);
    assert.equal(lab.send('client', piece(1, false)).verdict, -DropReason.FRAG_NOT_FOUND);
    const first = lab.send('client', piece(1, true));
    const later = lab.send('client', piece(1, false));
    assert.deepEqual([first.verdict, later.verdict, later.node, later.endpoint], [0, 0, 2, first.endpoint]);
    const l4 = six ? 62 : 34;
    assert.deepEqual(
      [...later.frame.subarray(l4)],
      [...piece(1, false).subarray(l4)],
      'a later piece keeps its payload',
    );
    assert.equal(lab.send('client', piece(2, false)).verdict, -DropReason.FRAG_NOT_FOUND);
  });
}

const CHAINS: readonly (readonly [
  what: string,
  extensions: readonly (readonly [number, number[]])[],
  verdict: number,
])[] = [
  [
    'hop-by-hop, routing and destination options',
    [
      [0, [0, 0, 0, 0, 0, 0, 0, 0]],
      [43, [0, 0, 0, 0, 0, 0, 0, 0]],
      [60, [0, 1, ...new Array<number>(14).fill(0)]],
    ],
    0,
  ],
  ['an authentication header, counted in words', [[51, [0, 1, ...new Array<number>(10).fill(0)]]], 0],
  ['four headers', new Array(4).fill([60, [0, 0, 0, 0, 0, 0, 0, 0]]), 0],
  ['five headers', new Array(5).fill([60, [0, 0, 0, 0, 0, 0, 0, 0]]), -DropReason.INVALID_EXTHDR],
  ['a header longer than the packet', [[60, [0, 255, 0, 0, 0, 0, 0, 0]]], -DropReason.INVALID_EXTHDR],
  ['nothing after it', [[59, [0, 0, 0, 0, 0, 0, 0, 0]]], -DropReason.INVALID_EXTHDR],
];

for (const [what, extensions, verdict] of CHAINS) {
  test(`IPv6 extension headers: ${what}`, () => {
    const frame = packet().eth().ipv6('fd00:1::5', 'fd00:2::7', { extensions }).tcp(1, 2).bytes();
    assert.equal(new Lab(CLUSTER).send('client', frame).verdict, verdict);
  });
}

test('IPv6: an error that takes the tunnel back stays in the room of the packet that it is about', () => {
  const { cluster, desired, loader } = new Lab(CLUSTER).state;
  const ids = new Map([...desired.endpointIds].map(([{ name }, id]) => [name, id]));
  const node = cluster.nodes.find(({ name }) => name === 'n1')!.index;
  const from = (source: string, destination: string, length: number): Uint8Array =>
    packet()
      .eth()
      .ipv6(source, destination)
      .udp(40000, 8053)
      .payload(...new Array<number>(length).fill(7))
      .bytes();
  const long = from('fd00:2::7', '2001:db8::9', 1500);
  const short = from('fd00:1::5', 'fd00:1::6', 4);
  const outs = loader.current.process([
    { frame: long, node, program: Program.FROM_NETDEV, endpoint: 0 },
    ...new Array<PacketIn>(BATCH_SIZE - 1).fill({
      frame: short,
      node,
      program: Program.FROM_CONTAINER,
      endpoint: ids.get('client')!,
    }),
  ]);
  const [told, ...others] = outs.map(({ verdict, answered, endpoint }) => [verdict, answered, endpoint]);
  assert.deepEqual(told, [-DropReason.FRAG_NEEDED, Program.DELIVERED, ids.get('far')]);
  for (const other of others) assert.deepEqual(other, [0, 0, ids.get('near')]);
});

test('IPv6: a pod asks only for its node on the link', () => {
  const lab = new Lab(CLUSTER);
  const ask = (target: string): number =>
    lab.send(
      'client',
      packet()
        .eth()
        .ipv6('fd00:1::5', target)
        .icmp(135)
        .payload(...new Array<number>(16).fill(0))
        .bytes(),
    ).verdict;
  assert.deepEqual([ask('fd00::1'), ask('fd00:1::6')], [0, -DropReason.UNKNOWN_TARGET]);
});
