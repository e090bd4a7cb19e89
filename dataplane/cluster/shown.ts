/**
 * What the manifests show of the cluster's own network: the programs that make it, which run there as DaemonSets, and the
 * ConfigMaps that they read. The names are those of the projects' own manifests and charts.
 */
import { keptFor } from '../kept.js';
import type { ConfigMap, ManifestObject } from '../manifests/objects.js';
import type { Cni, Given, Settings } from '../settings.js';

type EngineName = Settings['engine'];

/** The settings, with what the manifests show in the place of `auto`; else Cilium, with a VXLAN tunnel. */
export function resolved(given: Given, objects: readonly ManifestObject[]): Settings {
  const { engine, cni } = given;
  return {
    ...given,
    engine: engine === 'auto' ? (engineOf(objects) ?? 'cilium') : engine,
    cni: cni === 'auto' ? (cniOf(objects) ?? 'cilium-vxlan') : cni,
  };
}

/** Of objects, those that show something. */
export const ofNetwork = keptFor((objects: readonly ManifestObject[]) =>
  objects.filter(({ kind }) => kind === 'DaemonSet' || kind === 'ConfigMap'),
);

const daemons = (objects: readonly ManifestObject[], name: RegExp) =>
  objects.flatMap((object) => (object.kind === 'DaemonSet' && name.test(object.metadata.name.value) ? [object] : []));

const runs = (objects: readonly ManifestObject[], name: RegExp): boolean => daemons(objects, name).length > 0;

const configOf = (objects: readonly ManifestObject[], name: string): ConfigMap['data'] =>
  objects.find((object): object is ConfigMap => object.kind === 'ConfigMap' && object.metadata.name.value === name)
    ?.data ?? new Map();

/** kube-proxy where it runs, unless Cilium is told to replace it. */
function engineOf(objects: readonly ManifestObject[]): EngineName | null {
  const replaces = configOf(objects, 'cilium-config').get('kube-proxy-replacement')?.value;
  if (replaces === 'true' || replaces === 'strict') return 'cilium';
  if (!runs(objects, /^kube-proxy$/)) return null;
  const mode = /^\s*mode:\s*["']?(ipvs|nftables)\b/m.exec(
    configOf(objects, 'kube-proxy').get('config.conf')?.value ?? '',
  );
  return mode ? (`kube-proxy-${mode[1]!}` as EngineName) : 'kube-proxy-iptables';
}

/** Cilium before others that it may be chained with. */
function cniOf(objects: readonly ManifestObject[]): Cni | null {
  if (runs(objects, /^cilium$/)) return ciliumOf(configOf(objects, 'cilium-config'));
  if (runs(objects, /^calico-node$/)) return calicoOf(objects);
  if (runs(objects, /^kube-flannel-ds/)) {
    const backend = /"Type"\s*:\s*"host-gw"/.test(
      configOf(objects, 'kube-flannel-cfg').get('net-conf.json')?.value ?? '',
    );
    return backend ? 'flannel-host-gw' : 'flannel-vxlan';
  }
  return runs(objects, /^kindnet$/) ? 'bridge' : null;
}

/** `routing-mode` and `tunnel-protocol`, and `tunnel` of versions before 1.14. */
function ciliumOf(config: ConfigMap['data']): Cni {
  const said = (key: string): string | undefined => config.get(key)?.value;
  if (said('routing-mode') === 'native' || said('tunnel') === 'disabled') return 'cilium-native';
  return (said('tunnel-protocol') ?? said('tunnel')) === 'geneve' ? 'cilium-geneve' : 'cilium-vxlan';
}

/** `calico_backend`, and how the pool that calico-node makes is encapsulated. */
function calicoOf(objects: readonly ManifestObject[]): Cni {
  const variables = new Map(
    daemons(objects, /^calico-node$/)
      .flatMap(({ template }) => template.spec.containers.flatMap(({ env }) => env))
      .map(({ name, value }) => [name, value.value]),
  );
  const wraps = (name: string): boolean => /^(Always|CrossSubnet)$/i.test(variables.get(name) ?? '');
  const isVxlan = configOf(objects, 'calico-config').get('calico_backend')?.value === 'vxlan';
  if (isVxlan || wraps('CALICO_IPV4POOL_VXLAN')) return 'calico-vxlan';
  return wraps('CALICO_IPV4POOL_IPIP') ? 'calico-ipip' : 'calico-bgp';
}
