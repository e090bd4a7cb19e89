/** Reachability is exact: what it lists, a question about it allows; what it does not list, a question about it denies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { distance, formatAddress, plus } from '../../dataplane/addresses.js';
import { query } from '../../dataplane/answers/query.js';
import { rangeOf } from '../../dataplane/answers/ranges.js';
import { reach, type Reach } from '../../dataplane/answers/reach.js';
import { reachCsv, reachDot, reachMarkdown, reachTable } from '../../dataplane/format/reach.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine, type State } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import { pod, service } from '../lab.js';
import { clusters, toManifests } from '../model/generate.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 11);

function reached(state: State, from: string | null = null, to: string | null = null): Reach {
  const found = reach(state, { from, to, protocol: null });
  if ('error' in found) throw new Error(found.error);
  return found;
}

/** An address that a range of a reachability's ends holds, at its start, its end, or between. */
function addressIn(end: string, pick: number): string {
  const [first, last] = rangeOf(end)!;
  const at = [BigInt(first) === 0n ? plus(first, 2) : first, last, plus(first, Math.floor(distance(first, last) / 2))][
    pick % 3
  ]!;
  return `ip:${formatAddress(at)}`;
}

test(`reach and query agree at every boundary of random clusters (HOPSCOPE_SEED=${SEED})`, () => {
  let asked = 0;
  const engine = new Engine(modules.trace, DEFAULT_SETTINGS);
  fc.assert(
    fc.property(clusters, fc.nat(), fc.boolean(), (cluster, pick, ipBlockMatchesPods) => {
      const podCIDR = pick % 2 === 0 && !ipBlockMatchesPods ? '10.244.0.0/16,fd01::/56' : DEFAULT_SETTINGS.podCIDR;
      engine.set({ ...DEFAULT_SETTINGS, ipBlockMatchesPods, podCIDR });
      engine.manifests.set('cluster.yaml', toManifests(cluster));
      const state = engine.current;
      const { endpoints, connections } = reached(state);
      const ports = [
        ...new Set([
          1,
          65535,
          ...connections.flatMap(({ ports }) =>
            ports.flatMap(({ ranges }) => ranges.flatMap(([a, b]) => [a - 1, a, b, b + 1])),
          ),
        ]),
      ];
      const boundaries = ports.filter((port) => port >= 1 && port <= 65535);
      for (let i = 0; i < 40; i++) {
        const [from, to] = [
          endpoints[(pick + i * 7) % endpoints.length]!,
          endpoints[(pick + i * 13 + 1) % endpoints.length]!,
        ];
        if (from === to || (from.kind === 'external' && to.kind === 'external')) continue;
        const protocol = (['TCP', 'UDP', 'SCTP'] as const)[i % 3]!;
        const port = boundaries[(pick + i) % boundaries.length]!;
        const listed = connections.some(
          (connection) =>
            connection.from === from.ref &&
            connection.to === to.ref &&
            connection.ports.some(
              (open) => open.protocol === protocol && open.ranges.some(([a, b]) => a <= port && port <= b),
            ),
        );
        const [source, target] = [from, to].map(({ kind, ref }) =>
          kind === 'external' ? addressIn(ref, pick + i) : ref,
        ) as [string, string];
        // A pod's own address lies in some range too, and is not outside.
        const own = [...state.cluster.pods, ...state.cluster.nodes].flatMap(({ addresses }) => addresses);
        if (own.some((address) => [source, target].includes(`ip:${formatAddress(address)}`))) continue;
        const answered = query(state, {
          from: source,
          to: target,
          protocol,
          port,
          sourcePort: null,
          node: null,
          http: null,
        });
        const verdict = 'error' in answered ? answered.error : answered.answer.verdict;
        assert.equal(verdict, listed ? 'ALLOWED' : 'DENIED', `${source} → ${target} ${protocol} ${port}`);
        asked++;
      }
    }),
    { numRuns: 150, seed: SEED },
  );
  assert.ok(asked > 2000, `${asked} questions`);
});

const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api}
spec: {podSelector: {matchLabels: {app: api}}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 80, endPort: 90}]}]}
`;

function state(...documents: string[]): State {
  const engine = new Engine(modules.trace, DEFAULT_SETTINGS);
  engine.manifests.set('m.yaml', documents.join('---\n'));
  return engine.current;
}

const API = state(pod('api', '10.244.0.5', 'n1'), POLICY);

test('ranges of addresses are cut where the policies cut them, ports where the rules do', () => {
  const into = reached(API, null, 'default/api').connections.map(
    ({ from, ports }) => `${from} ${JSON.stringify(ports)}`,
  );
  assert.deepEqual(into, [
    'ip:10.0.0.0-10.0.255.255 [{"protocol":"TCP","ranges":[[80,90]]}]',
    'ip:10.2.0.0-10.255.255.255 [{"protocol":"TCP","ranges":[[80,90]]}]',
  ]);
});

test('a Service is reached on the ports it leads to, and no other', () => {
  const one = state(
    pod('web', '10.244.0.1', 'n1'),
    pod('api', '10.244.0.5', 'n1'),
    service('api', '10.96.0.9', 80, 8080),
  );
  assert.deepEqual(reached(one, 'default/web', 'svc:default/api').connections, [
    { from: 'default/web[Pod]', to: 'default/api[Pod]', ports: [{ protocol: 'TCP', ranges: [[8080, 8080]] }] },
  ]);
});

test('a policy that cannot be read leaves its namespace unknown, neither listed nor denied', () => {
  const { connections, unknown } = reached(state(pod('web', '10.244.0.1', 'n1'), 'kind: NetworkPolicy\nmetadata: [\n'));
  assert.deepEqual(connections, []);
  assert.deepEqual(
    unknown.map(({ ref }) => ref),
    ['default/web[Pod]'],
  );
});

test('every format holds every connection, and nothing of a manifest becomes markup', () => {
  const found = reached(API, null, 'default/api');
  assert.match(reachTable(found), /ip:10\.0\.0\.0-10\.0\.255\.255\s+default\/api\[Pod\]\s+TCP 80-90/);
  assert.match(reachCsv(found), /ip:10\.2\.0\.0-10\.255\.255\.255,default\/api\[Pod\],TCP,80,90\r\n/);
  assert.match(reachDot(found), /"ip:10\.0\.0\.0-10\.0\.255\.255" -> "default\/api\[Pod\]" \[label="TCP 80-90"\];/);
  assert.doesNotMatch(
    reachMarkdown({ ...found, connections: [{ ...found.connections[0]!, from: '[x](http://y) <img> |' }] }),
    /\[x\]\(|<img>|http:\/\//,
  );
});
