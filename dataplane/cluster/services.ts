/** Services: their addresses, the pods they select, and what is behind their ports. */
import { parseAddress, parsePrefix } from '../addresses.js';
import { compare, spread } from '../hash.js';
import type { Endpoints, Service } from '../manifests/objects.js';
import type { Settings } from '../settings.js';
import { listedBackends, selectedBackends } from './backends.js';
import type { ClusterNode, ClusterPod, ClusterService } from './cluster.js';

export function buildServices(
  sources: readonly Service[],
  endpoints: readonly Endpoints[],
  pods: readonly ClusterPod[],
  nodes: readonly ClusterNode[],
  settings: Settings,
): ClusterService[] {
  const nodesByName = new Map(nodes.map((node) => [node.name, node]));
  const byNamespace = groupByNamespace(pods);
  const byAddress = new Map(pods.filter((pod) => !pod.hostNetwork).map((pod) => [pod.address, pod]));
  const addresses = allocate(sources, settings);
  const services = sources.map((source): ClusterService => {
    const { namespace, name } = source.metadata;
    const selected = selectedBy(source, byNamespace.get(namespace) ?? []);
    const slices = endpoints.filter((slice) => slice.metadata.namespace === namespace && slice.service === name.value);
    const ports = source.ports.map((port) =>
      source.selector !== null && slices.length === 0
        ? selectedBackends(source, port, selected)
        : listedBackends(port, slices, byAddress, nodesByName, settings),
    );
    return { source, namespace, name: name.value, clusterIP: addresses.get(source) ?? null, selected, ports };
  });
  return services.sort((a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name));
}

function groupByNamespace(pods: readonly ClusterPod[]): Map<string, ClusterPod[]> {
  const groups = new Map<string, ClusterPod[]>();
  for (const pod of pods) {
    const group = groups.get(pod.namespace);
    if (group) group.push(pod);
    else groups.set(pod.namespace, [pod]);
  }
  return groups;
}

/** The clusterIP of each Service: its own, else one that depends on its name alone. */
function allocate(sources: readonly Service[], settings: Settings): Map<Service, number> {
  const addresses = new Map<Service, number>();
  const wanting = new Map<string, Service>();
  for (const source of sources) {
    if (source.headless || source.type === 'ExternalName') continue;
    const own = source.clusterIPs.map((ip) => parseAddress(ip.value)).find((address) => address !== null);
    if (own !== undefined) addresses.set(source, own);
    else if (source.clusterIPs.length === 0)
      wanting.set(`${source.metadata.namespace}/${source.metadata.name.value}`, source);
  }
  const range = parsePrefix(settings.serviceCIDR)!;
  const size = 2 ** (32 - range.length);
  // The lowest addresses are where Kubernetes puts its own (…1 the API, …10 DNS), and are left to those who ask for them.
  const reserved = size > 512 ? 256 : 1;
  const taken = new Set(
    [...addresses.values()].filter(
      (address) => address >= range.address + reserved && address < range.address + size - 1,
    ),
  );
  for (const [name, address] of spread(wanting.keys(), range.address + reserved, size - reserved - 1, taken))
    addresses.set(wanting.get(name)!, address);
  return addresses;
}

function selectedBy(source: Service, pods: readonly ClusterPod[]): ClusterPod[] {
  const { selector } = source;
  if (selector === null) return [];
  return pods.filter((pod) => [...selector.labels].every(([key, { value }]) => pod.labels.get(key) === value));
}
