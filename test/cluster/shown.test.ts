/** What is taken to be the cluster's network, by what the manifests hold of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolved } from '../../dataplane/cluster/shown.js';
import { Manifests } from '../../dataplane/manifests/manifests.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';

const daemon = (name: string, env = ''): string =>
  `apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: ${name}, namespace: kube-system}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, env: [${env}]}]}}}\n---\n`;
const config = (name: string, data: string): string =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, namespace: kube-system}\ndata: {${data}}\n---\n`;

const TABLE: readonly (readonly [what: string, yaml: string, engine: string, cni: string])[] = [
  ['nothing', '', 'cilium', 'cilium-vxlan'],
  ['kube-proxy', daemon('kube-proxy'), 'kube-proxy-iptables', 'cilium-vxlan'],
  [
    'kube-proxy with IPVS',
    daemon('kube-proxy') + config('kube-proxy', String.raw`config.conf: "kind: KubeProxyConfiguration\nmode: ipvs\n"`),
    'kube-proxy-ipvs',
    'cilium-vxlan',
  ],
  [
    'Cilium that replaces it',
    daemon('kube-proxy') +
      daemon('cilium') +
      config('cilium-config', 'kube-proxy-replacement: "true", routing-mode: native'),
    'cilium',
    'cilium-native',
  ],
  [
    'Cilium beside it',
    daemon('kube-proxy') +
      daemon('cilium') +
      config('cilium-config', 'kube-proxy-replacement: "false", routing-mode: tunnel, tunnel-protocol: geneve'),
    'kube-proxy-iptables',
    'cilium-geneve',
  ],
  [
    'Cilium before 1.14',
    daemon('cilium') + config('cilium-config', 'kube-proxy-replacement: strict, tunnel: disabled'),
    'cilium',
    'cilium-native',
  ],
  ['Calico', daemon('calico-node', '{name: CALICO_IPV4POOL_IPIP, value: Always}'), 'cilium', 'calico-ipip'],
  [
    'Calico with VXLAN',
    daemon('calico-node') + config('calico-config', 'calico_backend: vxlan'),
    'cilium',
    'calico-vxlan',
  ],
  ['Calico with routes', daemon('calico-node', '{name: CALICO_IPV4POOL_IPIP, value: Never}'), 'cilium', 'calico-bgp'],
  ['flannel', daemon('kube-flannel-ds'), 'cilium', 'flannel-vxlan'],
  [
    'flannel with routes',
    daemon('kube-flannel-ds') + config('kube-flannel-cfg', `net-conf.json: '{"Backend": {"Type": "host-gw"}}'`),
    'cilium',
    'flannel-host-gw',
  ],
  ['kind', daemon('kindnet') + daemon('kube-proxy'), 'kube-proxy-iptables', 'bridge'],
];

for (const [what, yaml, engine, cni] of TABLE)
  test(`shown by the manifests: ${what}`, () => {
    const manifests = new Manifests();
    manifests.set('m.yaml', yaml);
    const found = resolved(DEFAULT_SETTINGS, manifests.objects);
    assert.deepEqual([found.engine, found.cni], [engine, cni]);
    const given = resolved({ ...DEFAULT_SETTINGS, engine: 'cilium', cni: 'calico-bgp' }, manifests.objects);
    assert.deepEqual([given.engine, given.cni], ['cilium', 'calico-bgp'], 'a setting comes first');
  });
