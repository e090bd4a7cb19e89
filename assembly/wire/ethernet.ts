/** Ethernet II (IEEE 802.3), and the frame as a whole: the door at which every length is checked. */

/** EtherTypes as loaded from the wire (network order). */
export const enum EtherType {
  IPV4 = 0x0008,
  ARP = 0x0608,
  VLAN = 0x0081,
  QINQ = 0xa888,
  IPV6 = 0xdd86,
}

/**
 *  0      6      12     14
 *  +------+------+------+
 *  | dst  | src  | type |  payload
 *  +------+------+------+
 */
@unmanaged
export class Ethernet {
  dstLow: u32;
  dstHigh: u16;
  srcLow: u16;
  srcHigh: u32;
  /** Network order. */
  type: u16;

  /** The addresses, as `setAddresses` takes them. */
  get dst(): u64 {
    return (<u64>this.dstLow) | ((<u64>this.dstHigh) << 32);
  }

  get src(): u64 {
    return (<u64>this.srcLow) | ((<u64>this.srcHigh) << 16);
  }

  /** Writes both addresses, each given as the u64 whose low six bytes are the address in wire order. */
  setAddresses(dst: u64, src: u64): void {
    this.dstLow = <u32>dst;
    this.dstHigh = <u16>(dst >>> 32);
    this.srcLow = <u16>src;
    this.srcHigh = <u32>(src >>> 16);
  }
}

export const ETHERNET_LENGTH: u32 = offsetof<Ethernet>();
