/**
 * VXLAN (RFC 7348 section 5), the header between the outer UDP header and the inner frame.
 *
 *  0       4        7
 *  +-------+--------+---+
 *  | flags |  VNI   | 0 |
 *  +-------+--------+---+
 */
import { ntohl } from './bytes';

@unmanaged
export class Vxlan {
  /** 0x08 in the first byte: the VNI is valid. */
  flags: u32;
  vniWord: u32;

  /** The network identifier, which carries the identity of the sender. */
  get vni(): u32 {
    return ntohl(this.vniWord) >>> 8;
  }

  set vni(identity: u32) {
    this.vniWord = ntohl(identity << 8);
  }
}

export const VXLAN_LENGTH: u32 = offsetof<Vxlan>();
export const VXLAN_FLAGS: u32 = 0x08;
