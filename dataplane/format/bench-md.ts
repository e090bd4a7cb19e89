/** A benchmark's report in Markdown. */
import type { BenchReport } from '../bench/bench.js';
import { BENCH_COLUMNS, benchCells, benchNotes, benchPlots } from './bench-table.js';
import { markdownText } from './reach.js';

export function benchMarkdown(report: BenchReport): string {
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rows = report.results.map((result) => row(benchCells(result).map(markdownText)));
  const head = BENCH_COLUMNS.map((column) => column.toLowerCase());
  return [
    row(head),
    '|---|--:|--:|---|--:|--:|---|',
    ...rows,
    '',
    ...benchPlots(report).flatMap((lines) => ['```', ...lines, '```', '']),
    ...benchNotes(report).map(markdownText),
    '',
  ].join('\n');
}
