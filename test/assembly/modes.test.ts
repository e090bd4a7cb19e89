/** Tunnels, native routing, direct server return and masquerade, packet by packet, in both families: there and back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ConfigFlag,
  DropReason,
  MapId,
  Program,
  ReservedIdentity,
  SvcFlag2,
  TracePoint,
  TUNNEL_OVERHEAD,
} from '../../assembly/abi.js';
import { CtTuple4, LbService, NatEntry4, NodeConfig, RuntimeConfig } from '../../pkg/structs.js';
import { dissect } from '../../dataplane/dissect.js';
import { tupleOf } from '../../dataplane/packet.js';
import { DEFAULT_SETTINGS, type Settings } from '../../dataplane/settings.js';
import { Engine } from '../../dataplane/state.js';
import { decode, encode, type PacketOut, type StructType } from '../../dataplane/wasm.js';
import { recordsOf } from '../../dataplane/answers/records.js';
import { modules } from '../datapath.js';
import { address, flowOf, Lab } from '../lab.js';
import { checksumsHold, packet, type PacketBuilder } from '../packet.js';

const node = (name: string, number: number): string => `
apiVersion: v1
kind: Node
metadata: {name: ${name}}
spec: {podCIDRs: [10.${number}.0.0/24, "fd00:${number}::/64"]}
status: {addresses: [{type: InternalIP, address: 192.168.0.${number}}, {type: InternalIP, address: "fd00::${number}"}]}
---`;
const pod = (name: string, on: number, last: number): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {app: ${name}}}
spec: {nodeName: n${on}, containers: [{name: c}]}
status: {podIP: 10.${on}.0.${last}, podIPs: [{ip: 10.${on}.0.${last}}, {ip: "fd00:${on}::${last}"}]}
---`;
const service = (name: string, last: number, port: number): string => `
apiVersion: v1
kind: Service
metadata: {name: ${name}}
spec:
  type: LoadBalancer
  selector: {app: ${name}}
  ipFamilyPolicy: RequireDualStack
  clusterIPs: [10.96.0.${last}, "fd00:96::${last}"]
  externalIPs: [198.51.100.${last}, "2001:db8:1::${last}"]
  ports:
  - {name: web, port: ${port}, targetPort: 8080}
  - {name: dns, port: 53, targetPort: 5353, protocol: UDP}
  - {name: raw, port: 9, targetPort: 9, protocol: SCTP}
---`;
const CLUSTER = [
  ...[1, 2].map((number) => node(`n${number}`, number)),
  pod('client', 1, 5),
  pod('near', 1, 6),
  pod('far', 2, 7),
  service('far', 30, 80),
  service('near', 20, 80),
  service('same', 40, 8080).replace('selector: {app: same}', 'selector: {app: far}'),
].join('');

interface At {
  readonly v: 'ipv4' | 'ipv6';
  readonly client: string;
  readonly near: string;
  readonly far: string;
  readonly n1: string;
  readonly n2: string;
  readonly world: string;
  /** Services at their address for outside, by the pod behind. */
  readonly toFar: string;
  readonly toNear: string;
  readonly toSame: string;
  readonly clusterIP: string;
}

const FAMILIES: Readonly<Record<'IPv4' | 'IPv6', At>> = {
  IPv4: {
    v: 'ipv4',
    client: '10.1.0.5',
    near: '10.1.0.6',
    far: '10.2.0.7',
    n1: '192.168.0.1',
    n2: '192.168.0.2',
    world: '203.0.113.9',
    toFar: '198.51.100.30',
    toNear: '198.51.100.20',
    toSame: '198.51.100.40',
    clusterIP: '10.96.0.20',
  },
  IPv6: {
    v: 'ipv6',
    client: 'fd00:1::5',
    near: 'fd00:1::6',
    far: 'fd00:2::7',
    n1: 'fd00::1',
    n2: 'fd00::2',
    world: '2001:db8::9',
    toFar: '2001:db8:1::30',
    toNear: '2001:db8:1::20',
    toSame: '2001:db8:1::40',
    clusterIP: 'fd00:96::20',
  },
};

const flow = (from: string, sport: number, to: string, dport: number): string => `${from}:${sport} > ${to}:${dport}`;

/** The frames at each step that Cilium would observe, as they were. */
function traced(lab: Lab, enter: { readonly pod?: string; readonly node?: string }, frame: Uint8Array) {
  const { cluster, desired, loader } = lab.state;
  const sender = cluster.pods.find(({ name }) => name === enter.pod);
  const { out, events } = loader.current.traced({
    frame,
    node: cluster.nodes.find(({ name }) => name === enter.node)?.index ?? 0,
    program: sender ? Program.FROM_CONTAINER : Program.FROM_NETDEV,
    endpoint: sender ? desired.endpointIds.get(sender)! : 0,
  });
  return { out, records: recordsOf(events).map(({ record, frame }) => ({ ...record, frame })) };
}

const ends = (out: PacketOut): readonly unknown[] => [out.verdict, out.program, out.node, flowOf(out.frame)];
const NATIVE: Partial<Settings> = { cni: 'cilium-native' };
const SYN_ACK = 0x12;
const ACK = 0x10;

for (const [family, at] of Object.entries(FAMILIES)) {
  const six = family === 'IPv6';
  const ip = (from: string, to: string): PacketBuilder => start(at, from, to);
  const fits = (length: number): number[] => new Array<number>(length - (six ? 40 : 20)).fill(7);

  test(`${family}: Geneve between nodes, the sender's identity as its VNI, and back`, () => {
    const lab = new Lab(CLUSTER, { cni: 'cilium-geneve' });
    const { out, records } = traced(lab, { pod: 'client' }, ip(at.client, at.far).tcp(40000, 8080).bytes());
    assert.deepEqual(ends(out), [0, Program.DELIVERED, 2, flow(at.client, 40000, at.far, 8080)]);
    assert.ok(checksumsHold(out.frame));
    const sent = records.find(({ point }) => point === TracePoint.TO_NETWORK)!;
    const wire = dissect(sent.frame, true);
    assert.deepEqual(wire.tunnel?.protocol, 'GENEVE');
    assert.equal(wire.tunnel.vni, out.sourceIdentity);
    assert.deepEqual([...sent.frame.subarray(36, 38)], [6081 >> 8, 6081 & 255]);
    assert.deepEqual([...sent.frame.subarray(42, 46)], [0, 0, 0x65, 0x58], 'RFC 8926: version 0, no options, a frame');
    const back = lab.send('far', ip(at.far, at.client).tcp(8080, 40000, SYN_ACK).bytes());
    assert.deepEqual(ends(back), [0, Program.DELIVERED, 1, flow(at.far, 8080, at.client, 40000)]);
  });

  test(`${family}: native routing: pods' own addresses on the wire, the identity from the address, and back`, () => {
    const lab = new Lab(CLUSTER, NATIVE);
    const { out, records } = traced(lab, { pod: 'client' }, ip(at.client, at.far).tcp(40000, 8080).bytes());
    assert.deepEqual(ends(out), [0, Program.DELIVERED, 2, flow(at.client, 40000, at.far, 8080)]);
    assert.ok(out.sourceIdentity > 255 && checksumsHold(out.frame));
    assert.equal(out.frame[six ? 21 : 22], 62, 'two routers');
    assert.deepEqual(
      records.filter(({ point }) => point !== 255).map(({ point, length }) => [point, length]),
      [5, 3, 11, 10, 0].map((point) => [point, six ? 74 : 54]),
      'from-endpoint, to-stack, to-network, from-network, to-endpoint; never longer',
    );
    const back = lab.send('far', ip(at.far, at.client).tcp(8080, 40000, SYN_ACK).bytes());
    assert.deepEqual(ends(back), [0, Program.DELIVERED, 1, flow(at.far, 8080, at.client, 40000)]);
  });

  test(`${family}: native routing: no tunnel's overhead, and what is longer than the network is told so`, () => {
    const lab = new Lab(CLUSTER, NATIVE);
    const long = (length: number): PacketOut =>
      lab.send(
        'client',
        ip(at.client, at.far)
          .udp(40000, 53)
          .payload(...fits(length - 8))
          .bytes(),
      );
    assert.equal(long(1500).verdict, 0);
    const out = long(1501);
    assert.deepEqual([out.verdict, out.answered], [-DropReason.FRAG_NEEDED, Program.DELIVERED]);
    const rest = out.frame.subarray(six ? 58 : 38);
    assert.deepEqual([...rest.subarray(0, 4)], [0, 0, 1500 >> 8, 1500 & 255]);
  });

  test(`${family}: SNAT with native routing: a node's packet, known as remote-node, and back`, () => {
    const lab = new Lab(CLUSTER, NATIVE);
    const out = lab.arrive('n1', ip(at.world, at.toFar).tcp(50000, 80).bytes());
    assert.deepEqual(ends(out), [0, Program.DELIVERED, 2, flow(at.n1, 50000, at.far, 8080)]);
    assert.equal(out.sourceIdentity, ReservedIdentity.REMOTE_NODE);
    const back = lab.send('far', ip(at.far, at.n1).tcp(8080, 50000, SYN_ACK).bytes());
    assert.deepEqual(ends(back), [0, Program.WORLD, 1, flow(at.toFar, 80, at.world, 50000)]);
    assert.ok(checksumsHold(out.frame) && checksumsHold(back.frame));
  });

  const DISPATCHES: readonly (readonly [
    what: string,
    settings: Partial<Settings>,
    frontend: keyof At,
    port: number,
  ])[] = [
    ['an IP option', NATIVE, 'toFar', 80],
    ['an IP option, in Cilium’s VXLAN tunnel', {}, 'toFar', 80],
    ['a Geneve option, without other tunnels', { ...NATIVE, 'loadBalancer.dsrDispatch': 'geneve' }, 'toFar', 80],
    ['a Geneve option', { cni: 'cilium-geneve', 'loadBalancer.dsrDispatch': 'geneve' }, 'toFar', 80],
    ['IP in IP', { ...NATIVE, 'loadBalancer.dsrDispatch': 'ipip' }, 'toSame', 8080],
  ];
  for (const [what, settings, name, port] of DISPATCHES) {
    const frontend = at[name];
    test(`${family}: direct server return by ${what}: the pod sees its client, the client hears from the Service`, () => {
      const lab = new Lab(CLUSTER, { 'loadBalancer.mode': 'dsr', ...settings });
      const syn = lab.arrive('n1', ip(at.world, frontend).tcp(50000, port).bytes());
      assert.deepEqual(ends(syn), [0, Program.DELIVERED, 2, flow(at.world, 50000, at.far, 8080)]);
      assert.equal(syn.sourceIdentity, six ? ReservedIdentity.WORLD_IPV6 : ReservedIdentity.WORLD_IPV4);
      const reply = lab.send('far', ip(at.far, at.world).tcp(8080, 50000, SYN_ACK).bytes());
      assert.deepEqual(ends(reply), [0, Program.WORLD, 2, flow(frontend, port, at.world, 50000)], 'straight from n2');
      const data = lab.arrive('n1', ip(at.world, frontend).tcp(50000, port, ACK).payload(1, 2, 3).bytes());
      assert.deepEqual(ends(data), [0, Program.DELIVERED, 2, flow(at.world, 50000, at.far, 8080)]);
      const more = lab.send('far', ip(at.far, at.world).tcp(8080, 50000, ACK).payload(4).bytes());
      assert.deepEqual(ends(more), [0, Program.WORLD, 2, flow(frontend, port, at.world, 50000)]);
      assert.ok([syn, reply, data, more].every(({ frame }) => checksumsHold(frame)));
    });

    test(`${family}: direct server return by ${what}: a backend of the node that was asked needs none`, () => {
      const lab = new Lab(CLUSTER, { 'loadBalancer.mode': 'dsr', ...settings });
      const out = lab.arrive('n1', ip(at.world, at.toNear).tcp(50000, 80).bytes());
      assert.deepEqual(ends(out), [0, Program.DELIVERED, 1, flow(at.world, 50000, at.near, 8080)]);
      const reply = lab.send('near', ip(at.near, at.world).tcp(8080, 50000, SYN_ACK).bytes());
      assert.deepEqual(ends(reply), [0, Program.WORLD, 1, flow(at.toNear, 80, at.world, 50000)]);
    });
  }

  test(`${family}: hybrid: direct server return for TCP, SNAT for the others`, () => {
    const lab = new Lab(CLUSTER, { ...NATIVE, 'loadBalancer.mode': 'hybrid' });
    const sources = [
      ip(at.world, at.toFar).tcp(50000, 80),
      ip(at.world, at.toFar).udp(50000, 53),
      ip(at.world, at.toFar).sctp(50000, 9),
    ].map((built) => flowOf(lab.arrive('n1', built.bytes()).frame).split(':5')[0]);
    assert.deepEqual(sources, [at.world, at.n1, at.n1]);
  });

  test(`${family}: each UDP packet tells the Service, of TCP only the first`, () => {
    const lab = new Lab(CLUSTER, { ...NATIVE, 'loadBalancer.mode': 'dsr' });
    const grown = (built: PacketBuilder): number => {
      const frame = built.bytes();
      return lab.arrive('n1', frame).frame.length - frame.length;
    };
    const option = six ? 24 : 8;
    assert.deepEqual(
      [
        grown(ip(at.world, at.toFar).tcp(50000, 80)),
        grown(ip(at.world, at.toFar).tcp(50000, 80, ACK)),
        grown(ip(at.world, at.toFar).udp(50000, 53)),
        grown(ip(at.world, at.toFar).udp(50000, 53)),
      ],
      [option, 0, option, option],
    );
  });

  const TOO_BIG: readonly (readonly [what: string, settings: Partial<Settings>, overhead: number])[] = [
    ['an IP option', {}, six ? 24 : 8],
    ['a Geneve option', { 'loadBalancer.dsrDispatch': 'geneve' }, 50 + (six ? 24 : 12)],
    ['IP in IP', { 'loadBalancer.dsrDispatch': 'ipip' }, six ? 40 : 20],
  ];
  for (const [what, settings, overhead] of TOO_BIG)
    test(`${family}: ${what} does not fit: the client is told what would, by the Service it asked`, () => {
      const lab = new Lab(CLUSTER, { ...NATIVE, 'loadBalancer.mode': 'dsr', ...settings });
      const ask = (length: number): PacketOut =>
        lab.arrive(
          'n1',
          ip(at.world, at.toSame)
            .udp(50000, 9999)
            .payload(...fits(length - 8))
            .bytes(),
        );
      const dns = CLUSTER.replaceAll('targetPort: 5353', 'targetPort: 53');
      const same = new Lab(dns, { ...NATIVE, 'loadBalancer.mode': 'dsr', ...settings });
      const send = (length: number): PacketOut =>
        same.arrive(
          'n1',
          ip(at.world, at.toSame)
            .udp(50000, 53)
            .payload(...fits(length - 8))
            .bytes(),
        );
      assert.equal(ask(1400).verdict, -DropReason.NO_SERVICE);
      assert.equal(send(1500 - overhead).verdict, 0);
      const out = send(1501 - overhead);
      assert.deepEqual([out.verdict, out.answered], [-DropReason.FRAG_NEEDED, Program.WORLD]);
      const header = six ? 54 : 34;
      const mtu = 1500 - overhead;
      assert.deepEqual([...out.frame.subarray(header + 4, header + 8)], [0, 0, mtu >> 8, mtu & 255]);
      const quote = Uint8Array.from([...out.frame.subarray(0, 14), ...out.frame.subarray(header + 8)]);
      assert.equal(flowOf(quote), flow(at.world, 50000, at.toSame, 53));
      assert.ok(checksumsHold(out.frame));
    });

  test(`${family}: IP in IP has no room for another port: dropped`, () => {
    const settings = { ...NATIVE, 'loadBalancer.mode': 'dsr', 'loadBalancer.dsrDispatch': 'ipip' } as const;
    const out = new Lab(CLUSTER, settings).arrive('n1', ip(at.world, at.toFar).tcp(50000, 80).bytes());
    assert.deepEqual([out.verdict, out.program], [-DropReason.DSR_ENCAP_UNSUPP_PROTO, Program.FROM_NETDEV]);
  });

  test(`${family}: the same ports again, and no longer by direct server return`, () => {
    const lab = new Lab(CLUSTER, { ...NATIVE, 'loadBalancer.mode': 'dsr' });
    lab.arrive('n1', ip(at.world, at.toFar).tcp(50000, 80).bytes());
    lab.send('far', ip(at.far, at.world).tcp(8080, 50000, SYN_ACK).bytes());
    assert.equal(lab.arrive('n2', ip(at.world, at.far).tcp(50000, 8080).bytes()).verdict, 0);
    const reply = lab.send('far', ip(at.far, at.world).tcp(8080, 50000, SYN_ACK).bytes());
    assert.equal(flowOf(reply.frame), flow(at.far, 8080, at.world, 50000));
  });

  test(`${family}: a pod's error about a request names the Service, that about its reply finds the pod`, () => {
    const lab = new Lab(CLUSTER, { ...NATIVE, 'loadBalancer.mode': 'dsr' });
    lab.arrive('n1', ip(at.world, at.toFar).udp(50000, 53).bytes());
    const request = ip(at.world, at.far).udp(50000, 5353).payload(1).bytes().subarray(14);
    const [type, code] = six ? [1, 4] : [3, 3];
    const error = lab.send(
      'far',
      ip(at.far, at.world)
        .icmp(type, code)
        .payload(...request)
        .bytes(),
    );
    assert.deepEqual([error.verdict, error.program], [0, Program.WORLD]);
    const quote = error.frame.subarray(14 + (six ? 40 : 20) + 8);
    assert.equal(
      flowOf(Uint8Array.from([...error.frame.subarray(0, 14), ...quote])),
      flow(at.world, 50000, at.toFar, 53),
    );
    assert.ok(flowOf(error.frame).startsWith(`${at.toFar}:`) && checksumsHold(error.frame));
    const reply = ip(at.toFar, at.world).udp(53, 50000).payload(1).bytes().subarray(14);
    const about = lab.arrive(
      'n1',
      ip(at.world, at.toFar)
        .icmp(type, code)
        .payload(...reply)
        .bytes(),
    );
    assert.deepEqual([about.verdict, about.program, about.node], [0, Program.DELIVERED, 2]);
    assert.ok(checksumsHold(about.frame));
  });

  const LEAVING: readonly (readonly [what: string, settings: Partial<Settings>, to: keyof At, masqueraded: boolean])[] =
    [
      ['to the world, in a tunnel', {}, 'world', true],
      ['to another node, with a tunnel', {}, 'n2', true],
      ['to the world', NATIVE, 'world', true],
      ['to another node, where the network knows pods', NATIVE, 'n2', false],
      ['to a pod, where the network knows pods', NATIVE, 'far', false],
      ['to the native routing CIDR', { ...NATIVE, nativeRoutingCIDR: '203.0.113.0/24,2001:db8::/64' }, 'world', false],
      [
        'to a pod outside of the native routing CIDR',
        { ...NATIVE, nativeRoutingCIDR: '172.16.0.0/12,fd99::/16' },
        'far',
        true,
      ],
      [
        'to where ip-masq-agent says so',
        { 'ipMasqAgent.nonMasqueradeCIDRs': ['203.0.113.0/28', '2001:db8::/64'] },
        'world',
        false,
      ],
      ['to the world, with masquerade off', { masquerade: false }, 'world', false],
    ];
  for (const [what, settings, to, masqueraded] of LEAVING)
    test(`${family}: a pod's packet ${what} ${masqueraded ? 'goes in its node’s name' : 'keeps its address'}`, () => {
      const lab = new Lab(CLUSTER, settings);
      const out = lab.send('client', ip(at.client, at[to]).tcp(40000, 443).bytes());
      assert.equal(out.verdict, 0);
      assert.equal(flowOf(out.frame), flow(masqueraded ? at.n1 : at.client, 40000, at[to], 443));
      assert.ok(checksumsHold(out.frame));
    });

  test(`${family}: a node's own port is not given to a pod, nor a pod's to the node`, () => {
    const lab = new Lab(CLUSTER);
    const { cluster, loader } = lab.state;
    const host = (sport: number): PacketOut =>
      loader.current.process([
        {
          frame: ip(at.n1, at.world).tcp(sport, 443).bytes(),
          node: cluster.nodes.find(({ name }) => name === 'n1')!.index,
          program: Program.FROM_HOST,
          endpoint: 0,
        },
      ])[0]!;
    assert.equal(flowOf(host(40000).frame), flow(at.n1, 40000, at.world, 443));
    const after = lab.send('client', ip(at.client, at.world).tcp(40000, 443).bytes());
    assert.notEqual(flowOf(after.frame), flow(at.n1, 40000, at.world, 443));
    lab.send('client', ip(at.client, at.world).tcp(40001, 443).bytes());
    assert.notEqual(flowOf(host(40001).frame), flow(at.n1, 40001, at.world, 443));
    const back = lab.arrive('n1', ip(at.world, at.n1).tcp(443, 40000, SYN_ACK).bytes());
    assert.deepEqual(ends(back), [0, Program.HOST, 1, flow(at.world, 443, at.n1, 40000)]);
  });

  for (const mode of ['snat', 'dsr'] as const)
    test(`${family}: ${mode}: a backend on the network of its node answers as the Service`, () => {
      const onHost = `
apiVersion: v1
kind: Pod
metadata: {name: far, labels: {app: far}}
spec: {nodeName: n2, hostNetwork: true, containers: [{name: c}]}
status: {podIP: 192.168.0.2, podIPs: [{ip: 192.168.0.2}, {ip: "fd00::2"}]}
---`;
      const lab = new Lab(CLUSTER.replace(pod('far', 2, 7), onHost), { ...NATIVE, 'loadBalancer.mode': mode });
      const { cluster, loader } = lab.state;
      const out = lab.arrive(mode === 'snat' ? 'n2' : 'n1', ip(at.world, at.toFar).tcp(50000, 80).bytes());
      assert.deepEqual(ends(out), [0, Program.HOST, 2, flow(at.world, 50000, at.n2, 8080)]);
      const frame = ip(at.n2, at.world).tcp(8080, 50000, SYN_ACK).bytes();
      const node = cluster.nodes.find(({ name }) => name === 'n2')!.index;
      const reply = loader.current.process([{ frame, node, program: Program.FROM_HOST, endpoint: 0 }])[0]!;
      assert.deepEqual(ends(reply), [0, Program.WORLD, 2, flow(at.toFar, 80, at.world, 50000)]);
      assert.ok(checksumsHold(reply.frame));
    });

  /** A laboratory whose Services are masqueraded as kube-proxy does. */
  const kubeProxy = (flags: number, yaml = CLUSTER): Lab => {
    const lab = new Lab(yaml);
    configure(lab, flags);
    return lab;
  };

  test(`${family}: kube-proxy's masquerade: a client outside reaches a local backend in the node's name, and hears from the Service`, () => {
    const lab = kubeProxy(ConfigFlag.SERVICE_MASQUERADE);
    const out = lab.arrive('n1', ip(at.world, at.toNear).tcp(50000, 80).bytes());
    assert.deepEqual(ends(out), [0, Program.DELIVERED, 1, flow(at.n1, 50000, at.near, 8080)]);
    assert.equal(out.sourceIdentity, ReservedIdentity.HOST);
    const back = lab.send('near', ip(at.near, at.n1).tcp(8080, 50000, SYN_ACK).bytes());
    assert.deepEqual(ends(back), [0, Program.WORLD, 1, flow(at.toNear, 80, at.world, 50000)]);
    const remote = lab.arrive('n1', ip(at.world, at.toFar).tcp(50000, 80).bytes());
    assert.deepEqual(ends(remote), [0, Program.DELIVERED, 2, flow(at.n1, 50000, at.far, 8080)]);
    const again = lab.send('far', ip(at.far, at.n1).tcp(8080, 50000, SYN_ACK).bytes());
    assert.deepEqual(ends(again), [0, Program.WORLD, 1, flow(at.toFar, 80, at.world, 50000)]);
    assert.ok([out, back, remote, again].every(({ frame }) => checksumsHold(frame)));
  });

  test(`${family}: kube-proxy's masquerade: a pod by an external address, by a ClusterIP only with all, and to itself`, () => {
    const lab = kubeProxy(ConfigFlag.SERVICE_MASQUERADE);
    const external = lab.send('client', ip(at.client, at.toNear).tcp(40000, 80).bytes());
    assert.deepEqual(ends(external), [0, Program.DELIVERED, 1, flow(at.n1, 40000, at.near, 8080)]);
    const back = lab.send('near', ip(at.near, at.n1).tcp(8080, 40000, SYN_ACK).bytes());
    assert.deepEqual(ends(back), [0, Program.DELIVERED, 1, flow(at.toNear, 80, at.client, 40000)]);
    const internal = lab.send('client', ip(at.client, at.clusterIP).tcp(40001, 80).bytes());
    assert.deepEqual(ends(internal), [0, Program.DELIVERED, 1, flow(at.client, 40001, at.near, 8080)]);
    const all = kubeProxy(ConfigFlag.SERVICE_MASQUERADE | ConfigFlag.MASQUERADE_ALL);
    const masqueraded = all.send('client', ip(at.client, at.clusterIP).tcp(40001, 80).bytes());
    assert.deepEqual(ends(masqueraded), [0, Program.DELIVERED, 1, flow(at.n1, 40001, at.near, 8080)]);
    const itself = lab.send('near', ip(at.near, at.clusterIP).tcp(40002, 80).bytes());
    assert.deepEqual(ends(itself), [0, Program.DELIVERED, 1, flow(at.n1, 40002, at.near, 8080)]);
    const answer = lab.send('near', ip(at.near, at.n1).tcp(8080, 40002, SYN_ACK).bytes());
    assert.deepEqual(ends(answer), [0, Program.DELIVERED, 1, flow(at.clusterIP, 80, at.near, 40002)]);
    assert.ok([external, back, masqueraded, itself, answer].every(({ frame }) => checksumsHold(frame)));
  });

  test(`${family}: kube-proxy's masquerade: with externalTrafficPolicy Local nobody outside`, () => {
    const local = CLUSTER.replaceAll('type: LoadBalancer', 'type: LoadBalancer\n  externalTrafficPolicy: Local');
    const out = kubeProxy(ConfigFlag.SERVICE_MASQUERADE, local).arrive(
      'n1',
      ip(at.world, at.toNear).tcp(50000, 80).bytes(),
    );
    assert.deepEqual(ends(out), [0, Program.DELIVERED, 1, flow(at.world, 50000, at.near, 8080)]);
  });
}

const AT = FAMILIES.IPv4;

/** Sets flags of the datapath's configuration beside those of the settings. */
function configure({ state }: Lab, flags: number): void {
  const dataplane = state.loader.current;
  const before = decode(RuntimeConfig, dataplane.lookup(MapId.RUNTIME_CONFIG, INDEX, RuntimeConfig.size)!);
  dataplane.update(
    MapId.RUNTIME_CONFIG,
    INDEX,
    encode(RuntimeConfig, { ...copied(RuntimeConfig, before), flags: before.flags | flags }),
  );
}

const INDEX = '\0\0\0\0';

/** The fields of a struct, copied. */
const copied = <Struct extends object>({ fields }: StructType<Struct>, struct: Struct): Partial<Struct> =>
  Object.fromEntries(fields.map((name) => [name, struct[name as keyof Struct]])) as Partial<Struct>;

test('a Service of its own choice uses direct server return: the flag on its entry', () => {
  const lab = new Lab(CLUSTER, NATIVE);
  const source = (): string =>
    flowOf(lab.arrive('n1', packet().eth().ipv4(AT.world, AT.toFar).tcp(50000, 80).bytes()).frame).split(':')[0]!;
  assert.equal(source(), AT.n1);
  const { desired, loader } = lab.state;
  configure(lab, ConfigFlag.DSR);
  for (const { map, key, value } of desired.entries) {
    if (map !== MapId.LB4_SERVICES) continue;
    const before = decode(LbService, value);
    const flags2 = before.flags2 | SvcFlag2.FWD_MODE_DSR;
    loader.current.update(map, key, encode(LbService, { ...copied(LbService, before), flags2 }));
  }
  loader.current.flushConnections();
  assert.equal(source(), AT.world);
});

/** A datagram to n2's Geneve port, with the header and the options given, around a packet from client to far. */
const geneve = (header: readonly number[], options: readonly number[] = []): Uint8Array =>
  packet()
    .eth()
    .ipv4(AT.n1, AT.n2)
    .udp(50000, 6081)
    .payload(...header, ...options, ...packet().eth().ipv4(AT.client, AT.far).tcp(1, 2).bytes())
    .bytes();
/** Version and length of the options in words, flags, a frame, the VNI. */
const head = (words: number, vni = 300): number[] => [words, 0, 0x65, 0x58, 0, vni >> 8, vni & 255, 0];
const FRONTEND = [0x01, 0x4b, 0x81, 2, 198, 51, 100, 30, 0, 80, 0, 0];

const RECEIVED: readonly (readonly [what: string, frame: Uint8Array, verdict: number])[] = [
  ['no options', geneve(head(0)), 0],
  ['an option that need not be known', geneve(head(2), [0xff, 0xff, 0x01, 1, 1, 2, 3, 4]), 0],
  ['a Service', geneve(head(3), FRONTEND), 0],
  ['another version', geneve([0x40, ...head(0).slice(1)]), -DropReason.NO_TUNNEL_KEY],
  ['no frame inside', geneve([0, 0, 0x08, 0, 0, 1, 1, 0]), -DropReason.NO_TUNNEL_KEY],
  [
    'half a header',
    packet().eth().ipv4(AT.n1, AT.n2).udp(50000, 6081).payload(0, 0, 0x65, 0x58).bytes(),
    -DropReason.NO_TUNNEL_KEY,
  ],
  ['the identity of the host', geneve(head(0, 1)), -DropReason.INVALID_IDENTITY],
  ['options beyond the packet', geneve(head(63)), -DropReason.NO_TUNNEL_OPTION],
  [
    'an option longer than the options',
    geneve(head(3), [...FRONTEND.slice(0, 3), 5, ...FRONTEND.slice(4)]),
    -DropReason.INVALID_GENEVE,
  ],
  ['an option that must be known', geneve(head(1), [0xff, 0xff, 0x80, 0]), -DropReason.INVALID_GENEVE],
  [
    'a Service of another length',
    geneve(head(2), [...FRONTEND.slice(0, 3), 1, 0, 0, 0, 0]),
    -DropReason.INVALID_GENEVE,
  ],
];

for (const [what, frame, verdict] of RECEIVED)
  test(`Geneve with ${what}: ${verdict}`, () => {
    const lab = new Lab(CLUSTER, { cni: 'cilium-geneve' });
    assert.equal(lab.arrive('n2', frame).verdict, verdict);
    for (let length = 0; length < frame.length; length++)
      assert.ok(lab.arrive('n2', frame.subarray(0, length)).verdict < 0, `cut to ${length}`);
  });

test('a tunnel of another kind is no tunnel: its packets are the node’s', () => {
  const arrive = (cni: Settings['cni']): number => new Lab(CLUSTER, { cni }).arrive('n2', geneve(head(0))).program;
  assert.deepEqual(
    [arrive('cilium-vxlan'), arrive('cilium-native'), arrive('cilium-geneve')],
    [Program.HOST, Program.HOST, Program.DELIVERED],
  );
});

test('a pod may not speak the tunnel’s own protocol to a node, and any other', () => {
  const send = (cni: Settings['cni'], port: number): number =>
    new Lab(CLUSTER, { cni }).send('client', packet().eth().ipv4(AT.client, AT.n2).udp(1, port).bytes()).verdict;
  assert.deepEqual(
    [send('cilium-geneve', 6081), send('cilium-geneve', 8472), send('cilium-vxlan', 6081), send('cilium-native', 8472)],
    [-DropReason.ENCAP_PROHIBITED, 0, 0, 0],
  );
});

test('no route to a node without an address of the family', () => {
  const lab = new Lab(CLUSTER, NATIVE);
  const { cluster, loader } = lab.state;
  const key = String.fromCharCode(cluster.nodes.find(({ name }) => name === 'n2')!.index, 0, 0, 0);
  const n2 = decode(NodeConfig, loader.current.lookup(MapId.NODE_CONFIG, key, NodeConfig.size)!);
  loader.current.update(MapId.NODE_CONFIG, key, encode(NodeConfig, { ...copied(NodeConfig, n2), ipv6: 0n }));
  const six = FAMILIES.IPv6;
  const send = (from: string, to: string, v: At['v']): number =>
    lab.send('client', packet().eth()[v](from, to).tcp(1, 2).bytes()).verdict;
  assert.deepEqual([send(AT.client, AT.far, 'ipv4'), send(six.client, six.far, 'ipv6')], [0, -DropReason.NO_FIB]);
});

test('direct server return by Geneve to a backend that no node has: there is nobody to tell', () => {
  const outside = `
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: LoadBalancer, clusterIP: 10.96.0.50, externalIPs: [198.51.100.50], ports: [{port: 80, targetPort: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: outside-1, labels: {kubernetes.io/service-name: outside}}
addressType: IPv4
endpoints: [{addresses: [203.0.113.77]}]
ports: [{port: 80}]
`;
  const ask = (settings: Partial<Settings>): number =>
    new Lab(CLUSTER + outside, { ...NATIVE, 'loadBalancer.mode': 'dsr', ...settings }).arrive(
      'n1',
      packet().eth().ipv4(AT.world, '198.51.100.50').tcp(50000, 80).bytes(),
    ).verdict;
  assert.deepEqual([ask({ 'loadBalancer.dsrDispatch': 'geneve' }), ask({})], [-DropReason.NO_TUNNEL_ENDPOINT, 0]);
});

test('source NAT: no port is left after 32 tries, and what has no port cannot be told apart', () => {
  const lab = new Lab(CLUSTER);
  const { cluster, loader } = lab.state;
  const leave = (): PacketOut => lab.send('client', packet().eth().ipv4(AT.client, AT.world).tcp(1024, 443).bytes());
  const first = tupleOf(leave().frame)!.sourcePort;
  loader.current.flushConnections();
  const node = cluster.nodes.find(({ name }) => name === 'n1')!.index;
  const taken = (port: number): number =>
    loader.current.update(
      MapId.SNAT4,
      encode(CtTuple4, {
        saddr: address(AT.world),
        daddr: address(AT.n1),
        sport: 443,
        dport: port,
        nexthdr: 6,
        flags: 1,
        node,
      }),
      encode(NatEntry4, { address: address(AT.near), port: 1 }),
    );
  for (let i = 0; i < 31; i++) assert.equal(taken(32768 + ((first - 32768 + i) % 32768)), 0);
  assert.equal(leave().verdict, 0, 'the last of them');
  loader.current.flushConnections();
  for (let i = 0; i < 32; i++) taken(32768 + ((first - 32768 + i) % 32768));
  assert.deepEqual([leave().verdict, leave().program], [-DropReason.NAT_NO_MAPPING, Program.TO_NETDEV]);
  const timestamp = packet().eth().ipv4(AT.client, AT.world).icmp(13).bytes();
  assert.equal(lab.send('client', timestamp).verdict, -DropReason.NAT_UNSUPP_PROTO);
});

test('only a whole option of that type is one: other options tell of no Service', () => {
  const lab = new Lab(CLUSTER, { ...NATIVE, 'loadBalancer.mode': 'dsr' });
  const options = [
    [0x9a, 8, 0, 80, 30, 100, 51],
    [0x9a, 4, 0, 80, 30, 100, 51, 198],
    [1, 1, 1, 1, 1, 1, 1, 1],
    [0x9a, 8, 80, 0, 30, 100, 51, 198],
  ].map((bytes) => [...bytes, 0, 0].slice(0, 8));
  const sources = options.map((bytes, i) => {
    const frame = packet()
      .eth()
      .ipv4(AT.world, AT.far, { options: bytes })
      .udp(50000 + i, 5353)
      .bytes();
    assert.equal(lab.arrive('n2', frame).verdict, 0);
    return flowOf(
      lab.send(
        'far',
        packet()
          .eth()
          .ipv4(AT.far, AT.world)
          .udp(5353, 50000 + i)
          .bytes(),
      ).frame,
    ).split(' ')[0];
  });
  assert.deepEqual(sources.slice(1), [`${AT.far}:5353`, `${AT.far}:5353`, '198.51.100.30:80']);
});

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 11);

/** A packet of a family, up to its IP header. */
const start = ({ v }: At, from: string, to: string, more: Parameters<PacketBuilder['ipv4']>[2] = {}): PacketBuilder =>
  v === 'ipv6' ? packet().eth().ipv6(from, to, more) : packet().eth().ipv4(from, to, more);

/** What the modes do most with, a third of it with bytes changed or cut off: the same for the same seed. */
function traffic(
  count: number,
): { readonly frame: Uint8Array; readonly node: number; readonly program: Program; readonly endpoint: number }[] {
  let x = SEED | 1;
  const below = (end: number): number => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % end;
  };
  const any = <Item>(items: readonly Item[]): Item => items[below(items.length)]!;
  return Array.from({ length: count }, () => {
    const at = any(Object.values(FAMILIES));
    const ip = start(
      at,
      any([at.world, at.client, at.far, at.n1]),
      any([at.toFar, at.toNear, at.toSame, at.far, at.near, at.n1, at.n2, at.world]),
      {
        options: any([[], [], [0x9a, 8, 80, 0, 30, 100, 51, 198]]),
        extensions: any([[], [], [[60, [0, 2, 0x1b, 20, ...new Array<number>(20).fill(1)]]]]),
      },
    );
    const sport = 50000 + below(8);
    const inner = start(at, at.world, any([at.far, at.toSame]))
      .tcp(sport, 8080)
      .bytes();
    const built = any([
      ip.tcp(sport, any([80, 8080, 443]), any([2, 0x12, 0x10])),
      ip.udp(sport, any([53, 5353])),
      ip.sctp(sport, 9),
      ip.udp(sport, 6081).payload(...head(3), ...FRONTEND, ...inner),
      ip.icmp(any([3, 1, 2, 8, 128]), 4).payload(...inner.subarray(14)),
    ]);
    const frame = below(8) === 0 ? ipip(at, inner) : built.bytes();
    if (below(3) === 0) for (let i = below(4); i >= 0; i--) frame[below(frame.length)] = below(256);
    const cut = below(7) === 0 ? frame.subarray(0, below(frame.length + 1)) : frame;
    const program = any([Program.FROM_NETDEV, Program.FROM_NETDEV, Program.FROM_CONTAINER, Program.FROM_HOST]);
    return { frame: cut, node: 1 + below(2), program, endpoint: 1 + below(3) };
  });
}

/** A packet in an IP header of n1's, to far. */
function ipip(at: At, inner: Uint8Array): Uint8Array {
  const outer = start(at, at.n1, at.far)
    .icmp(0)
    .payload(...inner.subarray(14))
    .bytes();
  const bytes = [...outer.subarray(0, at.v === 'ipv6' ? 54 : 34), ...inner.subarray(14)];
  bytes[at.v === 'ipv6' ? 20 : 23] = at.v === 'ipv6' ? 41 : 4;
  return Uint8Array.from(bytes);
}

const MODES: readonly Partial<Settings>[] = [
  { cni: 'cilium-geneve' },
  NATIVE,
  ...(['opt', 'geneve', 'ipip'] as const).map((dispatch) => ({
    ...NATIVE,
    'loadBalancer.mode': 'dsr' as const,
    'loadBalancer.dsrDispatch': dispatch,
  })),
  { cni: 'cilium-geneve', 'loadBalancer.mode': 'hybrid', 'loadBalancer.dsrDispatch': 'geneve' },
  { 'loadBalancer.mode': 'dsr', 'ipMasqAgent.nonMasqueradeCIDRs': ['203.0.113.0/24', '2001:db8::/32'] },
];

for (const settings of MODES)
  test(`4,000 packets, whole and garbled, ${JSON.stringify(settings)}: both builds agree (HOPSCOPE_SEED=${SEED})`, () => {
    const [fast, trace] = (['fast', 'trace'] as const).map((build) => {
      const engine = new Engine(modules[build], { ...DEFAULT_SETTINGS, ...settings });
      engine.manifests.set('modes.yaml', CLUSTER);
      return engine.current.loader.current;
    });
    const seen = new Set<number>();
    traffic(4000).forEach((one, i) => {
      const [a, b] = [fast!.process([one])[0]!, trace!.process([one])[0]!];
      assert.deepEqual({ ...a, frame: hex(a.frame) }, { ...b, frame: hex(b.frame) }, `packet ${i}`);
      assert.ok(a.verdict <= 0 && a.frame.length <= one.frame.length + TUNNEL_OVERHEAD + 48, `packet ${i}`);
      seen.add(a.program);
    });
    assert.ok([Program.DELIVERED, Program.HOST, Program.WORLD].every((end) => seen.has(end)));
  });

const hex = (frame: Uint8Array): string => Buffer.from(frame).toString('hex');
