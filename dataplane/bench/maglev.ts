/** How long a Service's Maglev table takes to build. */
import { MapId } from '../../assembly/abi.js';
import { Datapath } from '../wasm.js';
import type { MaglevProfile } from './profiles.js';
import { WrongAnswer, type BenchModules, type Subject } from './subject.js';
import { NOTHING } from './workload.js';

/** Builds that one sample times together, and samples of a round. */
const BUILDS = 4;
const SAMPLES = 8;
const WARM_UP_BUILDS = 50;
/** Room for a backend's record and name. */
const BACKEND_ROOM = 128;

export function maglevSubject({ name, unit, size, backends }: MaglevProfile, { fast }: BenchModules): Subject {
  const scratch = Math.max(1 << 12, backends * BACKEND_ROOM);
  const datapath = Datapath.create(fast, {
    ...NOTHING,
    maglev4: 1,
    maglevTableSize: size,
    maglevBackends: backends,
    scratch,
  });
  const { wasm } = datapath;
  const listed = Array.from({ length: backends }, (_, i) => ({
    backendId: i + 1,
    weight: 1,
    name: `[10.244.${i >>> 8}.${i & 255}:8080/TCP,State:active]`,
  })).sort((a, b) => (a.name < b.name ? -1 : 1));
  const error = datapath.buildMaglev(1, listed);
  if (error !== 0) throw new WrongAnswer(`${name}: ${error}`);
  // The backends stay where they were written.
  const build = (): number => wasm.buildMaglev(MapId.LB4_MAGLEV, 1, wasm.scratch(), backends);
  for (let i = 0; i < WARM_UP_BUILDS; i++) build();
  const sample = (): number => {
    const start = performance.now();
    for (let i = 0; i < BUILDS; i++) build();
    return ((performance.now() - start) * 1e6) / BUILDS;
  };
  return {
    name,
    unit,
    perRound: SAMPLES * BUILDS,
    sample: BUILDS,
    batch: 1,
    digest: null,
    memoryBytes: () => wasm.memoryUsed(),
    own: { name: 'fast', round: () => Array.from({ length: SAMPLES }, sample) },
    baselines: [],
    check: () => {
      if (build() !== 0) throw new WrongAnswer(`${name}: its table is not built`);
    },
  };
}
