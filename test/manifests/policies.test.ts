import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NetworkPolicyRule } from '../../dataplane/manifests/objects.js';
import { policyOf } from './reading.js';

const ALL = 'podSelector: {}\n';

/** A list of rules as `absent`, or per rule `peers×ports`, where `*` is every. */
function rulesOf(rules: { rules: readonly NetworkPolicyRule[] } | null): string {
  if (!rules) return 'absent';
  const count = (list: readonly unknown[] | null): string => (list?.length ? String(list.length) : '*');
  return `[${rules.rules.map(({ peers, ports }) => `${count(peers)}×${count(ports)}`).join(' ')}]`;
}

test('absent, null, [] and [{}] differ as in Kubernetes', () => {
  const table: [string, string, string, string[]][] = [
    // spec after podSelector, ingress, egress, policyTypes
    ['', 'absent', 'absent', ['Ingress']],
    ['ingress:', 'absent', 'absent', ['Ingress']],
    ['ingress: []', '[]', 'absent', ['Ingress']],
    ['ingress: [{}]', '[*×*]', 'absent', ['Ingress']],
    ['ingress: [{from: null, ports: null}]', '[*×*]', 'absent', ['Ingress']],
    ['ingress: [{from: [], ports: []}]', '[*×*]', 'absent', ['Ingress']],
    ['ingress: [{from: [{podSelector: {}}]}]', '[1×*]', 'absent', ['Ingress']],
    ['ingress: [{ports: [{}]}]', '[*×1]', 'absent', ['Ingress']],
    ['egress: []', 'absent', '[]', ['Ingress']],
    ['egress: [{}]', 'absent', '[*×*]', ['Ingress', 'Egress']],
    ['policyTypes: []\negress: [{}]', 'absent', '[*×*]', ['Ingress', 'Egress']],
    ['policyTypes: [Egress]', 'absent', 'absent', ['Egress']],
    ['policyTypes: [Ingress]\negress: [{}]', 'absent', '[*×*]', ['Ingress']],
  ];
  for (const [spec, ingress, egress, policyTypes] of table) {
    const { policy, problems } = policyOf(ALL + spec);
    assert.deepEqual(problems, [], spec);
    assert.deepEqual(
      [rulesOf(policy!.ingress), rulesOf(policy!.egress), policy!.policyTypes],
      [ingress, egress, policyTypes],
      spec,
    );
  }
});

test('what Kubernetes refuses in a rule leaves the whole policy unread; what it only warns of does not', () => {
  const table: [string, string[]][] = [
    // an ingress rule, problems
    ['ports: [{port: "80"}]', ['HS1010 "80"']],
    ['ports: [{port: "80"}, {port: 81}]', ['HS1010 "80"']],
    ['ports: [{port: 0}]', ['HS1010 0']],
    ['ports: [{port: 65536}]', ['HS1010 65536']],
    ['ports: [{port: 9007199254740993}]', ['HS1010 9007199254740993']],
    ['ports: [{protocol: tcp}]', ['HS1010 tcp']],
    ['ports: [{port: 80, endPort: 70}]', ['HS1010 70']],
    ['ports: [{port: web, endPort: 90}]', ['HS1010 90']],
    ['ports: [{endPort: 90}]', ['HS1010 90']],
    ['ports: [null]', ['HS1008 null']],
    ['ports: x', ['HS1008 x']],
    ['from: {}', ['HS1008 {}']],
    ['from: [{}]', ['HS1010 {}']],
    ['form: []', ['HS1010 form']],
    ['from: [{podSelector: []}]', ['HS1008 []']],
    ['from: [{podSelector: {matchLabel: {a: b}}}]', ['HS1010 matchLabel']],
    ['from: [{podSelector: {matchLabels: {a: “b”}}}]', ['HS1010 “b”']],
    ['from: [{podSelector: {matchExpressions: [{key: a, operator: In}]}}]', ['HS1010 {key: a, operator: In}']],
    ['from: [{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}]', ['HS1010 [b]']],
    ['from: [{podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}}]', ['HS1010 in']],
    ['from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]', ['HS1010 {cidr: 10.0.0.0/8}']],
    ['from: [{ipBlock: {}}]', ['HS1009 {}']],
    ['from: [{ipBlock: {cidr: 10.0.0.0/33}}]', ['HS1010 10.0.0.0/33']],
    ['from: [{ipBlock: {cidr: 010.0.0.1/32}}]', ['HS1010 010.0.0.1/32']],
    ['from: [{ipBlock: {cidr: "::ffff:1.2.3.4/96"}}]', ['HS1010 "::ffff:1.2.3.4/96"']],
    ['from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1]}}]', ['HS1008 10.1', 'HS1010 10.1']],
    ['from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]', ['HS3003 10.0.0.0/8']],
    ['from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/9]}}]', ['HS3003 11.0.0.0/9']],
    ['from: [{ipBlock: {cidr: 10.0.0.1/8}}]', ['HS3007 10.0.0.1/8']],
    ['from: [{ipBlock: {cidr: "fd00::/8", except: ["fd01::/16"]}}]', []],
    ['from: [{podSelector: {matchLabels: {a: true}}}]', ['HS1008 true']],
  ];
  for (const [rule, expected] of table) {
    const { policy, problems, unread } = policyOf(`${ALL}ingress: [{${rule}}]`);
    const reported = problems.map((text) => text.replace(/ \d+:\d+/, ''));
    assert.deepEqual(reported, expected, rule);
    const isRead = expected.every((text) => text.startsWith('HS3007'));
    assert.deepEqual(
      [rulesOf(policy?.ingress ?? null), unread],
      isRead ? ['[1×*]', []] : ['absent', ['NetworkPolicy shop syntax']],
      rule,
    );
  }
});

test('a word that YAML 1.1 takes for a boolean is taken for text', () => {
  const { policy, problems, unread } = policyOf('podSelector: {matchLabels: {env: y, at: No}}');
  assert.deepEqual(
    [...policy!.podSelector.matchLabels].map(([key, { value }]) => [key, value]),
    [
      ['env', 'y'],
      ['at', 'No'],
    ],
  );
  assert.deepEqual([problems, unread], [['HS1008 5:36 y', 'HS1008 5:43 No'], []]);
});

test('a policy without legible pods, directions or rules is unread, never absent', () => {
  for (const spec of [
    'podSelector: x',
    'podSelector: {matchLabels: x}',
    'podSelector: {matchLabels: {app: “web”}}',
    'podSelector: {matchExpressions: [{key: a, operator: Nope}]}',
    'podselector: {}',
    `${ALL}policyTypes: [ingress]`,
    `${ALL}policyTypes: Ingress`,
    `${ALL}ingress: {}`,
    `${ALL}egress: all`,
  ]) {
    const { policy, problems, unread } = policyOf(spec);
    assert.equal(policy, null, spec);
    assert.ok(problems.length > 0, spec);
    assert.deepEqual(unread, ['NetworkPolicy shop syntax'], spec);
  }
});

test('an ipBlock keeps its excepts, and every value its place', () => {
  const { policy } = policyOf(
    `${ALL}ingress:\n- from:\n  - ipBlock:\n      cidr: 10.0.0.0/8\n      except: [10.1.0.0/16, 10.9.0.0/16]`,
  );
  const block = policy!.ingress!.rules[0]!.peers![0]!.ipBlock!;
  assert.deepEqual(
    [block.cidr.value, block.except.map(({ value }) => value)],
    ['10.0.0.0/8', ['10.1.0.0/16', '10.9.0.0/16']],
  );
  assert.equal(block.cidr.at.source.text.slice(block.cidr.at.start, block.cidr.at.end), '10.0.0.0/8');
});
