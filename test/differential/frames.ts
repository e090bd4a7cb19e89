/** Frames from what shall be in them, with checksums that hold unless they shall not. */
import {
  checksumFor,
  putAddress,
  putWord,
  sumOf,
  sumOfAddress,
  type Address,
  type Version,
} from '../reference/bytes.js';
import { PROTOCOL } from '../reference/numbers.js';

/** Added to a checksum, so that it is wrong; 0 leaves it right. */
const spoil = (bytes: Uint8Array, at: number, by: number): void => {
  if (by !== 0) putWord(bytes, at, (((bytes[at]! << 8) | bytes[at + 1]!) + by) & 0xffff);
};

export interface Segment {
  readonly protocol: number;
  /** Transport header and data, without a checksum. */
  readonly bytes: Uint8Array;
  /** Where the checksum goes; -1 for none. */
  readonly checksumAt: number;
}

export function tcp(sport: number, dport: number, flags: number, data: Uint8Array, options = 0): Segment {
  const bytes = new Uint8Array(20 + options * 4 + data.length);
  putWord(bytes, 0, sport);
  putWord(bytes, 2, dport);
  bytes[7] = 1;
  bytes[12] = (5 + options) << 4;
  bytes[13] = flags;
  putWord(bytes, 14, 0xffff);
  bytes.fill(1, 20, 20 + options * 4);
  bytes.set(data, 20 + options * 4);
  return { protocol: PROTOCOL.tcp, bytes, checksumAt: 16 };
}

export function udp(sport: number, dport: number, data: Uint8Array, isSummed = true): Segment {
  const bytes = new Uint8Array(8 + data.length);
  putWord(bytes, 0, sport);
  putWord(bytes, 2, dport);
  putWord(bytes, 4, bytes.length);
  bytes.set(data, 8);
  return { protocol: PROTOCOL.udp, bytes, checksumAt: isSummed ? 6 : -1 };
}

export function sctp(sport: number, dport: number, data: Uint8Array): Segment {
  const bytes = new Uint8Array(12 + data.length);
  putWord(bytes, 0, sport);
  putWord(bytes, 2, dport);
  bytes.set(data, 12);
  return { protocol: PROTOCOL.sctp, bytes, checksumAt: -1 };
}

/** `rest` is the second word: id and sequence of an echo, or an MTU. */
export function icmp(version: Version, type: number, code: number, rest: number, data: Uint8Array): Segment {
  const bytes = new Uint8Array(8 + data.length);
  bytes[0] = type;
  bytes[1] = code;
  putWord(bytes, 4, rest >>> 16);
  putWord(bytes, 6, rest & 0xffff);
  bytes.set(data, 8);
  return { protocol: version === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6, bytes, checksumAt: 2 };
}

export interface Around {
  readonly ttl?: number;
  /** IPv4 options, in words; IPv6 extension headers. */
  readonly options?: number;
  readonly extensions?: readonly (readonly [kind: number, bytes: Uint8Array])[];
  /** IPv4 options in front of those. */
  readonly option?: readonly number[];
  /** IPv4 flags and offset. */
  readonly fragment?: number;
  readonly id?: number;
  readonly tos?: number;
  /** Added to the checksums of the IP header and of the transport. */
  readonly wrong?: readonly [header: number, transport: number];
  /** Bytes behind the packet. */
  readonly padding?: number;
  /** From and to which byte of the segment this piece goes. */
  readonly piece?: readonly [from: number, to: number];
}

const ETHERNET = Uint8Array.of(2, 0x0a, 0, 0, 0, 1, 2, 0x0b, 0, 0, 0, 2);

/** A whole frame; the checksum covers the whole segment also where only a piece of it is sent. */
export function frame(source: Address, destination: Address, segment: Segment, around: Around = {}): Uint8Array {
  const version: Version = source.length === 4 ? 4 : 6;
  const { ttl = 64, options = 0, extensions = [], option = [], wrong = [0, 0], padding = 0 } = around;
  const { protocol, bytes, checksumAt } = segment;
  if (checksumAt >= 0) {
    putWord(bytes, checksumAt, 0);
    const ends = sumOfAddress(source) + sumOfAddress(destination) + bytes.length + protocol;
    const sum = checksumFor((protocol === PROTOCOL.icmp ? 0 : ends) + sumOf(bytes));
    putWord(bytes, checksumAt, protocol === PROTOCOL.udp && sum === 0 ? 0xffff : sum);
    spoil(bytes, checksumAt, wrong[1]);
  }
  const [from, to] = around.piece ?? [0, bytes.length];
  const body = bytes.subarray(from, to);
  const extended = extensions.reduce((sum, [, own]) => sum + own.length, 0);
  const headerLength = version === 4 ? 20 + option.length + options * 4 : 40 + extended;
  const out = new Uint8Array(14 + headerLength + body.length + padding);
  out.set(ETHERNET);
  putWord(out, 12, version === 4 ? 0x0800 : 0x86dd);
  const header = out.subarray(14, 14 + headerLength);
  if (version === 4) {
    header[0] = 0x40 | (headerLength >> 2);
    header[1] = around.tos ?? 0;
    putWord(header, 2, headerLength + body.length);
    putWord(header, 4, around.id ?? 0x1111);
    putWord(header, 6, around.fragment ?? 0x4000);
    header[8] = ttl;
    header[9] = protocol;
    putAddress(header, 12, source);
    putAddress(header, 16, destination);
    header.fill(1, 20);
    header.set(option, 20);
    putWord(header, 10, checksumFor(sumOf(header)));
    spoil(header, 10, wrong[0]);
  } else {
    header[0] = 0x60;
    header[3] = around.tos ?? 0;
    putWord(header, 4, extended + body.length);
    header[6] = extensions[0]?.[0] ?? protocol;
    header[7] = ttl;
    putAddress(header, 8, source);
    putAddress(header, 24, destination);
    let at = 40;
    for (const [i, [, own]] of extensions.entries()) {
      header.set(own, at);
      header[at] = extensions[i + 1]?.[0] ?? protocol;
      at += own.length;
    }
  }
  out.set(body, 14 + headerLength);
  out.fill(0xee, 14 + headerLength + body.length);
  return out;
}

/** An extension header of `units` times 8 bytes; of an authentication header the length counts otherwise. */
export function extension(kind: number, units: number): readonly [number, Uint8Array] {
  const bytes = new Uint8Array(units * 8);
  bytes[1] = kind === 51 ? units * 2 - 2 : units - 1;
  return [kind, bytes];
}

/** A whole frame in an IP header of its family, as direct server return sends it. */
export function inIp(source: Address, destination: Address, inner: Uint8Array): Uint8Array {
  return frame(source, destination, { protocol: source.length === 4 ? 4 : 41, bytes: inner.slice(14), checksumAt: -1 });
}

/** `offset` in bytes. */
export function fragmentHeader(id: number, offset: number, more: boolean): readonly [number, Uint8Array] {
  const bytes = new Uint8Array(8);
  putWord(bytes, 2, offset | (more ? 1 : 0));
  putWord(bytes, 4, id >>> 16);
  putWord(bytes, 6, id & 0xffff);
  return [44, bytes];
}

/** A frame in a VXLAN. */
export function vxlan(source: Address, destination: Address, vni: number, inner: Uint8Array, flags = 8): Uint8Array {
  const header = new Uint8Array(8);
  header[0] = flags;
  return tunnelled(source, destination, 8472, vni, header, inner);
}

/** A frame in Geneve, with `options` whatever they are. */
export function geneve(
  source: Address,
  destination: Address,
  vni: number,
  inner: Uint8Array,
  options: Uint8Array,
): Uint8Array {
  const header = new Uint8Array(8 + options.length);
  header.set([options.length >> 2, options.length > 0 ? 0x40 : 0, 0x65, 0x58]);
  header.set(options, 8);
  return tunnelled(source, destination, 6081, vni, header, inner);
}

function tunnelled(
  source: Address,
  destination: Address,
  port: number,
  vni: number,
  header: Uint8Array,
  inner: Uint8Array,
): Uint8Array {
  putWord(header, 4, (vni >>> 8) & 0xffff);
  header[6] = vni & 255;
  const data = new Uint8Array(header.length + inner.length);
  data.set(header);
  data.set(inner, header.length);
  return frame(source, destination, udp(50000, port, data, false));
}

/** An option of Geneve's: its class and type, and as many words of data as there are. */
export function geneveOption(optionClass: number, type: number, data: readonly number[]): Uint8Array {
  const bytes = Uint8Array.of(0, 0, type, data.length / 4, ...data);
  putWord(bytes, 0, optionClass);
  return bytes;
}
