/** Policies of Calico as they are read: every published shape without a problem, and nothing looser than it was written. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holds, parseExpression } from '../../dataplane/manifests/selector-expressions.js';
import { line, load } from './reading.js';

function read(
  kind: string,
  spec: string,
  version = 'projectcalico.org/v3',
): { kinds: string[]; problems: string[]; unread: number } {
  const manifests = load(`apiVersion: ${version}\nkind: ${kind}\nmetadata: {name: p}\nspec: {${spec}}\n`);
  return {
    kinds: manifests.objects.map((object) => object.kind),
    problems: manifests.problems.map(line),
    unread: manifests.unread.length,
  };
}

const rule = (fields: string): string => `selector: all(), ingress: [{action: Allow, ${fields}}]`;

/** The shapes that Calico's documentation shows. */
const PUBLISHED: readonly (readonly [kind: string, spec: string, as: string])[] = [
  [
    'NetworkPolicy',
    `tier: internal-access, selector: role == 'database', types: [Ingress, Egress], ingress: [{action: Allow, metadata: {annotations: {from: frontend, to: database}}, protocol: TCP, source: {selector: role == 'frontend'}, destination: {ports: [6379]}}], egress: [{action: Allow}]`,
    'CalicoPolicy',
  ],
  [
    'GlobalNetworkPolicy',
    `order: 10, selector: role == 'database', namespaceSelector: "projectcalico.org/name not in {'kube-system'}", types: [Egress], egress: [{action: Deny, destination: {notNets: [10.0.0.0/8], nets: [0.0.0.0/0, "2002::/16", 1.2.3.4]}}, {action: Log}, {action: Pass}]`,
    'CalicoPolicy',
  ],
  ['NetworkPolicy', `types: [Ingress, Egress]`, 'CalicoPolicy'],
  ['NetworkPolicy', rule(`protocol: ICMP, icmp: {type: 8}, notICMP: {type: 4}`), 'CalicoPolicy'],
  ['NetworkPolicy', rule(`notProtocol: UDPLite, ipVersion: 4`), 'CalicoPolicy'],
  [
    'NetworkPolicy',
    rule(
      `protocol: 6, source: {serviceAccounts: {names: [a, b]}, namespaceSelector: global()}, destination: {ports: [80, "6040:6050", http], notPorts: [81]}`,
    ),
    'CalicoPolicy',
  ],
  [
    'NetworkPolicy',
    `selector: color == 'red', egress: [{action: Allow, destination: {services: {name: api, namespace: shop}}}]`,
    'CalicoPolicy',
  ],
  [
    'GlobalNetworkPolicy',
    `selector: "host == 'a'", preDNAT: true, applyOnForward: true, ingress: [{action: Deny, source: {nets: [10.0.0.0/8]}}]`,
    'CalicoPolicy',
  ],
  [
    'GlobalNetworkPolicy',
    `selector: all(), serviceAccountSelector: projectcalico.org/name == 'default', doNotTrack: true, applyOnForward: true`,
    'CalicoPolicy',
  ],
  ['Tier', 'order: 100, defaultAction: Pass', 'Tier'],
  ['NetworkSet', 'nets: [198.51.100.0/28, 203.0.113.0/24]', 'NetworkSet'],
  ['GlobalNetworkSet', 'nets: [198.51.100.0/28, "2001:db8::/32", 1.2.3.4]', 'GlobalNetworkSet'],
];

test('what the documentation shows is read without a problem, from either group', () => {
  for (const [kind, spec, as] of PUBLISHED)
    for (const version of ['projectcalico.org/v3', 'crd.projectcalico.org/v1'])
      assert.deepEqual(read(kind, spec, version), { kinds: [as], problems: [], unread: 0 }, spec);
});

test('what is only staged decides nothing', () => {
  for (const kind of ['StagedNetworkPolicy', 'StagedGlobalNetworkPolicy', 'StagedKubernetesNetworkPolicy'])
    assert.deepEqual(read(kind, 'selector: nonsense'), { kinds: [], problems: [], unread: 0 });
});

const unplaced = (problem: string): string => problem.replace(/ \d+:\d+/, '');

test('whatever is refused leaves the whole policy unread, at its place', () => {
  const table: readonly (readonly [spec: string, problem: string])[] = [
    ['selector: "app = web"', 'HS1010 "app = web"'],
    ['seletor: all()', 'HS1010 seletor'],
    ['namespaceSelector: all()', 'HS1010 namespaceSelector'],
    ['types: [In]', 'HS1010 In'],
    ['order: first', 'HS1008 first'],
    ['ingress: [{}]', 'HS1009'],
    ['ingress: [{action: Accept}]', 'HS1010 Accept'],
    [rule('protocol: TPC'), 'HS1010 TPC'],
    [rule('protocol: 256'), 'HS1010 256'],
    [rule('destination: {ports: [80]}'), 'HS1010 [80]'],
    [rule('protocol: TCP, destination: {ports: [80 to 90]}'), 'HS1010 80 to 90'],
    [rule('protocol: TCP, destination: {ports: ["90:80"]}'), 'HS1010 "90:80"'],
    [rule('source: {nets: [10.0.0.0/33]}'), 'HS1010 10.0.0.0/33'],
    [rule('source: {selector: "has(a"}'), 'HS1010 "has(a"'],
    [rule('destination: {services: {name: a}, ports: [80]}, protocol: TCP'), 'HS1010 [80]'],
    [rule('protocol: TCP, icmp: {type: 8}'), 'HS1010'],
    [rule('ipVersion: 5'), 'HS1010 5'],
  ];
  for (const [spec, problem] of table) {
    const { kinds, problems, unread } = read('NetworkPolicy', spec);
    assert.deepEqual([kinds, unread], [[], 1], spec);
    assert.ok(unplaced(problems[0] ?? '').startsWith(problem), `${spec}: ${problems.join('; ')}`);
  }
});

test('what is not evaluated is said at its place, and the policy stays', () => {
  const table: readonly (readonly [spec: string, problem: string])[] = [
    [rule('destination: {domains: [a.example]}'), 'HS1012 [a.example]'],
    [rule('http: {methods: [GET]}'), 'HS1012 {methods: [GET]}'],
    [rule('protocol: TCP, source: {ports: [80]}'), 'HS1012 {ports: [80]}'],
    [rule('protocol: ICMP, icmp: {type: 3, code: 4}'), 'HS1012 4'],
  ];
  for (const [spec, problem] of table) {
    const { kinds, problems } = read('NetworkPolicy', spec);
    assert.deepEqual([kinds, problems.map(unplaced)], [['CalicoPolicy'], [problem]], spec);
  }
});

test('selectors', () => {
  const labels = new Map([
    ['app', 'web'],
    ['tier', ''],
    ['a.b/c-d_e', 'x y'],
  ]);
  const table: readonly (readonly [text: string, matches: boolean | null])[] = [
    ['', true],
    ['  ', true],
    ['all()', true],
    ['global()', false],
    ['app == "web"', true],
    ["app=='web'", true],
    ["app != 'db'", true],
    ["none != 'db'", true],
    ["none == ''", false],
    ["tier == ''", true],
    ['has(app)', true],
    ['!has(app)', false],
    ['! ! has( app )', true],
    ['has(none) || has(app)', true],
    ["app in {'db', 'web'}", true],
    ["app in{'db'}", false],
    ['app in {}', false],
    ["app not in {'db'}", true],
    ["none notin {'db'}", true],
    ["app contains 'e'", true],
    ["none contains ''", false],
    ["app starts with 'we'", true],
    ["app ends with 'b'", true],
    ["a.b/c-d_e == 'x y'", true],
    ["has(none) && has(app) || app == 'web'", true],
    ["has(none) && (has(app) || app == 'web')", false],
    ["!(has(app) && app == 'db')", true],
    ["in == 'x'", false],
    ['app', null],
    ['app = "web"', null],
    ['app == web', null],
    ["app == 'web' &&", null],
    ["(app == 'web'", null],
    ['all() all()', null],
    ["app in {'a' 'b'}", null],
    ['app == \'web"', null],
    [`${'('.repeat(1000)}all()${')'.repeat(1000)}`, null],
  ];
  for (const [text, matches] of table) {
    const expression = parseExpression(text);
    assert.equal(expression && holds(expression, labels, false), matches, text);
  }
});
