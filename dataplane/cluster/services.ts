/** Services and their backends. */
import { parseAddress, parsePrefix } from '../addresses.js';
import { compare, spread } from '../hash.js';
import type { Endpoints, Service, ServicePort } from '../manifests/objects.js';
import type { Settings } from '../settings.js';
import {
  namedPort,
  type ClusterBackend,
  type ClusterPod,
  type ClusterService,
  type ClusterServicePort,
} from './cluster.js';

export function buildServices(
  sources: readonly Service[],
  endpoints: readonly Endpoints[],
  pods: readonly ClusterPod[],
  settings: Settings,
): ClusterService[] {
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
        : listedBackends(source, port, slices, byAddress),
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

/** The port on the pod that a Service's port leads to; null when no container port has the name asked for. */
export function targetPortOf(port: ServicePort, pod: ClusterPod): number | null {
  const target = port.targetPort?.value ?? port.port.value;
  if (typeof target === 'number') return target;
  return namedPort(pod.spec, target, port.protocol)?.containerPort.value ?? null;
}

/** What the endpoints controller would list: the selected pods that are ready, or, while none is, those still serving as they end. */
function selectedBackends(service: Service, port: ServicePort, selected: readonly ClusterPod[]): ClusterServicePort {
  const unresolved: ClusterPod[] = [];
  const backends: ClusterBackend[] = [];
  for (const pod of selected) {
    const target = service.headless ? (targetPortOf(port, pod) ?? port.port.value) : targetPortOf(port, pod);
    if (target === null) {
      unresolved.push(pod);
      continue;
    }
    if (pod.ready === false && !service.publishNotReadyAddresses) continue;
    backends.push({ address: pod.address, port: target, pod, terminating: pod.terminating, source: pod.source });
  }
  return { source: port, backends: prefer(backends), unresolved };
}

/** What Endpoints and EndpointSlices list under the port's name. */
function listedBackends(
  service: Service,
  port: ServicePort,
  slices: readonly Endpoints[],
  byAddress: ReadonlyMap<number, ClusterPod>,
): ClusterServicePort {
  const backends: ClusterBackend[] = [];
  for (const { subsets } of slices) {
    for (const subset of subsets) {
      const listed = subset.ports.find(
        (candidate) => (candidate.name ?? '') === (port.name ?? '') && candidate.protocol === port.protocol,
      );
      if (!listed) continue;
      for (const endpoint of subset.endpoints) {
        if (!endpoint.ready && !(endpoint.serving && endpoint.terminating) && !service.publishNotReadyAddresses)
          continue;
        for (const text of endpoint.addresses) {
          const address = parseAddress(text);
          if (address === null || backends.some((known) => known.address === address && known.port === listed.port))
            continue;
          backends.push({
            address,
            port: listed.port,
            pod: byAddress.get(address) ?? null,
            terminating: endpoint.terminating,
            source: endpoint.at,
          });
        }
      }
    }
  }
  return { source: port, backends: prefer(backends), unresolved: [] };
}

/** Backends that are ending serve only while there is no other. */
function prefer(backends: ClusterBackend[]): ClusterBackend[] {
  const staying = backends.filter((backend) => !backend.terminating);
  return staying.length > 0 ? staying : backends;
}
