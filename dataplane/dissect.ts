/** A frame layer by layer, as Cilium's monitor and Hubble read it. RFC 791, 8200, 9293, 768, 9260, 792, 4443, 7348, 8926. */
import { GENEVE_PORT, IpProto, VXLAN_PORT } from '../assembly/abi.js';

/** One IP packet: its addresses as text, and what it carries. */
export interface Packet {
  readonly ip: IpLayer | null;
  readonly l4: L4Layer | null;
}

/** What could be read of a frame; a layer that is cut off or of another kind is null, and so is all within it. */
export interface Dissected extends Packet {
  readonly ethernet: { readonly source: string; readonly destination: string; readonly type: number } | null;
  /** The packet around this one. */
  readonly tunnel: (Packet & Overlay) | null;
}

interface Overlay {
  readonly protocol: 'VXLAN' | 'GENEVE';
  readonly vni: number;
}

export interface IpLayer {
  readonly version: 4 | 6;
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
}

interface Ports<Kind extends string> {
  readonly kind: Kind;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export interface IcmpLayer {
  readonly kind: 'ICMPv4' | 'ICMPv6';
  readonly type: number;
  readonly code: number;
}

export type TransportLayer =
  | (Ports<'TCP'> & { readonly flags: TcpFlags })
  | Ports<'UDP'>
  | (Ports<'SCTP'> & { /** Type of the first chunk. */ readonly chunk: number });

export type L4Layer = TransportLayer | IcmpLayer;

export const isIcmp = (l4: L4Layer): l4 is IcmpLayer => l4.kind === 'ICMPv4' || l4.kind === 'ICMPv6';

/** Names of the flags that are set, in the order of Hubble's message `TCPFlags`. */
export type TcpFlags = readonly (typeof TCP_FLAGS)[number][];

/** By their bits, lowest first. */
const TCP_FLAGS = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'] as const;

const ICMP = 1;
const ICMPV6 = 58;
/** Nothing follows that could be read: IPv6's own number for it, RFC 8200 section 4.7. */
const NO_NEXT_HEADER = 59;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const ETHERNET_LENGTH = 14;
const OVERLAY_LENGTH = 8;
/** Set where the header has a valid VNI. RFC 7348 section 5. */
const VXLAN_VALID = 0x08;
/** The payload is a frame. RFC 8926 section 3.4. */
const GENEVE_ETHERNET = 0x6558;

const hex = (byte: number): string => byte.toString(16).padStart(2, '0');

/** IPv6 extension headers that tell their own length: hop-by-hop, routing and destination options. RFC 8200 section 4. */
const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 60]);

/** Bytes read in order. Each read answers null once there are too few. */
class Reader {
  constructor(
    private readonly bytes: Uint8Array,
    private at = 0,
  ) {}

  take(length: number): Uint8Array | null {
    if (this.at + length > this.bytes.length) return null;
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  get rest(): Uint8Array {
    return this.bytes.subarray(this.at);
  }
}

const word = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;

/** `overlay`: at this place a frame may be the tunnel's, and what is looked for is inside of it. */
export function dissect(frame: Uint8Array, overlay: boolean): Dissected {
  const { payload, ...layers } = dissectFrame(frame);
  const { ip, l4 } = layers;
  const tunnel = overlay && l4?.kind === 'UDP' ? readOverlay(payload, l4.destinationPort) : null;
  if (!tunnel) return { ...layers, tunnel: null };
  const { ethernet, ...packet } = dissectFrame(payload.subarray(tunnel.length));
  const { protocol, vni } = tunnel;
  return { ethernet, ip: packet.ip, l4: packet.l4, tunnel: { ip, l4, protocol, vni } };
}

/** The header of a tunnel, to whose port a datagram goes, and its length; null for what is none. */
function readOverlay(payload: Uint8Array, port: number): (Overlay & { readonly length: number }) | null {
  if (payload.length < OVERLAY_LENGTH) return null;
  const [first] = payload;
  const vni = (payload[4]! << 16) | word(payload, 5);
  if (port === VXLAN_PORT && (first! & VXLAN_VALID) !== 0) return { protocol: 'VXLAN', vni, length: OVERLAY_LENGTH };
  // Version 0, and in the same byte the length of the options in words.
  const isGeneve = port === GENEVE_PORT && first! >> 6 === 0 && word(payload, 2) === GENEVE_ETHERNET;
  return isGeneve ? { protocol: 'GENEVE', vni, length: OVERLAY_LENGTH + first! * 4 } : null;
}

type Frame = Omit<Dissected, 'tunnel'> & { readonly payload: Uint8Array };

function dissectFrame(frame: Uint8Array): Frame {
  const reader = new Reader(frame);
  const header = reader.take(ETHERNET_LENGTH);
  if (!header) return { ethernet: null, ip: null, l4: null, payload: reader.rest };
  const type = word(header, 12);
  const ethernet = { destination: mac(header.subarray(0, 6)), source: mac(header.subarray(6, 12)), type };
  const ip = type === IPV4 ? readIpv4(reader) : type === IPV6 ? readIpv6(reader) : null;
  const l4 = ip && readL4(reader, ip.protocol);
  return { ethernet, ip, l4, payload: reader.rest };
}

const mac = (bytes: Uint8Array): string => Array.from(bytes, hex).join(':');

function readIpv4(reader: Reader): IpLayer | null {
  const header = reader.take(20);
  if (!header || reader.take(Math.max(0, (header[0]! & 15) - 5) * 4) === null) return null;
  const isLaterFragment = (word(header, 6) & 0x1fff) !== 0;
  return {
    version: 4,
    source: header.subarray(12, 16).join('.'),
    destination: header.subarray(16, 20).join('.'),
    protocol: isLaterFragment ? NO_NEXT_HEADER : header[9]!,
  };
}

function readIpv6(reader: Reader): IpLayer | null {
  const header = reader.take(40);
  if (!header) return null;
  let protocol = header[6]!;
  while (EXTENSIONS.has(protocol)) {
    const extension = reader.take(8);
    if (!extension) break;
    protocol = extension[0]!;
    if (reader.take(extension[1]! * 8) === null) break;
  }
  return {
    version: 6,
    source: ipv6Text(header.subarray(8, 24)),
    destination: ipv6Text(header.subarray(24, 40)),
    protocol,
  };
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups as `::`. */
function ipv6Text(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => word(bytes, 2 * i));
  let start = 0;
  let longest = 1;
  for (let i = 0, run = 0; i < 8; i++) {
    run = groups[i] === 0 ? run + 1 : 0;
    if (run > longest) [longest, start] = [run, i - run + 1];
  }
  const text = (some: readonly number[]): string => some.map((group) => group.toString(16)).join(':');
  return longest === 1 ? text(groups) : `${text(groups.slice(0, start))}::${text(groups.slice(start + longest))}`;
}

function readL4(reader: Reader, protocol: number): L4Layer | null {
  switch (protocol) {
    case IpProto.TCP: {
      const header = reader.take(20);
      const flags = TCP_FLAGS.filter((_, bit) => ((header?.[13] ?? 0) & (1 << bit)) !== 0);
      return header && { kind: 'TCP', sourcePort: word(header, 0), destinationPort: word(header, 2), flags };
    }
    case IpProto.UDP: {
      const header = reader.take(8);
      return header && { kind: 'UDP', sourcePort: word(header, 0), destinationPort: word(header, 2) };
    }
    case IpProto.SCTP: {
      const header = reader.take(12);
      const chunk = reader.rest[0] ?? 0;
      return header && { kind: 'SCTP', sourcePort: word(header, 0), destinationPort: word(header, 2), chunk };
    }
    case ICMP:
    case ICMPV6: {
      const header = reader.take(4);
      return header && { kind: protocol === ICMP ? 'ICMPv4' : 'ICMPv6', type: header[0]!, code: header[1]! };
    }
  }
  return null;
}
