/**
 * Fails when the dataplane has lost more than 15 % against its plain path, which takes the same packets in the same run. What it held
 * is in test/bench/gate.json: of profiles that stay near the processor, for how long others wait for memory depends on who else uses
 * it. Where it falls short it is measured once more, for longer.
 *
 *   node scripts/bench-gate.mjs [--update]     --update writes this run's ratios to test/bench/gate.json
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { buildDatapath } from './build.mjs';
import { bundle, load } from './harness.mjs';

const GATE = 'test/bench/gate.json';
const MODULE = 'dist/bench-gate/gate.mjs';
const ROUNDS = 7;
/** Rounds of what fell short, and of the ratios that are written down. */
const MORE_ROUNDS = 15;

const { values: options } = parseArgs({ options: { update: { type: 'boolean', default: false } } });

await buildDatapath();
await bundle(
  `export { bench, machineOf } from './dataplane/bench/bench.js'; export * from './test/bench/gate.js';`,
  MODULE,
);
const { bench, machineOf, ratiosOf, lossesOf, TOLERANCE } = await load(MODULE);
const compiled = (name) => new WebAssembly.Module(readFileSync(`pkg/${name}`));
const modules = { fast: compiled('dataplane.wasm'), trace: compiled('dataplane.trace.wasm') };
const expected = JSON.parse(readFileSync(GATE, 'utf8'));

/** The ratios that are expected of these profiles, as they are now. */
async function measure(profiles, rounds) {
  const all = ratiosOf(await bench(modules, { profiles, rounds, machine: machineOf(cpus(), process.version) }));
  const ratios = {};
  for (const profile of profiles) {
    ratios[profile] = {};
    for (const [name, before] of Object.entries(expected[profile])) {
      const ratio = (ratios[profile][name] = all[profile][name]);
      console.log(`${profile.padEnd(18)}${name.padEnd(12)}× ${ratio.toFixed(2)}   expected × ${before.toFixed(2)}`);
    }
  }
  return ratios;
}

if (options.update) {
  writeFileSync(GATE, `${JSON.stringify(await measure(Object.keys(expected), MORE_ROUNDS), null, 2)}\n`);
} else {
  let losses = lossesOf(await measure(Object.keys(expected), ROUNDS), expected);
  if (losses.length > 0) {
    const profiles = [...new Set(losses.map(({ profile }) => profile))];
    console.log(`once more: ${profiles.join(', ')}`);
    const again = Object.fromEntries(profiles.map((profile) => [profile, expected[profile]]));
    losses = lossesOf(await measure(profiles, MORE_ROUNDS), again);
  }
  for (const { profile, baseline, expected, found } of losses)
    console.error(
      `*** ${profile}: against ${baseline} × ${found ?? 'nothing'} where it was × ${expected}, a loss of more than ${100 * TOLERANCE} %`,
    );
  console.log(losses.length === 0 ? 'no loss' : `${losses.length} losses`);
  process.exitCode = losses.length === 0 ? 0 : 1;
}
