/** Packets that grow on their way: by an option in their header, or by a header around them. */
import { checksumFor, putAddress, putWord, sumOf, word, type Address } from './bytes.js';
import { DEFAULT_TTL, PROTOCOL } from './numbers.js';
import { ETHERNET, lengthOf, type Flow, type Packet } from './packet.js';
import type { NodeConfig } from './tables.js';
import { write } from './write.js';

/** RFC 791: fifteen words. */
const LONGEST_HEADER = 60;
const DESTINATION_OPTIONS = 60;

/** With `bytes` behind the fixed part of its IP header: of IPv4 an option, of IPv6 a header of destination options. Null where there is no room. */
export function withHeader(packet: Packet, bytes: Uint8Array): Packet | null {
  const { version, bodyAt } = packet;
  const was = write(packet);
  if (version === 4 && bodyAt - ETHERNET + bytes.length > LONGEST_HEADER) return null;
  const at = ETHERNET + (version === 4 ? 20 : 40);
  const frame = Uint8Array.from([...was.subarray(0, at), ...bytes, ...was.subarray(at)]);
  const grown = { ...laid(packet, frame), bodyAt: bodyAt + bytes.length, end: packet.end + bytes.length };
  if (version === 6) {
    frame[ETHERNET + 6] = DESTINATION_OPTIONS;
    putWord(frame, ETHERNET + 4, word(frame, ETHERNET + 4) + bytes.length);
    return grown;
  }
  const total = sumOf(was, ETHERNET, bodyAt);
  frame[ETHERNET]! += bytes.length / 4;
  putWord(frame, ETHERNET + 2, word(frame, ETHERNET + 2) + bytes.length);
  putWord(frame, ETHERNET + 10, 0);
  putWord(frame, ETHERNET + 10, checksumFor(sumOf(frame, ETHERNET, grown.bodyAt), total));
  return grown;
}

/** The frame holds all that was decided so far. */
const laid = (packet: Packet, frame: Uint8Array): Packet => ({
  ...packet,
  frame,
  was: packet.flow,
  hop: null,
  rewritten: false,
  routed: false,
});

/** The address of nobody, which a node has in a family that it has no address of. */
const NOBODY = { 4: '\0'.repeat(4), 6: '\0'.repeat(16) } as const;

/** In an IP header of the same family from a node to `destination`. RFC 2003, RFC 2473. */
export function inIp(packet: Packet, { addresses }: NodeConfig, destination: Address): Packet {
  const { version } = packet;
  const inner = write(packet);
  const source = addresses[version] ?? NOBODY[version];
  const protocol = version === 4 ? PROTOCOL.ipip : PROTOCOL.ipv6;
  const header =
    version === 4 ? Uint8Array.of(0x45, ...new Uint8Array(19)) : Uint8Array.of(0x60, ...new Uint8Array(39));
  const sourceAt = version === 4 ? 12 : 8;
  putAddress(header, sourceAt, source);
  putAddress(header, sourceAt + source.length, destination);
  if (version === 4) {
    putWord(header, 2, header.length + lengthOf(packet));
    header.set([DEFAULT_TTL, protocol], 8);
    putWord(header, 10, checksumFor(sumOf(header)));
  } else {
    putWord(header, 4, lengthOf(packet));
    header.set([protocol, DEFAULT_TTL], 6);
  }
  const flow: Flow = { source, destination, sourcePort: 0, destinationPort: 0, protocol };
  return {
    ...laid(packet, Uint8Array.from([...inner.subarray(0, ETHERNET), ...header, ...inner.subarray(ETHERNET)])),
    bodyAt: ETHERNET + header.length,
    end: packet.end + header.length,
    piece: 'whole',
    dontFragment: version === 6,
    tcpFlags: 0,
    was: flow,
    flow,
    ttl: DEFAULT_TTL,
  };
}
