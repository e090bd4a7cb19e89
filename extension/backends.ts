/** The Services and what is behind them, as the editor's list shows them. Runs in the worker. */
import { formatAddress, formatEndpoint } from '../dataplane/addresses.js';
import { podBehind, type ClusterBackend, type ClusterPod } from '../dataplane/cluster/cluster.js';
import { locate, type Location } from '../dataplane/manifests/place.js';
import type { State } from '../dataplane/state.js';

export interface Backend {
  /** `address:port`, an IPv6 address in brackets */
  readonly address: string;
  readonly protocol: string;
  /** `ns/name`; null for an address that belongs to no pod of the manifests. */
  readonly pod: string | null;
  readonly workload: string | null;
  readonly node: string | null;
  readonly state: 'ready' | 'not ready' | 'terminating' | 'not reported';
  /** What put it there: the manifest of its pod or workload, or the EndpointSlice. */
  readonly location: Location;
}

export interface ServiceBackends {
  /** `ns/name` */
  readonly service: string;
  readonly clusterIP: string | null;
  readonly ports: readonly string[];
  readonly backends: readonly Backend[];
  readonly location: Location;
}

export function serviceBackends({ cluster }: State): ServiceBackends[] {
  return cluster.services.map(({ namespace, name, clusterIPs, source, ports }) => ({
    service: `${namespace}/${name}`,
    clusterIP: clusterIPs.map(formatAddress).join(', ') || null,
    ports: source.ports.map(({ port, protocol }) => `${port.value}/${protocol}`),
    backends: ports.flatMap(({ source: { protocol }, backends }) =>
      backends.map((backend) => told(backend, podBehind(cluster, backend), protocol)),
    ),
    location: locate(source.metadata.name.at),
  }));
}

const told = (
  { address, port, terminating, source }: ClusterBackend,
  pod: ClusterPod | null,
  protocol: string,
): Backend => ({
  address: formatEndpoint(address, port),
  protocol,
  pod: pod && `${pod.namespace}/${pod.name}`,
  workload: pod?.workload.ref ?? null,
  node: pod?.node.name ?? null,
  state: terminating ? 'terminating' : !pod || pod.ready === null ? 'not reported' : pod.ready ? 'ready' : 'not ready',
  location: locate(pod?.source ?? source),
});
