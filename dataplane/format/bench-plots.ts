/** What of a benchmark's report is shown as bars: how time grows with size, and what each stage costs. */
import type { BenchReport } from '../bench/bench.js';
import { GROWTHS, STAGES } from '../bench/profiles.js';

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

/** What a packet's way takes longer than that which ends before; only where all of them were measured. */
export function stagePlot(report: BenchReport): Plot[] {
  const ways = STAGES.map(({ stage, profile }) => ({ label: stage, profile, ns: medianOf(report, profile) }));
  const bars: Bar[] = [];
  let before = 0;
  for (const { label, profile, ns } of ways) {
    if (ns === null) return [];
    bars.push({ label, profile, ns: Math.max(0, ns - before) });
    before = ns;
  }
  return [{ title: 'Stages of an established flow', bars }];
}
