/** The cluster that the manifests describe: what runs where, under which address, behind which Service. */
import type { CiliumCIDRGroup, CiliumPolicy } from '../manifests/cilium.js';
import type {
  ContainerPort,
  Endpoints,
  ManifestObject,
  NetworkPolicy,
  Pod,
  PodSpec,
  Protocol,
  Service,
  ServicePort,
  Workload,
} from '../manifests/objects.js';
import type { Located, Place } from '../manifests/place.js';

export interface ClusterNode {
  /** From 1 on, in order of names: the node's number in the datapath. */
  readonly index: number;
  readonly name: string;
  readonly address: number;
  /** The range its pods get addresses from. */
  readonly podRange: { readonly address: number; readonly length: number };
  /** null for a node that is assumed or comes from the settings. */
  readonly source: Place | null;
}

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
  readonly namespace: string;
  readonly name: string;
  readonly workload: ClusterWorkload;
  readonly labels: ReadonlyMap<string, string>;
  /** Where the labels stand, for messages. */
  readonly labelPlaces: ReadonlyMap<string, Located<string>>;
  readonly spec: PodSpec;
  readonly node: ClusterNode;
  readonly address: number;
  /** The manifests give it IPv6 addresses and no IPv4 one; `address` is made up. */
  readonly ipv6Only: boolean;
  /** Shares the node's address, and no policy holds for it. */
  readonly hostNetwork: boolean;
  /** null: not reported. */
  readonly ready: boolean | null;
  readonly terminating: boolean;
  /** What put it here: the pod's manifest, or its workload's. */
  readonly source: Place;
}

export interface ClusterBackend {
  readonly address: number;
  readonly port: number;
  readonly pod: ClusterPod | null;
  readonly terminating: boolean;
  readonly source: Place;
}

export interface ClusterServicePort {
  readonly source: ServicePort;
  readonly backends: readonly ClusterBackend[];
  /** Selected pods that have no container port of the name that `targetPort` asks for. */
  readonly unresolved: readonly ClusterPod[];
}

export interface ClusterService {
  readonly source: Service;
  readonly namespace: string;
  readonly name: string;
  /** null for a headless Service, an ExternalName, and one whose address is IPv6 only. */
  readonly clusterIP: number | null;
  /** Pods that the selector matches, ready or not; empty without a selector. */
  readonly selected: readonly ClusterPod[];
  readonly ports: readonly ClusterServicePort[];
}

export interface Cluster {
  readonly nodes: readonly ClusterNode[];
  readonly namespaces: ReadonlyMap<string, ClusterNamespace>;
  readonly workloads: readonly ClusterWorkload[];
  readonly pods: readonly ClusterPod[];
  readonly services: readonly ClusterService[];
  readonly policies: readonly (NetworkPolicy | CiliumPolicy)[];
  readonly cidrGroups: readonly CiliumCIDRGroup[];
  readonly endpoints: readonly Endpoints[];
  readonly objects: readonly ManifestObject[];
}

/** The container ports of a pod that have this name. Names are unique in a pod; Kubernetes takes the first. */
export function namedPort(spec: PodSpec, name: string, protocol: Protocol): ContainerPort | null {
  for (const container of spec.containers) {
    for (const port of container.ports) if (port.name?.value === name && port.protocol === protocol) return port;
  }
  return null;
}
