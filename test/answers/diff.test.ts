/** What an edit gains and loses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { diff, without } from '../../dataplane/answers/diff.js';
import { diffText } from '../../dataplane/format/diff.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine, type State } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import { pod } from '../lab.js';

const PODS = pod('web', '10.1.0.5', 'n1') + pod('api', '10.1.0.6', 'n1');

const policy = (from: string): string => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api}
spec:
  podSelector: {matchLabels: {app: api}}
  ingress:
    - from: [${from}]
      ports: [{port: 8080, endPort: 8090}]
`;

function state(...documents: string[]): State {
  const engine = new Engine(modules.trace, DEFAULT_SETTINGS);
  engine.manifests.set('m.yaml', documents.join('---\n'));
  return engine.current;
}

function told(before: State, after: State): string {
  const found = diff(before, after);
  if ('error' in found) throw new Error(found.error);
  return diffText(found);
}

const WEB = '{podSelector: {matchLabels: {app: web}}}';

test('a label changed: the flow that is lost, and who isolates', () => {
  assert.equal(
    told(state(PODS, policy(WEB)), state(PODS, policy(WEB.replace('web', 'wob')))),
    'LOST    default/web[Pod] → default/api[Pod]  TCP 8080-8090\n        by NetworkPolicy default/api isolates  m.yaml:16:18\n',
  );
});

test('a prefix more: only its addresses are gained', () => {
  assert.equal(
    told(
      state(PODS, policy(WEB)),
      state(PODS, policy(`${WEB}, {ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.128/25]}}`)),
    ),
    'GAINED  ip:198.51.100.0-198.51.100.127 → default/api[Pod]  TCP 8080-8090\n        by NetworkPolicy default/api ingress[0] allows  m.yaml:20:7\n',
  );
});

test('a policy of prefixes only redraws the ranges: nothing is gained or lost', () => {
  const all = '{ipBlock: {cidr: 0.0.0.0/0}}';
  const halves = '{ipBlock: {cidr: 0.0.0.0/1}}, {ipBlock: {cidr: 128.0.0.0/1}}';
  assert.equal(told(state(PODS, policy(all)), state(PODS, policy(halves))), 'No flow is gained or lost.\n');
});

test('ports of one list that are not in another, as with sets', () => {
  const ranges = fc
    .uniqueArray(fc.integer({ min: 0, max: 40 }), { maxLength: 10 })
    .map((ports) => ports.sort((a, b) => a - b).map((port) => [port, port] as const));
  const set = (list: readonly (readonly [number, number])[]): number[] =>
    list.flatMap(([a, b]) => Array.from({ length: b - a + 1 }, (_, i) => a + i));
  fc.assert(
    fc.property(ranges, ranges, (a, b) => {
      const gone = new Set(set(b));
      assert.deepEqual(
        set(without(a, b)),
        set(a).filter((port) => !gone.has(port)),
      );
      assert.deepEqual(
        set(without([[0, 40]], b)),
        set([[0, 40]]).filter((port) => !gone.has(port)),
      );
    }),
    { seed: Number(process.env['HOPSCOPE_SEED'] ?? 5) },
  );
});
