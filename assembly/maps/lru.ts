/**
 * A hash map that makes room for itself, and in which a flood of new entries evicts its own.
 *
 *   links   u32[2][capacity + 2]   the entries before and behind each in its queue; two are the queues' own ends
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
import { EntryHeader, HashMap } from './hash';

/** What a key needs: to be told that its entry is about to go. */
export interface LruKey {
  changed(): void;
}

/** Of one entry, or an end of a queue: both ways round, so that a queue is a ring. */
@unmanaged
class Link {
  before: u32;
  behind: u32;
}

/** The end of the queue of the others. That of the assured comes after all entries. */
const OTHERS: u32 = 0;

/**
 * No method here is overridden that a HashMap calls itself: structs carry no class id, by which AssemblyScript would tell
 * the one from the other.
 */
@unmanaged
export class LruHashMap<K extends LruKey, V> extends HashMap<K, V> {
  private links: usize;
  private assuredCount: u32;
  /** As many may be assured before the next has to go from among them. */
  private assuredMost: u32;
  /** Which epoch it is; the sixteen low bits of a count. */
  private epoch: u16;
  /** Bits of the number of entries that are created in an epoch. */
  private epochBits: u16;
  /** The place that was inspected last. */
  private hand: u32;

  create(capacity: u32): void {
    super.create(capacity);
    this.links = take(<usize>(capacity + 2) * offsetof<Link>());
    this.assuredMost = capacity - min<u32>(capacity, (capacity >>> 4) + 4);
    this.epochBits = <u16>(31 - clz<u32>((capacity >>> 4) | 1));
    this.empty(OTHERS);
    this.empty(this.assuredEnd);
  }

  clear(): void {
    super.clear();
    this.assuredCount = 0;
    this.hand = 0;
    this.empty(OTHERS);
    this.empty(this.assuredEnd);
  }

  private get assuredEnd(): u32 {
    return this.capacity + 1;
  }

  private link(index: u32): Link {
    return changetype<Link>(this.links + <usize>index * offsetof<Link>());
  }

  /** A queue with nothing in it; of an entry: in no queue. */
  private empty(index: u32): void {
    const link = this.link(index);
    link.before = index;
    link.behind = index;
  }

  private append(end: u32, index: u32): void {
    const last = this.link(end).before;
    this.link(last).behind = index;
    this.link(end).before = index;
    const link = this.link(index);
    link.before = last;
    link.behind = end;
  }

  private unlink(index: u32): void {
    const link = this.link(index);
    this.link(link.before).behind = link.behind;
    this.link(link.behind).before = link.before;
  }

  /** Looks a key up to use its entry, which then is none of the next to go; null for none. */
  @inline
  touch(key: K): V {
    const entry = this.find(changetype<usize>(key));
    if (entry == 0) return changetype<V>(0);
    const value = changetype<V>(this.valueOf(entry));
    if (this.staleness(value) != 0) this.renew(value);
    return value;
  }

  /** 0 for an entry that was used in this epoch. What `lookup` finds, and is to be used, is to be renewed when it is stale. */
  @inline
  staleness(value: V): u32 {
    return this.headerOf(changetype<usize>(value)).epoch ^ this.epoch;
  }

  /** Sends an entry to the end of its queue: it is used. */
  renew(value: V): void {
    const header = this.headerOf(changetype<usize>(value));
    const index = <u32>((changetype<usize>(header) - this.slab) / this.stride);
    header.epoch = this.epoch;
    this.unlink(index);
    this.append(header.assured != 0 ? this.assuredEnd : OTHERS, index);
  }

  /** Where the value of a key goes: found, or made in place of another; 0 for a map without room for any. */
  admit(key: K): usize {
    const bucket = this.bucketOf(changetype<usize>(key));
    const entry = this.search(bucket, changetype<usize>(key));
    if (entry != 0) {
      const value = changetype<V>(this.valueOf(entry));
      if (this.staleness(value) != 0) this.renew(value);
      return changetype<usize>(value);
    }
    if (this.free == 0 && this.fresh > this.capacity && this.capacity != 0) this.evict();
    const index = this.insert(bucket, key);
    if (index == 0) return 0;
    const header = changetype<EntryHeader>(this.entry(index));
    this.epoch = <u16>(this.created >>> this.epochBits);
    header.epoch = this.epoch;
    header.assured = 0;
    this.append(OTHERS, index);
    return this.valueOf(this.entry(index));
  }

  /** Puts a copy of `value` under a copy of `key`, in place of another if need be. 0, or E2BIG for a map without any room. */
  update(key: K, value: V): i32 {
    const at = this.admit(key);
    if (at == 0) return MapError.E2BIG;
    memory.copy(at, changetype<usize>(value), offsetof<V>());
    return 0;
  }

  delete(key: K): i32 {
    if (!this.remove(changetype<usize>(key))) return MapError.ENOENT;
    this.deleted++;
    return 0;
  }

  private remove(key: usize): bool {
    changetype<K>(key).changed();
    const index = this.detach(key);
    if (index == 0) return false;
    this.assuredCount -= changetype<EntryHeader>(this.entry(index)).assured;
    this.unlink(index);
    this.empty(index);
    return true;
  }

  /** Every entry is in use here, and neither queue that is chosen empty. */
  private evict(): void {
    const end = this.assuredCount > this.assuredMost ? this.assuredEnd : OTHERS;
    const first = this.entry(this.link(end).behind);
    this.remove(first + offsetof<EntryHeader>());
    this.evicted++;
  }

  /** The key over a value, in place. */
  keyOf(value: V): K {
    return changetype<K>(changetype<usize>(value) - offsetof<K>());
  }

  /** The header of the entry with the value at `value`. */
  private headerOf(value: usize): EntryHeader {
    return changetype<EntryHeader>(value - offsetof<K>() - offsetof<EntryHeader>());
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
    if (this.link(this.hand).behind == this.hand) return changetype<V>(0);
    return changetype<V>(this.valueOf(this.entry(this.hand)));
  }

  /** Takes out the entry with this value: its time is past. */
  expire(value: V): void {
    this.remove(changetype<usize>(this.keyOf(value)));
    this.expired++;
  }
}
