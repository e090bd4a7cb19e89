/**
 * The control plane under a cluster of 10,000 pods, 5,000 Services, 2,000 policies and 250,000 endpoints, with a million entries in
 * conntrack: what each step takes and how much memory. Status 1 when a figure is over its limit.
 *
 *   npm run bench:scale [-- --part 1] [--rounds 9]
 *
 * part: a share of that cluster, or a multiple; limits are for the whole. Times are medians and, in brackets, the least: on a machine
 * that others use too, the least is nearer to what the work itself takes.
 */
import { parseArgs } from 'node:util';
import { readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { buildDatapath } from './build.mjs';
import { bundle, load, whole } from './harness.mjs';

const BUNDLE = 'dist/scale/scale.mjs';
const EXPORTS = `
  export { ControlPlane, EDITS, timed } from './dataplane/bench/control-plane.js';
  export { established } from './test/scale/connections.js';`;

const { values } = parseArgs({
  options: { part: { type: 'string', default: '1' }, rounds: { type: 'string', default: '9' } },
});
const part = Number(values.part);
const rounds = whole(values.rounds);
const CONNECTIONS = 1 << 20;

await buildDatapath();
await bundle(EXPORTS, BUNDLE);
const { ControlPlane, EDITS, timed, established } = await load(BUNDLE);
const module = new WebAssembly.Module(readFileSync('pkg/dataplane.trace.wasm'));

const ms = (nanoseconds) => nanoseconds / 1e6;
const mib = (bytes) => bytes / 2 ** 20;
let failed = 0;
const tell = (what, value, unit, limit = null) => {
  const over = limit !== null && part === 1 && value > limit;
  if (over) failed++;
  const goal = limit === null ? '' : `   at most ${limit} ${unit}${over ? '   OVER' : ''}`;
  console.log(`${what.padEnd(44)} ${value.toFixed(1).padStart(9)} ${unit}${goal}`);
};
const median = (sorted) => sorted[sorted.length >> 1];
const spread = (what, times, limit = null) => {
  const sorted = [...times].sort((a, b) => a - b);
  tell(what, ms(median(sorted)), 'ms', limit);
  console.log(`${''.padEnd(44)} ${`(${ms(sorted[0]).toFixed(1)})`.padStart(10)}`);
};

console.log(
  `${cpus()[0].model.trim()}, ${cpus().length} cores, Node ${process.version}, load ${loadavg()[0].toFixed(1)}`,
);
const plane = new ControlPlane(module, part, CONNECTIONS);
const started = performance.now();
tell(`read ${(plane.bytes / 1e6).toFixed(1)} MB of manifests`, ms(timed(() => plane.read())), 'ms');
tell('compile and load', ms(timed(() => plane.load())), 'ms');
const first = timed(() => plane.annotations());
tell('first annotations', ms(first), 'ms');
tell('cold, from texts to annotations', performance.now() - started, 'ms', 5000);
let open = 0;
const rest = timed(() => (open = plane.reach()));
tell('all pairs, from loaded, with those annotations', ms(first + rest), 'ms', 1000);
console.log(`${open} pairs have something open`);
plane.verify();
const { cluster, identities, policies, desired } = plane.load();
const endpoints = cluster.services.reduce(
  (sum, { ports }) => sum + ports.reduce((all, port) => all + port.endpoints.length, 0),
  0,
);
console.log(
  `${cluster.pods.length} pods, ${cluster.services.length} Services, ${cluster.policies.length} policies, ${endpoints} endpoints; ` +
    `${identities.pods.length} identities, ${policies.policies.length} policymaps, ${desired.entries.length} entries`,
);
for (const kind of Object.keys(EDITS)) {
  const [state, annotations, pairs] = [[], [], []];
  for (let round = 0; round < 2 * Math.ceil(rounds / 2); round++) {
    state.push(timed(() => (plane.edit(kind), plane.load())));
    annotations.push(state.at(-1) + timed(() => plane.annotations()));
    if (kind === 'policy') {
      plane.verify();
      pairs.push(timed(() => plane.reach()));
    }
  }
  spread(`edit, ${kind}: loaded`, state);
  spread(`edit, ${kind}: annotated`, annotations, 50);
  if (pairs.length > 0) spread('all pairs, after an edit', pairs, 50);
}
tell('connections in conntrack', established(plane.load(), CONNECTIONS) / 1e6, 'million');
tell('memory of the wasm', mib(plane.memoryBytes), 'MiB', 512);
tell('memory of the process, now', mib(process.memoryUsage().rss), 'MiB', 1024);
tell('memory of the process, at most', process.resourceUsage().maxRSS / 1024, 'MiB');
console.log(failed === 0 ? 'every figure holds' : `${failed} figures do not hold`);
process.exitCode = failed === 0 || part !== 1 ? 0 : 1;
