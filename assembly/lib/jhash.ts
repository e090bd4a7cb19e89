/** Bob Jenkins' hash as the kernel has it (`include/linux/jhash.h`), for three words and for six. */

const INITVAL: u32 = 0xdeadbeef;

/** Hash of three words; Cilium's `jhash_3words`, which starts from three words' length. */
export function jhash3words(a: u32, b: u32, c: u32, seed: u32): u32 {
  const start = seed + INITVAL + (3 << 2);
  return final(a + start, b + start, c + start);
}

/** The kernel's `__jhash_final`. */
function final(a: u32, b: u32, c: u32): u32 {
  c = (c ^ b) - rotl(b, 14);
  a = (a ^ c) - rotl(c, 11);
  b = (b ^ a) - rotl(a, 25);
  c = (c ^ b) - rotl(b, 16);
  a = (a ^ c) - rotl(c, 4);
  b = (b ^ a) - rotl(a, 14);
  return (c ^ b) - rotl(b, 24);
}

let a: u32 = 0;
let b: u32 = 0;
let c: u32 = 0;

/** The kernel's `__jhash_mix`, over the three words above. */
function mix(): void {
  a = (a - c) ^ rotl(c, 4);
  c += b;
  b = (b - a) ^ rotl(a, 6);
  a += c;
  c = (c - b) ^ rotl(b, 8);
  b += a;
  a = (a - c) ^ rotl(c, 16);
  c += b;
  b = (b - a) ^ rotl(a, 19);
  a += c;
  c = (c - b) ^ rotl(b, 4);
  b += a;
}

/** Cilium's hash over an IPv6 address, the ports and the protocol (`hash_from_tuple_v6`). */
export function jhash6words(address: v128, ports: u32, protocol: u32, seed: u32): u32 {
  a = i32x4.extract_lane(address, 0);
  b = i32x4.extract_lane(address, 1);
  c = i32x4.extract_lane(address, 2);
  mix();
  a += i32x4.extract_lane(address, 3);
  b += ports;
  c += protocol;
  mix();
  return final(a + seed, b, c);
}
