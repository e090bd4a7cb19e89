/** The benchmark: profiles measured in turns, in Node and in a browser's worker alike. */
import { BATCH_SIZE } from '../../assembly/abi.js';
import { Lane, PACKETS_PER_ROUND, PACKETS_PER_SAMPLE, Stopwatch, verify } from './lane.js';
import { EDIT_PROFILE, PROFILES, type Profile } from './profiles.js';
import { EDITS_PER_ROUND, Shop } from './shop.js';

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
  /** What `packets` counts, and what nanoseconds are given per. */
  readonly unit: 'packet' | 'edit';
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
}

export interface BenchReport {
  readonly schema: 'hopscope.bench/1';
  readonly machine: Machine;
  /** Stopped before all rounds were done. */
  readonly cancelled: boolean;
  readonly results: readonly BenchResult[];
}

export interface BenchModules {
  readonly fast: WebAssembly.Module;
  readonly trace: WebAssembly.Module;
}

export interface BenchOptions {
  /** Names out of `PROFILE_NAMES`. */
  readonly profiles: readonly string[];
  readonly rounds: number;
  readonly machine: Machine;
  readonly onProgress?: (done: number, total: number, what: string) => void;
  readonly signal?: { readonly aborted: boolean };
}

/** Something that is measured: made once, run in rounds. */
interface Subject {
  readonly name: string;
  readonly unit: BenchResult['unit'];
  readonly perRound: number;
  readonly sample: number;
  readonly batch: number;
  readonly digest: string | null;
  readonly memoryBytes: () => number;
  /** Nanoseconds a unit, of each sample of a round. */
  readonly round: () => readonly number[];
}

/** Calls before the first round: enough for every function to be optimised. */
const WARM_UP_CALLS = 1000;

/**
 * Measures `profiles`, round by round, one round of each in turn, so that what disturbs the machine disturbs all alike.
 * Before that each profile is verified: see `verify`. Between rounds the event loop runs, so that progress is seen and
 * `signal` can end it; the report then tells what there is. Throws RangeError for a name that is no profile's, and what
 * `verify` throws.
 */
export async function bench(modules: BenchModules, options: BenchOptions): Promise<BenchReport> {
  const { profiles, rounds, machine, onProgress, signal } = options;
  const total = profiles.length * (rounds + 1);
  let done = 0;
  const step = async (what: string): Promise<boolean> => {
    onProgress?.(done++, total, what);
    await pause();
    return signal?.aborted !== true;
  };

  const makers = profiles.map((name) => makerOf(name, modules));
  const measured: { subject: Subject; rounds: number[]; samples: number[] }[] = [];
  let running = true;
  for (const [i, name] of profiles.entries()) {
    running &&= await step(`${name}: preparing`);
    if (running) measured.push({ subject: makers[i]!(), rounds: [], samples: [] });
  }
  for (let round = 0; round < rounds && running; round++) {
    for (const { subject, rounds: medians, samples } of measured) {
      running &&= await step(`${subject.name}: round ${round + 1} of ${rounds}`);
      if (!running) break;
      const taken = subject.round();
      medians.push(median(taken));
      samples.push(...taken);
    }
  }
  if (running) onProgress?.(total, total, 'done');
  const results = measured
    .filter(({ rounds }) => rounds.length > 0)
    .map(({ subject, rounds, samples }) => resultOf(subject, rounds, samples));
  return { schema: 'hopscope.bench/1', machine, cancelled: !running, results };
}

/** Lets the event loop run. */
const pause = (): Promise<void> => new Promise((resolve) => void setTimeout(resolve, 0));

function makerOf(name: string, modules: BenchModules): () => Subject {
  if (name === EDIT_PROFILE.name) return () => editSubject(modules);
  const profile = PROFILES.find((candidate) => candidate.name === name);
  if (!profile) throw new RangeError(`there is no profile ${name}`);
  return () => packetSubject(profile, modules);
}

/** A verified dataplane of the fast build. The tracing build, another compilation of the same source, says what is right. */
function packetSubject(profile: Profile, modules: BenchModules): Subject {
  const lane = Lane.open(modules.fast, profile);
  const { digest } = verify(profile, lane, Lane.open(modules.trace, profile, 'plain'));
  const watch = new Stopwatch(lane);
  watch.warmUp(WARM_UP_CALLS);
  return {
    name: profile.name,
    unit: 'packet',
    perRound: PACKETS_PER_ROUND,
    sample: PACKETS_PER_SAMPLE,
    batch: BATCH_SIZE,
    digest,
    memoryBytes: () => lane.memoryBytes,
    round: () => watch.round(),
  };
}

function editSubject(modules: BenchModules): Subject {
  const shop = new Shop(modules.trace);
  shop.round();
  return {
    name: EDIT_PROFILE.name,
    unit: 'edit',
    perRound: EDITS_PER_ROUND,
    sample: 1,
    batch: 1,
    digest: null,
    memoryBytes: () => shop.memoryBytes,
    round: () => shop.round(),
  };
}

function resultOf(subject: Subject, rounds: readonly number[], samples: readonly number[]): BenchResult {
  const sorted = [...rounds].sort((a, b) => a - b);
  const median = quantile(sorted, 0.5);
  return {
    profile: subject.name,
    unit: subject.unit,
    packets: rounds.length * subject.perRound,
    rounds: rounds.length,
    nsPerPacket: {
      median: tenths(median),
      p99: tenths(
        quantile(
          [...samples].sort((a, b) => a - b),
          0.99,
        ),
      ),
    },
    spread: { min: tenths(sorted[0]!), max: tenths(sorted.at(-1)!) },
    sample: subject.sample,
    batch: subject.batch,
    mpps: Number((1000 / median).toPrecision(4)),
    memoryMiB: tenths(subject.memoryBytes() / 2 ** 20),
    digest: subject.digest,
  };
}

/** Whatever disturbs some of the samples does not show in it. */
const median = (values: readonly number[]): number =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );

const tenths = (value: number): number => Math.round(value * 10) / 10;

/** Of sorted values; between two of them in proportion. */
export function quantile(sorted: readonly number[], part: number): number {
  const position = (sorted.length - 1) * part;
  const below = sorted[Math.floor(position)]!;
  return below + (sorted[Math.ceil(position)]! - below) * (position % 1);
}
