/** Packets along the datapath's paths: YAML and bytes in, bytes and verdicts out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DropReason, Program, ReservedIdentity } from '../../assembly/abi.js';
import { Datapath } from '../../dataplane/wasm.js';
import { modules } from '../datapath.js';
import { checksumsHold, packet } from '../packet.js';
import { flowOf, Lab, pod, service, TWO_NODES } from '../lab.js';

const CLUSTER =
  TWO_NODES +
  pod('client', '10.1.0.5', 'n1') +
  pod('near', '10.1.0.6', 'n1') +
  pod('far', '10.2.0.7', 'n2') +
  service('near', '10.96.0.20', 80, 8080) +
  service('far', '10.96.0.30', 80, 8080) +
  service('client', '10.96.0.40', 80, 8080);

test('pod to ClusterIP on the same node: destination and ports rewritten, TTL one less, checksums right', () => {
  const out = new Lab(CLUSTER).send(
    'client',
    packet().eth().ipv4('10.1.0.5', '10.96.0.20').tcp(40000, 80).payload(1, 2, 3).bytes(),
  );
  assert.deepEqual(
    [out.verdict, out.program, flowOf(out.frame)],
    [0, Program.DELIVERED, '10.1.0.5:40000 > 10.1.0.6:8080'],
  );
  assert.equal(out.frame[22], 63);
  assert.ok(checksumsHold(out.frame));
});

test("the reply's source is the Service's address again", () => {
  const lab = new Lab(CLUSTER);
  lab.send('client', packet().eth().ipv4('10.1.0.5', '10.96.0.20').tcp(40000, 80).bytes());
  const reply = lab.send('near', packet().eth().ipv4('10.1.0.6', '10.1.0.5').tcp(8080, 40000, 0x12).bytes());
  assert.deepEqual(
    [reply.verdict, reply.program, flowOf(reply.frame)],
    [0, Program.DELIVERED, '10.96.0.20:80 > 10.1.0.5:40000'],
  );
  assert.ok(checksumsHold(reply.frame));
});

test('pod to ClusterIP on the other node: through the tunnel, and the reply back', () => {
  const lab = new Lab(CLUSTER);
  const out = lab.send('client', packet().eth().ipv4('10.1.0.5', '10.96.0.30').udp(40000, 80).payload(9).bytes());
  // UDP 80 is no port of the Service, but its address is a Service's: no backend.
  assert.deepEqual([out.verdict, out.program], [-DropReason.NO_SERVICE, Program.FROM_CONTAINER]);
  const tcp = lab.send('client', packet().eth().ipv4('10.1.0.5', '10.96.0.30').tcp(40000, 80).bytes());
  assert.deepEqual(
    [tcp.verdict, tcp.program, tcp.node, flowOf(tcp.frame)],
    [0, Program.DELIVERED, 2, '10.1.0.5:40000 > 10.2.0.7:8080'],
  );
  const reply = lab.send('far', packet().eth().ipv4('10.2.0.7', '10.1.0.5').tcp(8080, 40000, 0x12).bytes());
  assert.deepEqual([reply.verdict, reply.node, flowOf(reply.frame)], [0, 1, '10.96.0.30:80 > 10.1.0.5:40000']);
  assert.ok(checksumsHold(tcp.frame) && checksumsHold(reply.frame));
});

test('a pod calls its own Service and is picked itself: loopback address, no policy, reply from the Service', () => {
  const isolated = `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: none}\nspec: {podSelector: {}, policyTypes: [Ingress, Egress]}\n---\n`;
  const lab = new Lab(CLUSTER + isolated);
  const out = lab.send('client', packet().eth().ipv4('10.1.0.5', '10.96.0.40').tcp(40000, 80).bytes());
  assert.deepEqual(
    [out.verdict, out.program, flowOf(out.frame)],
    [0, Program.DELIVERED, '169.254.42.1:40000 > 10.1.0.5:8080'],
  );
  const reply = lab.send('client', packet().eth().ipv4('10.1.0.5', '169.254.42.1').tcp(8080, 40000, 0x12).bytes());
  assert.deepEqual(
    [reply.verdict, reply.program, flowOf(reply.frame)],
    [0, Program.DELIVERED, '10.96.0.40:80 > 10.1.0.5:40000'],
  );
  assert.ok(checksumsHold(out.frame) && checksumsHold(reply.frame));
});

test('a flow keeps its backend while another comes', () => {
  const two = CLUSTER + pod('b2', '10.2.0.9', 'n2').replace('labels: {app: b2}', 'labels: {app: far}');
  const lab = new Lab(two);
  const seen = new Set<string>();
  for (let sport = 40000; sport < 40032; sport++) {
    const frame = packet().eth().ipv4('10.1.0.5', '10.96.0.30').tcp(sport, 80).bytes();
    const first = flowOf(lab.send('client', frame).frame);
    assert.equal(
      flowOf(lab.send('client', packet().eth().ipv4('10.1.0.5', '10.96.0.30').tcp(sport, 80, 0x10).bytes()).frame),
      first,
    );
    seen.add(first.split(' > ')[1]!);
  }
  assert.deepEqual([...seen].sort(), ['10.2.0.7:8080', '10.2.0.9:8080']);
});

test("the worker-nodes document's flows pick the backends of the golden vectors", () => {
  const backend = (name: string, ip: string): string => pod(name, ip, 'n1').replace(`app: ${name}`, 'app: echo');
  const yaml =
    TWO_NODES +
    backend('e1', '10.4.0.14') +
    backend('e2', '10.5.0.25') +
    backend('e3', '10.6.0.18') +
    service('echo', '10.32.152.5', 5678, 5678) +
    pod('busybox', '10.5.0.2', 'n2');
  const lab = new Lab(yaml);
  const picked = (sport: number): string =>
    flowOf(lab.send('busybox', packet().eth().ipv4('10.5.0.2', '10.32.152.5').tcp(sport, 5678).bytes()).frame).split(
      ' > ',
    )[1]!;
  assert.equal(picked(40000), '10.4.0.14:5678');
  assert.equal(picked(40001), '10.4.0.14:5678');
});

test('outside to a pod: known as the world; outside to a ClusterIP: refused', () => {
  const lab = new Lab(CLUSTER);
  const out = lab.arrive('n1', packet().eth().ipv4('203.0.113.9', '10.1.0.6').tcp(40000, 8080).bytes());
  assert.deepEqual([out.verdict, out.program, out.sourceIdentity], [0, Program.DELIVERED, ReservedIdentity.WORLD]);
  assert.equal(
    lab.arrive('n1', packet().eth().ipv4('203.0.113.9', '10.96.0.20').tcp(40000, 80).bytes()).verdict,
    -DropReason.IS_CLUSTER_IP,
  );
});

test('pod to outside, to its own node, and to the other node', () => {
  const lab = new Lab(CLUSTER);
  const to = (destination: string): number =>
    lab.send('client', packet().eth().ipv4('10.1.0.5', destination).tcp(40000, 443).bytes()).program;
  assert.deepEqual(
    [to('203.0.113.9'), to('192.168.0.1'), to('192.168.0.2')],
    [Program.WORLD, Program.HOST, Program.HOST],
  );
});

const fromClient = () => packet().eth().ipv4('10.1.0.5', '10.1.0.6');
const DROPS: readonly (readonly [what: string, frame: Uint8Array, reason: DropReason])[] = [
  [
    "another pod's source address",
    packet().eth().ipv4('10.1.0.99', '10.1.0.6').tcp(1, 2).bytes(),
    DropReason.INVALID_SIP,
  ],
  ['a frame of 13 bytes', packet().eth().bytes().subarray(0, 13), DropReason.UNSUPPORTED_L2],
  ['a length where the type should be', packet().eth(0x0040).payload(1).bytes(), DropReason.UNSUPPORTED_L2],
  ['a VLAN tag', packet().eth(0x8100).payload(0, 1, 8, 0).bytes(), DropReason.VLAN_FILTERED],
  ['two VLAN tags', packet().eth(0x88a8).payload(0, 1, 8, 0).bytes(), DropReason.VLAN_FILTERED],
  ['ARP', packet().eth(0x0806).payload(0, 1).bytes(), DropReason.UNKNOWN_L3],
  ['a cut off IPv6 header', packet().eth(0x86dd).payload(0x60).bytes(), DropReason.INVALID],
  ['half an IPv4 header', fromClient().tcp(1, 2).bytes().subarray(0, 30), DropReason.INVALID],
  ['less than the total length', fromClient().tcp(1, 2).bytes().subarray(0, 50), DropReason.INVALID],
  [
    'a later fragment',
    packet().eth().ipv4('10.1.0.5', '10.1.0.6', { fragment: 0x0005 }).tcp(1, 2).bytes(),
    DropReason.FRAG_NOT_FOUND,
  ],
  ['protocol 0', packet().eth().ipv4('10.1.0.5', '10.1.0.6').bytes(), DropReason.CT_UNKNOWN_PROTO],
  ['a TTL of 1', packet().eth().ipv4('10.1.0.5', '10.1.0.6', { ttl: 1 }).tcp(1, 2).bytes(), DropReason.TTL_EXCEEDED],
  ['a TTL of 0', packet().eth().ipv4('10.1.0.5', '10.1.0.6', { ttl: 0 }).tcp(1, 2).bytes(), DropReason.TTL_EXCEEDED],
  [
    'a port that the Service has not',
    packet().eth().ipv4('10.1.0.5', '10.96.0.20').tcp(1, 81).bytes(),
    DropReason.NO_SERVICE,
  ],
  [
    "the tunnel's port of a node",
    packet().eth().ipv4('10.1.0.5', '192.168.0.2').udp(1, 8472).bytes(),
    DropReason.ENCAP_PROHIBITED,
  ],
];

for (const [what, frame, reason] of DROPS) {
  test(`dropped with ${reason}: ${what}`, () => assert.equal(new Lab(CLUSTER).send('client', frame).verdict, -reason));
}

test('IP options move the ports, and nothing else', () => {
  const out = new Lab(CLUSTER).send(
    'client',
    packet()
      .eth()
      .ipv4('10.1.0.5', '10.96.0.20', { options: [1, 1, 1, 1, 1, 1, 1, 1] })
      .tcp(40000, 80)
      .bytes(),
  );
  assert.deepEqual([out.verdict, flowOf(out.frame)], [0, '10.1.0.5:40000 > 10.1.0.6:8080']);
  assert.ok(checksumsHold(out.frame));
});

test('UDP without a checksum stays without', () => {
  const yaml = CLUSTER.replace(
    'ports: [{port: 80, targetPort: 8080}]',
    'ports: [{port: 80, targetPort: 8080, protocol: UDP}]',
  );
  const out = new Lab(yaml).send('client', packet().eth().ipv4('10.1.0.5', '10.96.0.20').udp(40000, 80, false).bytes());
  assert.deepEqual(
    [out.verdict, flowOf(out.frame), out.frame[40], out.frame[41]],
    [0, '10.1.0.5:40000 > 10.1.0.6:8080', 0, 0],
  );
});

test('forged tunnel packets: no VNI, or the identity of the host', () => {
  const vxlan = (flags: number, vni: number): Uint8Array =>
    packet()
      .eth()
      .ipv4('192.168.0.1', '192.168.0.2')
      .udp(50000, 8472)
      .payload(
        flags,
        0,
        0,
        0,
        0,
        vni >> 8,
        vni & 255,
        0,
        ...packet().eth().ipv4('10.1.0.5', '10.2.0.7').tcp(1, 2).bytes(),
      )
      .bytes();
  const lab = new Lab(CLUSTER);
  assert.equal(lab.arrive('n2', vxlan(0, 300)).verdict, -DropReason.NO_TUNNEL_KEY);
  assert.equal(lab.arrive('n2', vxlan(8, ReservedIdentity.HOST)).verdict, -DropReason.INVALID_IDENTITY);
  assert.equal(lab.arrive('n2', vxlan(8, 300)).verdict, 0);
});

test('every truncation of every packet above gives a verdict, never a trap', () => {
  const lab = new Lab(CLUSTER);
  const whole = [
    ...DROPS.map(([, frame]) => frame),
    fromClient().tcp(1, 2).payload(1, 2, 3).bytes(),
    fromClient().udp(1, 2).payload(1).bytes(),
    fromClient().sctp(1, 2).bytes(),
  ];
  for (const frame of whole)
    for (let length = 0; length <= frame.length; length++)
      assert.ok(lab.send('client', frame.subarray(0, length)).verdict <= 0);
});

const NODE_PORT = CLUSTER.replace(
  'spec: {clusterIP: 10.96.0.30,',
  'spec: {type: LoadBalancer, loadBalancerIP: 198.51.100.1, externalIPs: [198.51.100.9],',
).replace(
  'ports: [{port: 80, targetPort: 8080}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: client}',
  'ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: client}',
);

const shopper = (destination: string, port: number): Uint8Array =>
  packet().eth().ipv4('203.0.113.9', destination).tcp(50000, port).bytes();

test('outside to a load balancer, backend on this node: the client keeps its address, and hears from the Service', () => {
  const lab = new Lab(NODE_PORT);
  const out = lab.arrive('n2', shopper('198.51.100.1', 80));
  assert.deepEqual(
    [out.verdict, out.program, out.node, flowOf(out.frame), out.sourceIdentity],
    [0, Program.DELIVERED, 2, '203.0.113.9:50000 > 10.2.0.7:8080', ReservedIdentity.WORLD],
  );
  const reply = lab.send('far', packet().eth().ipv4('10.2.0.7', '203.0.113.9').tcp(8080, 50000, 0x12).bytes());
  assert.deepEqual(
    [reply.verdict, reply.program, flowOf(reply.frame)],
    [0, Program.WORLD, '198.51.100.1:80 > 203.0.113.9:50000'],
  );
  assert.ok(checksumsHold(out.frame) && checksumsHold(reply.frame));
});

test('outside to a node port, backend on the other node: in the name of the node, through the tunnel as the world, and back', () => {
  const lab = new Lab(NODE_PORT);
  const out = lab.arrive('n1', shopper('192.168.0.1', 30080));
  assert.deepEqual(
    [out.verdict, out.program, out.node, flowOf(out.frame), out.sourceIdentity],
    [0, Program.DELIVERED, 2, '192.168.0.1:50000 > 10.2.0.7:8080', ReservedIdentity.WORLD],
  );
  const reply = lab.send('far', packet().eth().ipv4('10.2.0.7', '192.168.0.1').tcp(8080, 50000, 0x12).bytes());
  assert.deepEqual(
    [reply.verdict, reply.program, reply.node, flowOf(reply.frame)],
    [0, Program.WORLD, 1, '192.168.0.1:30080 > 203.0.113.9:50000'],
  );
  assert.ok(checksumsHold(out.frame) && checksumsHold(reply.frame));
});

test('a pod leaves the cluster in the name of its node, and its reply finds it', () => {
  const lab = new Lab(CLUSTER);
  const first = lab.send('client', packet().eth().ipv4('10.1.0.5', '203.0.113.9').tcp(40000, 443).bytes());
  assert.deepEqual([first.program, flowOf(first.frame)], [Program.WORLD, '192.168.0.1:40000 > 203.0.113.9:443']);
  // Another pod with the same ports to the same place gets another port.
  const other = lab.send('near', packet().eth().ipv4('10.1.0.6', '203.0.113.9').tcp(40000, 443).bytes());
  assert.notEqual(flowOf(other.frame), flowOf(first.frame));
  const back = lab.arrive('n1', packet().eth().ipv4('203.0.113.9', '192.168.0.1').tcp(443, 40000, 0x12).bytes());
  assert.deepEqual(
    [back.verdict, back.program, flowOf(back.frame)],
    [0, Program.DELIVERED, '203.0.113.9:443 > 10.1.0.5:40000'],
  );
  assert.ok(checksumsHold(first.frame) && checksumsHold(back.frame));
});

test('externalTrafficPolicy Local: a node without a backend has none to offer, and pods do not care', () => {
  const lab = new Lab(NODE_PORT.replace('type: LoadBalancer,', 'type: LoadBalancer, externalTrafficPolicy: Local,'));
  assert.equal(lab.arrive('n1', shopper('198.51.100.1', 80)).verdict, -DropReason.NO_SERVICE);
  assert.equal(flowOf(lab.arrive('n2', shopper('198.51.100.1', 80)).frame), '203.0.113.9:50000 > 10.2.0.7:8080');
  const fromPod = lab.send('client', packet().eth().ipv4('10.1.0.5', '198.51.100.1').tcp(40000, 80).bytes());
  assert.deepEqual([fromPod.verdict, flowOf(fromPod.frame)], [0, '10.1.0.5:40000 > 10.2.0.7:8080']);
});

test('internalTrafficPolicy Local: only the backends of the pod’s own node', () => {
  const lab = new Lab(
    CLUSTER.replace('spec: {clusterIP: 10.96.0.30,', 'spec: {internalTrafficPolicy: Local, clusterIP: 10.96.0.30,'),
  );
  assert.equal(
    lab.send('client', packet().eth().ipv4('10.1.0.5', '10.96.0.30').tcp(40000, 80).bytes()).verdict,
    -DropReason.NO_SERVICE,
  );
  assert.equal(lab.send('far', packet().eth().ipv4('10.2.0.7', '10.96.0.30').tcp(40000, 80).bytes()).verdict, 0);
});

test('loadBalancerSourceRanges: only clients from there', () => {
  const ranges = (list: string): number =>
    new Lab(
      NODE_PORT.replace('type: LoadBalancer,', `type: LoadBalancer, loadBalancerSourceRanges: [${list}],`),
    ).arrive('n2', shopper('198.51.100.1', 80)).verdict;
  assert.deepEqual(
    [ranges('203.0.113.0/24'), ranges('203.0.112.0/24'), ranges('10.0.0.0/8, 203.0.113.9/32')],
    [0, -DropReason.NOT_IN_SRC_RANGE, 0],
  );
});

test('a record that names a node or an entrance that is not there: INVALID', () => {
  const { loader } = new Lab(CLUSTER).state;
  const frame = packet().eth().ipv4('203.0.113.9', '10.2.0.7').tcp(40000, 8080).bytes();
  const verdict = (node: number, program: number): number =>
    loader.current.process([{ frame, node, program, endpoint: 99 }])[0]!.verdict;
  assert.equal(verdict(1, Program.FROM_NETDEV), 0);
  const beyond = loader.current.sizes.nodeConfig;
  for (const node of [beyond, 0xffff])
    for (const program of [Program.FROM_NETDEV, Program.FROM_HOST, Program.FROM_CONTAINER])
      assert.equal(verdict(node, program), -DropReason.INVALID, `node ${node}, program ${program}`);
  for (const program of [0, Program.LXC_POLICY, Program.TO_NETDEV, Program.WIRE, Program.DELIVERED, 0xffff])
    assert.equal(verdict(1, program), -DropReason.INVALID, `program ${program}`);
});

for (const capacity of [1, 2, 3, 8]) {
  test(`with room for ${capacity} in the table of source NAT, all that leaves goes in the node's name`, () => {
    const { desired, loader } = new Lab(CLUSTER).state;
    const datapath = Datapath.create(modules.fast, { ...loader.current.sizes, snat4: capacity });
    for (const { map, key, value } of desired.entries) datapath.update(map, key, value);
    const endpoint = [...desired.endpointIds].find(([{ name }]) => name === 'client')![1];
    for (let i = 0; i < 64; i++) {
      const to = packet().eth().ipv4('10.1.0.5', '203.0.113.9');
      const back = packet().eth().ipv4('203.0.113.9', '192.168.0.1');
      const sent = { frame: to.tcp(40000 + i, 443).bytes(), node: 1, program: Program.FROM_CONTAINER, endpoint };
      const reply = { frame: back.tcp(443, 40000 + i).bytes(), node: 1, program: Program.FROM_NETDEV, endpoint: 0 };
      // Both ways of the flow have been looked up when the next one needs room.
      const [out, , got] = datapath.process([sent, sent, reply]);
      assert.deepEqual(
        [out!.verdict, out!.program, flowOf(out!.frame)],
        [0, Program.WORLD, `192.168.0.1:${40000 + i} > 203.0.113.9:443`],
      );
      // A flow takes two entries.
      if (capacity > 1) assert.equal(flowOf(got!.frame), `203.0.113.9:443 > 10.1.0.5:${40000 + i}`);
    }
  });
}
