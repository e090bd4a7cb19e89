/**
 * How often the connections of a tuple have changed: whoever keeps what came of a look-up keeps the count with it, and asks again
 * once that is another. Both directions of a tuple share a count, and so do all tuples of a client's port: some are asked again in vain.
 */
import { take } from '../maps/arena';
import { finish, mix, start } from '../maps/hash';
import { ntohs } from '../wire/bytes';

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

/** One end of a tuple as a word. */
function end<A>(address: A, port: u32): u64 {
  const place = (<u64>port) << 32;
  if (isVector<A>())
    return i64x2.extract_lane(address, 0) ^ rotl<u64>(i64x2.extract_lane(address, 1), 23) ^ rotl<u64>(place, 7);
  return (<u64>(<u32>address)) ^ place;
}

/**
 * Address of the count of a tuple, whichever way round; the source port is in the lower half of `ports`. It is that of the end with
 * the higher port, which is the client's: so a Service's tuple and that of the connection to its backend have one count.
 */
export function placeOf<A>(saddr: A, daddr: A, ports: u32): usize {
  const sport = ntohs(ports & 0xffff);
  const dport = ntohs(ports >>> 16);
  const source = end<A>(saddr, sport);
  const destination = end<A>(daddr, dport);
  const isSource = sport > dport || (sport == dport && source > destination);
  const mixed = mix(start(), isSource ? source : destination);
  return counts + ((<usize>(finish(mixed) & mask)) << 2);
}

/** Whatever was found of a tuple, or not found, may be another now. */
export function changed<A>(saddr: A, daddr: A, ports: u32): void {
  const place = placeOf<A>(saddr, daddr, ports);
  store<u32>(place, load<u32>(place) + 1);
}
