/**
 * The dataplane against the independent model of Cilium's policies, over random clusters in which they stand beside
 * NetworkPolicies. HOPSCOPE_RUNS says how many, HOPSCOPE_SEED and HOPSCOPE_PATH replay one failure.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { query } from '../../dataplane/answers/query.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import { decide, type Cluster, type End, type Expectation, type Probe, type Rule, type Spec } from './cilium.js';
import { clusters, probesOf, toManifests } from './generate-cilium.js';

const RUNS = Number(process.env['HOPSCOPE_RUNS'] ?? 1500);
const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 20261121);
const PATH = process.env['HOPSCOPE_PATH'];
/** Asked of each cluster; and of each while a failure shrinks. */
const PROBES = 20;
const PROBES_WHILE_SHRINKING = 2000;

const refOf = (end: End): string =>
  'pod' in end ? `${end.pod}[Pod]` : 'ip' in end ? `ip:${end.ip}` : `node:${end.node}`;

const EFFECTS = { 133: 'isolates', 181: 'denies', 403: 'denies', 200: 'allows' } as const;

/** One line of what an answer says, as far as the model says it too. */
function told(
  verdict: string,
  direction: string | null,
  reason: number | null,
  status: number | null,
  deciders: string[] | null,
): string {
  const names = deciders === null ? '' : [...new Set(deciders)].sort().join(', ');
  return `${verdict} ${direction} ${reason} ${status} {${names}}`;
}

/** Which deciders matter: those that isolate where nothing allows, else the rules that deny or allow. */
const effectOf = ({ verdict, reason, status }: Expectation): string =>
  verdict === 'ALLOWED' ? EFFECTS[200] : status === 403 ? EFFECTS[403] : EFFECTS[reason ?? 133];

/** One engine for all clusters: each is an edit of the one before, so what an edit leaves behind is tested as well. */
const engine = new Engine(modules.trace, DEFAULT_SETTINGS);

function differences(cluster: Cluster, probes: readonly Probe[], written = cluster): string[] {
  engine.manifests.set('cluster.yaml', toManifests(written));
  const state = engine.current;
  return probes.flatMap((probe) => {
    const { from, to, protocol, port, http } = probe;
    const answered = query(state, {
      from: refOf(from),
      to: refOf(to),
      protocol,
      port,
      sourcePort: null,
      node: null,
      http,
    });
    const expected = decide(cluster, probe);
    const name = `${refOf(from)} → ${refOf(to)} ${protocol} ${port} ${JSON.stringify(http)}`;
    if ('error' in answered) return [`${name}: ${answered.error}`];
    const { verdict, direction, reason, http: seen, deciders, depends } = answered.answer;
    const effect = effectOf(expected);
    const named = deciders
      .filter((decider) => decider.effect === effect)
      .map((decider) => `${decider.namespace}/${decider.name}${decider.rule ? ` ${decider.rule}` : ''}`);
    // A refusal by a proxy names its rules whether or not the request was told, and has a status only where it was.
    const got = told(
      verdict,
      direction,
      reason?.code ?? null,
      http ? (seen?.status ?? null) : null,
      expected.deciders && named,
    );
    const wanted = told(expected.verdict, expected.direction, expected.reason, expected.status, expected.deciders);
    return got === wanted ? [] : [`${name}: expected ${wanted}, got ${got} ${depends.join('; ')}`];
  });
}

test(`the dataplane agrees with the model of Cilium's policies on ${RUNS} random clusters (HOPSCOPE_SEED=${SEED})`, () => {
  let shrinking = PATH !== undefined;
  let asked = 0;
  const property = fc.property(clusters, fc.nat({ max: 1_000_000 }), (cluster, offset) => {
    const probes = probesOf(cluster, shrinking ? PROBES_WHILE_SHRINKING : PROBES, offset);
    asked += shrinking ? 0 : probes.length;
    const agrees = differences(cluster, probes).length === 0;
    if (!agrees) shrinking = true;
    return agrees;
  });
  const result = fc.check(property, { numRuns: RUNS, seed: SEED, ...(PATH === undefined ? {} : { path: PATH }) });
  console.log(
    `cilium model: ${result.numRuns} clusters, ${asked} probes, ${result.failed ? 'a mismatch' : 'no mismatch'}`,
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

/** Faults that a dataplane might plausibly have, made by asking it about other manifests than the model. */
const FAULTS: Readonly<Record<string, (spec: Spec) => Spec>> = {
  'deny rules are passed over': (spec) => ({ ingress: [{}], ...without(spec, 'ingressDeny', 'egressDeny') }),
  'a deny rule denies every port': (spec) => ({
    ...spec,
    ...(spec.ingressDeny ? { ingressDeny: spec.ingressDeny.map((rule) => without(rule, 'toPorts')) } : {}),
  }),
  'the rules of layer 7 are passed over': (spec) => ({
    ...spec,
    ...(spec.ingress ? { ingress: spec.ingress.map(withoutRequests) } : {}),
  }),
  'default deny cannot be turned off': (spec) => without(spec, 'enableDefaultDeny'),
  'world is every peer': (spec) => JSON.parse(JSON.stringify(spec).replaceAll('"world"', '"all"')) as Spec,
};

/** An object less some of its fields. */
const without = <T extends object>(object: T, ...fields: (keyof T)[]): T =>
  Object.fromEntries(Object.entries(object).filter(([field]) => !fields.includes(field as keyof T))) as T;

const withoutRequests = (rule: Rule): Rule =>
  rule.toPorts ? { ...rule, toPorts: rule.toPorts.map(({ ports }) => ({ ports })) } : rule;

for (const [fault, change] of Object.entries(FAULTS)) {
  test(`the comparison finds out that ${fault}`, () => {
    const found = fc.sample(clusters, { numRuns: 150, seed: 7 }).some((cluster) => {
      const cilium = cluster.cilium.map((policy) => ({
        ...policy,
        ...(policy.spec ? { spec: change(policy.spec) } : {}),
        ...(policy.specs ? { specs: policy.specs.map(change) } : {}),
      }));
      return differences(cluster, probesOf(cluster, 40), { ...cluster, cilium }).length > 0;
    });
    assert.ok(found);
  });
}
