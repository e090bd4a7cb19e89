/** A benchmark's report as a table for a terminal, with bars below. */
import type { BenchReport, BenchResult } from '../bench/bench.js';
import { growthPlots, stagePlots, type Plot } from './bench-plots.js';
import { table } from './table.js';

export const BENCH_COLUMNS = ['PROFILE', 'MEDIAN', 'P99', 'ROUNDS', 'RATE', 'MEMORY', 'OTHERS'] as const;

const UNITS = [
  ['s', 1e9],
  ['ms', 1e6],
  ['µs', 1e3],
  ['ns', 1],
] as const;

/** Nanoseconds in the unit in which they read best. */
export function duration(ns: number): string {
  const [unit, size] = UNITS.find(([, size]) => ns >= size) ?? UNITS[3];
  return `${(ns / size).toFixed(1)} ${unit}`;
}

function rate({ unit, mpps }: BenchResult): string {
  const perSecond = mpps * 1e6;
  return unit === 'packet' ? `${mpps.toFixed(2)} Mpps` : `${perSecond.toFixed(perSecond < 10 ? 1 : 0)} ${unit}s/s`;
}

/** One result, a text for each of `BENCH_COLUMNS`. */
export function benchCells(result: BenchResult): string[] {
  const { profile, nsPerPacket, spread, rounds, memoryMiB, baselines } = result;
  return [
    profile,
    duration(nsPerPacket.median),
    duration(nsPerPacket.p99),
    `${rounds} (${duration(spread.min)} to ${duration(spread.max)})`,
    rate(result),
    `${memoryMiB} MiB`,
    baselines.map(({ name, ratio }) => `${name} × ${ratio.toFixed(2)}`).join(', '),
  ];
}

/** What the numbers were measured on, and what they say. */
export function benchNotes({ machine: { cpu, cores, node, wasm }, cancelled }: BenchReport): string[] {
  return [
    `${cpu}, ${cores} cores; Node ${node}; wasm ${wasm}`,
    'Packets already in memory, no network card, a clock that stands still; one core, but for workers, whose time is until the last of them is done. Time is per packet (maglev: per table; cold, edit, reach: each): median over rounds, 99th percentile over samples.',
    'Others take the same packets in turns with it, in so many times its time: plain goes packet by packet, JavaScript is the same pipeline in that, the floor touches the same memory and does nothing else.',
    ...(cancelled ? ['Cancelled: not all rounds were run.'] : []),
  ];
}

/** Characters of the widest bar. */
const WIDTH = 40;

/** A plot in lines of text. */
export function benchBars({ title, bars }: Plot): string[] {
  const most = Math.max(...bars.map(({ ns }) => ns), 1);
  const rows = bars.map(({ label, ns }) => [label, duration(ns), '█'.repeat(Math.round((WIDTH * ns) / most))]);
  return table([title, '', ''], rows);
}

export const benchPlots = (report: BenchReport): string[][] =>
  [...growthPlots(report), ...stagePlots(report)].map(benchBars);

export const benchTable = (report: BenchReport): string =>
  [
    ...table(BENCH_COLUMNS, report.results.map(benchCells)),
    '',
    ...benchPlots(report).flatMap((lines) => [...lines, '']),
    ...benchNotes(report),
    '',
  ].join('\n');
