/** MurmurHash3, the 128-bit variant for 64-bit machines (Austin Appleby, public domain description), as Cilium's `pkg/murmur3`. */

const C1: u64 = 0x87c37b91114253d5;
const C2: u64 = 0x4cf5ad432745937f;

let h1: u64 = 0;
let h2: u64 = 0;

/** The two halves of the last hash. */
export function murmur3Low(): u64 {
  return h1;
}
export function murmur3High(): u64 {
  return h2;
}

function scramble1(k: u64): u64 {
  return rotl(k * C1, 31) * C2;
}

function scramble2(k: u64): u64 {
  return rotl(k * C2, 33) * C1;
}

function finish(k: u64): u64 {
  k ^= k >>> 33;
  k *= 0xff51afd7ed558ccd;
  k ^= k >>> 33;
  k *= 0xc4ceb9fe1a85ec53;
  return k ^ (k >>> 33);
}

/** Hashes `length` bytes at `start`; the result is read with `murmur3Low` and `murmur3High`. */
export function murmur3x64(start: usize, length: u32, seed: u32): void {
  h1 = seed;
  h2 = seed;
  const tail = start + (length & ~15);
  for (let at = start; at < tail; at += 16) {
    h1 = (rotl(h1 ^ scramble1(load<u64>(at)), 27) + h2) * 5 + 0x52dce729;
    h2 = (rotl(h2 ^ scramble2(load<u64>(at + 8)), 31) + h1) * 5 + 0x38495ab5;
  }
  let k1: u64 = 0;
  let k2: u64 = 0;
  const rest = length & 15;
  for (let i: u32 = 0; i < rest; i++) {
    const byte = <u64>load<u8>(tail + i);
    if (i < 8) k1 |= byte << (i << 3);
    else k2 |= byte << ((i - 8) << 3);
  }
  h1 ^= scramble1(k1);
  h2 ^= scramble2(k2);
  h1 ^= length;
  h2 ^= length;
  h1 += h2;
  h2 += h1;
  h1 = finish(h1);
  h2 = finish(h2);
  h1 += h2;
  h2 += h1;
}
