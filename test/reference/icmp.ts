/** The ICMP error that takes a packet's place, and tells its sender why. Cilium `bpf/lib/icmp.h`, `icmp6.h`. */
import { putAddress, putWord, sumOf, checksumFor, sumOfAddress } from './bytes.js';
import type { Journey } from './journey.js';
import {
  DEFAULT_TTL,
  DROP,
  FRAGMENTATION_NEEDED,
  ICMP,
  ICMPV6,
  PORT_UNREACHABLE,
  PORT_UNREACHABLE_V6,
  PROTOCOL,
} from './numbers.js';
import { ETHERNET, isError, isIcmp, lengthOf, type Packet } from './packet.js';
import { write } from './write.js';

/** Bytes of the packet that are quoted at most: Cilium's choice for IPv4; for IPv6 what fits in its least MTU (RFC 4443 section 2.4). */
const QUOTED = { 4: 64, 6: 1280 - 40 - 8 } as const;

/** RFC 1122 section 3.2.2: no error about an error, nor about a later piece. */
export const mayAnswer = (packet: Packet): boolean =>
  packet.piece !== 'later' && !(isIcmp(packet) && isError(packet.version, packet.icmpType));

/** Nobody serves that port. */
export function portUnreachable(journey: Journey, packet: Packet): void {
  if (packet.version === 4) answer(journey, packet, DROP.noService, ICMP.unreachable, PORT_UNREACHABLE, 0);
  else answer(journey, packet, DROP.noService, ICMPV6.unreachable, PORT_UNREACHABLE_V6, 0);
}

/** The packet is longer than `mtu` (RFC 1191, RFC 8201). */
export function tooBig(journey: Journey, packet: Packet, mtu: number): void {
  const reason = DROP.fragmentationNeeded;
  if (packet.version === 4) answer(journey, packet, reason, ICMP.unreachable, FRAGMENTATION_NEEDED, mtu);
  else answer(journey, packet, reason, ICMPV6.packetTooBig, 0, mtu);
}

function answer(journey: Journey, packet: Packet, reason: number, type: number, code: number, rest: number): void {
  const { version, flow } = packet;
  const sent = write(packet);
  const quoted = sent.subarray(ETHERNET, ETHERNET + Math.min(lengthOf(packet), QUOTED[version]));
  const message = new Uint8Array(8 + quoted.length);
  message[0] = type;
  message[1] = code;
  putWord(message, 6, rest);
  message.set(quoted, 8);
  const pseudo =
    version === 4 ? 0 : sumOfAddress(flow.source) + sumOfAddress(flow.destination) + message.length + PROTOCOL.icmpv6;
  putWord(message, 2, checksumFor(pseudo + sumOf(message)));
  const around = version === 4 ? ipv4(packet, message.length) : ipv6(packet, message.length);
  journey.answered = reason;
  journey.answeredBy = journey.program;
  journey.packet = null;
  journey.frame = Uint8Array.from([
    ...sent.subarray(6, 12),
    ...sent.subarray(0, 6),
    ...sent.subarray(12, ETHERNET),
    ...around,
    ...message,
  ]);
}

/** From the address that was asked to the one that did. */
function ipv4({ flow }: Packet, length: number): Uint8Array {
  const header = Uint8Array.of(0x45, 0, 0, 0, 0, 0, 0, 0, DEFAULT_TTL, PROTOCOL.icmp, ...new Uint8Array(10));
  putWord(header, 2, header.length + length);
  putAddress(header, 12, flow.destination);
  putAddress(header, 16, flow.source);
  putWord(header, 10, checksumFor(sumOf(header)));
  return header;
}

function ipv6({ flow }: Packet, length: number): Uint8Array {
  const header = Uint8Array.of(0x60, 0, 0, 0, 0, 0, PROTOCOL.icmpv6, DEFAULT_TTL, ...new Uint8Array(32));
  putWord(header, 4, length);
  putAddress(header, 8, flow.destination);
  putAddress(header, 24, flow.source);
  return header;
}
