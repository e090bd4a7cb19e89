/** Istio: who has a sidecar, what AuthorizationPolicies and PeerAuthentications make of calls, and what is left open. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { annotate } from '../../dataplane/answers/annotate.js';
import { check } from '../../dataplane/answers/check.js';
import { hover } from '../../dataplane/answers/hover.js';
import { query, type Answer, type Question } from '../../dataplane/answers/query.js';
import { reach } from '../../dataplane/answers/reach.js';
import { trace } from '../../dataplane/answers/trace.js';
import type { State } from '../../dataplane/state.js';
import { Lab } from '../lab.js';

const namespace = (name: string, labels = ''): string =>
  `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}, labels: {${labels}}}\n---\n`;

interface PodParts {
  readonly labels?: string;
  readonly annotations?: string;
  readonly account?: string;
  readonly spec?: string;
}

let next = 5;
/** A pod in a namespace, labelled `app: name`. */
const pod = (
  path: string,
  { labels = '', annotations = '', account = 'default', spec = '' }: PodParts = {},
): string => {
  const [space, name] = path.split('/') as [string, string];
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: ${space}, labels: {app: ${name}, ${labels}}, annotations: {${annotations}}}
spec: {serviceAccountName: ${account}, containers: [{name: app}]${spec}}
status: {podIP: 10.244.1.${next++}}
---
`;
};

const service = (path: string): string => {
  const [space, name] = path.split('/') as [string, string];
  return `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: ${space}}\nspec: {selector: {app: ${name}}, ports: [{port: 80, targetPort: 8080}]}\n---\n`;
};

const policy = (path: string, spec: string, kind = 'AuthorizationPolicy'): string => {
  const [space, name] = path.split('/') as [string, string];
  return `apiVersion: security.istio.io/v1\nkind: ${kind}\nmetadata: {name: ${name}, namespace: ${space}}\nspec: {${spec}}\n---\n`;
};
const peer = (path: string, spec: string): string => policy(path, spec, 'PeerAuthentication');

/** How clients of a host connect. */
const connects = (host: string, spec: string): string =>
  `apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d, namespace: shop}\nspec: {host: "${host}", trafficPolicy: {${spec}}}\n---\n`;
const STRICT = 'mtls: {mode: STRICT}';
const REQUEST = 'RequestAuthentication';
const TOKENS = 'jwtRules: [{issuer: a, fromHeaders: [{name: X-Token}], fromParams: [jwt]}]';

const MESH = namespace('shop', 'istio-injection: enabled') + namespace('plain');
const PODS =
  MESH +
  pod('shop/web', { account: 'web' }) +
  pod('shop/db') +
  pod('plain/old') +
  service('shop/db') +
  service('plain/old');

const stateOf = (yaml: string): State => new Lab(yaml).state;

function ask(
  state: State,
  from: string,
  to: string,
  http: string | object | null = null,
  more: Partial<Question> = {},
): Answer {
  const question = { from, to, protocol: 'TCP', port: null, sourcePort: null, node: null, http };
  const answered = query(state, { ...question, port: to.startsWith('svc:') ? 80 : 8080, ...more });
  if ('error' in answered) throw new Error(answered.error);
  return answered.answer;
}

const told = ({ verdict, http }: Answer): string => `${verdict}${http ? ` ${http.status}` : ''}`;

test('an empty ALLOW denies all, an empty rule allows all; without any policy all is allowed', () => {
  const table: [spec: string | null, expected: string][] = [
    [null, 'ALLOWED 200'],
    ['', 'DENIED 403'],
    ['action: ALLOW', 'DENIED 403'],
    ['rules: [{}]', 'ALLOWED 200'],
    ['action: DENY', 'ALLOWED 200'],
    ['action: DENY, rules: [{}]', 'DENIED 403'],
    ['action: AUDIT, rules: [{}]', 'ALLOWED 200'],
    ['selector: {matchLabels: {app: other}}', 'ALLOWED 200'],
    ['selector: {matchLabels: {app: db}}', 'DENIED 403'],
  ];
  for (const [spec, expected] of table) {
    const state = stateOf(PODS + (spec === null ? '' : policy('shop/p', spec)));
    assert.equal(told(ask(state, 'shop/web', 'svc:shop/db', 'GET db/')), expected, spec ?? 'none');
    assert.equal(told(ask(state, 'shop/web', 'svc:plain/old', 'GET old/')), 'ALLOWED 200', 'no sidecar is there');
  }
  const everywhere = stateOf(PODS + policy('istio-system/p', ''));
  const refused = ask(everywhere, 'shop/web', 'shop/db');
  assert.deepEqual(
    [refused.verdict, refused.direction, refused.reason?.code, refused.http],
    ['DENIED', 'ingress', 133, null],
  );
  assert.deepEqual(
    refused.deciders.map(
      ({ kind, namespace: space, name, rule, effect }) => `${kind} ${space}/${name} ${rule} ${effect}`,
    ),
    ['AuthorizationPolicy istio-system/p null isolates'],
  );
});

test('a policy that is only tried out decides nothing', () => {
  const tried = policy('shop/p', '').replace(
    'namespace: shop}',
    'namespace: shop, annotations: {istio.io/dry-run: "true"}}',
  );
  assert.equal(ask(stateOf(PODS + tried), 'shop/web', 'shop/db').verdict, 'ALLOWED');
});

test('a refusal stands at the rule that denies, or at the policies of which none allows', () => {
  const yaml = `${PODS}${policy('shop/allow', 'rules: [{}]')}apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata:
  name: deny
  namespace: shop
spec:
  action: DENY
  rules:
    - to:
        - operation:
            methods: [PUT]
    - to:
        - operation:
            paths: ["/admin*"]
`;
  const state = stateOf(yaml);
  const [decider] = ask(state, 'shop/web', 'svc:shop/db', 'GET db/admin/x').deciders;
  assert.equal(`${decider!.name} ${decider!.rule} ${decider!.effect}`, 'deny rules[1] denies');
  assert.match(yaml.split('\n')[decider!.line]!, /- operation:/);
  const passed_ = ask(state, 'shop/web', 'svc:shop/db', 'GET db/');
  assert.deepEqual(
    passed_.deciders.map(({ name, rule, effect }) => `${name} ${rule} ${effect}`),
    ['allow rules[0] allows'],
  );
  const untold = ask(state, 'shop/web', 'svc:shop/db');
  assert.equal(untold.verdict, 'CONDITIONAL');
  assert.match(untold.depends.join('\n'), /AuthorizationPolicy shop\/deny rules\[0\]: lets some requests/);
});

test('a strict server refuses a client without a sidecar; a port, a pod and a namespace may say otherwise', () => {
  const table: [peers: string, old: string][] = [
    [peer('istio-system/mesh', 'mtls: {mode: STRICT}'), 'DENIED'],
    [peer('shop/ns', 'mtls: {mode: STRICT}'), 'DENIED'],
    [peer('shop/pod', 'selector: {matchLabels: {app: db}}, mtls: {mode: STRICT}'), 'DENIED'],
    [peer('shop/pod', 'selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}'), 'ALLOWED'],
    [peer('istio-system/mesh', 'mtls: {mode: STRICT}') + peer('shop/ns', 'mtls: {mode: PERMISSIVE}'), 'ALLOWED'],
    [peer('istio-system/mesh', 'mtls: {mode: STRICT}') + peer('shop/ns', 'mtls: {mode: UNSET}'), 'DENIED'],
    [
      peer('istio-system/mesh', 'mtls: {mode: STRICT}') +
        peer('shop/pod', 'selector: {matchLabels: {app: db}}, portLevelMtls: {8080: {mode: DISABLE}}'),
      'ALLOWED',
    ],
    [peer('shop/pod', 'selector: {matchLabels: {app: db}}, portLevelMtls: {9090: {mode: STRICT}}'), 'ALLOWED'],
    [peer('shop/pod', 'selector: {matchLabels: {app: db}}, portLevelMtls: {8080: {mode: STRICT}}'), 'DENIED'],
    [peer('istio-system/some', 'selector: {matchLabels: {app: db}}, mtls: {mode: STRICT}'), 'ALLOWED'],
  ];
  for (const [peers, old] of table) {
    const state = stateOf(PODS + peers);
    assert.equal(ask(state, 'plain/old', 'svc:shop/db').verdict, old, peers);
    assert.equal(ask(state, 'shop/web', 'svc:shop/db').verdict, 'ALLOWED', peers);
  }
  const refused = ask(stateOf(PODS + peer('shop/ns', 'mtls: {mode: STRICT}')), 'plain/old', 'svc:shop/db', 'GET db/');
  assert.equal(told(refused), 'DENIED', 'a connection that ends is not answered');
  assert.deepEqual(
    refused.deciders.map(({ kind, name, effect }) => `${kind} ${name} ${effect}`),
    ['PeerAuthentication ns denies'],
  );
  assert.deepEqual(refused.hints, ['the sidecar takes mutual TLS alone, and the client has no proxy that speaks it']);
});

test('who a caller is, only mutual TLS says: without it there is no principal and no namespace', () => {
  const only = policy('shop/p', 'rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]');
  const other = policy('shop/p', 'action: DENY, rules: [{from: [{source: {notNamespaces: [shop]}}]}]');
  const table: [yaml: string, from: string, expected: string][] = [
    [only, 'shop/web', 'ALLOWED'],
    [only, 'shop/db2', 'DENIED'],
    [only, 'plain/old', 'DENIED'],
    [only, 'world', 'DENIED'],
    [only + peer('shop/off', 'mtls: {mode: DISABLE}'), 'shop/web', 'DENIED'],
    [other, 'shop/web', 'ALLOWED'],
    [other, 'plain/old', 'DENIED'],
    [other + peer('shop/off', 'mtls: {mode: DISABLE}'), 'shop/web', 'DENIED'],
  ];
  for (const [yaml, from, expected] of table)
    assert.equal(ask(stateOf(PODS + pod('shop/db2') + yaml), from, 'shop/db').verdict, expected, `${from} ${yaml}`);
});

test('which pods have a sidecar', () => {
  const table: [namespace: string, pod: PodParts, refused: string][] = [
    ['istio-injection: enabled', {}, 'DENIED'],
    ['', {}, 'ALLOWED'],
    ['istio-injection: disabled', { labels: 'sidecar.istio.io/inject: "true"' }, 'ALLOWED'],
    ['istio.io/rev: canary', {}, 'DENIED'],
    ['istio-injection: disabled, istio.io/rev: canary', {}, 'ALLOWED'],
    ['', { labels: 'sidecar.istio.io/inject: "true"' }, 'DENIED'],
    ['', { labels: 'istio.io/rev: canary' }, 'DENIED'],
    ['istio-injection: enabled', { labels: 'sidecar.istio.io/inject: "false"' }, 'ALLOWED'],
    ['istio-injection: enabled', { annotations: 'sidecar.istio.io/inject: "false"' }, 'ALLOWED'],
    ['', { spec: ', initContainers: [{name: istio-proxy, restartPolicy: Always}]' }, 'DENIED'],
    [
      'istio-injection: enabled',
      { annotations: 'traffic.sidecar.istio.io/excludeInboundPorts: "9090, 8080"' },
      'ALLOWED',
    ],
    ['istio-injection: enabled', { annotations: 'traffic.sidecar.istio.io/includeInboundPorts: "9090"' }, 'ALLOWED'],
    ['istio.io/dataplane-mode: ambient', {}, 'DENIED'],
    ['istio.io/dataplane-mode: ambient', { labels: 'istio.io/dataplane-mode: none' }, 'ALLOWED'],
    ['', { labels: 'istio.io/dataplane-mode: ambient' }, 'DENIED'],
  ];
  for (const [labels, parts, refused] of table) {
    const state = stateOf(
      namespace('shop', labels) + namespace('plain') + pod('plain/old') + pod('shop/db', parts) + policy('shop/p', ''),
    );
    const { verdict, assumes } = ask(state, 'plain/old', 'shop/db');
    assert.equal(verdict, refused, `${labels} ${JSON.stringify(parts)}`);
    if (verdict === 'ALLOWED' && !parts.annotations?.includes('traffic'))
      assert.match(assumes.join('\n'), /AuthorizationPolicy p has no say: pod shop\/db has no sidecar/);
  }
});

test('UDP, and a pod to itself, are not the business of a sidecar', () => {
  const state = stateOf(PODS + policy('shop/p', ''));
  assert.equal(ask(state, 'shop/web', 'shop/db', null, { protocol: 'UDP' }).verdict, 'ALLOWED');
  assert.equal(ask(state, 'shop/db', 'svc:shop/db').verdict, 'ALLOWED');
});

test('what cannot be told from here is UNKNOWN, at its line', () => {
  const ambient =
    namespace('air', 'istio.io/dataplane-mode: ambient') +
    pod('air/db', { labels: 'istio.io/use-waypoint: way' }) +
    pod('air/plain');
  const custom = 'action: CUSTOM, provider: {name: own}, rules: [{to: [{operation: {paths: [/admin]}}]}]';
  const table: [yaml: string, to: string, http: string | object | null, depends: RegExp | null][] = [
    [
      policy('shop/c', custom),
      'shop/db',
      'GET db/admin',
      /^lab\.yaml:\d+: AuthorizationPolicy shop\/c rules\[0\]: what stands there is not evaluated$/,
    ],
    [policy('shop/c', custom), 'shop/db', 'GET db/', null],
    [
      policy('shop/j', 'rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]'),
      'shop/db',
      { headers: { Authorization: 'Bearer x' } },
      /shop\/j rules\[0\]/,
    ],
    [
      policy('shop/s', 'rules: [{when: [{key: connection.sni, values: [x]}]}]'),
      'shop/db',
      'GET db/',
      /shop\/s rules\[0\]/,
    ],
    [
      peer('shop/a', 'mtls: {mode: STRICT}') + peer('shop/b', 'mtls: {mode: PERMISSIVE}'),
      'shop/db',
      null,
      /PeerAuthentication shop\/a: which of several PeerAuthentications counts/,
    ],
    [ambient + policy('air/p', ''), 'air/db', null, /^what the waypoint of pod air\/db decides$/],
    [
      ambient + policy('air/p', 'rules: [{to: [{operation: {methods: [GET]}}]}]'),
      'air/plain',
      'GET x/',
      /what ztunnel makes of a policy that asks about requests/,
    ],
    [
      pod('nowhere/db') + policy('nowhere/p', ''),
      'nowhere/db',
      null,
      /^whether pod nowhere\/db has a sidecar: namespace nowhere has no Namespace object$/,
    ],
    [pod('nowhere/db') + policy('nowhere/p', 'rules: [{}]'), 'nowhere/db', null, null],
    [
      policy('shop/x', 'rules: [{from: [{source: {principal: [x]}}]}]'),
      'shop/db',
      null,
      /AuthorizationPolicy x could not be read/,
    ],
    [policy('istio-system/x', 'rules: [{from: []}]'), 'shop/db', null, /AuthorizationPolicy x could not be read/],
    [peer('istio-system/x', 'mtls: {mode: HARD}'), 'shop/db', null, /PeerAuthentication x could not be read/],
    [
      policy('shop/x', 'action: DENY, rules: [{}]', 'AuthorizaionPolicy'),
      'shop/db',
      null,
      /AuthorizaionPolicy x is not/,
    ],
    [peer('shop/s', STRICT) + connects('db', 'tls: {mode: DISABLE}'), 'shop/db', null, /DestinationRule shop\/d/],
    [peer('shop/s', STRICT) + connects('*.local', 'tls: {mode: SIMPLE}'), 'shop/db', null, /without the mesh/],
    [
      peer('shop/s', STRICT) + connects('db.shop', 'portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]'),
      'svc:shop/db',
      null,
      /^lab\.yaml:\d+: DestinationRule/,
    ],
    [peer('shop/s', STRICT) + connects('old.plain', 'tls: {mode: DISABLE}'), 'shop/db', null, null],
    [
      peer('shop/s', STRICT) + connects('db', 'tls: {mode: ISTIO_MUTUAL}, loadBalancer: {simple: RANDOM}'),
      'shop/db',
      null,
      null,
    ],
    [connects('db', 'tls: {mode: DISABLE}'), 'shop/db', null, null],
    [policy('shop/t', TOKENS, REQUEST), 'shop/db', 'GET db/', null],
    [
      policy('shop/t', TOKENS, REQUEST),
      'shop/db',
      { headers: { 'x-token': 'x' } },
      /RequestAuthentication shop\/t: whether the token in the request is good$/,
    ],
    [
      policy('shop/t', TOKENS, REQUEST) +
        policy('shop/d', 'action: DENY, rules: [{from: [{source: {requestPrincipals: [x]}}]}]'),
      'shop/db',
      'GET db/?jwt=x',
      /whether the token in the request is good$/,
    ],
  ];
  for (const [yaml, to, http, depends] of table) {
    const { verdict, depends: found } = ask(stateOf(PODS + yaml), 'shop/web', to, http);
    assert.equal(verdict, depends ? 'UNKNOWN' : 'ALLOWED', `${yaml} ${found.join()}`);
    if (depends) assert.match(found[0]!, depends);
  }
});

test('the editor tells of a policy whom it is about, and of a rule whose calls it decides', () => {
  const db = pod('shop/db').replace('{name: app}', '{name: app, ports: [{containerPort: 8080}]}');
  const rules =
    'rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}, {to: [{operation: {paths: [/x]}}]}]';
  const text =
    MESH +
    pod('shop/web', { account: 'web' }) +
    pod('shop/job') +
    db +
    policy('shop/p', `selector: {matchLabels: {app: db}}, ${rules}`);
  const state = stateOf(text);
  const { lenses } = annotate(state, 'lab.yaml');
  assert.equal(lenses.at(-1)?.title, 'applies to 1 pod of 1 workload');
  const lineAt = (what: string): string[] => {
    const before = text.slice(0, text.indexOf(what)).split('\n');
    const card = hover(state, 'lab.yaml', { line: before.length, column: before.at(-1)!.length + 2 });
    return (card?.lines ?? []).map((spans) => spans.map((span) => span.text).join(''));
  };
  assert.ok(lineAt('{from: [{source').includes('lets in today: shop/web[Pod]'));
  assert.ok(lineAt('{to: [{operation').includes('decides by the request of: shop/job[Pod]'));
  assert.ok(lineAt('p, namespace: shop}').some((line) => line.startsWith('p ALLOW: applies to 1 pod')));
});

test('where pods of a Service are not alike to the mesh, the answer says on which it depends', () => {
  const two =
    pod('shop/one', { labels: 'tier: db' }) + pod('shop/two', { labels: 'tier: db, sidecar.istio.io/inject: "false"' });
  const both = `apiVersion: v1\nkind: Service\nmetadata: {name: both, namespace: shop}\nspec: {selector: {tier: db}, ports: [{port: 80}]}\n---\n`;
  const answer = ask(stateOf(MESH + pod('shop/web') + two + both + policy('shop/p', '')), 'shop/web', 'svc:shop/both');
  assert.equal(answer.verdict, 'CONDITIONAL');
  assert.deepEqual(answer.depends, [
    'on backend pod shop/one:80: DENIED (Policy denied, ingress)',
    'on backend pod shop/two:80: ALLOWED',
  ]);
});

test('reach lists what the mesh lets, port by port, and not what cannot be told', () => {
  const ports = policy(
    'shop/p',
    'selector: {matchLabels: {app: db}}, rules: [{from: [{source: {namespaces: [shop]}}], to: [{operation: {ports: ["8080"]}}]}]',
  );
  const found = reach(stateOf(PODS + ports), { from: null, to: 'shop/db', protocol: 'TCP' });
  assert.ok('connections' in found);
  const lines = found.connections.map(
    ({ from, ports: open }) =>
      `${from} ${open.map(({ ranges }) => ranges.map((range) => range.join('-')).join(' ')).join()}`,
  );
  assert.deepEqual(lines.slice(0, 2), [
    'plain/old[Pod] 15020-15021 15090-15090',
    'shop/web[Pod] 8080-8080 15020-15021 15090-15090',
  ]);
  const custom = policy('shop/c', 'action: CUSTOM, provider: {name: own}, rules: [{}]');
  const open = reach(stateOf(PODS + custom), { from: 'shop/web', to: 'shop/db', protocol: 'TCP' });
  assert.ok('connections' in open);
  assert.deepEqual(
    open.connections.map(({ ports: listed }) => listed.map(({ ranges }) => ranges)),
    [
      [
        [
          [15020, 15021],
          [15090, 15090],
        ],
      ],
    ],
  );
  assert.deepEqual(
    open.unknown.map(({ ref }) => ref),
    ['shop/db[Pod]'],
  );
});

test('a trace ends at the sidecar, with the rule that decided', () => {
  const state = stateOf(
    PODS + policy('shop/p', 'action: DENY, rules: [{to: [{operation: {paths: ["/admin/{**}"]}}]}]'),
  );
  const found = trace(state, {
    from: 'shop/web',
    to: 'svc:shop/db',
    protocol: 'TCP',
    port: 80,
    sourcePort: null,
    node: null,
    http: 'GET db/admin/users',
  });
  assert.ok('forward' in found);
  const last = found.forward.at(-1)!;
  assert.deepEqual(
    [last.program, last.action, last.text, last.origin.length],
    ['istio-proxy', 'http', 'the sidecar refuses: a DENY rule matches', 1],
  );
  assert.equal(found.forward.at(-2)!.point, 'to-endpoint');
  assert.deepEqual([found.verdict, found.http?.status, found.reply], ['DENIED', 403, null]);
});

test('NetworkPolicies are asked first, and by both a call must be let', () => {
  const closed = `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: closed, namespace: shop}\nspec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}\n---\n`;
  const state = stateOf(
    PODS + pod('shop/other') + closed + policy('shop/p', 'rules: [{to: [{operation: {methods: [GET]}}]}]'),
  );
  const [dropped, refused, passed] = [
    ask(state, 'shop/other', 'svc:shop/db', 'GET db/'),
    ask(state, 'shop/web', 'svc:shop/db', 'PUT db/'),
    ask(state, 'shop/web', 'svc:shop/db', 'GET db/'),
  ];
  assert.deepEqual([told(dropped), dropped.deciders[0]?.kind], ['DENIED', 'NetworkPolicy']);
  assert.deepEqual([told(refused), refused.deciders[0]?.kind], ['DENIED 403', 'AuthorizationPolicy']);
  assert.deepEqual(
    [told(passed), passed.deciders.map(({ kind }) => kind)],
    ['ALLOWED 200', ['NetworkPolicy', 'AuthorizationPolicy']],
  );
});

test('HS3001 and HS7001: a policy that is about no pod, or about pods that nothing of the mesh is before', () => {
  const problems = (yaml: string): string[] =>
    check(stateOf(yaml), []).map(({ code, at: { source, start, end } }) => `${code} ${source.text.slice(start, end)}`);
  const table: [yaml: string, problems: string[]][] = [
    [PODS + policy('shop/p', ''), []],
    [PODS + policy('shop/p', 'selector: {matchLabels: {app: dbb}}'), ['HS3001 dbb']],
    [PODS + peer('istio-system/p', 'selector: {matchLabels: {app: none}}'), ['HS3001 none']],
    [PODS + policy('plain/p', ''), ['HS7001 p']],
    [PODS + peer('plain/p', 'mtls: {mode: STRICT}'), ['HS7001 p']],
    [PODS + peer('istio-system/p', 'mtls: {mode: STRICT}'), []],
    [pod('nowhere/db') + policy('nowhere/p', ''), []],
  ];
  for (const [yaml, expected] of table) assert.deepEqual(problems(yaml), expected, yaml);
});

/** Policies as Istio's reference and tasks write them, with every field that there is. */
const WRITTEN = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: sources, namespace: foo, annotations: {istio.io/dry-run: "false"}}
spec:
  selector: {matchLabels: {app: httpbin, version: v1}}
  action: ALLOW
  rules:
    - from:
        - source: {principals: ["cluster.local/ns/default/sa/curl"], notPrincipals: ["*/sa/bad"]}
        - source: {namespaces: [dev], notNamespaces: [prod]}
        - source: {requestPrincipals: ["issuer/*"], notRequestPrincipals: ["other/*"]}
        - source: {ipBlocks: [10.0.0.0/8, "2001:db8::1"], notIpBlocks: [10.1.2.3]}
        - source: {remoteIpBlocks: [203.0.113.0/24], notRemoteIpBlocks: [203.0.113.4]}
        - source: {serviceAccounts: [default/curl], notServiceAccounts: [other]}
      to:
        - operation: {hosts: ["*.example.com"], notHosts: [a.example.com], ports: ["80"], notPorts: ["9090"]}
        - operation: {methods: [GET, HEAD], notMethods: [POST], paths: ["/info*", "/foo/{*}/bar/{**}"], notPaths: [/admin]}
      when:
        - key: request.auth.claims[iss]
          values: ["https://accounts.google.com"]
        - {key: "request.headers[User-Agent]", notValues: ["Mozilla/*"]}
        - {key: source.ip, values: [10.1.2.3, 10.2.0.0/16]}
        - {key: "request.auth.claims[realm_access][roles]", values: [admin]}
        - {key: connection.sni, values: [www.example.com]}
---
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: {name: at-a-gateway, namespace: foo}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]
  action: DENY
  rules: [{from: [{source: {namespaces: [dev]}}], to: [{operation: {methods: [POST]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: foo}
spec: {}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: foo}
spec:
  selector: {matchLabels: {app: finance}}
  mtls: {mode: STRICT}
  portLevelMtls:
    8080: {mode: DISABLE}
    "9090": {mode: PERMISSIVE}
`;

test('what Istio documents is read, every field; what it does not know is refused at its place', () => {
  const { state } = new Lab(WRITTEN);
  assert.deepEqual(
    state.manifests.problems.map(({ code, message }) => `${code} ${message}`),
    ['HS1012 "connection.sni" is not evaluated yet; verdicts it could change are UNKNOWN.'],
  );
  assert.equal(state.cluster.authorizationPolicies.length, 3);
  assert.deepEqual(
    state.cluster.peerAuthentications.flatMap(({ ports }) => [...ports].map(([port, { value }]) => `${port} ${value}`)),
    ['8080 DISABLE', '9090 PERMISSIVE'],
  );
  const table: [yaml: string, marked: string][] = [
    [policy('foo/p', 'action: Deny'), 'HS1010 Deny'],
    [policy('foo/p', 'rules: [{from: []}]'), 'HS1010 []'],
    [policy('foo/p', 'rules: [{from: [{source: {}}]}]'), 'HS1010 {}'],
    [policy('foo/p', 'rules: [{to: [{operation: {method: [GET]}}]}]'), 'HS1010 method'],
    [policy('foo/p', 'rules: [{to: [{operation: {ports: ["http"]}}]}]'), 'HS1010 "http"'],
    [policy('foo/p', 'rules: [{from: [{source: {ipBlocks: [10.0.0.0/33]}}]}]'), 'HS1010 10.0.0.0/33'],
    [policy('foo/p', 'rules: [{when: [{key: "request.header[x]", values: [a]}]}]'), 'HS1010 "request.header[x]"'],
    [policy('foo/p', 'rules: [{when: [{key: source.ip}]}]'), 'HS1009 source.ip'],
    [policy('foo/p', 'selector: {matchExpressions: []}'), 'HS1010 matchExpressions'],
    [policy('foo/p', 'selector: {matchLabels: {a: b}}, targetRefs: [{kind: Gateway, name: g}]'), 'HS1010 {matchLabels'],
    [peer('foo/p', 'portLevelMtls: {http: {mode: STRICT}}'), 'HS1010 {mode: STRICT}'],
  ];
  for (const [yaml, marked] of table) {
    const [first] = new Lab(yaml).state.manifests.problems;
    assert.ok(first, yaml);
    const { source, start, end } = first.at;
    assert.ok(
      `${first.code} ${source.text.slice(start, end)}`.startsWith(marked),
      `${first.code} ${source.text.slice(start, end)}, not ${marked}`,
    );
  }
});

test('a route that is not read is told of where a Service beside it is asked', () => {
  const route = (version: string, kind: string): string =>
    `apiVersion: ${version}\nkind: ${kind}\nmetadata: {name: r, namespace: shop}\nspec: {}\n---\n`;
  const line = /^lab\.yaml:\d+: (VirtualService|HTTPRoute) r is not read: requests go where their Service leads them$/;
  for (const [yaml, from, to, told] of [
    [route('networking.istio.io/v1', 'VirtualService'), 'shop/web', 'svc:shop/db', true],
    [route('gateway.networking.k8s.io/v1', 'HTTPRoute'), 'plain/old', 'svc:shop/db', true],
    [route('gateway.networking.k8s.io/v1', 'HTTPRoute'), 'shop/web', 'shop/db', false],
    [route('gateway.networking.k8s.io/v1', 'GatewayClass'), 'shop/web', 'svc:shop/db', false],
  ] as const) {
    const { verdict, assumes } = ask(stateOf(PODS + yaml), from, to);
    assert.equal(verdict, 'ALLOWED');
    assert.equal(
      assumes.some((one) => line.test(one)),
      told,
      assumes.join('\n'),
    );
  }
});
