/** What ends say to one another, in every shape that a host can send. */
import type { Family } from './families.js';
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
  type Layer,
} from './frames.js';

/** What one end may say to another. */
export const segments = ({ echo }: Family): Layer[] => [
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
export const LARGE: readonly Layer[] = [
  tcp(40000, 80, data(1420)),
  udp(40000, 53, data(1450)),
  tcp(40000, 8080, data(1480)),
];

/** What may come in pieces. */
export const divided = ({ echo }: Family): Layer[] => [
  tcp(40000, 80, data(20)),
  udp(40000, 53, data(24)),
  sctp(40000, 9, data(4)),
  echo,
];

/** The pieces of a packet, the first one first: the others are told by it. The last is shorter than any transport header. */
export const pieces = ({ piece }: Family, source: string, destination: string, segment: Layer): Layer[] => [
  piece(source, destination, segment, 0, true),
  piece(source, destination, { ...data(32), type: segment.type }, 15, true),
  piece(source, destination, { ...data(3), type: segment.type }, 19, false),
];

/** Shapes of IPv4 packets that not every flow has. */
export const shapes4 = (source: string, destination: string): Layer[] => {
  const segment = tcp(40000, 80, data(8));
  const whole = ipv4(destination, source, udp(53, 40000, data(4)));
  return [
    ...[4, 8, 20, 40].map((length) =>
      ipv4(source, destination, segment, { options: new Array<number>(length).fill(1) }),
    ),
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
export const shapes6 = (source: string, destination: string): Layer[] => {
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
export const others = (): Layer[] => [
  ...[0, 20, 46].map((length) => ethernet(data(length), 0x0806)),
  ethernet(data(30), 0x0026),
  ethernet(data(0), 0x0800),
  ethernet(data(0), 0x86dd),
  ethernet(data(46), 0x8847),
  ethernet(vlan(data(0), 0x8100)),
];
