/**
 * Packets without end, the same for the same seed: flows that open, go on, are answered and closed, through Services, tunnels
 * and source NAT; echoes, errors, pieces; three in ten with something wrong.
 */
import { LOOPBACK, putWord, word, type Address, type Version } from '../reference/bytes.js';
import { ICMP, ICMPV6, MARK, PROGRAM, PROTOCOL, TCP_FLAG } from '../reference/numbers.js';
import { isEcho, type Packet } from '../reference/packet.js';
import { read } from '../reference/read.js';
import type { Arrival, Outcome } from '../reference/reference.js';
import {
  address,
  GONE,
  neighbour,
  OTHER_PORTS,
  POD_PORTS,
  PROTOCOLS,
  type Addresses,
  type Cluster,
  type Frontend,
} from './cluster.js';
import {
  extension,
  fragmentHeader,
  frame,
  geneve,
  geneveOption,
  icmp,
  inIp,
  sctp,
  tcp,
  udp,
  vxlan,
  type Around,
  type Segment,
} from './frames.js';
import type { Random } from './random.js';
import { MAX_FRAME } from './subject.js';

/** Of a hundred packets, those with something wrong. */
const MUTATED = 30;
/** Whoever asks, as his own loopback. */
const ITSELF: Addresses = { 4: address('127.0.0.1'), 6: address('::1') };
/** Flows kept to go on with. */
const KEPT = 96;
/** Openings kept to open more like them. */
const OPENED = 12;
/** Of a hundred openings, those that are like an earlier one but for the client's port. */
const ALIKE = 40;

/** A place from which frames are sent. */
type Place = Omit<Arrival, 'frame'>;

/** A packet that arrived somewhere, from where it may be answered, and as it was sent. */
interface Kept {
  readonly sent: Arrival;
  readonly seen: Packet;
  readonly at: Place;
}

/** The same, before anybody looked at what arrived. */
type Unread = Omit<Kept, 'seen'> & { readonly frame: Uint8Array };

const { fin, syn, rst, ack } = TCP_FLAG;
const FLAGS = [syn, syn, ack, ack, ack, syn | ack, fin | ack, rst, rst | ack, syn | fin, 0, 0xff] as const;

/** Who asks whom for what. */
interface Opening {
  readonly version: Version;
  readonly place: Place;
  readonly source: Address;
  readonly destination: Address;
  readonly port: number;
  readonly protocol: number;
}

export class Traffic {
  private kept: Unread[] = [];
  private opened: Opening[] = [];
  private oldest = 0;
  /** Later pieces that wait for their turn. */
  private pieces: Arrival[] = [];

  private cluster!: Cluster;
  private listening!: Readonly<Record<Version, readonly Frontend[]>>;
  /** Who sends from outside, and whom anybody may ask. */
  private senders!: readonly Addresses[];
  private hosts!: readonly Addresses[];

  constructor(
    cluster: Cluster,
    private readonly random: Random,
    private readonly alike = ALIKE,
  ) {
    this.use(cluster);
  }

  /** The cluster changed; its addresses did not. */
  use(cluster: Cluster): void {
    const { frontends, world, nodes, pods } = cluster;
    const of = (length: number): Frontend[] => frontends.filter(({ address }) => address.length === length);
    const [podAddresses, nodeAddresses] = [pods, nodes].map((all) => all.map(({ addresses }) => addresses)) as [
      Addresses[],
      Addresses[],
    ];
    this.cluster = cluster;
    this.listening = { 4: of(4), 6: of(16) };
    this.senders = [...world, ...world, ...nodeAddresses];
    this.hosts = [...podAddresses, ...world, ...nodeAddresses, GONE, ITSELF];
  }

  next(): Arrival {
    const { random } = this;
    const arrival = this.structured();
    const bytes = arrival.frame.length > MAX_FRAME ? arrival.frame.subarray(0, MAX_FRAME) : arrival.frame;
    if (!random.chance(MUTATED)) return { ...arrival, frame: bytes };
    let mutated: Uint8Array = bytes.slice();
    for (let i = random.below(2); i >= 0; i--) mutated = this.mutate(mutated);
    return { ...arrival, frame: mutated };
  }

  /** Remembers what became of a packet, so that somebody may answer it; what came to a proxy is sent on. */
  learn(sent: Arrival, outcome: Outcome): void {
    const { verdict, program, node, endpoint, frame, sourceIdentity, destinationIdentity } = outcome;
    if (verdict !== 0 || program < PROGRAM.delivered) return;
    if (program === PROGRAM.proxy) {
      const magic = this.random.pick([MARK.proxyIngress, MARK.proxyEgress]);
      const onward = { ...this.proxy(node, magic, sourceIdentity), frame };
      return this.keep({ sent: onward, frame, at: this.proxy(node, magic, destinationIdentity) });
    }
    const from = { [PROGRAM.delivered]: PROGRAM.fromContainer, [PROGRAM.host]: PROGRAM.fromHost }[program];
    this.keep({ sent, frame, at: { program: from ?? PROGRAM.fromNetdev, node, endpoint, mark: 0 } });
  }

  private keep(one: Unread): void {
    if (this.kept.length < KEPT) this.kept.push(one);
    else this.kept[this.oldest++ % KEPT] = one;
  }

  /** A place at which a proxy speaks for somebody. */
  private proxy(node: number, magic: number, identity: number): Place {
    const mark = (((identity & 0xffff) << 16) | magic | ((identity >>> 16) & 0xff)) >>> 0;
    return { program: PROGRAM.fromProxy, node, endpoint: 0, mark };
  }

  private structured(): Arrival {
    const { random, kept, pieces } = this;
    if (pieces.length > 0 && random.chance(50)) return pieces.splice(random.below(pieces.length), 1)[0]!;
    const draw = random.below(100);
    if (kept.length === 0 || draw < 25) return this.opening();
    const { sent, at, frame } = random.pick(kept);
    const seen = read(frame);
    if (typeof seen === 'number') return this.opening();
    const one = { sent, at, seen };
    if (draw < 45) return this.again(one);
    if (draw < 75) return this.reply(one);
    if (draw < 84) return this.error(one);
    if (draw < 90) return this.forged(one);
    if (draw < 97) return this.cut(one);
    return { ...one.at, frame: one.sent.frame };
  }

  /** Where packets come from: a pod, somebody outside, or a node. */
  private start(version: Version): readonly [place: Place, source: Address] {
    const { random, cluster } = this;
    const draw = random.below(100);
    const node = random.pick(cluster.nodes);
    if (draw < 60) {
      const pod = random.pick(cluster.pods);
      const place = { program: PROGRAM.fromContainer, node: pod.node, endpoint: pod.endpoint, mark: 0 };
      return [this.socket(place), pod.addresses[version] ?? random.pick(cluster.world)[version]!];
    }
    if (draw < 90) {
      const place = { program: PROGRAM.fromNetdev, node: node.node, endpoint: 0, mark: 0 };
      return [place, random.pick(this.senders)[version] ?? LOOPBACK[version]];
    }
    const place = { program: PROGRAM.fromHost, node: node.node, endpoint: 0, mark: 0 };
    return [this.socket(place), node.addresses[version] ?? LOOPBACK[version]];
  }

  /** Where sockets have programs, a packet starts as one that is connected, half the time. */
  private socket(place: Place): Place {
    const { random, cluster } = this;
    if (cluster.tables.config.socketLb === 'off' || random.chance(50)) return place;
    return { ...place, program: PROGRAM.sockConnect };
  }

  /** A packet that opens a connection as one before did, from another port. */
  private openedAlike(): Arrival {
    const { random } = this;
    const { version, place, source, destination, port, protocol } = random.pick(this.opened);
    const sport = random.pick([random.between(32768, 65535), random.between(1024, 65535), 40000 + random.below(8)]);
    const segment = this.segment(protocol, sport, port, random.chance(95) ? syn : random.pick(FLAGS));
    return { ...place, frame: frame(source, destination, segment, this.around(version)) };
  }

  /** Whom they are for: address, port, protocol. */
  private end(version: Version): readonly [destination: Address, port: number, protocol: number] {
    const { random } = this;
    const draw = random.below(100);
    const protocol = random.pick(PROTOCOLS);
    if (draw < 50) {
      const listening = this.listening[version];
      if (listening.length > 0) {
        const one = random.pick(listening);
        const { address, port } = one;
        return [
          address,
          random.chance(95) ? port : random.pick(OTHER_PORTS),
          random.chance(97) ? one.protocol : protocol,
        ];
      }
    }
    const own = random.pick(this.hosts)[version] ?? LOOPBACK[version];
    const shared = random.pick(this.cluster.frontends).port;
    const port = random.pick([
      shared,
      POD_PORTS[protocol]!,
      POD_PORTS[protocol]!,
      7000,
      random.pick([8472, 6081]),
      random.pick(OTHER_PORTS),
    ]);
    return [random.chance(96) ? own : neighbour(own, random), port, protocol];
  }

  private opening(): Arrival {
    const { random } = this;
    if (this.alike > 0 && this.opened.length > 0 && random.chance(this.alike)) return this.openedAlike();
    const version: Version = random.chance(50) ? 4 : 6;
    const [place, source] = this.start(version);
    const [destination, port, protocol] = this.end(version);
    this.opened = [...this.opened.slice(1 - OPENED), { version, place, source, destination, port, protocol }];
    const sport = random.pick([random.between(1024, 65535), 40000 + random.below(8), 33000 + random.below(8), 20000]);
    if (random.chance(12)) {
      const type = random.pick(version === 4 ? [8, 8, 8, 0, 13, 3] : [128, 128, 128, 129, 135, 136, 1]);
      const message = icmp(version, type, random.below(2), (sport << 16) | 1, this.data());
      return { ...place, frame: frame(source, destination, message, this.around(version)) };
    }
    const flags = random.chance(75) ? syn : random.pick(FLAGS);
    const segment = this.segment(protocol, sport, port, flags);
    return { ...place, frame: frame(source, destination, segment, this.around(version)) };
  }

  private segment(protocol: number, sport: number, dport: number, flags: number): Segment {
    const { random } = this;
    if (protocol === PROTOCOL.tcp)
      return tcp(sport, dport, flags, this.data(), random.chance(10) ? random.between(1, 10) : 0);
    return protocol === PROTOCOL.udp
      ? udp(sport, dport, this.data(), random.chance(85))
      : sctp(sport, dport, this.data());
  }

  /** Mostly short; seldom so long that it does not fit somewhere. */
  private data(): Uint8Array {
    const { random } = this;
    const length = random.chance(4) ? random.between(1200, 1500) : random.pick([0, 1, 4, 13, 32, 57]);
    const data = new Uint8Array(length);
    const first = random.below(256);
    for (let i = 0; i < length; i++) data[i] = first + i * 7;
    return data;
  }

  private around(version: Version): Around {
    const { random } = this;
    const draw = random.below(100);
    if (draw < 57) return {};
    if (draw < 60) return this.told(version);
    if (draw < 65) return { ttl: random.pick([0, 1, 2, 3, 255]) };
    if (draw < 70)
      return { wrong: [random.chance(50) ? random.below(0x10000) : 0, random.chance(50) ? random.below(0x10000) : 0] };
    if (draw < 75) return { padding: random.between(1, 30), tos: random.below(256) };
    if (draw < 80) return { fragment: random.pick([0, 0, 0x4000, 0x8000]), id: random.below(8) };
    if (version === 4) return draw < 85 ? { options: random.between(1, 10) } : {};
    const kinds = [0, 43, 60, 51, 60];
    const count = draw < 90 ? 1 : draw < 99 ? random.between(2, 4) : 5;
    return { extensions: Array.from({ length: count }, () => extension(random.pick(kinds), random.between(1, 3))) };
  }

  /** As if another node had been asked for a Service, which it tells in the packet's own header. */
  private told(version: Version): Around {
    const { random } = this;
    const { address, port } = random.pick(this.listening[version]) ?? { address: LOOPBACK[version], port: 1 };
    const own = [...address].map((unit) => unit.charCodeAt(0));
    const number = random.chance(5) ? 0 : port;
    const length = random.chance(5) ? random.below(256) : version === 4 ? 8 : 20;
    if (version === 4) return { option: [0x9a, length, number & 255, number >> 8, ...own.reverse()] };
    return { extensions: [[60, Uint8Array.of(0, 2, 0x1b, length, ...own, number >> 8, number & 255, 0, 0)]] };
  }

  /** The same flow, one packet further; mostly one that neither opens nor closes anything. */
  private again({ sent }: Kept): Arrival {
    const { random } = this;
    const packet = read(sent.frame);
    if (typeof packet === 'number' || packet.piece !== 'whole') return sent;
    const { source, destination, sourcePort, destinationPort, protocol } = packet.flow;
    if (!PROTOCOLS.includes(protocol as 6)) return sent;
    const isQuiet = random.chance(60);
    const segment = this.segment(protocol, sourcePort, destinationPort, isQuiet ? ack : random.pick(FLAGS));
    return { ...sent, frame: frame(source, destination, segment, isQuiet ? {} : this.around(packet.version)) };
  }

  /** From where a packet arrived to where it came from. */
  private reply({ seen, at }: Kept): Arrival {
    const { random } = this;
    const { version, flow } = seen;
    const { source, destination, sourcePort, destinationPort, protocol } = flow;
    if (PROTOCOLS.includes(protocol as 6)) {
      const isQuiet = random.chance(50);
      const flags = isQuiet ? ack : random.chance(50) ? syn | ack : random.pick(FLAGS);
      const segment = this.segment(protocol, destinationPort, sourcePort, flags);
      return { ...at, frame: frame(destination, source, segment, isQuiet ? {} : this.around(version)) };
    }
    const type = isEcho(version, seen.icmpType) ? (version === 4 ? ICMP.echoReply : ICMPV6.echoReply) : seen.icmpType;
    const id = seen.end - seen.bodyAt >= 6 ? word(seen.frame, seen.bodyAt + 4) : 0;
    const message = icmp(version, type, 0, (id << 16) | 1, this.data());
    return { ...at, frame: frame(destination, source, message, this.around(version)) };
  }

  /** From where a packet arrived, or from a router in between, an error about it. */
  private error({ seen, sent, at }: Kept): Arrival {
    const { random, cluster } = this;
    const { version, flow } = seen;
    const { source, destination } = flow;
    const isSender = random.chance(15);
    const about = isSender ? sent.frame : seen.frame.subarray(0, seen.end);
    const length = random.pick([28, 36, 48, 56, 64, 100, 400]) + (version === 4 ? 0 : 20);
    const types =
      version === 4
        ? [
            [3, 3],
            [3, 4],
            [3, 1],
            [11, 0],
            [12, 0],
          ]
        : [
            [1, 4],
            [2, 0],
            [3, 0],
            [4, 0],
          ];
    const [type, code] = random.pick(types) as [number, number];
    const message = icmp(version, type, code, random.chance(50) ? 1400 : 0, about.subarray(14, 14 + length));
    const from = random.chance(70) ? destination : (random.pick(cluster.world)[version] ?? destination);
    const place = random.chance(85)
      ? at
      : { program: PROGRAM.fromNetdev, node: random.pick(cluster.nodes).node, endpoint: 0, mark: 0 };
    return { ...place, frame: frame(from, source, message, this.around(version)) };
  }

  /** In the tunnel, with an identity that may be anybody's; or from a place where it does not belong. */
  private forged({ seen, sent }: Kept): Arrival {
    const { random, cluster } = this;
    const to = random.pick(cluster.nodes);
    const place = {
      program: PROGRAM.fromNetdev,
      node: random.chance(90) ? to.node : random.pick(cluster.nodes).node,
      endpoint: 0,
      mark: 0,
    };
    if (random.chance(25)) return { ...random.pick(this.kept).at, frame: sent.frame };
    const inner = random.chance(60) ? seen.frame.subarray(0, seen.end) : this.opening().frame;
    if (cluster.tables.config.dsr?.dispatch === 'ipip' && random.chance(60)) {
      const backend = random.chance(70) ? random.pick(cluster.pods).addresses : random.pick(this.hosts);
      const version = seen.version;
      const opening = random.chance(70) ? this.opening().frame : inner;
      const frame = inIp(to.addresses[version] ?? LOOPBACK[version], backend[version] ?? LOOPBACK[version], opening);
      return { ...place, frame };
    }
    const identities = cluster.tables.endpointConfigs.map(({ identity }) => identity);
    const vni = random.pick([...identities, ...identities, 0, 1, 2, 6, 9, 0xffffff]);
    const from = random.chance(80) ? random.pick(cluster.nodes).addresses : random.pick(cluster.world);
    const { tunnel } = cluster.tables.config;
    const isGeneve = random.chance(95) ? tunnel === 'geneve' : tunnel !== 'geneve';
    const outer = isGeneve
      ? geneve(from[4]!, to.addresses[4]!, vni, inner, this.options(inner))
      : vxlan(from[4]!, to.addresses[4]!, vni, inner, random.chance(95) ? 8 : random.below(256));
    return { ...place, frame: outer };
  }

  /** Options of a Geneve header: mostly none, or the one that tells of a Service; seldom others, which may be critical. */
  private options(inner: Uint8Array): Uint8Array {
    const { random } = this;
    const draw = random.below(100);
    if (draw < 50) return new Uint8Array(0);
    const isIpv6 = inner[12] === 0x86 ? random.chance(95) : random.chance(5);
    const { address, port } = random.pick(this.listening[isIpv6 ? 6 : 4]) ?? {
      address: LOOPBACK[isIpv6 ? 6 : 4],
      port: 1,
    };
    const data = [...address].map((unit) => unit.charCodeAt(0));
    const known = geneveOption(0x014b, 0x81, [...data, port >> 8, port & 255, 0, 0]);
    if (draw < 85) return known;
    const other = geneveOption(random.pick([0x014b, 0x0102]), random.pick([0x01, 0x81, 0x80]), [1, 2, 3, 4]);
    return draw < 92 ? other : Uint8Array.from([...other, ...known]);
  }

  /** A packet of the same flow in pieces; those after the first come when they come. */
  private cut({ sent }: Kept): Arrival {
    const { random } = this;
    const packet = read(sent.frame);
    if (typeof packet === 'number' || packet.piece !== 'whole') return sent;
    const { version, flow } = packet;
    const { source, destination, sourcePort, destinationPort, protocol } = flow;
    const data = new Uint8Array(random.between(40, 120)).fill(random.below(256));
    const segment = PROTOCOLS.includes(protocol as 6)
      ? protocol === PROTOCOL.udp
        ? udp(sourcePort, destinationPort, data)
        : protocol === PROTOCOL.tcp
          ? tcp(sourcePort, destinationPort, random.pick(FLAGS), data)
          : sctp(sourcePort, destinationPort, data)
      : icmp(version, packet.icmpType, packet.icmpCode, 0x00420001, data);
    const id = random.pick([random.below(4), random.next()]);
    const cuts = [0, 32, 64, segment.bytes.length].filter((at, i, all) => i === 0 || at > all[i - 1]!);
    const pieces = cuts.slice(1).map((to, i): Arrival => {
      const from = cuts[i]!;
      const more = i < cuts.length - 2;
      const around =
        version === 4
          ? { fragment: (more ? 0x2000 : 0) | (from >> 3), id: id & 0xffff }
          : { extensions: [...(random.chance(20) ? [extension(0, 1)] : []), fragmentHeader(id, from, more)] };
      return { ...sent, frame: frame(source, destination, segment, { ...around, piece: [from, to] }) };
    });
    const inOrder = random.chance(85);
    const first = inOrder ? pieces.shift()! : pieces.pop()!;
    this.pieces.push(...pieces);
    if (this.pieces.length > 16) this.pieces = this.pieces.slice(-16);
    return first;
  }

  /** One thing wrong. */
  private mutate(bytes: Uint8Array): Uint8Array {
    const { random } = this;
    if (bytes.length === 0) return bytes;
    const header = Math.min(bytes.length, 110);
    switch (random.below(8)) {
      case 0:
        return bytes.slice(0, random.below(bytes.length + 1));
      case 1:
      case 2:
        for (let i = random.below(3); i >= 0; i--) bytes[random.below(header)]! ^= 1 << random.below(8);
        return bytes;
      case 3:
        bytes[random.below(bytes.length)] = random.next();
        return bytes;
      case 4:
      case 5:
        return this.lie(bytes);
      case 6: {
        const longer = new Uint8Array(Math.min(MAX_FRAME, bytes.length + random.between(1, 40)));
        longer.set(bytes);
        longer.fill(random.next(), bytes.length);
        return longer;
      }
      default: {
        // Shorter, with the IP header's consent.
        const at = bytes[12] === 0x86 ? 18 : 16;
        const by = random.below(40);
        if (bytes.length < 60 + by) return bytes;
        putWord(bytes, at, Math.max(0, word(bytes, at) - by));
        return random.chance(50) ? bytes.slice(0, bytes.length - by) : bytes;
      }
    }
  }

  /** A length, a kind or a number that says something else; where it stands in a plain packet, one that is quoted, or one in the tunnel. */
  private lie(bytes: Uint8Array): Uint8Array {
    const { random } = this;
    const isIpv6 = bytes[12] === 0x86;
    const plain = isIpv6
      ? [18, 19, 20, 21, 54, 55, 56, 57, 58, 59, 66, 67, 14]
      : [14, 16, 17, 20, 21, 22, 23, 34, 35, 38, 39, 46, 47, 12];
    const deeper = isIpv6 ? 48 : 28;
    const at = random.pick(plain) + random.pick([0, 0, 0, 0, deeper, 50]);
    if (at >= bytes.length) return bytes;
    bytes[at] = random.pick([0, 1, 0xff, bytes[at]! + 1, bytes[at]! - 1, bytes[at]! ^ 0x10, random.next()]);
    return bytes;
  }
}
