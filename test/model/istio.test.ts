/**
 * The dataplane against the independent model of Istio's proxies, over random meshes. HOPSCOPE_RUNS says how many, each with twenty
 * probes (`HOPSCOPE_RUNS=5000` is the long run: 100,000 probes); HOPSCOPE_SEED and HOPSCOPE_PATH replay one failure.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { query } from '../../dataplane/answers/query.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import { meshes, probesOf, toManifests } from './generate-istio.js';
import { decide, type Cluster, type Pod, type Probe } from './istio.js';

const RUNS = Number(process.env['HOPSCOPE_RUNS'] ?? 400);
const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 20261121);
const PATH = process.env['HOPSCOPE_PATH'];
/** Asked of each mesh; and of each while a failure shrinks. */
const PROBES = 20;
const PROBES_WHILE_SHRINKING = 2000;

const refOf = (end: Pod | string): string =>
  typeof end === 'string' ? `ip:${end}` : `${end.namespace}/${end.name}[Pod]`;

/** One engine for all meshes: each is an edit of the one before, so what an edit leaves behind is tested as well. */
const engine = new Engine(modules.trace, DEFAULT_SETTINGS);

const verdicts = new Map<string, number>();

function differences(cluster: Cluster, probes: readonly Probe[], written = cluster): string[] {
  engine.manifests.set('mesh.yaml', toManifests(written));
  const state = engine.current;
  assert.deepEqual(
    engine.manifests.problems.filter(({ code }) => code !== 'HS1012').map(({ message }) => message),
    [],
  );
  return probes.flatMap((probe) => {
    const { from, to, port, http } = probe;
    const question = { from: refOf(from), to: refOf(to), protocol: 'TCP', port, sourcePort: null, node: null, http };
    const answered = query(state, question);
    if ('error' in answered) return [answered.error];
    const { answer } = answered;
    const expected = decide(cluster, probe);
    const key = `${expected.verdict} ${expected.status}`;
    verdicts.set(key, (verdicts.get(key) ?? 0) + 1);
    const named = answer.deciders.map(
      ({ namespace, name, rule, effect }) => `${namespace}/${name}${rule ? ` ${rule}` : ''} ${effect}`,
    );
    const text = (verdict: string, status: number | null, deciders: readonly string[]): string =>
      `${verdict} ${status} {${expected.deciders ? [...deciders].sort().join(', ') : ''}}`;
    const got = text(answer.verdict, answer.http?.status ?? null, named);
    const wanted = text(expected.verdict, expected.status, expected.deciders ?? []);
    const name = `${refOf(from)} → ${refOf(to)} ${port} ${JSON.stringify(http)}`;
    return got === wanted ? [] : [`${name}: expected ${wanted}, got ${got} ${answer.depends.join('; ')}`];
  });
}

test(`the dataplane agrees with the model of the mesh on ${RUNS} random ones (HOPSCOPE_SEED=${SEED})`, () => {
  let shrinking = PATH !== undefined;
  let asked = 0;
  const property = fc.property(meshes, fc.nat({ max: 1_000_000 }), (cluster, offset) => {
    const probes = probesOf(cluster, shrinking ? PROBES_WHILE_SHRINKING : PROBES, offset);
    asked += shrinking ? 0 : probes.length;
    const agrees = differences(cluster, probes).length === 0;
    if (!agrees) shrinking = true;
    return agrees;
  });
  const result = fc.check(property, { numRuns: RUNS, seed: SEED, ...(PATH === undefined ? {} : { path: PATH }) });
  const kinds = [...verdicts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([kind, count]) => `${kind}: ${count}`);
  console.log(
    `mesh model: ${result.numRuns} meshes, ${asked} probes, ${result.failed ? 'a mismatch' : 'no mismatch'} (${kinds.join(', ')})`,
  );
  if (!result.failed) return;
  const [cluster, offset] = result.counterexample!;
  const lines = differences(cluster, [
    ...probesOf(cluster, PROBES, offset),
    ...probesOf(cluster, PROBES_WHILE_SHRINKING, offset),
  ]);
  const replay = `Replay: HOPSCOPE_SEED=${result.seed} HOPSCOPE_PATH=${result.counterexamplePath} and the same test`;
  assert.fail([toManifests(cluster), ...new Set(lines.slice(0, 5)), replay].join('\n'));
});

/** Faults that a proxy might plausibly have, made by asking the dataplane about other manifests than the model. */
const FAULTS: Readonly<Record<string, (cluster: Cluster) => Cluster>> = {
  'DENY rules are passed over': (cluster) => ({
    ...cluster,
    authorization: cluster.authorization.filter(({ action }) => action !== 'DENY'),
  }),
  'a policy without rules denies nothing': (cluster) => ({
    ...cluster,
    authorization: cluster.authorization.filter(({ rules = [] }) => rules.length > 0),
  }),
  'conditions are passed over': (cluster) => ({
    ...cluster,
    authorization: cluster.authorization.map((policy) =>
      policy.rules ? { ...policy, rules: policy.rules.map(({ when: _when, ...rule }) => rule) } : policy,
    ),
  }),
  'STRICT is PERMISSIVE': (cluster) => ({
    ...cluster,
    peers: cluster.peers.map((peer) =>
      peer.mtls?.mode === 'STRICT' ? { ...peer, mtls: { mode: 'PERMISSIVE' } } : peer,
    ),
  }),
  'ports have no mode of their own': (cluster) => ({
    ...cluster,
    peers: cluster.peers.map(({ portLevelMtls: _ports, ...peer }) => peer),
  }),
  'the root namespace is one like any other': (cluster) => ({
    ...cluster,
    authorization: cluster.authorization.filter(({ namespace }) => namespace !== 'istio-system'),
    peers: cluster.peers.filter(({ namespace }) => namespace !== 'istio-system'),
  }),
  'pods cannot opt out': (cluster) => ({
    ...cluster,
    pods: cluster.pods.map((pod) => ({ ...pod, labels: { app: pod.labels['app']! }, annotations: {} })),
  }),
};

for (const [fault, change] of Object.entries(FAULTS)) {
  test(`the comparison finds out that ${fault}`, () => {
    const found = fc
      .sample(meshes, { numRuns: 200, seed: 7 })
      .some((cluster) => differences(cluster, probesOf(cluster, 40, 0), change(cluster)).length > 0);
    assert.ok(found);
  });
}
