/** What the control plane takes under a large cluster, printed figure by figure with the limits that the whole must keep. */
import { readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { ControlPlane, EDITS, timed, type Edit } from '../../dataplane/bench/control-plane.js';
import { established } from './connections.js';

const CONNECTIONS = 1 << 20;

const ms = (nanoseconds: number): number => nanoseconds / 1e6;
const mib = (bytes: number): number => bytes / 2 ** 20;

/** Prints figures, and counts those over their limits. */
class Figures {
  over = 0;

  constructor(private readonly isWhole: boolean) {}

  tell(what: string, value: number, unit: string, limit: number | null = null): void {
    const isOver = limit !== null && this.isWhole && value > limit;
    if (isOver) this.over++;
    const goal = limit === null ? '' : `   at most ${limit} ${unit}${isOver ? '   OVER' : ''}`;
    console.log(`${what.padEnd(48)} ${value.toFixed(1).padStart(9)} ${unit}${goal}`);
  }

  /** The median, and in brackets the least: on a machine that others use too, nearer to what the work itself takes. */
  spread(what: string, times: readonly number[], limit: number | null = null): void {
    const sorted = [...times].sort((a, b) => a - b);
    this.tell(`${what} (${ms(sorted[0]!).toFixed(1)})`, ms(sorted[sorted.length >> 1]!), 'ms', limit);
  }
}

/** `part`: how much of the whole cluster. 0, or 1 where a figure is over its limit. */
export function measure(part: number, rounds: number): number {
  const figures = new Figures(part === 1);
  console.log(
    `${cpus()[0]!.model.trim()}, ${cpus().length} cores, Node ${process.version}, load ${loadavg()[0]!.toFixed(1)}`,
  );
  const module = new WebAssembly.Module(readFileSync('pkg/dataplane.trace.wasm'));
  const plane = new ControlPlane(module, part, CONNECTIONS);
  const read = timed(() => plane.read());
  const load = timed(() => plane.load());
  const first = timed(() => plane.annotations());
  figures.tell(`read ${(plane.bytes / 1e6).toFixed(1)} MB of manifests`, ms(read), 'ms');
  figures.tell('compile and load', ms(load), 'ms');
  figures.tell('first annotations', ms(first), 'ms');
  figures.tell('cold, from texts to annotations', ms(read + load + first), 'ms', 5000);
  figures.tell('memory of the process', mib(process.memoryUsage().rss), 'MiB', 1024);
  plane.verify();
  let open = 0;
  const rest = timed(() => (open = plane.reach()));
  figures.tell('all pairs, from loaded, with those annotations', ms(first + rest), 'ms', 1000);
  describe(plane, open);
  for (const kind of Object.keys(EDITS) as Edit[]) edit(plane, kind, rounds, figures);
  figures.tell('connections in conntrack', established(plane.load(), CONNECTIONS) / 1e6, 'million');
  figures.tell('memory of the wasm', mib(plane.memoryBytes), 'MiB', 512);
  figures.tell('memory of the process', mib(process.memoryUsage().rss), 'MiB', 1024);
  console.log(figures.over === 0 ? 'every figure holds' : `${figures.over} figures do not hold`);
  return figures.over === 0 ? 0 : 1;
}

function describe(plane: ControlPlane, open: number): void {
  const { cluster, identities, policies } = plane.load();
  const ports = cluster.services.flatMap((service) => service.ports);
  const counts = [
    [cluster.pods.length, 'pods'],
    [cluster.services.length, 'Services'],
    [cluster.policies.length, 'policies'],
    [ports.reduce((sum, { endpoints }) => sum + endpoints.length, 0), 'endpoints'],
    [identities.pods.length, 'identities'],
    [policies.policies.length, 'policymaps'],
    [open, 'pairs with something open'],
  ] as const;
  console.log(counts.map(([count, what]) => `${count} ${what}`).join(', '));
}

function edit(plane: ControlPlane, kind: Edit, rounds: number, figures: Figures): void {
  const [loaded, annotated, pairs]: number[][] = [[], [], []];
  // Each edit is taken back.
  for (let i = 0; i < 2 * Math.ceil(rounds / 2); i++) {
    const load = timed(() => {
      plane.edit(kind);
      plane.load();
    });
    loaded!.push(load);
    annotated!.push(load + timed(() => plane.annotations()));
    if (kind !== 'policy') continue;
    plane.verify();
    pairs!.push(timed(() => plane.reach()));
  }
  figures.spread(`edit, ${kind}: loaded`, loaded!);
  figures.spread(`edit, ${kind}: annotated`, annotated!, 50);
  if (pairs!.length > 0) figures.spread('all pairs, after an edit', pairs!, 50);
}
