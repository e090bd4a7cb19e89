/** What Services and hostPorts put into the maps of both families. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maps } from '../../dataplane/answers/maps.js';
import { query, type Answer } from '../../dataplane/answers/query.js';
import { formatEndpoint, UNSPECIFIED } from '../../dataplane/addresses.js';
import type { Settings } from '../../dataplane/settings.js';
import { Lab } from '../lab.js';

const NODE = `apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: ExternalIP, address: '2001:db8::1'}, {type: InternalIP, address: 192.168.0.1}, {type: InternalIP, address: 'fd00::1'}]}
---
`;

/** A Service of both families; `more` is of its spec. */
const service = (more: string, annotations = ''): string => `apiVersion: v1
kind: Service
metadata: {name: s, annotations: {${annotations}}}
spec:
  type: LoadBalancer
  clusterIPs: [10.96.0.9, 'fd02::9']
  ports: [{port: 80, nodePort: 30080}]
  ${more}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}, {ip: '2001:db8::8'}]}}
---
`;

const slice = (type: string, endpoints: string, annotations = ''): string => `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: ${type}
metadata: {name: ${type.toLowerCase()}w${annotations.replace(/\D/g, '')}, labels: {kubernetes.io/service-name: s}, annotations: {${annotations}}}
endpoints: [${endpoints}]
ports: [{port: 80}]
---
`;
const ENDING = 'conditions: {ready: false, serving: true, terminating: true}';
/** Ready and ending over IPv6; over IPv4 there is only one that ends. */
const SLICES =
  slice('IPv4', `{addresses: [192.0.2.1], ${ENDING}}`) +
  slice('IPv6', `{addresses: ['2001:db8:e::1']}, {addresses: ['2001:db8:e::2'], ${ENDING}}`);

function frontends(yaml: string, settings: Partial<Settings> = {}): string[] {
  return new Lab(NODE + yaml, settings).state.desired.frontends
    .filter(({ address, scope, node }) => !Object.values(UNSPECIFIED).includes(address) && scope === 0 && node === 0)
    .map(({ type, address, number, backends }) => {
      const behind = backends.map(({ backend }) => formatEndpoint(backend.address, backend.port));
      return `${type} ${formatEndpoint(address, number)} → ${behind.join(' ')}`.trim();
    });
}

const four = (type: string, address: string): string => `${type} ${address} → 192.0.2.1:80`;
const six = (type: string, address: string): string => `${type} ${address} → [2001:db8:e::1]:80`;

test('each address of a Service has the endpoints of its family, and node ports are open on nodes’ addresses of both', () => {
  const n4 = four('NodePort', '192.168.0.1:30080');
  const n6 = six('NodePort', '[fd00::1]:30080');
  const outer = six('NodePort', '[2001:db8::1]:30080');
  const nodePortAddresses = ['2001:db8::/64'];
  const table: [Partial<Settings>, string[]][] = [
    [{}, [n4, n6]],
    [{ engine: 'kube-proxy-nftables' }, [n4, n6]],
    [{ engine: 'kube-proxy-iptables' }, [n4, n6, outer]],
    [{ nodePortAddresses }, [outer]],
    // kube-proxy takes a family without a prefix of its own as if none were set.
    [{ nodePortAddresses, engine: 'kube-proxy-nftables' }, [n4, outer]],
  ];
  for (const [settings, nodePorts] of table)
    assert.deepEqual(frontends(service("externalIPs: ['2001:db8::7']") + SLICES, settings), [
      four('ClusterIP', '10.96.0.9:80'),
      six('ClusterIP', '[fd02::9]:80'),
      ...nodePorts,
      four('LoadBalancer', '203.0.113.1:80'),
      six('LoadBalancer', '[2001:db8::8]:80'),
      six('ExternalIP', '[2001:db8::7]:80'),
    ]);
});

test('a hostPort is open on its node’s addresses of the families that the pod has', () => {
  const pod = (ips: string, port: string): string => `apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {nodeName: n1, containers: [{name: c, ports: [{containerPort: 80, hostPort: 8080${port}}]}]}
status: {podIPs: [${ips}]}
`;
  const both = "{ip: 10.244.0.5}, {ip: 'fd00:10:244::5'}";
  const on4 = 'HostPort 192.168.0.1:8080 → 10.244.0.5:80';
  const on6 = ['[fd00::1]', '[2001:db8::1]'].map((address) => `HostPort ${address}:8080 → [fd00:10:244::5]:80`);
  const table: [string, string, string[]][] = [
    [both, '', [on4, ...on6]],
    [both, ", hostIP: '::'", [on4, ...on6]],
    [both, ", hostIP: 'fd00::1'", [on6[0]!]],
    [both, ", hostIP: '::1'", []],
    ['{ip: 10.244.0.5}', '', [on4]],
  ];
  for (const [ips, port, expected] of table) assert.deepEqual(frontends(pod(ips, port)), expected, ips + port);
});

/** The entries of a map, key and value in one. */
function dump(yaml: string, map: string, settings: Partial<Settings> = {}): Record<string, unknown>[] {
  const dumped = maps(new Lab(NODE + yaml, settings).state, map, null);
  if ('error' in dumped) throw new Error(dumped.error);
  return dumped.maps[map]!.map(({ key, value }) => ({ ...key, ...value }));
}

test('an endpoint that ends stays in its map, out of the slots, and no client keeps to it', () => {
  const yaml = service('sessionAffinity: ClientIP') + SLICES;
  const backends = dump(yaml, 'cilium_lb6_backends_v3');
  assert.deepEqual(
    backends.map(({ address, state }) => [address, state]),
    [
      ['2001:db8:e::1', 'active'],
      ['2001:db8:e::2', 'terminating'],
    ],
  );
  const slots = dump(yaml, 'cilium_lb6_services_v2').filter(({ backendSlot }) => backendSlot !== 0);
  const kept = dump(yaml, 'cilium_lb_affinity_match').map(({ backendId }) => backendId);
  const four = dump(yaml, 'cilium_lb4_backends_v3').map(({ backendId }) => backendId);
  assert.deepEqual(new Set(slots.map(({ backendId }) => backendId)), new Set([backends[0]!['backendId']]));
  assert.deepEqual(new Set(kept), new Set([backends[0]!['backendId'], ...four]));
});

test('a slice’s weight is in its backends and in the Maglev table of its family', () => {
  const yaml =
    service('') +
    slice('IPv6', "{addresses: ['2001:db8:e::1']}", 'service.cilium.io/weight: "3"') +
    slice('IPv6', "{addresses: ['2001:db8:e::2']}") +
    slice('IPv6', "{addresses: ['2001:db8:e::3']}", 'service.cilium.io/weight: "0"');
  const backends = dump(yaml, 'cilium_lb6_backends_v3');
  assert.deepEqual(
    backends.map(({ weight, state }) => `${String(weight)} ${String(state)}`),
    ['3 active', '1 active', '0 maintenance'],
  );
  const [table] = dump(yaml, 'cilium_lb6_maglev');
  const slots = table!['backendIds'] as number[];
  const share = (i: number): number => slots.filter((id) => id === backends[i]!['backendId']).length / slots.length;
  assert.deepEqual(
    [0, 1, 2].map((i) => share(i).toFixed(2)),
    ['0.75', '0.25', '0.00'],
  );
});

function ask(yaml: string, from: string, to: string, settings: Partial<Settings> = {}): Answer {
  const question = { from, to, protocol: 'TCP', port: 80, sourcePort: null, node: null, http: null };
  const answered = query(new Lab(NODE + yaml, settings).state, question);
  if ('error' in answered) throw new Error(answered.error);
  return answered.answer;
}

test('source ranges of either family, as Cilium takes and refuses them, and as kube-proxy does', () => {
  const [IN6, OUT6, IN4] = ['ip:2001:db8:1::5', 'ip:2001:db8:2::5', 'ip:198.51.100.5'];
  const [LB6, LB4] = ['ip:2001:db8::8', 'ip:203.0.113.1'];
  const deny = 'service.cilium.io/src-ranges-policy: deny';
  const kubeProxy = { engine: 'kube-proxy-nftables' } as const;
  const ranges = "loadBalancerSourceRanges: ['2001:db8:1::/48', 198.51.100.0/24]";
  const of6 = "loadBalancerSourceRanges: ['2001:db8:1::/48']";
  const unread = "loadBalancerSourceRanges: ['2001:db8:1::/48', all]";
  const table: [string, string, Partial<Settings>, string, string, Answer['verdict']][] = [
    [ranges, '', {}, IN6, LB6, 'ALLOWED'],
    [ranges, '', {}, OUT6, LB6, 'DENIED'],
    [ranges, '', {}, IN4, LB4, 'ALLOWED'],
    [ranges, deny, {}, IN6, LB6, 'DENIED'],
    [ranges, deny, {}, OUT6, LB6, 'ALLOWED'],
    [ranges, deny, {}, IN4, LB4, 'DENIED'],
    [ranges, deny, kubeProxy, IN6, LB6, 'ALLOWED'],
    // Ranges of the other family only: Cilium takes nobody, kube-proxy all.
    [of6, '', {}, IN4, LB4, 'DENIED'],
    [of6, '', kubeProxy, IN4, LB4, 'ALLOWED'],
    [of6, '', kubeProxy, OUT6, LB6, 'DENIED'],
    [of6, deny, {}, IN4, LB4, 'ALLOWED'],
    // Whom a range refuses that cannot be read, nobody knows.
    [unread, deny, {}, OUT6, LB6, 'UNKNOWN'],
    [unread, deny, {}, IN6, LB6, 'DENIED'],
    [unread, '', {}, OUT6, LB6, 'DENIED'],
  ];
  for (const [spec, annotation, settings, from, to, verdict] of table)
    assert.equal(
      ask(service(spec, annotation) + SLICES, from, to, settings).verdict,
      verdict,
      [spec, annotation, settings.engine, from, to].join(' '),
    );
});

test('kube-proxy masquerades by the node’s address of the flow’s family, and drops what no Service has of its ranges', () => {
  const yaml = service('') + SLICES;
  const settings = { engine: 'kube-proxy-nftables' } as const;
  assert.equal(ask(yaml, 'ip:2001:db8:2::5', 'ip:2001:db8::8', settings).snat, 'fd00::1');
  assert.equal(ask(yaml, 'ip:198.51.100.5', 'ip:203.0.113.1', settings).snat, '192.168.0.1');
  const { verdict, hints } = ask(yaml, 'node:n1', 'ip:fd00:10:96::77', settings);
  assert.deepEqual([verdict, hints], ['DENIED', ['kube-proxy drops it: no Service has this address of their range']]);
});

test('frontends that keep clients to their node show which node, and --node shows its own', () => {
  const yaml = service('externalTrafficPolicy: Local') + SLICES;
  const nodes = dump(yaml, 'cilium_lb6_services_v2')
    .filter(({ address, dport, backendSlot }) => address === '2001:db8::8' && dport === 80 && backendSlot === 0)
    .map(({ node }) => node ?? 'all');
  assert.deepEqual(nodes, ['all', 1]);
});
