/**
 * A hash map that makes room for itself, and in which a flood of new entries evicts its own.
 *
 *   groups  Group[]                    where entries are, by the `home` of their keys: those that are looked up together are found together
 *   queues  (u32, u32)[capacity + 2]   the entries before and behind each in its queue; two are the queues' own ends
 *
 * Entries whose group is full stand in chains, by the hash of their whole key: who has all of his aim at one group finds them
 * there, and slows down nobody else.
 *
 *   others    ── first ─▶ … ─▶ last    new entries join here
 *   assured   ── first ─▶ … ─▶ last    entries that proved their worth: `assure` brings them, `release` takes them back
 *
 * The first of a queue goes, one of the least recently used: who is used goes to the end of its queue. Only the first use in
 * an epoch moves it, so that a look-up seldom writes anything; an epoch lasts until about a sixteenth of the map was made anew.
 * It goes from the others, while these have more than their share; then from the assured. So entries are assured of their place
 * as long as they leave a sixteenth of the map, in which new ones prove their worth. This is a segmented LRU ("Caching
 * strategies to improve disk system performance", Karedla, Love, Wherry, Computer 1994), whose protected segment is connection
 * tracking's "assured" one: Linux calls IPS_ASSURED a connection that is not dropped early.
 */
import { MapError } from '../abi';
import { take } from './arena';
import { Group, GROUP, groupsFor } from './group';
import { Chains, EntryHeader, same } from './hash';
import { Rings, takeRings } from './rings';
import { endTurn } from './turn';

export interface LruKey {
  /** A hash that keys have in common whose entries are looked up together. */
  home(): u32;
  /** From 1 to 3, to tell apart keys of one home. */
  kind(): u32;
  /** Its entry is about to go; `home` is as above. */
  leaves(home: u32): void;
}

/** What the tags of all keys with a home have in common: the bits above their kind, never all 0. */
const HOME: u32 = 0xfc;

function tagOfHome(home: u32): u32 {
  return max<u32>(home >>> 24, 4) & HOME;
}

/** As many entries are foreseen at once: those of a batch. */
const FORESEEN: u32 = 384;
const foreseen = memory.data(384 << 2, 16);

/** The end of the queue of the others. That of the assured comes after all entries. */
const OTHERS: u32 = 0;

/**
 * No method here is overridden that `Chains` calls itself: structs carry no class id, by which AssemblyScript would tell
 * the one from the other.
 */
@unmanaged
export class LruHashMap<K extends LruKey, V> extends Chains<K, V> {
  private groups: usize;
  /** Groups, less one. */
  private groupMask: u32;
  private queues: Rings;
  private assuredCount: u32;
  /** As many may be assured before the next has to go from among them. */
  private assuredMost: u32;
  /** Which epoch it is; the sixteen low bits of a count. */
  private epoch: u16;
  /** Bits of the number of entries that are created in an epoch. */
  private epochBits: u16;
  /** The place that was inspected last. */
  private hand: u32;

  /** Takes its memory. It is to be cleared once that is there, and then has queues with ends. */
  create(capacity: u32): void {
    this.reserve(capacity, capacity);
    // Twice as many again: what one home has comes together, and a full group costs all of its look-ups a chain.
    const groups = groupsFor(capacity << 1);
    this.groups = take(<usize>groups * GROUP);
    this.groupMask = groups - 1;
    this.queues = takeRings(capacity + 2);
    this.assuredMost = capacity - min<u32>(capacity, (capacity >>> 4) + 4);
    this.epochBits = <u16>(31 - clz<u32>((capacity >>> 4) | 1));
  }

  /** Forgets every entry: where there are few, as between two questions, one by one. */
  clear(): void {
    if (this.fresh <= this.groupMask >>> 4) {
      for (let index: u32 = 1; index < this.fresh; index++) if (!this.queues.isAlone(index)) this.wipe(index);
      this.restart();
    } else {
      super.clear();
      memory.fill(this.groups, 0, (<usize>this.groupMask + 1) * GROUP);
    }
    this.assuredCount = 0;
    this.hand = 0;
    this.queues.alone(OTHERS);
    this.queues.alone(this.assuredEnd);
  }

  /** Clears wherever an entry may stand. */
  private wipe(index: u32): void {
    const key = this.entry(index);
    store<u32>(this.bucketOf(key), 0);
    const group = changetype<usize>(this.groupOf(changetype<K>(key).home()));
    for (let i: usize = 0; i < GROUP; i += 16) v128.store(group + i, i64x2(0, 0));
  }

  private get assuredEnd(): u32 {
    return this.capacity + 1;
  }

  /** The group of the keys with this home. */
  @inline
  groupOf(home: u32): Group {
    return this.group(this.groupNumber(home));
  }

  @inline
  private group(number: u32): Group {
    return changetype<Group>(this.groups + <usize>number * GROUP);
  }

  /** Number of that group. */
  @inline
  groupNumber(home: u32): u32 {
    return home & this.groupMask;
  }

  get groupCount(): u32 {
    return this.groupMask + 1;
  }

  /** Somebody watches the group with this number: whoever changes something there finds it marked. */
  watch(number: u32): void {
    this.group(number).isWatched = true;
  }

  /** The entry with that key; 0 for none. */
  @inline
  private seek(home: u32, key: K): usize {
    const group = this.groupOf(home);
    for (let ways = group.withTag(tagOfHome(home) | key.kind()); ways != 0; ways &= ways - 1) {
      const entry = this.entry(group.place(ways));
      if (same<K>(entry, changetype<usize>(key))) return entry;
    }
    return group.isOverflown ? this.find(changetype<usize>(key)) : 0;
  }

  /** Whether there may be an entry of a key with this home; if not, there is none. */
  mayKnow(home: u32): bool {
    const group = this.groupOf(home);
    return group.isOverflown || group.withTagIn(HOME, tagOfHome(home)) != 0;
  }

  /** The value under a key, in place; null for none. */
  @inline
  lookup(key: K): V {
    return this.lookupAt(key.home(), key);
  }

  /** The same, of a key whose home is known. */
  @inline
  lookupAt(home: u32, key: K): V {
    const entry = this.seek(home, key);
    return changetype<V>(entry == 0 ? <usize>0 : this.valueOf(entry));
  }

  /** Looks a key up to use its entry, which then is none of the next to go; null for none. */
  @inline
  touch(key: K): V {
    const entry = this.seek(key.home(), key);
    if (entry == 0) return changetype<V>(0);
    const value = changetype<V>(this.valueOf(entry));
    this.use(value);
    return value;
  }

  /** Uses an entry that `lookup` found: the first time in an epoch, it goes to the end of its queue. */
  @inline
  use(value: V): void {
    if (this.staleness(value) != 0) this.renew(value);
  }

  /** 0 for an entry that was used in this epoch. */
  @inline
  staleness(value: V): u32 {
    return this.headerOf(changetype<usize>(value)).epoch ^ this.epoch;
  }

  /** Sends an entry to the end of its queue: it is used. */
  renew(value: V): void {
    const header = this.headerOf(changetype<usize>(value));
    const index = this.numberOf(changetype<usize>(header));
    header.epoch = this.epoch;
    this.queues.unlink(index);
    this.queues.append(header.assured != 0 ? this.assuredEnd : OTHERS, index);
  }

  /** Where the value of a key goes: found, or made in place of another; 0 for a map without room for any. */
  admit(key: K): usize {
    return this.admitAt(key.home(), key);
  }

  /** The same, of a key whose home is known. */
  admitAt(home: u32, key: K): usize {
    const entry = this.seek(home, key);
    if (entry != 0) {
      this.use(changetype<V>(this.valueOf(entry)));
      return this.valueOf(entry);
    }
    return this.add(home, key, this.groupOf(home).empty);
  }

  /**
   * Where the value of a key goes that the map does not hold, in place of another if need be; 0 for a map without room for any. `ways` are
   * some that its group has empty, if any.
   */
  add(home: u32, key: K, ways: u32): usize {
    const index = this.isFull ? this.evict() : this.allocate();
    if (index == 0) return 0;
    this.put(index, key);
    const group = this.groupOf(home);
    const header = this.headerAt(this.entry(index));
    const way: u32 = ways != 0 ? ctz<u32>(ways) : 0;
    header.way = <u8>way;
    if (way != 0) group.set(way, tagOfHome(home) | key.kind(), index);
    else {
      group.overflow(1);
      this.chain(this.bucketOf(changetype<usize>(key)), index);
    }
    this.enter(<u16>(this.created >>> this.epochBits));
    header.epoch = this.epoch;
    header.assured = 0;
    this.queues.append(OTHERS, index);
    return this.valueOf(this.entry(index));
  }

  private enter(epoch: u16): void {
    if (epoch == this.epoch) return;
    this.epoch = epoch;
    endTurn();
  }

  /** Puts a copy of `value` under a copy of `key`, in place of another if need be. 0, or E2BIG for a map without any room. */
  update(key: K, value: V): i32 {
    const at = this.admit(key);
    if (at == 0) return MapError.E2BIG;
    memory.copy(at, changetype<usize>(value), offsetof<V>());
    return 0;
  }

  delete(key: K): i32 {
    const entry = this.seek(key.home(), key);
    if (entry == 0) return MapError.ENOENT;
    this.remove(this.numberOf(entry));
    this.deleted++;
    return 0;
  }

  /** The number of the entry that an address lies in. */
  private numberOf(at: usize): u32 {
    return <u32>((at - this.slab) / this.stride);
  }

  private remove(index: u32): void {
    this.detach(index);
    this.leave(index);
    this.queues.alone(index);
  }

  /** Takes an entry out of its group, or its chain, and of its queue. */
  private detach(index: u32): void {
    const entry = this.entry(index);
    const key = changetype<K>(entry);
    const home = key.home();
    key.leaves(home);
    this.forget(home, entry);
    this.assuredCount -= this.headerAt(entry).assured;
    this.queues.unlink(index);
  }

  /** Whether each new entry takes the place of another. */
  private get isFull(): bool {
    return this.free == 0 && this.fresh > this.capacity;
  }

  private forget(home: u32, entry: usize): void {
    const group = this.groupOf(home);
    const way = <u32>this.headerAt(entry).way;
    if (way != 0) return group.unset(way);
    this.unchain(entry);
    group.overflow(-1);
  }

  /**
   * Has what making room for `count` entries will look at fetched: first the entries, then where they stand, in loops that wait for
   * nothing. Of many, the first ones. Returns what was read.
   */
  foresee(count: u32): u32 {
    if (count == 0 || !this.isFull) return 0;
    const end = this.first;
    let touched: u32 = 0;
    let found: u32 = 0;
    for (let index = this.queues.behind(end); found < min(count, FORESEEN) && index != end; found++) {
      touched += this.headerAt(this.entry(index)).next;
      store<u32>(foreseen + ((<usize>found) << 2), index);
      index = this.queues.behind(index);
    }
    // Those of one connection come together, and stand in one group.
    let groups: u32 = 0;
    let last: u32 = 0;
    for (let i: u32 = 0; i < found; i++) {
      const key = changetype<K>(this.entry(load<u32>(foreseen + ((<usize>i) << 2))));
      const group = <u32>changetype<usize>(this.groupOf(key.home()));
      if (group == last) continue;
      last = group;
      store<u32>(foreseen + ((<usize>groups) << 2), group);
      groups++;
    }
    for (let i: u32 = 0; i < groups; i++) changetype<Group>(<usize>load<u32>(foreseen + ((<usize>i) << 2))).fetch();
    return touched;
  }

  /** The end of the queue from which entries go. */
  private get first(): u32 {
    return this.assuredCount > this.assuredMost ? this.assuredEnd : OTHERS;
  }

  /** Number of an entry that has gone for another; 0 of a map without any. Neither queue that is chosen is empty: every entry is in use. */
  private evict(): u32 {
    if (this.capacity == 0) return 0;
    const index = this.queues.behind(this.first);
    this.detach(index);
    this.count--;
    this.evicted++;
    return index;
  }

  /** Copies the keys of all entries to `to`, as those of any hash map. */
  keys(to: usize, room: usize): u32 {
    let copied: u32 = 0;
    for (let index: u32 = 1; index < this.fresh; index++) {
      if (this.queues.isAlone(index)) continue;
      if (<usize>(copied + 1) * offsetof<K>() > room) return copied;
      memory.copy(to + <usize>copied * offsetof<K>(), this.entry(index), offsetof<K>());
      copied++;
    }
    return copied;
  }

  /** The key over a value, in place. */
  keyOf(value: V): K {
    return changetype<K>(changetype<usize>(value) - offsetof<EntryHeader>() - offsetof<K>());
  }

  /** The header of the entry with the value at `value`. */
  private headerOf(value: usize): EntryHeader {
    return changetype<EntryHeader>(value - offsetof<EntryHeader>());
  }

  @inline
  isAssured(value: V): bool {
    return this.headerOf(changetype<usize>(value)).assured != 0;
  }

  /** Assures an entry of its place. */
  @inline
  assure(value: V): void {
    if (!this.isAssured(value)) this.move(value, 1);
  }

  /** Puts an entry back among the others. */
  @inline
  release(value: V): void {
    if (this.isAssured(value)) this.move(value, 0);
  }

  private move(value: V, assured: u8): void {
    const header = this.headerOf(changetype<usize>(value));
    header.assured = assured;
    this.assuredCount += assured != 0 ? 1 : -1;
    this.renew(value);
  }

  /** Places that were in use once: so many calls of `inspect` see every entry. */
  get places(): u32 {
    return this.fresh - 1;
  }

  /** The value in the next place, round and round; null where there is none. There must be places. */
  inspect(): V {
    this.hand = this.hand + 1 >= this.fresh ? 1 : this.hand + 1;
    if (this.queues.isAlone(this.hand)) return changetype<V>(0);
    return changetype<V>(this.valueOf(this.entry(this.hand)));
  }

  /** Takes out the entry with this value: its time is past. */
  expire(value: V): void {
    this.remove(this.numberOf(changetype<usize>(this.headerOf(changetype<usize>(value)))));
    this.expired++;
  }
}
