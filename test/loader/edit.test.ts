/** An edit changes only the map entries it must, and what it leaves is what a cold start would load. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MapId } from '../../assembly/abi.js';
import { maps } from '../../dataplane/answers/maps.js';
import { query } from '../../dataplane/answers/query.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import { pod, service } from '../lab.js';

const engine = (): Engine => new Engine(modules.trace, DEFAULT_SETTINGS);

const policy = (name: string, target: string, from: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}}\nspec: {podSelector: {matchLabels: {app: ${target}}}, ingress: [{from: [{podSelector: {matchLabels: {app: ${from}}}}]}]}\n---\n`;

const PODS =
  pod('a', '10.1.0.1', 'n1') +
  pod('b', '10.1.0.2', 'n2') +
  pod('c', '10.1.0.3', 'n1') +
  service('a', '10.96.0.1', 80, 8080) +
  service('b', '10.96.0.2', 80, 8080);

test('another label in one peer changes one policy entry for another, and nothing else', () => {
  const one = engine();
  one.manifests.set('pods.yaml', PODS);
  one.manifests.set('policy.yaml', policy('p', 'a', 'b'));
  assert.equal(one.current.report.rebuilt, true);
  one.manifests.set('policy.yaml', policy('p', 'a', 'c'));
  const { updated, deleted, tables, rebuilt } = one.current.report;
  assert.deepEqual({ updated, deleted, tables, rebuilt }, { updated: 1, deleted: 1, tables: 0, rebuilt: false });
});

test('a pod more behind a Service: its own entries, a slot, a backend and one table', () => {
  const one = engine();
  one.manifests.set('pods.yaml', PODS);
  one.current;
  one.manifests.set('more.yaml', pod('a2', '10.1.0.9', 'n2').replace('labels: {app: a2}', 'labels: {app: a}'));
  const { updated, deleted, tables } = one.current.report;
  // lxc, endpoint_config, ipcache; master, slot, backend.
  assert.deepEqual({ updated, deleted, tables }, { updated: 6, deleted: 0, tables: 1 });
});

test('addresses and identities stay where they are while others come and go', () => {
  const deployment = (name: string): string =>
    `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ${name}}\nspec: {replicas: 3, selector: {matchLabels: {app: ${name}}}, template: {metadata: {labels: {app: ${name}}}, spec: {containers: [{name: c}]}}}\n---\n`;
  const one = engine();
  one.manifests.set('m.yaml', deployment('web') + deployment('db'));
  const told = (): unknown =>
    one.current.cluster.pods
      .filter(({ name }) => name.startsWith('web'))
      .map((pod) => [pod.name, pod.address, pod.node.name, one.current.identities.ofPod.get(pod)!.number]);
  const before = told();
  one.manifests.set('m.yaml', deployment('cache') + deployment('web') + deployment('queue'));
  assert.deepEqual(told(), before);
});

test('the maps after edits are those of a cold start, and so are the answers', () => {
  const file = fc
    .array(
      fc.constantFrom(
        pod('a', '10.1.0.1', 'n1'),
        pod('b', '10.1.0.2', 'n2'),
        pod('c', '10.1.0.3', 'n1'),
        service('a', '10.96.0.1', 80, 8080),
        service('b', '10.96.0.2', 80, 'web'),
        policy('p', 'a', 'b'),
        policy('q', 'b', 'c'),
        'kind: [broken',
      ),
      { maxLength: 8 },
    )
    .map((documents) => documents.join('\n---\n'));
  fc.assert(
    fc.property(fc.array(file, { minLength: 2, maxLength: 6 }), (versions) => {
      const edited = engine();
      for (const version of versions) {
        edited.manifests.set('m.yaml', version);
        edited.current;
      }
      // A cold start has no last good state; so the comparison is with the last edit, made once more from an empty file.
      edited.manifests.set('m.yaml', null);
      edited.manifests.set('m.yaml', versions.at(-1)!);
      const cold = engine();
      cold.manifests.set('m.yaml', versions.at(-1)!);
      for (const map of ['cilium_ipcache_v2', 'cilium_policy_v2', 'cilium_lb4_backends_v3']) {
        assert.equal(entries(edited, map), entries(cold, map), map);
      }
      const ask = (one: Engine): string =>
        JSON.stringify(
          query(one.current, {
            from: 'default/a',
            to: 'default/b',
            protocol: 'TCP',
            port: 8080,
            sourcePort: null,
            node: null,
            http: null,
          }),
          ['answer', 'error', 'verdict', 'deciders', 'name', 'rule'],
        );
      assert.equal(ask(edited), ask(cold));
    }),
    { numRuns: 60, seed: Number(process.env['HOPSCOPE_SEED'] ?? 3) },
  );
});

/** The numbers of policies and backends are history; everything else of an entry is not. */
function entries(one: Engine, map: string): string {
  const dumped = maps(one.current, map, null);
  if ('error' in dumped) throw new Error(dumped.error);
  const lines = dumped.maps[map]!.map(({ key, value, origin }) =>
    JSON.stringify([{ ...key, policy: 0, backendId: 0 }, value, origin]),
  );
  return lines.sort().join('\n');
}

test('a full map makes a larger dataplane, and no packet sees a half', () => {
  const one = engine();
  one.manifests.set('m.yaml', PODS);
  one.current;
  const before = one.current.loader.current.wasm.mapCapacity(MapId.LXC4);
  const many = Array.from({ length: 300 }, (_, i) => pod(`x${i}`, `10.9.${i >> 8}.${i & 255}`, 'n1')).join('');
  one.manifests.set('many.yaml', many);
  assert.equal(one.current.report.rebuilt, true);
  assert.ok(one.current.loader.current.wasm.mapCapacity(MapId.LXC4) > before);
  const answered = query(one.current, {
    from: 'default/x299',
    to: 'default/a',
    protocol: 'TCP',
    port: 8080,
    sourcePort: null,
    node: null,
    http: null,
  });
  assert.equal('answer' in answered && answered.answer.verdict, 'ALLOWED');
});

test('a pod that ends leaves the slots, and stays a backend, terminating, for what is established with it', () => {
  const one = engine();
  const backends = (): unknown[] => {
    const dumped = maps(one.current, null, null);
    assert.ok(!('error' in dumped));
    const masters = dumped.maps['cilium_lb4_services_v2']!.filter(({ value }) => value['algorithm'] !== undefined);
    return [
      ...masters.map(({ value }) => value['count']),
      ...dumped.maps['cilium_lb4_backends_v3']!.map(
        ({ value }) => `${String(value['address'])} ${String(value['state'])}`,
      ).sort(),
    ];
  };
  const more = pod('a2', '10.1.0.9', 'n2').replace('labels: {app: a2}', 'labels: {app: a}');
  one.manifests.set('pods.yaml', pod('a', '10.1.0.1', 'n1') + service('a', '10.96.0.1', 80, 8080));
  one.manifests.set('more.yaml', more);
  assert.deepEqual(backends(), [2, '10.1.0.1 active', '10.1.0.9 active']);
  one.manifests.set('more.yaml', more.replace('metadata: {', 'metadata: {deletionTimestamp: "2026-01-01T00:00:00Z", '));
  assert.deepEqual(backends(), [1, '10.1.0.1 active', '10.1.0.9 terminating']);
});
