/** A profile's packets as the subject of a measurement, with those who take the same packets beside it. */
import { BATCH_SIZE } from '../../assembly/abi.js';
import { Floor } from './floor.js';
import { isInJavaScript, JavaScriptLane } from './javascript/lane.js';
import { Cursor, Lane, PACKETS_PER_ROUND, PACKETS_PER_SAMPLE, Stopwatch, verify } from './lane.js';
import { COMPARED, type Profile } from './profiles.js';
import { WrongAnswer, type BenchModules, type Contestant, type Subject } from './subject.js';

/** Calls before the first round: enough for every function to be optimised. */
export const WARM_UP_CALLS = 1000;

/** A verified dataplane of the fast build. The tracing build, another compilation of the same source, says what is right. */
export function verified(profile: Profile, { fast, trace }: BenchModules): { lane: Lane; digest: string } {
  const lane = Lane.open(fast, profile);
  return { lane, digest: verify(profile, lane, Lane.open(trace, profile, 'plain')).digest };
}

export function packetSubject(profile: Profile, modules: BenchModules): Subject {
  const { lane, digest } = verified(profile, modules);
  const cursor = new Cursor(lane.templates);
  const watches = { fast: new Stopwatch(lane, cursor), plain: new Stopwatch(lane.by('plain'), cursor) };
  const baselines = [contestant('plain', watches.plain)];
  if (COMPARED.has(profile.name)) {
    if (isInJavaScript(profile.traffic)) baselines.push(contestant('JavaScript', inJavaScript(profile, lane, digest)));
    baselines.push(contestant('floor', new Stopwatch(Floor.open(modules.fast, profile))));
  }
  return {
    name: profile.name,
    unit: profile.unit,
    perRound: PACKETS_PER_ROUND,
    sample: PACKETS_PER_SAMPLE,
    batch: BATCH_SIZE,
    digest,
    memoryBytes: () => lane.memoryBytes,
    own: contestant('fast', watches.fast),
    baselines,
    stages: COMPARED.has(profile.name) ? STAGES.map((name, last) => contestant(name, untilStage(lane, last))) : [],
    check() {
      for (const watch of Object.values(watches)) watch.check(profile);
      lane.checkSurvivors(cursor.turns);
    },
  };
}

/** The stages of a batch (`assembly/batch.ts`) but for the last, which is what is left. */
const STAGES = ['receive', 'look at the headers', 'find the flow', 'touch what it names'];

/** Batches that end after a stage. */
function untilStage({ datapath: { wasm }, workload: { templates, stride } }: Lane, last: number): Stopwatch {
  const replay = (first: number, count: number): number => {
    wasm.replayUntil(last, first, count, templates, stride);
    return 0;
  };
  return new Stopwatch({ replay, templates });
}

/** Something with a stopwatch, warm. */
export function contestant(name: string, watch: Stopwatch): Contestant {
  watch.warmUp(WARM_UP_CALLS);
  return { name, round: () => watch.round() };
}

/** The same in JavaScript, with the Maglev tables of `lane`. Throws WrongAnswer unless it gives the same bytes. */
function inJavaScript(profile: Profile, lane: Lane, digest: string): Stopwatch {
  const javaScript = new JavaScriptLane(profile, lane);
  javaScript.openFlows();
  const pass = javaScript.pass();
  if (pass.digest !== digest)
    throw new WrongAnswer(`${profile.name}: JavaScript's digest ${pass.digest} is not ${digest}`);
  return new Stopwatch(javaScript);
}
