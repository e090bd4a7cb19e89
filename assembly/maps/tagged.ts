/**
 * A cache of entries found by a hash. It forgets: a full group, and a full slab, gives up one of its entries.
 *
 *   groups    Group[]           where entries are, by their hash
 *   slab      V[capacity]       in whole cache lines, in the order in which they came
 *   owners    u32[capacity]     the group, times sixteen, and the way in it, of each
 */
import { take } from './arena';
import { FIRST_WAY, Group, GROUP, groupsFor, tagOf, WAYS } from './group';

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

  create(capacity: u32): void {
    this.capacity = capacity;
    if (capacity == 0) return;
    const groups = groupsFor(capacity);
    this.mask = groups - 1;
    this.groups = take(<usize>groups * GROUP);
    this.slab = take(<usize>capacity * this.stride);
    this.owners = take((<usize>capacity) << 2);
  }

  /** The group of the entries with this hash. */
  @inline
  groupOf(hash: u32): Group {
    return changetype<Group>(this.groups + <usize>(hash & this.mask) * GROUP);
  }

  /** Which of the group's entries have the tag of a hash: a bit each. */
  @inline
  candidates(hash: u32): u32 {
    return this.groupOf(hash).withTag(tagOf(hash));
  }

  /** The entry of a group at the lowest of some bits. */
  @inline
  at(hash: u32, bits: u32): V {
    return this.entry(this.groupOf(hash).place(bits));
  }

  /** The entry that the tags name first; null for none. */
  guess(hash: u32): V {
    const bits = this.candidates(hash);
    return bits == 0 ? changetype<V>(0) : this.at(hash, bits);
  }

  private entry(place: u32): V {
    return changetype<V>(this.slab + <usize>place * this.stride);
  }

  /** Where a new entry with this hash goes, in place of another if need be. */
  claim(hash: u32): V {
    const group = this.groupOf(hash);
    const empty = group.empty;
    // Not in turn: where a group has one entry too many, each would go right before it is needed.
    const way = empty != 0 ? ctz<u32>(empty) : FIRST_WAY + (((++this.hand * 0x9e3779b1) >>> 8) % WAYS);
    const place = empty != 0 ? this.allocate() : group.placeOf(way);
    group.set(way, tagOf(hash), place);
    store<u32>(this.owners + ((<usize>place) << 2), ((hash & this.mask) << 4) | way);
    return this.entry(place);
  }

  /** A place of the slab: a fresh one, or one that its owner loses. */
  private allocate(): u32 {
    if (this.fresh < this.capacity) return this.fresh++;
    const place = ++this.hand % this.capacity;
    const owner = load<u32>(this.owners + ((<usize>place) << 2));
    this.groupOf(owner >>> 4).unset(owner & 15);
    return place;
  }
}
