/** What the packets are made from: every flow of the cluster, and every shape that a host can send. */
import { PACKET_HEADROOM, PACKET_ROOM, Program } from '../../assembly/abi.js';
import { NODES, nodePort, PODS, SERVICES, type Loaded } from './cluster.js';
import {
  authentication,
  data,
  ethernet,
  extension,
  fragment6,
  icmp,
  icmp6,
  ipv4,
  ipv6,
  sctp,
  tcp,
  udp,
  vlan,
  vxlan,
  type Layer,
} from './frames.js';

export const MAX_FRAME = PACKET_ROOM - 2 * PACKET_HEADROOM;

/** A frame and where it enters. */
export interface Template {
  readonly frame: Uint8Array;
  readonly lengths: Layer['lengths'];
  readonly kinds: Layer['kinds'];
  readonly ports: number;
  readonly program: Program;
  readonly node: number;
  readonly endpoint: number;
  /** What is sent right behind it. */
  readonly then: Template | null;
  /** The length to which it is cut next: each in turn. */
  cut: number;
}

export const WORLD = [
  { v4: '203.0.113.9', v6: '2001:db8::9' },
  { v4: '203.0.113.200', v6: '2001:db8:ffff::1' },
  { v4: '192.0.2.7', v6: '2001:db8:2::7' },
];
const LOAD_BALANCERS = ['1', '2', '3', '4', '9'].map((host) => ({
  v4: `198.51.100.${host}`,
  v6: `2001:db8:99::${host}`,
}));

interface Family {
  readonly of: (end: { readonly v4: string; readonly v6: string }) => string;
  readonly ip: (source: string, destination: string, inner: Layer) => Layer;
  readonly echo: Layer;
  /** A piece of a packet; `offset` in units of 8 bytes. All have the same id. */
  readonly piece: (source: string, destination: string, inner: Layer, offset: number, more: boolean) => Layer;
}

const FAMILIES: readonly Family[] = [
  {
    of: ({ v4 }) => v4,
    ip: ipv4,
    echo: icmp(8, data(16)),
    piece: (source, destination, inner, offset, more) =>
      ipv4(source, destination, inner, { fragment: offset | (more ? 0x2000 : 0) }),
  },
  {
    of: ({ v6 }) => v6,
    ip: ipv6,
    echo: icmp6(128, data(16)),
    piece: (source, destination, inner, offset, more) => ipv6(source, destination, fragment6(inner, offset, more)),
  },
];

/** What one end may say to another. */
const segments = ({ echo }: Family): Layer[] => [
  tcp(40000, 80),
  tcp(40000, 80, data(100), 0x10, 3),
  tcp(40000, 8080, data(1)),
  tcp(40000, 443),
  udp(40000, 53, data(20)),
  udp(40000, 53, data(0), 0),
  udp(40000, 5353, data(1400)),
  sctp(40000, 9, data(16)),
  sctp(40000, 9),
  echo,
];

/** More than the tunnel carries, and more than the network does: the sender is told. */
const LARGE: readonly Layer[] = [tcp(40000, 80, data(1420)), udp(40000, 53, data(1450)), tcp(40000, 8080, data(1480))];

/** What may come in pieces. */
const divided = ({ echo }: Family): Layer[] => [
  tcp(40000, 80, data(20)),
  udp(40000, 53, data(24)),
  sctp(40000, 9, data(4)),
  echo,
];

/** The pieces of a packet, the first one first: the others are told by it. The last is shorter than any transport header. */
const pieces = ({ piece }: Family, source: string, destination: string, segment: Layer): Layer[] => [
  piece(source, destination, segment, 0, true),
  piece(source, destination, { ...data(32), type: segment.type }, 15, true),
  piece(source, destination, { ...data(3), type: segment.type }, 19, false),
];

/** Shapes of IPv4 packets that not every flow has. */
const shapes4 = (source: string, destination: string): Layer[] => {
  const segment = tcp(40000, 80, data(8));
  const whole = ipv4(destination, source, udp(53, 40000, data(4)));
  return [
    ...[1, 2, 5, 10].map((options) => ipv4(source, destination, segment, { options })),
    ...[0x2000, 0x2001, 0x0001, 0x1fff, 0x8000].map((fragment) => ipv4(source, destination, segment, { fragment })),
    ipv4(source, destination, udp(40000, 53, data(64)), { fragment: 0x2000 }),
    ipv4(source, destination, { ...data(64), type: 17 }, { fragment: 0x0009 }),
    ...[0, 1, 2].map((ttl) => ipv4(source, destination, segment, { ttl })),
    ...[3, 4, 5, 11, 12].map((type) => ipv4(source, destination, icmp(type, whole))),
    ipv4(source, destination, icmp(3, ipv4(destination, source, { ...data(8), type: 6 }), 4)),
    ...[0, 2, 4, 41, 47, 50, 51, 59, 255].map((type) => ipv4(source, destination, { ...data(24), type })),
    ipv4(source, destination, authentication(segment)),
    vlan(ipv4(source, destination, segment)),
    vlan(vlan(ipv4(source, destination, segment)), 0x88a8),
  ];
};

/** The same of IPv6, where the headers make a chain. */
const shapes6 = (source: string, destination: string): Layer[] => {
  const segment = tcp(40000, 80, data(8));
  const whole = ipv6(destination, source, udp(53, 40000, data(4)));
  const chains = [
    ...[0, 43, 60, 135, 139, 140].map((type) => extension(type, segment)),
    extension(0, extension(43, extension(60, segment, 3), 2)),
    extension(60, segment, 100),
    authentication(segment),
    authentication(extension(60, udp(40000, 53, data(4)))),
    fragment6(segment, 0, true),
    fragment6(segment, 0, false),
    fragment6({ ...data(64), type: 17 }, 181, true),
    fragment6({ ...data(3), type: 17 }, 8191, false),
    extension(0, fragment6(extension(60, segment), 0, true)),
    [...new Array<number>(12)].reduce<Layer>((inner) => extension(60, inner), segment),
    ...[1, 2, 3, 4].map((type) => icmp6(type, whole)),
    icmp6(2, ipv6(destination, source, fragment6({ ...data(8), type: 6 }, 0, true))),
    ...[133, 134, 135, 136].map((type) => icmp6(type, data(24))),
    ...[4, 41, 47, 50, 59, 255].map((type) => ({ ...data(24), type })),
  ];
  return [
    ...chains.map((inner) => ipv6(source, destination, inner)),
    ...[0, 1, 2].map((hopLimit) => ipv6(source, destination, segment, hopLimit)),
    vlan(ipv6(source, destination, segment)),
  ];
};

/** What is no IP, or hardly. */
const others = (): Layer[] => [
  ...[0, 20, 46].map((length) => ethernet(data(length), 0x0806)),
  ethernet(data(30), 0x0026),
  ethernet(data(0), 0x0800),
  ethernet(data(0), 0x86dd),
  ethernet(data(46), 0x8847),
  ethernet(vlan(data(0), 0x8100)),
];

/** Everything that is sent, in no order that matters. */
export function templates({ node, endpoint }: Loaded): Template[] {
  const all: Template[] = [];
  const made = (layer: Layer, program: Program, at: string, from: string, then: Template | null): Template => {
    const { bytes, lengths, kinds, ports } = layer.type === 0 ? layer : ethernet(layer);
    const frame = Uint8Array.from(bytes).subarray(0, MAX_FRAME);
    return {
      frame,
      lengths,
      kinds,
      ports,
      program,
      node: node.get(at)!,
      endpoint: endpoint.get(from) ?? 0,
      then,
      cut: 0,
    };
  };
  const add = (layer: Layer, program: Program, at: string, from = ''): void => {
    all.push(made(layer, program, at, from, null));
  };
  const addPieces = (layers: readonly Layer[], program: Program, at: string, from = ''): void => {
    all.push(layers.reduceRight<Template | null>((then, layer) => made(layer, program, at, from, then), null)!);
  };
  const destinations = [...PODS, ...SERVICES, ...NODES, ...WORLD];
  for (const family of FAMILIES) {
    const { of, ip } = family;
    for (const pod of PODS) {
      for (const to of destinations) {
        for (const segment of [...segments(family), ...LARGE])
          add(ip(of(pod), of(to), segment), Program.FROM_CONTAINER, pod.node, pod.name);
        for (const segment of divided(family))
          addPieces(pieces(family, of(pod), of(to), segment), Program.FROM_CONTAINER, pod.node, pod.name);
        // Without a tunnel, as if the network between the nodes knew the pods' addresses.
        for (const { name } of NODES)
          for (const segment of [tcp(40000, 80), ...LARGE])
            add(ip(of(pod), of(to), segment), Program.FROM_NETDEV, name);
      }
    }
    for (const { name, ...here } of NODES) {
      for (const to of destinations) {
        for (const segment of [tcp(40000, 80), udp(40000, 53, data(9)), family.echo]) {
          add(ip(of(here), of(to), segment), Program.FROM_HOST, name);
          for (const client of WORLD) add(ip(of(client), of(to), segment), Program.FROM_NETDEV, name);
        }
      }
      SERVICES.forEach((_, i) => add(ip(of(WORLD[0]!), of(here), tcp(40000, nodePort(i))), Program.FROM_NETDEV, name));
      for (const outer of FAMILIES)
        for (const to of [...PODS, ...NODES, WORLD[0]!])
          for (const vni of [1, 300]) {
            const inner = ethernet(ip(of(PODS[0]), of(to), tcp(40000, 8080, data(5))));
            for (const flags of [0, 8])
              add(outer.ip(outer.of(NODES[0]), outer.of(here), vxlan(vni, inner, flags)), Program.FROM_NETDEV, name);
          }
    }
  }
  for (const family of FAMILIES) {
    const { of, ip } = family;
    for (const balancer of LOAD_BALANCERS)
      for (const { name } of NODES)
        for (const client of WORLD) {
          for (const segment of [...segments(family), ...LARGE])
            add(ip(of(client), of(balancer), segment), Program.FROM_NETDEV, name);
          for (const segment of divided(family))
            addPieces(pieces(family, of(client), of(balancer), segment), Program.FROM_NETDEV, name);
        }
  }
  const [client, near, far] = PODS;
  const special = [
    ...[near, far, ...SERVICES].flatMap((to) => [...shapes4(client.v4, to.v4), ...shapes6(client.v6, to.v6)]),
    ...others(),
    ipv4(client.v4, NODES[1].v4, vxlan(300, ethernet(ipv4(client.v4, far.v4, tcp(1, 2))))),
    ipv4(client.v4, '169.254.42.1', tcp(8080, 40000, data(1), 0x12)),
  ];
  for (const layer of special) add(layer, Program.FROM_CONTAINER, client.node, client.name);
  const [n1, n2] = NODES;
  const tunnelled = [
    ...[...shapes4(client.v4, far.v4), ...shapes6(client.v6, far.v6)].map((layer) => ethernet(layer)),
    ...others(),
    ethernet(ipv4(n1.v4, n2.v4, vxlan(300, ethernet(ipv4(client.v4, far.v4, tcp(1, 2)))))),
  ];
  for (const inner of tunnelled) {
    add(ipv4(n1.v4, n2.v4, vxlan(300, inner)), Program.FROM_NETDEV, n2.name);
    addPieces(pieces(FAMILIES[0]!, n1.v4, n2.v4, vxlan(300, inner)), Program.FROM_NETDEV, n2.name);
  }
  for (const layer of [...shapes4(WORLD[0]!.v4, '198.51.100.1'), ...shapes6(WORLD[0]!.v6, near.v6), ...others()])
    add(layer, Program.FROM_NETDEV, n1.name);
  return all;
}
