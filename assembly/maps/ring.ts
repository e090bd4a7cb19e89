/** A ring of records of one size, written by the datapath and drained by the host: eBPF's perf ring. What does not fit is counted, not waited for. */
import { take } from './arena';

@unmanaged
export class RingBuffer {
  /** Address of the first record. */
  records: usize;
  capacity: u32;
  size: u32;
  /** Records written and not yet drained. */
  count: u32;
  /** Records that did not fit. */
  lost: u32;

  create(capacity: u32, size: u32): void {
    this.records = take(<usize>capacity * size);
    this.capacity = capacity;
    this.size = size;
  }

  /** Room for one record, zeroed; 0 when the ring is full. */
  reserve(): usize {
    if (this.count == this.capacity) {
      this.lost++;
      return 0;
    }
    const at = this.records + <usize>this.count * this.size;
    memory.fill(at, 0, this.size);
    this.count++;
    return at;
  }

  /** Everything has been read. */
  drain(): void {
    this.count = 0;
    this.lost = 0;
  }
}
