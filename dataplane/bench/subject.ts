/** What is measured: made once, verified, and run in rounds. */
import type { Unit } from './profiles.js';

/** What a worker of the benchmark is started with: whose packets it takes, and which of them. */
export interface LaneStart {
  readonly role: 'lane';
  readonly modules: BenchModules;
  readonly profile: string;
  readonly workers: number;
  readonly worker: number;
}

/** A worker that was started with one. */
export interface LaneWorker {
  /** Bytes that it holds, once it has verified its packets. */
  readonly ready: Promise<number>;
  /** Takes some rounds' packets; how many. To be asked for once at a time, and after `ready`. */
  readonly work: () => Promise<number>;
  readonly end: () => void;
}

/** How to start one, here; a browser's `Worker` will do as well as Node's. */
export type StartWorker = (start: LaneStart) => LaneWorker;

export interface BenchModules {
  readonly fast: WebAssembly.Module;
  readonly trace: WebAssembly.Module;
}

/** One implementation of what a subject is about. */
export interface Contestant {
  readonly name: string;
  /** Nanoseconds a unit, of each sample of a round. */
  readonly round: () => readonly number[] | Promise<readonly number[]>;
}

export interface Subject {
  readonly name: string;
  readonly unit: Unit;
  /** Units that one round measures, that one sample times together, and that are handed over in one call. */
  readonly perRound: number;
  readonly sample: number;
  readonly batch: number;
  /** Of the verdicts and bytes of one packet of each flow; null where there are none. */
  readonly digest: string | null;
  readonly memoryBytes: () => number;
  /** Its own measure, and those it is held against. */
  readonly own: Contestant;
  readonly baselines: readonly Contestant[];
  /** Its own, but only up to a stage, from the first on. */
  readonly stages?: readonly Contestant[];
  /** Throws WrongAnswer where what was measured gave a wrong answer. */
  readonly check: () => void;
  /** Ends its workers. */
  readonly end?: () => void;
}

/** A wrong answer cannot win a benchmark. */
export class WrongAnswer extends Error {}
