import { ntohl, ntohs } from './bytes';

/**
 * An IPv6 header (RFC 8200 section 3).
 *
 *  0               4        6      7     8      24     40
 *  +---------------+--------+------+-----+------+------+
 *  | ver/class/flow| length | next | hop | src  | dst  |
 *  +---------------+--------+------+-----+------+------+
 */
@unmanaged
export class Ipv6 {
  versionClassFlow: u32;
  /** What follows this header, in bytes, network order. */
  payloadLength: u16;
  nextHeader: u8;
  hopLimit: u8;
  saddrLow: u64;
  saddrHigh: u64;
  daddrLow: u64;
  daddrHigh: u64;

  /** Header and payload in bytes. */
  get totalLength(): u32 {
    return IPV6_LENGTH + ntohs(this.payloadLength);
  }

  get saddr(): v128 {
    return v128.load(changetype<usize>(this) + offsetof<Ipv6>('saddrLow'));
  }

  set saddr(address: v128) {
    v128.store(changetype<usize>(this) + offsetof<Ipv6>('saddrLow'), address);
  }

  get daddr(): v128 {
    return v128.load(changetype<usize>(this) + offsetof<Ipv6>('daddrLow'));
  }

  set daddr(address: v128) {
    v128.store(changetype<usize>(this) + offsetof<Ipv6>('daddrLow'), address);
  }

  /** Whether a whole header, and all the bytes that it claims, lie within `available` bytes. */
  check(available: u32): bool {
    if (available < IPV6_LENGTH) return false;
    return ntohl(this.versionClassFlow) >>> 28 == 6 && this.totalLength <= available;
  }
}

export const IPV6_LENGTH: u32 = offsetof<Ipv6>();

/** What follows an IPv6 header beside a transport protocol. RFC 8200 section 4, RFC 4302. */
export const enum NextHeader {
  HOP_BY_HOP = 0,
  ROUTING = 43,
  FRAGMENT = 44,
  AUTH = 51,
  NONE = 59,
  DESTINATION = 60,
}

/** Extension headers that one packet may have. Cilium `IPV6_MAX_HEADERS`. */
export const MAX_EXTENSIONS: u32 = 4;

/** The two bytes that all extension headers start with. */
@unmanaged
export class Extension {
  nextHeader: u8;
  /** In units of 8 bytes, without the first 8; in an AUTH header in units of 4, without the first 8. */
  length: u8;

  /** Bytes of a header of kind `kind`. */
  lengthOf(kind: u32): u32 {
    if (kind == NextHeader.FRAGMENT) return FRAGMENT_LENGTH;
    return kind == NextHeader.AUTH ? (<u32>this.length + 2) << 2 : (<u32>this.length + 1) << 3;
  }
}

/** RFC 8200 section 4.5. */
@unmanaged
export class Fragment {
  nextHeader: u8;
  reserved: u8;
  /** Offset in units of 8 bytes, two reserved bits and "more fragments", network order. */
  offset: u16;
  id: u32;
}

export const EXTENSION_LENGTH: u32 = 8;
export const FRAGMENT_LENGTH: u32 = offsetof<Fragment>();
