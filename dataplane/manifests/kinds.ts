import { problem } from '../problems.js';
import { readAdminPolicy } from './admin-policies.js';
import { readCalicoPolicy, readNetworkSet, readTier } from './calico-policies.js';
import { readCIDRGroup, readCiliumPolicy } from './cilium-policies.js';
import { readConfigMap, readNamespace, readNode } from './cluster.js';
import { readEndpoints, readEndpointSlice } from './endpoints.js';
import type { Fields } from './fields.js';
import { readIngress, readIngressClass, refuseOldIngress } from './ingresses.js';
import { readDestinationRule, readRequestAuthentication } from './istio-clients.js';
import { readAuthorizationPolicy, readPeerAuthentication } from './istio-policies.js';
import {
  WORKLOAD_KINDS,
  type ManifestObject,
  type Metadata,
  type UnevaluatedPolicy,
  type UnreadRoute,
} from './objects.js';
import type { Place } from './place.js';
import { readPod } from './pods.js';
import { readNetworkPolicy } from './policies.js';
import { readService } from './services.js';
import { readWorkload } from './workloads.js';

/**
 * What every object has; readers add their kind and fields. Those of which there are thousands name what they add it to, which makes
 * smaller objects than to spread it.
 */
export interface Header {
  readonly apiVersion: string;
  readonly metadata: Metadata;
  readonly at: Place;
  readonly kindAt: Place;
}

export interface Kind {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /**
   * It can forbid traffic. Where any of it is refused, all of it is, and verdicts that it could change are UNKNOWN: without a rule
   * it could let more than was meant, and the API server takes an object whole or not at all.
   */
  readonly isPolicy: boolean;
  /** `undefined` where the object is refused; the reason is then reported. */
  readonly read: (object: Fields, header: Header) => ManifestObject | undefined;
}

type Read = Kind['read'];

const namespaced = (apiVersion: string, kind: string, read: Read): Kind => ({
  apiVersion,
  kind,
  namespaced: true,
  isPolicy: false,
  read,
});
const clusterWide = (apiVersion: string, kind: string, read: Read): Kind => ({
  ...namespaced(apiVersion, kind, read),
  namespaced: false,
});
const policy = (kind: Kind): Kind => ({ ...kind, isPolicy: true });

const WORKLOAD_VERSIONS = {
  Deployment: ['apps/v1'],
  ReplicaSet: ['apps/v1'],
  StatefulSet: ['apps/v1'],
  DaemonSet: ['apps/v1'],
  Job: ['batch/v1'],
  CronJob: ['batch/v1', 'batch/v1beta1'],
  ReplicationController: ['v1'],
} as const;

/** The API group of administrators' policies. */
const ADMIN_GROUP = 'policy.networking.k8s.io';

/** What Calico is told, and what it keeps of that. */
const CALICO_VERSIONS = ['projectcalico.org/v3', 'crd.projectcalico.org/v1'] as const;

/** The kinds that are read, by exact apiVersion. */
const KINDS: readonly Kind[] = [
  clusterWide('v1', 'Namespace', readNamespace),
  clusterWide('v1', 'Node', readNode),
  namespaced('v1', 'Pod', readPod),
  namespaced('v1', 'Service', readService),
  namespaced('v1', 'Endpoints', readEndpoints),
  namespaced('v1', 'ConfigMap', readConfigMap),
  namespaced('discovery.k8s.io/v1', 'EndpointSlice', readEndpointSlice),
  ...WORKLOAD_KINDS.flatMap((kind) =>
    WORKLOAD_VERSIONS[kind].map((version) => namespaced(version, kind, readWorkload(kind))),
  ),
  policy(namespaced('networking.k8s.io/v1', 'Ingress', readIngress)),
  policy(namespaced('networking.k8s.io/v1beta1', 'Ingress', refuseOldIngress)),
  policy(namespaced('extensions/v1beta1', 'Ingress', refuseOldIngress)),
  clusterWide('networking.k8s.io/v1', 'IngressClass', readIngressClass),
  ...['security.istio.io/v1', 'security.istio.io/v1beta1'].flatMap((version) => [
    policy(namespaced(version, 'AuthorizationPolicy', readAuthorizationPolicy)),
    policy(namespaced(version, 'PeerAuthentication', readPeerAuthentication)),
    policy(namespaced(version, 'RequestAuthentication', readRequestAuthentication)),
  ]),
  ...['v1', 'v1beta1', 'v1alpha3'].map((version) =>
    policy(namespaced(`networking.istio.io/${version}`, 'DestinationRule', readDestinationRule)),
  ),
  policy(namespaced('networking.k8s.io/v1', 'NetworkPolicy', readNetworkPolicy)),
  policy(namespaced('cilium.io/v2', 'CiliumNetworkPolicy', readCiliumPolicy('CiliumNetworkPolicy'))),
  policy(
    clusterWide('cilium.io/v2', 'CiliumClusterwideNetworkPolicy', readCiliumPolicy('CiliumClusterwideNetworkPolicy')),
  ),
  policy(clusterWide('cilium.io/v2', 'CiliumCIDRGroup', readCIDRGroup)),
  policy(clusterWide('cilium.io/v2alpha1', 'CiliumCIDRGroup', readCIDRGroup)),
  ...['v1alpha2', 'v1beta1'].map((version) =>
    policy(clusterWide(`${ADMIN_GROUP}/${version}`, 'ClusterNetworkPolicy', readAdminPolicy('ClusterNetworkPolicy'))),
  ),
  ...(['AdminNetworkPolicy', 'BaselineAdminNetworkPolicy'] as const).map((kind) =>
    policy(clusterWide(`${ADMIN_GROUP}/v1alpha1`, kind, readAdminPolicy(kind))),
  ),
  ...CALICO_VERSIONS.flatMap((version) => [
    policy(namespaced(version, 'NetworkPolicy', readCalicoPolicy('NetworkPolicy'))),
    policy(clusterWide(version, 'GlobalNetworkPolicy', readCalicoPolicy('GlobalNetworkPolicy'))),
    policy(clusterWide(version, 'Tier', readTier)),
    policy(namespaced(version, 'NetworkSet', readNetworkSet('NetworkSet'))),
    policy(clusterWide(version, 'GlobalNetworkSet', readNetworkSet('GlobalNetworkSet'))),
  ]),
];

/** Policies of other languages: group (or exact apiVersion), kind, and whether it has a namespace. */
const UNEVALUATED: readonly (readonly [string, string, boolean])[] = [
  ['cilium.io', 'CiliumNetworkPolicy', true],
  ['cilium.io', 'CiliumClusterwideNetworkPolicy', false],
  [ADMIN_GROUP, 'AdminNetworkPolicy', false],
  [ADMIN_GROUP, 'BaselineAdminNetworkPolicy', false],
  [ADMIN_GROUP, 'ClusterNetworkPolicy', false],
  ...CALICO_VERSIONS.map((version) => [version, 'HostEndpoint', false] as const),
];

/** Of groups that hold what decides about traffic, the kinds that do not: any other that is not read may. */
const HARMLESS: ReadonlyMap<string, RegExp> = new Map([
  ['networking.k8s.io', /^(IPAddress|ServiceCIDR)$/],
  ['security.istio.io', /^$/],
  [
    'cilium.io',
    /^Cilium(Node|NodeConfig|Identity|Endpoint|EndpointSlice|ExternalWorkload|LoadBalancerIPPool|PodIPPool|L2AnnouncementPolicy|GatewayClassConfig|BGP\w*)$/,
  ],
]);

/** Of groups that lead requests elsewhere, the kinds that do. */
const ROUTES: ReadonlyMap<string, RegExp> = new Map([
  ['gateway.networking.k8s.io', /^[A-Z]+Route$/],
  ['networking.istio.io', /^(VirtualService|ServiceEntry|Sidecar|EnvoyFilter)$/],
]);

/** Who reads an object; null for kinds that are left alone. A kind of the same name in another group is such. */
export function kindOf(apiVersion: string, kind: string): Kind | null {
  const known = KINDS.find((one) => one.kind === kind && one.apiVersion === apiVersion);
  if (known) return known;
  const group = apiVersion.slice(0, apiVersion.indexOf('/'));
  if (ROUTES.get(group)?.test(kind)) return namespaced(apiVersion, kind, readRoute(kind));
  const other = UNEVALUATED.find(([of, name]) => name === kind && (of === group || of === apiVersion));
  // What is misspelt, or being typed, is told as such.
  const isMeant =
    KINDS.some((one) => one.kind.toLowerCase() === kind.toLowerCase()) || isBeginningOfKind(apiVersion, kind);
  const isUnknown = !isMeant && HARMLESS.get(group)?.test(kind) === false;
  return other || isUnknown
    ? {
        apiVersion,
        kind,
        namespaced: other?.[2] ?? !/Cluster|Class/.test(kind),
        isPolicy: true,
        read: readUnevaluated(kind),
      }
    : null;
}

/** Whether a kind of that name is read, of whatever apiVersion; or one of that apiVersion, of whatever name. */
export const isKindName = (kind: string): boolean => KINDS.some((one) => one.kind === kind);
export const isKindVersion = (apiVersion: string): boolean => KINDS.some((one) => one.apiVersion === apiVersion);

/** Whether these could be the first letters of a kind that is read: then it is probably being typed. */
export function isBeginningOfKind(apiVersion: string, kind: string): boolean {
  const begins = (fullVersion: string, fullKind: string): boolean =>
    fullVersion.startsWith(apiVersion) && fullKind.startsWith(kind);
  return (
    KINDS.some((one) => begins(one.apiVersion, one.kind)) || UNEVALUATED.some(([of, name]) => begins(`${of}/`, name))
  );
}

const readRoute =
  (actualKind: string) =>
  (_: Fields, header: Header): UnreadRoute => ({ ...header, kind: 'UnreadRoute', actualKind });

function readUnevaluated(actualKind: string) {
  return (object: Fields, header: Header): UnevaluatedPolicy => {
    const message = `${actualKind} is not evaluated yet; verdicts it could change are UNKNOWN.`;
    object.problems.push(problem('HS1012', header.kindAt, message));
    return { ...header, kind: 'UnevaluatedPolicy', actualKind };
  };
}
