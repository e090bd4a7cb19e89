/** Flows that were opened with a handshake, and the backend of each. */
import { BATCH_SIZE, TcpFlag } from '../../assembly/abi.js';
import { Batch, SYN_ACK } from './batch.js';
import type { SoakCluster } from './cluster.js';
import { blank, type Flow, type Flows } from './flows.js';

export class Established {
  /** By number of the flow. */
  private readonly backends: Uint16Array;
  private readonly batch: Batch;
  private readonly slots: readonly Flow[] = Array.from({ length: BATCH_SIZE }, blank);
  private next = 0;
  /** Answers of backends that did not reach who had asked, from the address that had been asked. */
  unanswered = 0;

  constructor(
    cluster: SoakCluster,
    private readonly flows: Flows,
    readonly count: number,
  ) {
    this.batch = new Batch(cluster);
    this.backends = new Uint16Array(count);
  }

  /** SYN, SYN and ACK from the backend that Maglev names, ACK. How many steps of the opener's went another way. */
  open(): number {
    let astray = 0;
    for (let first = 0; first < this.count; first += BATCH_SIZE) {
      const slots = this.slots.slice(0, Math.min(BATCH_SIZE, this.count - first));
      this.fill(slots, first, TcpFlag.SYN);
      const named = slots.map((flow, i) => this.batch.named(i, flow));
      this.batch.run();
      slots.forEach((_, i) => (this.backends[first + i] = this.batch.backend(i)));
      astray += named.filter((backend, i) => backend !== this.backends[first + i]).length;
      this.unanswered += slots.length - this.batch.answer(slots, SYN_ACK);
      astray += this.send(first, slots.length).length;
    }
    return astray;
  }

  private fill(slots: readonly Flow[], first: number, flags: number): void {
    slots.forEach((flow, i) => {
      this.flows.established((first + i) % this.count, flow);
      this.batch.add(flow, flags);
    });
  }

  /** One more packet of each of at most `BATCH_SIZE` flows, and its answer: those that another backend got than before, or none. */
  private send(first: number, count: number): { readonly flow: number; readonly backend: number }[] {
    const slots = this.slots.slice(0, count);
    this.fill(slots, first, TcpFlag.ACK);
    this.batch.run();
    const moved = [];
    for (let i = 0; i < count; i++) {
      const flow = (first + i) % this.count;
      const backend = this.batch.backend(i);
      if (backend !== this.backends[flow]) moved.push({ flow, backend });
    }
    this.unanswered += count - this.batch.answer(slots, TcpFlag.ACK);
    return moved;
  }

  /** Goes on with the next `packets` flows, round and round. `onMove` is told of each that moved: where it was, where it is. */
  goOn(packets: number, onMove: (before: number, after: number) => void): void {
    for (let left = packets; left > 0; left -= BATCH_SIZE) {
      const now = Math.min(left, BATCH_SIZE);
      for (const { flow, backend } of this.send(this.next, now)) {
        onMove(this.backends[flow]!, backend);
        this.backends[flow] = backend;
      }
      this.next = (this.next + now) % this.count;
    }
  }
}
