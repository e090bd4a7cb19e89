/** Several workers, each with a dataplane and a conntrack of its own: the flows are spread among them by hash. */
import { BATCH_SIZE } from '../../assembly/abi.js';
import { PACKETS_PER_ROUND, Stopwatch } from './lane.js';
import { verified, WARM_UP_CALLS } from './packets.js';
import { PROFILES, type WorkersProfile } from './profiles.js';
import type { BenchModules, LaneStart, LaneWorker, StartWorker, Subject } from './subject.js';

/** What a worker tells: the bytes that it holds, once; then each time it is asked the packets that it took. */
export type FromLane =
  { readonly type: 'ready'; readonly memoryBytes: number } | { readonly type: 'worked'; readonly packets: number };

/** Rounds that a worker does when it is asked: long, against the time that asking takes. */
const ROUNDS = 8;

/** In a worker: verifies what it was started with, and answers each message by some rounds. */
export function serveLane(
  { modules, profile: name, workers, worker }: LaneStart,
  post: (message: FromLane) => void,
): () => void {
  const named = PROFILES.find((each) => each.name === name)!;
  const profile = { ...named, traffic: { ...named.traffic, workers, worker } };
  const { lane } = verified(profile, modules);
  const watch = new Stopwatch(lane);
  watch.warmUp(WARM_UP_CALLS);
  post({ type: 'ready', memoryBytes: lane.memoryBytes });
  return () => {
    for (let i = 0; i < ROUNDS; i++) watch.round();
    watch.check(profile);
    post({ type: 'worked', packets: ROUNDS * PACKETS_PER_ROUND });
  };
}

/** What a worker is spoken to by. */
export interface Channel {
  readonly ask: () => void;
  readonly end: () => void;
}

/** The asker's side of a worker that serves a lane. `open` starts it, and hands on its messages and its failure. */
export function laneWorker(
  open: (onMessage: (message: FromLane) => void, onError: (error: unknown) => void) => Channel,
): LaneWorker {
  let settle!: { resolve: (message: FromLane) => void; reject: (error: unknown) => void };
  const next = (): Promise<FromLane> => new Promise((resolve, reject) => (settle = { resolve, reject }));
  const first = next();
  const { ask, end } = open(
    (message) => settle.resolve(message),
    (error) => settle.reject(error),
  );
  return {
    ready: first.then((message) => (message.type === 'ready' ? message.memoryBytes : 0)),
    async work() {
      const answer = next();
      ask();
      const message = await answer;
      return message.type === 'worked' ? message.packets : 0;
    },
    end,
  };
}

/** Nanoseconds a packet of workers who begin together, until the last has ended: time in which one waits for a processor counts too. */
async function together(workers: readonly LaneWorker[]): Promise<readonly number[]> {
  const start = performance.now();
  const packets = await Promise.all(workers.map((worker) => worker.work()));
  return [((performance.now() - start) * 1e6) / packets.reduce((sum, count) => sum + count, 0)];
}

export async function workersSubject(
  { name, unit, workers, of }: WorkersProfile,
  modules: BenchModules,
  startWorker: StartWorker | null,
): Promise<Subject> {
  if (!startWorker) throw new RangeError(`there are no workers for ${name} here`);
  const start = (worker: number, workers: number): LaneWorker =>
    startWorker({ role: 'lane', modules, profile: of.name, workers, worker });
  const all = Array.from({ length: workers }, (_, worker) => start(worker, workers));
  const one = start(0, 1);
  const [bytes] = await Promise.all([Promise.all(all.map(({ ready }) => ready)), one.ready]);
  const perRound = workers * ROUNDS * PACKETS_PER_ROUND;
  return {
    name,
    unit,
    perRound,
    sample: perRound,
    batch: BATCH_SIZE,
    digest: null,
    memoryBytes: () => bytes.reduce((sum, each) => sum + each, 0),
    own: { name: 'workers', round: () => together(all) },
    baselines: [{ name: 'one worker', round: () => together([one]) }],
    // Each worker looks at its own answers.
    check: () => undefined,
    end: () => {
      for (const worker of [...all, one]) worker.end();
    },
  };
}
