/** What of a benchmark's report is shown as bars: how time grows with size, and what each stage costs. */
import type { BenchReport } from '../bench/bench.js';
import { GROWTHS, STEPS } from '../bench/profiles.js';

export interface Bar {
  readonly label: string;
  /** The profile whose numbers it shows. */
  readonly profile: string;
  readonly ns: number;
}

export interface Plot {
  readonly title: string;
  readonly bars: readonly Bar[];
}

const medianOf = ({ results }: BenchReport, name: string): number | null =>
  results.find(({ profile }) => profile === name)?.nsPerPacket.median ?? null;

/** Of each row of profiles of which two at least were measured. */
export const growthPlots = (report: BenchReport): Plot[] =>
  GROWTHS.map(({ title, points }) => ({
    title,
    bars: points.flatMap(({ label, profile }) => {
      const ns = medianOf(report, profile);
      return ns === null ? [] : [{ label, profile, ns }];
    }),
  })).filter(({ bars }) => bars.length > 1);

/** What each stage of the fast path adds, and what each step of the programs does: a packet's way, less that which ends before. */
export const stagePlots = (report: BenchReport): Plot[] => [
  ...report.results
    .filter(({ stages }) => stages.length > 0)
    .map(({ profile, stages }) => ({
      title: `Stages of ${profile}`,
      bars: stages.map(({ name, ns }) => ({ label: name, profile, ns })),
    })),
  ...plainPlot(report),
];

/** Only where all ways were measured. */
function plainPlot({ results }: BenchReport): Plot[] {
  const bars: Bar[] = [];
  let before = 0;
  for (const { step, profile } of STEPS) {
    const found = results.find((result) => result.profile === profile);
    const ns = found?.baselines.find(({ name }) => name === 'plain')?.nsPerPacket.median;
    if (ns === undefined) return [];
    bars.push({ label: step, profile, ns: Math.max(0, ns - before) });
    before = ns;
  }
  return [{ title: 'Steps of the plain path', bars }];
}
