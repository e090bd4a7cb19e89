/** A benchmark's report as a table for a terminal. */
import type { BenchReport, BenchResult } from '../bench/bench.js';
import { table } from './table.js';

export const BENCH_COLUMNS = ['PROFILE', 'MEDIAN', 'P99', 'ROUNDS', 'RATE', 'MEMORY'] as const;

const UNITS = [
  ['ms', 1e6],
  ['µs', 1e3],
  ['ns', 1],
] as const;

/** Nanoseconds in the unit in which they read best. */
export function duration(ns: number): string {
  const [unit, size] = UNITS.find(([, size]) => ns >= size) ?? UNITS[2];
  return `${(ns / size).toFixed(1)} ${unit}`;
}

const rate = ({ unit, mpps }: BenchResult): string =>
  unit === 'packet' ? `${mpps.toFixed(2)} Mpps` : `${(mpps * 1e6).toFixed(0)} edits/s`;

/** One result, a text for each of `BENCH_COLUMNS`. */
export function benchCells(result: BenchResult): string[] {
  const { profile, nsPerPacket, spread, rounds, memoryMiB } = result;
  return [
    profile,
    duration(nsPerPacket.median),
    duration(nsPerPacket.p99),
    `${rounds} (${duration(spread.min)} to ${duration(spread.max)})`,
    rate(result),
    `${memoryMiB} MiB`,
  ];
}

/** What the numbers were measured on, and what they say. */
export function benchNotes({ machine: { cpu, cores, node, wasm }, cancelled }: BenchReport): string[] {
  return [
    `${cpu}, ${cores} cores; Node ${node}; wasm ${wasm}`,
    'One core, packets already in memory, no network card. Time is per packet (edit-shop: per edit): median over rounds, 99th percentile over samples.',
    ...(cancelled ? ['Cancelled: not all rounds were run.'] : []),
  ];
}

export const benchTable = (report: BenchReport): string =>
  [...table(BENCH_COLUMNS, report.results.map(benchCells)), '', ...benchNotes(report), ''].join('\n');
