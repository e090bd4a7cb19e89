/**
 * Holds the WebAssembly against the same datapath as an XDP program on the kernel's maps (test/bench/native/datapath.bpf.c), run by
 * BPF_PROG_TEST_RUN, an empty program's time subtracted: the same packets, rounds in turns. Fails when a digest differs, and says
 * why where it cannot run: it needs Linux, root, clang and libbpf.
 *
 *   node scripts/bench-kernel.mjs [--rounds 15] [--profile NAME,NAME]
 */
import { release, cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { benchmark, compile, contest, isThere, loudly, median, rounds, versionOf, withFolder } from './native.mjs';

const FOLDER = 'test/bench/native';
/** In which Linux has the headers of its own machine. */
const INCLUDE = `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    profile: { type: 'string', default: 'established-1k,established-100k,established-1m,new-flows,drops,services-10k' },
  },
});

/** The program knows TCP over IPv4 in frames of 64 bytes, from pods to Services on their node, and no answers. */
const isKnown = ({ traffic: { family, clients, local, survivor, frameLength, stop } }) =>
  family === 'IPv4' && clients === 'pods' && local && survivor === 0 && frameLength === 64 && stop !== 'receive';

const NOTES = `
Medians over rounds; the kernel's are its own timer's, in whole nanoseconds, an empty program's subtracted. What to know before comparing:
- No network card on either side: BPF_PROG_TEST_RUN runs the program on a frame in memory, and so does the wasm. A driver costs more.
- The kernel's program runs with the mitigations of this kernel (/sys/devices/system/cpu/vulnerabilities); wasm calls nothing of it.
- The maps are BPF_MAP_TYPE_HASH, LRU_HASH (conntrack), ARRAY and PERCPU_ARRAY. Cilium's own are LPM tries for ipcache and policy, which
  are slower. One program, no tail calls, Services on the packet itself: what Cilium does besides (events, DSR, masquerade) is not in it.
- Both keep TCP state and both directions' conntrack and policy; answers, fragments, ICMP, IPv6 and NAT are not in the kernel's program.
  The kernel's LRU holds twice the entries where nothing is to be evicted, for it evicts early.`;

await withFolder(async (folder) => {
  if (process.platform !== 'linux')
    return loudly(`This comparison needs Linux, and this is ${process.platform}. Nothing was measured.`);
  if (process.getuid() !== 0) return loudly('bpf() needs root. Nothing was measured.');
  if (!isThere('clang')) return loudly('clang is not there, which compiles for BPF. Nothing was measured.');
  const object = join(folder, 'datapath.o');
  const command = join(folder, 'kernel');
  const forKernel = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', `-I${INCLUDE}`];
  if (!compile('clang', [...forKernel, '-c', `${FOLDER}/datapath.bpf.c`, '-o', object]))
    return loudly(
      'clang does not compile the datapath for BPF: are the headers of libbpf and Linux there? Nothing was measured.',
    );
  if (!compile('clang', ['-O2', `${FOLDER}/kernel.c`, '-lbpf', '-o', command]))
    return loudly('The loader is not compiled: is libbpf there (libbpf-dev)? Nothing was measured.');

  const bench = await benchmark();
  const programs = [{ name: 'kernel', command, args: [object] }];
  const contests = [];
  for (const name of options.profile.split(',')) {
    const profile = bench.PROFILES.find((candidate) => candidate.name === name);
    if (!profile || !isKnown(profile))
      return loudly(`There is no profile ${name} for the kernel. Nothing was measured.`);
    try {
      contests.push(await contest(bench, programs, profile, folder));
    } catch (error) {
      return loudly(`The kernel does not run it: ${error.message}. Nothing was measured.`);
    }
  }
  await rounds(contests, Number(options.rounds));

  console.log(`${cpus()[0].model}; Linux ${release()}; Node ${process.version}; ${versionOf('clang')}`);
  const row = (...cells) => console.log(cells.map((cell, i) => (i ? cell.padStart(14) : cell.padEnd(18))).join(''));
  row('profile', 'kernel ns', 'fast ns', 'plain ns', 'kernel/fast', 'kernel/plain', 'digest');
  const wrong = [];
  for (const { profile, digest, contestants } of contests) {
    const [fast, plain, kernel] = ['fast', 'plain', 'kernel'].map((name) =>
      contestants.find((each) => each.name === name),
    );
    const [f, p, k] = [fast, plain, kernel].map(({ times }) => median(times));
    row(profile.name, k.toFixed(1), f.toFixed(1), p.toFixed(1), (k / f).toFixed(2), (k / p).toFixed(2), digest);
    if (kernel.digest !== digest) wrong.push(`${profile.name}: the kernel has ${kernel.digest}, wasm ${digest}`);
  }
  console.log(NOTES);
  return wrong.length === 0 ? 0 : loudly(`The digests differ: ${wrong.join('; ')}`);
});
