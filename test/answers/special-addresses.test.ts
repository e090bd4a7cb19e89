/** Addresses that mean something else than one host outside, or that no manifest has: what a question about them is answered. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { query, type Answer } from '../../dataplane/answers/query.js';
import type { Settings } from '../../dataplane/settings.js';
import { Lab, pod, service, TWO_NODES } from '../lab.js';

const CLUSTER = TWO_NODES + pod('a', '10.1.0.5', 'n1') + pod('b', '10.1.0.6', 'n1');
/** No pod may send anything anywhere. */
const SHUT =
  'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: shut}\nspec: {podSelector: {}, policyTypes: [Egress]}\n---\n';

function ask(yaml: string, from: string, to: string, settings: Partial<Settings> = {}, port = 80): Answer | string {
  const question = { from, to, protocol: 'TCP', port, sourcePort: null, node: null, http: null };
  const answered = query(new Lab(yaml, settings).state, question);
  return 'error' in answered ? answered.error : answered.answer;
}

const told = (answer: Answer | string): string => (typeof answer === 'string' ? answer : answer.verdict);

test('what is said to oneself leaves no pod; a group is nobody; nothing comes from either', () => {
  const table: readonly (readonly [from: string, to: string, told: string])[] = [
    ['default/a', 'ip:127.0.0.1', 'ALLOWED'],
    ['default/a', 'ip:127.8.9.1', 'ALLOWED'],
    ['default/a', 'ip:::1', 'ALLOWED'],
    ['node:n1', 'ip:127.0.0.1', 'ALLOWED'],
    ['world', 'ip:127.0.0.1', 'ip:127.0.0.1 is whoever sends to it: nobody reaches another there'],
    ['default/a', 'ip:224.0.0.1', 'DENIED'],
    ['default/a', 'ip:255.255.255.255', 'DENIED'],
    ['default/a', 'ip:0.0.0.0', 'DENIED'],
    ['ip:127.0.0.1', 'default/a', 'ip:127.0.0.1: no packet comes from that address'],
    ['ip:224.0.0.1', 'default/a', 'ip:224.0.0.1: no packet comes from that address'],
    ['default/a', 'ip:203.0.113.9', 'DENIED'],
    ['default/a', 'ip:169.254.169.254', 'DENIED'],
  ];
  for (const [from, to, expected] of table)
    assert.equal(told(ask(CLUSTER + SHUT, from, to)), expected, `${from} ${to}`);
  const itself = ask(CLUSTER + SHUT, 'default/a', 'ip:127.0.0.1') as Answer;
  assert.deepEqual(itself.assumes, ['ip:127.0.0.1 is default/a itself: no packet leaves it, and no policy is asked']);
  const group = ask(CLUSTER, 'default/a', 'ip:224.0.0.1') as Answer;
  assert.equal(group.verdict, 'UNKNOWN');
  assert.match(group.depends.join(), /^who takes what is sent to ip:224\.0\.0\.1: it is a group/);
  const end = ask(CLUSTER, 'default/a', 'ip:255.255.255.255') as Answer;
  assert.match(end.assumes.join(), /ip:255\.255\.255\.255 stands for the range that it ends/);
  const metadata = ask(CLUSTER, 'default/a', 'ip:169.254.169.254') as Answer;
  assert.equal(metadata.verdict, 'ALLOWED');
  assert.match(metadata.assumes.join(), /ip:169\.254\.169\.254 is on the link of the node/);
});

test('an address of the Services that none of the manifests has is nobody to be sure of', () => {
  const given = CLUSTER + service('b', '10.96.0.9', 80, 8080);
  for (const engine of ['cilium', 'kube-proxy-iptables', 'kube-proxy-ipvs'] as const) {
    const answer = ask(given, 'default/a', 'ip:10.96.77.77', { engine }) as Answer;
    assert.equal(answer.verdict, 'UNKNOWN');
    assert.match(answer.depends.join(), /^what ip:10\.96\.77\.77 is: an address of the Services' range/);
  }
  assert.equal(told(ask(given + SHUT, 'default/a', 'ip:10.96.77.77')), 'DENIED');
  assert.equal(told(ask(given, 'default/a', 'ip:10.96.77.77', { engine: 'kube-proxy-nftables' })), 'DENIED');
  assert.equal(told(ask(given, 'default/a', 'ip:10.96.77.77', { serviceCIDR: '172.30.0.0/16' })), 'ALLOWED');
});

test('a Service that is another name, and says for what not, is nobody', () => {
  const alias = 'apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: ExternalName}\n---\n';
  for (const to of ['dns:s', 'svc:default/s']) assert.equal(told(ask(CLUSTER + alias, 'default/a', to)), 'UNKNOWN', to);
});

test('a refusal names the Service that was asked, its reason and the side', () => {
  const lb = service('b', '10.96.0.9', 80, 8080, ', type: LoadBalancer, externalTrafficPolicy: Local')
    .replace('targetPort', 'nodePort: 30080, targetPort')
    .replace('\n---', '\nstatus: {loadBalancer: {ingress: [{ip: 203.0.113.50}]}}\n---');
  const table: readonly (readonly [from: string, to: string, port: number, told: string])[] = [
    ['world', 'node:n2', 30080, 'b:80 158 ingress'],
    ['world', 'ip:203.0.113.50', 81, 'b:81 158 ingress'],
    ['world', 'svc:default/b', 81, 'b:81 174 ingress'],
    ['default/a', 'ip:10.96.0.9', 81, 'b:81 158 egress'],
    ['default/a', 'ip:2001:db8::1', 80, 'null 132 egress'],
    ['ip:2001:db8::1', 'default/a', 80, 'null 151 ingress'],
  ];
  for (const [from, to, port, expected] of table) {
    const { verdict, service: asked, reason, direction } = ask(CLUSTER + lb, from, to, {}, port) as Answer;
    assert.equal(verdict, 'DENIED');
    assert.equal(`${asked && `${asked.name}:${asked.port}`} ${reason?.code} ${direction}`, expected, `${from} ${to}`);
  }
  const icmp = { from: 'default/a', to: 'svc:default/b', protocol: 'ICMP', port: null, sourcePort: null };
  const answered = query(new Lab(CLUSTER + lb).state, { ...icmp, node: null, http: null });
  assert.deepEqual('answer' in answered && answered.answer.service, { namespace: 'default', name: 'b', port: 0 });
});

test('a setting that makes something UNKNOWN is not answered with the assumption that it turns off', () => {
  const answer = ask(CLUSTER, 'default/a', 'default/b') as Answer;
  assert.match(answer.assumes.join(), /namespace default has no label/);
  const open = service('b', '10.96.0.9', 80, 8080);
  const settings = { undeclaredNamespaces: 'unknown', unreportedReadiness: 'unknown' } as const;
  const strict = ask(CLUSTER + open, 'default/a', 'svc:default/b', settings) as Answer;
  assert.equal(strict.verdict, 'UNKNOWN');
  assert.doesNotMatch(strict.assumes.join(), /has no label|are ready/);
});
