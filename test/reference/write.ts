/**
 * From a packet to bytes: every header that was written is laid out anew, and its checksum summed up from its first byte.
 * One that came wrong leaves wrong by as much, since nobody on the way may repair what the sender broke: a sum is brought to
 * the total that it had, which is 0 for a packet in order. UDP's zero says that there is no checksum, and stays (RFC 768).
 */
import { checksumFor, putAddress, putWord, sumOf, sumOfAddress, word, type Version } from './bytes.js';
import { PROTOCOL } from './numbers.js';
import { ETHERNET, icmpOf, isEcho, isEchoReply, type Flow, type Packet } from './packet.js';

export function write(packet: Packet): Uint8Array {
  const { bodyAt, end, version, flow, ttl, hop, rewritten, routed } = packet;
  if (!rewritten && !routed && !hop) return packet.frame;
  const frame = packet.frame.slice();
  if (hop) {
    frame.set(hop.destination, 0);
    frame.set(hop.source, 6);
  }
  if (rewritten || routed) {
    const total = version === 4 ? sumOf(frame, ETHERNET, bodyAt) : 0;
    frame[ETHERNET + (version === 4 ? 8 : 7)] = ttl;
    writeAddresses(frame, ETHERNET, version, flow);
    if (version === 4) seal(frame, ETHERNET, bodyAt, 10, total);
  }
  if (rewritten && packet.piece !== 'later') writeBody(frame, packet, end);
  return frame;
}

function writeAddresses(frame: Uint8Array, at: number, version: Version, { source, destination }: Flow): void {
  putAddress(frame, at + (version === 4 ? 12 : 8), source);
  putAddress(frame, at + (version === 4 ? 16 : 24), destination);
}

/** Puts a checksum into what goes from `from` to `to`, so that this, and what is summed up already, come to `total`. */
function seal(frame: Uint8Array, from: number, to: number, checksumAt: number, total: number, already = 0): void {
  putWord(frame, from + checksumAt, 0);
  putWord(frame, from + checksumAt, checksumFor(already + sumOf(frame, from, to), total));
}

/** The part of a pseudo header that can change; the rest is the same before and after. ICMP has none. */
const sumOfEnds = (version: Version, { source, destination, protocol }: Flow): number =>
  version === 4 && protocol === PROTOCOL.icmp ? 0 : sumOfAddress(source) + sumOfAddress(destination);

function writeBody(frame: Uint8Array, { version, bodyAt, was, flow, quote }: Packet, end: number): void {
  if (!quote || quote.flow === quote.was) return writeTransport(frame, bodyAt, end, version, was, flow);
  const header = quote.transportAt - quote.at;
  const total = sumOf(frame, quote.at, quote.at + header);
  writeAddresses(frame, quote.at, version, quote.flow);
  if (version === 4) seal(frame, quote.at, quote.transportAt, 10, total);
  // Of TCP no more than the ports need be quoted, so its checksum stays.
  if (quote.flow.protocol === PROTOCOL.tcp) writePorts(frame, quote.transportAt, version, quote.flow);
  else writeTransport(frame, quote.transportAt, end, version, quote.was, quote.flow);
  // All that the error's own checksum covers is at hand here, so it is right, whatever it was.
  const length = version === 6 ? end - bodyAt + PROTOCOL.icmpv6 : 0;
  seal(frame, bodyAt, end, 2, 0, sumOfEnds(version, flow) + length);
}

/** Where a protocol's checksum stands; SCTP's CRC32c covers the ports too, but Cilium leaves it as it is. */
const checksumAt = (protocol: number): number =>
  protocol === PROTOCOL.tcp ? 16 : protocol === PROTOCOL.udp ? 6 : protocol === PROTOCOL.sctp ? -1 : 2;

/** Ports and checksum of the transport header at `at`. */
function writeTransport(frame: Uint8Array, at: number, end: number, version: Version, was: Flow, flow: Flow): void {
  const isUdp = flow.protocol === PROTOCOL.udp;
  const offset = checksumAt(flow.protocol);
  const isSummed = offset >= 0 && !(isUdp && word(frame, at + offset) === 0);
  const total = isSummed ? sumOfEnds(version, was) + sumOf(frame, at, end) : 0;
  writePorts(frame, at, version, flow);
  if (!isSummed) return;
  seal(frame, at, end, offset, total, sumOfEnds(version, flow));
  if (isUdp && word(frame, at + offset) === 0) putWord(frame, at + offset, 0xffff);
}

function writePorts(
  frame: Uint8Array,
  at: number,
  version: Version,
  { protocol, sourcePort, destinationPort }: Flow,
): void {
  if (protocol === icmpOf(version)) {
    if (isEcho(version, frame[at]!)) putWord(frame, at + 4, sourcePort);
    else if (isEchoReply(version, frame[at]!)) putWord(frame, at + 4, destinationPort);
    return;
  }
  putWord(frame, at, sourcePort);
  putWord(frame, at + 2, destinationPort);
}
