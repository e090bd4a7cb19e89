/** The datapath agrees with the reference, packet by packet, and would not if it were wrong. `npm run differential` runs millions. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { apply, compile } from '../broken/compile.js';
import { SEMANTIC } from '../broken/semantic.js';
import { modules } from '../datapath.js';
import { PROGRAM } from '../reference/numbers.js';
import { drawCluster } from './cluster.js';
import { EPOCH, explain, runEpoch } from './epoch.js';
import { Random } from './random.js';
import { Subject } from './subject.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 1);
const EPOCHS = 30;

test(`${EPOCHS * EPOCH} packets: the same verdict, bytes, end and connections on both sides (HOPSCOPE_SEED=${SEED})`, () => {
  const subject = new Subject(modules.fast);
  const ends = new Map<number, number>();
  const onEnd = ({ verdict, program }: { verdict: number; program: number }): void => {
    const end = verdict === 0 ? program : verdict;
    ends.set(end, (ends.get(end) ?? 0) + 1);
  };
  for (let epoch = 0; epoch < EPOCHS; epoch++) {
    const found = runEpoch(subject, { seed: SEED, epoch, packets: EPOCH, exact: false, onEnd });
    assert.equal(found, null, `npm run differential -- --seed ${SEED} --epoch ${epoch}\n${found?.text}`);
  }
  const reasons = [...ends.keys()].filter((end) => end < 0);
  assert.ok(reasons.length >= 30, `dropped for ${reasons.length} reasons: ${reasons.join(' ')}`);
  assert.ok((ends.get(PROGRAM.proxy) ?? 0) > (EPOCHS * EPOCH) / 500, `${ends.get(PROGRAM.proxy)} ended at a proxy`);
  for (const end of [PROGRAM.delivered, PROGRAM.host, PROGRAM.world])
    assert.ok((ends.get(end) ?? 0) > (EPOCHS * EPOCH) / 20, `${ends.get(end)} ended at ${end}`);
});

/**
 * A packet that followed its flow with Ethernet's padding, which another IP header leaves behind (direct server return); and openings
 * kept of a client of whom conntrack knew something.
 */
const FOUND = [
  { seed: 4, epoch: 2515, packets: 1300, alike: 0 },
  { seed: 20261121, epoch: 1998, packets: 6600 },
  { seed: 20261121, epoch: 2739, packets: 10_200 },
];

test('epochs that once differed', () => {
  for (const run of FOUND) assert.equal(runEpoch(new Subject(modules.fast), { ...run, exact: false }), null);
});

test('the clusters are in every mode', () => {
  const configs = Array.from({ length: 200 }, (_, epoch) => drawCluster(new Random(SEED, epoch)).tables.config);
  const seen = (show: (config: (typeof configs)[number]) => unknown): string =>
    [...new Set(configs.map((config) => String(show(config))))].sort().join(' ');
  assert.equal(
    seen(({ isNative, tunnel }) => (isNative ? 'native' : tunnel)),
    'geneve native vxlan',
  );
  assert.equal(seen(({ dsr }) => dsr && `${dsr.mode}-${dsr.dispatch}`).split(' ').length, 1 + 3 * 3);
  assert.equal(
    seen(({ socketLb }) => socketLb),
    'all node off',
  );
  assert.equal(
    seen(({ serviceMasquerade }) => serviceMasquerade),
    'all external nonLocal null',
  );
  assert.equal(seen(({ audit, hostFirewall }) => `${audit}-${hostFirewall}`).split(' ').length, 4);
  assert.equal(
    seen(({ nonMasqueradeCidrs }) => nonMasqueradeCidrs === null),
    'false true',
  );
});

test('the same packets come from the same seed', () => {
  const run = (): string[] => {
    const frames: string[] = [];
    runEpoch(new Subject(modules.fast), {
      seed: SEED,
      epoch: 3,
      packets: 500,
      exact: true,
      onEnd: (_, { frame }) => void frames.push(Buffer.from(frame).toString('hex')),
    });
    return frames;
  };
  const frames = run();
  assert.equal(frames.length, 500);
  assert.deepEqual(run(), frames);
});

test('every broken build can still be made: its fragment stands where it should', () => {
  for (const broken of SEMANTIC) {
    const source = readFileSync(`assembly/${broken.file}`, 'utf8');
    assert.notEqual(apply(broken, source), source, broken.name);
  }
  assert.equal(new Set(SEMANTIC.map(({ name }) => name)).size, SEMANTIC.length);
});

/** One whose bytes are wrong, one whose verdict is, one whose conntrack entry is; `npm run differential:broken` runs them all. */
for (const name of ['the TTL stays', 'who allows wins over who denies', 'a closed connection lives a second longer']) {
  test(`caught, and had again: ${name}`, async () => {
    const broken = SEMANTIC.find((candidate) => candidate.name === name)!;
    const module = new WebAssembly.Module(Uint8Array.from(await compile('fast', broken)));
    const runs = Array.from({ length: 8 }, (_, epoch) => ({ seed: SEED, epoch, packets: EPOCH, exact: false }));
    const subject = new Subject(module);
    const run = runs.find((candidate) => runEpoch(subject, candidate) !== null)!;
    const found = runEpoch(new Subject(module), run);
    const again = explain(module, run);
    assert.ok(found !== null && again !== null && again.packet <= found.packet);
    assert.equal(explain(modules.fast, { ...run, packets: again.packet + 1 }), null);
  });
}

test('the reference shares nothing with what it is held against', () => {
  for (const file of readdirSync('test/reference')) {
    const source = readFileSync(`test/reference/${file}`, 'utf8');
    const imports = [...source.matchAll(/from '([^']+)'/g)].map(([, path]) => path!);
    assert.deepEqual(
      imports.filter((path) => !/^\.\/[\w-]+\.js$/.test(path)),
      [],
      file,
    );
  }
});
