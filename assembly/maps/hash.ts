/**
 * Maps of fixed capacity: chains through a slab of entries, as eBPF's preallocated BPF_MAP_TYPE_HASH.
 *
 *   buckets   u32[mask + 1]        number of the chain's first entry, 0 for none
 *   slab      entries 1..capacity  +-----+------+-------+---------+-----+-------+
 *                                  | key | next | epoch | assured | way | value |
 *                                  +-----+------+-------+---------+-----+-------+
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

/** What a hash starts with, before the first word is taken in. */
export function start(): u64 {
  return seed;
}

/** The hash once all words are: the upper half of a product is the well mixed one. */
export function finish(h: u64): u32 {
  return <u32>((h >>> 32) ^ (h >>> 47));
}

/** Takes one word in. A product's low bits know nothing of the factors' high ones, so those are folded in first. */
export function mix(h: u64, word: u64): u64 {
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
  return finish(h);
}

/** Whether the words of two keys are the same. */
export function same<K>(a: usize, b: usize): bool {
  let difference = load<u32>(a) ^ load<u32>(b);
  if (offsetof<K>() >= 8) difference |= load<u32>(a + 4) ^ load<u32>(b + 4);
  if (offsetof<K>() >= 12) difference |= load<u32>(a + 8) ^ load<u32>(b + 8);
  if (offsetof<K>() >= 16) difference |= load<u32>(a + 12) ^ load<u32>(b + 12);
  if (offsetof<K>() > 16)
    for (let i: usize = 16; i < offsetof<K>(); i += 4) difference |= load<u32>(a + i) ^ load<u32>(b + i);
  return difference == 0;
}

/** Between key and value, since an LRU map asks for it where it uses the value; in other maps it has no more in it than `next`. */
@unmanaged
export class EntryHeader {
  next: u32;
  /** When it was used last. */
  epoch: u16;
  /** Stands among the assured. */
  assured: u8;
  /** In its group; 0 for one that stands in a chain. */
  way: u8;
}

/** What became of a map's entries: `created` = those it holds + `evicted` + `expired` + `deleted`. */
@unmanaged
export class MapCounters {
  created: u64;
  /** Made room for others. */
  evicted: u64;
  /** Outlived their lifetime, and were collected. */
  expired: u64;
  /** Taken out by the host. */
  deleted: u64;
}

/** What all maps with hashed keys are made of. */
@unmanaged
export class Chains<K, V> extends MapCounters {
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

  protected get stride(): usize {
    return (offsetof<EntryHeader>() + offsetof<K>() + offsetof<V>() + 7) & ~7;
  }

  /** Takes memory for `capacity` entries, and `least` buckets. */
  protected reserve(capacity: u32, least: u32): void {
    let buckets: u32 = 16;
    while (buckets < least) buckets <<= 1;
    this.buckets = take((<usize>buckets) << 2);
    this.mask = buckets - 1;
    this.slab = take(<usize>(capacity + 1) * this.stride);
    this.capacity = capacity;
    this.fresh = 1;
  }

  /** Forgets every entry. */
  clear(): void {
    memory.fill(this.buckets, 0, (<usize>this.mask + 1) << 2);
    this.restart();
  }

  /** Gives all entries back, which nothing finds any more. */
  protected restart(): void {
    this.deleted += this.count;
    this.fresh = 1;
    this.free = 0;
    this.count = 0;
  }

  protected entry(index: u32): usize {
    return this.slab + <usize>index * this.stride;
  }

  /** An entry starts with its key. */
  protected headerAt(entry: usize): EntryHeader {
    return changetype<EntryHeader>(entry + offsetof<K>());
  }

  protected valueOf(entry: usize): usize {
    return entry + offsetof<K>() + offsetof<EntryHeader>();
  }

  protected bucketOf(key: usize): usize {
    return this.buckets + ((<usize>(hashOf<K>(key) & this.mask)) << 2);
  }

  /** The entry with that key in the chain of `bucket`, 0 for none. */
  @inline
  protected search(bucket: usize, key: usize): usize {
    let index = load<u32>(bucket);
    while (index != 0) {
      const entry = this.entry(index);
      if (same<K>(entry, key)) return entry;
      index = this.headerAt(entry).next;
    }
    return 0;
  }

  /** The entry with that key, 0 for none. */
  @inline
  protected find(key: usize): usize {
    return this.search(this.bucketOf(key), key);
  }

  /** Puts an entry in front of the chain of `bucket`. */
  protected chain(bucket: usize, index: u32): void {
    this.headerAt(this.entry(index)).next = load<u32>(bucket);
    store<u32>(bucket, index);
  }

  /** Gives a key an entry, where nothing finds it yet. */
  protected put(index: u32, key: K): void {
    const entry = this.entry(index);
    // The engine leaves wasm for `memory.copy`, which costs more than these few words.
    for (let i: usize = 0; i < offsetof<K>(); i += 4) store<u32>(entry + i, load<u32>(changetype<usize>(key) + i));
    this.count++;
    this.created++;
  }

  /** Number of an entry that nobody has; 0 when the map is full. */
  protected allocate(): u32 {
    const index = this.free;
    if (index != 0) {
      this.free = this.headerAt(this.entry(index)).next;
      return index;
    }
    return this.fresh <= this.capacity ? this.fresh++ : 0;
  }

  /** Takes the entry with that key out of its chain. Its number, 0 for none. */
  protected unchain(key: usize): u32 {
    let link = this.bucketOf(key);
    let index = load<u32>(link);
    while (index != 0) {
      const entry = this.entry(index);
      const header = this.headerAt(entry);
      if (same<K>(entry, key)) {
        store<u32>(link, header.next);
        return index;
      }
      link = changetype<usize>(header);
      index = header.next;
    }
    return 0;
  }

  /** Gives an entry back that nothing finds any more. */
  protected leave(index: u32): void {
    this.headerAt(this.entry(index)).next = this.free;
    this.free = index;
    this.count--;
  }
}

@unmanaged
export class HashMap<K, V> extends Chains<K, V> {
  /** Takes memory for `capacity` entries, and twice as many buckets at least: each entry passed in vain is a cache miss. */
  create(capacity: u32): void {
    this.reserve(capacity, capacity << 1);
  }

  /** The value under a key, in place; null for none. */
  @inline
  lookup(key: K): V {
    const entry = this.find(changetype<usize>(key));
    return changetype<V>(entry == 0 ? <usize>0 : this.valueOf(entry));
  }

  /** Puts a copy of `value` under a copy of `key`. 0, or E2BIG when the map is full. */
  update(key: K, value: V): i32 {
    const bucket = this.bucketOf(changetype<usize>(key));
    let entry = this.search(bucket, changetype<usize>(key));
    if (entry == 0) {
      const index = this.insert(bucket, key);
      if (index == 0) return MapError.E2BIG;
      entry = this.entry(index);
    }
    memory.copy(this.valueOf(entry), changetype<usize>(value), offsetof<V>());
    return 0;
  }

  /** Puts a key that the map does not hold into the chain of `bucket`, its own. Number of the entry, 0 when the map is full. */
  private insert(bucket: usize, key: K): u32 {
    const index = this.allocate();
    if (index == 0) return 0;
    this.put(index, key);
    this.chain(bucket, index);
    return index;
  }

  /** Takes an entry out. 0, or ENOENT when there is none. */
  delete(key: K): i32 {
    const index = this.unchain(changetype<usize>(key));
    if (index == 0) return MapError.ENOENT;
    this.leave(index);
    this.deleted++;
    return 0;
  }

  /** Copies the keys of all entries to `to`, in no useful order, for a dump; as many as fit in `room` bytes. Returns how many. */
  keys(to: usize, room: usize): u32 {
    let copied: u32 = 0;
    for (let bucket: u32 = 0; bucket <= this.mask; bucket++) {
      let index = load<u32>(this.buckets + ((<usize>bucket) << 2));
      while (index != 0) {
        const entry = this.entry(index);
        if (<usize>(copied + 1) * offsetof<K>() > room) return copied;
        memory.copy(to + <usize>copied * offsetof<K>(), entry, offsetof<K>());
        copied++;
        index = this.headerAt(entry).next;
      }
    }
    return copied;
  }
}
