/** Runs packets through an instrumented build and looks for an access that is neither the packet's nor a region's. */
import { BATCH_SIZE, EVENT_SIZE, EventType, Step, type Family, type Program } from '../../assembly/abi.js';
import { TraceNotify } from '../../pkg/structs.js';
import { churn } from './churn.js';
import type { Loaded } from './cluster.js';
import { Guarded, Violation } from './guarded.js';
import { Traffic } from './traffic.js';

/** Packets that depend on one another: each epoch starts without connections, and any packet is had again by running its own. */
export const EPOCH = 1 << 13;
/** Epochs of which one begins with the maps filled and emptied, batches of which one goes by templates, and one between canaries. */
const CHURN = 128;
const REPLAYED = 8;
/** Of as many batches one goes through in stages; the others packet by packet, each of which is held to its own bytes. */
const STAGED = 3;
const PLANTED = 64;
/** Of this many packets, one's digest is asked for. */
const DIGESTED = 64;
/** Seconds that a batch takes, and places of each map that the collector looks at then, at most. */
const SECONDS = 50;
const PLACES = 256;
/** Packets between two drains of the ring, into which fewer fit. */
const RECORDED = 64;
/** After so many violations there is nothing more to learn. */
const ENOUGH = 10;

export interface Found {
  /** The packet that did it; the first of its epoch when it was not a packet but the maps' host. */
  readonly packet: number;
  readonly text: string;
  /** Whether it is a Violation; else another trap. */
  readonly memory: boolean;
}

export interface Report {
  readonly packets: number;
  readonly accesses: number;
  /** How some of the packets ended, one in about nine: by program, or by negated drop reason. */
  readonly ends: ReadonlyMap<number, number>;
  /** How many of those packets an ICMP error took the place of. */
  readonly answered: number;
  /** What was told of packets, by a build that records; see `story`. */
  readonly told: ReadonlySet<string>;
  readonly found: readonly Found[];
}

export interface Run {
  readonly seed: number;
  /** The first packet, of any epoch's: rounded down to the first of its epoch. */
  readonly from: number;
  readonly packets: number;
  /** Whether the build records, and does. */
  readonly recording: boolean;
  /** Stops at the first violation. */
  readonly once?: boolean;
  /** Is shown each frame before it runs. */
  readonly onFrame?: (packet: number, frame: Uint8Array, traffic: Traffic) => void;
  readonly onEpoch?: (packets: number) => void;
}

/** A program, a step there, the family of the packet, and of direct server return how and on which side. */
export const story = (program: Program, step: Step, family: Family, info = 0): string =>
  [program, step, family, step === Step.DSR || step === Step.IPIP ? info : ''].join(' ');

/** One cluster's dataplane; made anew after a violation, which leaves a packet half done. */
class Lane {
  private guarded: Guarded | null = null;
  private before = 0;
  readonly ends = new Map<number, number>();
  answered = 0;
  readonly told = new Set<string>();

  constructor(
    private readonly module: WebAssembly.Module,
    private readonly cluster: Loaded,
    private readonly traffic: Traffic,
    private readonly run: Run,
  ) {}

  get accesses(): number {
    return this.before + (this.guarded?.accesses ?? 0);
  }

  /** The packet in hand. */
  get current(): number {
    return Math.max(0, this.guarded?.current ?? 0);
  }

  reset(): void {
    this.before = this.accesses;
    this.guarded = null;
  }

  /** `churning`: the maps are filled and emptied first. */
  start(epoch: number, churning: boolean): Guarded {
    const guarded = (this.guarded ??= new Guarded(this.module, this.cluster));
    const { wasm } = guarded.datapath;
    this.traffic.start(Math.imul(this.run.seed, 0x01000193) + epoch);
    guarded.host(() => {
      wasm.flushConnections();
      wasm.setTracing(this.run.recording);
    });
    if (churning) churn(guarded, (end) => this.traffic.below(end));
    return guarded;
  }

  /** Makes `count` packets and runs them. `first` is the number of the first. */
  batch(guarded: Guarded, first: number, count: number): void {
    const { traffic, run } = this;
    const { wasm } = guarded.datapath;
    const number = Math.floor((first % EPOCH) / BATCH_SIZE);
    const planted = number % PLANTED === 0;
    for (let i = 0; i < count; i++) {
      const at = guarded.frameAt(i);
      const length = traffic.next(guarded.memory, at);
      guarded.place(i, length, traffic);
      if (planted) guarded.plant(i);
      run.onFrame?.(first + i, guarded.memory.slice(at, at + length), traffic);
    }
    guarded.host(() => {
      wasm.setClock(number * SECONDS);
      wasm.collect(traffic.below(PLACES));
      wasm.drainEvents();
    });
    if (number % REPLAYED === REPLAYED - 1) for (let i = 0; i < count; i++) guarded.replay(i);
    else {
      const asked = count === BATCH_SIZE && planted ? BATCH_SIZE + 1 : count;
      if (Math.floor(first / BATCH_SIZE) % STAGED === 0) guarded.process(count, asked);
      else guarded.processPlain(count, asked);
      if (planted) guarded.intact(count);
      this.look(guarded, count);
    }
  }

  /** What came out: some of it is answered, and one packet digested. */
  private look(guarded: Guarded, count: number): void {
    const { traffic } = this;
    for (let i = traffic.below(8); i < count; i += 1 + traffic.below(16)) {
      const record = guarded.recordOf(i);
      const end = record.verdict === 0 ? record.program : record.verdict;
      this.ends.set(end, (this.ends.get(end) ?? 0) + 1);
      if (record.answered !== 0) this.answered++;
      if (record.verdict === 0) traffic.answer(guarded.memory, record);
    }
    for (let i = traffic.below(DIGESTED); i < count; i += DIGESTED) guarded.digest(i);
    if (this.run.recording) this.listen(guarded);
  }

  /** Reads the ring. */
  private listen({ memory, datapath: { wasm } }: Guarded): void {
    const view = new DataView(memory.buffer);
    const first = wasm.events();
    for (let i = 0; i < wasm.eventCount(); i++) {
      const { type, program, step, family, info } = new TraceNotify(view, first + i * EVENT_SIZE);
      if (type !== (EventType.LOOKUP as number)) this.told.add(story(program, step, family, info));
    }
  }
}

/** Runs the packets, epoch by epoch, over the clusters in turn, which differ in their settings alone: who is in them is the same. */
export function fuzz(module: WebAssembly.Module, clusters: readonly Loaded[], run: Run): Report {
  const traffic = new Traffic(clusters[0]!);
  const lanes = clusters.map((cluster) => new Lane(module, cluster, traffic, run));
  const size = run.recording ? RECORDED : BATCH_SIZE;
  const found: Found[] = [];
  const first = run.from - (run.from % EPOCH);
  const end = run.from + run.packets;
  let packet = first;
  while (packet < end && found.length < (run.once ? 1 : ENOUGH)) {
    const epoch = packet / EPOCH;
    const lane = lanes[epoch % lanes.length]!;
    const last = Math.min(end, packet + EPOCH);
    let batch = packet;
    try {
      const guarded = lane.start(epoch, Math.floor(epoch / lanes.length) % CHURN === 0);
      for (; batch < last; batch += size) lane.batch(guarded, batch, Math.min(size, last - batch));
    } catch (error) {
      if (!(error instanceof Violation || error instanceof WebAssembly.RuntimeError)) throw error;
      const packet = Math.min(batch + lane.current, last - 1);
      found.push({ packet, text: error.message, memory: error instanceof Violation });
      lane.reset();
    }
    packet = last;
    run.onEpoch?.(packet - first);
  }
  const accesses = lanes.reduce((sum, lane) => sum + lane.accesses, 0);
  const ends = new Map<number, number>();
  for (const lane of lanes) for (const [end, count] of lane.ends) ends.set(end, (ends.get(end) ?? 0) + count);
  const answered = lanes.reduce((sum, lane) => sum + lane.answered, 0);
  const told = new Set(lanes.flatMap((lane) => [...lane.told]));
  return { packets: packet - first, accesses, ends, answered, told, found };
}
