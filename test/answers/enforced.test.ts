/** Policies that the network plug-in does not enforce: they hold where somebody is shown to, and verdicts say what they took it for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { query, type Answer } from '../../dataplane/answers/query.js';
import { reach } from '../../dataplane/answers/reach.js';
import type { Settings } from '../../dataplane/settings.js';
import { Lab, pod, TWO_NODES } from '../lab.js';

const PODS = TWO_NODES + pod('a', '10.1.0.5', 'n1') + pod('b', '10.1.0.6', 'n1') + pod('c', '10.2.0.7', 'n2');
const ISOLATES =
  'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np}\nspec: {podSelector: {matchLabels: {app: b}}}\n---\n';
const CALICO =
  "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: own}\nspec: {selector: app == 'c'}\n---\n";

function ask(yaml: string, settings: Partial<Settings>, to = 'default/b'): Answer {
  const answered = query(new Lab(yaml, settings).state, {
    from: 'default/a',
    to,
    protocol: 'TCP',
    port: 8080,
    sourcePort: null,
    node: null,
    http: null,
  });
  assert.ok(!('error' in answered));
  return answered.answer;
}

test('a plug-in that enforces none leaves policies without effect, and the verdict says which', () => {
  for (const cni of ['flannel-vxlan', 'flannel-host-gw', 'bridge'] as const) {
    const { verdict, assumes, deciders } = ask(PODS + ISOLATES, { cni });
    assert.deepEqual([verdict, deciders], ['ALLOWED', []]);
    assert.match(
      assumes.join('; '),
      new RegExp(`lab\\.yaml:\\d+: NetworkPolicy np has no effect: cni ${cni} enforces no`),
    );
    assert.doesNotMatch(ask(PODS + ISOLATES, { cni }, 'default/c').assumes.join('; '), /no effect/);
  }
});

test('policies in the language of another plug-in show that it is there, and enforces those of Kubernetes too', () => {
  const canal = ask(PODS + ISOLATES + CALICO, { cni: 'flannel-vxlan' });
  assert.deepEqual([canal.verdict, canal.reason?.code], ['DENIED', 133]);
  const own = ask(PODS + ISOLATES + CALICO, { cni: 'flannel-vxlan' }, 'default/c');
  assert.equal(own.verdict, 'DENIED');
  assert.match(own.assumes.join('; '), /cni flannel-vxlan: Calico is there too, and enforces policies/);
});

test('a setting says that another program enforces them, or that it is not known', () => {
  const held = ask(PODS + ISOLATES, { cni: 'bridge', unenforcedPolicies: 'hold' });
  assert.equal(held.verdict, 'DENIED');
  assert.match(held.assumes.join('; '), /cni bridge enforces no policies: another program does as Cilium does/);
  const settings = { cni: 'bridge', unenforcedPolicies: 'unknown' } as const;
  const unknown = ask(PODS + ISOLATES, settings);
  assert.deepEqual([unknown.verdict, unknown.depends], ['UNKNOWN', ['who enforces policies: cni bridge does not']]);
  assert.equal(ask(PODS + ISOLATES, settings, 'default/c').verdict, 'ALLOWED');
  const found = reach(new Lab(PODS + ISOLATES, settings).state, { from: null, to: null, protocol: null });
  assert.ok('unknown' in found);
  assert.deepEqual(
    found.unknown.map(({ ref }) => ref),
    ['default/b[Pod]'],
  );
});
