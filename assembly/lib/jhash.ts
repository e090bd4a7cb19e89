/** Bob Jenkins' hash as the kernel has it (`include/linux/jhash.h`), for three words. */

const INITVAL: u32 = 0xdeadbeef;

/** Hash of three words; Cilium's `jhash_3words`, which starts from three words' length. */
export function jhash3words(a: u32, b: u32, c: u32, seed: u32): u32 {
  const start = seed + INITVAL + (3 << 2);
  a += start;
  b += start;
  c += start;
  c = (c ^ b) - rotl(b, 14);
  a = (a ^ c) - rotl(c, 11);
  b = (b ^ a) - rotl(a, 25);
  c = (c ^ b) - rotl(b, 16);
  a = (a ^ c) - rotl(c, 4);
  b = (b ^ a) - rotl(a, 14);
  return (c ^ b) - rotl(b, 24);
}
