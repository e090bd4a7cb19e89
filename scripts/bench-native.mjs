/**
 * Holds the WebAssembly, its fast path and its plain one, against the same in C: the datapath packet by packet (plain.c in
 * test/bench/native), and with the fast path's design and prefetch besides (fast.c). Compiled with clang and gcc, whichever are there,
 * -O3 -march=native: the same maps, the same packets, rounds in turns. Fails when a digest differs.
 *
 *   node scripts/bench-native.mjs [--rounds 15] [--profile NAME,NAME]
 */
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { benchmark, compile, contest, isThere, loudly, median, rounds, versionOf, withFolder } from './native.mjs';

const SOURCES = ['plain', 'fast'];
const FOLDER = 'test/bench/native';
const FLAGS = ['-O3', '-march=native', '-std=gnu11'];

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '15' }, profile: { type: 'string', default: 'all' } },
});

/** Both know IPv4 from pods to Services, and no answers. */
const isKnown = ({ traffic: { family, clients, survivor } }) =>
  family === 'IPv4' && clients === 'pods' && survivor === 0;

await withFolder(async (folder) => {
  if (process.platform !== 'linux')
    return loudly(`This comparison needs Linux, and this is ${process.platform}. Nothing was measured.`);
  const compilers = ['clang', 'gcc'].filter(isThere);
  if (compilers.length === 0) return loudly('There is no C compiler: install clang or gcc. Nothing was measured.');
  const programs = [];
  for (const source of SOURCES) {
    for (const compiler of compilers) {
      const command = join(folder, `${source}-${compiler}`);
      if (!compile(compiler, [...FLAGS, '-o', command, `${FOLDER}/${source}.c`]))
        return loudly(`${compiler} does not compile ${source}.c.`);
      programs.push({ name: `${source} C, ${compiler}`, command });
    }
  }

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
  for (const compiler of compilers) console.log(`${versionOf(compiler)}, ${FLAGS.join(' ')}`);
  console.log('Nanoseconds a packet, medians; × how many times as long as the fast path in wasm takes.');
  const row = (first, cells) =>
    console.log([first.padEnd(18), ...cells.map((cell) => cell.padEnd(20))].join('').trimEnd());
  row('profile', [...contests[0].contestants.map(({ name }) => name), 'digest']);
  for (const { profile, digest, contestants } of contests) {
    const own = median(contestants.find(({ name }) => name === 'fast').times);
    const cells = contestants.map(({ times }) => `${median(times).toFixed(1)} × ${(median(times) / own).toFixed(2)}`);
    row(profile.name, [...cells, digest]);
  }
  const wrong = contests.flatMap(({ profile, digest, contestants }) =>
    contestants
      .filter((each) => each.digest !== digest)
      .map((each) => `${profile.name}: ${each.name} has ${each.digest}, wasm ${digest}`),
  );
  return wrong.length === 0 ? 0 : loudly(`The digests differ: ${wrong.join('; ')}`);
});
