/** What could not be read, or cannot be carried, is never answered ALLOWED: it is UNKNOWN, and named. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { query } from '../../dataplane/answers/query.js';
import { reach } from '../../dataplane/answers/reach.js';
import { DEFAULT_SETTINGS, type Settings } from '../../dataplane/settings.js';
import { Engine, type State } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import { pod } from '../lab.js';

function state(settings: Partial<Settings>, ...documents: string[]): State {
  const engine = new Engine(modules.trace, { ...DEFAULT_SETTINGS, ...settings });
  engine.manifests.set('m.yaml', documents.join('---\n'));
  return engine.current;
}

const PODS = pod('a', '10.1.0.5', 'n1') + pod('b', '10.1.0.6', 'n1');
const POLICY =
  'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: b}\nspec: {podSelector: {matchLabels: {app: b}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: x}}}]}]}\n';

const CASES: readonly (readonly [what: string, state: State, to: string, depends: RegExp, protocol?: string])[] = [
  [
    'a broken NetworkPolicy',
    state({}, PODS, 'kind: NetworkPolicy\nmetadata: {name: [\n'),
    'default/b',
    /m\.yaml:\d+: NetworkPolicy could not be read/,
  ],
  [
    'a broken document of no known kind',
    state({}, PODS, 'metadata: {name: [\n'),
    'default/b',
    /a document could not be read/,
  ],
  [
    'a Helm template of a policy',
    state({}, PODS, 'kind: NetworkPolicy\nmetadata: {name: {{ .Values.name }}}\n'),
    'default/b',
    /Helm template, not analysed/,
  ],
  [
    'a policy of another language',
    state(
      {},
      PODS,
      'apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: c}\nspec: {}\n',
    ),
    'default/b',
    /AdminNetworkPolicy could not be read/,
  ],
  [
    'a policy with a type that Kubernetes has not',
    state({}, PODS, POLICY.replace('spec: {', 'spec: {policyTypes: [Ingres], ')),
    'default/b',
    /could not be read/,
  ],
  [
    'a policy of an old apiVersion',
    state({}, PODS, POLICY.replace('networking.k8s.io/v1', 'extensions/v1beta1')),
    'default/b',
    /NetworkPolicy could not be read/,
  ],
  [
    'a policy whose kind is misspelt in case',
    state({}, PODS, POLICY.replace('kind: NetworkPolicy', 'kind: Networkpolicy')),
    'default/b',
    /Networkpolicy could not be read/,
  ],
  [
    'a policy in a List without apiVersion',
    state({}, PODS, 'kind: List\nitems:\n  - {kind: NetworkPolicy, metadata: {name: x}}\n'),
    'default/b',
    /NetworkPolicy could not be read/,
  ],
  [
    'a broken policy whose labels name another namespace',
    state({}, PODS, 'kind: NetworkPolicy\nmetadata:\n  labels:\n    namespace: other\n  name: x\nspec: [\n'),
    'default/b',
    /NetworkPolicy could not be read/,
  ],
  [
    'a Namespace that could not be read, where a policy asks for labels',
    state({}, PODS, POLICY, 'kind: Namespace\nmetadata: {name: [\n'),
    'default/b',
    /Namespace could not be read/,
  ],
  [
    'a set of addresses of another namespace that could not be read',
    state({}, PODS, 'kind: NetworkSet\nmetadata:\n  namespace: other\nspec: [\n'),
    'default/b',
    /NetworkSet could not be read/,
  ],
  [
    'a tier that could not be read',
    state({}, PODS, 'apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: t}\nspec: {order: first}\n'),
    'default/b',
    /Tier could not be read/,
  ],
  [
    'two pods with one address',
    state({}, PODS, pod('twin', '10.1.0.6', 'n1')),
    'default/b',
    /pods default\/b and default\/twin have the same address 10\.1\.0\.6/,
  ],
  [
    'a pod with the address of a node',
    state({ nodes: [{ name: 'n1', address: '10.1.0.6' }] }, PODS),
    'default/b',
    /which is that of node n1/,
  ],
  ['a protocol that the dataplane does not carry', state({}, PODS), 'default/b', /GRE/, 'GRE'],
  [
    'undeclared namespaces that a selector asks about',
    state({ undeclaredNamespaces: 'unknown' }, PODS, POLICY),
    'default/b',
    /the labels of namespace default/,
  ],
];

for (const [what, given, to, depends, protocol = 'TCP'] of CASES) {
  test(`UNKNOWN: ${what}`, () => {
    const answered = query(given, {
      from: 'default/a',
      to,
      protocol,
      port: 80,
      sourcePort: null,
      node: null,
      http: null,
    });
    assert.ok('answer' in answered, 'error' in answered ? answered.error : '');
    assert.equal(answered.answer.verdict, 'UNKNOWN');
    assert.match(answered.answer.depends.join('\n'), depends);
  });
}

test('labels that are no texts: the pod is not answered for, and a Namespace with such makes its askers UNKNOWN', () => {
  const broken = state(
    {},
    pod('a', '10.1.0.5', 'n1'),
    pod('b', '10.1.0.6', 'n1').replace('{app: b}', '{app: [b]}'),
    POLICY,
  );
  assert.deepEqual(
    query(broken, {
      from: 'default/a',
      to: 'default/b',
      protocol: 'TCP',
      port: 80,
      sourcePort: null,
      node: null,
      http: null,
    }),
    { error: 'nothing matches default/b' },
  );
  const namespace = 'apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: [team=x]}\n';
  const answered = query(state({}, PODS, POLICY, namespace), {
    from: 'default/a',
    to: 'default/b',
    protocol: 'TCP',
    port: 80,
    sourcePort: null,
    node: null,
    http: null,
  });
  assert.equal('answer' in answered && answered.answer.verdict, 'UNKNOWN');
});

test('reach lists such ends as unknown, and no connection of theirs', () => {
  const found = reach(state({}, PODS, pod('twin', '10.1.0.6', 'n1')), { from: null, to: null, protocol: null });
  assert.ok('connections' in found);
  assert.deepEqual(
    found.unknown.map(({ ref }) => ref),
    ['default/b[Pod]', 'default/twin[Pod]'],
  );
  assert.ok(found.connections.every(({ from, to }) => ![from, to].some((ref) => /twin|\/b\[/.test(ref))));
});
