/** The benchmark, from the palette to its page. */
import * as vscode from 'vscode';
import type { BenchReport } from '../dataplane/bench/bench.js';
import { ALL_PROFILES as ALL, PROFILE_NAMES, UNITS, type Unit } from '../dataplane/bench/profiles.js';
import { benchMarkdown } from '../dataplane/format/bench-md.js';
import { growthPlots, stagePlots, type Plot } from '../dataplane/format/bench-plots.js';
import { BENCH_COLUMNS, benchCells, benchNotes, duration } from '../dataplane/format/bench-table.js';
import { runBenchmark, type BenchEngine } from './bench-client.js';
import { registerCommand } from './commands.js';
import { BENCH_STYLE, benchPage, type BarView, type BenchView } from './pages/bench-page.js';
import { Page } from './pages/page.js';

const descriptionOf = (name: string): string => ALL.find((profile) => profile.name === name)?.description ?? '';

export function registerBenchmark(extensionUri: vscode.Uri, output: vscode.LogOutputChannel): vscode.Disposable {
  let report: BenchReport | null = null;
  let generation = 0;
  const page = new Page({
    viewType: 'hopscope.benchmark',
    title: 'Dataplane Benchmark',
    style: BENCH_STYLE,
    script: benchPage,
    types: ['copy', 'again'],
    onMessage: (type, message) => {
      if (!report || message['generation'] !== generation) return;
      if (type === 'again') void vscode.commands.executeCommand('hopscope.runBenchmark');
      else void copy(report);
    },
  });
  const command = registerCommand('hopscope.runBenchmark', output, async (wanted) => {
    const profiles = ALL.some(({ name }) => name === wanted) ? [String(wanted)] : await pickProfiles();
    if (!profiles) return null;
    const finished = await measure(await engineIn(extensionUri), profiles);
    if (!finished) {
      void vscode.window.showInformationMessage('Hopscope: benchmark cancelled.');
      return null;
    }
    report = finished;
    output.info(
      `benchmark: ${report.results.map(({ profile, nsPerPacket }) => `${profile} ${duration(nsPerPacket.median)}`).join(', ')}`,
    );
    page.show('Dataplane Benchmark', viewOf(report, ++generation), vscode.ViewColumn.Active);
    return report;
  });
  return vscode.Disposable.from(page, command);
}

async function copy(report: BenchReport): Promise<void> {
  await vscode.env.clipboard.writeText(benchMarkdown(report));
  vscode.window.setStatusBarMessage('Hopscope: benchmark copied', 3000);
}

async function pickProfiles(): Promise<readonly string[] | null> {
  const items = ALL.map(({ name, description }) => ({ label: name, description, profiles: [name] }));
  const all = {
    label: '$(play-circle) All profiles',
    description: `${PROFILE_NAMES.length} profiles, in turns`,
    profiles: PROFILE_NAMES,
  };
  const separator = { label: 'One profile', kind: vscode.QuickPickItemKind.Separator, profiles: [] };
  const options = { title: 'Run Dataplane Benchmark', placeHolder: 'Which profile?', matchOnDescription: true };
  return (await vscode.window.showQuickPick([all, separator, ...items], options))?.profiles ?? null;
}

async function engineIn(extensionUri: vscode.Uri): Promise<BenchEngine> {
  const inDist = (name: string): vscode.Uri => vscode.Uri.joinPath(extensionUri, 'dist', name);
  const [fast, trace] = await Promise.all(
    ['dataplane.wasm', 'dataplane.trace.wasm'].map((name) => vscode.workspace.fs.readFile(inDist(name))),
  );
  return { script: inDist('worker.cjs').fsPath, fast: fast!, trace: trace! };
}

function measure(engine: BenchEngine, profiles: readonly string[]): Thenable<BenchReport | null> {
  const options = { location: vscode.ProgressLocation.Notification, title: 'Dataplane benchmark', cancellable: true };
  return vscode.window.withProgress(options, (progress, token) => {
    let shown = 0;
    return runBenchmark(engine, profiles, token, ({ done, total, what }) => {
      const percent = (100 * done) / total;
      progress.report({ message: what, increment: percent - shown });
      shown = percent;
    });
  });
}

const share = (ns: number, widest: number): number => Math.round((1000 * ns) / widest) / 10;

/** The medians and tails of all profiles of a unit. */
function resultPlot(report: BenchReport, unit: Unit): BenchView['plots'] {
  const results = report.results.filter((result) => result.unit === unit);
  const widest = Math.max(...results.map(({ nsPerPacket }) => Math.max(nsPerPacket.median, nsPerPacket.p99)));
  const bars = results.map(({ profile, nsPerPacket: { median, p99 } }): BarView => ({
    label: profile,
    description: descriptionOf(profile),
    median: share(median, widest),
    p99: share(p99, widest),
    medianText: duration(median),
    p99Text: duration(p99),
  }));
  return bars.length > 0 ? [{ title: `Time per ${unit}: median, whisker to the 99th percentile`, bars }] : [];
}

function barPlot({ title, bars }: Plot): BenchView['plots'][number] {
  const widest = Math.max(...bars.map(({ ns }) => ns), 1);
  return {
    title,
    bars: bars.map(({ label, profile, ns }) => ({
      label,
      description: descriptionOf(profile),
      median: share(ns, widest),
      p99: null,
      medianText: duration(ns),
      p99Text: null,
    })),
  };
}

function viewOf(report: BenchReport, generation: number): BenchView {
  return {
    generation,
    plots: [
      ...UNITS.flatMap((unit) => resultPlot(report, unit)),
      ...growthPlots(report).map((plot) => barPlot({ ...plot, title: `Growth: ${plot.title}` })),
      ...stagePlots(report).map(barPlot),
    ],
    columns: BENCH_COLUMNS.map((column) => column.slice(0, 1) + column.slice(1).toLowerCase()),
    rows: report.results.map(benchCells),
    notes: benchNotes(report),
  };
}
