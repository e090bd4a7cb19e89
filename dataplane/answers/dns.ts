/** The cluster's DNS, and whether a pod can ask it. */
import { IpProto } from '../../assembly/abi.js';
import { familyOf, type Address } from '../addresses.js';
import { addressIn, podBehind, type ClusterPod, type ClusterService } from '../cluster/cluster.js';
import type { Place } from '../manifests/place.js';
import type { State } from '../state.js';
import { deciding } from './layer7.js';
import { run, type Outcome, type Probe } from './probe.js';

/** Where clusters run their DNS: what kubeadm, kind, k3s, EKS, GKE and AKS all call its namespace and its pods. */
export const DNS = { namespace: 'kube-system', label: ['k8s-app', 'kube-dns'] } as const;

export const DNS_PORT = 53;
/** Source port of a question to the DNS. */
const SOURCE_PORT = 40053;

/** The cluster DNS as the manifests have it. */
export interface ClusterDns {
  readonly name: string;
  readonly namespace: string;
  readonly at: Place;
  readonly pods: ReadonlySet<ClusterPod>;
  /** The Service's addresses; none where only pods are known, or the Service is headless. */
  readonly addresses: readonly Address[];
  readonly listeners: readonly { readonly address: Address; readonly port: number }[];
  /** `k8s-app: kube-dns`, what a rule is to select. */
  readonly labels: string;
}

/**
 * In order of preference:
 * 1. Service `kube-dns` in `kube-system`
 * 2. a Service with the label `k8s-app: kube-dns`
 * 3. Service `coredns` in `kube-system`
 * 4. pods with that label
 * null where the manifests hold none with anything behind it: the cluster brings its own.
 */
export function clusterDns(state: State): ClusterDns | null {
  const [key, value] = DNS.label;
  const services = state.cluster.services.filter((service) => rankOf(service) > 0);
  for (const service of services.sort((a, b) => rankOf(b) - rankOf(a))) {
    const port = service.ports.find(({ source }) => source.protocol === 'UDP' && source.port.value === DNS_PORT);
    if (!port || port.backends.length === 0) continue;
    const { metadata, selector } = service.source;
    const labels = [...(selector?.labels ?? [])].map(([term, label]) => `${term}: ${label.value}`).join(', ');
    return {
      name: `${service.namespace}/${service.name}`,
      namespace: service.namespace,
      at: metadata.name.at,
      pods: new Set([...service.selected, ...port.backends.flatMap((one) => podBehind(state.cluster, one) ?? [])]),
      addresses: service.clusterIPs,
      listeners: port.backends,
      labels: labels || `${key}: ${value}`,
    };
  }
  const pods = state.cluster.pods.filter((pod) => pod.labels.get(key) === value);
  if (!pods[0]) return null;
  return {
    name: pods[0].workload.ref,
    namespace: pods[0].namespace,
    at: pods[0].labelPlaces.get(key)!.at,
    pods: new Set(pods),
    addresses: [],
    listeners: pods.flatMap(({ addresses }) => addresses.map((address) => ({ address, port: DNS_PORT }))),
    labels: `${key}: ${value}`,
  };
}

function rankOf({ namespace, name, source }: ClusterService): number {
  if (namespace === DNS.namespace && name === 'kube-dns') return 3;
  if (source.metadata.labels.get(DNS.label[0])?.value === DNS.label[1]) return 2;
  return namespace === DNS.namespace && name === 'coredns' ? 1 : 0;
}

/**
 * What becomes of a pod's question to the DNS for a name, null for any: let through where any of its pods can be asked. null
 * where there is no DNS here.
 */
export function askDns(state: State, pod: ClusterPod, name: string | null): Outcome | null {
  const dns = clusterDns(state);
  if (!dns || pod.hostNetwork || dns.pods.has(pod)) return null;
  const address = dns.addresses.find((one) => addressIn(pod, familyOf(one)) !== null) ?? dns.addresses[0];
  const targets = address === undefined ? dns.listeners : [{ address, port: DNS_PORT }];
  const outcomes = run(
    state,
    targets.flatMap((target) => askAt(pod, target, SOURCE_PORT)),
    deciding(state, { http: null, name }),
  );
  return outcomes.find(({ allowed }) => allowed) ?? outcomes[0] ?? null;
}

/** The packet in which a pod asks one of the DNS's addresses; none where it has no address of that family. */
export function askAt(
  pod: ClusterPod,
  { address, port }: { readonly address: Address; readonly port: number },
  sourcePort: number,
): Probe[] {
  const source = addressIn(pod, familyOf(address));
  if (source === null) return [];
  const ends = { source, destination: address, protocol: IpProto.UDP };
  return [{ sender: { kind: 'pod', pod }, tuple: { ...ends, sourcePort, destinationPort: port } }];
}
