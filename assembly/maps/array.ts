/** An array of fixed length, all of it there from the start, zeroed: eBPF's BPF_MAP_TYPE_ARRAY. */
import { MapError } from '../abi';
import { take } from './arena';

@unmanaged
export class ArrayMap<V> {
  private values: usize;
  capacity: u32;

  create(capacity: u32): void {
    this.values = take(<usize>capacity * offsetof<V>());
    this.capacity = capacity;
  }

  /** The value at an index, in place; null beyond the end. */
  lookup(index: u32): V {
    if (index >= this.capacity) return changetype<V>(0);
    return changetype<V>(this.values + <usize>index * offsetof<V>());
  }

  /** 0, or E2BIG beyond the end. */
  update(index: u32, value: V): i32 {
    if (index >= this.capacity) return MapError.E2BIG;
    memory.copy(this.values + <usize>index * offsetof<V>(), changetype<usize>(value), offsetof<V>());
    return 0;
  }

  /** Zeros the value at an index. 0, or ENOENT beyond the end. */
  erase(index: u32): i32 {
    if (index >= this.capacity) return MapError.ENOENT;
    memory.fill(this.values + <usize>index * offsetof<V>(), 0, offsetof<V>());
    return 0;
  }

  clear(): void {
    memory.fill(this.values, 0, <usize>this.capacity * offsetof<V>());
  }
}
