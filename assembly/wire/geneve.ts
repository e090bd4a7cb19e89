/**
 * Geneve (RFC 8926 section 3.4), the header between the outer UDP header and the inner frame, and its options.
 *
 *  0         1       2          4     7   8
 *  +---------+-------+----------+-----+---+--------------------------+
 *  | ver/len | flags | protocol | VNI | 0 | options, 4 bytes by 4 …
 *  +---------+-------+----------+-----+---+--------------------------+
 */
import { ntohl } from './bytes';

@unmanaged
export class Geneve {
  /** Two bits of version, and the length of the options in words of 4 bytes. */
  versionLength: u8;
  flags: u8;
  /** An EtherType, network order. */
  protocol: u16;
  vniWord: u32;

  get version(): u32 {
    return this.versionLength >> 6;
  }

  /** Bytes of the options. */
  get optionsLength(): u32 {
    return ((<u32>this.versionLength) & 0x3f) << 2;
  }

  /** The network identifier, which carries the identity of the sender. */
  get vni(): u32 {
    return ntohl(this.vniWord) >>> 8;
  }
}

/**
 *  0       2      3       4
 *  +-------+------+-------+---------------+
 *  | class | type | r/len | data …
 *  +-------+------+-------+---------------+
 */
@unmanaged
export class GeneveOption {
  /** Network order. */
  optionClass: u16;
  type: u8;
  reservedLength: u8;

  /** Bytes of the data. */
  get dataLength(): u32 {
    return ((<u32>this.reservedLength) & 0x1f) << 2;
  }
}

export const GENEVE_LENGTH: u32 = offsetof<Geneve>();
export const GENEVE_OPTION_LENGTH: u32 = offsetof<GeneveOption>();
/** Transparent Ethernet bridging: the payload is a frame (network order). */
export const GENEVE_ETHERNET: u16 = 0x5865;
/** An option stands in the header that whoever does not know it must drop the packet for. */
export const GENEVE_CRITICAL: u8 = 0x40;
/** The same, in the type of an option. */
export const GENEVE_OPTION_CRITICAL: u8 = 0x80;
