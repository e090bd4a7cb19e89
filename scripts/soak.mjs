/**
 * Long runs over established flows, through the build that records nothing (test/soak). Status 1 when a run does not show
 * what it should.
 *
 *   npm run soak -- --what flood [--flows 250000] [--new 100000000] [--family 4] [--seed 1]
 *   npm run soak -- --what churn [--flows 250000] [--changes 10000] [--family 4] [--seed 1]
 *
 * flood: new flows of one packet each; they may evict no entry of an established one.
 * churn: backends come, drain and go; no established flow may move while its backend is there.
 */
import { parseArgs } from 'node:util';
import { buildDatapath } from './build.mjs';
import { bundle, load, whole } from './harness.mjs';

const BUNDLE = 'dist/soak/soak.mjs';
const EXPORTS = `
  export * as flood from './test/soak/flood.js';
  export * as churn from './test/soak/churn.js';`;

const { values } = parseArgs({
  options: {
    what: { type: 'string' },
    flows: { type: 'string', default: '250000' },
    new: { type: 'string', default: '100000000' },
    changes: { type: 'string', default: '10000' },
    family: { type: 'string', default: '4' },
    seed: { type: 'string', default: '1' },
  },
});
if (!['flood', 'churn'].includes(values.what)) throw new Error('--what flood, or --what churn');
if (!['4', '6'].includes(values.family)) throw new Error('--family 4, or --family 6');
const run = { seed: whole(values.seed), family: `IPv${values.family}`, flows: whole(values.flows) };
await buildDatapath();
await bundle(EXPORTS, BUNDLE);
const soak = await load(BUNDLE);
process.exitCode = values.what === 'flood' ? flood(whole(values.new)) : churn(whole(values.changes));

function thousands(number) {
  return Math.round(number).toLocaleString('en');
}

function flood(fresh) {
  const onProgress = (done) => console.error(`${thousands(done)} of ${thousands(fresh)} new flows`);
  const report = soak.flood.flood({ ...run, fresh, onProgress });
  const { kept, moved, unanswered, remade, astray, ledgers, memory, seconds } = report;
  console.log(`${run.family}: ${thousands(fresh)} new flows over ${thousands(run.flows)} established ones`);
  console.log(
    `established: ${thousands(kept)} packets, ${moved} moved, ${unanswered} unanswered, ${remade} entries evicted`,
  );
  console.log(`new: ${astray} not forwarded to the backend that Maglev names`);
  printLedgers(ledgers);
  console.log(`memory: ${(memory[0] / 2 ** 20).toFixed(1)} MiB before, ${(memory[1] / 2 ** 20).toFixed(1)} MiB after`);
  return verdict(4 * run.flows + 2 * kept + fresh, seconds, soak.flood.faults(report));
}

function churn(changes) {
  const onProgress = (done) => console.error(`${thousands(done)} of ${thousands(changes)} changes`);
  const report = soak.churn.churn({ ...run, changes, onProgress });
  const { sent, moved, unanswered, taken, lost, fresh, astray, tables, ledgers, seconds } = report;
  const kinds = Object.entries(report.changes).map(([kind, count]) => `${thousands(count)} ${kind}`);
  console.log(
    `${run.family}: ${thousands(changes)} changes of backends under ${thousands(run.flows)} established flows`,
  );
  console.log(`backends: ${kinds.join(', ')}; ${thousands(tables)} Maglev tables built`);
  console.log(
    `established: ${thousands(sent)} packets, ${moved} moved while their backend was there, ${unanswered} unanswered`,
  );
  console.log(`backend gone: ${thousands(taken)} flows taken on by another, ${lost} by none that takes new ones`);
  console.log(`new: ${thousands(fresh)} flows, ${astray} not forwarded to the backend that Maglev names`);
  printLedgers(ledgers);
  return verdict(4 * run.flows + 2 * sent + fresh, seconds, soak.churn.faults(report));
}

function printLedgers(ledgers) {
  for (const { name, capacity, created, live, evicted, expired, deleted } of ledgers) {
    const parts = { live, evicted, expired, deleted };
    const sum = Object.entries(parts).map(([what, count]) => `${thousands(count)} ${what}`);
    console.log(`${name}, room for ${thousands(capacity)}: ${thousands(created)} created = ${sum.join(' + ')}`);
  }
}

function verdict(packets, seconds, faults) {
  console.log(`${seconds.toFixed(1)} s, ${thousands(packets / seconds)} packets/s`);
  for (const fault of faults) console.log(`FAILED: ${fault}`);
  console.log(`seed ${run.seed}: ${faults.length === 0 ? 'passed' : 'FAILED'}`);
  return faults.length === 0 ? 0 : 1;
}
