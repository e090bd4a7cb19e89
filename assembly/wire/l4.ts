/** TCP (RFC 9293), UDP (RFC 768) and SCTP (RFC 9260): what the datapath reads of each; ports stand first in all three. */
import { IpProto } from '../abi';
import { ntohs } from './bytes';

/** The first word of each of the three. */
@unmanaged
export class Ports {
  /** Source port in the lower half, destination port in the upper, each in network order. */
  both: u32;
}

@unmanaged
export class Tcp {
  /** Network order, as are all of these. */
  sport: u16;
  dport: u16;
  sequence: u32;
  acknowledgement: u32;
  /** Length of the header in words, in the upper four bits. */
  dataOffset: u8;
  flags: u8;
  window: u16;
  checksum: u16;
  urgent: u16;
}

@unmanaged
export class Udp {
  /** Network order, as are all of these. */
  sport: u16;
  dport: u16;
  /** Header and payload in bytes. */
  length: u16;
  /** Zero: the sender computed none. */
  checksum: u16;
}

@unmanaged
export class Sctp {
  sport: u16;
  dport: u16;
  verificationTag: u32;
  /** CRC32c of the whole packet: addresses do not enter it, ports do. */
  checksum: u32;
}

export const TCP_LENGTH: u32 = offsetof<Tcp>();
export const UDP_LENGTH: u32 = offsetof<Udp>();
export const SCTP_LENGTH: u32 = offsetof<Sctp>();

/**
 * Whether the header of `protocol` at `start`, and the length that it claims, lie within `available` bytes. Of a packet in
 * pieces (`whole` is false) a UDP length claims more than the first piece has.
 */
export function check(protocol: u32, start: usize, available: u32, whole: bool): bool {
  if (protocol == IpProto.TCP) {
    if (available < TCP_LENGTH) return false;
    const header = ((<u32>changetype<Tcp>(start).dataOffset) >> 4) << 2;
    return header >= TCP_LENGTH && header <= available;
  }
  if (protocol == IpProto.UDP) {
    if (available < UDP_LENGTH) return false;
    const length = ntohs(changetype<Udp>(start).length);
    return length >= UDP_LENGTH && (length <= available || !whole);
  }
  return available >= SCTP_LENGTH;
}
