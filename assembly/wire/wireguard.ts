/** WireGuard's message for data. WireGuard protocol, section 5.4.6; its numbers are little-endian. */
@unmanaged
export class WireGuard {
  /** `WIREGUARD_DATA`. */
  type: u8;
  reserved1: u8;
  reserved2: u16;
  /** The peer's number for the session. */
  receiver: u32;
  counter: u64;
}

export const WIREGUARD_LENGTH = 16;
export const WIREGUARD_DATA: u8 = 4;

if (offsetof<WireGuard>() != WIREGUARD_LENGTH) ERROR('the header has 16 bytes');
