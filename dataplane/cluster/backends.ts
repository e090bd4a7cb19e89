/** Who is behind a Service's port: the pods that it selects, or what Endpoints and EndpointSlices list. */
import type { Address, Family } from '../addresses.js';
import type { Index } from '../indexed.js';
import type { EndpointAddress, Endpoints, Service, ServicePort } from '../manifests/objects.js';
import { isKubeProxy, type Settings } from '../settings.js';
import {
  addressIn,
  namedPort,
  serving,
  type ClusterBackend,
  type ClusterNode,
  type ClusterPod,
  type ClusterServicePort,
} from './cluster.js';

/** The port on the pod that a Service's port leads to; null when no container port has the name asked for. */
export function targetPortOf(port: ServicePort, pod: ClusterPod): number | null {
  const target = port.targetPort?.value ?? port.port.value;
  if (typeof target === 'number') return target;
  return namedPort(pod.spec, target, port.protocol)?.containerPort.value ?? null;
}

/** What the endpoints controller would list: of the selected pods that are ready, or serve on as they end, each address of the Service's families. */
export function selectedBackends(
  service: Service,
  port: ServicePort,
  selected: readonly ClusterPod[],
  families: readonly Family[],
): ClusterServicePort {
  const unresolved: ClusterPod[] = [];
  const endpoints: ClusterBackend[] = [];
  for (const pod of selected) {
    const target = service.headless ? (targetPortOf(port, pod) ?? port.port.value) : targetPortOf(port, pod);
    if (target === null) {
      unresolved.push(pod);
      continue;
    }
    const published = service.publishNotReadyAddresses;
    if (pod.ready === false && !published) continue;
    for (const family of families) {
      const address = addressIn(pod, family);
      if (address === null) continue;
      endpoints.push({
        address,
        port: target,
        podKey: pod.key,
        node: pod.node,
        terminating: pod.terminating && !published,
        ...hintsFor(service, pod.node),
        weight: 1,
        source: pod.source,
      });
    }
  }
  return { source: port, endpoints, backends: serving(endpoints), unresolved };
}

/** The hints that the controller writes for `trafficDistribution`; none for a node whose zone is not known. */
function hintsFor(
  { trafficDistribution }: Service,
  { name, zone }: ClusterNode,
): Pick<ClusterBackend, 'forZones' | 'forNodes'> {
  return {
    forZones: trafficDistribution !== null && zone !== null ? [zone] : [],
    forNodes: trafficDistribution === 'PreferSameNode' ? [name] : [],
  };
}

const WEIGHT = 'service.cilium.io/weight';

/** The weight of all backends of a slice, as Cilium takes it; 1 where none is given, or none that can be read. */
function weightOf({ metadata }: Endpoints): number {
  const text = metadata.annotations.get(WEIGHT)?.value ?? '1';
  return /^\d{1,5}$/.test(text) && Number(text) <= 65535 ? Number(text) : 1;
}

/** What Endpoints and EndpointSlices list under the port's name. Of an address listed twice, what a slice says counts. */
export function listedBackends(
  port: ServicePort,
  slices: readonly Endpoints[],
  pods: Index<Address, ClusterPod>,
  nodes: ReadonlyMap<string, ClusterNode>,
  settings: Settings,
): ClusterServicePort {
  const endpoints: ClusterBackend[] = [];
  /** Of each port, the addresses that have been listed. */
  const known = new Map<number, Set<Address>>();
  const kinds = ['EndpointSlice', 'Endpoints'];
  for (const slice of [...slices].sort((a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind))) {
    const weight = isKubeProxy(settings) ? 1 : weightOf(slice);
    for (const subset of slice.subsets) {
      const listed = subset.ports.find(
        (candidate) => (candidate.name ?? '') === (port.name ?? '') && candidate.protocol === port.protocol,
      );
      if (!listed) continue;
      const addresses = known.get(listed.port) ?? new Set<Address>();
      known.set(listed.port, addresses);
      for (const endpoint of subset.endpoints) {
        const { address, nodeName, ready, forZones, forNodes, at: source } = endpoint;
        if (!canServe(endpoint) || addresses.has(address)) continue;
        addresses.add(address);
        const pod = pods.get(address) ?? null;
        const node = pod?.node ?? nodes.get(nodeName ?? '') ?? null;
        endpoints.push({
          address,
          port: listed.port,
          podKey: pod?.key ?? null,
          node,
          terminating: !ready,
          forZones,
          forNodes,
          weight,
          source,
        });
      }
    }
  }
  return { source: port, endpoints, backends: serving(endpoints), unresolved: [] };
}

/** Ready, or ending and serving on meanwhile. EndpointConditions. */
const canServe = ({ ready, serving: serves, terminating }: EndpointAddress): boolean =>
  ready || (serves && terminating);
