/** Who measures what: one line for each kind of profile. */
import { maglevSubject } from './maglev.js';
import { packetSubject } from './packets.js';
import { clusterSubject } from './clusters.js';
import {
  CLUSTER_PROFILES,
  EDIT_PROFILE,
  MAGLEV_PROFILES,
  PROFILES,
  WORKERS_PROFILES,
  type Listed,
} from './profiles.js';
import { editSubject } from './shop.js';
import type { BenchModules, StartWorker, Subject } from './subject.js';
import { workersSubject } from './workers.js';

type Maker = (modules: BenchModules, startWorker: StartWorker | null) => Subject | Promise<Subject>;

const of = <P extends Listed>(
  profiles: readonly P[],
  make: (profile: P, ...rest: Parameters<Maker>) => ReturnType<Maker>,
): (readonly [string, Maker])[] =>
  profiles.map((profile) => [profile.name, (...rest: Parameters<Maker>) => make(profile, ...rest)] as const);

const MAKERS: ReadonlyMap<string, Maker> = new Map([
  ...of(PROFILES, packetSubject),
  ...of(WORKERS_PROFILES, workersSubject),
  ...of(MAGLEV_PROFILES, maglevSubject),
  ...of([EDIT_PROFILE], editSubject),
  ...of(CLUSTER_PROFILES, clusterSubject),
]);

/** Throws RangeError for a name that is no profile's. */
export function makerOf(name: string): Maker {
  const maker = MAKERS.get(name);
  if (!maker) throw new RangeError(`there is no profile ${name}`);
  return maker;
}
