/**
 * Longest-prefix match: a hash map of prefixes and the list of lengths in use, longest first, as in
 * "Scalable High Speed IP Routing Lookups" (Waldvogel et al., SIGCOMM 1997) without its markers: clusters use few lengths.
 */
import { take } from './arena';
import { HashMap } from './hash';

/** What a key needs: its length, and cutting the bits beyond a length. */
export interface LpmKey {
  prefixLength: u32;
  /** Sets the length to `length`, at most the present one, and clears the bits beyond it. */
  truncate(length: u32): void;
}

/** Lengths go from 0 to this. */
const MAX_LENGTH: u32 = 160;

@unmanaged
export class LpmMap<K extends LpmKey, V> extends HashMap<K, V> {
  /** u32[MAX_LENGTH + 1]: prefixes of each length. */
  private population: usize;
  /** u8[MAX_LENGTH + 1]: the lengths in use, longest first. */
  private lengths: usize;
  private lengthCount: u32;

  create(capacity: u32): void {
    this.population = take((MAX_LENGTH + 1) << 2);
    this.lengths = take(MAX_LENGTH + 1);
    super.create(capacity);
  }

  clear(): void {
    super.clear();
    memory.fill(this.population, 0, (MAX_LENGTH + 1) << 2);
    this.lengthCount = 0;
  }

  /** The value of the longest prefix of `key` in the map, in place; null for none. Leaves in `key` that prefix. */
  @inline
  longest(key: K): V {
    const end = this.lengths + this.lengthCount;
    for (let at = this.lengths; at < end; at++) {
      const length = <u32>load<u8>(at);
      if (length > key.prefixLength) continue;
      key.truncate(length);
      const value = this.lookup(key);
      if (value !== null) return value;
    }
    return changetype<V>(0);
  }

  update(key: K, value: V): i32 {
    const before = this.count;
    const result = super.update(key, value);
    if (this.count != before) this.populate(key.prefixLength, 1);
    return result;
  }

  delete(key: K): i32 {
    const result = super.delete(key);
    if (result == 0) this.populate(key.prefixLength, -1);
    return result;
  }

  private populate(length: u32, change: i32): void {
    const at = this.population + ((<usize>length) << 2);
    const population = load<u32>(at) + change;
    store<u32>(at, population);
    if (population > 1 || (population == 1 && change < 0)) return;
    this.lengthCount = 0;
    for (let l: i32 = MAX_LENGTH; l >= 0; l--) {
      if (load<u32>(this.population + ((<usize>l) << 2)) == 0) continue;
      store<u8>(this.lengths + this.lengthCount, <u8>l);
      this.lengthCount++;
    }
  }
}
