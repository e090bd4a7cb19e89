/** One profile's dataplane with its packets, and the clock beside it. */
import type { Profile } from './profiles.js';
import { load, workloadOf, type Workload } from './workload.js';
import { BATCH_SIZE } from '../../assembly/abi.js';
import type { Datapath } from '../wasm.js';

/** Calls that one sample times together: long enough for a browser's coarse clock. */
export const CALLS = 16;
/** Samples of one round. */
export const SAMPLES = 32;
/** FNV-1a's start. */
const FNV_OFFSET = 0x811c9dc5;

export const PACKETS_PER_SAMPLE = CALLS * BATCH_SIZE;
export const PACKETS_PER_ROUND = SAMPLES * PACKETS_PER_SAMPLE;

/** What one pass over all templates gave. */
export interface Pass {
  readonly forwarded: number;
  /** Over the verdict and all bytes of each packet. */
  readonly digest: string;
}

export class Lane {
  private next = 0;

  private constructor(
    readonly datapath: Datapath,
    readonly workload: Workload,
  ) {}

  static open(module: WebAssembly.Module, { traffic }: Profile): Lane {
    const workload = workloadOf(traffic);
    return new Lane(load(module, workload), workload);
  }

  private replay(first: number, count: number): number {
    return this.datapath.wasm.replay(first, count, this.workload.templates, this.workload.stride);
  }

  /** Opens every flow, in an order unlike the one that follows. */
  openFlows(): void {
    for (const flow of this.workload.order) this.replay(flow, 1);
  }

  /** One packet of each flow, looked at one by one. */
  pass(): Pass {
    let forwarded = 0;
    let hash = FNV_OFFSET;
    for (let flow = 0; flow < this.workload.templates; flow++) {
      forwarded += this.replay(flow, 1);
      hash = this.datapath.wasm.digest(0, hash);
    }
    return { forwarded, digest: (hash >>> 0).toString(16).padStart(8, '0') };
  }

  /** Many small calls: only a function that is entered again gets the optimised code. */
  warmUp(calls: number): void {
    for (let i = 0; i < calls; i++) this.burst();
  }

  private burst(): void {
    const { templates } = this.workload;
    this.replay(this.next, BATCH_SIZE);
    this.next = (this.next + BATCH_SIZE) % templates;
  }

  /** One round: nanoseconds a packet of each of its samples. */
  round(): number[] {
    const samples: number[] = [];
    for (let sample = 0; sample < SAMPLES; sample++) {
      const start = performance.now();
      for (let call = 0; call < CALLS; call++) this.burst();
      samples.push(((performance.now() - start) * 1e6) / PACKETS_PER_SAMPLE);
    }
    return samples;
  }

  get memoryBytes(): number {
    return this.datapath.wasm.memoryUsed();
  }
}

/** What a profile must give: all of its packets forwarded, or none. */
export class WrongAnswer extends Error {}

/**
 * One pass of `lane`, held against the profile and against a dataplane of its own. Throws WrongAnswer when the number of
 * packets forwarded is not what the profile says, or a verdict or a byte differs: a wrong answer cannot win a benchmark.
 */
export function verify(profile: Profile, lane: Lane, reference: Lane): Pass {
  for (const each of [lane, reference]) each.openFlows();
  const [pass, expected] = [lane.pass(), reference.pass()];
  const forwarded = profile.traffic.allowed ? lane.workload.templates : 0;
  if (pass.forwarded !== forwarded)
    throw new WrongAnswer(`${profile.name}: ${pass.forwarded} packets forwarded instead of ${forwarded}`);
  if (pass.digest !== expected.digest)
    throw new WrongAnswer(`${profile.name}: digest ${pass.digest} instead of ${expected.digest}`);
  return pass;
}
