/**
 * A cache of entries found by a hash: groups of sixteen, each entry with one byte of its hash as its tag, so that one comparison of
 * vectors tells which of a group may be meant ("Swiss tables", Abseil). It forgets: a full group gives up one of its entries.
 *
 *   tags      u8[groups][16]       0: nothing there
 *   slab      V[groups][16]        in whole cache lines
 */
import { take } from './arena';

const WAYS: u32 = 16;

@unmanaged
export class TaggedCache<V> {
  private tags: usize;
  private slab: usize;
  /** Groups, less one. */
  private mask: u32;
  /** Of a full group, which entry goes next. */
  private hand: u32;
  /** Entries that fit, at least; 0 for none. */
  capacity: u32;

  private get stride(): usize {
    return (offsetof<V>() + 63) & ~63;
  }

  /** Takes memory for `capacity` entries, and half as many again at least: groups fill unevenly. */
  create(capacity: u32): void {
    this.capacity = capacity;
    if (capacity == 0) return;
    let groups: u32 = 1;
    while (groups * WAYS < capacity + (capacity >>> 1)) groups <<= 1;
    this.mask = groups - 1;
    this.tags = take(<usize>groups * WAYS);
    this.slab = take(<usize>groups * WAYS * this.stride);
  }

  /** Address of the tags of the entries with this hash. */
  @inline
  tagsOf(hash: u32): usize {
    return this.tags + <usize>(hash & this.mask) * WAYS;
  }

  /** Which of the group's entries have the tag of a hash: a bit each. */
  @inline
  candidates(hash: u32): u32 {
    return i8x16.bitmask(i8x16.eq(v128.load(this.tagsOf(hash)), i8x16.splat(<i8>tagOf(hash))));
  }

  /** The entry of a group at the lowest of some bits. */
  @inline
  at(hash: u32, bits: u32): V {
    return changetype<V>(this.slab + (<usize>(hash & this.mask) * WAYS + ctz<u32>(bits)) * this.stride);
  }

  /** Where a new entry with this hash goes, in place of another if need be. */
  claim(hash: u32): V {
    const tags = this.tagsOf(hash);
    const empty = i8x16.bitmask(i8x16.eq(v128.load(tags), i8x16.splat(0)));
    // Not in turn: where a group has one flow too many, each would go right before it is needed.
    const way = empty != 0 ? ctz<u32>(empty) : (++this.hand * 0x9e3779b1) >>> 28;
    store<u8>(tags + way, <u8>tagOf(hash));
    return this.at(hash, 1 << way);
  }
}

/** Of the bits that choose no group; never 0. */
function tagOf(hash: u32): u32 {
  return max<u32>(hash >>> 24, 1);
}
