/** Which families a cluster has, and the addresses that its nodes, pods and Services have of each. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { contains, formatAddress, formatPrefix, parsePrefix } from '../../dataplane/addresses.js';
import { buildCluster } from '../../dataplane/cluster/build.js';
import type { Cluster } from '../../dataplane/cluster/cluster.js';
import { Manifests } from '../../dataplane/manifests/manifests.js';
import { resolved } from '../../dataplane/cluster/shown.js';
import { DEFAULT_SETTINGS, withSetting } from '../../dataplane/settings.js';

function clusterOf(yaml: string, settings: Readonly<Record<string, unknown>> = {}): Cluster {
  const manifests = new Manifests();
  manifests.set('m.yaml', yaml);
  const all = Object.entries(settings).reduce((so, [key, value]) => withSetting(so, key, value)!, DEFAULT_SETTINGS);
  return buildCluster(manifests.objects, resolved(all, manifests.objects));
}

const pod = (name: string, status = ''): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, labels: {app: ${name}}}\nspec: {nodeName: n1, containers: [{name: c}]}\nstatus: {${status}}\n---\n`;
const node = (name: string, ip: string, spec = ''): string =>
  `apiVersion: v1\nkind: Node\nmetadata: {name: ${name}}\nspec: {${spec}}\nstatus: {addresses: [${ip
    .split(' ')
    .map((one) => `{type: InternalIP, address: "${one}"}`)
    .join(', ')}]}\n---\n`;
const service = (name: string, spec: string): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {selector: {app: ${name}}, ports: [{port: 80}], ${spec}}\n---\n`;
const slice = (type: string, addresses: string, more = ''): string =>
  `apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s-${type.toLowerCase()}${more}, labels: {kubernetes.io/service-name: s}}\naddressType: ${type}\nendpoints: [{addresses: [${addresses}]}]\nports: [{port: 80}]\n---\n`;

const texts = (of: { readonly addresses: Cluster['nodes'][number]['addresses'] } | undefined): string[] =>
  of!.addresses.map(formatAddress);
const podOf = (cluster: Cluster, name: string): Cluster['pods'][number] =>
  cluster.pods.find((one) => one.name === name)!;

test('what shows a family, and which is the primary one', () => {
  const cases: readonly (readonly [
    what: string,
    families: string,
    yaml: string,
    settings?: Record<string, unknown>,
  ])[] = [
    ['nothing at all', 'IPv4', pod('a')],
    [
      'a policy for IPv6 shows nothing',
      'IPv4',
      'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: "::/0"}}]}]}\n',
    ],
    ['the setting podCIDR', 'IPv4 IPv6', pod('a'), { podCIDR: '10.1.0.0/16,fd01::/56' }],
    ['its first prefix is primary', 'IPv6 IPv4', pod('a'), { podCIDR: ['fd01::/56', '10.1.0.0/16'] }],
    ['the setting alone', 'IPv6', pod('a'), { podCIDR: 'fd01::/56' }],
    ['the setting serviceCIDR', 'IPv4 IPv6', pod('a'), { serviceCIDR: '10.96.0.0/12,fd02::/112' }],
    ['nodes of the settings', 'IPv6', pod('a'), { nodes: 'n1=fd00::1,n2=fd00::2' }],
    ['podCIDRs of a Node', 'IPv6 IPv4', node('n1', '192.168.0.1', 'podCIDRs: ["fd01::/64", 10.1.0.0/24]')],
    ['addresses of a Node', 'IPv4 IPv6', node('n1', 'fd00::1 192.168.0.1')],
    ['a pod with two addresses', 'IPv6 IPv4', pod('a', 'podIPs: [{ip: "fd01::5"}, {ip: 10.1.0.5}]')],
    ['pods of one each', 'IPv4 IPv6', pod('a', 'podIP: "fd01::5"') + pod('b', 'podIP: 10.1.0.5')],
    ['only IPv6', 'IPv6', pod('a', 'podIP: "fd01::5"') + pod('b')],
    ['a Service that requires both', 'IPv4 IPv6', service('s', 'ipFamilyPolicy: RequireDualStack')],
    ['a Service that prefers both', 'IPv4 IPv6', service('s', 'ipFamilyPolicy: PreferDualStack')],
    ['a Service of IPv6', 'IPv4 IPv6', service('s', 'ipFamilies: [IPv6]')],
    ['a clusterIP of IPv6', 'IPv4 IPv6', service('s', 'clusterIP: "fd02::5"')],
    [
      'a Service of IPv6 in a cluster of IPv6',
      'IPv6',
      pod('a', 'podIP: "fd01::5"') + service('s', 'ipFamilies: [IPv6]'),
    ],
  ];
  for (const [what, families, yaml, settings] of cases)
    assert.equal(clusterOf(yaml, settings).families.join(' '), families, what);
});

test('nodes and pods have an address of each family, of their own ranges', () => {
  const cluster = clusterOf(pod('a') + pod('b').replace('nodeName: n1', 'nodeName: n2'), {
    podCIDR: '10.1.0.0/16, fd01::/56',
    nodes: 'n1=192.168.0.1,n2=fd00::2',
  });
  assert.deepEqual(cluster.nodes.map(texts), [
    ['192.168.0.1', 'fd00:10::1'],
    ['10.0.0.1', 'fd00::2'],
  ]);
  assert.deepEqual(
    cluster.nodes.map(({ podRanges }) => podRanges.map(formatPrefix)),
    [
      ['10.1.0.0/17', 'fd01::/64'],
      ['10.1.128.0/17', 'fd01:0:0:1::/64'],
    ],
  );
  for (const { addresses, address, node: home } of cluster.pods) {
    assert.equal(address, addresses[0]);
    assert.deepEqual(
      addresses.map((one, i) => contains(home.podRanges[i]!, one)),
      [true, true],
    );
  }
});

test('a pod keeps the IPv4 address that it has in a cluster of IPv4, and its addresses whatever else comes', () => {
  const [before, after] = [
    clusterOf(pod('a')),
    clusterOf(pod('0') + pod('a') + pod('b'), { podCIDR: '10.244.0.0/16,fd01::/56' }),
  ];
  assert.equal(podOf(after, 'a').address, podOf(before, 'a').address);
  assert.deepEqual(
    texts(podOf(after, 'a')),
    texts(podOf(clusterOf(pod('a'), { podCIDR: '10.244.0.0/16,fd01::/56' }), 'a')),
  );
});

test('what a pod reports: podIPs are all that it has, podIP is one of them', () => {
  const cluster = clusterOf(
    pod('both', 'podIPs: [{ip: 10.1.0.5}, {ip: "fd01::5"}]') +
      pod('one', 'podIP: 10.1.0.6, podIPs: [{ip: 10.1.0.6}]') +
      pod('half', 'podIP: 10.1.0.7') +
      pod('six', 'podIP: "fd01::8"') +
      pod('ended', 'phase: Succeeded, podIPs: [{ip: 10.1.0.9}]'),
  );
  assert.deepEqual(texts(podOf(cluster, 'both')), ['10.1.0.5', 'fd01::5']);
  assert.deepEqual(texts(podOf(cluster, 'one')), ['10.1.0.6']);
  const [half, six, ended] = ['half', 'six', 'ended'].map((name) => texts(podOf(cluster, name)));
  assert.equal(half![0], '10.1.0.7');
  assert.match(half![1]!, /^fd00:10:244:/);
  assert.equal(six![0], 'fd01::8');
  assert.match(six![1]!, /^10\.244\./);
  assert.match(ended!.join(' '), /^10\.244\.\S+ fd00:10:244:\S+$/);
});

test('Services: families, clusterIPs given and made up, and a backend for each family', () => {
  const both = { podCIDR: '10.1.0.0/16,fd01::/56', serviceCIDR: '10.2.0.0/16,fd02::/112' };
  const cases: readonly (readonly [spec: string, clusterIPs: RegExp, settings?: Record<string, unknown>])[] = [
    ['type: ClusterIP', /^10\.2\.\S+$/],
    ['type: ClusterIP', /^fd02::\S+$/, { ...both, podCIDR: 'fd01::/56,10.1.0.0/16' }],
    ['ipFamilyPolicy: SingleStack, ipFamilies: [IPv6]', /^fd02::\S+$/],
    ['ipFamilyPolicy: PreferDualStack', /^10\.2\.\S+ fd02::\S+$/],
    ['ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6]', /^fd02::\S+ 10\.2\.\S+$/],
    ['ipFamilyPolicy: PreferDualStack, clusterIP: 10.2.0.9', /^10\.2\.0\.9 fd02::\S+$/],
    ['clusterIPs: ["fd02::9", 10.2.0.9]', /^fd02::9 10\.2\.0\.9$/],
    ['clusterIP: "fd02::9"', /^fd02::9$/],
    ['clusterIP: None, ipFamilyPolicy: RequireDualStack', /^$/],
  ];
  for (const [spec, expected, settings = both] of cases) {
    const [found] = clusterOf(pod('s') + service('s', spec), settings).services;
    const addresses = found!.clusterIPs.map(formatAddress);
    assert.match(addresses.join(' '), expected, spec);
    assert.equal(found!.clusterIP, found!.clusterIPs[0] ?? null);
    assert.equal(found!.ports[0]!.backends.length, Math.max(addresses.length, spec.includes('None') ? 2 : 1), spec);
  }
  const lone = clusterOf(service('s', 'type: ClusterIP')).services[0]!;
  assert.deepEqual(
    lone.clusterIPs.map((address) => contains(parsePrefix('10.96.0.0/12')!, address)),
    [true],
  );
});

test('EndpointSlices of each addressType; names are no endpoints, and an address of another type is reported', () => {
  const listed = 'apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n---\n';
  const yaml =
    listed +
    slice('IPv4', '10.1.0.5') +
    slice('IPv6', '"fd01::5"') +
    slice('FQDN', 'db.example.com') +
    slice('IPv6', '10.1.0.6', '-wrong');
  const manifests = new Manifests();
  manifests.set('m.yaml', yaml);
  assert.deepEqual(
    manifests.problems.map(({ code, message }) => `${code} ${message}`),
    ['HS1010 "10.1.0.6" is not an IPv6 address.'],
  );
  const { backends } = buildCluster(manifests.objects, resolved(DEFAULT_SETTINGS, [])).services[0]!.ports[0]!;
  assert.deepEqual(
    backends.map(({ address }) => formatAddress(address)),
    ['10.1.0.5', 'fd01::5'],
  );
});

test('ipFamilies are families', () => {
  const manifests = new Manifests();
  manifests.set('m.yaml', service('s', 'ipFamilies: [IPv4, IPv5]'));
  assert.deepEqual(
    manifests.problems.map(({ message }) => message),
    ['ipFamilies are IPv4 and IPv6, not "IPv5".'],
  );
});
