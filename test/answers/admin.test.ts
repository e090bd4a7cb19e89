/** Administrators' policies, asked about: which tier decides, what is not defined, and what stays open. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { annotate } from '../../dataplane/answers/annotate.js';
import { check } from '../../dataplane/answers/check.js';
import { query } from '../../dataplane/answers/query.js';
import { reach } from '../../dataplane/answers/reach.js';
import { Lab, pod, TWO_NODES } from '../lab.js';

const PODS = TWO_NODES + pod('a', '10.1.0.5', 'n1') + pod('b', '10.1.0.6', 'n1') + pod('c', '10.2.0.7', 'n2');

const policy = (name: string, spec: string): string =>
  `apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: ${name}}\nspec: {${spec}}\n---\n`;
const about = (app: string): string => `subject: {pods: {podSelector: {matchLabels: {app: ${app}}}}}`;
const from = (action: string, app: string, port: number | null = null): string =>
  `{action: ${action}, from: [{pods: {podSelector: {matchLabels: {app: ${app}}}}}]${port === null ? '' : `, protocols: [{tcp: {destinationPort: {number: ${port}}}}]`}}`;
const to = (action: string, peer: string): string => `{action: ${action}, to: [${peer}]}`;
const isolates = (app: string, ingress = '[]'): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np}\nspec: {podSelector: {matchLabels: {app: ${app}}}, policyTypes: [Ingress], ingress: ${ingress}}\n---\n`;

/** `DENIED 181 {cluster ingress[0] denies}`. */
function ask(lab: Lab, source: string, target: string, port = 8080): string {
  const answered = query(lab.state, {
    from: source,
    to: target,
    protocol: 'TCP',
    port,
    sourcePort: null,
    node: null,
    http: null,
  });
  assert.ok(!('error' in answered));
  const { verdict, reason, deciders, depends } = answered.answer;
  const names = deciders.map(({ name, rule, effect }) => `${name}${rule ? ` ${rule}` : ''} ${effect}`);
  return `${verdict} ${reason?.code ?? null} {${names.join(', ')}}${verdict === 'UNKNOWN' ? ` ${depends.join()}` : ''}`;
}

test('Admin goes before a NetworkPolicy, and that before Baseline', () => {
  const admin = policy(
    'adm',
    `tier: Admin, priority: 5, ${about('b')}, ingress: [${from('Accept', 'a', 8080)}, ${from('Pass', 'a')}, ${from('Deny', 'c', 8080)}]`,
  );
  const base = policy(
    'base',
    `tier: Baseline, priority: 5, ${about('b')}, ingress: [${from('Deny', 'a', 81)}, ${from('Deny', 'c')}]`,
  );
  const open = new Lab(PODS + admin + base);
  assert.equal(ask(open, 'default/a', 'default/b'), 'ALLOWED null {adm ingress[0] allows}');
  assert.equal(ask(open, 'default/a', 'default/b', 80), 'ALLOWED null {}');
  assert.equal(ask(open, 'default/a', 'default/b', 81), 'DENIED 181 {base ingress[0] denies}');
  assert.equal(ask(open, 'default/c', 'default/b'), 'DENIED 181 {adm ingress[2] denies}');
  assert.equal(ask(open, 'default/c', 'default/b', 80), 'DENIED 181 {base ingress[1] denies}');
  const isolated = new Lab(PODS + admin + base + isolates('b', '[{from: [{podSelector: {matchLabels: {app: c}}}]}]'));
  assert.equal(ask(isolated, 'default/a', 'default/b'), 'ALLOWED null {adm ingress[0] allows}');
  assert.equal(ask(isolated, 'default/a', 'default/b', 81), 'DENIED 133 {np isolates}');
  assert.equal(ask(isolated, 'default/c', 'default/b'), 'DENIED 181 {adm ingress[2] denies}');
  assert.equal(ask(isolated, 'default/c', 'default/b', 80), 'ALLOWED null {np ingress[0] allows}');
  assert.equal(ask(isolated, 'node:n1', 'default/b'), 'ALLOWED null {}', "the pod's own node");
});

test('where policies of one priority differ, it is not defined which decides', () => {
  const accepts = policy('one', `tier: Admin, priority: 5, ${about('b')}, ingress: [${from('Accept', 'a', 8080)}]`);
  const denies = policy('two', `tier: Admin, priority: 5, ${about('b')}, ingress: [${from('Deny', 'a')}]`);
  const lab = new Lab(PODS + accepts + denies);
  assert.match(
    ask(lab, 'default/a', 'default/b'),
    /^UNKNOWN 181 \{\} lab\.yaml:\d+: whether ingress\[0\] of ClusterNetworkPolicy one comes first/,
  );
  assert.equal(ask(lab, 'default/a', 'default/b', 80), 'DENIED 181 {two ingress[0] denies}');
  const found = reach(lab.state, { from: null, to: null, protocol: null });
  assert.ok('unknown' in found);
  assert.deepEqual(
    found.unknown.map(({ ref }) => ref),
    ['default/b[Pod]'],
  );
});

test('networks are pods and nodes too; of some nodes the answer is not known', () => {
  const rules = [to('Deny', '{networks: [10.2.0.0/24, 192.168.0.0/24]}'), to('Accept', '{nodes: {}}')].join();
  const lab = new Lab(PODS + policy('out', `tier: Admin, priority: 5, ${about('a')}, egress: [${rules}]`));
  assert.equal(ask(lab, 'default/a', 'default/b'), 'ALLOWED null {}');
  assert.equal(ask(lab, 'default/a', 'default/c'), 'DENIED 181 {out egress[0] denies}');
  assert.equal(ask(lab, 'default/a', 'node:n2'), 'DENIED 181 {out egress[0] denies}');
  const some = new Lab(
    PODS +
      policy('out', `tier: Admin, priority: 5, ${about('a')}, egress: [${to('Deny', '{networks: [192.168.0.2/32]}')}]`),
  );
  assert.match(
    ask(some, 'default/a', 'node:n2'),
    /^UNKNOWN .* which node it is that this is about in ClusterNetworkPolicy out/,
  );
  assert.equal(ask(some, 'default/a', 'default/c'), 'ALLOWED null {}');
});

test('names are accepted where all else is denied', () => {
  const rules = [to('Accept', '{domainNames: ["*.example.org"]}'), to('Deny', '{networks: [0.0.0.0/0]}')].join();
  const lab = new Lab(PODS + policy('out', `tier: Admin, priority: 5, ${about('a')}, egress: [${rules}]`));
  assert.equal(ask(lab, 'default/a', 'dns:www.example.org'), 'ALLOWED null {out egress[0] allows}');
  assert.equal(ask(lab, 'default/a', 'dns:a.b.example.org'), 'ALLOWED null {out egress[0] allows}');
  assert.equal(ask(lab, 'default/a', 'dns:example.org'), 'DENIED 181 {out egress[1] denies}');
  assert.equal(ask(lab, 'default/a', 'ip:8.8.8.8'), 'DENIED 181 {out egress[1] denies}');
  assert.equal(ask(lab, 'default/a', 'default/b'), 'DENIED 181 {out egress[1] denies}');
});

test('rules of Cilium stand in the tier of NetworkPolicies, their proxies with them', () => {
  const cilium = `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: cnp}\nspec: {endpointSelector: {matchLabels: {app: b}}, ingress: [{fromEndpoints: [{}], toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET}]}}]}], ingressDeny: [{fromEndpoints: [{matchLabels: {app: c}}]}]}\n---\n`;
  const admin = policy('adm', `tier: Admin, priority: 5, ${about('b')}, ingress: [${from('Accept', 'c', 8080)}]`);
  const lab = new Lab(PODS + cilium + admin);
  assert.equal(ask(lab, 'default/c', 'default/b'), 'ALLOWED null {adm ingress[0] allows}');
  assert.equal(ask(lab, 'default/c', 'default/b', 80), 'DENIED 181 {cnp ingressDeny[0] denies}');
  assert.match(ask(lab, 'default/a', 'default/b'), /^CONDITIONAL/);
  assert.equal(ask(lab, 'default/a', 'default/b', 80), 'DENIED 133 {cnp isolates}');
});

test('the editor and check know them', () => {
  const lab = new Lab(
    PODS + policy('adm', `tier: Admin, priority: 5, ${about('wbe')}, ingress: [${from('Pass', 'a')}]`),
  );
  assert.deepEqual(
    check(lab.state, []).map(({ code }) => code),
    ['HS3001'],
  );
  const inlays = annotate(lab.state, 'lab.yaml').inlays.map(({ text }) => text);
  assert.deepEqual(inlays, ['→ 0 pods', '→ 1 pod']);
});
