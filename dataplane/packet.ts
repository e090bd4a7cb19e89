/** Frames as bytes: made for a question, and read back from the datapath. RFC 791, 8200, 9293, 768, 9260, 792, 4443. */
import { IpProto } from '../assembly/abi.js';
import { isIpv6, type Address } from './addresses.js';

export const isIcmp = (protocol: number): boolean => protocol === IpProto.ICMP || protocol === IpProto.ICMPV6;

/** Addresses and ports in host order. */
export interface Tuple {
  readonly source: Address;
  /** Of the source's family. */
  readonly destination: Address;
  /** An IP protocol number. */
  readonly protocol: number;
  /** Of ICMP, the identifier of an echo; 0 for other messages. */
  readonly sourcePort: number;
  /** Of ICMP, the type of the message, as the policymap has it. */
  readonly destinationPort: number;
}

export const PROTOCOL_NAMES: Readonly<Record<number, string>> = {
  [IpProto.TCP]: 'TCP',
  [IpProto.UDP]: 'UDP',
  [IpProto.SCTP]: 'SCTP',
  [IpProto.ICMP]: 'ICMP',
  [IpProto.IPIP]: 'IPIP',
  [IpProto.IPV6]: 'IPv6',
  [IpProto.ICMPV6]: 'ICMPv6',
};

export const protocolName = (protocol: number): string => PROTOCOL_NAMES[protocol] ?? `${protocol}`;

/** `TCP 80`, `ICMP type 8`. */
export function trafficName(protocol: number, destinationPort: number): string {
  const name = protocolName(protocol);
  return isIcmp(protocol) ? `${name} type ${destinationPort}` : `${name} ${destinationPort}`;
}

/** Messages that carry an identifier, and the type of what answers each. RFC 792, RFC 4443. */
const ECHOES: Readonly<Record<number, ReadonlyMap<number, number>>> = {
  [IpProto.ICMP]: new Map([
    [8, 0],
    [13, 14],
    [15, 16],
  ]),
  [IpProto.ICMPV6]: new Map([[128, 129]]),
};

function hasIdentifier(protocol: number, type: number): boolean {
  return [...(ECHOES[protocol] ?? [])].some((types) => types.includes(type));
}

const ETHERNET = 14;
const IPV4 = 20;
const IPV6 = 40;
/** Bytes of the transport header, and of a little payload where the protocol opens with one. */
const TRANSPORT: Readonly<Record<number, number>> = {
  [IpProto.TCP]: 20,
  [IpProto.UDP]: 8 + 18,
  [IpProto.SCTP]: 12 + 20,
  [IpProto.ICMP]: 8 + 32,
  [IpProto.ICMPV6]: 8 + 32,
};
/** Bytes of an ICMP header, and of a UDP one. */
const HEADER = 8;
const HOP_LIMIT = 64;
const SYN = 0x02;
const SYN_ACK = 0x12;

/** The Internet checksum of some bytes, starting from a sum of others. RFC 1071. */
export function checksum(bytes: Uint8Array, sum = 0): number {
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** The first packet of a flow, or (with `reply`) the first one back, with right checksums and an ordinary TTL. */
export function frameOf(tuple: Tuple, reply = false): Uint8Array {
  const { source, destination, protocol } = tuple;
  const cause = causeOf(tuple);
  const length = cause ? HEADER + cause.length : (TRANSPORT[protocol] ?? HEADER);
  const l4 = ETHERNET + (isIpv6(source) ? IPV6 : IPV4);
  const frame = new Uint8Array(l4 + length);
  const view = new DataView(frame.buffer);
  if (isIpv6(source) || isIpv6(destination)) writeIpv6(view, BigInt(source), BigInt(destination), protocol, length);
  else writeIpv4(frame, view, source, destination, protocol, length);
  if (cause) frame.set(cause, l4 + HEADER);
  writeTransport(frame.subarray(l4), tuple, reply);
  return frame;
}

function writeIpv4(
  frame: Uint8Array,
  view: DataView,
  source: number,
  destination: number,
  protocol: number,
  length: number,
): void {
  view.setUint16(12, 0x0800);
  view.setUint8(14, 0x45);
  view.setUint16(16, IPV4 + length);
  view.setUint16(20, 0x4000);
  view.setUint8(22, HOP_LIMIT);
  view.setUint8(23, protocol);
  view.setUint32(26, source);
  view.setUint32(30, destination);
  view.setUint16(24, checksum(frame.subarray(ETHERNET, ETHERNET + IPV4)));
}

function writeIpv6(view: DataView, source: bigint, destination: bigint, protocol: number, length: number): void {
  view.setUint16(12, 0x86dd);
  view.setUint8(14, 0x60);
  view.setUint16(18, length);
  view.setUint8(20, protocol);
  view.setUint8(21, HOP_LIMIT);
  writeWide(view, 22, source);
  writeWide(view, 38, destination);
}

function writeWide(view: DataView, at: number, address: bigint): void {
  view.setBigUint64(at, address >> 64n);
  view.setBigUint64(at + 8, address & 0xffff_ffff_ffff_ffffn);
}

const readWide = (view: DataView, at: number): bigint => (view.getBigUint64(at) << 64n) | view.getBigUint64(at + 8);

/** SCTP's own checksum stays 0: the datapath leaves it to the ends. */
function writeTransport(segment: Uint8Array, tuple: Tuple, reply: boolean): void {
  const { protocol, sourcePort, destinationPort } = tuple;
  const view = new DataView(segment.buffer, segment.byteOffset);
  if (isIcmp(protocol)) {
    view.setUint8(0, destinationPort);
    if (hasIdentifier(protocol, destinationPort)) {
      view.setUint16(4, sourcePort);
      view.setUint16(6, 1);
    }
    view.setUint16(2, checksum(segment, protocol === IpProto.ICMPV6 ? pseudoSum(tuple, segment.length) : 0));
    return;
  }
  view.setUint16(0, sourcePort);
  view.setUint16(2, destinationPort);
  if (protocol === IpProto.TCP) {
    view.setUint8(12, 0x50);
    view.setUint8(13, reply ? SYN_ACK : SYN);
    view.setUint16(14, 0xfaf0);
    view.setUint16(16, checksum(segment, pseudoSum(tuple, segment.length)));
  } else if (protocol === IpProto.UDP) {
    view.setUint16(4, segment.length);
    // 0 would stand for no checksum, which IPv6 forbids.
    view.setUint16(6, checksum(segment, pseudoSum(tuple, segment.length)) || 0xffff);
  }
}

/** The sum of the pseudo header. RFC 9293, section 3.1; RFC 8200, section 8.1. */
const pseudoSum = ({ source, destination, protocol }: Tuple, length: number): number =>
  wordSum(source) + wordSum(destination) + protocol + length;

function wordSum(address: Address): number {
  let sum = 0;
  for (let rest = BigInt(address); rest > 0n; rest >>= 16n) sum += Number(rest & 0xffffn);
  return sum;
}

/** Types that tell of an error, and quote the packet that it is about: unreachable, too big, time exceeded and the like. */
const isError = (protocol: number, type: number): boolean =>
  protocol === IpProto.ICMPV6 ? type < 128 : protocol === IpProto.ICMP && [3, 4, 5, 11, 12].includes(type);

/** What an error message quotes: a packet of the destination's to the source, its header and eight bytes more. null for other messages. */
function causeOf({ source, destination, protocol, destinationPort }: Tuple): Uint8Array | null {
  if (!isError(protocol, destinationPort)) return null;
  const quoted = { source: destination, destination: source, protocol: IpProto.UDP, sourcePort: 0, destinationPort: 0 };
  return frameOf(quoted).subarray(ETHERNET, ETHERNET + (isIpv6(source) ? IPV6 : IPV4) + HEADER);
}

/** An IPv6 header of options for the destination. RFC 8200 section 4.6. */
const DESTINATION_OPTIONS = 60;

/**
 * The tuple of a whole, unencapsulated frame; null for one too short to have one. Of IPv6's extension headers there may be that
 * which the datapath itself puts in: options for the destination, first.
 */
export function tupleOf(frame: Uint8Array): Tuple | null {
  if (frame.length < ETHERNET + IPV4 + 4) return null;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const wide = view.getUint16(12) === 0x86dd;
  let l4 = ETHERNET + (wide ? IPV6 : (view.getUint8(14) & 15) * 4);
  if (l4 + 4 > frame.length) return null;
  let protocol = view.getUint8(wide ? 20 : 23);
  if (wide && protocol === DESTINATION_OPTIONS) {
    protocol = view.getUint8(l4);
    l4 += (view.getUint8(l4 + 1) + 1) * 8;
    if (l4 + 4 > frame.length) return null;
  }
  const ends = wide
    ? { source: readWide(view, 22), destination: readWide(view, 38), protocol }
    : { source: view.getUint32(26), destination: view.getUint32(30), protocol };
  if (!isIcmp(ends.protocol))
    return { ...ends, sourcePort: view.getUint16(l4), destinationPort: view.getUint16(l4 + 2) };
  const type = view.getUint8(l4);
  const identified = hasIdentifier(ends.protocol, type) && l4 + 6 <= frame.length;
  return { ...ends, sourcePort: identified ? view.getUint16(l4 + 4) : 0, destinationPort: type };
}

/** The tuple of the way back; null for an ICMP message that nothing answers. */
export function reversed({ source, destination, protocol, sourcePort, destinationPort }: Tuple): Tuple | null {
  const ends = { source: destination, destination: source, protocol };
  if (!isIcmp(protocol)) return { ...ends, sourcePort: destinationPort, destinationPort: sourcePort };
  const type = ECHOES[protocol]?.get(destinationPort);
  return type === undefined ? null : { ...ends, sourcePort, destinationPort: type };
}
