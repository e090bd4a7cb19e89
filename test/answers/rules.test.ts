/** HS3010–HS3014: rules that cannot matter, what covers them, and a packet that shows it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../dataplane/answers/check.js';
import { locate } from '../../dataplane/manifests/place.js';
import type { Problem } from '../../dataplane/problems.js';
import { DEFAULT_SETTINGS, type Settings } from '../../dataplane/settings.js';
import { Engine } from '../../dataplane/state.js';
import { modules } from '../datapath.js';

const CODES = /^HS301[0-4]$/;

function checked(documents: readonly string[], settings: Partial<Settings> = {}): Problem[] {
  const engine = new Engine(modules.trace, { ...DEFAULT_SETTINGS, ...settings });
  engine.manifests.set('a.yaml', documents.join('\n---\n'));
  return check(engine.current, []).filter(({ code }) => CODES.test(code));
}

const shown = ({ source, start, end }: Problem['at']): string => source.text.slice(start, end);

/** `HS3011 13: message < 20, 27`: the code, its line, and the lines of what is related. */
function lines(documents: readonly string[], settings: Partial<Settings> = {}): string[] {
  const lineOf = ({ at }: { at: Problem['at'] }): number => locate(at).range.start.line;
  return checked(documents, settings).map((found) =>
    [
      `${found.code} ${lineOf(found)}: ${found.message}`,
      ...(found.related.length > 0 ? [found.related.map(lineOf).join(', ')] : []),
    ].join(' < '),
  );
}

const pod = (name: string, ip: string): string =>
  `{apiVersion: v1, kind: Pod, metadata: {name: ${name}, namespace: shop, labels: {app: ${name}}}, spec: {containers: [{name: c, ports: [{containerPort: 80, name: http}]}]}, status: {podIP: ${ip}}}`;
const PODS = [pod('web', '10.244.0.5'), pod('db', '10.244.1.5'), pod('job', '10.244.1.6')];

const policy = (name: string, spec: string): string => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: ${name}, namespace: shop}
spec:
  ${spec.trim().split('\n').join('\n  ')}`;

const cilium = (name: string, spec: string): string => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: ${name}, namespace: shop}
spec:
  ${spec.trim().split('\n').join('\n  ')}`;

const DB = 'podSelector: {matchLabels: {app: db}}';
const FROM_WEB = `${DB}\ningress:\n- from: [{podSelector: {matchLabels: {app: web}}}]\n  ports: [{port: 80}]`;

test('HS3011: another rule lets all that a rule lets', () => {
  assert.deepEqual(lines([...PODS, policy('narrow', FROM_WEB), policy('wide', `${DB}\ningress:\n- from: []`)]), [
    'HS3011 13: `shop/narrow ingress[0]` is redundant: `shop/wide ingress[0]` lets what it lets, such as TCP 80 from `shop/web[Pod]` to `shop/db[Pod]`. < 22',
  ]);
});

test('HS3011: two rules that say the same are each redundant, and each names the other', () => {
  assert.deepEqual(
    checked([...PODS, policy('one', FROM_WEB), policy('two', FROM_WEB)]).map(({ code, related }) => [
      code,
      related.map(({ at }) => locate(at).range.start.line),
    ]),
    [
      ['HS3011', [22]],
      ['HS3011', [13]],
    ],
  );
});

test('HS3011: several rules may cover one together', () => {
  const parts = `${DB}\ningress:\n- ports: [{port: 1, endPort: 99}]\n- ports: [{port: 100, endPort: 65535}]\n- ports: [{port: 90, endPort: 110}]`;
  assert.deepEqual(lines([...PODS, policy('p', parts)]), [
    'HS3011 15: `shop/p ingress[2]` is redundant: `shop/p ingress[0]` and `shop/p ingress[1]` let what it lets, such as TCP 90 from `shop/job[Pod]` to `shop/db[Pod]`. < 13, 14',
  ]);
});

test('HS3011: nothing is refused where no policy isolates', () => {
  const open =
    'endpointSelector: {matchLabels: {app: db}}\nenableDefaultDeny: {ingress: false}\ningress:\n- fromEntities: [world]';
  assert.match(lines([...PODS, cilium('open', open)])[0]!, /is redundant: nothing isolates these pods, such as/);
});

test('HS3011: the own node is let in anyway; where it need not be, the rule matters', () => {
  const node =
    'endpointSelector: {matchLabels: {app: db}}\ningress:\n- fromEntities: [host]\n- fromEndpoints: [{matchLabels: {app: web}}]';
  assert.match(lines([...PODS, cilium('node', node)]).join('\n'), /^HS3011 13: .* pods let their own node in anyway/);
  assert.deepEqual(lines([...PODS, cilium('node', node)], { allowLocalhost: 'policy' }), []);
});

test('a rule that alone isolates the pods is not redundant, however much others let', () => {
  const egress = (types: string): string => `${DB}\n${types}\negress:\n- {}`;
  // Without its only rule the policy is about ingress alone, so that everything gets out: as before.
  assert.deepEqual(lines([...PODS, policy('p', egress(''))]).length, 1);
  assert.deepEqual(lines([...PODS, policy('p', egress('policyTypes: [Egress]'))]), []);
  const narrow = `${DB}\negress:\n- to: [{podSelector: {matchLabels: {app: web}}}]`;
  assert.deepEqual(lines([...PODS, policy('p', narrow)]), []);
});

test('HS3010: rules that deny cover all that a rule lets', () => {
  const denies =
    'endpointSelector: {matchLabels: {app: db}}\ningressDeny:\n- fromEndpoints: [{}]\n  toPorts: [{ports: [{port: "80", protocol: TCP}]}]';
  assert.deepEqual(lines([...PODS, policy('lets', FROM_WEB), cilium('denies', denies)]), [
    'HS3010 13: `shop/lets ingress[0]` lets nothing: `shop/denies ingressDeny[0]` refuses what it lets, such as TCP 80 from `shop/web[Pod]` to `shop/db[Pod]`. < 22',
  ]);
  const other = denies.replace('"80"', '"81"');
  assert.deepEqual(lines([...PODS, policy('lets', FROM_WEB), cilium('denies', other)]), [
    'HS3011 22: `shop/denies ingressDeny[0]` is redundant: no rule lets what it refuses, such as TCP 81 from `shop/job[Pod]` to `shop/db[Pod]`.',
  ]);
});

test('HS3012: the other end refuses all that a rule lets', () => {
  const closed = 'podSelector: {matchLabels: {app: web}}\npolicyTypes: [Egress]';
  assert.deepEqual(lines([...PODS, policy('db', FROM_WEB), policy('closed', closed)]), [
    'HS3012 13: `shop/db ingress[0]` lets nothing: nobody may send what it lets in, such as TCP 80 from `shop/web[Pod]` to `shop/db[Pod]`. < 18',
  ]);
});

test('HS3013: an address of the cluster itself is no peer', () => {
  const from = (cidr: string): string => policy('p', `${DB}\ningress:\n- from: [{ipBlock: {cidr: ${cidr}}}]`);
  const [found] = checked([...PODS, from('10.244.0.5/32')]);
  assert.deepEqual([found!.code, shown(found!.at)], ['HS3013', '{ipBlock: {cidr: 10.244.0.5/32}}']);
  assert.match(found!.message, /`10\.244\.0\.5`: it is that of pod `shop\/web`, which policies know by its labels/);
  assert.deepEqual(lines([...PODS, from('10.244.0.5/32')], { ipBlockMatchesPods: true }), []);
  assert.deepEqual(lines([...PODS, from('10.244.0.7/32')]), []);
  assert.deepEqual(lines([...PODS, from('203.0.113.9/32')]), []);
});

test('HS3014: where there are too many rules, those that were not looked at are named', () => {
  const apps = Array.from({ length: 64 }, (_, i) => `a${i}`);
  const rules = apps.map((app) => `- from: [{podSelector: {matchLabels: {app: ${app}}}}]\n  ports: [{port: 80}]`);
  const twice = ['x', 'y'].map((name) => policy(name, `podSelector: {}\ningress:\n${rules.join('\n')}`));
  const found = checked([...apps.map((app, i) => pod(app, `10.244.${i & 1}.${i + 1}`)), ...twice]);
  const [untried, ...more] = found.filter(({ code }) => code === 'HS3014');
  assert.equal(more.length, 0);
  const [, number] = /without (\d+) rules would take too long/.exec(untried!.message) ?? [];
  assert.equal(Number(number) + found.length - 1, 128, 'each rule is redundant, or was left out');
  assert.match(untried!.message, /Left out: `shop\/[xy] ingress\[\d+\]`, .* and `shop\/y ingress\[63\]`\.$/);
});

test('nothing is said of what is not all there', () => {
  const wide = policy('wide', `${DB}\ningress:\n- from: []`);
  const one = 'podSelector: {matchLabels: {app: db}}\ningress:\n- from: [{podSelector: {matchLabels: {app: db}}}]';
  const table: [string, string[]][] = [
    ['a pod that could not be read may be one of the peers', ['kind: Pod\nspec: {{ .Values.spec }}']],
    [
      'a policy that could not be read may deny',
      ['kind: CiliumNetworkPolicy\nmetadata: {namespace: shop}\nspec: {{ .Values.spec }}'],
    ],
  ];
  for (const [why, more] of table)
    assert.deepEqual(lines([...PODS, policy('narrow', FROM_WEB), wide, ...more]), [], why);
  assert.deepEqual(lines([...PODS, policy('members', one)]), [], 'the only pod may be one of several tomorrow');
  assert.deepEqual(lines([...PODS, policy('web', 'podSelector: {matchLabels: {app: gone}}\ningress:\n- {}')]), []);
  const audit = { policyAuditMode: true };
  assert.deepEqual(lines([...PODS, policy('narrow', FROM_WEB), wide], audit), [], 'policies that are only tried out');
});

test('what a proxy is asked about is not covered by a rule that has other questions', () => {
  const rule = (path: string): string =>
    `- fromEndpoints: [{}]\n  toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{path: ${path}}]}}]`;
  const asks = `endpointSelector: {matchLabels: {app: db}}\ningress:\n${rule('/a')}\n${rule('/b')}`;
  assert.deepEqual(lines([...PODS, cilium('asks', asks)]), []);
  assert.match(
    lines([...PODS, cilium('asks', `${asks}\n- fromEndpoints: [{}]`)]).join('\n'),
    /^HS3011 13: .* `shop\/asks ingress\[2\]`/,
  );
});
