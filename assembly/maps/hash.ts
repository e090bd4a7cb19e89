/**
 * A hash map of fixed capacity: chains through a slab of entries, as eBPF's preallocated BPF_MAP_TYPE_HASH.
 *
 *   buckets   u32[mask + 1]        number of the chain's first entry, 0 for none
 *   slab      entries 1..capacity  +------+------------+-----+-------+
 *                                  | next | referenced | key | value |
 *                                  +------+------------+-----+-------+
 *
 * Keys are compared and hashed as whole 32-bit words, so a key class fills its padding with zeros.
 */
import { MapError } from '../abi';
import { take } from './arena';

/** Set once at start-up, so that nobody can aim keys at one bucket. */
let seed: u64 = 0x9e3779b97f4a7c15;

export function setSeed(value: u64): void {
  seed = value | 1;
}

/** Takes one word in. A product's low bits know nothing of the factors' high ones, so those are folded in first. */
function mix(h: u64, word: u64): u64 {
  h ^= word;
  return (h ^ (h >>> 32)) * 0xff51afd7ed558ccd;
}

/** Two words; as two loads, since a wide load over freshly written halves would stall. */
function pair(at: usize, offset: usize): u64 {
  return (<u64>load<u32>(at + offset)) | ((<u64>load<u32>(at + offset + 4)) << 32);
}

/** Hash of the `offsetof<K>()` bytes at `key`, a multiple of four up to 48. */
export function hashOf<K>(key: usize): u32 {
  let h = seed;
  if (offsetof<K>() >= 8) h = mix(h, pair(key, 0));
  if (offsetof<K>() >= 16) h = mix(h, pair(key, 8));
  if (offsetof<K>() >= 24) h = mix(h, pair(key, 16));
  if (offsetof<K>() >= 32) h = mix(h, pair(key, 24));
  if (offsetof<K>() >= 40) h = mix(h, pair(key, 32));
  if (offsetof<K>() >= 48) h = mix(h, pair(key, 40));
  if (offsetof<K>() % 8 == 4) h = mix(h, <u64>load<u32>(key + offsetof<K>() - 4));
  // The upper half of a product is the well mixed one.
  return <u32>((h >>> 32) ^ (h >>> 47));
}

/** Whether the words of two keys are the same. */
function same<K>(a: usize, b: usize): bool {
  let difference = load<u32>(a) ^ load<u32>(b);
  if (offsetof<K>() >= 8) difference |= load<u32>(a + 4) ^ load<u32>(b + 4);
  if (offsetof<K>() >= 12) difference |= load<u32>(a + 8) ^ load<u32>(b + 8);
  if (offsetof<K>() >= 16) difference |= load<u32>(a + 12) ^ load<u32>(b + 12);
  if (offsetof<K>() > 16)
    for (let i: usize = 16; i < offsetof<K>(); i += 4) difference |= load<u32>(a + i) ^ load<u32>(b + i);
  return difference == 0;
}

/** In front of each key. */
@unmanaged
class EntryHeader {
  next: u32;
  /** Looked up since the eviction hand passed; only an LRU map reads it. */
  referenced: u32;
}

@unmanaged
export class HashMap<K, V> {
  protected buckets: usize;
  protected slab: usize;
  protected mask: u32;
  /** Entries never used yet start here. */
  protected fresh: u32;
  /** First of the entries given back, 0 for none. */
  protected free: u32;
  /** Entries that fit. */
  capacity: u32;
  /** Entries held. */
  count: u32;
  protected hand: u32;

  protected get stride(): usize {
    return (offsetof<EntryHeader>() + offsetof<K>() + offsetof<V>() + 7) & ~7;
  }

  /** Takes memory for `capacity` entries, and twice as many buckets at least: each entry passed in vain is a cache miss. */
  create(capacity: u32): void {
    let buckets: u32 = 16;
    while (buckets < capacity << 1) buckets <<= 1;
    this.buckets = take((<usize>buckets) << 2);
    this.mask = buckets - 1;
    this.slab = take(<usize>(capacity + 1) * this.stride);
    this.capacity = capacity;
    this.fresh = 1;
  }

  /** Forgets every entry. */
  clear(): void {
    memory.fill(this.buckets, 0, (<usize>this.mask + 1) << 2);
    this.fresh = 1;
    this.free = 0;
    this.count = 0;
    this.hand = 0;
  }

  protected entry(index: u32): usize {
    return this.slab + <usize>index * this.stride;
  }

  protected valueOf(entry: usize): usize {
    return entry + offsetof<EntryHeader>() + offsetof<K>();
  }

  protected bucketOf(key: usize): usize {
    return this.buckets + ((<usize>(hashOf<K>(key) & this.mask)) << 2);
  }

  /** The entry with that key, 0 for none. */
  @inline
  protected find(key: usize): usize {
    let index = load<u32>(this.bucketOf(key));
    while (index != 0) {
      const entry = this.entry(index);
      if (same<K>(entry + offsetof<EntryHeader>(), key)) return entry;
      index = changetype<EntryHeader>(entry).next;
    }
    return 0;
  }

  /** The value under a key, in place; null for none. */
  @inline
  lookup(key: K): V {
    const entry = this.find(changetype<usize>(key));
    return changetype<V>(entry == 0 ? <usize>0 : this.valueOf(entry));
  }

  /** Puts a copy of `value` under a copy of `key`. 0, or E2BIG when the map is full. */
  update(key: K, value: V): i32 {
    const entry = this.find(changetype<usize>(key));
    const at = entry == 0 ? this.add(key) : this.valueOf(entry);
    if (at == 0) return MapError.E2BIG;
    memory.copy(at, changetype<usize>(value), offsetof<V>());
    return 0;
  }

  /** Where the value goes of a key that the map does not hold; 0 when the map is full. */
  protected add(key: K): usize {
    const index = this.allocate();
    if (index == 0) return 0;
    const entry = this.entry(index);
    const bucket = this.bucketOf(changetype<usize>(key));
    const header = changetype<EntryHeader>(entry);
    header.next = load<u32>(bucket);
    header.referenced = 0;
    store<u32>(bucket, index);
    memory.copy(entry + offsetof<EntryHeader>(), changetype<usize>(key), offsetof<K>());
    this.count++;
    return this.valueOf(entry);
  }

  private allocate(): u32 {
    const index = this.free;
    if (index != 0) {
      this.free = changetype<EntryHeader>(this.entry(index)).next;
      return index;
    }
    return this.fresh <= this.capacity ? this.fresh++ : 0;
  }

  /** Takes an entry out. 0, or ENOENT when there is none. */
  delete(key: K): i32 {
    let link = this.bucketOf(changetype<usize>(key));
    let index = load<u32>(link);
    while (index != 0) {
      const entry = this.entry(index);
      const header = changetype<EntryHeader>(entry);
      if (same<K>(entry + offsetof<EntryHeader>(), changetype<usize>(key))) {
        store<u32>(link, header.next);
        header.next = this.free;
        this.free = index;
        this.count--;
        return 0;
      }
      link = entry;
      index = header.next;
    }
    return MapError.ENOENT;
  }

  /** Copies the keys of all entries to `to`, in no useful order, for a dump; as many as fit in `room` bytes. Returns how many. */
  keys(to: usize, room: usize): u32 {
    let copied: u32 = 0;
    for (let bucket: u32 = 0; bucket <= this.mask; bucket++) {
      let index = load<u32>(this.buckets + ((<usize>bucket) << 2));
      while (index != 0) {
        const entry = this.entry(index);
        if (<usize>(copied + 1) * offsetof<K>() > room) return copied;
        memory.copy(to + <usize>copied * offsetof<K>(), entry + offsetof<EntryHeader>(), offsetof<K>());
        copied++;
        index = changetype<EntryHeader>(entry).next;
      }
    }
    return copied;
  }
}

/**
 * A hash map that makes room for itself: when full, a hand goes round the slab and takes the first entry that has not
 * been touched since it last passed (second chance), as eBPF's LRU hash does in the large.
 *
 * No method here is overridden that a HashMap calls itself: structs carry no class id, by which AssemblyScript would tell
 * the one from the other.
 */
@unmanaged
export class LruHashMap<K, V> extends HashMap<K, V> {
  /** Looks a key up, and saves its entry from the next eviction; null for none. */
  @inline
  touch(key: K): V {
    const entry = this.find(changetype<usize>(key));
    if (entry == 0) return changetype<V>(0);
    changetype<EntryHeader>(entry).referenced = 1;
    return changetype<V>(this.valueOf(entry));
  }

  /** Where the value of a key goes: found, or made in place of another; 0 for a map without room for any. */
  admit(key: K): usize {
    const entry = this.find(changetype<usize>(key));
    if (entry != 0) return this.valueOf(entry);
    if (this.free == 0 && this.fresh > this.capacity && this.capacity != 0) this.evict();
    return this.add(key);
  }

  /** Puts a copy of `value` under a copy of `key`, in place of another if need be. 0, or E2BIG for a map without any room. */
  update(key: K, value: V): i32 {
    const at = this.admit(key);
    if (at == 0) return MapError.E2BIG;
    memory.copy(at, changetype<usize>(value), offsetof<V>());
    return 0;
  }

  private evict(): void {
    // Every entry is in use here, so after one full round of clearing the hand must find one.
    for (;;) {
      this.hand = this.hand >= this.capacity ? 1 : this.hand + 1;
      const entry = this.entry(this.hand);
      const header = changetype<EntryHeader>(entry);
      if (header.referenced == 0) {
        this.delete(changetype<K>(entry + offsetof<EntryHeader>()));
        return;
      }
      header.referenced = 0;
    }
  }
}
