/**
 * Holds the WebAssembly, its fast path and its plain one, against the same datapath in C (test/bench/native/plain.c), compiled with
 * clang and gcc, whichever are there, -O3 -march=native: the same maps, the same packets, rounds in turns. Fails when a digest differs.
 *
 *   node scripts/bench-native.mjs [--rounds 15] [--profile NAME,NAME]
 */
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { benchmark, compile, contest, isThere, loudly, median, rounds, versionOf, withFolder } from './native.mjs';

const SOURCE = 'test/bench/native/plain.c';
const FLAGS = ['-O3', '-march=native', '-std=gnu11'];

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '15' }, profile: { type: 'string', default: 'all' } },
});

/** plain.c knows IPv4 from pods to Services, and no answers. */
const isKnown = ({ traffic: { family, clients, survivor } }) =>
  family === 'IPv4' && clients === 'pods' && survivor === 0;

await withFolder(async (folder) => {
  if (process.platform !== 'linux')
    return loudly(`This comparison needs Linux, and this is ${process.platform}. Nothing was measured.`);
  const compilers = ['clang', 'gcc'].filter(isThere);
  if (compilers.length === 0) return loudly('There is no C compiler: install clang or gcc. Nothing was measured.');
  const programs = compilers.map((compiler) => ({ name: `C, ${compiler}`, command: join(folder, compiler), compiler }));
  for (const { compiler, command } of programs)
    if (!compile(compiler, [...FLAGS, '-o', command, SOURCE])) return loudly(`${compiler} does not compile ${SOURCE}.`);

  const bench = await benchmark();
  const known = bench.PROFILES.filter(isKnown);
  const wanted = options.profile === 'all' ? known.map(({ name }) => name) : options.profile.split(',');
  const contests = [];
  for (const name of wanted) {
    const profile = known.find((candidate) => candidate.name === name);
    if (!profile) return loudly(`There is no profile ${name} in C. Nothing was measured.`);
    contests.push(await contest(bench, programs, profile, folder));
  }
  await rounds(contests, Number(options.rounds));

  console.log(`${cpus()[0].model}; Node ${process.version}`);
  for (const { compiler } of programs) console.log(`${versionOf(compiler)}, ${FLAGS.join(' ')}`);
  console.log('Nanoseconds a packet, medians; in brackets how many times as long as the fast path takes.');
  for (const { profile, digest, contestants } of contests) {
    const own = median(contestants.find(({ name }) => name === 'fast').times);
    const cells = contestants.map(({ name, times }) => {
      const ns = median(times);
      return `${name} ${ns.toFixed(1)}${name === 'fast' ? '' : ` (× ${(ns / own).toFixed(2)})`}`.padEnd(26);
    });
    console.log(`${profile.name.padEnd(18)}${cells.join('')}digest ${digest}`);
  }
  const wrong = contests.flatMap(({ profile, digest, contestants }) =>
    contestants
      .filter((each) => each.digest !== digest)
      .map((each) => `${profile.name}: ${each.name} has ${each.digest}, wasm ${digest}`),
  );
  return wrong.length === 0 ? 0 : loudly(`The digests differ: ${wrong.join('; ')}`);
});
