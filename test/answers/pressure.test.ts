/** Maps of Cilium's that manifests would fill: counted against small capacities, and once against the real ones. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../dataplane/answers/check.js';
import { CAPACITIES, checkPressure, type MapName } from '../../dataplane/answers/checks/pressure.js';
import { locate } from '../../dataplane/manifests/place.js';
import { Lab, pod, service, TWO_NODES } from '../lab.js';

const found = (yaml: string, map: MapName, capacity: number): string[] =>
  checkPressure(new Lab(yaml).state, { ...CAPACITIES, [map]: capacity }).map(
    ({ code, message, at }) => `${code} ${locate(at).range.start.line} ${message}`,
  );

const WEB = TWO_NODES + pod('web', '10.1.0.2', 'n1') + pod('db', '10.2.0.2', 'n2');
const SERVICES = WEB + service('web', '10.96.0.7', 80, 8080) + service('db', '10.96.0.8', 80, 8080);

test('a map is nearly full from nine tenths on, and too small beyond its capacity', () => {
  // Each Service: its master, its slot, and the entry for its address's other ports.
  assert.deepEqual(found(SERVICES, 'cilium_lb4_services_v2', 7), []);
  assert.deepEqual(found(SERVICES, 'cilium_lb4_services_v2', 6), [
    'HS5001 33 The map cilium_lb4_services_v2 holds 6 of at most 6 entries; Service `default/db` puts 3 there.',
  ]);
  assert.deepEqual(found(SERVICES, 'cilium_lb4_services_v2', 5), [
    "HS5002 33 The map cilium_lb4_services_v2 needs 6 entries, and Cilium's has room for 5: what comes last would be refused; Service `default/db` puts 3 there.",
  ]);
});

const EXPOSED = `
apiVersion: v1
kind: Service
metadata: {name: out}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.9
  selector: {app: web}
  sessionAffinity: ClientIP
  externalTrafficPolicy: Local
  loadBalancerSourceRanges: [203.0.113.0/24, 198.51.100.0/24]
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
status: {loadBalancer: {ingress: [{ip: 192.0.2.7}]}}
---
`;
const POLICY = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: wide}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
    - from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.9.0.0/16]}}, {ipBlock: {cidr: 10.0.0.0/8}}]
      ports: [{port: 1, endPort: 6}]
`;

test('each map counts what Cilium would put there', () => {
  const all = WEB + EXPOSED + POLICY;
  const table: readonly (readonly [map: MapName, entries: number, why: string])[] = [
    // ClusterIP, node port on no address and on two, load balancer: a master and a slot each; the four of them that keep
    // to their node once more on the node that has the backend; two addresses with other ports.
    ['cilium_lb4_services_v2', 5 * 2 + 4 * 2 + 2, 'Service `default/out`'],
    ['cilium_lb4_backends_v3', 1, 'Service `default/out`'],
    ['cilium_lb4_reverse_nat', 5, 'Service `default/out`'],
    ['cilium_lb_affinity_match', 5, 'Service `default/out`'],
    ['cilium_lb4_source_range', 2, 'Service `default/out`'],
    ['cilium_lb4_maglev', 4, 'Service `default/out`'],
    // The world, two pods, two nodes, two prefixes.
    ['cilium_ipcache_v2', 7, 'the nodes'],
    // Egress of everything, ingress of the node, and four prefixes of ports for each of the two identities.
    ['cilium_policy_v2', 1 + 1 + 4 * 2, 'NetworkPolicy `default/wide` ingress[0]'],
    ['cilium_lxc', 2, 'the node'],
  ];
  for (const [map, entries, why] of table) {
    assert.deepEqual(found(all, map, entries + 1 + Math.floor(entries / 9)), [], map);
    const messages = found(all, map, entries - 1);
    assert.ok(messages.length > 0, map);
    for (const message of messages) {
      assert.match(message, new RegExp(`^HS5002 .*${map}.* needs ${entries} entries`));
      assert.ok(message.includes(why), message);
    }
  }
});

/** The same over IPv6, and a pod of both families with a port of its node's. */
const SIX = `
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}, {type: InternalIP, address: 'fd00::1'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: c, ports: [{containerPort: 8080, hostPort: 80}]}]}
status: {podIPs: [{ip: 10.1.0.2}, {ip: 'fd01::2'}]}
---
apiVersion: v1
kind: Service
metadata: {name: out}
spec:
  type: LoadBalancer
  clusterIP: fd02::9
  selector: {app: web}
  sessionAffinity: ClientIP
  loadBalancerSourceRanges: [203.0.113.0/24, '2001:db8::/32']
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
status: {loadBalancer: {ingress: [{ip: '2001:db8::7'}]}}
`;

test('each family of Services has maps of its own; pods and nodes have as many entries as addresses', () => {
  const table: readonly (readonly [map: MapName, entries: number])[] = [
    // The hostPort: a master and a slot.
    ['cilium_lb4_services_v2', 2],
    // ClusterIP, node port on no address and on one, load balancer, hostPort; two addresses with other ports.
    ['cilium_lb6_services_v2', 5 * 2 + 2],
    ['cilium_lb4_backends_v3', 1],
    ['cilium_lb6_backends_v3', 1],
    ['cilium_lb4_reverse_nat', 1],
    ['cilium_lb6_reverse_nat', 5],
    ['cilium_lb4_source_range', 0],
    ['cilium_lb6_source_range', 1],
    ['cilium_lb4_maglev', 1],
    ['cilium_lb6_maglev', 4],
    ['cilium_lb_affinity_match', 4],
    // Two worlds, two addresses of the pod, two of the node.
    ['cilium_ipcache_v2', 6],
    ['cilium_lxc', 4],
  ];
  for (const [map, entries] of table) {
    assert.deepEqual(found(SIX, map, entries + 1 + Math.floor(entries / 9)), [], map);
    const messages = found(SIX, map, entries - 1).filter((message) => message.includes(`needs ${entries} entries`));
    assert.equal(messages.length, entries === 0 ? 0 : 1, map);
  }
  assert.match(
    found(SIX, 'cilium_lb4_reverse_nat', 0).join(),
    /HS5002 10 .*; hostPort 80 of default\/web puts 1 there/,
  );
});

test('a policy that names more ports and peers than a policymap holds', () => {
  const peers = Array.from({ length: 520 }, (_, i) => `{ipBlock: {cidr: 10.${i >> 8}.${i & 255}.0/24}}`);
  const rule = (ports: number): string =>
    `{from: [${peers.join(', ')}], ports: [${Array.from({ length: ports }, (_, i) => `{port: ${2 * i + 1}}`).join(', ')}]}`;
  const policy = (ports: number): string =>
    `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: wide}\nspec:\n  podSelector: {matchLabels: {app: web}}\n  ingress: [${rule(ports)}]\n`;
  const codes = (ports: number): string[] =>
    check(new Lab(pod('web', '10.1.0.2', 'n1') + policy(ports)).state, [])
      .filter(({ code }) => code.startsWith('HS5'))
      .map(({ code, message, fixes }) => [code, message, ...fixes].join(' | '));
  assert.deepEqual(codes(28), []);
  assert.deepEqual(codes(30), [
    'HS5001 | The map cilium_policy_v2 of `default/web[Pod]` holds 15,602 of at most 16,384 entries; NetworkPolicy `default/wide` ingress[0] puts 15,600 there. | start cilium-agent with a larger --bpf-policy-map-max',
  ]);
  assert.deepEqual(codes(32), [
    "HS5002 | The map cilium_policy_v2 of `default/web[Pod]` needs 16,642 entries, and Cilium's has room for 16,384: what comes last would be refused; NetworkPolicy `default/wide` ingress[0] puts 16,640 there. | start cilium-agent with a larger --bpf-policy-map-max",
  ]);
});
