/** The cluster that the manifests describe: what runs where, under which address, behind which Service. */
import { familyOf, type Address, type Family, type Prefix } from '../addresses.js';
import type { Index } from '../indexed.js';
import type { CalicoNetworkSet, CalicoTier } from '../manifests/calico.js';
import type { CiliumCIDRGroup } from '../manifests/cilium.js';
import type {
  AuthorizationPolicy,
  DestinationRule,
  PeerAuthentication,
  RequestAuthentication,
} from '../manifests/istio.js';
import type { Ingress, IngressClass } from '../manifests/ingress.js';
import type {
  ContainerPort,
  Endpoints,
  ManifestObject,
  Pod,
  PodSpec,
  PolicySource,
  Protocol,
  Service,
  ServicePort,
  UnevaluatedPolicy,
  UnreadRoute,
  Workload,
} from '../manifests/objects.js';
import type { Located, Place } from '../manifests/place.js';

export interface ClusterNode {
  /** From 1 on, in order of names: the node's number in the datapath. */
  readonly index: number;
  readonly name: string;
  /** One of each family of the cluster, primary first. */
  readonly addresses: readonly Address[];
  /** The primary one. */
  readonly address: Address;
  /** Its further addresses. */
  readonly others: readonly Address[];
  readonly labels: ReadonlyMap<string, string>;
  /** Its label topology.kubernetes.io/zone. */
  readonly zone: string | null;
  /** The ranges its pods get addresses from: one of each family of the cluster, primary first. */
  readonly podRanges: readonly Prefix[];
  /** null for a node that is assumed or comes from the settings. */
  readonly source: Place | null;
}

/** The label that every namespace has. Kubernetes API: well-known labels. */
export const NAME_LABEL = 'kubernetes.io/metadata.name';

export interface ClusterNamespace {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  /** Whether there is a Namespace object. */
  readonly declared: boolean;
}

/** Pods that are made from one template, or a pod on its own. */
export interface ClusterWorkload {
  /** `ns/name[Kind]`. */
  readonly ref: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly pods: ClusterPod[];
  /** The object that declares it; the first pod when only pods name it as their owner. */
  readonly source: Workload | Pod;
}

export interface ClusterPod {
  /** `namespace/name of workload`, which no other pod has but by a rare chance among thousands of one workload. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly workload: ClusterWorkload;
  readonly labels: ReadonlyMap<string, string>;
  /** Where the labels stand, for messages. */
  readonly labelPlaces: ReadonlyMap<string, Located<string>>;
  readonly annotations: ReadonlyMap<string, string>;
  readonly spec: PodSpec;
  readonly node: ClusterNode;
  /** Those that the manifests report, else one of each family of the cluster, primary first; none where a range is used up. */
  readonly addresses: readonly Address[];
  /** The primary one; 0 for none. */
  readonly address: Address;
  /** Shares the node's address, and no policy holds for it. */
  readonly hostNetwork: boolean;
  /** null: not reported. */
  readonly ready: boolean | null;
  readonly terminating: boolean;
  /** What put it here: the pod's manifest, or its workload's. */
  readonly source: Place;
}

/** One address of an endpoint: a pod with two is two backends. */
export interface ClusterBackend {
  readonly address: Address;
  readonly port: number;
  /** The key of the pod that it is, so that an edit to a pod which leaves it where it was leaves its Services the very same; null for none. */
  readonly podKey: string | null;
  /** Where it runs; null where that is not told, or a node that is not known. */
  readonly node: ClusterNode | null;
  /** It is ending, and serves on while it does. */
  readonly terminating: boolean;
  /** For clients in which zones, and on which nodes, it is meant; empty: all. */
  readonly forZones: readonly string[];
  readonly forNodes: readonly string[];
  /** What `service.cilium.io/weight` of its slice says; 0 takes no new connections. */
  readonly weight: number;
  readonly source: Place;
}

export interface ClusterServicePort {
  readonly source: ServicePort;
  /** All that can serve: those that are ready, and those that serve on while they end. */
  readonly endpoints: readonly ClusterBackend[];
  /** Those of them that new connections go to, from wherever it does not matter. */
  readonly backends: readonly ClusterBackend[];
  /** Selected pods that have no container port of the name that `targetPort` asks for. */
  readonly unresolved: readonly ClusterPod[];
}

export interface ClusterService {
  readonly source: Service;
  readonly namespace: string;
  readonly name: string;
  /** One of each of its families, primary first; none for a headless Service and an ExternalName. */
  readonly clusterIPs: readonly Address[];
  /** The primary one. */
  readonly clusterIP: Address | null;
  /** Pods that the selector matches, ready or not; empty without a selector. */
  readonly selected: readonly ClusterPod[];
  readonly ports: readonly ClusterServicePort[];
}

export interface Cluster {
  /** One, or both in a dual-stack cluster; primary first. */
  readonly families: readonly Family[];
  readonly nodes: readonly ClusterNode[];
  readonly namespaces: ReadonlyMap<string, ClusterNamespace>;
  readonly workloads: readonly ClusterWorkload[];
  readonly pods: readonly ClusterPod[];
  /** The same of each namespace that has any, in the order of the workloads. */
  readonly inNamespace: ReadonlyMap<string, Pick<Cluster, 'workloads' | 'pods'>>;
  /** By the addresses that are their own. */
  readonly podsByAddress: Index<Address, ClusterPod>;
  readonly podsByKey: Index<string, ClusterPod>;
  readonly services: readonly ClusterService[];
  readonly policies: readonly PolicySource[];
  readonly cidrGroups: readonly CiliumCIDRGroup[];
  readonly tiers: readonly CalicoTier[];
  readonly networkSets: readonly CalicoNetworkSet[];
  readonly endpoints: readonly Endpoints[];
  readonly authorizationPolicies: readonly AuthorizationPolicy[];
  readonly peerAuthentications: readonly PeerAuthentication[];
  readonly requestAuthentications: readonly RequestAuthentication[];
  readonly destinationRules: readonly DestinationRule[];
  readonly ingresses: readonly Ingress[];
  readonly ingressClasses: readonly IngressClass[];
  /** Pods, among the others, that no manifest has: an Ingress takes them for granted. They are no workload's. */
  readonly assumed: ReadonlySet<ClusterPod>;
  /** Policies that could change verdicts and are not evaluated. */
  readonly unevaluated: readonly UnevaluatedPolicy[];
  readonly routes: readonly UnreadRoute[];
  readonly objects: readonly ManifestObject[];
}

const isStaying = ({ terminating, weight }: ClusterBackend): boolean => !terminating && weight > 0;

/** Backends that are ending serve only while there is no other. The very same list where all serve. */
export function serving(endpoints: readonly ClusterBackend[]): readonly ClusterBackend[] {
  if (endpoints.every(isStaying)) return endpoints;
  const staying = endpoints.filter(isStaying);
  return staying.length > 0 ? staying : endpoints.filter((backend) => backend.terminating);
}

/** The pod that a backend is; null for none. */
export const podBehind = ({ podsByKey }: Cluster, backend: ClusterBackend | null): ClusterPod | null =>
  backend?.podKey ? (podsByKey.get(backend.podKey) ?? null) : null;

/** How many endpoints some backends are: a pod with two addresses, or behind two ports, is one. */
export const countEndpoints = (backends: readonly ClusterBackend[]): number =>
  new Set(backends.map(({ podKey, address }) => podKey ?? address)).size;

/** Every address of a node. */
export const allAddresses = ({ addresses, others }: ClusterNode): readonly Address[] => [...addresses, ...others];

/** The first address of a family; null for none. */
export const addressIn = ({ addresses }: { readonly addresses: readonly Address[] }, family: Family): Address | null =>
  addresses.find((address) => familyOf(address) === family) ?? null;

/** The container ports of a pod that have this name. Names are unique in a pod; Kubernetes takes the first. */
export function namedPort(spec: PodSpec, name: string, protocol: Protocol): ContainerPort | null {
  for (const container of spec.containers) {
    for (const port of container.ports) if (port.name?.value === name && port.protocol === protocol) return port;
  }
  return null;
}
