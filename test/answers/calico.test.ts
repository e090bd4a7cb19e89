/** Policies of Calico, asked about: tiers, what is about hosts, what is not known, and several languages at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { annotate } from '../../dataplane/answers/annotate.js';
import { check } from '../../dataplane/answers/check.js';
import { hover } from '../../dataplane/answers/hover.js';
import { query, type Answer } from '../../dataplane/answers/query.js';
import { locate } from '../../dataplane/manifests/place.js';
import type { Settings } from '../../dataplane/settings.js';
import { Lab, pod, service, TWO_NODES } from '../lab.js';

const PODS = TWO_NODES + pod('a', '10.1.0.5', 'n1') + pod('b', '10.1.0.6', 'n1') + pod('c', '10.2.0.7', 'n2');

/** Where the first policy after the pods has its spec. */
const SPEC_LINE = PODS.split('\n').length + 3;

const calico = (kind: string, name: string, spec: string): string =>
  `apiVersion: projectcalico.org/v3\nkind: ${kind}\nmetadata: {name: ${name}}\nspec: {${spec}}\n---\n`;
const policy = (name: string, spec: string): string => calico('NetworkPolicy', name, spec);
const global = (name: string, spec: string): string => calico('GlobalNetworkPolicy', name, spec);

function ask(lab: Lab, from: string, to: string, port = 8080, protocol = 'TCP'): Answer {
  const icmp = protocol.startsWith('ICMP') ? { port: null, icmpType: port } : { port };
  const answered = query(lab.state, { from, to, protocol, sourcePort: null, node: null, http: null, ...icmp });
  assert.ok(!('error' in answered));
  return answered.answer;
}

/** `DENIED 133 {NetworkPolicy default/p isolates}`. */
function told({ verdict, reason, deciders }: Answer): string {
  const names = deciders.map(
    ({ kind, namespace, name, rule, effect }) => `${kind} ${namespace}/${name}${rule ? ` ${rule}` : ''} ${effect}`,
  );
  return `${verdict} ${reason?.code ?? null} {${names.join(', ')}}`;
}

const TIERS = calico('Tier', 'security', 'order: 100, defaultAction: Pass') + calico('Tier', 'strict', 'order: 200');

test('tiers come in their order, and end in what they say', () => {
  const lab = new Lab(
    PODS +
      TIERS +
      global(
        'sec',
        `tier: security, selector: app == 'b', ingress: [{action: Deny, source: {selector: "app == 'c'"}}, {action: Pass, source: {selector: "app == 'a'"}}]`,
      ) +
      global(
        'str',
        `tier: strict, selector: app == 'b', ingress: [{action: Pass, protocol: TCP, destination: {ports: [8080]}}]`,
      ) +
      policy('own', `selector: app == 'b', ingress: [{action: Allow, source: {selector: "app == 'a'"}}]`),
  );
  const [a, b, c] = ['default/a', 'default/b', 'default/c'];
  assert.equal(told(ask(lab, a, b)), 'ALLOWED null {NetworkPolicy default/own ingress[0] allows}');
  assert.equal(told(ask(lab, a, b, 80)), 'DENIED 133 {GlobalNetworkPolicy /str isolates}');
  assert.equal(told(ask(lab, c, b)), 'DENIED 181 {GlobalNetworkPolicy /sec ingress[0] denies}');
  assert.equal(told(ask(lab, 'ip:8.8.8.8', b)), 'DENIED 133 {NetworkPolicy default/own isolates}');
  assert.equal(told(ask(lab, 'node:n1', b, 80)), 'ALLOWED null {}', "the pod's own node");
});

test('ICMP by its type, and all but one protocol', () => {
  const lab = new Lab(
    PODS +
      policy(
        'p',
        `selector: app == 'b', ingress: [{action: Deny, protocol: ICMP, icmp: {type: 8}}, {action: Allow, notProtocol: UDP}]`,
      ),
  );
  assert.equal(
    told(ask(lab, 'default/a', 'default/b', 8, 'ICMP')),
    'DENIED 181 {NetworkPolicy default/p ingress[0] denies}',
  );
  assert.equal(
    told(ask(lab, 'default/a', 'default/b', 13, 'ICMP')),
    'ALLOWED null {NetworkPolicy default/p ingress[1] allows}',
  );
  assert.equal(told(ask(lab, 'default/a', 'default/b', 80, 'UDP')), 'DENIED 133 {NetworkPolicy default/p isolates}');
  assert.equal(ask(lab, 'default/a', 'default/b', 80, 'SCTP').verdict, 'ALLOWED');
});

test('a Service as a destination is its pods on their ports', () => {
  const lab = new Lab(
    PODS +
      service('c', '10.96.0.10', 80, 'web') +
      policy('p', `selector: app == 'a', egress: [{action: Allow, destination: {services: {name: c}}}]`),
  );
  assert.equal(ask(lab, 'default/a', 'svc:default/c', 80).verdict, 'ALLOWED');
  assert.equal(ask(lab, 'default/a', 'default/c', 80).verdict, 'DENIED');
  assert.equal(ask(lab, 'default/a', 'default/b', 8080).verdict, 'DENIED');
  const unknown = new Lab(
    PODS + policy('p', `selector: app == 'a', egress: [{action: Allow, destination: {services: {name: x}}}]`),
  );
  assert.equal(ask(unknown, 'default/a', 'default/c').verdict, 'UNKNOWN');
});

test('what is not known makes UNKNOWN of the flows that it has a say in', () => {
  const table: readonly (readonly [spec: string, depends: RegExp])[] = [
    [`tier: other, selector: app == 'b', ingress: [{action: Allow}]`, /Tier other, which is not in the manifests,/],
    [`selector: app == 'b', serviceAccountSelector: team == 'x', ingress: [{action: Allow}]`, /the label team/],
    [`selector: app == 'b', ingress: [{action: Allow, source: {selector: has(pcsa.team)}}]`, /the label pcsa.team/],
    [`selector: app == 'b', ingress: [{action: Allow, http: {methods: [GET]}}]`, /http/],
    [
      `selector: app == 'b', ingress: [{action: Allow, protocol: TCP, source: {ports: [80]}}]`,
      /the port that a packet comes from/,
    ],
    [
      `selector: app == 'b', ingress: [{action: Allow, protocol: TCP, destination: {notPorts: [web]}}]`,
      /a port by name, less others,/,
    ],
  ];
  for (const [spec, depends] of table) {
    const lab = new Lab(PODS + policy('p', spec));
    const answer = ask(lab, 'default/a', 'default/b');
    assert.equal(answer.verdict, 'UNKNOWN', spec);
    assert.match(answer.depends.join('; '), depends);
    assert.match(answer.depends.join('; '), /lab\.yaml:\d+: .* in NetworkPolicy p is not evaluated yet/);
    assert.equal(ask(lab, 'default/b', 'default/c').verdict, 'ALLOWED', spec);
    const [said, ...more] = check(lab.state, []).filter(({ code }) => code === 'HS1012');
    assert.deepEqual([more.length, said && locate(said.at).range.start.line], [0, SPEC_LINE], spec);
  }
});

test('a port that is none is no name either; ports less some are told from 1', () => {
  const ports = (list: string, name = 'ports'): Lab =>
    new Lab(
      PODS +
        policy(
          'p',
          `selector: app == 'b', ingress: [{action: Allow, protocol: TCP, destination: {${name}: [${list}]}}]`,
        ),
    );
  for (const wrong of ['-80', '80.5', 'true', '70000', '"90:80"']) {
    const [found] = check(ports(wrong).state, []);
    assert.match(found?.message ?? '', /is no port, range of ports or name of one\.$/, wrong);
    assert.equal(ask(ports(wrong), 'default/a', 'default/b').verdict, 'UNKNOWN');
  }
  const answer = ask(ports('81', 'notPorts'), 'default/a', 'default/b', 81);
  assert.equal(told(answer), 'DENIED 133 {NetworkPolicy default/p isolates}');
  assert.match(answer.hints.join(), /TCP 1-80, TCP 82-65535/);
});

test('as many ports as a list can hold are left out in no time', () => {
  const odd = Array.from({ length: 30000 }, (_, i) => 2 * i + 1).join();
  const lab = new Lab(
    PODS +
      policy(
        'p',
        `selector: app == 'b', ingress: [{action: Allow, protocol: TCP, destination: {ports: ["1:60000"], notPorts: [${odd}]}}]`,
      ),
  );
  const start = performance.now();
  assert.deepEqual(
    [80, 81].map((port) => ask(lab, 'default/a', 'default/b', port).verdict),
    ['ALLOWED', 'DENIED'],
  );
  assert.ok(performance.now() - start < 20_000);
});

test('policies about hosts are about no pod; with a host endpoint nothing is known', () => {
  const untracked = global('g', 'selector: all(), doNotTrack: true, applyOnForward: true, ingress: [{action: Deny}]');
  assert.equal(told(ask(new Lab(PODS + untracked), 'default/a', 'default/b')), 'ALLOWED null {}');
  const host = 'apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: h}\nspec: {node: n1}\n---\n';
  assert.equal(ask(new Lab(PODS + untracked + host), 'default/a', 'default/b').verdict, 'UNKNOWN');
  assert.match(
    ask(new Lab(PODS + untracked), 'default/a', 'node:n2').assumes.join('; '),
    /GlobalNetworkPolicy g is about host endpoints too, and there is none/,
  );
});

test('several languages at once: administrators’ tiers among those of Calico, and Cilium’s policies beside them', () => {
  const own = policy(
    'own',
    `selector: app == 'b', order: 5, ingress: [{action: Deny, source: {selector: "app == 'c'"}}]`,
  );
  const kubernetes =
    'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np}\nspec: {podSelector: {matchLabels: {app: b}}, ingress: [{from: [{podSelector: {}}]}]}\n---\n';
  const admin =
    'apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: adm}\nspec: {tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Accept, from: [{pods: {podSelector: {matchLabels: {app: c}}}}], protocols: [{tcp: {destinationPort: {number: 8080}}}]}]}\n---\n';
  const cilium =
    'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: cnp}\nspec: {endpointSelector: {matchLabels: {app: b}}, ingress: [{fromEndpoints: [{}], toPorts: [{ports: [{port: "8080"}]}]}]}\n---\n';
  const lab = new Lab(PODS + own + kubernetes + admin, { cni: 'calico-bgp' });
  assert.equal(told(ask(lab, 'default/c', 'default/b')), 'ALLOWED null {ClusterNetworkPolicy /adm ingress[0] allows}');
  assert.equal(
    told(ask(lab, 'default/c', 'default/b', 80)),
    'DENIED 181 {NetworkPolicy default/own ingress[0] denies}',
  );
  assert.equal(
    told(ask(lab, 'default/a', 'default/b', 80)),
    'ALLOWED null {NetworkPolicy default/np ingress[0] allows}',
  );
  const both = new Lab(PODS + own + cilium);
  assert.equal(told(ask(both, 'default/c', 'default/b')), 'DENIED 181 {NetworkPolicy default/own ingress[0] denies}');
  assert.equal(told(ask(both, 'default/a', 'default/b')), 'DENIED 133 {NetworkPolicy default/own isolates}');
});

test('an ipBlock is about pods too where the plug-in is Calico, unless a setting says otherwise', () => {
  const block =
    'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np}\nspec: {podSelector: {matchLabels: {app: b}}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}\n---\n';
  const verdict = (settings: Partial<Settings>): string =>
    ask(new Lab(PODS + block, settings), 'default/a', 'default/b').verdict;
  assert.equal(verdict({ cni: 'calico-bgp' }), 'ALLOWED');
  assert.equal(verdict({ cni: 'calico-bgp', ipBlockMatchesPods: false }), 'DENIED');
  assert.equal(verdict({ cni: 'cilium-native' }), 'DENIED');
  assert.equal(verdict({ cni: 'cilium-native', ipBlockMatchesPods: true }), 'ALLOWED');
});

test('the editor and check know them', () => {
  const text =
    PODS +
    policy('p', `selector: app == 'b', ingress: [{action: Allow, source: {selector: "app == 'a'"}}, {action: Pass}]`);
  const lab = new Lab(text, { cni: 'calico-bgp' });
  // What is passed on, profiles let.
  assert.deepEqual(
    check(lab.state, []).map(({ code, message }) => `${code} ${message.split(':')[0]!}`),
    ['HS3011 `default/p ingress[0]` is redundant'],
  );
  assert.deepEqual(
    annotate(lab.state, 'lab.yaml').inlays.map(({ text: inlay }) => inlay),
    ['→ 1 pod', '→ 1 pod', 'passes all on'],
  );
  const at = text.slice(0, text.indexOf('{action: Allow')).split('\n');
  const card = hover(lab.state, 'lab.yaml', { line: at.length, column: at.at(-1)!.length + 2 });
  assert.match(JSON.stringify(card?.lines), /default\/a/);
  const wrong = new Lab(PODS + policy('p', `selector: "app == 'bb'"`), { cni: 'calico-bgp' });
  assert.deepEqual(
    check(wrong.state, []).map(({ code, message }) => `${code} ${message}`),
    ['HS3001 Policy `p` selects no pod: none in namespace `default` matches `"app == \'bb\'"`.'],
  );
});
