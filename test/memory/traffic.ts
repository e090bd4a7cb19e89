/**
 * Packets without end, the same for the same seed: seven in ten are of real flows (through Services and tunnels, in
 * fragments, in every form that a host can send), three in ten of those with something wrong.
 */
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
  Width,
  type Layer,
} from './frames.js';

/** Of a hundred packets, those with something wrong. */
const MUTATED = 30;
/** Of a hundred, those that answer a packet that arrived. */
const REPLIES = 15;
/** Answers kept at once. */
const KEPT = 64;
export const MAX_FRAME = PACKET_ROOM - 2 * PACKET_HEADROOM;

/** A frame and where it enters. */
interface Template {
  readonly frame: Uint8Array;
  readonly lengths: Layer['lengths'];
  readonly kinds: Layer['kinds'];
  readonly ports: number;
  readonly program: Program;
  readonly node: number;
  readonly endpoint: number;
  /** The length to which it is cut next: each in turn. */
  cut: number;
}

const WORLD = [
  { v4: '203.0.113.9', v6: '2001:db8::9' },
  { v4: '203.0.113.200', v6: '2001:db8:ffff::1' },
  { v4: '192.0.2.7', v6: '2001:db8:2::7' },
];
const LOAD_BALANCERS = ['198.51.100.1', '198.51.100.2', '198.51.100.3', '198.51.100.9'];

interface Family {
  readonly of: (end: { readonly v4: string; readonly v6: string }) => string;
  readonly ip: (source: string, destination: string, inner: Layer) => Layer;
  readonly echo: Layer;
}

const FAMILIES: readonly Family[] = [
  { of: ({ v4 }) => v4, ip: ipv4, echo: icmp(8, data(16)) },
  { of: ({ v6 }) => v6, ip: ipv6, echo: icmp6(128, data(16)) },
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
function templates({ node, endpoint }: Loaded): Template[] {
  const all: Template[] = [];
  const add = (layer: Layer, program: Program, at: string, from = ''): void => {
    const { bytes, lengths, kinds, ports } = layer.type === 0 ? layer : ethernet(layer);
    const frame = Uint8Array.from(bytes).subarray(0, MAX_FRAME);
    all.push({ frame, lengths, kinds, ports, program, node: node.get(at)!, endpoint: endpoint.get(from) ?? 0, cut: 0 });
  };
  const destinations = [...PODS, ...SERVICES, ...NODES, ...WORLD];
  for (const family of FAMILIES) {
    const { of, ip } = family;
    for (const pod of PODS) {
      for (const to of destinations)
        for (const segment of segments(family))
          add(ip(of(pod), of(to), segment), Program.FROM_CONTAINER, pod.node, pod.name);
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
  for (const balancer of LOAD_BALANCERS)
    for (const { name } of NODES)
      for (const { v4 } of WORLD)
        for (const segment of segments(FAMILIES[0]!)) add(ipv4(v4, balancer, segment), Program.FROM_NETDEV, name);
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
  for (const inner of tunnelled) add(ipv4(n1.v4, n2.v4, vxlan(300, inner)), Program.FROM_NETDEV, n2.name);
  for (const layer of [...shapes4(WORLD[0]!.v4, '198.51.100.1'), ...shapes6(WORLD[0]!.v6, near.v6), ...others()])
    add(layer, Program.FROM_NETDEV, n1.name);
  return all;
}

/** Where an answer can lie, as if it were plain IPv4. */
const REPLY_LENGTHS: Layer['lengths'] = [
  [14, Width.LOW],
  [16, Width.WORD],
  [38, Width.WORD],
  [46, Width.HIGH],
];
const REPLY_KINDS = [12, 13, 14, 20, 21, 22, 23, 34, 47];

export class Traffic {
  /** Where the packet that was made last enters. */
  program: Program = Program.FROM_CONTAINER;
  node = 0;
  endpoint = 0;

  private readonly templates: readonly Template[];
  private replies: Template[] = [];
  private oldest = 0;
  private state = 1;

  constructor(cluster: Loaded) {
    this.templates = templates(cluster);
  }

  /** Starts anew: the same packets for the same seed. */
  start(seed: number): void {
    this.state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) | 1;
    for (let i = 0; i < 8; i++) this.random();
    this.replies = [];
    this.oldest = 0;
    for (const template of this.templates) template.cut = this.below(template.frame.length + 1);
  }

  /** xorshift32. */
  private random(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return x >>> 0;
  }

  /** A number below `end`. */
  below(end: number): number {
    return this.random() % end;
  }

  /** Writes the next frame at `at`. Returns its length. */
  next(memory: Uint8Array, at: number): number {
    const replies = this.replies.length;
    const template =
      replies > 0 && this.below(100) < REPLIES
        ? this.replies[this.below(replies)]!
        : this.templates[this.below(this.templates.length)]!;
    const { frame, ports } = template;
    this.program = template.program;
    this.node = template.node;
    this.endpoint = template.endpoint;
    memory.set(frame, at);
    const draw = this.random();
    // A thousand flows each, and now and then another port, other flags, another sender.
    if (ports >= 0) {
      memory[at + ports] = 0x90 | ((draw >>> 8) & 3);
      memory[at + ports + 1] = draw & 255;
      if ((draw & 0x7000) === 0) memory[at + ports + 13] = draw >>> 24;
      if ((draw & 0x78000) === 0) memory[at + ports + 3] = draw >>> 16;
    }
    if ((draw & 0x3f00000) === 0 && this.program === Program.FROM_CONTAINER)
      this.endpoint = this.random() >>> (draw & 31);
    let length = frame.length;
    if (this.below(100) < MUTATED)
      for (let i = draw & 1; i >= 0; i--) length = this.mutate(template, memory, at, length);
    return length;
  }

  /** One thing wrong. Returns the new length. */
  private mutate(template: Template, memory: Uint8Array, at: number, length: number): number {
    const draw = this.random();
    switch (draw & 7) {
      case 0:
        template.cut = template.cut >= template.frame.length ? 0 : template.cut + 1;
        return Math.min(length, template.cut);
      case 1:
        template.cut = template.cut >= template.frame.length ? 0 : template.cut + 1;
        this.admit(template, memory, at);
        return Math.min(length, template.cut);
      case 2:
      case 3:
        this.lie(template, memory, at);
        return length;
      case 4: {
        const { kinds } = template;
        if (kinds.length > 0) memory[at + kinds[(draw >>> 3) % kinds.length]!] = draw >>> 24;
        return length;
      }
      case 5:
        for (let i = (draw >>> 3) & 7; i >= 0; i--) {
          const bytes = this.random();
          memory[at + ((bytes >>> 8) % (length + 1))] = bytes;
        }
        return length;
      case 6: {
        const longer = Math.min(MAX_FRAME, length + ((draw >>> 3) & 63));
        memory.fill(draw >>> 16, at + length, at + longer);
        return longer;
      }
      default: {
        // The front of one frame and the back of another.
        const { frame } = this.templates[(draw >>> 8) % this.templates.length]!;
        const cut = (draw >>> 3) & 63;
        if (cut >= frame.length) return length;
        memory.set(frame, at);
        memory.set(template.frame.subarray(0, cut), at);
        return frame.length;
      }
    }
  }

  /** All lengths agree with where the frame was cut. */
  private admit({ frame, lengths, cut }: Template, memory: Uint8Array, at: number): void {
    for (const [offset, width] of lengths) {
      if (width !== Width.WORD) continue;
      const length = ((frame[offset]! << 8) | frame[offset + 1]!) + cut - frame.length;
      if (length < 0) continue;
      memory[at + offset] = length >>> 8;
      memory[at + offset + 1] = length;
    }
  }

  /** A length field that says something else: nothing, a little more or less, everything, or anything. */
  private lie({ lengths }: Template, memory: Uint8Array, at: number): void {
    if (lengths.length === 0) return;
    const draw = this.random();
    const [offset, width] = lengths[draw % lengths.length]!;
    const field = at + offset;
    const before = width === Width.WORD ? (memory[field]! << 8) | memory[field + 1]! : memory[field]!;
    const values = [0, before + 1 + ((draw >>> 8) & 7), before - 1 - ((draw >>> 8) & 7), 0xffff, draw >>> 16];
    const value = values[(draw >>> 11) % values.length]!;
    if (width === Width.LOW) memory[field] = (before & 0xf0) | (value & 15);
    else if (width === Width.HIGH) memory[field] = (before & 15) | (value << 4);
    else if (width === Width.BYTE) memory[field] = value;
    else {
      memory[field] = value >>> 8;
      memory[field + 1] = value;
    }
  }

  /** Keeps the answer to a frame that arrived: the same, from there to here. */
  answer(memory: Uint8Array, at: number, length: number, program: Program, node: number, endpoint: number): void {
    const frame = memory.slice(at, at + length);
    let ports: number;
    if (frame[12] === 0x08 && length >= 42) {
      frame.copyWithin(26, 30, 34);
      frame.set(memory.subarray(at + 26, at + 30), 30);
      ports = 14 + (frame[14]! & 15) * 4;
      frame[22] = 64;
    } else if (frame[12] === 0x86 && length >= 62) {
      frame.copyWithin(22, 38, 54);
      frame.set(memory.subarray(at + 22, at + 38), 38);
      ports = 54;
      frame[21] = 64;
    } else return;
    if (ports + 4 > length) return;
    frame.copyWithin(ports, ports + 2, ports + 4);
    frame.set(memory.subarray(at + ports, at + ports + 2), ports + 2);
    const reply: Template = {
      frame,
      lengths: REPLY_LENGTHS,
      kinds: REPLY_KINDS,
      ports: -1,
      program: program === Program.DELIVERED ? Program.FROM_CONTAINER : Program.FROM_NETDEV,
      node,
      endpoint: program === Program.DELIVERED ? endpoint : 0,
      cut: 0,
    };
    if (this.replies.length < KEPT) this.replies.push(reply);
    else this.replies[this.oldest++ % KEPT] = reply;
  }
}
