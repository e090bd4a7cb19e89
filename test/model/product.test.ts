/** The dataplane against the independent model of NetworkPolicy, over random clusters and probes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { query } from '../../dataplane/answers/query.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import { compare, type Ask } from './agreement.js';
import type { End } from './networkpolicy.js';

/** Clusters, each with ten probes. `HOPSCOPE_RUNS=10000` is the long run: 100,000 probes. */
const RUNS = Number(process.env['HOPSCOPE_RUNS'] ?? 1500);
const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 20261121);

const refOf = (end: End): string => ('pod' in end ? `${end.pod}[Pod]` : `ip:${end.ip}`);

/** One engine for all clusters: each is an edit of the one before, so what an edit leaves behind is tested as well. */
function asker(): Ask {
  const engine = new Engine(modules.trace, DEFAULT_SETTINGS);
  return (manifests, probes, { ipBlockMatchesPods }) => {
    engine.set({ ...DEFAULT_SETTINGS, ipBlockMatchesPods });
    engine.manifests.set('cluster.yaml', manifests);
    const state = engine.current;
    const answers = probes.map(({ from, to, protocol, port }) => {
      const answered = query(state, {
        from: refOf(from),
        to: refOf(to),
        protocol,
        port,
        sourcePort: null,
        node: null,
        http: null,
      });
      if ('error' in answered) throw new Error(answered.error);
      return { ...answered.answer, deciders: [...answered.answer.deciders] };
    });
    return Promise.resolve(answers);
  };
}

test(`the dataplane agrees with the model on ${RUNS} random clusters (HOPSCOPE_SEED=${SEED})`, async () => {
  const { clusters, probes, mismatches } = await compare(RUNS, SEED, asker());
  console.log(`model: ${clusters} clusters, ${probes} probes, ${mismatches.length} mismatches`);
  assert.equal(mismatches.length, 0);
  if (process.env['HOPSCOPE_PATH'] === undefined) assert.ok(clusters >= RUNS);
});
