/**
 * From bytes to a packet, or to the reason why it is none: Ethernet II (IEEE 802.3), IPv4 (RFC 791), IPv6 (RFC 8200), TCP
 * (RFC 9293), UDP (RFC 768), SCTP (RFC 9260), ICMP (RFC 792) and ICMPv6 (RFC 4443).
 */
import { addressAt, word, type Version } from './bytes.js';
import { DROP, PROTOCOL } from './numbers.js';
import {
  ETHERNET,
  icmpOf,
  isEcho,
  isEchoReply,
  isError,
  type Flow,
  type Packet,
  type Piece,
  type Quote,
} from './packet.js';

const ETHERTYPE = { ipv4: 0x0800, ipv6: 0x86dd, vlan: 0x8100, qinq: 0x88a8 } as const;
/** IPv6 headers between the first and the transport. RFC 8200 section 4, RFC 4302. */
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const NO_NEXT_HEADER = 59;
const DESTINATION = 60;
/** Cilium `IPV6_MAX_HEADERS`. */
const MAX_EXTENSIONS = 4;
/** RFC 792: an error quotes so much of the transport header at least. */
const QUOTED = 8;

/** Where the addresses stand in a header. */
const SOURCE_AT: Readonly<Record<Version, number>> = { 4: 12, 6: 8 };
const DESTINATION_AT: Readonly<Record<Version, number>> = { 4: 16, 6: 24 };

/** A packet, or the number of the reason for which it is dropped. */
export function read(frame: Uint8Array): Packet | number {
  const layer3 = readLayer3(frame);
  if (typeof layer3 === 'number') return layer3;
  const { version, bodyAt, end, protocol, piece, fragmentId } = layer3;
  const layer4 = piece === 'later' ? UNKNOWN : readTransport(frame, layer3);
  if (typeof layer4 === 'number') return layer4;
  const { sourcePort, destinationPort, tcpFlags, icmpType, icmpCode, quote } = layer4;
  const flow = flowAt(frame, ETHERNET, version, protocol, sourcePort, destinationPort);
  return {
    frame,
    bodyAt,
    end,
    version,
    piece,
    fragmentId,
    dontFragment: version === 6 || (frame[ETHERNET + 6]! & 0x40) !== 0,
    tcpFlags,
    icmpType,
    icmpCode,
    was: flow,
    flow,
    ttl: frame[ETHERNET + (version === 4 ? 8 : 7)]!,
    quote,
    hop: null,
    rewritten: false,
    routed: false,
  };
}

/** Ethernet and IP. */
export function readLayer3(frame: Uint8Array): Layer3 | number {
  if (frame.length < ETHERNET) return DROP.unsupportedL2;
  const type = word(frame, 12);
  return type === ETHERTYPE.ipv4 ? readIpv4(frame) : type === ETHERTYPE.ipv6 ? readIpv6(frame) : ofOther(type);
}

const flowAt = (
  frame: Uint8Array,
  at: number,
  version: Version,
  protocol: number,
  sourcePort: number,
  destinationPort: number,
): Flow => ({
  source: addressAt(frame, at + SOURCE_AT[version], version),
  destination: addressAt(frame, at + DESTINATION_AT[version], version),
  sourcePort,
  destinationPort,
  protocol,
});

/** Not IP: an IEEE 802.3 length where the type should be, a VLAN's tag, or another protocol. */
function ofOther(type: number): number {
  if (type === ETHERTYPE.vlan || type === ETHERTYPE.qinq) return DROP.vlanFiltered;
  return type < 0x600 ? DROP.unsupportedL2 : DROP.unknownL3;
}

interface Layer3 {
  readonly version: Version;
  readonly bodyAt: number;
  readonly end: number;
  readonly protocol: number;
  readonly piece: Piece;
  readonly fragmentId: number;
}

const pieceOf = (offset: number, more: boolean): Piece => (offset > 0 ? 'later' : more ? 'first' : 'whole');

function readIpv4(frame: Uint8Array): Layer3 | number {
  const available = frame.length - ETHERNET;
  if (available < 20) return DROP.invalid;
  const first = frame[ETHERNET]!;
  const headerLength = (first & 15) * 4;
  const total = word(frame, ETHERNET + 2);
  if (first >>> 4 !== 4 || headerLength < 20 || total < headerLength || total > available) return DROP.invalid;
  const cut = word(frame, ETHERNET + 6);
  return {
    version: 4,
    bodyAt: ETHERNET + headerLength,
    end: ETHERNET + total,
    protocol: frame[ETHERNET + 9]!,
    piece: pieceOf(cut & 0x1fff, (cut & 0x2000) !== 0),
    fragmentId: word(frame, ETHERNET + 4),
  };
}

function readIpv6(frame: Uint8Array): Layer3 | number {
  let at = ETHERNET + 40;
  if (frame.length < at || frame[ETHERNET]! >>> 4 !== 6) return DROP.invalid;
  const end = at + word(frame, ETHERNET + 4);
  if (end > frame.length) return DROP.invalid;
  let protocol = frame[ETHERNET + 6]!;
  let piece: Piece = 'whole';
  let fragmentId = 0;
  for (let count = 0; piece !== 'later' && isExtension(protocol); count++) {
    if (protocol === NO_NEXT_HEADER || count === MAX_EXTENSIONS || at + 8 > end) return DROP.invalidExtensionHeader;
    const next = at + extensionLength(protocol, frame[at + 1]!);
    if (next > end) return DROP.invalidExtensionHeader;
    if (protocol === FRAGMENT) {
      const cut = word(frame, at + 2);
      // A header that says "not cut" after one that says otherwise takes nothing back.
      const told = pieceOf(cut >>> 3, (cut & 1) !== 0);
      piece = told === 'whole' ? piece : told;
      fragmentId = word(frame, at + 4) * 0x10000 + word(frame, at + 6);
    }
    protocol = frame[at]!;
    at = next;
  }
  return { version: 6, bodyAt: at, end, protocol, piece, fragmentId };
}

const isExtension = (kind: number): boolean =>
  kind === HOP_BY_HOP ||
  kind === ROUTING ||
  kind === FRAGMENT ||
  kind === AUTHENTICATION ||
  kind === NO_NEXT_HEADER ||
  kind === DESTINATION;

/** RFC 8200 section 4: units of 8 bytes without the first; RFC 4302: of 4 bytes without the first two; a fragment's has one size. */
function extensionLength(kind: number, length: number): number {
  if (kind === FRAGMENT) return 8;
  return kind === AUTHENTICATION ? (length + 2) * 4 : (length + 1) * 8;
}

interface Layer4 {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly tcpFlags: number;
  readonly icmpType: number;
  readonly icmpCode: number;
  readonly quote: Quote | null;
}

const UNKNOWN: Layer4 = { sourcePort: 0, destinationPort: 0, tcpFlags: 0, icmpType: 0, icmpCode: 0, quote: null };

function readTransport(frame: Uint8Array, { version, protocol, bodyAt, end, piece }: Layer3): Layer4 | number {
  if (protocol === icmpOf(version)) return readIcmp(frame, version, bodyAt, end);
  if (!isPorted(protocol)) return DROP.ctUnknownProtocol;
  if (!isWhole(frame, protocol, bodyAt, end, piece)) return DROP.ctInvalidHeader;
  return {
    sourcePort: word(frame, bodyAt),
    destinationPort: word(frame, bodyAt + 2),
    tcpFlags: protocol === PROTOCOL.tcp ? frame[bodyAt + 13]! : 0,
    icmpType: 0,
    icmpCode: 0,
    quote: null,
  };
}

const isPorted = (protocol: number): boolean =>
  protocol === PROTOCOL.tcp || protocol === PROTOCOL.udp || protocol === PROTOCOL.sctp;

/** Whether the header, and the length that it claims, are there; a first piece has not all that UDP's length claims. */
function isWhole(frame: Uint8Array, protocol: number, at: number, end: number, piece: Piece): boolean {
  const available = end - at;
  if (protocol === PROTOCOL.sctp) return available >= 12;
  if (protocol === PROTOCOL.udp) {
    const claimed = available >= 8 ? word(frame, at + 4) : 0;
    return claimed >= 8 && (claimed <= available || piece === 'first');
  }
  const headerLength = available >= 20 ? (frame[at + 12]! >>> 4) * 4 : 0;
  return headerLength >= 20 && headerLength <= available;
}

function readIcmp(frame: Uint8Array, version: Version, at: number, end: number): Layer4 | number {
  if (end - at < 8) return DROP.ctInvalidHeader;
  const icmpType = frame[at]!;
  const quote = isError(version, icmpType) ? readQuote(frame, version, at + 8, end) : null;
  if (typeof quote === 'number') return quote;
  return {
    sourcePort: idOfAsked(frame, version, at),
    destinationPort: idOfAnswered(frame, version, at),
    tcpFlags: 0,
    icmpType,
    icmpCode: frame[at + 1]!,
    quote,
  };
}

const idOfAsked = (frame: Uint8Array, version: Version, at: number): number =>
  isEcho(version, frame[at]!) ? word(frame, at + 4) : 0;

const idOfAnswered = (frame: Uint8Array, version: Version, at: number): number =>
  isEchoReply(version, frame[at]!) ? word(frame, at + 4) : 0;

/** What an error is about; null when that is no connection's: a later piece, or a protocol without ports. */
function readQuote(frame: Uint8Array, version: Version, at: number, end: number): Quote | null | number {
  const headerLength = version === 6 ? 40 : at < end ? (frame[at]! & 15) * 4 : 0;
  const transportAt = at + headerLength;
  if (end - at < (version === 6 ? 40 : 20) + QUOTED || end - transportAt < QUOTED) return DROP.ctInvalidHeader;
  if (version === 4 && (frame[at]! >>> 4 !== 4 || headerLength < 20)) return DROP.ctInvalidHeader;
  if (version === 4 && (word(frame, at + 6) & 0x1fff) !== 0) return null;
  const protocol = frame[at + (version === 4 ? 9 : 6)]!;
  const isEchoing = protocol === icmpOf(version);
  if (!isEchoing && !isPorted(protocol)) return null;
  const sourcePort = isEchoing ? idOfAsked(frame, version, transportAt) : word(frame, transportAt);
  const destinationPort = isEchoing ? idOfAnswered(frame, version, transportAt) : word(frame, transportAt + 2);
  const flow = flowAt(frame, at, version, protocol, sourcePort, destinationPort);
  return { at, transportAt, was: flow, flow };
}
