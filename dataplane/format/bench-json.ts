/** A benchmark's report as the contract has it. */
import type { BenchReport } from '../bench/bench.js';

export const benchJson = (report: BenchReport): string => `${JSON.stringify(report, null, 1)}\n`;
