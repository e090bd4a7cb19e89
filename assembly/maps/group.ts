/**
 * A cache line that says where up to twelve entries are, found by a hash: every entry has one byte of its hash in it as a tag, so that
 * one comparison of vectors tells which of them may be meant ("Swiss tables", Abseil).
 *
 *   0           2         3      4               16               64
 *   +-----------+---------+------+---------------+----------------+
 *   | overflown | watched | zero | u8 tags[12]   | u32 places[12] |     a tag of 0: nothing there
 *   +-----------+---------+------+---------------+----------------+
 *
 * Which of them are meant is said by bits, one for each byte of the vector with the tags; so an entry's place is four bytes a bit on.
 */
const WAYS: u32 = 12;

/** Bytes of a group, places and all. */
export const GROUP: usize = 64;

const UNCOUNTED: u16 = 0xffff;

/** The bits of all ways. */
const ALL: u32 = 0xfff0;

@unmanaged
export class Group {
  /** As many entries that belong here found no room; from `UNCOUNTED` on nobody counts them any more. */
  private overflown: u16;
  /** Whether somebody watches what is here. */
  isWatched: bool;
  private zero: u8;
  private tags0: u32;
  private tags4: u32;
  private tags8: u32;

  /** Has the group fetched. A store, of what is there already, waits for it behind all that runs on; a load would hold that up. */
  fetch(): void {
    this.zero = 0;
  }

  /** Whether entries that belong here found no room. */
  get isOverflown(): bool {
    return this.overflown != 0;
  }

  /** Notes that one more has found no room, or with -1 that one of those is gone. */
  overflow(change: i32): void {
    if (this.overflown != UNCOUNTED) this.overflown += <u16>change;
  }

  /** Which ways have this tag. */
  @inline
  withTag(tag: u32): u32 {
    return i8x16.bitmask(i8x16.eq(v128.load(changetype<usize>(this)), i8x16.splat(<i8>tag))) & ALL;
  }

  /** Which ways have a tag that is this one in some bits. */
  withTagIn(bits: u32, tag: u32): u32 {
    const masked = v128.and(v128.load(changetype<usize>(this)), i8x16.splat(<i8>bits));
    return i8x16.bitmask(i8x16.eq(masked, i8x16.splat(<i8>tag))) & ALL;
  }

  /** Which ways have nothing. */
  get empty(): u32 {
    return this.withTag(0);
  }

  /** Where the entry of the lowest of some ways is. */
  @inline
  place(ways: u32): u32 {
    return load<u32>(this.placeAt(ctz<u32>(ways)));
  }

  private placeAt(way: u32): usize {
    return changetype<usize>(this) + ((<usize>way) << 2);
  }

  /** Has `way` name the entry at `place`. */
  set(way: u32, tag: u32, place: u32): void {
    store<u8>(changetype<usize>(this) + <usize>way, <u8>tag);
    store<u32>(this.placeAt(way), place);
  }

  /** Has `way` name nothing. */
  unset(way: u32): void {
    store<u8>(changetype<usize>(this) + <usize>way, 0);
  }
}

/** As many groups as hold `capacity` entries with as much room again, for they fill unevenly. */
export function groupsFor(capacity: u32): u32 {
  let groups: u32 = 1;
  while (groups * WAYS < capacity << 1) groups <<= 1;
  return groups;
}

if (offsetof<Group>() != 16) ERROR('the places follow');
