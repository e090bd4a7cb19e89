/** What is read from manifests: only the fields that decide about traffic, each with its place. */
import type { Address, Family } from '../addresses.js';
import type { AdminPolicy } from './admin.js';
import type { CalicoNetworkSet, CalicoPolicy, CalicoTier } from './calico.js';
import type { CiliumCIDRGroup, CiliumPolicy } from './cilium.js';
import type { Ingress, IngressClass } from './ingress.js';
import type { AuthorizationPolicy, DestinationRule, PeerAuthentication, RequestAuthentication } from './istio.js';
import type { Located, Place } from './place.js';
import type { Problem } from '../problems.js';

export type Protocol = 'TCP' | 'UDP' | 'SCTP';

export type Labels = ReadonlyMap<string, string>;

export interface Metadata {
  readonly name: Located<string>;
  /** `default` where the manifest names none; empty for kinds without a namespace. */
  readonly namespace: string;
  readonly labels: ReadonlyMap<string, Located<string>>;
  readonly annotations: ReadonlyMap<string, Located<string>>;
  readonly ownerReferences: readonly { readonly kind: string; readonly name: string; readonly controller: boolean }[];
}

export interface ObjectOf<Kind extends string> {
  readonly kind: Kind;
  readonly apiVersion: string;
  readonly metadata: Metadata;
  /** The whole object, from its first key to its last value. */
  readonly at: Place;
  /** The value of `kind:`. */
  readonly kindAt: Place;
  /** Errors in it: the API server refuses it, and what is then in the cluster, if anything, no manifest tells. */
  readonly mistakes?: readonly Problem[];
}

/** metav1.LabelSelector. `null` where a selector is absent; no terms at all selects everything. */
export interface LabelSelector {
  readonly at: Place;
  readonly matchLabels: ReadonlyMap<string, Located<string>>;
  readonly matchExpressions: readonly {
    readonly at: Place;
    readonly key: string;
    readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
    readonly values: readonly string[];
  }[];
}

export interface Namespace extends ObjectOf<'Namespace'> {}

export interface Node extends ObjectOf<'Node'> {
  /** spec.podCIDRs, else spec.podCIDR. */
  readonly podCIDRs: readonly Located<string>[];
  /** status.addresses of type InternalIP, and those of type ExternalIP. */
  readonly internalIPs: readonly Located<string>[];
  readonly externalIPs: readonly Located<string>[];
  /** The label topology.kubernetes.io/zone. */
  readonly zone: string | null;
}

export interface ContainerPort {
  readonly at: Place;
  readonly containerPort: Located<number>;
  readonly name: Located<string> | null;
  readonly protocol: Protocol;
  readonly hostPort: Located<number> | null;
  readonly hostIP: string | null;
}

export interface Container {
  readonly at: Place;
  readonly name: string;
  readonly ports: readonly ContainerPort[];
  /** `env` entries with a literal value. */
  readonly env: readonly { readonly name: string; readonly value: Located<string> }[];
  /** `command` and `args`, in that order. */
  readonly args: readonly Located<string>[];
}

export interface PodSpec {
  readonly nodeName: Located<string> | null;
  readonly hostNetwork: boolean;
  /** `containers`, and the `initContainers` with `restartPolicy: Always`. */
  readonly containers: readonly Container[];
  readonly hostname: string | null;
  readonly subdomain: string | null;
  /** `default` where the manifest names none. */
  readonly serviceAccountName: string;
  /** Bits a second that it may send out of its node, as the annotation kubernetes.io/egress-bandwidth says; null for no limit. */
  readonly egressBandwidth: Located<number> | null;
  /** Names of the ConfigMaps that its variables and volumes come from, each once. */
  readonly configMaps: readonly string[];
}

export interface Pod extends ObjectOf<'Pod'> {
  readonly spec: PodSpec;
  readonly phase: string | null;
  /** status.podIPs, else status.podIP. */
  readonly podIPs: readonly Located<string>[];
  /** There is status.podIPs: it has no other address. */
  readonly reportsPodIPs: boolean;
  readonly hostIP: string | null;
  /** The Ready condition; null where the manifest reports none. */
  readonly ready: boolean | null;
  /** metadata.deletionTimestamp is set. */
  readonly terminating: boolean;
}

export const WORKLOAD_KINDS = [
  'Deployment',
  'ReplicaSet',
  'StatefulSet',
  'DaemonSet',
  'Job',
  'CronJob',
  'ReplicationController',
] as const;
export type WorkloadKind = (typeof WORKLOAD_KINDS)[number];

export interface Workload extends ObjectOf<WorkloadKind> {
  /** spec.replicas (Job: spec.parallelism); null where absent. */
  readonly replicas: Located<number> | null;
  readonly selector: LabelSelector | null;
  /** Labels and spec of the pods it makes. */
  readonly template: {
    readonly at: Place;
    readonly labels: ReadonlyMap<string, Located<string>>;
    readonly annotations: ReadonlyMap<string, Located<string>>;
    readonly spec: PodSpec;
  };
}

export interface ServicePort {
  readonly at: Place;
  readonly name: string | null;
  readonly protocol: Protocol;
  readonly port: Located<number>;
  /** A number, or the name of a container port; null where absent (then it is `port`). */
  readonly targetPort: Located<number | string> | null;
  readonly nodePort: Located<number> | null;
}

export interface Service extends ObjectOf<'Service'> {
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
  /** Whole `spec.selector` with its place; null where absent or empty (then Endpoints or EndpointSlices name the backends). */
  readonly selector: { readonly at: Place; readonly labels: ReadonlyMap<string, Located<string>> } | null;
  /** spec.clusterIPs, else spec.clusterIP; `None` (in any case) makes it headless. */
  readonly clusterIPs: readonly Located<string>[];
  readonly headless: boolean;
  readonly ipFamilies: readonly Family[];
  readonly ipFamilyPolicy: 'SingleStack' | 'PreferDualStack' | 'RequireDualStack' | null;
  readonly ports: readonly ServicePort[];
  readonly externalName: Located<string> | null;
  readonly externalIPs: readonly Located<string>[];
  readonly loadBalancerIP: Located<string> | null;
  readonly loadBalancerSourceRanges: readonly Located<string>[];
  /** status.loadBalancer.ingress with an address. */
  readonly ingressIPs: readonly { readonly ip: Located<string>; readonly ipMode: string | null }[];
  /** spec.sessionAffinity ClientIP: its timeout in seconds (10800 unless set); null for None. */
  readonly affinitySeconds: number | null;
  readonly externalTrafficPolicy: 'Cluster' | 'Local';
  readonly internalTrafficPolicy: 'Cluster' | 'Local';
  readonly trafficDistribution: string | null;
  readonly publishNotReadyAddresses: boolean;
  readonly cilium: CiliumAnnotations;
  /** Fields and `service.cilium.io/` annotations that nobody knows: what they were to do is not done. */
  readonly unknown: readonly Located<string>[];
}

/** What annotations of a Service ask of Cilium. `pkg/annotation`. */
export interface CiliumAnnotations {
  /** `service.cilium.io/type`: the only kind of frontend that it has; null for all of its `spec.type`. */
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | null;
  readonly algorithm: 'maglev' | 'random' | null;
  readonly forwardingMode: 'snat' | 'dsr' | null;
  /** Whether `loadBalancerSourceRanges` are whom it takes, or whom it does not. */
  readonly sourceRangesPolicy: 'allow' | 'deny';
}

/** One address of an endpoint: an endpoint that has several is listed as often. */
export interface EndpointAddress {
  readonly at: Place;
  readonly address: Address;
  readonly nodeName: string | null;
  /** Kubernetes takes an absent `ready` as true, `serving` as `ready`, `terminating` as false. */
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  /** `hints`: for clients in which zones, and on which nodes, it is meant. */
  readonly forZones: readonly string[];
  readonly forNodes: readonly string[];
}

export interface EndpointSubset {
  readonly endpoints: readonly EndpointAddress[];
  readonly ports: readonly {
    readonly at: Place;
    readonly name: string | null;
    readonly protocol: Protocol;
    readonly port: number;
  }[];
}

/** v1 Endpoints (each subset) and discovery.k8s.io/v1 EndpointSlice (one subset). */
export interface Endpoints extends ObjectOf<'Endpoints' | 'EndpointSlice'> {
  /** Name of the Service: the object's own for Endpoints, the label kubernetes.io/service-name for a slice. */
  readonly service: string | null;
  readonly subsets: readonly EndpointSubset[];
}

export interface ConfigMap extends ObjectOf<'ConfigMap'> {
  readonly data: ReadonlyMap<string, Located<string>>;
}

/** networking.k8s.io/v1 NetworkPolicyPeer: either `ipBlock`, or one or both selectors. */
export interface NetworkPolicyPeer {
  readonly at: Place;
  readonly podSelector: LabelSelector | null;
  readonly namespaceSelector: LabelSelector | null;
  readonly ipBlock: {
    readonly at: Place;
    readonly cidr: Located<string>;
    readonly except: readonly Located<string>[];
  } | null;
}

export interface NetworkPolicyPort {
  readonly at: Place;
  readonly protocol: Protocol;
  /** A number, or the name of a container port of the destination; null for every port. */
  readonly port: Located<number | string> | null;
  readonly endPort: Located<number> | null;
}

export interface NetworkPolicyRule {
  readonly at: Place;
  /** `from` or `to`; null, and likewise no entries, for every peer. */
  readonly peers: readonly NetworkPolicyPeer[] | null;
  /** null, and likewise no entries, for every port. */
  readonly ports: readonly NetworkPolicyPort[] | null;
}

export interface NetworkPolicy extends ObjectOf<'NetworkPolicy'> {
  readonly podSelector: LabelSelector;
  /** Where the manifest names none: Ingress, and Egress where there are egress rules. */
  readonly policyTypes: readonly ('Ingress' | 'Egress')[];
  /** null where it names none. */
  readonly policyTypesAt: Place | null;
  /** The rules with the place of the whole list; null where the field is absent. */
  readonly ingress: { readonly at: Place; readonly rules: readonly NetworkPolicyRule[] } | null;
  readonly egress: { readonly at: Place; readonly rules: readonly NetworkPolicyRule[] } | null;
}

/** A policy of another language: it could change verdicts, and is not evaluated. */
export interface UnevaluatedPolicy extends ObjectOf<'UnevaluatedPolicy'> {
  readonly actualKind: string;
}

/** Where requests to a Service are led by others than the Service: the Gateway API's routes, and Istio's. What it says is not read. */
export interface UnreadRoute extends ObjectOf<'UnreadRoute'> {
  readonly actualKind: string;
}

export type ManifestObject =
  | Namespace
  | Node
  | Pod
  | Workload
  | Service
  | Endpoints
  | ConfigMap
  | Ingress
  | IngressClass
  | NetworkPolicy
  | AuthorizationPolicy
  | PeerAuthentication
  | RequestAuthentication
  | DestinationRule
  | CiliumPolicy
  | CiliumCIDRGroup
  | AdminPolicy
  | CalicoPolicy
  | CalicoTier
  | CalicoNetworkSet
  | UnevaluatedPolicy
  | UnreadRoute;

/** The kind of an object as its manifest has it: two groups have a NetworkPolicy. */
export const kindName = (object: ManifestObject): string => ('actualKind' in object ? object.actualKind : object.kind);

/** The objects that hold policies. */
export const POLICY_KINDS = [
  'NetworkPolicy',
  'CiliumNetworkPolicy',
  'CiliumClusterwideNetworkPolicy',
  'ClusterNetworkPolicy',
  'AdminNetworkPolicy',
  'BaselineAdminNetworkPolicy',
  'CalicoPolicy',
] as const;
export type PolicySource = Extract<ManifestObject, { readonly kind: (typeof POLICY_KINDS)[number] }>;

/** A document that cannot be read, or that holds an object which is refused, and what its text shows of what it would be. */
export interface UnreadDocument {
  readonly at: Place;
  /** The text after `kind:` at the left margin, where there is one. */
  readonly kind: string | null;
  readonly namespace: string | null;
  readonly name: string | null;
  readonly reason: 'syntax' | 'template' | 'limits';
}

/** What an answer calls such a document. */
export const unreadName = ({ kind, name }: UnreadDocument): string =>
  [kind ?? 'a document', ...(name === null ? [] : [name])].join(' ');
