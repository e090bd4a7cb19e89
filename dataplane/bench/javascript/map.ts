/** Hash maps of 32-bit words over typed arrays: chains through a slab, as the datapath's own (`assembly/maps`). */

/** Of `words` words from `at` on, taken in one by one. MurmurHash3's mixing. */
function hashOf(keys: Int32Array, at: number, words: number): number {
  let h = 0x5bd1e995;
  for (let i = at; i < at + words; i++) {
    h = Math.imul(h ^ keys[i]!, 0x85ebca6b);
    h ^= h >>> 15;
  }
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

export class WordMap {
  private readonly buckets: Int32Array;
  private readonly next: Int32Array;
  private readonly keys: Int32Array;
  private readonly mask: number;
  private fresh = 1;
  private free = 0;
  readonly values: Int32Array;

  constructor(
    readonly capacity: number,
    private readonly keyWords: number,
    readonly valueWords: number,
  ) {
    let buckets = 16;
    while (buckets < capacity * 2) buckets *= 2;
    this.mask = buckets - 1;
    this.buckets = new Int32Array(buckets);
    this.next = new Int32Array(capacity + 1);
    this.keys = new Int32Array((capacity + 1) * keyWords);
    this.values = new Int32Array((capacity + 1) * valueWords);
  }

  /** The entry of a key; its value's words start at `entry * valueWords`. 0 for none. */
  find(key: Int32Array): number {
    const { next, keys, keyWords } = this;
    for (let entry = this.buckets[hashOf(key, 0, keyWords) & this.mask]!; entry !== 0; entry = next[entry]!) {
      const at = entry * keyWords;
      let i = 0;
      while (i < keyWords && keys[at + i] === key[i]) i++;
      if (i === keyWords) return entry;
    }
    return 0;
  }

  /** A word of the value of `entry`. */
  word(entry: number, i: number): number {
    return this.values[entry * this.valueWords + i]!;
  }

  get isFull(): boolean {
    return this.free === 0 && this.fresh > this.capacity;
  }

  /** A new entry for a key that is not there, its value as it comes; 0 when the map is full. */
  insert(key: Int32Array): number {
    const entry = this.free !== 0 ? this.free : this.fresh <= this.capacity ? this.fresh++ : 0;
    if (entry === 0) return 0;
    if (entry === this.free) this.free = this.next[entry]!;
    const bucket = hashOf(key, 0, this.keyWords) & this.mask;
    this.next[entry] = this.buckets[bucket]!;
    this.buckets[bucket] = entry;
    const at = entry * this.keyWords;
    for (let i = 0; i < this.keyWords; i++) this.keys[at + i] = key[i]!;
    return entry;
  }

  /** Takes out an entry that is there. */
  remove(entry: number): void {
    const bucket = hashOf(this.keys, entry * this.keyWords, this.keyWords) & this.mask;
    if (this.buckets[bucket] === entry) this.buckets[bucket] = this.next[entry]!;
    else {
      let before = this.buckets[bucket]!;
      while (this.next[before] !== entry) before = this.next[before]!;
      this.next[before] = this.next[entry]!;
    }
    this.next[entry] = this.free;
    this.free = entry;
  }
}

const htonl = (word: number): number => (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);

/** Of a word in network order whose prefixes have up to `bits` bits, those that a prefix leaves; what stands before them stays. */
const maskOf = (length: number, bits: number): number =>
  length === 0 && bits === 32 ? 0 : htonl(-1 << (bits - length));

/** A longest-prefix map: of the key, word `lengthAt` is the length, and word `cutAt` what it cuts. */
export class PrefixMap extends WordMap {
  /** In use, longest first. */
  private readonly lengths: number[] = [];

  constructor(
    capacity: number,
    keyWords: number,
    valueWords: number,
    private readonly lengthAt: number,
    private readonly cutAt: number,
    private readonly bits: number,
  ) {
    super(capacity, keyWords, valueWords);
  }

  override insert(key: Int32Array): number {
    const length = key[this.lengthAt]!;
    if (!this.lengths.includes(length)) this.lengths.push(length);
    this.lengths.sort((a, b) => b - a);
    return super.insert(key);
  }

  /** The entry of the longest prefix of `key`, which is left at that prefix; 0 for none. */
  longest(key: Int32Array): number {
    for (let i = 0; i < this.lengths.length; i++) {
      key[this.lengthAt] = this.lengths[i]!;
      key[this.cutAt]! &= maskOf(this.lengths[i]!, this.bits);
      const entry = this.find(key);
      if (entry !== 0) return entry;
    }
    return 0;
  }
}

/** A map that makes room: the entry that was longest unused goes. Use is noted once an epoch, a sixteenth of the map long. */
export class LruMap extends WordMap {
  private readonly before: Int32Array;
  private readonly behind: Int32Array;
  private readonly epochs: Int32Array;
  private readonly epochLength: number;
  private created = 0;
  private epoch = 0;

  constructor(capacity: number, keyWords: number, valueWords: number) {
    super(capacity, keyWords, valueWords);
    this.before = new Int32Array(capacity + 1);
    this.behind = new Int32Array(capacity + 1);
    this.epochs = new Int32Array(capacity + 1);
    this.epochLength = Math.max(1, capacity >>> 4);
  }

  private append(entry: number): void {
    const last = this.before[0]!;
    this.behind[last] = entry;
    this.before[entry] = last;
    this.behind[entry] = 0;
    this.before[0] = entry;
    this.epochs[entry] = this.epoch;
  }

  private unlink(entry: number): void {
    const before = this.before[entry]!;
    const behind = this.behind[entry]!;
    this.behind[before] = behind;
    this.before[behind] = before;
  }

  /** Notes that an entry is used. */
  use(entry: number): void {
    if (this.epochs[entry] === this.epoch) return;
    this.unlink(entry);
    this.append(entry);
  }

  /** The new entry of a key that is not there; the oldest makes room for it. */
  admit(key: Int32Array): number {
    if (this.isFull) {
      const oldest = this.behind[0]!;
      this.unlink(oldest);
      this.remove(oldest);
    }
    this.epoch = Math.floor(++this.created / this.epochLength);
    const entry = this.insert(key);
    this.append(entry);
    return entry;
  }
}
