/** ICMP (RFC 792) and ICMPv6 (RFC 4443): what the datapath reads and writes of both. */

/**
 *  0      1      2          4      6      8
 *  +------+------+----------+------+------+
 *  | type | code | checksum | id   | seq  |  echo
 *  |      |      |          | rest        |  an error: 0 or an MTU, and the packet it is about
 *  +------+------+----------+------+------+
 */
@unmanaged
export class Icmp {
  type: u8;
  code: u8;
  checksum: u16;
  id: u16;
  sequence: u16;
}

export const ICMP_LENGTH: u32 = offsetof<Icmp>();

/** Types of ICMP. */
export const enum IcmpType {
  ECHO_REPLY = 0,
  DEST_UNREACH = 3,
  ECHO = 8,
  TIME_EXCEEDED = 11,
  PARAMETER_PROBLEM = 12,
}

/** Types of ICMPv6. */
export const enum Icmp6Type {
  DEST_UNREACH = 1,
  PACKET_TOO_BIG = 2,
  TIME_EXCEEDED = 3,
  PARAMETER_PROBLEM = 4,
  ECHO = 128,
  ECHO_REPLY = 129,
  NEIGHBOR_SOLICITATION = 135,
}

/** Codes of DEST_UNREACH, ICMP's and ICMPv6's. */
export const enum Unreachable {
  PORT = 3,
  FRAGMENTATION_NEEDED = 4,
  PORT6 = 4,
}

/** Whether a message asks for an echo. */
export function isEcho<A>(type: u32): bool {
  return type == <u32>(isVector<A>() ? Icmp6Type.ECHO : IcmpType.ECHO);
}

export function isEchoReply<A>(type: u32): bool {
  return type == <u32>(isVector<A>() ? Icmp6Type.ECHO_REPLY : IcmpType.ECHO_REPLY);
}

/** Whether a message is about a packet that it quotes. */
export function isError<A>(type: u32): bool {
  if (isVector<A>()) return type >= <u32>Icmp6Type.DEST_UNREACH && type <= <u32>Icmp6Type.PARAMETER_PROBLEM;
  return type == IcmpType.DEST_UNREACH || type == IcmpType.TIME_EXCEEDED || type == IcmpType.PARAMETER_PROBLEM;
}
