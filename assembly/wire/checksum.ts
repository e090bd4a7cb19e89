/** The Internet checksum, and its change by a rewrite (RFC 1071, RFC 1624 equation 3). All words as loaded from the wire. */
import { ntohs } from './bytes';

/** Folds a sum of 16-bit words to 16 bits. */
export function fold(sum: u64): u32 {
  const low = <u32>sum;
  const high = <u32>(sum >>> 32);
  let folded: u32 = (low & 0xffff) + (low >>> 16) + (high & 0xffff) + (high >>> 16);
  folded = (folded & 0xffff) + (folded >>> 16);
  return (folded & 0xffff) + (folded >>> 16);
}

/** What replacing the 32-bit word `before` by `after` adds to a complemented sum. */
export function difference(before: u32, after: u32): u64 {
  const old = ~before;
  return <u64>(old & 0xffff) + (old >>> 16) + (after & 0xffff) + (after >>> 16);
}

/** The checksum after a change worth `difference`. */
export function update(checksum: u16, difference: u64): u16 {
  return <u16>~fold(<u64>(~(<u32>checksum) & 0xffff) + difference);
}

/** The sum of `length` bytes, to be folded; an odd last byte counts as if a zero followed. */
export function sum(start: usize, length: u32): u64 {
  let sum: u64 = 0;
  let i: u32 = 0;
  // Wider words give the same sum once folded.
  for (; i + 4 <= length; i += 4) sum += load<u32>(start + i);
  for (; i + 2 <= length; i += 2) sum += load<u16>(start + i);
  if (i < length) sum += load<u8>(start + i);
  return sum;
}

/** What a number up to 65535 adds to a sum, as its bytes lie in a header. */
export function word(value: u32): u64 {
  return ntohs(value);
}

/** The checksum of `length` bytes. */
export function compute(start: usize, length: u32): u16 {
  return <u16>~fold(sum(start, length));
}
