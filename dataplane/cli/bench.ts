/** `hopscope bench`: the benchmark on this machine, with progress on standard error. */
import { cpus } from 'node:os';
import { bench, machineOf } from '../bench/bench.js';
import { PROFILE_NAMES, USUAL_NAMES } from '../bench/profiles.js';
import { benchJson } from '../format/bench-json.js';
import { benchMarkdown } from '../format/bench-md.js';
import { benchTable } from '../format/bench-table.js';
import { startWorker } from './bench-worker.js';
import { CallError, choice, Exit, number, type Call, type Output } from './call.js';

/** Rounds unless asked for otherwise: enough for a steady median, in about a minute. */
const ROUNDS = 15;

export async function runBench(call: Call): Promise<Output> {
  const format = choice(call, 'format', ['table', 'json', 'md'], 'table');
  const wanted = call.options['profile'] ?? 'all';
  const profiles = wanted === 'all' ? USUAL_NAMES : wanted.split(',');
  for (const name of profiles) {
    if (!PROFILE_NAMES.includes(name))
      throw new CallError(`--profile ${name}: expected all, ${PROFILE_NAMES.join(', ')}`);
  }
  const rounds = number(call, 'rounds', 1, 1000) ?? ROUNDS;
  const report = await bench(call.modules, {
    profiles,
    rounds,
    machine: machineOf(cpus(), process.version),
    startWorker,
    onProgress: (done, total, what) => {
      if (process.stderr.isTTY) call.tell(`${done}/${total} ${what}`);
      // A log has no use for each round.
      else if (what.endsWith(': preparing')) call.tell(what);
    },
  });
  return { text: { table: benchTable, json: benchJson, md: benchMarkdown }[format](report), exit: Exit.DONE };
}
