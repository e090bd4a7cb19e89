/** Administrators' policies as they are read: every published shape without a problem, and nothing looser than it was written. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AdminPolicy } from '../../dataplane/manifests/admin.js';
import { line, load } from './reading.js';

function read(
  kind: AdminPolicy['kind'],
  spec: string,
  version = kind === 'ClusterNetworkPolicy' ? 'v1alpha2' : 'v1alpha1',
) {
  const name = kind === 'BaselineAdminNetworkPolicy' ? 'default' : 'p';
  const text = `apiVersion: policy.networking.k8s.io/${version}\nkind: ${kind}\nmetadata: {name: ${name}}\nspec: {${spec}}\n`;
  const manifests = load(text);
  return {
    policy: manifests.objects.find((object): object is AdminPolicy => object.kind === kind) ?? null,
    problems: manifests.problems.map(line),
    unread: manifests.unread.length,
  };
}

const SUBJECT = 'subject: {namespaces: {}}';
const CLUSTER = `tier: Admin, priority: 10, ${SUBJECT}`;

/** The shapes that the documentation of the API shows. */
const PUBLISHED: readonly (readonly [kind: AdminPolicy['kind'], spec: string])[] = [
  ['ClusterNetworkPolicy', `${CLUSTER}, ingress: [{name: all-ingress, action: Deny, from: [{namespaces: {}}]}]`],
  [
    'ClusterNetworkPolicy',
    'tier: Baseline, priority: 0, subject: {pods: {podSelector: {matchLabels: {app: a}}}}, ingress: [{action: Pass, from: [{pods: {namespaceSelector: {matchLabels: {app: system}}, podSelector: {}}}], protocols: [{tcp: {destinationPort: {number: 8080}}}, {udp: {destinationPort: {range: {start: 5000, end: 5100}}}}, {sctp: {destinationPort: {number: 9003}}}, {destinationNamedPort: web}]}]',
  ],
  [
    'ClusterNetworkPolicy',
    `${CLUSTER}, egress: [{name: internal, action: Accept, to: [{networks: [10.0.0.0/8, "fd00::/8"]}]}, {action: Accept, to: [{domainNames: ["kubernetes.io", "*.kubernetes.io"]}], protocols: [{tcp: {destinationPort: {number: 443}}}]}, {action: Deny, to: [{nodes: {matchExpressions: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]}}]}]`,
  ],
  ['ClusterNetworkPolicy', CLUSTER],
  [
    'ClusterNetworkPolicy',
    `${CLUSTER}, egress: [{action: Accept, to: [{nodes: {}}], ports: [{portNumber: {protocol: TCP, port: 80}}, {portRange: {start: 1, end: 2}}]}]`,
  ],
  [
    'AdminNetworkPolicy',
    'priority: 10, subject: {namespaces: {matchLabels: {a: b}}}, ingress: [{action: Deny, from: [{namespaces: {namespaceSelector: {}}}]}, {action: Deny, from: [{pods: {namespaces: {namespaceSelector: {}}, podSelector: {}}}]}]',
  ],
  [
    'AdminNetworkPolicy',
    'priority: 0, subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: a}}}}, ingress: [{action: Allow, from: [{namespaces: {matchLabels: {conformance-house: gryffindor}}}], ports: [{portNumber: {protocol: TCP, port: 80}}, {namedPort: web}, {portRange: {start: 1, end: 2}}]}], egress: [{action: Pass, to: [{pods: {namespaceSelector: {}, podSelector: {}}}]}, {action: Allow, to: [{domainNames: ["*.kubernetes.io"]}]}]',
  ],
  [
    'BaselineAdminNetworkPolicy',
    `${SUBJECT}, ingress: [{action: Deny, from: [{namespaces: {}}]}], egress: [{name: nodes, action: Allow, to: [{nodes: {matchLabels: {kubernetes.io/os: linux}}}], ports: [{portRange: {protocol: TCP, start: 36363, end: 36364}}]}]`,
  ],
];

test('what the documentation shows is read without a problem', () => {
  for (const [kind, spec] of PUBLISHED) {
    const { policy, problems } = read(kind, spec);
    assert.deepEqual(problems, [], spec);
    assert.ok(policy, spec);
  }
  assert.ok(read('ClusterNetworkPolicy', CLUSTER, 'v1beta1').policy);
});

const unplaced = (problem: string): string => problem.replace(/ \d+:\d+/, '');

const ingress = (rule: string): string => `${CLUSTER}, ingress: [{${rule}}]`;
const egress = (rule: string): string => `${CLUSTER}, egress: [{${rule}}]`;
const ports = (protocols: string): string =>
  ingress(`action: Deny, from: [{namespaces: {}}], protocols: [${protocols}]`);

test('whatever is refused leaves the whole policy unread, at its place', () => {
  const table: readonly (readonly [kind: AdminPolicy['kind'], spec: string, problem: string])[] = [
    ['ClusterNetworkPolicy', `priority: 1, ${SUBJECT}`, 'HS1009'],
    ['ClusterNetworkPolicy', `tier: Application, priority: 1, ${SUBJECT}`, 'HS1010 Application'],
    ['ClusterNetworkPolicy', `tier: Admin, priority: 1001, ${SUBJECT}`, 'HS1010 1001'],
    ['ClusterNetworkPolicy', 'tier: Admin, priority: 1, subject: {}', 'HS1010 {}'],
    ['ClusterNetworkPolicy', 'tier: Admin, priority: 1, subject: {namespaces: {}, pods: {podSelector: {}}}', 'HS1010'],
    ['ClusterNetworkPolicy', ingress('action: Allow, from: [{namespaces: {}}]'), 'HS1010 Allow'],
    ['ClusterNetworkPolicy', ingress('action: Deny'), 'HS1009'],
    ['ClusterNetworkPolicy', ingress('action: Deny, from: []'), 'HS1010 []'],
    ['ClusterNetworkPolicy', ingress('action: Deny, from: [{networks: [10.0.0.0/8]}]'), 'HS1010'],
    ['ClusterNetworkPolicy', ingress('action: Deny, from: [{namespaces: {}}], ports: []'), 'HS1010 []'],
    ['ClusterNetworkPolicy', egress('action: Deny, to: [{networks: [10.0.0.0]}]'), 'HS1010 10.0.0.0'],
    ['ClusterNetworkPolicy', egress('action: Deny, to: [{domainNames: [a.b]}]'), 'HS1010 a.b'],
    ['ClusterNetworkPolicy', egress('action: Accept, to: [{domainNames: ["a.*.b"]}]'), 'HS1010 "a.*.b"'],
    [
      'ClusterNetworkPolicy',
      egress('action: Deny, to: [{networks: [10.0.0.0/8]}], protocols: [{destinationNamedPort: web}]'),
      'HS1010 web',
    ],
    ['ClusterNetworkPolicy', ports('{tcp: {}}'), 'HS1010 {}'],
    ['ClusterNetworkPolicy', ports('{tcp: {destinationPort: {range: {start: 9, end: 9}}}}'), 'HS1010 9'],
    ['ClusterNetworkPolicy', ports('{icmp: {}}'), 'HS1010 icmp'],
    ['AdminNetworkPolicy', `priority: 1, tier: Admin, ${SUBJECT}`, 'HS1010 tier'],
    ['AdminNetworkPolicy', 'priority: 1, subject: {pods: {podSelector: {}}}', 'HS1009'],
    ['BaselineAdminNetworkPolicy', `${SUBJECT}, ingress: [{action: Pass, from: [{namespaces: {}}]}]`, 'HS1010 Pass'],
    ['BaselineAdminNetworkPolicy', `priority: 1, ${SUBJECT}`, 'HS1010 priority'],
    ['BaselineAdminNetworkPolicy', 'subject: {namespaces: {sameLabels: [a]}}', 'HS1010 [a]'],
  ];
  for (const [kind, spec, problem] of table) {
    const { policy, problems, unread } = read(kind, spec);
    assert.equal(policy, null, spec);
    assert.equal(unread, 1, spec);
    assert.ok(unplaced(problems[0] ?? '').startsWith(problem), `${spec}: ${problems.join('; ')}`);
  }
});

test('a baseline of another name than default is refused', () => {
  const text = `apiVersion: policy.networking.k8s.io/v1alpha1\nkind: BaselineAdminNetworkPolicy\nmetadata: {name: x}\nspec: {${SUBJECT}}`;
  assert.deepEqual(load(text).problems.map(line).map(unplaced), ['HS1010 x']);
});

test('namespaces by what they share with the subject’s are said not to be evaluated', () => {
  const same =
    'priority: 5, subject: {namespaces: {}}, ingress: [{action: Pass, from: [{namespaces: {sameLabels: [tenant]}}]}]';
  const { policy, problems } = read('AdminNetworkPolicy', same);
  assert.ok(policy);
  assert.deepEqual(problems.map(unplaced), ['HS1012 [tenant]']);
});
