/**
 * A cache of entries found by a hash: groups of twelve in a cache line each, every entry with one byte of its hash as its tag, so that
 * one comparison of vectors tells which of a group may be meant ("Swiss tables", Abseil). It forgets: a full group, and a full slab,
 * gives up one of its entries.
 *
 *   groups    +-----------------+---+----------------+
 *             | u8 tags[12]     |   | u32 places[12] |     a tag of 0: nothing there
 *             +-----------------+---+----------------+
 *   slab      V[capacity]       in whole cache lines, in the order in which they came
 *   owners    u32[capacity]     the group, times sixteen, and the way in it, of each
 */
import { take } from './arena';

const WAYS: u32 = 12;
const GROUP: usize = 64;
const PLACES: usize = 16;

@unmanaged
export class TaggedCache<V> {
  private groups: usize;
  private slab: usize;
  private owners: usize;
  /** Groups, less one. */
  private mask: u32;
  /** Places of the slab that were used once. */
  private fresh: u32;
  /** Which place, or which of a group's entries, is given up next. */
  private hand: u32;
  /** Entries that fit; 0 for none. */
  capacity: u32;

  private get stride(): usize {
    return (offsetof<V>() + 63) & ~63;
  }

  /** Takes memory for `capacity` entries, and groups for twice as many: they fill unevenly, and an entry that finds no place costs
   * more than all others of its group. */
  create(capacity: u32): void {
    this.capacity = capacity;
    if (capacity == 0) return;
    let groups: u32 = 1;
    while (groups * WAYS < capacity << 1) groups <<= 1;
    this.mask = groups - 1;
    this.groups = take(<usize>groups * GROUP);
    this.slab = take(<usize>capacity * this.stride);
    this.owners = take((<usize>capacity) << 2);
  }

  /** Address of the group of the entries with this hash. */
  @inline
  groupOf(hash: u32): usize {
    return this.groups + <usize>(hash & this.mask) * GROUP;
  }

  /** Which of the group's entries have the tag of a hash: a bit each. */
  @inline
  candidates(hash: u32): u32 {
    return this.tagged(this.groupOf(hash), tagOf(hash));
  }

  @inline
  private tagged(group: usize, tag: u32): u32 {
    return i8x16.bitmask(i8x16.eq(v128.load(group), i8x16.splat(<i8>tag))) & ((1 << WAYS) - 1);
  }

  /** The entry of a group at the lowest of some bits. */
  @inline
  at(hash: u32, bits: u32): V {
    return this.entry(load<u32>(this.placeAt(this.groupOf(hash), ctz<u32>(bits))));
  }

  private placeAt(group: usize, way: u32): usize {
    return group + PLACES + ((<usize>way) << 2);
  }

  private entry(place: u32): V {
    return changetype<V>(this.slab + <usize>place * this.stride);
  }

  /** Where a new entry with this hash goes, in place of another if need be. */
  claim(hash: u32): V {
    const group = this.groupOf(hash);
    const empty = this.tagged(group, 0);
    // Not in turn: where a group has one entry too many, each would go right before it is needed.
    const way = empty != 0 ? ctz<u32>(empty) : ((++this.hand * 0x9e3779b1) >>> 8) % WAYS;
    const place = empty != 0 ? this.allocate() : load<u32>(this.placeAt(group, way));
    store<u8>(group + way, <u8>tagOf(hash));
    store<u32>(this.placeAt(group, way), place);
    store<u32>(this.owners + ((<usize>place) << 2), ((hash & this.mask) << 4) | way);
    return this.entry(place);
  }

  /** A place of the slab: a fresh one, or one that its owner loses. */
  private allocate(): u32 {
    if (this.fresh < this.capacity) return this.fresh++;
    const place = ++this.hand % this.capacity;
    const owner = load<u32>(this.owners + ((<usize>place) << 2));
    store<u8>(this.groups + <usize>(owner >>> 4) * GROUP + (owner & 15), 0);
    return place;
  }
}

/** Of the bits that choose no group; never 0. */
function tagOf(hash: u32): u32 {
  return max<u32>(hash >>> 24, 1);
}
