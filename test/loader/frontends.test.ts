/** The frontends that Services and pods make, and the backends behind them, as the dataplane's maps have them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_SETTINGS, type Settings } from '../../dataplane/settings.js';
import { formatEndpoint, UNSPECIFIED } from '../../dataplane/addresses.js';
import { Engine } from '../../dataplane/state.js';
import { modules } from '../datapath.js';

const NODES = `apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: ExternalIP, address: 198.51.100.1}, {type: InternalIP, address: 192.168.0.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}
`;

/** `NodePort 192.168.0.1:30080 → 10.1.0.1:80 on n2`: type, address, the node it is for where it is for one, and its backends. */
function frontends(settings: Partial<Settings>, ...documents: string[]): string[] {
  const engine = new Engine(modules.trace, { ...DEFAULT_SETTINGS, ...settings });
  engine.manifests.set('m.yaml', [NODES, ...documents].join('---\n'));
  const { desired, cluster } = engine.current;
  return desired.frontends
    .filter(({ address, scope }) => !Object.values(UNSPECIFIED).includes(address) && scope === 0)
    .map(({ type, address, number, node, backends }) => {
      const behind = backends.map(({ backend }) => formatEndpoint(backend.address, backend.port)).sort();
      const where = node === 0 ? '' : ` on ${cluster.nodes.find(({ index }) => index === node)!.name}`;
      return `${type} ${formatEndpoint(address, number)}${where} → ${behind.join(' ')}`.trim();
    });
}

const service = (spec: string, annotations = ''): string => `apiVersion: v1
kind: Service
metadata: {name: s, annotations: {${annotations}}}
spec: {clusterIP: 10.96.0.9, ports: [{port: 80, nodePort: 30080}], ${spec}}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}
`;

const slice = (endpoints: string, annotations = ''): string => `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: s-${annotations.length}, labels: {kubernetes.io/service-name: s}, annotations: {${annotations}}}
endpoints: [${endpoints}]
ports: [{port: 80}]
`;
const ONE = slice('{addresses: [10.1.0.1], nodeName: n1}');

test('the addresses of a Service, by its type, its annotation and the settings', () => {
  const at = (type: string, address: string): string => `${type} ${address} → 10.1.0.1:80`;
  const clusterIP = at('ClusterIP', '10.96.0.9:80');
  const nodePorts = [at('NodePort', '192.168.0.1:30080'), at('NodePort', '192.168.0.2:30080')];
  const balancer = at('LoadBalancer', '203.0.113.1:80');
  const table: [Partial<Settings>, string, string[]][] = [
    [{}, service('type: ClusterIP'), [clusterIP]],
    [{}, service('type: NodePort'), [clusterIP, ...nodePorts]],
    [{}, service('type: LoadBalancer'), [clusterIP, ...nodePorts, balancer]],
    [{}, service('type: LoadBalancer', 'service.cilium.io/type: LoadBalancer'), [balancer]],
    [{}, service('type: LoadBalancer', 'service.cilium.io/type: NodePort'), nodePorts],
    [
      { nodePortAddresses: ['198.51.100.0/24'] },
      service('type: NodePort'),
      [clusterIP, at('NodePort', '198.51.100.1:30080')],
    ],
    [{}, service('externalIPs: [203.0.113.7, 10.96.0.9]'), [clusterIP, at('ExternalIP', '203.0.113.7:80')]],
  ];
  for (const [settings, document, expected] of table)
    assert.deepEqual(frontends(settings, document, ONE), expected, document);
});

test('a hostPort is there on its pod’s node alone, on all addresses or the one that hostIP names', () => {
  const pod = (port: string): string => `apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {nodeName: n1, containers: [{name: c, ports: [{containerPort: 80, ${port}}]}]}
status: {podIP: 10.1.0.1}
`;
  const on = (address: string): string[] => [
    `HostPort ${address}:8080 → 10.1.0.1:80`,
    `HostPort ${address}:8080 on n1 → 10.1.0.1:80`,
  ];
  const table: [string, string[]][] = [
    ['hostPort: 8080', [...on('192.168.0.1'), ...on('198.51.100.1')]],
    ['hostPort: 8080, hostIP: 0.0.0.0', [...on('192.168.0.1'), ...on('198.51.100.1')]],
    ['hostPort: 8080, hostIP: 198.51.100.1', on('198.51.100.1')],
    ['hostPort: 8080, hostIP: 127.0.0.1', []],
    ['hostPort: 0', []],
  ];
  for (const [port, expected] of table) assert.deepEqual(frontends({}, pod(port)), expected, port);
});

test('who is behind a Service: by condition, by weight, and in Endpoints and slices alike once', () => {
  const is = (address: string, ready: boolean, serving: boolean, terminating: boolean): string =>
    `{addresses: [${address}], conditions: {ready: ${ready}, serving: ${serving}, terminating: ${terminating}}}`;
  const endpoints = `apiVersion: v1
kind: Endpoints
metadata: {name: s}
subsets: [{addresses: [{ip: 10.1.0.1}], notReadyAddresses: [{ip: 10.1.0.2}], ports: [{port: 80}]}]
`;
  const table: [string[], string][] = [
    [[slice(is('10.1.0.1', true, true, false) + ',' + is('10.1.0.2', false, true, true))], '10.1.0.1:80'],
    [[slice(is('10.1.0.1', false, false, false) + ',' + is('10.1.0.2', false, true, true))], '10.1.0.2:80'],
    [[slice(is('10.1.0.1', false, true, false))], ''],
    [[endpoints], '10.1.0.1:80'],
    [[endpoints, ONE], '10.1.0.1:80'],
    [[ONE, slice('{addresses: [10.1.0.2]}', 'service.cilium.io/weight: "0"')], '10.1.0.1:80'],
    [[ONE, slice('{addresses: [10.1.0.2]}', 'service.cilium.io/weight: "2"')], '10.1.0.1:80 10.1.0.2:80'],
  ];
  for (const [documents, expected] of table)
    assert.deepEqual(
      frontends({}, service('type: ClusterIP'), ...documents),
      [`ClusterIP 10.96.0.9:80 → ${expected}`.trim()],
      documents.join(),
    );
});
