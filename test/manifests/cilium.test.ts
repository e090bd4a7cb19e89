/** Policies of Cilium as they are read: every published shape without a problem, and nothing looser than it was written. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CiliumPolicy } from '../../dataplane/manifests/cilium.js';
import { line, load } from './reading.js';

function read(spec: string): { policy: CiliumPolicy | null; problems: string[]; unread: number } {
  const text = `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: shop}\n${spec}\n`;
  const manifests = load(text);
  const [object] = manifests.objects;
  const policy = object?.kind === 'CiliumNetworkPolicy' ? object : null;
  return { policy, problems: manifests.problems.map(line), unread: manifests.unread.length };
}

/** The code, and what the editor underlines. */
const unplaced = (problem: string): string => problem.replace(/ \d+:\d+/, '');

/** The shapes that Cilium's documentation shows, a spec each: endpoint selectors, then what its four lists may hold. */
const PUBLISHED: readonly string[] = [
  'spec: {description: text, endpointSelector: {matchLabels: {role: backend}}, ingress: [{fromEndpoints: [{matchLabels: {role: frontend}}]}]}',
  'spec: {endpointSelector: {}, ingress: [{}]}',
  'spec: {endpointSelector: {}, egress: [{}]}',
  'spec: {endpointSelector: {matchLabels: {"any:org": alliance}}, egress: [{toFQDNs: [{matchName: my-service.example}, {matchPattern: "*.example"}], toPorts: [{ports: [{port: "443", protocol: TCP}]}]}]}',
  'spec: {endpointSelector: {}, egress: [{toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": kube-system, "k8s:k8s-app": kube-dns}}], toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*"}]}}]}]}',
  'spec: {endpointSelector: {}, ingressDeny: [{fromEntities: [world]}], ingress: [{fromEntities: [all]}]}',
  'spec: {endpointSelector: {}, egressDeny: [{toEndpoints: [{}], toPorts: [{ports: [{port: "8080"}]}]}]}',
  'spec: {endpointSelector: {}, egress: [{toEntities: [kube-apiserver, host, remote-node, cluster, init, health, unmanaged, ingress, none]}]}',
  'spec: {endpointSelector: {}, egress: [{toCIDR: [20.1.1.1/32, 20.1.1.2, "2001:db8::/32"]}, {toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.96.0.0/12]}]}]}',
  'spec: {endpointSelector: {}, ingress: [{fromCIDRSet: [{cidrGroupRef: vpn, except: [10.1.0.0/16]}, {cidrGroupSelector: {matchLabels: {role: vpn}}}]}]}',
  'spec: {endpointSelector: {}, egress: [{toServices: [{k8sService: {serviceName: db, namespace: shop}}, {k8sServiceSelector: {selector: {matchLabels: {head: none}}}}]}]}',
  'spec: {endpointSelector: {}, egress: [{toPorts: [{ports: [{port: "8080", endPort: 8090, protocol: TCP}, {port: metrics}, {protocol: VRRP}]}]}]}',
  'spec: {endpointSelector: {}, egress: [{icmps: [{fields: [{type: 8, family: IPv4}, {type: EchoRequest, family: IPv6}, {type: "0"}]}]}]}',
  'spec: {endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{method: GET, path: "/path1$"}, {method: PUT, path: /path2, host: "a\\\\.b", headers: ["X-My-Header: true"], headerMatches: [{name: a, value: b, mismatch: LOG}]}]}}]}]}',
  'specs: [{endpointSelector: {matchLabels: {app: a}}, ingress: [{}]}, {endpointSelector: {matchExpressions: [{key: "k8s:app", operator: NotIn, values: [a]}]}, egress: [{toEntities: [world]}]}]',
  'spec: {endpointSelector: {}, ingress: [{fromEntities: [cluster]}], enableDefaultDeny: {ingress: false, egress: true}}',
  'spec: {endpointSelector: {}, ingress: [{fromEntities: [cluster], authentication: {mode: required}}]}',
  'spec: {nodeSelector: {matchLabels: {type: ingress-worker}}, ingress: [{fromEntities: [cluster]}, {toPorts: [{ports: [{port: "22", protocol: TCP}]}]}]}',
];

test('what the documentation shows is read without a problem', () => {
  for (const spec of PUBLISHED) {
    const { policy, problems } = read(spec);
    assert.deepEqual(problems, [], spec);
    assert.ok(policy, spec);
  }
});

const rule = (fields: string): string => `spec: {endpointSelector: {}, ingress: [{${fields}}]}`;
const out = (fields: string): string => `spec: {endpointSelector: {}, egress: [{${fields}}]}`;
const http = (fields: string): string =>
  rule(`toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{${fields}}]}}]`);

test('whatever is refused leaves the whole policy unread, at its place', () => {
  const table: readonly (readonly [spec: string, problem: string])[] = [
    ['spec: {}', 'HS1009 {}'],
    ['spec: {endpointSelector: {}}', 'HS1010 {endpointSelector: {}}'],
    ['spec: {endpointSelector: {}, ingress: []}', 'HS1010 {endpointSelector: {}, i'],
    ['spec: {endpointSelector: {}, nodeSelector: {}, ingress: [{}]}', 'HS1010 {}'],
    [rule('fromEndpoint: [{}]'), 'HS1010 fromEndpoint'],
    [rule('toEndpoints: [{}]'), 'HS1010 toEndpoints'],
    [rule('fromEndpoints: {}'), 'HS1008 {}'],
    [rule('fromEndpoints: [{matchLabel: {}}]'), 'HS1010 matchLabel'],
    [rule('fromEndpoints: [{matchLabels: {"k8s:a b": c}}]'), 'HS1010 c'],
    [rule('fromEndpoints: [{}], fromEntities: [world]'), 'HS1010 [world]'],
    [rule('fromEntities: [World]'), 'HS1010 World'],
    [rule('fromCIDR: [10.0.0.0/33]'), 'HS1010 10.0.0.0/33'],
    [rule('fromCIDRSet: [{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}]'), 'HS3003 11.0.0.0/16'],
    [rule('fromCIDRSet: [{except: [11.0.0.0/16]}]'), 'HS1010 {except: [11.0.0.0/16]}'],
    [rule('toPorts: [{ports: [{port: 80}]}]'), 'HS1008 80'],
    [rule('toPorts: [{ports: [{port: "65536"}]}]'), 'HS1010 "65536"'],
    [rule('toPorts: [{ports: [{port: "80", endPort: 79}]}]'), 'HS1010 79'],
    [rule('toPorts: [{ports: [{port: "80", protocol: tcp}]}]'), 'HS1010 tcp'],
    [rule('toPorts: [{ports: [{port: "80"}], rules: {http: [{}]}}]'), 'HS1010 {port: "80"}'],
    [rule('toPorts: [{ports: [{port: "80"}]}], icmps: [{fields: [{type: 8}]}]'), 'HS1010 [{fields: [{type: 8}]}]'],
    [rule('icmps: [{fields: [{type: Ping}]}]'), 'HS1010 Ping'],
    [http('path: "("'), 'HS1010 "("'],
    [http('path: "(?=x)"'), 'HS1010 "(?=x)"'],
    [http('verb: GET'), 'HS1010 verb'],
    [out('toFQDNs: [{matchName: "*.example"}]'), 'HS1010 "*.example"'],
    [out('toFQDNs: [{}]'), 'HS1010 {}'],
    [out('toServices: [{}]'), 'HS1010 {}'],
    ['spec: {endpointSelector: {}, egressDeny: [{toFQDNs: [{matchName: a}]}]}', 'HS1010 toFQDNs'],
    ['spec: {endpointSelector: {}, ingressDeny: [{toPorts: [{ports: [], rules: {}}]}]}', 'HS1010 rules'],
    ['spec: {endpointSelector: {}, ingress: [{}], enableDefaultDeny: {ingress: "no"}}', 'HS1008 "no"'],
  ];
  for (const [spec, problem] of table) {
    const { policy, problems, unread } = read(spec);
    assert.equal(policy, null, spec);
    assert.equal(unread, 1, spec);
    assert.ok(problems.map(unplaced).includes(problem), `${spec}: ${problems.join(', ')}`);
  }
});

test('what is not evaluated is said at its place, and the policy stays', () => {
  const table: readonly (readonly [spec: string, what: string])[] = [
    [rule('fromNodes: [{}]'), 'fromNodes'],
    [rule('fromRequires: [{matchLabels: {env: prod}}]'), 'fromRequires'],
    [out('toGroups: [{aws: {}}]'), 'toGroups'],
    [out('toPorts: [{ports: [{port: "443"}], serverNames: [a.test]}]'), 'serverNames'],
    [out('toPorts: [{ports: [{port: "443"}], listener: {name: a}}]'), 'listener'],
    [out('toPorts: [{ports: [{port: "443"}], terminatingTLS: {}}]'), 'terminatingTLS'],
    [out('toPorts: [{ports: [{port: "9092"}], rules: {kafka: [{}]}}]'), 'rules.kafka, which is deprecated,'],
    [rule('toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: []}}]'), 'rules without a rule'],
    [rule('toPorts: [{}]'), 'toPorts without ports'],
    [http('headerMatches: [{name: a, secret: {name: s}}]'), 'headerMatches.secret'],
  ];
  for (const [spec, what] of table) {
    const { policy, problems } = read(spec);
    assert.deepEqual(
      policy?.specs
        .flatMap(({ sections }) => sections.flatMap(({ rules }) => rules.flatMap((one) => one.unevaluated)))
        .map((one) => one.what),
      [what],
    );
    assert.ok(problems.every((problem) => problem.startsWith('HS1012 ')) && problems.length === 1, spec);
  }
});

test('a group of blocks is read in both its versions, and not where a block is none', () => {
  const group = (version: string, blocks: string): string[] =>
    load(
      `apiVersion: cilium.io/${version}\nkind: CiliumCIDRGroup\nmetadata: {name: g}\nspec: {externalCIDRs: [${blocks}]}\n`,
    ).objects.map((object) =>
      object.kind === 'CiliumCIDRGroup' ? object.externalCIDRs.map(({ value }) => value).join(' ') : '',
    );
  assert.deepEqual(group('v2', '10.0.0.0/8, "2001:db8::/32"'), ['10.0.0.0/8 2001:db8::/32']);
  assert.deepEqual(group('v2alpha1', '10.0.0.0/8'), ['10.0.0.0/8']);
  assert.deepEqual(group('v2', '10.0.0.0/8, 10.0.0.1'), []);
});
