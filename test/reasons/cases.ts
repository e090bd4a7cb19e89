/** What brings each drop reason about, and why some cannot be. */
import { DropReason, IpProto, MapId } from '../../assembly/abi.js';
import { CtTuple4, LbKey4, NatEntry4, NodeConfig, NodeKey4, RuntimeConfig } from '../../pkg/structs.js';
import { tupleOf } from '../../dataplane/packet.js';
import type { Settings } from '../../dataplane/settings.js';
import { encode } from '../../dataplane/wasm.js';
import { address, Lab, pod, service, TWO_NODES } from '../lab.js';
import { packet } from '../packet.js';

/** A packet and how it ends (0, or a negated reason), or why no packet ends so. */
export type Case = { readonly packet: string; readonly run: () => number } | { readonly never: string };

const POLICY = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: near}
spec: {podSelector: {matchLabels: {app: near}}, ingress: [{ports: [{port: 8080}]}]}
---
`;
const CLUSTER = `${TWO_NODES}${pod('client', '10.1.0.5', 'n1')}${pod('near', '10.1.0.6', 'n1')}${pod('far', '10.2.0.7', 'n2')}${service('far', '10.96.0.30', 80, 8080)}${POLICY}`;
const cilium = (app: string, rules: string): string => `
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: ${app}}
spec: {endpointSelector: {matchLabels: {app: ${app}}}, ${rules}}
`;
const DENY = `---${cilium('near', 'ingressDeny: [{fromEndpoints: [{matchLabels: {app: client}}]}]')}`;
const AUTHENTICATED = `${CLUSTER}---${cilium('client', 'egress: [{toEntities: [all], authentication: {mode: required}}]')}`;
const LIMITED = CLUSTER.replace(
  'spec: {clusterIP: 10.96.0.30,',
  'spec: {type: LoadBalancer, loadBalancerIP: 198.51.100.1, loadBalancerSourceRanges: [192.0.2.0/24], clusterIP: 10.96.0.30,',
);
const SIX = `
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: ["fd00:1::/64"]}
status: {addresses: [{type: InternalIP, address: "fd00::1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: n1, containers: [{name: c}]}
status: {podIP: "fd00:1::5", podIPs: [{ip: "fd00:1::5"}]}
`;

type Building = ReturnType<typeof packet>;

const sent = (what: string, frame: () => Uint8Array, yaml = CLUSTER, settings: Partial<Settings> = {}): Case => ({
  packet: what,
  run: () => new Lab(yaml, settings).send('client', frame()).verdict,
});
const arriving = (what: string, frame: () => Uint8Array, yaml = CLUSTER): Case => ({
  packet: what,
  run: () => new Lab(yaml).arrive('n2', frame()).verdict,
});
/** A socket of the client's is connected, after something was done to the maps. */
const connected = (what: string, destination: string, yaml: string, before?: (lab: Lab) => unknown): Case => ({
  packet: what,
  run: () => {
    const lab = new Lab(yaml, { socketLB: true, 'loadBalancer.algorithm': 'random' });
    before?.(lab);
    return lab.connect('client', from(destination).tcp(40000, 80).bytes()).verdict;
  },
});
const never = (why: string): Case => ({ never: why });

const from = (destination: string, more = {}): Building => packet().eth().ipv4('10.1.0.5', destination, more);
/** A packet of Geneve's with options: their length in words, and themselves. */
const optional = (words: number, ...options: number[]): Uint8Array =>
  packet()
    .eth()
    .ipv4('192.168.0.1', '192.168.0.2')
    .udp(50000, 6081)
    .payload(words, 0, 0x65, 0x58, 0, 1, 44, 0, ...options, ...from('10.2.0.7').tcp(1, 2).bytes())
    .bytes();
const tunnelled = (flags: number, vni: number): Uint8Array =>
  packet()
    .eth()
    .ipv4('192.168.0.1', '192.168.0.2')
    .udp(50000, 8472)
    .payload(flags, 0, 0, 0, 0, vni >> 8, vni & 255, 0, ...from('10.2.0.7').tcp(1, 2).bytes())
    .bytes();

/** Two pods want the same port to the same place, and all that the second could have instead are taken. */
function portsUsedUp(): number {
  const lab = new Lab(CLUSTER);
  const [TO, PORT] = [address('203.0.113.9'), 443];
  const ask = (source: string, name: string): ReturnType<Lab['send']> =>
    lab.send(name, packet().eth().ipv4(source, '203.0.113.9').tcp(40000, PORT).bytes());
  ask('10.1.0.5', 'client');
  const first = tupleOf(ask('10.1.0.6', 'near').frame)!.sourcePort;
  const datapath = lab.state.loader.current;
  datapath.flushConnections();
  for (const port of [40000, ...Array.from({ length: 32 }, (_, i) => 32768 + ((first - 32768 + i) % 32768))]) {
    const taken = {
      daddr: address('192.168.0.1'),
      saddr: TO,
      sport: PORT,
      dport: port,
      nexthdr: IpProto.TCP,
      flags: 1,
      node: 1,
    };
    datapath.update(MapId.SNAT4, encode(CtTuple4, taken), encode(NatEntry4, { port: 1 }));
  }
  return ask('10.1.0.6', 'near').verdict;
}

export const CASES: ReadonlyMap<number, Case> = new Map<number, Case>([
  [
    DropReason.LB_NO_BACKEND_SLOT,
    connected('a socket is connected to a Service of which a slot was lost', '10.96.0.30', CLUSTER, ({ state }) =>
      state.loader.current.delete(
        MapId.LB4_SERVICES,
        encode(LbKey4, { address: address('10.96.0.30'), dport: 80, backendSlot: 1, proto: IpProto.TCP }),
      ),
    ),
  ],
  [
    DropReason.LB_NO_BACKEND,
    connected(
      'a socket is connected to a Service that has no endpoint',
      '10.96.0.31',
      `${CLUSTER}${service('nobody', '10.96.0.31', 80, 8080)}`,
    ),
  ],
  [7, never('the map of sockets makes room for itself')],
  [130, never('no program of Cilium 1.19 uses it')],
  [131, never('no program of Cilium 1.19 uses it')],
  [
    DropReason.INVALID_SIP,
    sent('a pod sends from an address that is not its own', () =>
      packet().eth().ipv4('10.1.0.99', '10.2.0.7').tcp(1, 2).bytes(),
    ),
  ],
  [
    DropReason.POLICY,
    sent('a NetworkPolicy isolates the destination, and no rule lets the port through', () =>
      from('10.1.0.6').tcp(1, 9999).bytes(),
    ),
  ],
  [
    DropReason.INVALID,
    sent('an IPv4 header that is cut off', () => from('10.2.0.7').tcp(1, 2).bytes().subarray(0, 30)),
  ],
  [
    DropReason.CT_INVALID_HDR,
    sent('a UDP datagram that claims more than the packet has', () => {
      const frame = from('10.2.0.7').udp(1, 2).bytes();
      frame[38] = 1;
      return frame;
    }),
  ],
  [
    DropReason.FRAG_NEEDED,
    sent('a packet of 1500 bytes with “don’t fragment” into the tunnel', () =>
      from('10.2.0.7')
        .udp(1, 2)
        .payload(...new Array<number>(1472).fill(0))
        .bytes(),
    ),
  ],
  [
    DropReason.CT_UNKNOWN_PROTO,
    sent('an IP protocol that is neither TCP, UDP, SCTP nor ICMP', () => from('10.2.0.7').bytes()),
  ],
  [138, never('no program of Cilium 1.19 uses it')],
  [
    DropReason.UNKNOWN_L3,
    sent('an Ethernet frame that carries no IP', () => packet().eth(0x0806).payload(0, 1).bytes()),
  ],
  [140, never('a tail call that fails in the kernel; programs are functions here')],
  [141, never('the kernel refuses to write to a packet; here a packet’s memory is the dataplane’s own')],
  [
    142,
    never('Cilium asks for the transport protocol once more behind connection tracking, which has refused it as 137'),
  ],
  [143, never('every code of an ICMP error is translated')],
  [144, never('as 168: an ICMP message that source NAT cannot carry')],
  [145, never('every code of an ICMPv6 error is translated')],
  [146, never('as 168: an ICMPv6 message that source NAT cannot carry')],
  [DropReason.NO_TUNNEL_KEY, arriving('a tunnel’s packet without a network identifier', () => tunnelled(0, 300))],
  [
    DropReason.UNKNOWN_TARGET,
    {
      packet: 'a pod asks for a neighbour other than its node',
      run: () =>
        new Lab(SIX).send(
          'client',
          packet()
            .eth()
            .ipv6('fd00:1::5', 'fd00:1::6')
            .icmp(135)
            .payload(...new Array<number>(16).fill(0))
            .bytes(),
        ).verdict,
    },
  ],
  [
    DropReason.UNROUTABLE,
    arriving('a tunnel’s packet for an address that no pod of the node has', () =>
      packet()
        .eth()
        .ipv4('192.168.0.1', '192.168.0.2')
        .udp(50000, 8472)
        .payload(8, 0, 0, 0, 0, 1, 44, 0, ...from('10.2.0.99').tcp(1, 2).bytes())
        .bytes(),
    ),
  ],
  [152, never('no program of Cilium 1.19 uses it')],
  [153, never('a checksum helper that fails in the kernel')],
  [154, never('a checksum helper that fails in the kernel')],
  [155, never('the connection map makes room for itself')],
  [
    DropReason.INVALID_EXTHDR,
    {
      packet: 'an IPv6 packet with five extension headers',
      run: () =>
        new Lab(SIX).send(
          'client',
          packet()
            .eth()
            .ipv6('fd00:1::5', '2001:db8::1', { extensions: new Array(5).fill([60, [0, 0, 0, 0, 0, 0, 0, 0]]) })
            .tcp(1, 2)
            .bytes(),
        ).verdict,
    },
  ],
  [DropReason.NO_SERVICE, sent('a port that the Service has not', () => from('10.96.0.30').tcp(1, 81).bytes())],
  [160, never('where the ipcache names no other end of a tunnel, the packet goes to the stack')],
  [161, never('addresses are not translated between the families (NAT46, NAT64)')],
  [
    DropReason.EDT_HORIZON,
    {
      packet: 'one of a pod that may send 8k bits a second, and whose last two took two seconds',
      run: () => {
        const yaml = CLUSTER.replace(
          'labels: {app: client}',
          "$&, annotations: {kubernetes.io/egress-bandwidth: '8k'}",
        );
        const lab = new Lab(yaml, { bandwidthManager: true });
        const large = from('203.0.113.9')
          .udp(1, 53)
          .payload(...new Array<number>(958).fill(0));
        const { current } = lab.state.loader;
        const out = [1, 2, 3].map(
          () => current.process([{ ...lab.packet('client', large.bytes()), time: 5e9 }])[0]!.verdict,
        );
        return out[2]!;
      },
    },
  ],
  [163, never('an inner state that connection tracking never returns')],
  [164, never('no program of Cilium 1.19 uses it')],
  [165, never('every endpoint has its policy before it may send')],
  [DropReason.UNSUPPORTED_L2, sent('a frame shorter than an Ethernet header', () => new Uint8Array(10))],
  [DropReason.NAT_NO_MAPPING, { packet: 'the ports that source NAT tries are all taken', run: portsUsedUp }],
  [
    DropReason.NAT_UNSUPP_PROTO,
    sent('an ICMP timestamp request to the world: no port tells its flows apart', () =>
      from('203.0.113.9').icmp(13).bytes(),
    ),
  ],
  [
    DropReason.ENCAP_PROHIBITED,
    sent('a pod speaks the tunnel’s protocol to a node', () => from('192.168.0.2').udp(1, 8472).bytes()),
  ],
  [DropReason.INVALID_IDENTITY, arriving('a tunnel’s packet that claims to come from the host', () => tunnelled(8, 1))],
  [172, never('no program of Cilium 1.19 uses it')],
  [173, never('an inner result of source NAT, on which the packet goes on')],
  [
    DropReason.IS_CLUSTER_IP,
    arriving('a ClusterIP asked from outside', () =>
      packet().eth().ipv4('203.0.113.9', '10.96.0.30').tcp(1, 80).bytes(),
    ),
  ],
  [
    DropReason.FRAG_NOT_FOUND,
    sent('a later fragment whose first has not passed', () => from('10.2.0.7', { fragment: 5 }).udp(1, 2).bytes()),
  ],
  [
    DropReason.NOT_IN_SRC_RANGE,
    arriving(
      'a client outside loadBalancerSourceRanges',
      () => packet().eth().ipv4('203.0.113.9', '198.51.100.1').tcp(1, 80).bytes(),
      LIMITED,
    ),
  ],
  [DropReason.VLAN_FILTERED, sent('a frame with a VLAN tag', () => packet().eth(0x8100).payload(0, 1, 8, 0).bytes())],
  [DropReason.TTL_EXCEEDED, sent('a TTL of 1', () => from('10.2.0.7', { ttl: 1 }).tcp(1, 2).bytes())],
  [
    DropReason.EP_NOT_READY,
    {
      packet: 'a packet of an endpoint that has no policy yet',
      run: () => {
        const lab = new Lab(CLUSTER);
        return lab.state.loader.current.process([
          { frame: from('10.2.0.7').tcp(1, 2).bytes(), node: 1, program: 1, endpoint: 999 },
        ])[0]!.verdict;
      },
    },
  ],
  [
    DropReason.FRAG_NOSUPPORT,
    {
      packet: 'a fragment where fragments are not tracked',
      run: () => {
        const lab = new Lab(CLUSTER);
        lab.state.loader.current.update(MapId.RUNTIME_CONFIG, '\0\0\0\0', encode(RuntimeConfig, { mtu: 1500 }));
        return lab.send('client', from('10.2.0.7', { fragment: 0x2000 }).udp(1, 2).bytes()).verdict;
      },
    },
  ],
  [
    DropReason.NO_TUNNEL_OPTION,
    {
      packet: 'a Geneve packet whose options are longer than itself',
      run: () => new Lab(CLUSTER, { cni: 'cilium-geneve' }).arrive('n2', optional(63)).verdict,
    },
  ],
  [
    DropReason.INVALID_GENEVE,
    {
      packet: 'a Geneve packet with an option that must be known, and is not',
      run: () => new Lab(CLUSTER, { cni: 'cilium-geneve' }).arrive('n2', optional(1, 0xff, 0xff, 0x80, 0)).verdict,
    },
  ],
  [
    DropReason.NO_FIB,
    {
      packet: 'natively routed to a node that has no address of the packet’s family',
      run: () => {
        const lab = new Lab(CLUSTER, { cni: 'cilium-native' });
        const { index } = lab.state.cluster.nodes.find(({ name }) => name === 'n2')!;
        lab.state.loader.current.update(
          MapId.NODE_CONFIG,
          `${String.fromCharCode(index)}\0\0\0`,
          encode(NodeConfig, {}),
        );
        return lab.send('client', from('10.2.0.7').tcp(1, 2).bytes()).verdict;
      },
    },
  ],
  [
    DropReason.PROXY_UNKNOWN_PROTO,
    sent(
      'SCTP to a port of which a CiliumNetworkPolicy hands every protocol to the DNS proxy',
      () => from('10.2.0.7').sctp(1, 53).bytes(),
      `${CLUSTER}---${cilium('client', 'egress: [{toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*"}]}}]}]')}`,
    ),
  ],
  [
    DropReason.POLICY_DENY,
    sent('a CiliumNetworkPolicy denies the peer', () => from('10.1.0.6').tcp(1, 8080).bytes(), CLUSTER + DENY),
  ],
  [
    DropReason.POLICY_AUTH_REQUIRED,
    sent(
      'a CiliumNetworkPolicy asks both ends to have authenticated, and they have not',
      () => from('10.2.0.7').tcp(1, 2).bytes(),
      AUTHENTICATED,
    ),
  ],
  [
    DropReason.DSR_ENCAP_UNSUPP_PROTO,
    {
      packet: 'direct server return in IP in IP to a port other than the Service’s',
      run: () => {
        const yaml = CLUSTER.replace(
          'spec: {clusterIP: 10.96.0.30,',
          'spec: {externalIPs: [198.51.100.1], clusterIP: 10.96.0.30,',
        );
        const modes = { cni: 'cilium-native', 'loadBalancer.mode': 'dsr', 'loadBalancer.dsrDispatch': 'ipip' } as const;
        return new Lab(yaml, modes).arrive('n1', packet().eth().ipv4('203.0.113.9', '198.51.100.1').tcp(1, 80).bytes())
          .verdict;
      },
    },
  ],
  [176, never('no manifest has a host answer router messages, and a pod asks for its node alone')],
  [178, never('a redirected packet ends at the proxy: the socket that takes it is the kernel’s')],
  [179, never('a redirected packet ends at the proxy: the socket that takes it is the kernel’s')],
  [183, never('VTEP integration is not set by any manifest')],
  [184, never('no program of Cilium 1.19 uses it')],
  [185, never('SRv6 is not set by any manifest')],
  [186, never('SRv6 is not set by any manifest')],
  [187, never('addresses are not translated between the families (NAT46, NAT64)')],
  [188, never('addresses are not translated between the families (NAT46, NAT64)')],
  [190, never('the maps of all connections are there from the start')],
  [191, never('the maps of source NAT are there from the start')],
  [192, never('one cluster: its packets carry no cluster identifier')],
  [194, never('egress gateways (CiliumEgressGatewayPolicy) are not read: a pod that one could select is UNKNOWN')],
  [
    DropReason.UNENCRYPTED_TRAFFIC,
    sent(
      'to where no pod is, in the range in which everything must be encrypted',
      () => from('10.2.0.99').tcp(1, 2).bytes(),
      CLUSTER,
      { 'encryption.type': 'wireguard', 'encryption.strictCIDR': '10.0.0.0/8' },
    ),
  ],
  [
    DropReason.NO_NODE_ID,
    {
      packet: 'so does one, and the node of the other end has left',
      run: () => {
        const lab = new Lab(AUTHENTICATED);
        lab.state.loader.current.delete(MapId.NODES4, encode(NodeKey4, { address: address('192.168.0.2') }));
        return lab.send('client', from('10.2.0.7').tcp(1, 2).bytes()).verdict;
      },
    },
  ],
  [198, never('rates need a clock of real traffic')],
  [199, never('multicast is not set by any manifest')],
  [200, never('multicast is not set by any manifest')],
  [201, never('multicast is not set by any manifest')],
  [202, never('the host’s programs are loaded before the first packet')],
  [204, never('egress gateways (CiliumEgressGatewayPolicy) are not read: a pod that one could select is UNKNOWN')],
  [205, never('an inner result: the packet goes on to the proxy')],
]);
