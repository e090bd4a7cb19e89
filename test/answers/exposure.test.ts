/** What is open to and from pods that are not there yet: no pod that comes may find it otherwise. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { exposed } from '../../dataplane/answers/exposure.js';
import { query } from '../../dataplane/answers/query.js';
import { reach, type Connection, type Reach } from '../../dataplane/answers/reach.js';
import { portsText, reachTable } from '../../dataplane/format/reach.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine, type State } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import { pod } from '../lab.js';
import { clusters, toManifests } from '../model/generate.js';

const NOBODY = { from: null, to: null, protocol: null } as const;

function exposureOf(state: State, options: Parameters<typeof exposed>[2] = NOBODY): Reach {
  const found = reach(state, options);
  if ('error' in found) throw new Error(found.error);
  const more = exposed(state, found, options, modules.trace);
  if ('error' in more) throw new Error(more.error);
  return more;
}

function state(...documents: string[]): State {
  const engine = new Engine(modules.trace, DEFAULT_SETTINGS);
  engine.manifests.set('m.yaml', documents.join('---\n'));
  return engine.current;
}

/** Who can come to `api` of a policy with these peers, and on which ports. */
function comesTo(...peers: string[]): string[] {
  const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api}
spec:
  podSelector: {matchLabels: {app: api}}
  ingress:
${peers.map((from, i) => `    - {from: ${from}, ports: [{port: ${80 + i}}]}\n`).join('')}`;
  const { exposure = [] } = exposureOf(state(pod('api', '10.244.0.5', 'n1'), policy), { ...NOBODY, to: 'default/api' });
  return exposure.map((connection) => `${connection.from} ${portsText(connection)}`);
}

test('a pod of any namespace and labels, one with some labels, and what it may besides', () => {
  assert.deepEqual(comesTo('[{namespaceSelector: {}}]', '[{podSelector: {matchLabels: {app: web}}}]'), [
    'pods:*/* TCP 80',
    'pods:default/{app=web} TCP 80-81',
  ]);
});

test('a namespace by its name, by its labels; one of several values is a kind for each', () => {
  assert.deepEqual(
    comesTo(
      '[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}}]',
      '[{namespaceSelector: {matchLabels: {team: red}}, podSelector: {matchExpressions: [{key: app, operator: In, values: [a, b]}]}}]',
    ),
    ['pods:shop/* TCP 80', 'pods:{team=red}/{app=a} TCP 81', 'pods:{team=red}/{app=b} TCP 81'],
  );
});

test('who must not have a label is not any pod: one has it', () => {
  assert.deepEqual(
    comesTo('[{namespaceSelector: {}, podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [bad]}]}}]'),
    ['pods:*/{app!=bad} TCP 80'],
  );
  // Whoever has the one value has not the other.
  const not = (value: string): string =>
    `{namespaceSelector: {}, podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [${value}]}]}}`;
  assert.deepEqual(comesTo(`[${not('a')}, ${not('b')}]`), ['pods:*/* TCP 80']);
});

test('nobody who comes is let in by addresses, nor by a selector that nothing can match', () => {
  const none = '{matchExpressions: [{key: app, operator: In, values: [a]}, {key: app, operator: DoesNotExist}]}';
  assert.deepEqual(comesTo('[{ipBlock: {cidr: 0.0.0.0/0}}]', `[{podSelector: ${none}}]`), []);
});

test('a pod with no policy is open to any, and where a policy denies some, not to them', () => {
  const deny = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api}
spec:
  endpointSelector: {matchLabels: {app: api}}
  enableDefaultDeny: {ingress: false}
  ingressDeny: [{fromEndpoints: [{matchLabels: {app: evil}}], toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]
`;
  const found = exposureOf(state(pod('api', '10.244.0.5', 'n1'), deny));
  assert.match(
    reachTable(found),
    /^pods:\*\/\* +default\/api\[Pod\] +TCP 1-79,81-65535; UDP all; SCTP all; ICMP all$/m,
  );
  assert.match(reachTable(found), /^default\/api\[Pod\] +pods:\*\/\* +all$/m);
  assert.equal(found.endpoints.find(({ ref }) => ref === 'pods:*/*')?.kind, 'class');
});

test('more kinds than can be tried are unknown, and nothing is said of any pod', () => {
  const values = Array.from({ length: 9 }, (_, i) => `v${i}`).join(', ');
  const keys = ['a', 'b'].map((key) => `{key: ${key}, operator: NotIn, values: [${values}]}`).join(', ');
  const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api}
spec: {podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchExpressions: [${keys}]}}]}]}
`;
  const { unknown, exposure = [] } = exposureOf(state(pod('api', '10.244.0.5', 'n1'), policy));
  assert.deepEqual(
    unknown.map(({ ref }) => ref),
    ['pods:*/*'],
  );
  assert.ok(exposure.every(({ from, to }) => from !== 'pods:*/*' && to !== 'pods:*/*'));
});

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 7);

/** Pods that may come: of namespaces that are there and of others, with any labels of the alphabets and none. */
const COMING = ['shop', 'bank', 'elsewhere', 'nowhere'].flatMap((namespace) =>
  [undefined, 'web', 'db', 'new'].flatMap((app) =>
    [undefined, 'front', 'back', ''].map((tier, i) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: `coming-${app ?? 'none'}-${i}`,
        namespace,
        labels: { ...(app === undefined ? {} : { app }), ...(tier === undefined ? {} : { tier }), one: 'more' },
      },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    })),
  ),
);
const ELSEWHERE = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name: 'elsewhere', labels: { team: 'red', stage: 'prod' } },
};

test(`what any pod may, each that comes may, unless its own policies forbid it (HOPSCOPE_SEED=${SEED})`, () => {
  const engine = new Engine(modules.trace, DEFAULT_SETTINGS);
  const counts = { ALLOWED: 0, own: 0 };
  fc.assert(
    fc.property(clusters, fc.nat(), (cluster, offset) => {
      engine.manifests.set('coming.yaml', null);
      engine.manifests.set('cluster.yaml', toManifests(cluster));
      const { exposure = [] } = exposureOf(engine.current);
      const any = exposure.filter(({ from, to }) => from === 'pods:*/*' || to === 'pods:*/*');
      const documents = [ELSEWHERE, ...COMING].map((document) => JSON.stringify(document));
      engine.manifests.set('coming.yaml', documents.join('\n---\n'));
      for (const connection of any) {
        for (let i = 0; i < 4; i++) {
          const { metadata } = COMING[(offset + i * 13) % COMING.length]!;
          const { verdict, refused } = asked(engine.current, connection, `${metadata.namespace}/${metadata.name}[Pod]`);
          const comes = connection.from === 'pods:*/*';
          if (verdict === 'DENIED' && refused === (comes ? 'egress' : 'ingress')) counts.own++;
          else assert.equal(verdict, 'ALLOWED', JSON.stringify([connection, metadata]));
          counts.ALLOWED++;
        }
      }
    }),
    { numRuns: 60, seed: SEED },
  );
  assert.ok(counts.ALLOWED - counts.own > 200, JSON.stringify(counts));
});

/** The first port of a connection, asked for in the name of a pod that comes. */
function asked(
  state: State,
  { from, to, ports }: Connection,
  coming: string,
): { readonly verdict: string; readonly refused: string | null } {
  const [{ protocol, ranges }] = ports as readonly [Connection['ports'][number]];
  const ends = from === 'pods:*/*' ? { from: coming, to } : { from, to: coming };
  const question = { ...ends, protocol, port: ranges[0]![0], sourcePort: null, node: null, http: null };
  const answered = query(state, question);
  if ('error' in answered) throw new Error(answered.error);
  return { verdict: answered.answer.verdict, refused: answered.answer.direction };
}
