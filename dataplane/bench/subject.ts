/** What is measured: made once, verified, and run in rounds. */
import type { Unit } from './profiles.js';

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
  /** Throws WrongAnswer where what was measured gave a wrong answer. */
  readonly check: () => void;
}

/** A wrong answer cannot win a benchmark. */
export class WrongAnswer extends Error {}
