/** What could not be read, or cannot be carried, is never answered ALLOWED: it is UNKNOWN, and named. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { query, type Answer } from '../../dataplane/answers/query.js';
import { reach } from '../../dataplane/answers/reach.js';
import { DEFAULT_SETTINGS, type Settings } from '../../dataplane/settings.js';
import { Engine, type State } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import { pod, service } from '../lab.js';

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
    /AdminNetworkPolicy c could not be read/,
  ],
  [
    'a policy with a type that Kubernetes has not',
    state({}, PODS, POLICY.replace('spec: {', 'spec: {policyTypes: [Ingres], ')),
    'default/b',
    /NetworkPolicy b could not be read/,
  ],
  [
    'a policy of an old apiVersion',
    state({}, PODS, POLICY.replace('networking.k8s.io/v1', 'extensions/v1beta1')),
    'default/b',
    /NetworkPolicy b could not be read/,
  ],
  [
    'a policy whose kind is misspelt in case',
    state({}, PODS, POLICY.replace('kind: NetworkPolicy', 'kind: Networkpolicy')),
    'default/b',
    /Networkpolicy b could not be read/,
  ],
  [
    'a policy in a List without apiVersion',
    state({}, PODS, 'kind: List\nitems:\n  - {kind: NetworkPolicy, metadata: {name: x}}\n'),
    'default/b',
    /NetworkPolicy x could not be read/,
  ],
  [
    'a broken policy whose labels name another namespace',
    state({}, PODS, 'kind: NetworkPolicy\nmetadata:\n  labels:\n    namespace: other\n  name: x\nspec: [\n'),
    'default/b',
    /NetworkPolicy x could not be read/,
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
    /Tier t could not be read/,
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

function ask(given: State, from: string, to: string, protocol = 'TCP'): Answer {
  const answered = query(given, { from, to, protocol, port: 80, sourcePort: null, node: null, http: null });
  if ('error' in answered) throw new Error(answered.error);
  return answered.answer;
}

for (const [what, given, to, depends, protocol] of CASES) {
  test(`UNKNOWN: ${what}`, () => {
    const { verdict, depends: lines } = ask(given, 'default/a', to, protocol);
    assert.equal(verdict, 'UNKNOWN');
    assert.match(lines.join('\n'), depends);
  });
}

/** Policies that the API server, or the agent that takes them, refuses: each of pod `b`, by a mistake that lets or denies more. */
const REFUSED: readonly (readonly [version: string, kind: string, spec: string])[] = [
  ['networking.k8s.io/v1', 'NetworkPolicy', 'podSelector: {}, ingress: [{from: [{}]}]'],
  ['networking.k8s.io/v1', 'NetworkPolicy', 'podSelector: {}, ingress: [{}, {ports: [{port: "80"}]}]'],
  ['networking.k8s.io/v1', 'NetworkPolicy', 'podSelector: {}, ingress: [{ports: [{port: 80}, {port: 99999}]}]'],
  [
    'networking.k8s.io/v1',
    'NetworkPolicy',
    'podSelector: {}, ingress: [{from: [{podSelector: {}}, {podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]',
  ],
  [
    'networking.k8s.io/v1',
    'NetworkPolicy',
    'podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/8]}}]}]',
  ],
  ['networking.k8s.io/v1', 'NetworkPolicy', 'podSelector: {matchLabels: {app: 7}}, ingress: [{}]'],
  ['cilium.io/v2', 'CiliumNetworkPolicy', 'endpointSelector: {}, ingress: [{fromEntities: [wrold]}, {}]'],
  ['policy.networking.k8s.io/v1alpha1', 'AdminNetworkPolicy', 'priority: 2000, subject: {namespaces: {}}'],
  ['projectcalico.org/v3', 'GlobalNetworkPolicy', 'selector: all(), ingress: [{action: Alow}]'],
  ['projectcalico.org/v3', 'GlobalNetworkSet', 'nets: [10.0.0.0/33]'],
  ['security.istio.io/v1', 'AuthorizationPolicy', 'rules: [{from: []}]'],
];

test('UNKNOWN: whom a policy that is refused may select', () => {
  for (const [version, kind, spec] of REFUSED) {
    const text = `apiVersion: ${version}\nkind: ${kind}\nmetadata: {name: p}\nspec: {${spec}}\n`;
    const answer = ask(state({}, PODS, text), 'default/a', 'default/b');
    assert.equal(answer.verdict, 'UNKNOWN', spec);
    assert.match(answer.depends.join('\n'), new RegExp(`m\\.yaml:\\d+: ${kind} p could not be read`), spec);
  }
});

test('UNKNOWN: whom a policy may select whose spec is misspelt', () => {
  const text = POLICY.replace('spec:', 'spce:');
  assert.match(
    ask(state({}, PODS, text), 'default/a', 'default/b').depends.join(),
    /NetworkPolicy b could not be read/,
  );
});

test('a refused policy of one namespace leaves the others as they are', () => {
  const policy = POLICY.replace('name: b', 'name: b, namespace: other').replace('{matchLabels: {team: x}}', '7');
  assert.equal(ask(state({}, PODS, policy), 'default/a', 'default/b').verdict, 'ALLOWED');
  const own = POLICY.replace('{matchLabels: {team: x}}', '7');
  const others = PODS.replaceAll('labels:', 'namespace: other, labels:');
  assert.equal(ask(state({}, others, own), 'other/a', 'other/b').verdict, 'ALLOWED');
});

test('UNKNOWN: pods and Services that the API server refuses', () => {
  const s = service('s', '10.96.0.9', 80, 8080).replace('{app: s}', '{app: b}');
  const lone = PODS.replace('{app: b}', '[app=b]');
  const table: readonly (readonly [given: State, to: string, depends: RegExp])[] = [
    [state({}, lone), 'default/b', /m\.yaml:\d+: Pod b could not be read/],
    [state({}, lone, s), 'svc:default/s', /Pod b could not be read: it may be behind the Service/],
    [
      state({}, PODS.replace('{app: b}', '{app: b, v: 7}')),
      'default/b',
      /Kubernetes refuses Pod default\/b: v must be/,
    ],
    [state({}, PODS.replaceAll('labels:', 'namespace: 7, labels:')), '7/b', /refuses Pod 7\/b: namespace must be/],
    [state({}, PODS, s.replace('8080', '"8080"')), 'svc:default/s', /refuses Service default\/s: "8080" is not/],
    [state({}, PODS, s.replace('{app: b}', '[app]')), 'svc:default/s', /Service s could not be read/],
    [state({}, PODS, s.replace('{app: b}', '[app]')), 'dns:s', /Service s could not be read/],
  ];
  for (const [given, to, depends] of table) {
    const answer = ask(given, to.startsWith('7/') ? '7/a' : 'default/a', to);
    assert.deepEqual([to, answer.verdict], [to, 'UNKNOWN']);
    assert.match(answer.depends.join('\n'), depends);
  }
});

test('what is refused, and yet plain, is assumed', () => {
  const b = pod('b', '10.1.0.6', 'n1');
  const table: readonly (readonly [text: string, from: string, assumes: RegExp])[] = [
    [PODS.replaceAll('labels:', 'namespace: y, labels:'), 'y', /m\.yaml:3: y is taken for text: .* without quotes/],
    [PODS.replace('{app: b}', '{app: b!}'), 'default', /m\.yaml:\d+: b! is kept as it stands: Kubernetes refuses it/],
    [PODS.replace(b, b.replace('containerPort', 'port')), 'default', /the rest counts: containerPort is missing/],
  ];
  for (const [text, namespace, assumes] of table) {
    const answer = ask(state({}, text), `${namespace}/a`, `${namespace}/b`);
    assert.equal(answer.verdict, 'ALLOWED');
    assert.match(answer.assumes.join('\n'), assumes);
  }
});

test('a Namespace whose labels are no texts makes its askers UNKNOWN', () => {
  const namespace = 'apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: [team=x]}\n';
  assert.equal(ask(state({}, PODS, POLICY, namespace), 'default/a', 'default/b').verdict, 'UNKNOWN');
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
