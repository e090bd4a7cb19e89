/** The flows that policies are generated for, and those among them that the manifests themselves announce. */
import { formatPrefix, parseAddress, prefixOf, type Address } from '../addresses.js';
import { podBehind, type ClusterBackend, type ClusterService, type ClusterWorkload } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import type { Protocol } from '../manifests/objects.js';
import type { State } from '../state.js';
import { announcedAnywhere, type Announced } from './announced.js';
import { clusterDns, DNS, DNS_PORT } from './dns.js';
import { podAt } from './at.js';

/** An end of a flow, as a NetworkPolicy may name it. */
export type FlowEnd =
  | { readonly kind: 'workload'; readonly workload: ClusterWorkload }
  /** Pods that the manifests do not hold. */
  | { readonly kind: 'pods'; readonly namespace: string; readonly labels: Readonly<Record<string, string>> }
  | { readonly kind: 'prefix'; readonly cidr: string };

/** A connection that must pass: `port` is that of the pod, behind whatever Service. */
export interface Flow {
  readonly from: FlowEnd;
  readonly to: FlowEnd;
  readonly protocol: Protocol;
  readonly port: number;
}

export const workloadEnd = (workload: ClusterWorkload): FlowEnd => ({ kind: 'workload', workload });
export const addressEnd = (address: Address): FlowEnd => ({ kind: 'prefix', cidr: formatPrefix(prefixOf(address)) });

/** Everything outside, of each family that the cluster has. */
const outside = ({ cluster }: State): FlowEnd[] =>
  cluster.families.map((family) => ({ kind: 'prefix', cidr: family === 'IPv4' ? '0.0.0.0/0' : '::/0' }));

/** Each once, in order of their ends. */
export function sortedFlows(flows: readonly Flow[]): Flow[] {
  const known = new Map(flows.map((flow) => [flowText(flow), flow]));
  return [...known].sort(([a], [b]) => compare(a, b)).map(([, flow]) => flow);
}

export function endText(end: FlowEnd): string {
  if (end.kind === 'workload') return end.workload.ref;
  if (end.kind === 'prefix') return `ip:${end.cidr}`;
  const labels = Object.entries(end.labels).map(([key, value]) => `${key}=${value}`);
  return `${end.namespace}/${labels.sort(compare).join(',')}`;
}

export const flowText = ({ from, to, protocol, port }: Flow): string =>
  `${endText(from)} → ${endText(to)} ${protocol} ${port}`;

/**
 * The flows that the manifests announce:
 *
 * 1. from a workload to whatever a variable, an argument or a ConfigMap of it names, at the port named there, else at every port
 *    of the Service that is named; outside the cluster only where a port is named
 * 2. from whoever has to look up such a name to the cluster's DNS
 * 3. from outside to the pods behind a Service that is open to it
 */
export function announcedFlows(state: State): Flow[] {
  const flows = announcedAnywhere(state).flatMap((one) => [...flowsOf(state, one), ...lookUps(state, one)]);
  const open = state.cluster.services.filter(
    ({ source }) => source.type === 'LoadBalancer' || source.type === 'NodePort',
  );
  return sortedFlows([...flows, ...open.flatMap((service) => flowsFromOutside(state, service))]);
}

function flowsOf(state: State, { workload, host, target }: Announced): Flow[] {
  const from = workloadEnd(workload);
  switch (target.kind) {
    case 'service':
      return flowsToService(state, from, target.service, host.port);
    case 'pods':
      return target.pods.flatMap((pod) => {
        const declared = pod.spec.containers.flatMap(({ ports }) => ports);
        const ports = declared
          .map(({ protocol, containerPort }) => ({ protocol, port: containerPort.value }))
          .filter(({ port }) => host.port === null || port === host.port);
        const asked = host.port === null ? [] : [{ protocol: 'TCP' as const, port: host.port }];
        return (ports.length > 0 ? ports : asked).map((traffic) => ({
          from,
          to: workloadEnd(pod.workload),
          ...traffic,
        }));
      });
    case 'address':
      return flowsToAddress(state, from, target.address, 'TCP', host.port);
    case 'world':
      return host.port === null ? [] : outside(state).map((to) => ({ from, to, protocol: 'TCP', port: host.port! }));
    default:
      return [];
  }
}

/** What stands at an address: a Service, a pod, or somebody outside. */
export function flowsToAddress(
  state: State,
  from: FlowEnd,
  address: Address,
  protocol: Protocol,
  port: number | null,
): Flow[] {
  const service = state.cluster.services.find(({ clusterIPs }) => clusterIPs.includes(address));
  if (service) return flowsToService(state, from, service, port);
  const pod = podAt(state, address);
  if (port === null) return [];
  return [{ from, to: pod ? workloadEnd(pod.workload) : addressEnd(address), protocol, port }];
}

/** To each of a Service's endpoints, at its own port; of a headless Service, at the port that is asked for. */
export function flowsToService(state: State, from: FlowEnd, service: ClusterService, port: number | null): Flow[] {
  const { headless } = service.source;
  const asked = service.ports.filter(({ source, backends }) =>
    headless ? port === null || backends.some((one) => one.port === port) : port === null || source.port.value === port,
  );
  const flows = asked.flatMap(({ source, backends }) =>
    backends.map((backend): Flow => ({
      from,
      to: endpointEnd(state, backend),
      protocol: source.protocol,
      port: backend.port,
    })),
  );
  if (flows.length > 0 || !headless || port === null) return flows;
  return service.selected.map((pod) => ({ from, to: workloadEnd(pod.workload), protocol: 'TCP', port }));
}

function endpointEnd({ cluster }: State, backend: ClusterBackend): FlowEnd {
  const pod = podBehind(cluster, backend);
  return pod ? workloadEnd(pod.workload) : addressEnd(backend.address);
}

/** A name is asked of the DNS, over UDP and, where the answer is long, over TCP. An address is not. */
function lookUps(state: State, { workload, host }: Announced): Flow[] {
  if (parseAddress(host.name) !== null) return [];
  const from = workloadEnd(workload);
  const dns = clusterDns(state);
  const [key, value] = DNS.label;
  const others: FlowEnd = { kind: 'pods', namespace: DNS.namespace, labels: { [key]: value } };
  const servers = dns ? [...dns.pods].map((pod) => workloadEnd(pod.workload)) : [others];
  const ports = new Set(dns ? dns.listeners.map(({ port }) => port) : [DNS_PORT]);
  return servers.flatMap((to) =>
    [...ports].flatMap((port) => (['UDP', 'TCP'] as const).map((protocol) => ({ from, to, protocol, port }))),
  );
}

function flowsFromOutside(state: State, service: ClusterService): Flow[] {
  const ranges = service.source.loadBalancerSourceRanges.map(({ value }): FlowEnd => ({
    kind: 'prefix',
    cidr: value.trim(),
  }));
  return (ranges.length > 0 ? ranges : outside(state)).flatMap((from) => flowsToService(state, from, service, null));
}
