/** Packet bytes are in network order; wasm loads little-endian. */

/** A field of a struct in network order, of 16, 32 and 128 bits. The generated views turn them to host order. */
export type be16 = u16;
export type be32 = u32;
export type be128 = v128;

/** Network order to host order, 16 bits, and back. */
export function ntohs(value: u32): u32 {
  return ((value & 0xff) << 8) | ((value >>> 8) & 0xff);
}

/** Network order to host order, 32 bits, and back. */
export function ntohl(value: u32): u32 {
  return (rotl(value, 8) & 0x00ff00ff) | (rotr(value, 8) & 0xff00ff00);
}
