/** The random clusters: repeatable, such as the API server would accept, and rich enough to be worth asking about. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { choices, clusters, everyProbe, toManifests, toProbes } from './generate.js';
import { decide, rangeOf, type Cluster, type NetworkPolicyPeer, type NetworkPolicyPort } from './networkpolicy.js';

const SEED = 20240607;
const sample = fc.sample(fc.tuple(clusters, choices), { numRuns: 1000, seed: SEED });

function rulesOf(cluster: Cluster): { peers: NetworkPolicyPeer[]; ports: NetworkPolicyPort[] }[] {
  return cluster.policies.flatMap(({ spec }) => [
    ...(spec.ingress ?? []).map(({ from, ports }) => ({ peers: from ?? [], ports: ports ?? [] })),
    ...(spec.egress ?? []).map(({ to, ports }) => ({ peers: to ?? [], ports: ports ?? [] })),
  ]);
}

const rules = sample.flatMap(([cluster]) => rulesOf(cluster));

test('the same seed gives the same clusters and probes', () => {
  const again = fc.sample(fc.tuple(clusters, choices), { numRuns: 1000, seed: SEED });
  assert.deepEqual(again, sample);
  const [cluster, chosen] = sample[0] as (typeof sample)[number];
  assert.deepEqual(toProbes(cluster, chosen), toProbes(cluster, chosen));
});

test('manifests are documents of JSON', () => {
  const [cluster] = sample.find(([{ policies }]) => policies.length > 0) as (typeof sample)[number];
  const objects = toManifests(cluster)
    .split('---\n')
    .map((document) => JSON.parse(document) as unknown);
  assert.deepEqual(objects, [...cluster.namespaces, ...cluster.pods, ...cluster.policies]);
});

test('the API server would accept them', () => {
  for (const { peers, ports } of rules) {
    for (const { port, endPort } of ports) {
      if (endPort != null) assert.ok(typeof port === 'number' && port <= endPort && endPort <= 65535);
    }
    for (const { ipBlock, podSelector, namespaceSelector } of peers) {
      assert.equal(ipBlock != null, podSelector == null && namespaceSelector == null);
      for (const except of ipBlock?.except ?? []) {
        const hole = rangeOf(except);
        const block = rangeOf(ipBlock?.cidr ?? '');
        assert.ok(block.first <= hole.first && hole.last <= block.last, `${except} in ${ipBlock?.cidr}`);
        assert.ok(hole.last - hole.first < block.last - block.first, 'a strict subset');
      }
    }
  }
  for (const [{ pods }] of sample) {
    for (const { spec } of pods) {
      const names = spec.containers.flatMap(({ ports }) => (ports ?? []).flatMap(({ name }) => name ?? []));
      assert.equal(new Set(names).size, names.length, 'names of ports are unique in a pod');
    }
    assert.equal(new Set(pods.map(({ status }) => status?.podIP)).size, pods.length);
  }
});

test('probes have a pod at one end at least, never the same at both, and are worth asking', () => {
  for (const [cluster, chosen] of sample) {
    for (const probe of [...toProbes(cluster, chosen), ...everyProbe(cluster, 50)]) {
      assert.ok('pod' in probe.from || 'pod' in probe.to);
      assert.notDeepEqual(probe.from, probe.to);
      assert.ok(1 <= probe.port && probe.port <= 65535);
    }
  }
});

test('every outcome is frequent', () => {
  const counted = { notIsolated: 0, allowedByEgress: 0, allowedByIngress: 0, allowedByBoth: 0, egress: 0, ingress: 0 };
  for (const [cluster, chosen] of sample) {
    for (const probe of toProbes(cluster, chosen)) {
      const { refusedAt, allowedBy } = decide(cluster, probe, { ipBlockMatchesPods: false });
      const [out, into] = [allowedBy.egress.length > 0, allowedBy.ingress.length > 0];
      if (refusedAt !== null) counted[refusedAt] += 1;
      else if (out && into) counted.allowedByBoth += 1;
      else if (out) counted.allowedByEgress += 1;
      else if (into) counted.allowedByIngress += 1;
      else counted.notIsolated += 1;
    }
  }
  console.log(`of ${sample.length * 10} probes: ${JSON.stringify(counted)}`);
  for (const [outcome, count] of Object.entries(counted)) assert.ok(count >= sample.length * 0.2, outcome);
});
