/** Policies of Cilium, asked about: layer 7, names of the world, what denies, what is not evaluated, and how the editor shows them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { annotate } from '../../dataplane/answers/annotate.js';
import { check } from '../../dataplane/answers/check.js';
import { hover } from '../../dataplane/answers/hover.js';
import { maps } from '../../dataplane/answers/maps.js';
import { query, type Answer } from '../../dataplane/answers/query.js';
import { reach } from '../../dataplane/answers/reach.js';
import { locate } from '../../dataplane/manifests/place.js';
import { Lab, pod, service, TWO_NODES } from '../lab.js';

const PODS = TWO_NODES + pod('a', '10.1.0.5', 'n1') + pod('b', '10.1.0.6', 'n1') + pod('c', '10.2.0.7', 'n2');
const DNS =
  'apiVersion: v1\nkind: Pod\nmetadata: {name: dns, namespace: kube-system, labels: {k8s-app: kube-dns}}\nspec: {nodeName: n2, containers: [{name: c, ports: [{containerPort: 53, protocol: UDP}]}]}\nstatus: {podIP: 10.2.0.53}\n---\n';

const cnp = (name: string, spec: string): string =>
  `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: ${name}}\nspec: {${spec}}\n---\n`;
const about = (app: string): string => `endpointSelector: {matchLabels: {app: ${app}}}`;

function ask(lab: Lab, from: string, to: string, port = 8080, http: unknown = null): Answer {
  const answered = query(lab.state, { from, to, protocol: 'TCP', port, sourcePort: null, node: null, http });
  assert.ok(!('error' in answered));
  return answered.answer;
}

/** `DENIED ingress 133 403 {default/p ingress[0] denies}`. */
function told({ verdict, direction, reason, http, deciders }: Answer): string {
  const names = deciders.map(
    ({ namespace, name, rule, effect }) => `${namespace}/${name}${rule ? ` ${rule}` : ''} ${effect}`,
  );
  return `${verdict} ${direction} ${reason?.code ?? null} ${http?.status ?? null} {${names.join(', ')}}`;
}

const L7 = cnp(
  'p',
  `${about('b')}, ingress: [{fromEndpoints: [{matchLabels: {app: a}}], toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET, path: "/public/.*"}, {path: /private, headers: ["X-Token: 42"]}]}}]}]`,
);

test('a request is let by one of the rules, or refused by the proxy, once its connection is let', () => {
  const lab = new Lab(PODS + L7);
  const [a, b, c] = ['default/a', 'default/b', 'default/c'];
  assert.equal(
    told(ask(lab, a, b, 8080, { method: 'GET', path: '/public/x' })),
    'ALLOWED null null 200 {default/p ingress[0] allows}',
  );
  assert.equal(
    told(ask(lab, a, b, 8080, 'GET host.test/public/x')),
    'ALLOWED null null 200 {default/p ingress[0] allows}',
  );
  const refused = 'DENIED ingress 133 403 {default/p ingress[0] denies}';
  assert.equal(told(ask(lab, a, b, 8080, { method: 'POST', path: '/public/x' })), refused);
  assert.equal(told(ask(lab, a, b, 8080, { path: '/private' })), refused);
  assert.equal(told(ask(lab, a, b, 8080, { path: '/private', headers: { 'x-token': '43' } })), refused);
  assert.equal(ask(lab, a, b, 8080, { path: '/private', headers: { 'x-token': '42' } }).http?.status, 200);
  assert.equal(told(ask(lab, c, b, 8080, { path: '/public/x' })), 'DENIED ingress 133 null {default/p isolates}');
  assert.equal(told(ask(lab, a, b, 8081, { path: '/public/x' })), 'DENIED ingress 133 null {default/p isolates}');
  const untold = ask(lab, a, b);
  assert.equal(untold.verdict, 'CONDITIONAL');
  assert.match(untold.depends.join(), /the HTTP request: default\/p ingress\[0\] \(lab\.yaml:\d+\) lets some/);
  assert.equal(ask(lab, 'node:n1', b, 8080, { path: '/x' }).verdict, 'ALLOWED', "the pod's own node");
});

test('a rule without layer 7 lets every request; without default deny the proxy refuses all the same', () => {
  const plain = cnp('q', `${about('b')}, ingress: [{toPorts: [{ports: [{port: "8080"}]}]}]`);
  assert.equal(ask(new Lab(PODS + L7 + plain), 'default/a', 'default/b', 8080, { path: '/x' }).verdict, 'ALLOWED');
  const open = new Lab(PODS + L7.replace('ingress: [', 'enableDefaultDeny: {ingress: false}, ingress: ['));
  assert.equal(ask(open, 'default/c', 'default/b').verdict, 'ALLOWED');
  assert.equal(ask(open, 'default/a', 'default/b', 8080, { path: '/x' }).http?.status, 403);
});

const NAMES = `{toFQDNs: [{matchName: api.example.com}, {matchPattern: "*.example.org"}], toPorts: [{ports: [{port: "443"}]}]}`;
const lookups = (rules: string): string =>
  `{toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": kube-system, k8s-app: kube-dns}}], toPorts: [{ports: [{port: "53", protocol: ANY}]${rules}}]}`;

test('a name is let where a rule knows it, and the DNS proxy sees it asked for', () => {
  const lab = (rules: string, dns = DNS): Lab =>
    new Lab(PODS + dns + cnp('p', `${about('a')}, egress: [${lookups(rules)}, ${NAMES}]`));
  const every = lab(', rules: {dns: [{matchPattern: "*"}]}');
  const answer = ask(every, 'default/a', 'dns:api.example.com', 443);
  assert.equal(told(answer), 'ALLOWED null null null {default/p egress[1] allows}');
  assert.match(
    answer.assumes.join(),
    /dns:api\.example\.com has the address 2\d\d\.[\d.]+: none that a policy's prefix holds/,
  );
  assert.equal(ask(every, 'default/a', 'dns:cdn.example.org', 443).verdict, 'ALLOWED');
  assert.equal(ask(every, 'default/a', 'dns:example.org', 443).verdict, 'DENIED');
  assert.equal(ask(every, 'default/a', 'dns:api.example.com', 80).verdict, 'DENIED');
  assert.equal(ask(every, 'default/a', 'ip:192.0.2.1', 443).verdict, 'DENIED');

  const unseen = ask(lab(''), 'default/a', 'dns:api.example.com', 443);
  assert.equal(unseen.verdict, 'DENIED', 'asked for, and not through the proxy');
  assert.match(unseen.hints[0]!, /toFQDNs knows api\.example\.com only once the DNS proxy sees it/);
  const some = lab(', rules: {dns: [{matchName: api.example.com}]}');
  assert.equal(ask(some, 'default/a', 'dns:api.example.com', 443).verdict, 'ALLOWED');
  const other = ask(some, 'default/a', 'dns:cdn.example.org', 443);
  assert.equal(told(other), 'DENIED egress 133 null {default/p egress[0] denies}');
  assert.match(other.hints[0]!, /cdn\.example\.org cannot be looked up/);
  assert.equal(
    ask(lab(', rules: {dns: [{matchPattern: "*"}]}', ''), 'default/a', 'dns:api.example.com', 443).verdict,
    'ALLOWED',
    'a DNS that the manifests do not hold',
  );
});

test('what denies is named with its rule and line, whatever allows', () => {
  const lab = new Lab(
    PODS +
      cnp('open', 'endpointSelector: {}, ingress: [{fromEntities: [all]}], egress: [{toEntities: [all]}]') +
      cnp(
        'shut',
        `${about('b')}, ingressDeny: [{fromEndpoints: [{matchLabels: {app: c}}]}, {toPorts: [{ports: [{port: "9000", endPort: 9100}]}]}]`,
      ),
  );
  const answer = ask(lab, 'default/c', 'default/b');
  assert.equal(told(answer), 'DENIED ingress 181 null {default/shut ingressDeny[0] denies}');
  assert.equal(
    answer.deciders[0]!.line,
    lab.engine.manifests
      .text('lab.yaml')!
      .split('\n')
      .findIndex((text) => text.includes('ingressDeny')) + 1,
  );
  assert.equal(
    told(ask(lab, 'default/a', 'default/b', 9050)),
    'DENIED ingress 181 null {default/shut ingressDeny[1] denies}',
  );
  assert.equal(ask(lab, 'default/a', 'default/b', 9101).verdict, 'ALLOWED');
  const found = reach(lab.state, { from: null, to: 'default/b', protocol: 'TCP' });
  assert.ok(!('error' in found));
  const ranges = found.connections
    .map(({ from, ports }) => `${from} ${ports[0]!.ranges.join(' ')}`)
    .filter((text) => text.startsWith('default/'));
  assert.deepEqual(ranges, ['default/a[Pod] 1,8999 9101,65535']);
});

test('a policy of the whole cluster is about pods of every namespace, and names them alike', () => {
  const wide = `apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: w}\nspec: {${about('b')}, ingress: [{fromEndpoints: [{}]}]}\n`;
  const lab = new Lab(PODS + DNS + wide);
  assert.equal(told(ask(lab, 'kube-system/dns', 'default/b')), 'ALLOWED null null null {/w ingress[0] allows}');
  assert.equal(told(ask(lab, 'ip:192.0.2.1', 'default/b')), 'DENIED ingress 133 null {/w isolates}');
});

test('a Service stands for its pods, and for the addresses behind one without a selector', () => {
  const outside =
    'apiVersion: v1\nkind: Service\nmetadata: {name: ext}\nspec: {ports: [{port: 443}]}\n---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: ext}\nsubsets: [{addresses: [{ip: 192.0.2.9}], ports: [{port: 443}]}]\n---\n';
  const lab = new Lab(
    PODS +
      service('b', '10.96.0.20', 80, 8080) +
      outside +
      cnp(
        'p',
        `${about('a')}, egress: [{toServices: [{k8sService: {serviceName: b, namespace: default}}, {k8sService: {serviceName: ext}}]}]`,
      ),
  );
  assert.equal(ask(lab, 'default/a', 'svc:default/b', 80).verdict, 'ALLOWED');
  assert.equal(ask(lab, 'default/a', 'default/c').verdict, 'DENIED');
  assert.equal(ask(lab, 'default/a', 'ip:192.0.2.9', 443).verdict, 'ALLOWED');
  assert.equal(ask(lab, 'default/a', 'ip:192.0.2.8', 443).verdict, 'DENIED');
});

test('whom a rule asks to have authenticated is refused as long as nobody has', () => {
  const asked = (...rules: string[]): Lab => new Lab(PODS + cnp('p', `${about('b')}, ingress: [${rules.join(', ')}]`));
  const from = 'fromEndpoints: [{matchLabels: {app: a}}]';
  const port = 'toPorts: [{ports: [{port: "8080", protocol: TCP}]}]';
  const required = `{${from}, authentication: {mode: required}}`;
  const refused = (rule: number): string => `DENIED ingress 189 null {default/p ingress[${rule}] denies}`;

  const answer = ask(asked(required), 'default/a', 'default/b');
  assert.equal(told(answer), refused(0));
  assert.match(answer.assumes.join(), /no two identities have authenticated yet/);
  assert.equal(
    told(ask(asked(`{${from}, authentication: {mode: test-always-fail}}`), 'default/a', 'default/b')),
    refused(0),
  );
  assert.equal(ask(asked(`{${from}, authentication: {mode: disabled}}`), 'default/a', 'default/b').verdict, 'ALLOWED');
  // A part of the traffic asks for what the whole asks for, unless it says otherwise.
  assert.equal(told(ask(asked(`{${from}, ${port}}`, required), 'default/a', 'default/b')), refused(1));
  const apart = asked(`{${from}, ${port}, authentication: {mode: disabled}}`, required);
  assert.equal(ask(apart, 'default/a', 'default/b', 8080).verdict, 'ALLOWED');
  assert.equal(told(ask(apart, 'default/a', 'default/b', 8081)), refused(1));
});

test('a policy about nodes holds for those it selects, where nodes have a firewall', () => {
  const yaml =
    PODS.replace('metadata: {name: n1}', 'metadata: {name: n1, labels: {role: edge}}') +
    cnp(
      'p',
      'nodeSelector: {matchLabels: {role: edge}}, ingress: [{fromEndpoints: [{matchLabels: {app: a}}], toPorts: [{ports: [{port: "22", protocol: TCP}]}]}], egress: [{toEntities: [world]}]',
    ).replace('CiliumNetworkPolicy', 'CiliumClusterwideNetworkPolicy');
  const lab = new Lab(yaml, { hostFirewall: true });
  assert.equal(told(ask(lab, 'default/a', 'node:n1', 22)), 'ALLOWED null null null {/p ingress[0] allows}');
  assert.equal(told(ask(lab, 'default/a', 'node:n1', 23)), 'DENIED ingress 133 null {/p isolates}');
  assert.equal(told(ask(lab, 'default/c', 'node:n1', 22)), 'DENIED ingress 133 null {/p isolates}');
  assert.equal(told(ask(lab, 'default/a', 'node:n2', 23)), 'ALLOWED null null null {}');
  assert.equal(told(ask(lab, 'node:n1', 'default/c', 8080)), 'DENIED egress 133 null {/p isolates}');
  assert.equal(told(ask(lab, 'node:n1', 'ip:192.0.2.1', 443)), 'ALLOWED null null null {/p egress[0] allows}');
  assert.deepEqual(check(lab.state, []), []);

  const without = ask(new Lab(yaml), 'default/c', 'node:n1', 22);
  assert.equal(without.verdict, 'ALLOWED');
  assert.match(
    without.assumes.join(),
    /lab\.yaml:\d+: CiliumClusterwideNetworkPolicy p is about nodes, and hostFirewall is off/,
  );
});

test('what is not evaluated makes UNKNOWN of the flows that it has a say in, and of no others', () => {
  const table: readonly (readonly [policy: string, from: string, to: string, depends: RegExp | null])[] = [
    [cnp('p', `${about('b')}, ingress: [{fromNodes: [{}]}]`), 'default/a', 'default/b', /fromNodes/],
    [cnp('p', `${about('b')}, egress: [{toGroups: [{}]}]`), 'default/a', 'default/b', null],
    [cnp('p', `${about('b')}, egress: [{toGroups: [{}]}]`), 'default/b', 'default/a', /toGroups/],
    [
      cnp('p', `${about('b')}, ingress: [{fromCIDRSet: [{cidrGroupRef: gone}]}]`),
      'ip:192.0.2.1',
      'default/b',
      /CiliumCIDRGroup gone, which is not in the manifests/,
    ],
    [
      cnp('p', `${about('a')}, egress: [{toEntities: [world], toPorts: [{ports: [{port: web}]}]}]`),
      'default/a',
      'default/b',
      /a port by name of what may be no pod/,
    ],
    [
      cnp('p', `${about('a')}, egress: [{toEndpoints: [{matchLabels: {"cidr:192.0.2.0/24": ""}}]}]`),
      'default/a',
      'ip:192.0.2.1',
      /the label cidr:192\.0\.2\.0\/24/,
    ],
    [
      cnp('p', `${about('a')}, egress: [{toEntities: [kube-apiserver]}]`),
      'default/a',
      'node:n2',
      /which node runs the kube-apiserver/,
    ],
    [cnp('p', `${about('a')}, egress: [{toEntities: [kube-apiserver]}]`), 'default/a', 'default/b', null],
    [
      cnp('p', `${about('b')}, ingressDeny: [{fromCIDRSet: [{cidrGroupSelector: {}}]}]`),
      'ip:192.0.2.1',
      'default/b',
      /CiliumCIDRGroup with these labels, which is not in the manifests/,
    ],
    [
      cnp('p', `${about('a')}, egress: [{toServices: [{k8sService: {serviceName: gone}}]}]`),
      'default/a',
      'default/b',
      /Service gone, which is not in the manifests/,
    ],
    [cnp('p', `${about('b')}, ingres: [{}]`), 'default/a', 'default/b', /CiliumNetworkPolicy p could not be read/],
  ];
  for (const [policy, from, to, depends] of table) {
    const answer = ask(new Lab(PODS + policy), from, to);
    assert.equal(answer.verdict === 'UNKNOWN', depends !== null, `${policy} ${JSON.stringify(answer)}`);
    if (depends) assert.match(answer.depends.join(), depends);
  }
  const found = reach(new Lab(PODS + table[0]![0]).state, { from: null, to: null, protocol: null });
  assert.ok(!('error' in found));
  assert.deepEqual(
    found.unknown.map(({ ref }) => ref),
    ['default/b[Pod]'],
  );
});

test('a node is the host to its own pods, and a remote node to others', () => {
  const lab = (entity: string): Lab => new Lab(PODS + cnp('p', `${about('a')}, egress: [{toEntities: [${entity}]}]`));
  const verdicts = (entity: string): string[] =>
    ['node:n1', 'node:n2'].map((node) => ask(lab(entity), 'default/a', node).verdict);
  assert.deepEqual(verdicts('host'), ['ALLOWED', 'DENIED']);
  assert.deepEqual(verdicts('remote-node'), ['DENIED', 'ALLOWED']);
  assert.deepEqual(verdicts('cluster'), ['ALLOWED', 'ALLOWED']);
});

test('ICMP types stand where ports do, and proxies in the entries that lead to them', () => {
  const icmp = cnp(
    'i',
    `${about('a')}, egress: [{icmps: [{fields: [{type: EchoRequest}, {type: 128, family: IPv6}]}]}]`,
  );
  const dumped = maps(new Lab(PODS + L7 + icmp).state, 'cilium_policy_v2', null);
  assert.ok(!('error' in dumped));
  const entries = dumped.maps['cilium_policy_v2']!.map(
    ({ key, value }) =>
      `${String(key['direction'])} ${String(key['proto'])}/${String(key['port'])}/${String(key['prefixLength'])} ${String(value['proxyPort'])}`,
  );
  for (const wanted of ['egress 1/8/24 0', 'egress 58/128/24 0', 'ingress 6/8080/24 10000'])
    assert.ok(entries.includes(wanted), `${wanted}: ${entries.join(', ')}`);
});

test('hints, cards and problems are those of a NetworkPolicy', () => {
  const policy = cnp(
    'p',
    `${about('b')}, ingress: [{}, {fromEndpoints: [{matchLabels: {app: a}}], toPorts: [{ports: [{port: web}]}]}, {fromEntities: [all]}]`,
  );
  const lab = new Lab(PODS + policy);
  const inlays = annotate(lab.state, 'lab.yaml').inlays.map(({ text }) => text);
  assert.deepEqual(inlays, ['→ 1 pod', 'lets nothing', '→ 1 pod', '→ 8080', 'allows all']);
  const lenses = annotate(lab.state, 'lab.yaml').lenses.map(({ title }) => title);
  assert.ok(
    lenses.some((title) => title.startsWith('applies to 1 pod of 1 workload · in: ')),
    lenses.join(),
  );

  const rule = lab.state.policies.all[0]!.rules[0]!;
  const card = hover(lab.state, 'lab.yaml', locate(rule.origin.at).range.start);
  const lines = card!.lines.map((line) => line.map(({ text }) => text).join(''));
  assert.match(lines[0]!, /^ALLOWED default\/a\[Pod\] → default\/b\[Pod\]:8080 TCP/);
  assert.ok(lines.includes('ingress[1] lets in TCP web, UDP web, SCTP web from 1 pod'), lines.join('\n'));

  const wrong =
    cnp('w', `${about('bb')}, ingress: [{}]`) +
    cnp(
      'x',
      `${about('b')}, ingress: [{fromEndpoints: [{matchLabels: {app: aa}}]}, {toPorts: [{ports: [{port: wub}]}]}]`,
    );
  const problems = check(new Lab(PODS + wrong).state, []).map(({ code, message }) => `${code} ${message}`);
  assert.deepEqual(problems, [
    'HS3001 Policy `w` selects no pod: none in namespace `default` matches `app: bb`.',
    'HS3002 No such pod: none in namespace `default` matches `app: aa`.',
    'HS3006 No pod of `default/b[Pod]` has a port named `wub`, so this matches nothing.',
  ]);
});
