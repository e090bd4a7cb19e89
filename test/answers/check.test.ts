import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { check } from '../../dataplane/answers/check.js';
import { locate } from '../../dataplane/manifests/place.js';
import type { Problem } from '../../dataplane/problems.js';
import { DEFAULT_SETTINGS, type Settings } from '../../dataplane/settings.js';
import { Engine } from '../../dataplane/state.js';
import { modules } from '../datapath.js';

function checked(files: Readonly<Record<string, string>>, settings: Partial<Settings> = {}): Problem[] {
  const engine = new Engine(modules.trace, { ...DEFAULT_SETTINGS, ...settings });
  for (const [file, content] of Object.entries(files)) engine.manifests.set(file, content);
  return check(engine.current, []);
}

const shown = ({ source, start, end }: Problem['at']): string => source.text.slice(start, end);

/** `HS2001 12:5 {app: adds}`: the code, where it stands and what is underlined. */
function line({ code, at }: Problem): string {
  const { start } = locate(at).range;
  return `${code} ${start.line}:${start.column} ${shown(at)}`;
}

const lines = (manifests: string, settings: Partial<Settings> = {}): string[] =>
  checked({ 'a.yaml': manifests }, settings).map(line);

/** Codes and what they underline, for tables. */
const marks = (...documents: string[]): string[] =>
  checked({ 'a.yaml': documents.join('---\n') }).map(({ code, at }) => `${code} ${shown(at)}`);

const pod = (name: string, labels: string, ports = '', namespace = 'shop'): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: ${namespace}, labels: {${labels}}}
spec: {containers: [{name: c, ports: [${ports}]}]}
`;
const service = (spec: string, rest = ''): string => `
apiVersion: v1
kind: Service
metadata: {name: s, namespace: shop${rest}}
spec: {${spec}}
`;
const policy = (spec: string, namespace = 'shop'): string => `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: ${namespace}}
spec: {${spec}}
`;
const namespace = (name: string, labels = ''): string => `
apiVersion: v1
kind: Namespace
metadata: {name: ${name}, labels: {${labels}}}
`;

const WEB = pod('web', 'app: web', '{containerPort: 8080, name: http}');

test('HS2001: a Service that selects no pod', () => {
  const table: [string[], string[]][] = [
    [[WEB, service('selector: {app: web}, ports: [{port: 8080}]')], []],
    [[WEB, service('selector: {app: wep}, ports: [{port: 8080}]')], ['HS2001 {app: wep}']],
    [[WEB, service('selector: {app: web, tier: front}')], ['HS2001 {app: web, tier: front}']],
    [[WEB, service('type: ExternalName, externalName: example.com, selector: {app: x}')], []],
    [[WEB, service('ports: [{port: 80}]')], []],
    // Somebody else says what is behind it.
    [
      [
        WEB,
        service('selector: {app: operated}'),
        'apiVersion: v1\nkind: Endpoints\nmetadata: {name: s, namespace: shop}\nsubsets: []\n',
      ],
      [],
    ],
    // Also where the manifests hold no pod at all.
    [[service('selector: {app: web}')], ['HS2001 {app: web}']],
    [[pod('a', 'app: other', '', 'x'), service('selector: {app: web}')], ['HS2001 {app: web}']],
    [[pod('web', 'app: web', '', 'x'), service('selector: {app: web}')], ['HS2001 {app: web}']],
    // Scaled to none is not absent.
    [[deployment(0), WEB, service('selector: {app: idle}')], []],
    // What cannot be read may hold the pods, unless it shows that it is of another namespace.
    [
      [WEB, service('selector: {app: x}'), 'kind: Deployment\nmetadata:\n  namespace: ops\nspec: {{ .Values.spec }}\n'],
      ['HS2001 {app: x}', 'HS1004 {{'],
    ],
    [[WEB, service('selector: {app: x}'), 'kind: Deployment\nspec: {{ .Values.spec }}\n'], ['HS1004 {{']],
  ];
  for (const [documents, expected] of table) assert.deepEqual(marks(...documents), expected, documents.join('---'));
});

function deployment(replicas: number): string {
  return `
apiVersion: apps/v1
kind: Deployment
metadata: {name: idle, namespace: shop}
spec: {replicas: ${replicas}, selector: {matchLabels: {app: idle}}, template: {metadata: {labels: {app: idle}}, spec: {containers: [{name: c}]}}}
`;
}

test('HS2001 says what was probably meant, and where it stands', () => {
  const [found] = checked({ 'ads.yaml': pod('ads', 'app: ads'), 'svc.yaml': service('selector: {app: adds}') });
  assert.equal(
    found!.message,
    'Service `s` selects `app: adds`, and no pod in namespace `shop` has this label; `shop/ads[Pod]` has `app: ads`.',
  );
  assert.deepEqual(found!.fixes, ['change to `ads`']);
  const [related] = found!.related;
  assert.deepEqual([locate(related!.at).file, shown(related!.at)], ['ads.yaml', 'ads']);
});

test('HS2001 with several labels underlines the one that is misspelled', () => {
  const db = pod('db', 'app: shop, tier: backend');
  const [found] = checked({ 'a.yaml': [db, service('selector: {app: shop, tier: bakend}')].join('---\n') });
  assert.equal(line(found!), 'HS2001 11:36 bakend');
  assert.match(found!.message, /; `shop\/db\[Pod\]` has `tier: backend`\.$/);
  assert.deepEqual(found!.fixes, ['change to `tier: backend`']);
});

test('HS2001 underlines the selector alone', () => {
  const manifests = `${WEB}---
apiVersion: v1
kind: Service
metadata:
  name: s
  namespace: shop
spec:
  selector:
    app: wep
    tier: x

  ports: []
`;
  const [found] = checked({ 'a.yaml': manifests });
  assert.deepEqual(locate(found!.at).range, { start: { line: 14, column: 5 }, end: { line: 15, column: 12 } });
});

test('HS2003: a targetPort that no matched container declares', () => {
  const table: [string, string, string[]][] = [
    // container ports, the Service's port, problems
    ['{containerPort: 80}', '{port: 80}', []],
    ['{containerPort: 80}', '{port: 8080, targetPort: 80}', []],
    ['{containerPort: 80}', '{port: 80, targetPort: 8080}', ['HS2003 8080']],
    ['{containerPort: 80}', '{port: 8080}', ['HS2003 8080']],
    ['', '{port: 8080}', []],
    ['{containerPort: 53, protocol: UDP}', '{port: 8080}', []],
    ['{containerPort: 53, protocol: UDP}, {containerPort: 80}', '{port: 53}', ['HS2003 53']],
    ['{containerPort: 53, protocol: UDP}', '{port: 53, protocol: UDP}', []],
  ];
  for (const [ports, port, expected] of table) {
    const documents = [pod('web', 'app: web', ports), service(`selector: {app: web}, ports: [${port}]`)];
    assert.deepEqual(marks(...documents), expected, `${ports} ${port}`);
  }
  // One pod that declares nothing may well listen there; a headless Service's own number means nothing.
  const bare = pod('bare', 'app: web');
  assert.deepEqual(marks(WEB, bare, service('selector: {app: web}, ports: [{port: 1}]')), []);
  assert.deepEqual(marks(WEB, service('clusterIP: None, selector: {app: web}, ports: [{port: 1}]')), []);
});

test('HS2003 and HS2004 name the ports that there are', () => {
  const two = [WEB, pod('web-2', 'app: web', '{containerPort: 8080, name: http}, {containerPort: 9090}')];
  const [number] = checked({ 'a.yaml': [...two, service('selector: {app: web}, ports: [{port: 80}]')].join('---\n') });
  assert.equal(
    number!.message,
    'Port 80, which is the targetPort too, is declared by none of the 2 matched pods; they declare 8080 (`http`) and 9090.',
  );
  assert.deepEqual(number!.fixes, ['add `targetPort: 8080`', 'add `targetPort: 9090`']);
  assert.deepEqual(
    number!.related.map(({ at }) => shown(at)),
    ['8080', '9090'],
  );
  const [name] = checked({
    'a.yaml': [...two, service('selector: {app: web}, ports: [{port: 80, targetPort: htp}]')].join('---\n'),
  });
  assert.equal(name!.message, 'None of the 2 matched pods has a TCP port named `htp`.');
  assert.deepEqual(name!.fixes, ['change to `http`']);
});

test('HS2003: the number is declared, for another protocol', () => {
  const udp = pod('web', 'app: web', '{containerPort: 9000, protocol: UDP}');
  const leading = (...ports: readonly string[]): string =>
    service(`selector: {app: web}, ports: [${ports.join(', ')}]`);
  const [found, ...more] = checked({ 'a.yaml': [udp, leading('{port: 80, targetPort: 9000}')].join('---\n') });
  assert.equal(more.length, 0);
  assert.equal(line(found!), 'HS2003 11:61 9000');
  assert.equal(found!.message, "The container declares 9000 for UDP, while the Service's port is TCP.");
  assert.deepEqual(found!.fixes, ['write `protocol: UDP`']);
  assert.deepEqual(
    found!.related.map(({ at }) => shown(at)),
    ['9000'],
  );
  // A port for each protocol is the way of DNS, and one pod that declares nothing may listen there.
  assert.deepEqual(marks(udp, leading('{name: a, port: 9000, protocol: UDP}', '{name: b, port: 9000}')), []);
  assert.deepEqual(marks(udp, pod('bare', 'app: web'), leading('{port: 9000}')), []);
});

test('HS2004: a named targetPort that matched containers do not have', () => {
  const named = (name: string): string => service(`selector: {app: web}, ports: [{port: 80, targetPort: ${name}}]`);
  assert.deepEqual(marks(WEB, named('http')), []);
  assert.deepEqual(marks(WEB, named('grpc')), ['HS2004 grpc']);
  const [some] = checked({ 'a.yaml': [WEB, pod('old', 'app: web'), named('http')].join('---\n') });
  assert.equal(
    some!.message,
    '`shop/old[Pod]`: no container has a TCP port named `http`, so no traffic of this Service gets to these pods.',
  );
  const [udp] = checked({
    'a.yaml': [pod('dns', 'app: web', '{containerPort: 53, name: dns, protocol: UDP}'), named('dns')].join('---\n'),
  });
  assert.equal(udp!.message, 'The matched pod has no TCP port named `dns` (the port of that name is UDP).');
});

test('HS3001: a policy that selects no pod', () => {
  const host = WEB.replace('spec: {', 'spec: {hostNetwork: true, ');
  const table: [string[], string[]][] = [
    [[WEB, policy('podSelector: {matchLabels: {app: web}}')], []],
    [[WEB, policy('podSelector: {matchLabels: {app: wbe}}')], ['HS3001 wbe']],
    [[WEB, policy('podSelector: {}', 'empty')], []],
    [[policy('podSelector: {matchLabels: {app: web}}')], []],
    [[WEB, policy('podSelector: {matchLabels: {app: web}}', 'default')], ['HS3001 web']],
    // "All others" may be nobody today.
    [[WEB, policy('podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}')], []],
    [[deployment(0), policy('podSelector: {matchLabels: {app: idle}}')], []],
    [[host, policy('podSelector: {matchLabels: {app: web}}')], ['HS3001 web']],
  ];
  for (const [documents, expected] of table) assert.deepEqual(marks(...documents), expected, documents.join('---'));
});

test('HS3001 and HS3002 take pods on the host’s network for pods where the setting does', () => {
  const host = WEB.replace('spec: {', 'spec: {hostNetwork: true, ');
  const about = `${host}---\n${policy('podSelector: {matchLabels: {app: web}}')}`;
  const other = `${host}---\n${pod('b', 'app: b')}---\n`;
  const from =
    other +
    policy('podSelector: {matchLabels: {app: b}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]');
  for (const [text, code] of [
    [about, 'HS3001'],
    [from, 'HS3002'],
  ] as const) {
    const codes = (hostNetworkPods: 'node' | 'pod'): string[] =>
      lines(text, { hostNetworkPods }).map((found) => found.split(' ')[0]!);
    assert.deepEqual([codes('node'), codes('pod')], [[code], []], text);
  }
});

test('HS3002: a peer that matches nothing', () => {
  const from = (peer: string): string => policy(`podSelector: {}, ingress: [{from: [{${peer}}]}]`);
  const labelled = [WEB, namespace('shop'), namespace('ops', 'team: ops'), pod('mon', 'app: mon', '', 'ops')];
  const ops = 'namespaceSelector: {matchLabels: {team: ops}}';
  const byName = (name: string): string => `namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ${name}}}`;
  const table: [string[], string, string[]][] = [
    [labelled, 'podSelector: {matchLabels: {app: web}}', []],
    [labelled, 'podSelector: {matchLabels: {app: nobody}}', ['HS3002 nobody']],
    [labelled, 'podSelector: {}', []],
    [labelled, 'podSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}', []],
    [labelled, ops, []],
    [labelled, `${ops}, podSelector: {matchLabels: {app: mon}}`, []],
    [labelled, `${ops}, podSelector: {matchLabels: {app: web}}`, ['HS3002 web']],
    [labelled, 'namespaceSelector: {matchLabels: {team: x}}', ['HS3002 x']],
    [labelled, byName('op'), ['HS3002 op']],
    // A namespace that other manifests hold; one without pods here; labels of which nothing is known.
    [labelled, byName('ingress-nginx'), []],
    [[...labelled, namespace('bare')], `${byName('bare')}, podSelector: {matchLabels: {app: x}}`, []],
    [[WEB], 'namespaceSelector: {matchLabels: {team: x}}', []],
    [[WEB], byName('shpo'), ['HS3002 shpo']],
    // The cluster brings its DNS.
    [labelled, `${byName('kube-system')}, podSelector: {matchLabels: {k8s-app: kube-dns}}`, []],
    [labelled, 'namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-dns}}', []],
  ];
  for (const [documents, peer, expected] of table) assert.deepEqual(marks(...documents, from(peer)), expected, peer);
});

test('HS3002 tells a missing pod from a missing namespace and a forgotten namespaceSelector', () => {
  const message = (peer: string): string[] => {
    const ingress = policy(`podSelector: {}, ingress: [{from: [{${peer}}]}]`);
    const [found] = checked({
      'a.yaml': [WEB, namespace('shop'), pod('mon', 'app: mon', '', 'ops'), ingress].join('---\n'),
    });
    return [found!.message, ...found!.fixes];
  };
  assert.deepEqual(message('podSelector: {matchLabels: {app: mon}}'), [
    "No such pod: none in namespace `shop` matches `app: mon`; `ops/mon[Pod]` would match, but without a namespaceSelector only the policy's own namespace counts.",
    'add a namespaceSelector to this peer: `kubernetes.io/metadata.name: ops`',
  ]);
  assert.deepEqual(message('namespaceSelector: {matchLabels: {a: b}}'), [
    'No such namespace: none has `a: b`; there are `shop` and `ops`.',
  ]);
});

test("HS3004: a policy that lists the Service's port", () => {
  const svc = service('selector: {app: web}, ports: [{port: 80, targetPort: http}]');
  const ingress = (ports: string): string =>
    policy(`podSelector: {matchLabels: {app: web}}, ingress: [{ports: [${ports}]}]`);
  const egress = (to: string): string =>
    policy(
      `podSelector: {}, policyTypes: [Egress], egress: [{to: [${to}], ports: [{port: 80}, {port: 53, protocol: UDP}]}, {ports: [{port: 53, protocol: UDP}]}]`,
    );
  const table: [string[], string[]][] = [
    [[WEB, svc, ingress('{port: 8080}')], []],
    [[WEB, svc, ingress('{port: 80}')], ['HS3004 80']],
    [[WEB, svc, ingress('{port: 80, endPort: 80}')], ['HS3004 80']],
    [[WEB, svc, ingress('{port: 80, endPort: 90}')], []],
    [[WEB, svc, ingress('{port: 80}, {port: 8080}')], []],
    [[WEB, svc, ingress('{port: 80}, {port: 8000, endPort: 9000}')], []],
    [[WEB, svc, ingress('{port: 81}')], []],
    [[WEB, svc, ingress('{port: 80, protocol: UDP}')], []],
    [[WEB, ingress('{port: 80}')], []],
    // Another pod that the policy selects does listen there.
    [[WEB, pod('b', 'app: web, v: "2"', '{containerPort: 80, name: http}'), svc, ingress('{port: 80}')], []],
    [[WEB, svc, egress('{podSelector: {matchLabels: {app: web}}}')], ['HS3004 80']],
    [[WEB, svc, egress('{podSelector: {}}, {ipBlock: {cidr: 192.0.2.0/24}}')], []],
  ];
  for (const [documents, expected] of table) assert.deepEqual(marks(...documents), expected, documents.join('---'));
  const [found] = checked({ 'a.yaml': [WEB, svc, ingress('{port: 80}')].join('---\n') });
  assert.deepEqual(found!.fixes, ["use 8080, the container's port"]);
  assert.deepEqual(
    found!.related.map(({ at, message }) => `${shown(at)} ${message}`),
    ['80 The port of Service `shop/s`.', '8080 The containers declare 8080 (`http`).'],
  );
});

const DNS_POD = `
apiVersion: v1
kind: Pod
metadata: {name: coredns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec: {containers: [{name: c, ports: [{containerPort: 53, name: dns, protocol: UDP}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: 10.96.0.10, selector: {k8s-app: kube-dns}, ports: [{port: 53, protocol: UDP, targetPort: dns}]}
`;
const isolate = (egress: string): string => policy(`podSelector: {}, policyTypes: [Egress], egress: [${egress}]`);
const KUBE_DNS =
  'namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}';

test('HS3005: egress isolation that forgets DNS, by packets to the DNS of the manifests or by rules without one', () => {
  const HTTPS = '{ports: [{port: 443}]}';
  const UDP53 = 'ports: [{port: 53, protocol: UDP}]';
  const table: [string, string[]][] = [
    // egress rules, problems: the same with and without a DNS in the manifests
    ['', []],
    ['{}', []],
    [HTTPS, ['HS3005 egress']],
    [`${HTTPS}, {${UDP53}}`, []],
    [`${HTTPS}, {to: [{${KUBE_DNS}}], ${UDP53}}`, []],
    [`${HTTPS}, {to: [{${KUBE_DNS}}]}`, []],
    [`${HTTPS}, {to: [{${KUBE_DNS}}], ports: [{port: 53}]}`, ['HS3005 egress']],
    [`${HTTPS}, {to: [{${KUBE_DNS}}], ports: [{port: 50, endPort: 60, protocol: UDP}]}`, []],
    [`${HTTPS}, {to: [{namespaceSelector: {}}]}`, []],
    [`${HTTPS}, {to: [{podSelector: {}}], ${UDP53}}`, ['HS3005 egress']],
    // An ipBlock is no pod's, nor does a Service's address help; another resolver is the pods' own choice.
    ['{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}', ['HS3005 egress']],
    [`{to: [{ipBlock: {cidr: 169.254.20.10/32}}], ${UDP53}}`, []],
  ];
  for (const [egress, expected] of table) {
    assert.deepEqual(marks(WEB, isolate(egress)), expected, `no DNS: ${egress}`);
    assert.deepEqual(marks(WEB, DNS_POD, isolate(egress)), expected, `DNS: ${egress}`);
  }
  const serviceAddress = `{to: [{ipBlock: {cidr: 10.96.0.10/32}}], ${UDP53}}`;
  assert.deepEqual(marks(WEB, isolate(serviceAddress)), ['HS3005 egress']);
  assert.deepEqual(marks(WEB, DNS_POD, isolate(serviceAddress)), [
    'HS3005 egress',
    'HS3013 {ipBlock: {cidr: 10.96.0.10/32}}',
  ]);
  const elsewhere = `{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: infra-system}}}], ${UDP53}}`;
  assert.deepEqual(marks(WEB, isolate(elsewhere)), [], 'a DNS that the manifests do not hold');
  assert.deepEqual(marks(WEB, DNS_POD, isolate(elsewhere)), ['HS3005 egress'], 'not the one that they hold');
  const ciliumPolicy =
    'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: c, namespace: shop}\nspec: {}\n';
  assert.deepEqual(
    marks(WEB, isolate(HTTPS), ciliumPolicy).filter((text) => text.startsWith('HS3')),
    [],
  );
});

test('HS3005 is reported once for each set of policies, and not where only the DNS refuses', () => {
  const deny = policy('podSelector: {}, policyTypes: [Egress]').replace('name: p,', 'name: deny,');
  const two = [WEB, pod('db', 'app: db'), deny, isolate('{ports: [{port: 443}]}')];
  const found = checked({ 'a.yaml': two.join('---\n') });
  assert.deepEqual(
    found.map(({ message }) => message),
    [
      '`shop/db[Pod]` and `shop/web[Pod]` cannot ask the cluster DNS: no egress rule allows UDP 53 to it, so no name can be looked up.',
    ],
  );
  assert.deepEqual(
    found[0]!.related.map(({ message }) => message),
    ['Policy `deny` isolates too.'],
  );
  assert.deepEqual(marks(WEB, DNS_POD, policy('podSelector: {}, ingress: []', 'kube-system'), isolate('{}')), []);
});

test('HS3006: a named port that no pod of the rule has', () => {
  const ingress = (port: string): string =>
    policy(`podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: ${port}}]}]`);
  const egress = (to: string, port: string): string =>
    isolate(`{to: [${to}], ports: [{port: ${port}}]}, {ports: [{port: 53, protocol: UDP}]}`);
  const web = '{podSelector: {matchLabels: {app: web}}}';
  const table: [string, string[]][] = [
    [ingress('http'), []],
    [ingress('grpc'), ['HS3006 grpc']],
    [egress(web, 'http'), []],
    [egress(web, 'grpc'), ['HS3006 grpc']],
    [egress('', 'http'), []],
    [egress('', 'grpc'), ['HS3006 grpc']],
    [egress('{ipBlock: {cidr: 192.0.2.0/24}}', 'http'), ['HS3006 http']],
    // Pods that are not here may have it.
    [egress(`{${KUBE_DNS}}`, 'dns'), []],
  ];
  for (const [document, expected] of table) assert.deepEqual(marks(WEB, document), expected, document);
});

test('a comment silences the codes it names, on its line and the one below', () => {
  const svc = (before: string, after: string): string => `${WEB}---
apiVersion: v1
kind: Service
metadata: {name: s, namespace: shop}
spec:
  ports: [{port: 80}]
  ${before}
  selector: {app: nobody} ${after}
`;
  const IGNORE = '# hopscope-ignore:';
  const table: [string, string, boolean][] = [
    ['', '', false],
    ['', `${IGNORE} HS2001 an operator makes them`, true],
    [`${IGNORE} HS2001`, '', true],
    ['', `${IGNORE} HS2003,HS2001`, true],
    [`${IGNORE} HS2003, HS2001 both`, '', true],
    [`${IGNORE} HS2001\n  # which an operator makes`, '', true],
    [`${IGNORE} HS2003`, '', false],
    [`${IGNORE} HS2001\n  type: ClusterIP\n`, '', false],
    [`externalName: "a#hopscope-ignore: HS2001"`, '', false],
  ];
  for (const [before, after, silent] of table) {
    assert.deepEqual(
      lines(svc(before, after)).map((text) => text.slice(0, 6)),
      silent ? [] : ['HS2001'],
      `${before} / ${after}`,
    );
  }
});

test('HS1015: a comment that would silence something, and names no code', () => {
  const table: [string, string[]][] = [
    ['# hopscope-ignore', ['HS1015 1:1 # hopscope-ignore']],
    ['a: b # hopscope-ignore: the operator makes them ', ['HS1015 1:6 # hopscope-ignore: the operator makes them']],
    ['\r\n#hopscope-ignore HS2001\r\n', ['HS1015 2:1 #hopscope-ignore HS2001']],
    ['# hopscope-ignore: HS20011', ['HS1015 1:1 # hopscope-ignore: HS20011']],
    ['# hopscope-ignore: HS2001', []],
    ['a: "b#hopscope-ignore"', []],
    ['# hopscope-ignored', []],
  ];
  for (const [text, expected] of table) assert.deepEqual(lines(text), expected, text);
  const [found] = checked({ 'a.yaml': '# hopscope-ignore' });
  assert.equal(found!.message, 'The comment names no code, so it silences nothing.');
});

test('problems come by file, position and code', () => {
  const two = service('selector: {a: b}, ports: [{port: 80, targetPort: "x y"}]');
  const found = checked({ 'b.yaml': two, 'a.yaml': [WEB, two.replace('name: s', 'name: t')].join('---\n') });
  assert.deepEqual(
    found.map((problem) => `${locate(problem.at).file} ${line(problem)}`),
    [
      'a.yaml HS2001 11:18 {a: b}',
      'a.yaml HS1010 11:57 "x y"',
      'b.yaml HS2001 5:18 {a: b}',
      'b.yaml HS1010 5:57 "x y"',
    ],
  );
});

test('names from manifests are shown bounded and without characters that cannot be seen', () => {
  const messageFor = (value: string): string =>
    checked({ 'a.yaml': [WEB, service(`selector: {app: ${value}}`)].join('---\n') }).find(
      ({ code }) => code === 'HS2001',
    )!.message;
  assert.match(messageFor('x'.repeat(63)), /^Service `s` selects `app: x{55}…`, and /);
  assert.match(
    messageFor('"a\\u202e\\e[31m`\\n# b"'),
    /^Service `s` selects `app: a\ufffd\ufffd\[31m'\ufffd# b`, and /,
  );
});

test('the example shop has its three mistakes, and echo none', () => {
  const folder = (root: string): Record<string, string> =>
    Object.fromEntries(
      (readdirSync(root, { recursive: true }) as string[])
        .filter((name) => name.endsWith('.yaml'))
        .map((name) => [name.replaceAll('\\', '/'), readFileSync(`${root}/${name}`, 'utf8')]),
    );
  assert.deepEqual(
    checked(folder('examples/shop')).map((found) => `${locate(found.at).file} ${line(found)}`),
    [
      'ads.yaml HS2001 51:5 app: adds',
      'policies/email.yaml HS3004 18:17 5000',
      'policies/prometheus.yaml HS3005 12:3 egress',
    ],
  );
  assert.deepEqual(checked(folder('examples/echo')), []);
});

test('HS2005: a workload whose selector does not match its own template', () => {
  const workload = (kind: string, selector: string, labels: string): string => `
apiVersion: ${kind === 'Job' ? 'batch/v1' : 'apps/v1'}
kind: ${kind}
metadata: {name: w, namespace: shop}
spec:
  selector: {${selector}}
  template: {metadata: {labels: {${labels}}}, spec: {containers: [{name: c}]}}
`;
  const table: [string, string[]][] = [
    [workload('Deployment', 'matchLabels: {app: web}', 'app: web, tier: front'), []],
    [workload('Deployment', 'matchLabels: {app: web}', 'app: wbe'), ['HS2005 web']],
    [
      workload('StatefulSet', 'matchLabels: {app: web, tier: front}', 'app: web'),
      ['HS2005 {matchLabels: {app: web, tier: front}}'],
    ],
    [
      workload('DaemonSet', 'matchExpressions: [{key: app, operator: Exists}]', ''),
      ['HS2005 {matchExpressions: [{key: app, operator: Exists}]}'],
    ],
    [workload('Job', 'matchLabels: {app: web}', 'app: wbe'), []],
  ];
  for (const [document, expected] of table) assert.deepEqual(marks(document), expected, document);
});

test('fields of a Service that there are not, and values that Kubernetes refuses', () => {
  const table: [string, string[]][] = [
    [
      service('selector: {app: web}, ports: [{port: 80, targetPort: 8080}, {name: b, port: 8080}]'),
      ['HS1009 {port: 80, targetPort: 8080}'],
    ],
    [
      service('selector: {app: web}, ports: [{name: a, port: 8080}, {name: a, port: 80, targetPort: 8080}]'),
      ['HS1010 a'],
    ],
    [service('type: ExternalName'), ['HS1009 {type: ExternalName}']],
    [service('slector: {app: web}, prots: [{port: 80}]'), ['HS1016 slector', 'HS1016 prots']],
    [service('selector: {app: web}, ports: [{port: 8080, targetport: 80}]'), ['HS1016 targetport']],
    [
      service('selector: {app: web}, sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}'),
      ['HS1010 {clientIP: {timeoutSeconds: 5}}'],
    ],
    [
      service(
        'selector: {app: web}, sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 90000}}',
      ),
      ['HS1010 90000'],
    ],
    [service('selector: {app: web}, trafficDistribution: Nearest'), ['HS1010 Nearest']],
    [service('selector: {app: web}', ', annotations: {service.cilium.io/lb-algorithm: best}'), ['HS1010 best']],
    [service('selector: {app: web}', ', annotations: {service.cilium.io/node: a}'), ['HS1012 service.cilium.io/node']],
    [service('selector: {app: web}, healthCheckNodePort: 30000, loadBalancerClass: a.b/c'), []],
  ];
  for (const [document, expected] of table) assert.deepEqual(marks(WEB, document), expected, document);
});

test('HS3008: a plug-in that enforces no policy', () => {
  const isolated = WEB + '---\n' + policy('podSelector: {matchLabels: {app: web}}');
  for (const cni of ['flannel-vxlan', 'flannel-host-gw', 'bridge'] as const)
    assert.deepEqual(lines(isolated, { cni }), ['HS3008 10:18 p'], cni);
  assert.deepEqual(lines(isolated, { cni: 'bridge', unenforcedPolicies: 'hold' }), []);
  for (const cni of ['cilium-vxlan', 'cilium-native', 'calico-bgp'] as const)
    assert.deepEqual(lines(isolated, { cni }), []);
  const calico = WEB + '---\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {}\n';
  for (const cni of ['cilium-native', 'flannel-vxlan'] as const)
    assert.deepEqual(lines(calico, { cni }), ['HS3008 9:18 p'], cni);
  // Where no plug-in was chosen, the manifests show which it is.
  for (const cni of ['calico-bgp', 'cilium-vxlan'] as const) assert.deepEqual(lines(calico, { cni }), [], cni);
  const cilium = calico.replace('projectcalico.org/v3', 'cilium.io/v2').replace('NetworkPolicy', 'CiliumNetworkPolicy');
  const both = cilium.replace('spec: {}', 'spec: {endpointSelector: {}, ingress: [{}]}') + calico.slice(WEB.length);
  assert.deepEqual(lines(both, { cni: 'calico-bgp' }), ['HS3008 9:18 p']);
  assert.deepEqual(lines(both, { cni: 'cilium-vxlan' }), ['HS3008 14:18 p']);
});
