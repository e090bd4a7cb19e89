/**
 * How often the connections of a tuple have changed: whoever keeps what came of a look-up keeps the count with it, and asks again
 * once that is another. Both directions of a tuple share a count, and so do tuples that happen to share a place: one asked in vain.
 */
import { take } from '../maps/arena';

/** u32[mask + 1] */
let counts: usize = 0;
let mask: u32 = 0;

/** Takes memory for the counts of about `entries` tuples. */
export function create(entries: u32): void {
  let places: u32 = 16;
  while (places < entries) places <<= 1;
  counts = take((<usize>places) << 2);
  mask = places - 1;
}

/** One end of a tuple as a word; the salt keeps it from being zero. */
function end<A>(address: A, port: u32): u64 {
  const place = (<u64>port) << 32;
  if (isVector<A>())
    return i64x2.extract_lane(address, 0) ^ rotl<u64>(i64x2.extract_lane(address, 1), 23) ^ place ^ 0x9e3779b97f4a7c15;
  return (<u64>(<u32>address)) ^ place ^ 0x9e3779b97f4a7c15;
}

/** Address of the count of a tuple, whichever way round; the source port is in the lower half of `ports`. */
export function placeOf<A>(saddr: A, daddr: A, ports: u32): usize {
  const product = end<A>(saddr, ports & 0xffff) * end<A>(daddr, ports >>> 16);
  const mixed = (product ^ (product >>> 29)) * 0xff51afd7ed558ccd;
  return counts + ((<usize>((<u32>(mixed >>> 32)) & mask)) << 2);
}

/** Whatever was found of a tuple, or not found, may be another now. */
export function changed<A>(saddr: A, daddr: A, ports: u32): void {
  const place = placeOf<A>(saddr, daddr, ports);
  store<u32>(place, load<u32>(place) + 1);
}
