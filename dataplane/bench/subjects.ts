/** Who measures what: one line for each kind of profile. */
import { maglevSubject } from './maglev.js';
import { packetSubject } from './packets.js';
import { EDIT_PROFILE, MAGLEV_PROFILES, PROFILES, type Listed } from './profiles.js';
import { editSubject } from './shop.js';
import type { BenchModules, Subject } from './subject.js';

type Maker = (modules: BenchModules) => Subject;

const of = <P extends Listed>(
  profiles: readonly P[],
  make: (profile: P, modules: BenchModules) => Subject,
): (readonly [string, Maker])[] =>
  profiles.map((profile) => [profile.name, (modules) => make(profile, modules)] as const);

const MAKERS: ReadonlyMap<string, Maker> = new Map([
  ...of(PROFILES, packetSubject),
  ...of(MAGLEV_PROFILES, maglevSubject),
  ...of([EDIT_PROFILE], editSubject),
]);

/** Throws RangeError for a name that is no profile's. */
export function makerOf(name: string): Maker {
  const maker = MAKERS.get(name);
  if (!maker) throw new RangeError(`there is no profile ${name}`);
  return maker;
}
