/**
 * A cache of entries found by a hash. It forgets: where none of an entry's places is free, another goes.
 *
 *   tags      u8[places]        a byte of the hash of each place's entry, 0 for none
 *   slab      V[places]         in whole cache lines
 *
 * An entry stands in one of the sixteen places from where its hash points to, so that one comparison of vectors tells which of them may
 * be meant ("Swiss tables", Abseil). The tags are so few that they stay near, however far away the entries are.
 */
import { take } from './arena';

/** Places in which an entry may stand. */
const WAYS: u32 = 16;

@unmanaged
export class TaggedCache<V> {
  private tags: usize;
  private slab: usize;
  /** Places from which on there are as many as an entry may stand in. */
  private starts: u32;
  /** Which of an entry's places is given up next. */
  private hand: u32;
  /** Entries that nearly all fit; 0 for none. */
  capacity: u32;

  private get stride(): usize {
    return (offsetof<V>() + 63) & ~63;
  }

  /** Places, from 0 on. */
  get places(): u32 {
    return this.capacity == 0 ? 0 : this.starts + WAYS - 1;
  }

  /** Forgets every entry. */
  clear(): void {
    memory.fill(this.tags, 0, this.places);
  }

  /** Twice as much room, and sixteen places at least: of a thousand entries not one then finds theirs taken. */
  create(capacity: u32): void {
    this.capacity = capacity;
    if (capacity == 0) return;
    const places = WAYS + (capacity << 1);
    this.starts = places - WAYS + 1;
    this.tags = take(places);
    this.slab = take(<usize>places * this.stride);
  }

  /** The first of the places of an entry with this hash: its upper bits say which, as its lower ones are the tag. */
  @inline
  private startOf(hash: u32): usize {
    return <usize>((<u64>hash * <u64>this.starts) >>> 32);
  }

  /** Reads the tags among which that of an entry with this hash is, so that they are near. */
  touch(hash: u32): u32 {
    return load<u8>(this.tags + this.startOf(hash));
  }

  /** Which of the places from `start` on have this tag: a bit each. */
  @inline
  private withTag(start: usize, tag: u32): u32 {
    return i8x16.bitmask(i8x16.eq(v128.load(this.tags + start), i8x16.splat(<i8>tag)));
  }

  /** Which of its places have the tag of a hash: a bit each. */
  @inline
  candidates(hash: u32): u32 {
    return this.withTag(this.startOf(hash), tagOf(hash));
  }

  /** The entry in the place of a hash at the lowest of some bits. */
  @inline
  at(hash: u32, bits: u32): V {
    return this.entry(this.startOf(hash) + <usize>ctz<u32>(bits));
  }

  /** The entry that the tags name first; null for none. */
  @inline
  guess(hash: u32): V {
    const start = this.startOf(hash);
    const bits = this.withTag(start, tagOf(hash));
    return bits == 0 ? changetype<V>(0) : this.entry(start + <usize>ctz<u32>(bits));
  }

  /** The entry in a place. */
  @inline
  entry(place: usize): V {
    return changetype<V>(this.slab + place * this.stride);
  }

  /** The place that an entry is in. */
  placeOf(entry: V): u32 {
    return <u32>((changetype<usize>(entry) - this.slab) / this.stride);
  }

  /** Where a new entry with this hash goes, in place of another if need be. */
  claim(hash: u32): V {
    const start = this.startOf(hash);
    const empty = this.withTag(start, 0);
    // Not in turn: where sixteen places have one entry too many, each would go right before it is needed.
    const way = empty != 0 ? ctz<u32>(empty) : ((++this.hand * 0x9e3779b1) >>> 8) % WAYS;
    store<u8>(this.tags + start + <usize>way, <u8>tagOf(hash));
    return this.entry(start + <usize>way);
  }
}

/** The tag of a hash: its lowest byte, never 0. */
function tagOf(hash: u32): u32 {
  return max<u32>(hash & 0xff, 1);
}
