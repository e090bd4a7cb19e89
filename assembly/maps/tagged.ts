/**
 * A cache of entries found by a hash. It forgets: where none of an entry's places is free, another goes.
 *
 *   tags      u8[places]      a byte of the hash of each place's entry, 0 for none
 *   numbers   u32[places]     which that entry is
 *   slab      V[capacity]     the entries, in whole cache lines, in the order in which they came
 *   owners    u32[capacity]   the place of each
 *
 * An entry has one of the sixteen places from where its hash points to, so that one comparison of vectors tells which of them may be
 * meant ("Swiss tables", Abseil). Tags are so few that they stay near, however far away the entries are; and these stand as close as
 * they can, since every page of memory that is in use costs the processor a look-up of its own.
 */
import { take } from './arena';

/** Places that an entry may have. */
const WAYS: u32 = 16;

@unmanaged
export class TaggedCache<V> {
  private tags: usize;
  private numbers: usize;
  private slab: usize;
  private owners: usize;
  /** Places from which on there are as many as an entry may have. */
  private starts: u32;
  /** Entries that were in use once. */
  private fresh: u32;
  /** Which entry, or which of an entry's places, is given up next. */
  private hand: u32;
  /** Entries that fit; 0 for none. */
  capacity: u32;

  private get stride(): usize {
    return (offsetof<V>() + 63) & ~63;
  }

  /** Takes memory for so many entries, and for twice as many places: hashes fill them unevenly. */
  create(capacity: u32): void {
    this.capacity = capacity;
    if (capacity == 0) return;
    const places = WAYS + (capacity << 1);
    this.starts = places - WAYS + 1;
    this.tags = take(places);
    this.numbers = take((<usize>places) << 2);
    this.slab = take(<usize>capacity * this.stride);
    this.owners = take((<usize>capacity) << 2);
  }

  /** The first of the places for entries with this hash: its upper bits say which, as its lower ones are the tag. */
  @inline
  private startOf(hash: u32): u32 {
    return <u32>((<u64>hash * <u64>this.starts) >>> 32);
  }

  /** Which of the places from `start` on have this tag: a bit each. */
  @inline
  private withTag(start: u32, tag: u32): u32 {
    return i8x16.bitmask(i8x16.eq(v128.load(this.tags + <usize>start), i8x16.splat(<i8>tag)));
  }

  @inline
  private numberAt(place: u32): usize {
    return this.numbers + ((<usize>place) << 2);
  }

  @inline
  private entry(number: u32): V {
    return changetype<V>(this.slab + <usize>number * this.stride);
  }

  /** Reads the tags for a hash and the number that is likeliest meant, so that they are near. */
  @inline
  touch(hash: u32): u32 {
    const start = this.startOf(hash);
    return load<u8>(this.tags + <usize>start) + load<u32>(this.numberAt(start));
  }

  /** Which of its places have the tag of a hash: a bit each. */
  @inline
  candidates(hash: u32): u32 {
    return this.withTag(this.startOf(hash), tagOf(hash));
  }

  /** The entry that has the place of a hash at the lowest of some bits. */
  @inline
  at(hash: u32, bits: u32): V {
    return this.entry(load<u32>(this.numberAt(this.startOf(hash) + ctz<u32>(bits))));
  }

  /** The entry that the tags name first; null for none. */
  @inline
  guess(hash: u32): V {
    const bits = this.candidates(hash);
    return bits == 0 ? changetype<V>(0) : this.at(hash, bits);
  }

  /** Where a new entry with this hash goes, in place of another if need be. */
  claim(hash: u32): V {
    const start = this.startOf(hash);
    const empty = this.withTag(start, 0);
    // Not in turn: where sixteen places have one entry too many, each would go right before it is needed.
    const place = start + (empty != 0 ? ctz<u32>(empty) : ((++this.hand * 0x9e3779b1) >>> 8) % WAYS);
    const number = empty != 0 ? this.allocate() : load<u32>(this.numberAt(place));
    store<u8>(this.tags + <usize>place, <u8>tagOf(hash));
    store<u32>(this.numberAt(place), number);
    store<u32>(this.owners + ((<usize>number) << 2), place);
    return this.entry(number);
  }

  /** The number of a fresh entry, or of one that its owner loses. */
  private allocate(): u32 {
    if (this.fresh < this.capacity) return this.fresh++;
    const number = ++this.hand % this.capacity;
    store<u8>(this.tags + <usize>load<u32>(this.owners + ((<usize>number) << 2)), 0);
    return number;
  }
}

/** The tag of a hash: its lowest byte, never 0. */
function tagOf(hash: u32): u32 {
  return max<u32>(hash & 0xff, 1);
}
