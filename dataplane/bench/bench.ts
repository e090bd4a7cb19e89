/** The benchmark: profiles measured in turns, in Node and in a browser's worker alike. */
import type { Unit } from './profiles.js';
import type { BenchModules, Contestant, StartWorker, Subject } from './subject.js';
import { makerOf } from './subjects.js';

/** What the numbers were measured on, as far as the caller can tell. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
  /** The flags that the wasm was compiled with. */
  readonly wasm: string;
}

/** What `asconfig.json` compiles the datapath with. */
const WASM_FLAGS = '-O3 --runtime stub --noAssert';

/** The machine, of what Node's `os.cpus()` and `process.version` say. */
export const machineOf = (cpus: readonly { readonly model: string }[], node: string): Machine => ({
  cpu: cpus[0]?.model.trim() ?? 'unknown',
  cores: cpus.length,
  node,
  wasm: WASM_FLAGS,
});

export interface BenchResult {
  readonly profile: string;
  readonly unit: Unit;
  /** Measured, over all rounds. */
  readonly packets: number;
  readonly rounds: number;
  /** The median over rounds; the 99th percentile over the samples within them. */
  readonly nsPerPacket: { readonly median: number; readonly p99: number };
  /** The fastest and the slowest round. */
  readonly spread: { readonly min: number; readonly max: number };
  /** Packets timed together in one sample, and handed over in one call. */
  readonly sample: number;
  readonly batch: number;
  readonly mpps: number;
  readonly memoryMiB: number;
  /** Of the verdicts and bytes of one packet of each flow; null where there are none. */
  readonly digest: string | null;
  /** The same by others, in rounds of their own between those of this. */
  readonly baselines: readonly Baseline[];
  /** What each stage adds, in nanoseconds; none where they were not told apart. */
  readonly stages: readonly { readonly name: string; readonly ns: number }[];
}

export interface Baseline {
  readonly name: string;
  readonly nsPerPacket: BenchResult['nsPerPacket'];
  /** How many times as long it took, by the medians over rounds. */
  readonly ratio: number;
}

export interface BenchReport {
  readonly schema: 'hopscope.bench/1';
  readonly machine: Machine;
  /** Stopped before all rounds were done. */
  readonly cancelled: boolean;
  readonly results: readonly BenchResult[];
}

export interface BenchOptions {
  /** Names out of `PROFILE_NAMES`. */
  readonly profiles: readonly string[];
  readonly rounds: number;
  readonly machine: Machine;
  readonly onProgress?: (done: number, total: number, what: string) => void;
  readonly signal?: { readonly aborted: boolean };
  /** Without it nothing runs in workers, and there are no profiles of them. */
  readonly startWorker?: StartWorker;
}

/**
 * Measures `profiles`, round by round, one round of each in turn, so that what disturbs the machine disturbs all alike.
 * Before that each profile is verified, and after each round again. Between rounds the event loop runs, so that progress is seen and
 * `signal` can end it; the report then tells what there is. Throws RangeError for a name that is no profile's, and WrongAnswer.
 */
export async function bench(modules: BenchModules, options: BenchOptions): Promise<BenchReport> {
  const { profiles, rounds, machine, onProgress, signal, startWorker = null } = options;
  const total = profiles.length * (rounds + 1);
  let done = 0;
  const step = async (what: string): Promise<boolean> => {
    onProgress?.(done++, total, what);
    await pause();
    return signal?.aborted !== true;
  };

  const makers = profiles.map(makerOf);
  const measured: Measured[] = [];
  let running = true;
  try {
    for (const [i, name] of profiles.entries()) {
      running &&= await step(`${name}: preparing`);
      if (running) measured.push(new Measured(await makers[i]!(modules, startWorker)));
    }
    for (let round = 0; round < rounds && running; round++) {
      for (const each of measured) {
        running &&= await step(`${each.subject.name}: round ${round + 1} of ${rounds}`);
        if (!running) break;
        await each.round();
      }
    }
  } finally {
    for (const { subject } of measured) subject.end?.();
  }
  if (running) onProgress?.(total, total, 'done');
  const results = measured.filter(({ rounds }) => rounds > 0).map((each) => each.result());
  return { schema: 'hopscope.bench/1', machine, cancelled: !running, results };
}

/** What one contestant took: the median of each round, and all samples. */
class Times {
  readonly rounds: number[] = [];
  readonly samples: number[] = [];

  constructor(readonly contestant: Contestant) {}

  async round(): Promise<void> {
    const taken = await this.contestant.round();
    this.rounds.push(median(taken));
    this.samples.push(...taken);
  }

  get nsPerPacket(): BenchResult['nsPerPacket'] {
    return { median: tenths(median(this.rounds)), p99: tenths(quantile(sorted(this.samples), 0.99)) };
  }
}

/** A subject with what it and its baselines took. */
class Measured {
  private readonly own: Times;
  private readonly baselines: readonly Times[];
  private readonly stages: readonly Times[];

  constructor(readonly subject: Subject) {
    this.own = new Times(subject.own);
    this.baselines = subject.baselines.map((baseline) => new Times(baseline));
    this.stages = (subject.stages ?? []).map((stage) => new Times(stage));
  }

  get rounds(): number {
    return this.own.rounds.length;
  }

  /** One round of each contestant, each time another first: whoever follows finds warm what they share. Throws WrongAnswer. */
  async round(): Promise<void> {
    const contestants = [this.own, ...this.baselines, ...this.stages];
    const first = this.rounds % contestants.length;
    for (const times of [...contestants.slice(first), ...contestants.slice(0, first)]) await times.round();
    this.subject.check();
  }

  /** By how much each stage, the last among them, takes longer than those before it. */
  private costs(): BenchResult['stages'] {
    if (this.stages.length === 0) return [];
    const until = [...this.stages, this.own].map(({ contestant, rounds }) => ({
      name: contestant.name,
      ns: median(rounds),
    }));
    return until.map(({ name, ns }, i) => ({
      name: i === this.stages.length ? 'answer' : name,
      ns: tenths(Math.max(0, ns - (until[i - 1]?.ns ?? 0))),
    }));
  }

  result(): BenchResult {
    const { subject, own, baselines, rounds } = this;
    const inOrder = sorted(own.rounds);
    return {
      profile: subject.name,
      unit: subject.unit,
      packets: rounds * subject.perRound,
      rounds,
      nsPerPacket: own.nsPerPacket,
      spread: { min: tenths(inOrder[0]!), max: tenths(inOrder.at(-1)!) },
      sample: subject.sample,
      batch: subject.batch,
      mpps: Number((1000 / median(own.rounds)).toPrecision(4)),
      memoryMiB: tenths(subject.memoryBytes() / 2 ** 20),
      digest: subject.digest,
      baselines: baselines.map(({ contestant: { name }, rounds, nsPerPacket }) => ({
        name,
        nsPerPacket,
        ratio: hundredths(median(rounds) / median(own.rounds)),
      })),
      stages: this.costs(),
    };
  }
}

/** Lets the event loop run. */
const pause = (): Promise<void> => new Promise((resolve) => void setTimeout(resolve, 0));

const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);

/** Whatever disturbs some of the values does not show in it. */
const median = (values: readonly number[]): number => quantile(sorted(values), 0.5);

const tenths = (value: number): number => Math.round(value * 10) / 10;
const hundredths = (value: number): number => Math.round(value * 100) / 100;

/** Of sorted values; between two of them in proportion. */
export function quantile(sorted: readonly number[], part: number): number {
  const position = (sorted.length - 1) * part;
  const below = sorted[Math.floor(position)]!;
  return below + (sorted[Math.ceil(position)]! - below) * (position % 1);
}
