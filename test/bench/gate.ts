/** What the benchmark's gate compares: ratios within one run, and never times. */
import type { BenchReport } from '../../dataplane/bench/bench.js';

/** Of a profile, how many times as long the others take: the more, the better. */
export type Ratios = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** A loss beyond this fails. */
export const TOLERANCE = 0.15;

/** The floor is left out: it waits for memory and for nothing else, so its ratio follows the machine. */
export const ratiosOf = ({ results }: BenchReport): Ratios =>
  Object.fromEntries(
    results.map(({ profile, baselines }) => [
      profile,
      Object.fromEntries(baselines.filter(({ name }) => name !== 'floor').map(({ name, ratio }) => [name, ratio])),
    ]),
  );

export interface Loss {
  readonly profile: string;
  readonly baseline: string;
  readonly expected: number;
  /** null where it was not measured. */
  readonly found: number | null;
}

/** Where ratios fall short of those expected. */
export const lossesOf = (found: Ratios, expected: Ratios): Loss[] =>
  Object.entries(expected).flatMap(([profile, ratios]) =>
    Object.entries(ratios)
      .map(([baseline, ratio]): Loss => ({
        profile,
        baseline,
        expected: ratio,
        found: found[profile]?.[baseline] ?? null,
      }))
      .filter(({ expected, found }) => found === null || found < expected * (1 - TOLERANCE)),
  );
