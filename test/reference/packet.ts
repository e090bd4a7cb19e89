/** A packet: what was read, never changed, and what has been decided about it since. */
import type { Address, Version } from './bytes.js';
import { ICMP, ICMPV6, PROTOCOL } from './numbers.js';

/** Who speaks to whom. Of an echo, the id is the port of the side that asks; other ICMP has none. */
export interface Flow {
  readonly source: Address;
  readonly destination: Address;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly protocol: number;
}

/** The packet that an ICMP error is about, as far as it is quoted. */
export interface Quote {
  /** Where its IP header and its transport header stand in the frame. */
  readonly at: number;
  readonly transportAt: number;
  readonly was: Flow;
  readonly flow: Flow;
}

export type Piece = 'whole' | 'first' | 'later';

/** Bytes of an Ethernet header, behind which the IP header starts. */
export const ETHERNET = 14;

export interface Packet {
  /** All that was read. The IP header, with its options or extension headers, goes to `bodyAt`; what it claims, to `end`. */
  readonly frame: Uint8Array;
  readonly bodyAt: number;
  readonly end: number;
  readonly version: Version;
  readonly piece: Piece;
  /** What the pieces of one packet share. */
  readonly fragmentId: number;
  /** Nobody on the way may cut it in pieces. */
  readonly dontFragment: boolean;
  readonly tcpFlags: number;
  readonly icmpType: number;
  readonly icmpCode: number;
  /** The flow as it was read, and as it is now. */
  readonly was: Flow;
  readonly flow: Flow;
  readonly ttl: number;
  readonly quote: Quote | null;
  /** Hardware addresses of the next hop; null for those in the frame. */
  readonly hop: { readonly destination: Uint8Array; readonly source: Uint8Array } | null;
  /** Whether the IP header was written since, and the transport header: their checksums are then made anew. */
  readonly rewritten: boolean;
  readonly routed: boolean;
}

/** Bytes of the IP packet. */
export const lengthOf = ({ end }: Packet): number => end - ETHERNET;

export const icmpOf = (version: Version): number => (version === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6);

export const isIcmp = (packet: Packet): boolean => packet.flow.protocol === icmpOf(packet.version);

export const isEcho = (version: Version, type: number): boolean => type === (version === 4 ? ICMP.echo : ICMPV6.echo);

export const isEchoReply = (version: Version, type: number): boolean =>
  type === (version === 4 ? ICMP.echoReply : ICMPV6.echoReply);

const ERRORS: Readonly<Record<Version, readonly number[]>> = {
  4: [ICMP.unreachable, ICMP.timeExceeded, ICMP.parameterProblem],
  6: [ICMPV6.unreachable, ICMPV6.packetTooBig, ICMPV6.timeExceeded, ICMPV6.parameterProblem],
};

export const isError = (version: Version, type: number): boolean => ERRORS[version].includes(type);

/** The way back. */
export const turned = ({ source, destination, sourcePort, destinationPort, protocol }: Flow): Flow => ({
  source: destination,
  destination: source,
  sourcePort: destinationPort,
  destinationPort: sourcePort,
  protocol,
});

export const withFlow = (packet: Packet, change: Partial<Flow>): Packet => ({
  ...packet,
  flow: { ...packet.flow, ...change },
  rewritten: true,
});

export const withQuote = (packet: Packet, change: Partial<Flow>): Packet => {
  const quote = packet.quote!;
  return { ...packet, quote: { ...quote, flow: { ...quote.flow, ...change } }, rewritten: true };
};

/** One router further. */
export const withOneHopLess = (packet: Packet): Packet => ({ ...packet, ttl: packet.ttl - 1, routed: true });
