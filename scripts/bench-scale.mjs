/**
 * The control plane under a cluster of 10,000 pods, 5,000 Services, 2,000 policies and 250,000 endpoints, with a million entries in
 * conntrack: what each step takes and how much memory, in a process of its own (test/scale). Status 1 when a figure is over its limit.
 *
 *   npm run bench:scale [-- --part 1] [--rounds 9]
 *
 * part: a share of that cluster, or a multiple; limits are for the whole. The heap may grow to 900 MiB for it, and for a multiple as
 * much more: else Node keeps what nobody needs any more until it is far larger.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { buildDatapath } from './build.mjs';
import { bundle, whole } from './harness.mjs';

const BUNDLE = 'dist/scale/scale.mjs';

const { values } = parseArgs({
  options: { part: { type: 'string', default: '1' }, rounds: { type: 'string', default: '9' } },
});
await buildDatapath();
await bundle("export { measure } from './test/scale/measure.js';", BUNDLE);
const call = `import('./${BUNDLE}').then(({ measure }) => (process.exitCode = measure(${Number(values.part)}, ${whole(values.rounds)})))`;
const heap = `--max-old-space-size=${Math.ceil(900 * Math.max(1, Number(values.part)))}`;
const { status } = spawnSync(process.execPath, [heap, '-e', call], { stdio: 'inherit' });
process.exitCode = status ?? 1;
