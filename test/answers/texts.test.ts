/** What an answer says where a Service leads nowhere, or to another name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maps } from '../../dataplane/answers/maps.js';
import { query, type Answer } from '../../dataplane/answers/query.js';
import { Lab, pod, service, TWO_NODES } from '../lab.js';

const PODS = TWO_NODES + pod('a', '10.1.0.5', 'n1') + pod('b', '10.1.0.6', 'n1');

const alias = (name: string, target: string): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {type: ExternalName, externalName: ${target}}\n---\n`;

function ask(lab: Lab, to: string): Answer {
  const question = { from: 'default/a', to, protocol: 'TCP', port: 80, sourcePort: null, node: null, http: null };
  const answered = query(lab.state, question);
  if ('error' in answered) throw new Error(answered.error);
  return answered.answer;
}

test('a targetPort by a name that no pod has is told as that', () => {
  const lab = new Lab(PODS + service('b', '10.96.0.1', 80, 'http') + service('a', '10.96.0.2', 80, 'web'));
  assert.deepEqual(ask(lab, 'svc:default/b').hints, ['no pod of Service default/b has a port named http (TCP)']);
  assert.equal(ask(lab, 'svc:default/a').verdict, 'ALLOWED');
  const unready = new Lab(
    PODS.replace('podIP: 10.1.0.6', 'podIP: 10.1.0.6, conditions: [{type: Ready, status: "False"}]') +
      service('b', '10.96.0.1', 80, 'web'),
  );
  assert.deepEqual(ask(unready, 'svc:default/b').hints, ['Service default/b has no endpoint that is ready']);
});

test('an ExternalName that is a name of the cluster is followed, and one of the world is to be asked about', () => {
  const lab = new Lab(
    PODS +
      service('b', '10.96.0.1', 80, 'web') +
      alias('one', 'two.default.svc.cluster.local') +
      alias('two', 'b.default.svc.cluster.local.') +
      alias('round', 'round.default.svc.cluster.local') +
      alias('gone', 'c.default.svc.cluster.local') +
      alias('world', 'example.com'),
  );
  const { verdict, service: asked } = ask(lab, 'svc:default/one');
  assert.deepEqual([verdict, asked?.name], ['ALLOWED', 'b']);
  for (const [name, depends] of [
    ['round', /svc:default\/round is another name for round\.default.*, which nothing in the cluster answers to/],
    ['gone', /svc:default\/gone is another name for c\.default.*, which nothing in the cluster answers to/],
    ['world', /svc:default\/world is another name for example\.com: ask about that/],
  ] as const) {
    const answer = ask(lab, `svc:default/${name}`);
    assert.equal(answer.verdict, 'UNKNOWN');
    assert.match(answer.depends.join(), depends);
  }
});

test('the maps that there are, each once', () => {
  const found = maps(new Lab(PODS).state, 'nosuch', null);
  const names = 'error' in found ? found.error.replace(/^.* there are /, '').split(', ') : [];
  assert.ok(names.includes('cilium_ipcache_v2'));
  assert.equal(new Set(names).size, names.length);
});
