/** Manifests that are out to be misread: names that JavaScript's own objects have, and what reads as if it were there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { announcedFlows } from '../../dataplane/answers/generate-flows.js';
import { query, type Answer } from '../../dataplane/answers/query.js';
import { reach } from '../../dataplane/answers/reach.js';
import { search } from '../../dataplane/answers/search.js';
import { Lab, pod, service, TWO_NODES } from '../lab.js';

const PODS = TWO_NODES + pod('a', '10.1.0.5', 'n1') + pod('b', '10.1.0.6', 'n1') + pod('c', '10.2.0.7', 'n2');
const POLICY = (text: string): string => `apiVersion: ${text}\n---\n`;

function ask(lab: Lab, from: string, to: string, port = 80): Answer {
  const question = { from, to, protocol: 'TCP', port, sourcePort: null, node: null, http: null };
  const answered = query(lab.state, question);
  if ('error' in answered) throw new Error(answered.error);
  return answered.answer;
}

test('names that every object has are names like others', () => {
  const path = POLICY(
    'cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p}\nspec: {endpointSelector: {matchLabels: {app: b}}, ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{path: "/[[:constructor:]]+"}]}}]}]}',
  );
  assert.equal(ask(new Lab(PODS + path), 'default/a', 'default/b').verdict, 'UNKNOWN', 'the class of no expression');
  const deny = POLICY(
    `projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {selector: app == 'b', ingress: [{action: Deny, source: {selector: constructor == 'x'}}, {action: Allow}]}`,
  );
  const labelled = PODS.replace('labels: {app: a}', "labels: {app: a, constructor: 'x'}");
  assert.equal(ask(new Lab(labelled + deny), 'default/a', 'default/b').verdict, 'DENIED');
  assert.equal(ask(new Lab(PODS + deny), 'default/a', 'default/b').verdict, 'ALLOWED');
  const url = `apiVersion: v1\nkind: Pod\nmetadata: {name: d}\nspec: {containers: [{name: c, env: [{name: DB_URL, value: 'constructor://b'}]}]}\n---\n`;
  assert.doesNotThrow(() => announcedFlows(new Lab(PODS + url + service('b', '10.96.0.9', 80, 8080)).state));
});

test('a Service whose ports cannot be read, or are none, lets nobody through and keeps nobody out', () => {
  for (const ports of [
    'ports: [{port: 80, targetPort: "80"}]',
    'ports: [{port: 80000}]',
    'ports: [{prt: 80}]',
    'ports: []',
  ]) {
    const text = `apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {clusterIP: 10.96.0.9, selector: {app: b}, ${ports}}\n---\n`;
    assert.equal(ask(new Lab(PODS + text), 'default/a', 'svc:default/s').verdict, 'UNKNOWN', ports);
  }
});

test('kinds of a group that decides about traffic are evaluated, known to be harmless, or UNKNOWN', () => {
  const kinds: readonly (readonly [version: string, kind: string, verdict: Answer['verdict']])[] = [
    ['networking.k8s.io/v1', 'NetworkPolicies', 'UNKNOWN'],
    ['cilium.io/v2', 'CiliumLocalRedirectPolicy', 'UNKNOWN'],
    ['cilium.io/v2', 'CiliumEnvoyConfig', 'UNKNOWN'],
    ['cilium.io/v2', 'CiliumNode', 'ALLOWED'],
    ['networking.k8s.io/v1', 'ServiceCIDR', 'ALLOWED'],
  ];
  for (const [version, kind, verdict] of kinds)
    assert.equal(
      ask(new Lab(PODS + POLICY(`${version}\nkind: ${kind}\nmetadata: {name: x}\nspec: {}`)), 'default/a', 'default/b')
        .verdict,
      verdict,
      kind,
    );
});

test('where clients outside find a Service that has no number yet is not known', () => {
  const text = (type: string, more = ''): string =>
    `apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: ${type}, clusterIP: 10.96.0.9, selector: {app: b}, ports: [{port: 80${more}}]}\n---\n`;
  for (const type of ['LoadBalancer', 'NodePort']) {
    assert.equal(ask(new Lab(PODS + text(type)), 'world', 'svc:default/s').verdict, 'UNKNOWN');
    assert.equal(
      ask(new Lab(PODS + text(type)), 'world', 'ip:10.96.0.9').verdict,
      'DENIED',
      'its ClusterIP is no way in',
    );
    assert.equal(ask(new Lab(PODS + text(type, ', nodePort: 30080')), 'world', 'svc:default/s').verdict, 'ALLOWED');
  }
});

test('backends alike on two nodes are two to a client outside: to the other node it goes under another name', () => {
  const backends = PODS.replaceAll('labels: {app: c}', 'labels: {app: b}');
  const text = `apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: NodePort, clusterIP: 10.96.0.9, selector: {app: b}, ports: [{port: 80, nodePort: 30080}]}\n---\n`;
  const only = POLICY(
    'networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelector: {matchLabels: {app: b}}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]}',
  );
  const lab = new Lab(backends + text + only);
  for (let i = 1; i <= 6; i++)
    assert.equal(ask(lab, `ip:203.0.113.${i}`, 'node:n1', 30080).verdict, 'CONDITIONAL', `client ${i}`);
});

const MESH = 'apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {istio-injection: enabled}}\n---\n';

test('reach and search know the ports of a mesh, and what its policies ask of requests', () => {
  const asks = POLICY(
    'security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {selector: {matchLabels: {app: b}}, rules: [{to: [{operation: {methods: [GET]}}]}]}',
  );
  const found = reach(new Lab(MESH + PODS + asks).state, { from: 'default/a', to: 'default/b', protocol: 'TCP' });
  assert.ok(!('error' in found));
  assert.match(JSON.stringify(found.connections), /"layer7"/);
  const closed = POLICY(
    'security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {selector: {matchLabels: {app: b}}, action: DENY, rules: [{to: [{operation: {ports: ["9000"]}}]}]}',
  );
  const options = { from: 'default/a', to: 'default/b', protocol: 'TCP', port: null, limit: 1 } as const;
  const refused = search(new Lab(MESH + PODS + closed).state, { ...options, verdict: 'DENIED' });
  assert.ok(!('error' in refused));
  assert.equal(refused.witnesses[0]?.port, 9000);
});

test('what a client keeps from its sidecar may come unsecured', () => {
  const strict = POLICY(
    'security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: {mtls: {mode: STRICT}}',
  );
  const keeps = PODS.replace(
    'labels: {app: a}',
    "labels: {app: a}, annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: '80'}",
  );
  assert.equal(ask(new Lab(MESH + PODS + strict), 'default/a', 'default/b').verdict, 'ALLOWED');
  assert.equal(ask(new Lab(MESH + keeps + strict), 'default/a', 'default/b').verdict, 'UNKNOWN');
});

test('a path that a mesh may write otherwise before it looks at it is not compared as it is', () => {
  const deny = POLICY(
    'security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {selector: {matchLabels: {app: b}}, action: DENY, rules: [{to: [{operation: {paths: ["/admin*"]}}]}]}',
  );
  const lab = new Lab(MESH + PODS + deny);
  const verdict = (path: string): string => {
    const http = { method: 'GET', host: 'b', path };
    const question = {
      from: 'default/a',
      to: 'default/b',
      protocol: 'TCP',
      port: 80,
      sourcePort: null,
      node: null,
      http,
    };
    const answered = query(lab.state, question);
    return 'error' in answered ? answered.error : answered.answer.verdict;
  };
  assert.equal(verdict('/admin/x'), 'DENIED');
  assert.equal(verdict('/public/.well-known?a=%2e'), 'ALLOWED');
  for (const path of ['/public/../admin', '/x\\..\\admin', '/%61dmin', '/public/..'])
    assert.equal(verdict(path), 'UNKNOWN', path);
});

test('every class of Ingress has its own controller, and nothing is said for one that could not be read', () => {
  const ingress = (name: string, className: string): string =>
    `apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: ${name}}\nspec: {ingressClassName: ${className}, rules: [{host: ${name}.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: b, port: {number: 80}}}}]}}]}\n---\n`;
  const controller = `apiVersion: v1\nkind: Namespace\nmetadata: {name: ingress-nginx}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: nginx, namespace: ingress-nginx, labels: {app.kubernetes.io/name: ingress-nginx, app.kubernetes.io/component: controller}}\nspec: {nodeName: n1, containers: [{name: c}]}\nstatus: {podIP: 10.1.0.9}\n---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: nginx}\nspec: {controller: k8s.io/ingress-nginx}\n---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: traefik}\nspec: {controller: traefik.io/ingress-controller}\n---\n`;
  const only = POLICY(
    'networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelector: {matchLabels: {app: b}}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]}]}',
  );
  const common = PODS + service('b', '10.96.0.9', 80, 8080) + controller + only;
  const [one, two] = [ingress('one', 'nginx'), ingress('two', 'traefik')];
  for (const text of [common + one + two, common + two + one])
    assert.equal(ask(new Lab(text), 'ingress:*', 'svc:default/b').verdict, 'CONDITIONAL');
  const unread = 'apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: three}\nspec: {rules: 5}\n---\n';
  assert.equal(ask(new Lab(common + one + unread), 'ingress:*', 'svc:default/b').verdict, 'UNKNOWN');
});
