/** Requests through an Ingress: which backend its rules name, and what becomes of the packets on the way there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../dataplane/answers/check.js';
import { query, type Answer, type Question } from '../../dataplane/answers/query.js';
import { reach } from '../../dataplane/answers/reach.js';
import { trace } from '../../dataplane/answers/trace.js';
import { locate } from '../../dataplane/manifests/place.js';
import { Session } from '../../dataplane/session.js';
import type { Settings } from '../../dataplane/settings.js';
import type { State } from '../../dataplane/state.js';
import { modules } from '../datapath.js';
import { Lab, pod, service, TWO_NODES } from '../lab.js';

const path = (text: string, type: string, backend: string, port: number | string = 80): string =>
  `{path: "${text}", pathType: ${type}, backend: {service: {name: ${backend}, port: {${typeof port === 'string' ? 'name' : 'number'}: ${port}}}}}`;

const rule = (host: string | null, ...paths: string[]): string =>
  `{${host === null ? '' : `host: "${host}", `}http: {paths: [${paths.join(', ')}]}}`;

const ingress = (name: string, spec: string, metadata = ''): string =>
  `apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: ${name}${metadata}}\nspec: {${spec}}\n---\n`;

/** Services `a` to `d`, each with a pod of its own. */
const SERVICES =
  TWO_NODES +
  ['a', 'b', 'c', 'd']
    .map(
      (name, i) =>
        pod(name, `10.${1 + (i % 2)}.0.${5 + i}`, `n${1 + (i % 2)}`) + service(name, `10.96.0.${5 + i}`, 80, 8080),
    )
    .join('');

function ask(state: State, url: string, more: Partial<Question> = {}): Answer {
  const question = {
    from: 'ip:203.0.113.10',
    to: 'ingress:*',
    protocol: 'TCP',
    port: null,
    sourcePort: null,
    node: null,
    http: `GET ${url}`,
  };
  const answered = query(state, { ...question, ...more });
  if ('error' in answered) throw new Error(answered.error);
  return answered.answer;
}

/** `200 svc:default/a`, `404`. */
const told = ({ verdict, http }: Answer): string =>
  http ? `${http.status}${http.backend ? ` ${http.backend.replace('svc:default/', '')}` : ''}` : verdict;

const stateOf = (yaml: string, settings: Partial<Settings> = {}): State => new Lab(SERVICES + yaml, settings).state;

test('paths match as the table of the Kubernetes documentation has it', () => {
  const table: [type: string, paths: string[], asked: string, taken: string | null][] = [
    ['Prefix', ['/'], '/any/path', '/'],
    ['Exact', ['/foo'], '/foo', '/foo'],
    ['Exact', ['/foo'], '/bar', null],
    ['Exact', ['/foo'], '/foo/', null],
    ['Exact', ['/foo/'], '/foo', null],
    ['Prefix', ['/foo'], '/foo', '/foo'],
    ['Prefix', ['/foo'], '/foo/', '/foo'],
    ['Prefix', ['/foo/'], '/foo', '/foo/'],
    ['Prefix', ['/foo/'], '/foo/', '/foo/'],
    ['Prefix', ['/aaa/bb'], '/aaa/bbb', null],
    ['Prefix', ['/aaa/bbb'], '/aaa/bbb', '/aaa/bbb'],
    ['Prefix', ['/aaa/bbb/'], '/aaa/bbb', '/aaa/bbb/'],
    ['Prefix', ['/aaa/bbb'], '/aaa/bbb/', '/aaa/bbb'],
    ['Prefix', ['/aaa/bbb'], '/aaa/bbb/ccc', '/aaa/bbb'],
    ['Prefix', ['/aaa/bbb'], '/aaa/bbbxyz', null],
    ['Prefix', ['/', '/aaa'], '/aaa/ccc', '/aaa'],
    ['Prefix', ['/', '/aaa', '/aaa/bbb'], '/aaa/bbb', '/aaa/bbb'],
    ['Prefix', ['/', '/aaa', '/aaa/bbb'], '/ccc', '/'],
    ['Prefix', ['/aaa'], '/ccc', null],
    ['Exact', ['/foo'], '/FOO', null],
    ['Exact', ['/foo'], '/foo?bar=/baz', '/foo'],
  ];
  for (const [type, paths, asked, taken] of table) {
    const names = ['a', 'b', 'c'];
    const state = stateOf(ingress('i', `rules: [${rule('h', ...paths.map((one, i) => path(one, type, names[i]!)))}]`));
    const wanted = taken === null ? '404' : `200 ${names[paths.indexOf(taken)]}`;
    assert.equal(told(ask(state, `h${asked}`)), wanted, `${type} ${paths.join(' ')} for ${asked}`);
  }
});

test('of paths as long, Exact comes first; of hosts the closest, and then no other', () => {
  const state = stateOf(
    ingress(
      'i',
      `rules: [${[
        rule('foo.com', path('/x', 'Prefix', 'a'), path('/x', 'Exact', 'b')),
        rule('*.foo.com', path('/', 'Prefix', 'c')),
        rule('bar.foo.com', path('/only', 'Exact', 'a')),
        rule(null, path('/', 'Prefix', 'd')),
      ].join(', ')}]`,
    ),
  );
  const table: [url: string, expected: string][] = [
    ['foo.com/x', '200 b'],
    ['foo.com/x/y', '200 a'],
    ['FOO.com:8080/x', '200 b'],
    ['any.foo.com/', '200 c'],
    ['two.labels.foo.com/', '200 d'],
    ['bar.foo.com/only', '200 a'],
    ['bar.foo.com/other', '404'],
    ['elsewhere.org/', '200 d'],
  ];
  for (const [url, expected] of table) assert.equal(told(ask(state, url)), expected, url);
});

test('what no path takes is for the default backend; without one the answer is 404', () => {
  const rules = `rules: [${rule('h', path('/a', 'Exact', 'a'))}]`;
  const backend = 'defaultBackend: {service: {name: d, port: {number: 80}}}';
  assert.equal(told(ask(stateOf(ingress('i', `${backend}, ${rules}`)), 'h/b')), '200 d');
  assert.equal(told(ask(stateOf(ingress('i', backend)), 'any/')), '200 d');
  const refused = ask(stateOf(ingress('i', rules)), 'h/b');
  assert.equal(refused.verdict, 'DENIED');
  assert.deepEqual(refused.hints, ['no path of Ingress default/i takes /b']);
  assert.deepEqual(ask(stateOf(ingress('i', rules)), 'other/b').hints, ['no rule is for host other']);
});

test('a Service or a port that is not there, or has nobody behind it, is 503; the line says which path led there', () => {
  const yaml =
    service('nobody', '10.96.0.20', 80, 8080) +
    `apiVersion: v1\nkind: Service\nmetadata: {name: hidden}\nspec: {clusterIP: None, selector: {app: nobody}, ports: [{port: 80}]}\n---\n` +
    ingress(
      'i',
      `rules: [
      ${rule('h', path('/gone', 'Exact', 'newdeploy', 8080))},
      ${rule('p', path('/target', 'Exact', 'a', 8080), path('/name', 'Exact', 'a', 'http'))},
      ${rule('e', path('/nobody', 'Exact', 'nobody'), path('/hidden', 'Exact', 'hidden'))}]`,
    );
  const state = stateOf(yaml);
  const table: [url: string, hint: RegExp][] = [
    ['h/gone', /^there is no Service default\/newdeploy$/],
    ['p/target', /^Service default\/a has no port 8080, only 80$/],
    ['p/name', /^Service default\/a has no port http, only 80$/],
    ['e/nobody', /^the selector of Service default\/nobody matches no pod$/],
    ['e/hidden', /^Service default\/hidden has no endpoint that is ready$/],
  ];
  for (const [url, hint] of table) {
    const answer = ask(state, url);
    assert.equal(answer.verdict, 'DENIED', url);
    assert.equal(answer.http?.status, 503, url);
    assert.match(answer.hints[0]!, hint);
    assert.deepEqual(
      answer.deciders.map(({ kind, name }) => `${kind} ${name}`),
      ['Ingress i'],
      url,
    );
  }
  const [decider] = ask(state, 'h/gone').deciders;
  const text = (SERVICES + yaml).split('\n')[decider!.line - 1]!;
  assert.ok(text.slice(decider!.column - 1).startsWith('{path: "/gone"'), text);
  assert.equal(`${decider!.rule} ${decider!.effect}`, 'rules[0].http.paths[0] denies');
});

test('of a headless Service the controller goes to the pods, at the port that they have', () => {
  const state = stateOf(
    `apiVersion: v1\nkind: Service\nmetadata: {name: heads}\nspec: {clusterIP: None, selector: {app: a}, ports: [{name: http, port: 80, targetPort: web}]}\n---\n` +
      ingress('i', `rules: [${rule('h', path('/', 'Prefix', 'heads', 'http'))}]`),
  );
  assert.equal(told(ask(state, 'h/')), '200 heads');
  assert.equal(told(ask(state, 'h/', { from: 'default/b' })), '200 heads');
});

const closed = (name: string, from: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: only-${name}}\nspec: {podSelector: {matchLabels: {app: ${name}}}, ingress: [{from: [${from}]}]}\n---\n`;

test('the controller is assumed in a namespace of its own: policies decide whether it gets to the pods', () => {
  const rules = ingress('i', `rules: [${rule('h', path('/a', 'Prefix', 'a'), path('/b', 'Prefix', 'b'))}]`);
  const state = stateOf(rules + closed('a', '{podSelector: {}}') + closed('b', '{namespaceSelector: {}}'));
  const refused = ask(state, 'h/a');
  assert.equal(told(refused), '504 a');
  assert.deepEqual([refused.direction, refused.reason?.code], ['ingress', 133]);
  assert.deepEqual(
    refused.deciders.map(({ name, effect }) => `${name} ${effect}`),
    ['i allows', 'only-a isolates'],
  );
  assert.equal(told(ask(state, 'h/b')), '200 b');
  assert.match(refused.assumes.join('\n'), /the Ingress controller is a pod without labels in a namespace of its own/);
  const strict = stateOf(rules, { undeclaredIngressParts: 'unknown' });
  assert.equal(told(ask(strict, 'h/a')), 'UNKNOWN');
});

const CONTROLLER = `apiVersion: v1
kind: Pod
metadata: {name: nginx, namespace: ingress-nginx, labels: {app.kubernetes.io/name: ingress-nginx, app.kubernetes.io/component: controller}}
spec: {nodeName: n1, containers: [{name: c, ports: [{containerPort: 80}]}]}
status: {podIP: 10.1.0.100}
---
apiVersion: v1
kind: Service
metadata: {name: nginx, namespace: ingress-nginx}
spec: {type: NodePort, clusterIP: 10.96.0.100, selector: {app.kubernetes.io/name: ingress-nginx}, ports: [{port: 80, nodePort: 30080}]}
---
`;

test('where the manifests hold the controller it sends, and policies about it hold', () => {
  const rules = ingress('i', `ingressClassName: nginx, rules: [${rule('h', path('/', 'Prefix', 'a'))}]`);
  const only = closed('a', '{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}');
  assert.equal(told(ask(stateOf(rules + only), 'h/')), '504 a');
  const state = stateOf(CONTROLLER + rules + only);
  const answer = ask(state, 'h/');
  assert.equal(told(answer), '200 a');
  assert.doesNotMatch(answer.assumes.join('\n'), /the Ingress controller is/);
  const shut = `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: shut, namespace: ingress-nginx}\nspec: {podSelector: {}, ingress: []}\n---\n`;
  const refused = ask(stateOf(CONTROLLER + rules + shut), 'h/');
  assert.deepEqual(
    [refused.verdict, refused.http, refused.hints[0]],
    ['DENIED', null, 'the Ingress controller is not reached'],
  );
  const [telling] = refused.deciders;
  assert.equal(`${telling!.namespace}/${telling!.name}`, 'ingress-nginx/shut');
});

test('a sidecar that takes mutual TLS alone ends the connection of a controller that has none', () => {
  const strict = `apiVersion: v1\nkind: Namespace\nmetadata: {name: ingress-nginx}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {istio-injection: enabled}}\n---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict}\nspec: {mtls: {mode: STRICT}}\n---\n`;
  const rules = ingress('i', `rules: [${rule('h', path('/', 'Prefix', 'a'))}]`);
  assert.equal(told(ask(stateOf(CONTROLLER + strict + rules), 'h/')), '502 a');
  assert.equal(told(ask(stateOf(strict + rules), 'h/')), 'UNKNOWN', 'an assumed controller may have one');
});

test('a client that may not send gets to no controller', () => {
  const shut = `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: silent}\nspec: {podSelector: {matchLabels: {app: b}}, policyTypes: [Egress]}\n---\n`;
  const state = stateOf(shut + ingress('i', `rules: [${rule('h', path('/', 'Prefix', 'a'))}]`));
  const answer = ask(state, 'h/', { from: 'default/b' });
  assert.deepEqual([answer.verdict, answer.direction, answer.http], ['DENIED', 'egress', null]);
  assert.equal(told(ask(state, 'h/', { from: 'default/c' })), '200 a');
});

test('what only a controller can read is UNKNOWN, at its line', () => {
  const resource = '{path: /, pathType: Prefix, backend: {resource: {apiGroup: x.io, kind: Bucket, name: b}}}';
  const table: [yaml: string, depends: RegExp][] = [
    [
      ingress('i', `rules: [${rule('h', resource)}]`),
      /^lab\.yaml:\d+: Bucket in Ingress default\/i is the controller's own$/,
    ],
    [
      ingress('i', `rules: [${rule('h', path('/x(/|$)(.*)', 'ImplementationSpecific', 'a'))}]`),
      /^lab\.yaml:\d+: what the controller makes of path \/x\(\/\|\$\)\(\.\*\) of pathType ImplementationSpecific/,
    ],
    [
      ingress(
        'i',
        `rules: [${rule('h', path('/', 'Prefix', 'a'))}]`,
        ', annotations: {nginx.ingress.kubernetes.io/whitelist-source-range: 10.0.0.0/8}',
      ),
      /whitelist-source-range of Ingress default\/i is not evaluated$/,
    ],
    [
      `${ingress('i', `rules: [${rule('h', path('/', 'Prefix', 'a'))}]`)}apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: broken}\nspec: {rules: [{host: 10.0.0.1}]}\n`,
      /^lab\.yaml:\d+: Ingress broken could not be read$/,
    ],
  ];
  for (const [yaml, depends] of table) {
    const answer = ask(stateOf(yaml), 'h/x/y');
    assert.equal(answer.verdict, 'UNKNOWN');
    assert.match(answer.depends[0]!, depends);
  }
  const cilium = ingress('i', `ingressClassName: cilium, rules: [${rule('h', path('/', 'Prefix', 'a'))}]`);
  assert.equal(told(ask(stateOf(cilium), 'h/')), '200 a');
  assert.match(
    ask(stateOf(cilium + closed('a', '{podSelector: {}}')), 'h/').depends[0]!,
    /sends as the identity ingress$/,
  );
  const untold = ask(stateOf(ingress('i', `rules: [${rule('h', path('/', 'Prefix', 'a'))}]`)), '', { http: null });
  assert.deepEqual(
    [untold.verdict, untold.depends[0]],
    ['UNKNOWN', 'the HTTP request, which an Ingress goes by: it was not told'],
  );
});

test('two ways with the same right to a request leave it open; controllers of other classes are others', () => {
  const both =
    ingress('i', `rules: [${rule('h', path('/', 'Prefix', 'a'))}]`) +
    ingress('j', `rules: [${rule('h', path('/', 'Prefix', 'b'))}]`);
  const answer = ask(stateOf(both), 'h/');
  assert.equal(answer.verdict, 'CONDITIONAL');
  assert.match(
    answer.depends[0]!,
    /several with the same right to it: ALLOWED with 200 of svc:default\/a, ALLOWED with 200 of svc:default\/b/,
  );
  const alike = both.replace('name: b', 'name: a');
  assert.equal(told(ask(stateOf(alike), 'h/')), '200 a');
  const longer =
    ingress('i', `rules: [${rule('h', path('/', 'Prefix', 'a'))}]`) +
    ingress('j', `rules: [${rule('h', path('/x', 'Prefix', 'b'))}]`);
  assert.equal(told(ask(stateOf(longer), 'h/x')), '200 b');
  const through = ask(stateOf(longer), 'h/x', { to: 'ingress:default/i' });
  assert.equal(told(through), '200 a');
  assert.match(through.hints[0]!, /^rules\[0\]\.http\.paths\[0\] of Ingress default\/j takes this request first/);
  const apart = longer
    .replace('spec: {rules', 'spec: {ingressClassName: one, rules')
    .replace(/(name: j}\nspec: \{)/, '$1ingressClassName: two, ');
  assert.equal(ask(stateOf(apart), 'h/x').verdict, 'CONDITIONAL');
});

test('a class that is the default is that of Ingresses which name none', () => {
  const classes = `apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: main, annotations: {ingressclass.kubernetes.io/is-default-class: "true"}}\nspec: {controller: k8s.io/ingress-nginx}\n---\n`;
  const only = closed('a', '{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}');
  const rules = ingress('i', `rules: [${rule('h', path('/', 'Prefix', 'a'))}]`);
  const other = ingress('j', `ingressClassName: main, rules: [${rule('h', path('/long', 'Prefix', 'b'))}]`);
  assert.equal(told(ask(stateOf(CONTROLLER + classes + rules + only), 'h/')), '200 a');
  assert.equal(told(ask(stateOf(classes + rules + other), 'h/long')), '200 b');
});

test('an Ingress of a class that is not there, or of none where none is the default, is served by nobody', () => {
  const of = (name: string): string =>
    `apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: ${name}}\nspec: {controller: k8s.io/ingress-nginx}\n---\n`;
  const to = (className: string, metadata = ''): string =>
    ingress('i', `${className}rules: [${rule('h', path('/', 'Prefix', 'a'))}]`, metadata);
  const annotated = to('', ', annotations: {kubernetes.io/ingress.class: other}');
  const table: [yaml: string, told: string, hint: string | null][] = [
    [to('ingressClassName: other, '), '200 a', null],
    [to(''), '200 a', null],
    [of('nginx') + to('ingressClassName: nginx, '), '200 a', null],
    [of('nginx') + annotated, '200 a', null],
    [of('nginx') + to('ingressClassName: other, '), '404', 'there is no IngressClass other, only nginx'],
    [of('nginx') + to(''), '404', 'it names no class, and no IngressClass is the default'],
  ];
  for (const [yaml, expected, hint] of table) {
    const state = stateOf(yaml);
    for (const asked of ['ingress:*', 'ingress:default/i']) {
      const answer = ask(state, 'h/', { to: asked });
      assert.equal(told(answer), expected, yaml);
      if (hint === null) continue;
      assert.deepEqual([answer.verdict, answer.reason?.code, answer.direction], ['DENIED', 158, 'ingress']);
      assert.equal(answer.hints[0], `no controller takes Ingress default/i: ${hint}`);
      assert.deepEqual(
        answer.deciders.map(({ kind, name, effect }) => [kind, name, effect]),
        [['Ingress', 'i', 'denies']],
      );
    }
    const found = reach(state, { from: 'ingress:default/i', to: null, protocol: null });
    assert.equal('connections' in found && found.connections.length > 0, hint === null, 'reach lists what is served');
    assert.deepEqual(
      check(state, []).map(({ code }) => code),
      hint === null ? [] : ['HS6003'],
    );
  }
});

test('nothing but Ingresses is no whole cluster: their Services are assumed, and it is said', () => {
  const { state } = new Lab(ingress('i', `rules: [${rule('h', path('/', 'Prefix', 'there', 'http'))}]`));
  const answer = ask(state, 'h/');
  assert.equal(told(answer), '200 there');
  assert.match(
    answer.assumes.join('\n'),
    /Service default\/there and a pod behind it are there: the manifests hold Ingresses alone/,
  );
});

test('an Ingress as the one that sends gets to what its paths lead to, and reach lists that', () => {
  const state = stateOf(
    ingress('i', `rules: [${rule('h', path('/', 'Prefix', 'a'), path('/b', 'Prefix', 'b'))}]`) +
      closed('b', '{podSelector: {}}'),
  );
  const table: [from: string, to: string, port: number, verdict: string][] = [
    ['ingress:*', 'default/a', 8080, 'ALLOWED'],
    ['{ingress-controller}', 'default/a[Pod]', 8080, 'ALLOWED'],
    ['ingress:default/i', 'svc:default/a', 80, 'ALLOWED'],
    ['ingress:*', 'default/a', 8081, 'DENIED'],
    ['ingress:*', 'default/b', 8080, 'DENIED'],
    ['ingress:*', 'default/c', 8080, 'DENIED'],
  ];
  for (const [from, to, port, verdict] of table)
    assert.equal(ask(state, '', { from, to, port, http: null }).verdict, verdict, `${from} → ${to}:${port}`);
  const found = reach(state, { from: 'ingress:default/i', to: null, protocol: null });
  assert.deepEqual('connections' in found && found.connections, [
    { from: 'ingress:default/i', to: 'default/a[Pod]', ports: [{ protocol: 'TCP', ranges: [[8080, 8080]] }] },
  ]);
  const all = reach(state, { from: null, to: 'default/a', protocol: null });
  assert.ok('connections' in all && all.connections.some(({ from }) => from === 'ingress:default/i'));
  const udp = reach(state, { from: 'ingress:*', to: null, protocol: 'UDP' });
  assert.deepEqual('connections' in udp && udp.connections, []);
});

test('a trace tells both connections, and the request between them', () => {
  const state = stateOf(ingress('i', `rules: [${rule('h', path('/', 'Prefix', 'b'))}]`));
  const question = { from: 'default/a', to: 'ingress:*', protocol: 'TCP', port: null, sourcePort: null, node: null };
  const found = trace(state, { ...question, http: 'GET h/x' });
  assert.ok('forward' in found);
  assert.deepEqual(found.http, { status: 200, backend: 'svc:default/b' });
  const at = found.forward.findIndex(({ action }) => action === 'http');
  assert.match(
    found.forward[at]!.text,
    /^sends GET h\/x on to Service default\/b:80, as rules\[0\]\.http\.paths\[0\] of Ingress default\/i says$/,
  );
  assert.equal(found.forward[at - 1]!.after.destinationPort, 80);
  assert.equal(found.forward[at]!.before.source, '10.1.0.5');
  assert.equal(found.forward.at(-1)!.after.destination, '10.2.0.6');
  assert.equal(found.reply!.at(-1)!.after.destination, '10.1.0.5');
  const missed = trace(state, { ...question, http: 'GET other/' });
  assert.ok('forward' in missed);
  assert.equal(missed.forward.at(-1)!.text, 'answers GET other/ with 404: no rule is for host other');
  assert.equal(missed.reply!.at(-1)!.after.destination, '10.1.0.5');
});

test('HS6001–HS6005 stand where an Ingress leads nowhere', () => {
  const classes = `apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: nginx}\nspec: {controller: k8s.io/ingress-nginx}\n---\n`;
  const problems = (yaml: string): string[] =>
    check(stateOf(yaml), []).map(({ code, at: { source, start, end }, fixes }) =>
      [code, source.text.slice(start, end), ...fixes].join(' | '),
    );
  const rules = (...paths: string[]): string => ingress('i', `rules: [${rule('h', ...paths)}]`);
  const table: [yaml: string, problems: string[]][] = [
    [rules(path('/', 'Prefix', 'a')), []],
    [rules(path('/', 'Prefix', 'newdeploy', 8080)), ['HS6001 | newdeploy']],
    [rules(path('/', 'Prefix', 'a', 8080)), ['HS6002 | 8080 | write `number: 80`']],
    [rules(path('/', 'Prefix', 'a', 'http')), ['HS6002 | http | write `number: 80`']],
    [
      classes + ingress('i', `ingressClassName: ngnix, rules: [${rule('h', path('/', 'Prefix', 'a'))}]`),
      ['HS6003 | ngnix | change to `nginx`'],
    ],
    [rules(path('/x', 'Prefix', 'a'), path('/x/', 'Prefix', 'b')), ['HS6004 | "/x/"']],
    [rules(path('/x', 'Prefix', 'a'), path('/x', 'Exact', 'b'), path('/x/', 'Prefix', 'a')), []],
    [
      'apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: old}\nspec: {backend: {serviceName: a, servicePort: 80}}\n',
      [
        'HS6005 | extensions/v1beta1 | write `apiVersion: networking.k8s.io/v1`, with `pathType`, `service.name` and `service.port`',
      ],
    ],
  ];
  for (const [yaml, expected] of table) assert.deepEqual(problems(yaml), expected, yaml);
});

test('hovering a path shows where its request ends, and behind each backend stands how many serve it', () => {
  const session = new Session(modules.trace);
  const yaml =
    SERVICES +
    ingress(
      'i',
      `tls: [{hosts: [h]}], rules: [${rule('h', path('/shop', 'Prefix', 'a'), path('/gone', 'Exact', 'x'))}]`,
    );
  session.setFile('i.yaml', yaml);
  const lineAt = (words: string): string[] => {
    const before = yaml.slice(0, yaml.indexOf(words)).split('\n');
    const card = session.hover('i.yaml', { line: before.length, column: before.at(-1)!.length + 2 });
    return card!.lines.map((spans) => spans.map(({ text }) => text).join(''));
  };
  const lines = lineAt('/shop');
  assert.equal(lines[0], 'ALLOWED world → ingress:default/i TCP GET https://h/shop: HTTP 200, backend svc:default/a');
  assert.ok(
    lines.some((line) => line.includes('picks backend default/a 10.1.0.5:8080')),
    lines.join('\n'),
  );
  assert.equal(
    lineAt('/gone')[0],
    'DENIED world → ingress:default/i TCP GET https://h/gone: HTTP 503, backend svc:default/x: Service backend not found (158) at egress',
  );
  assert.deepEqual(
    session
      .annotations('i.yaml')
      .inlays.filter(({ text }) => !/pod/.test(text))
      .map(({ text }) => text),
    ['→ 1 endpoint', '→ 503'],
  );
});

test('what Kubernetes refuses in an Ingress is refused at its place', () => {
  const table: [spec: string, marked: string][] = [
    [`rules: [{http: {paths: [{path: /, backend: {service: {name: a, port: {number: 80}}}}]}}]`, 'HS1009'],
    [`rules: [${rule('h', path('x', 'Prefix', 'a'))}]`, 'HS1010 "x"'],
    [`rules: [${rule('h', path('/x//y', 'Exact', 'a'))}]`, 'HS1010 "/x//y"'],
    [`rules: [${rule('a.*.com', path('/', 'Exact', 'a'))}]`, 'HS1010 "a.*.com"'],
    [
      `rules: [${rule('h', '{path: /, pathType: Regex, backend: {service: {name: a, port: {number: 80}}}}')}]`,
      'HS1010 Regex',
    ],
    [
      `rules: [${rule('h', '{path: /, pathType: Exact, backend: {service: {name: a, port: {number: 80, name: http}}}}')}]`,
      'HS1010 {number: 80, name: http}',
    ],
    [
      `rules: [${rule('h', '{path: /, pathType: Exact, backend: {serviceName: a, servicePort: 80}}')}]`,
      'HS1010 serviceName',
    ],
    ['tls: []', 'HS1009'],
  ];
  for (const [spec, marked] of table) {
    const { state } = new Lab(ingress('i', spec));
    const [first] = state.manifests.problems;
    assert.ok(first, spec);
    const { source, start, end } = first.at;
    const text = `${first.code} ${source.text.slice(start, end)}`;
    assert.ok(text.startsWith(marked), `${text} at ${JSON.stringify(locate(first.at).range)}, not ${marked}`);
    assert.equal(state.cluster.ingresses.length, 0);
    assert.equal(told(ask(state, 'h/')), 'UNKNOWN');
  }
});
