/** A frame's headers in JavaScript: words in network order, as they lie, and the Internet checksum (RFC 1624). */

export const ETHERNET = 14;
export const SADDR = ETHERNET + 12;
export const DADDR = ETHERNET + 16;
const TTL = ETHERNET + 8;
const IP_CHECKSUM = ETHERNET + 10;

/** What a checksum's sum changes by when a word becomes another. */
const difference = (before: number, after: number): number =>
  (~before & 0xffff) + (~before >>> 16) + (after & 0xffff) + (after >>> 16);

function update(view: DataView, at: number, change: number): void {
  let sum = (~view.getUint16(at, true) & 0xffff) + change;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(at, ~sum, true);
}

/** Gives the TCP segment behind the IP header at `frame` another destination. */
export function setDestination(view: DataView, frame: number, l4: number, daddr: number, ports: number): void {
  const addresses = difference(view.getInt32(frame + DADDR, true), daddr);
  update(view, frame + IP_CHECKSUM, addresses);
  update(view, l4 + 16, addresses + difference(view.getInt32(l4, true), ports));
  view.setInt32(frame + DADDR, daddr, true);
  view.setInt32(l4, ports, true);
}

/** Whether there was a hop left. */
export function decrementTtl(view: DataView, frame: number): boolean {
  const ttl = view.getUint8(frame + TTL);
  if (ttl <= 1) return false;
  view.setUint8(frame + TTL, ttl - 1);
  update(view, frame + IP_CHECKSUM, difference(ttl, ttl - 1));
  return true;
}

const rotl = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits));

/** Jenkins' hash of three words, as the kernel has it (`include/linux/jhash.h`). */
export function jhash3words(a: number, b: number, c: number, seed: number): number {
  const start = (seed + 0xdeadbeef + 12) | 0;
  a = (a + start) | 0;
  b = (b + start) | 0;
  c = (c + start) | 0;
  c = ((c ^ b) - rotl(b, 14)) | 0;
  a = ((a ^ c) - rotl(c, 11)) | 0;
  b = ((b ^ a) - rotl(a, 25)) | 0;
  c = ((c ^ b) - rotl(b, 16)) | 0;
  a = ((a ^ c) - rotl(c, 4)) | 0;
  b = ((b ^ a) - rotl(a, 14)) | 0;
  return ((c ^ b) - rotl(b, 24)) >>> 0;
}
