/** Verdicts about IPv6 and ICMP: packets of both families through the same policies and Services. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { query, type Answer, type Question } from '../../dataplane/answers/query.js';
import { reach } from '../../dataplane/answers/reach.js';
import { DEFAULT_SETTINGS, type Settings } from '../../dataplane/settings.js';
import { Engine, type State } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import { service } from '../lab.js';

const DUAL: Partial<Settings> = { podCIDR: '10.1.0.0/16,fd01::/56', serviceCIDR: '10.2.0.0/16,fd02::/112' };
const SIX: Partial<Settings> = { podCIDR: 'fd01::/56', serviceCIDR: 'fd02::/112' };

function stateOf(yaml: string, settings: Partial<Settings> = DUAL): State {
  const engine = new Engine(modules.trace, { ...DEFAULT_SETTINGS, ...settings });
  engine.manifests.set('m.yaml', yaml);
  return engine.current;
}

function ask(state: State, from: string, to: string, more: Partial<Question> = {}): Answer {
  const question = { from, to, protocol: 'TCP', port: 8080, sourcePort: null, node: null, http: null, ...more };
  const answered = query(state, question);
  if ('error' in answered) throw new Error(answered.error);
  return answered.answer;
}

const pod = (name: string, node: string): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, labels: {app: ${name}}}\nspec: {nodeName: ${node}, containers: [{name: c, ports: [{containerPort: 8080}]}]}\n---\n`;
/** `a` and `b` on one node, `far` on another. */
const PODS = pod('a', 'n1') + pod('b', 'n1') + pod('far', 'n2');
const policy = (app: string, spec: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${app}}\nspec: {podSelector: {matchLabels: {app: ${app}}}, ${spec}}\n---\n`;

for (const [what, settings] of [
  ['dual stack', DUAL],
  ['IPv6 alone', SIX],
] as const) {
  test(`${what}: pods reach each other on their node and across nodes, and policies hold`, () => {
    const open = stateOf(PODS, settings);
    for (const to of ['default/b', 'default/far']) assert.equal(ask(open, 'default/a', to).verdict, 'ALLOWED', to);
    const closed = stateOf(
      PODS + policy('b', 'ingress: [{from: [{podSelector: {matchLabels: {app: far}}}]}]'),
      settings,
    );
    const denied = ask(closed, 'default/a', 'default/b');
    assert.deepEqual([denied.verdict, denied.direction, denied.reason?.name], ['DENIED', 'ingress', 'POLICY_DENIED']);
    assert.deepEqual(
      denied.deciders.map(({ name, effect }) => `${name} ${effect}`),
      ['b isolates'],
    );
    assert.equal(ask(closed, 'default/far', 'default/b').verdict, 'ALLOWED');
  });

  test(`${what}: a Service leads to its pods, on their node and across nodes`, () => {
    const more = settings === DUAL ? ', ipFamilyPolicy: RequireDualStack' : '';
    for (const name of ['b', 'far']) {
      const yaml = PODS + service(name, '', 80, 8080, more).replace('clusterIP: ,', '');
      const answer = ask(stateOf(yaml, settings), 'default/a', `dns:${name}`, { port: 80 });
      assert.deepEqual(
        [answer.verdict, answer.backend?.pod, answer.service?.name],
        ['ALLOWED', `default/${name}`, name],
      );
    }
  });
}

test('blocks of each family are for addresses of their own', () => {
  const state = stateOf(
    PODS +
      policy(
        'a',
        'policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: "2001:db8::/32", except: ["2001:db8:1::/48"]}}]}]',
      ),
  );
  const verdict = (to: string): string => ask(state, 'default/a', to).verdict;
  assert.equal(verdict('ip:2001:db8::1'), 'ALLOWED');
  assert.equal(verdict('ip:2001:db8:1::1'), 'DENIED');
  assert.equal(verdict('ip:2001:db9::1'), 'DENIED');
  assert.equal(verdict('ip:192.0.2.1'), 'DENIED');
  assert.deepEqual(ask(state, 'default/a', 'world').depends, [
    'to addresses 0.0.0.0-255.255.255.255: DENIED (Policy denied, egress)',
    'to addresses ::-2001:db7:ffff:ffff:ffff:ffff:ffff:ffff: DENIED (Policy denied, egress)',
    'to addresses 2001:db8::-2001:db8:0:ffff:ffff:ffff:ffff:ffff: ALLOWED',
    'to addresses 2001:db8:1::-2001:db8:1:ffff:ffff:ffff:ffff:ffff: DENIED (Policy denied, egress)',
    'to addresses 2001:db8:2::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff: ALLOWED',
    'to addresses 2001:db9::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff: DENIED (Policy denied, egress)',
  ]);
});

test('0.0.0.0/0 is not ::/0', () => {
  const state = stateOf(PODS + policy('a', 'ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]'));
  assert.equal(ask(state, 'ip:192.0.2.1', 'default/a').verdict, 'ALLOWED');
  assert.equal(ask(state, 'ip:2001:db8::1', 'default/a').verdict, 'DENIED');
  assert.equal(ask(state, 'world', 'default/a').verdict, 'CONDITIONAL');
});

test('a Service with endpoints of one family depends on the family', () => {
  const listed = `apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ipFamilyPolicy: RequireDualStack, ports: [{port: 80}]}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s, labels: {kubernetes.io/service-name: s}}\naddressType: IPv4\nendpoints: [{addresses: [192.0.2.1]}]\nports: [{port: 80}]\n---\n`;
  const answer = ask(stateOf(PODS + listed), 'default/a', 'svc:default/s', { port: 80 });
  assert.equal(answer.verdict, 'CONDITIONAL');
  assert.deepEqual(answer.depends, [
    'on backend 192.0.2.1:80 over IPv4: ALLOWED',
    'over IPv6: DENIED (Service backend not found, egress)',
  ]);
});

test('reach lists the ranges of both families, and pods once', () => {
  const found = reach(stateOf(PODS + policy('a', 'ingress: [{from: [{ipBlock: {cidr: "2001:db8::/32"}}]}]')), {
    from: null,
    to: 'default/a',
    protocol: 'TCP',
  });
  assert.ok('connections' in found);
  assert.deepEqual(
    found.connections.map(({ from, to }) => `${from} ${to}`),
    ['ip:2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff default/a[Pod]'],
  );
  const open = reach(stateOf(PODS), { from: 'default/a', to: null, protocol: 'TCP' });
  assert.ok('connections' in open);
  assert.deepEqual(
    open.connections.map(({ to }) => to),
    [
      'default/b[Pod]',
      'default/far[Pod]',
      'ip:0.0.0.0-255.255.255.255',
      'ip:::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    ],
  );
});

for (const [what, settings] of [
  ['IPv4', {}],
  ['IPv6', SIX],
  ['both families', DUAL],
] as const) {
  test(`an echo over ${what}: let through without policies, and by rules for every port; not by rules for some`, () => {
    const ping = (yaml: string, to = 'default/b'): string =>
      ask(stateOf(yaml, settings), 'default/a', to, { protocol: 'ICMP', port: null }).verdict;
    assert.equal(ping(PODS), 'ALLOWED');
    assert.equal(ping(PODS, 'default/far'), 'ALLOWED');
    assert.equal(ping(PODS, 'world'), 'ALLOWED');
    assert.equal(ping(PODS, 'node:n2'), 'ALLOWED');
    assert.equal(ping(PODS + policy('b', 'ingress: [{from: [{podSelector: {}}]}]')), 'ALLOWED');
    assert.equal(ping(PODS + policy('b', 'ingress: [{ports: [{port: 8080}]}]')), 'DENIED');
    assert.equal(ping(PODS + policy('a', 'policyTypes: [Egress]')), 'DENIED');
  });
}
