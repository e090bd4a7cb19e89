import { ntohs } from './bytes';

/**
 * An IPv4 header (RFC 791 section 3.1).
 *
 *  0     1     2        4     6        8     9     10        12     16     20
 *  +-----+-----+--------+-----+--------+-----+-----+---------+------+------+
 *  | v/h | tos | length | id  | fl/off | ttl | pro | check   | src  | dst  | options
 *  +-----+-----+--------+-----+--------+-----+-----+---------+------+------+
 *
 * `check` guards every getter but `versionIhl`.
 */
@unmanaged
export class Ipv4 {
  versionIhl: u8;
  tos: u8;
  /** Header and payload in bytes, network order. */
  totalLength: u16;
  id: u16;
  /** Three flag bits and the offset in units of 8 bytes, network order. */
  fragment: u16;
  ttl: u8;
  protocol: u8;
  checksum: u16;
  /** Network order. */
  saddr: u32;
  /** Network order. */
  daddr: u32;

  /** Bytes of the header with its options. */
  get headerLength(): u32 {
    return ((<u32>this.versionIhl) & 0x0f) << 2;
  }

  /** Header and payload in bytes. */
  get length(): u32 {
    return ntohs(this.totalLength);
  }

  /** In units of 8 bytes, as it lies (network order). */
  get fragmentOffset(): u32 {
    return (<u32>this.fragment) & 0xff1f;
  }

  /** The sender wants an answer rather than fragments. */
  get dontFragment(): bool {
    return ((<u32>this.fragment) & 0x0040) != 0;
  }

  /** More fragments follow, or this is not the first. */
  get isFragment(): bool {
    return ((<u32>this.fragment) & 0xff3f) != 0;
  }

  /**
   * Whether a whole header, and all the bytes that it claims, lie within `available` bytes.
   * Frames may be longer than the packet (Ethernet pads to 60), never shorter.
   */
  check(available: u32): bool {
    if (available < IPV4_LENGTH) return false;
    const total = this.length;
    return this.isSane && total >= this.headerLength && total <= available;
  }

  /** Whether the first byte says version 4 and a header that is long enough. */
  get isSane(): bool {
    return this.versionIhl >> 4 == 4 && this.headerLength >= IPV4_LENGTH;
  }
}

export const IPV4_LENGTH: u32 = offsetof<Ipv4>();
/** With as many options as fit. */
export const IPV4_MAX_LENGTH: u32 = 60;
