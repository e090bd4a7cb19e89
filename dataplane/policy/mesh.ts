/** The mesh: which pods have a proxy of Istio's before them, and which of its policies are theirs. */
import type { Cluster, ClusterPod } from '../cluster/cluster.js';
import {
  ROOT_NAMESPACE,
  type AuthorizationPolicy,
  type DestinationRule,
  type MtlsMode,
  type PeerAuthentication,
  type RequestAuthentication,
  type WorkloadSelector,
} from '../manifests/istio.js';
import type { ManifestObject } from '../manifests/objects.js';
import { valuesOf, type Located } from '../manifests/place.js';
import { clausesOf } from './istio.js';

/**
 * What takes the connections of a pod: a sidecar in it, its node's ztunnel (ambient), nothing, or a sidecar that a label of its
 * namespace decides about, which has no Namespace object.
 */
export type MeshProxy = 'sidecar' | 'ztunnel' | 'none' | 'undeclared';

/** Namespaces into which no sidecar is put. Istio `pkg/kube/inject`, `IgnoredNamespaces`. */
const IGNORED = ['kube-system', 'kube-public', 'kube-node-lease', 'local-path-storage'];

const INJECT = 'sidecar.istio.io/inject';
const AMBIENT = 'istio.io/dataplane-mode';

/**
 * 1. a container `istio-proxy` is there, whoever put it
 * 2. none on the host's network, nor in namespaces of the system
 * 3. none where the pod or its namespace says no
 * 4. one where either says yes; the label of a revision is a yes
 * 5. ztunnel where either says `ambient`
 * Istio documentation, "Installing the Sidecar", "Controlling the injection policy".
 */
export function proxyOf(
  cluster: Cluster,
  { namespace, labels, annotations, spec, hostNetwork }: ClusterPod,
): MeshProxy {
  if (spec.containers.some(({ name }) => name === 'istio-proxy')) return 'sidecar';
  if (hostNetwork || IGNORED.includes(namespace)) return 'none';
  const declared = cluster.namespaces.get(namespace);
  const own = labels.get(INJECT) ?? annotations.get(INJECT);
  const injection = declared?.labels.get('istio-injection');
  if (own === 'false' || injection === 'disabled') return ambientOf(declared?.labels, labels);
  const isRevised = labels.has('istio.io/rev') || (injection === undefined && declared?.labels.has('istio.io/rev'));
  if (own === 'true' || injection === 'enabled' || isRevised) return 'sidecar';
  const ambient = ambientOf(declared?.labels, labels);
  return ambient === 'none' && !declared?.declared ? 'undeclared' : ambient;
}

const ambientOf = (namespace: ReadonlyMap<string, string> | undefined, pod: ReadonlyMap<string, string>): MeshProxy =>
  (pod.get(AMBIENT) ?? namespace?.get(AMBIENT)) === 'ambient' ? 'ztunnel' : 'none';

const selects = (selector: WorkloadSelector, labels: ReadonlyMap<string, string>): boolean =>
  [...(selector ?? [])].every(([key, { value }]) => labels.get(key) === value);

/** What is said of the pods before which a proxy of the mesh stands. */
export type MeshPolicy = AuthorizationPolicy | PeerAuthentication | RequestAuthentication;

/** Whether a policy is for a pod, as its namespace and its selector say. */
export const isFor = (
  { metadata, selector }: MeshPolicy,
  { namespace, labels }: Pick<ClusterPod, 'namespace' | 'labels'>,
): boolean => [namespace, ROOT_NAMESPACE].includes(metadata.namespace) && selects(selector, labels);

export const isMeshPolicy = (object: ManifestObject): object is MeshPolicy =>
  ['AuthorizationPolicy', 'PeerAuthentication', 'RequestAuthentication'].includes(object.kind);

/** A policy that is only tried out decides nothing. */
const isTriedOut = ({ metadata }: AuthorizationPolicy): boolean =>
  metadata.annotations.get('istio.io/dry-run')?.value === 'true';

const GATEWAY = 'gateway.networking.k8s.io/gateway-name';

/** The policies of a pod's own proxy: those of its namespace and of the mesh that select it, or that name it as a Gateway. */
export const authorizationOf = ({ authorizationPolicies }: Cluster, pod: ClusterPod): AuthorizationPolicy[] =>
  authorizationPolicies.filter((policy) => !isTriedOut(policy) && isAtProxy(policy, pod));

/** Whether a policy is for a pod's own proxy: by its selector, or by the Gateway that it names. */
const isAtProxy = (policy: AuthorizationPolicy | RequestAuthentication, pod: ClusterPod): boolean =>
  policy.targetRefs
    ? policy.metadata.namespace === pod.namespace &&
      policy.targetRefs.some(({ kind, name }) => kind === 'Gateway' && pod.labels.get(GATEWAY) === name)
    : isFor(policy, pod);

/** What is asked about the tokens in requests to a pod. */
export const tokensOf = ({ requestAuthentications }: Cluster, pod: ClusterPod): RequestAuthentication[] =>
  requestAuthentications.filter((policy) => isAtProxy(policy, pod));

/**
 * What may have clients connect to a pod otherwise than by the mesh's mutual TLS: rules for a Service that leads to it, and those for
 * hosts that none of the Services is. Whether a client asked for the host is not told here, nor which of a rule's subsets it was.
 */
export const plainOf = (cluster: Cluster, pod: ClusterPod): DestinationRule[] =>
  cluster.destinationRules.filter(({ plain, host, metadata }) => {
    if (plain.length === 0) return false;
    const named = cluster.services.filter((service) => isHost(host.value, metadata.namespace, service));
    return named.length === 0 || named.some((service) => leadsTo(service, pod));
  });

/** Whether a host is a Service: by its short name in the same namespace, or by as much of its full one, or by a pattern. */
function isHost(host: string, from: string, { namespace, name }: Cluster['services'][number]): boolean {
  const full = `${name}.${namespace}.svc.cluster.local`;
  if (host.startsWith('*')) return full.endsWith(host.slice(1));
  return `${full}.`.startsWith(`${host.includes('.') ? host : `${host}.${from}`}.`);
}

/** Whether requests to a pod pass a waypoint, whose policies are those of targetRefs. */
export const hasWaypoint = (cluster: Cluster, { namespace, labels }: ClusterPod): boolean =>
  [labels, cluster.namespaces.get(namespace)?.labels, ...servicesOf(cluster, namespace, labels)].some((found) => {
    const name = found?.get('istio.io/use-waypoint');
    return name !== undefined && name !== 'none';
  });

const servicesOf = (
  { services }: Cluster,
  namespace: string,
  labels: ReadonlyMap<string, string>,
): ReadonlyMap<string, string>[] =>
  services
    .filter((service) => leadsTo(service, { namespace, labels }))
    .map(({ source }) => valuesOf(source.metadata.labels));

const leadsTo = (
  { source, namespace }: Cluster['services'][number],
  pod: Pick<ClusterPod, 'namespace' | 'labels'>,
): boolean => namespace === pod.namespace && source.selector !== null && selects(source.selector.labels, pod.labels);

/** Whether a connection must be secured: the mode, and what says so; several where they do not agree, of which the oldest counts. */
export interface Mtls {
  readonly mode: Exclude<MtlsMode, 'UNSET'>;
  readonly by: PeerAuthentication | null;
}

/**
 * The mode for a port of a pod, from the first of these that sets one:
 *
 * 1. the port, then the pod, in policies that select it in its own namespace
 * 2. policies of its namespace
 * 3. policies of the mesh
 * 4. PERMISSIVE
 */
export function mtlsOf({ peerAuthentications }: Cluster, pod: ClusterPod, port: number): Mtls[] {
  const own = peerAuthentications.filter((policy) => isFor(policy, pod));
  const inNamespace = own.filter(({ metadata }) => metadata.namespace === pod.namespace);
  const selecting = inNamespace.filter(({ selector }) => selector !== null);
  const levels: ((policy: PeerAuthentication) => Located<MtlsMode> | null | undefined)[] = [
    ({ ports }) => ports.get(port),
    ({ mode }) => mode,
  ];
  const steps = [
    ...levels.map((modeOf) => ({ policies: selecting, modeOf })),
    { policies: inNamespace.filter(({ selector }) => selector === null), modeOf: levels[1]! },
    {
      policies: own.filter(({ metadata, selector }) => metadata.namespace === ROOT_NAMESPACE && selector === null),
      modeOf: levels[1]!,
    },
  ];
  for (const { policies, modeOf } of steps) {
    const found = policies.flatMap((by): Mtls[] => {
      const mode = modeOf(by)?.value ?? 'UNSET';
      return mode === 'UNSET' ? [] : [{ mode, by }];
    });
    if (found.length > 0) return found;
  }
  return [{ mode: 'PERMISSIVE', by: null }];
}

/** Whether any policy is the mesh's. */
export const hasMesh = ({ authorizationPolicies, peerAuthentications, requestAuthentications }: Cluster): boolean =>
  authorizationPolicies.length + peerAuthentications.length + requestAuthentications.length > 0;

/** What tells pods apart to the mesh: who they are in it, what is before them, and which policies are theirs. */
export function meshClass(cluster: Cluster, pod: ClusterPod): string {
  if (!hasMesh(cluster)) return '';
  const policies = authorizationOf(cluster, pod).map((policy) => cluster.authorizationPolicies.indexOf(policy));
  const peers = cluster.peerAuthentications.flatMap((policy, i) => (isFor(policy, pod) ? [i] : []));
  const ports = [EXCLUDED, INCLUDED].map((name) => pod.annotations.get(name) ?? '').join(';');
  const tokens = tokensOf(cluster, pod).map((policy) => cluster.requestAuthentications.indexOf(policy));
  const plain = plainOf(cluster, pod).map((rule) => cluster.destinationRules.indexOf(rule));
  const said = [policies, peers, tokens, plain].map((numbers) => numbers.join()).join(' ');
  return `${proxyOf(cluster, pod)} ${pod.namespace}/${pod.spec.serviceAccountName} ${said} ${ports}`;
}

const EXCLUDED = 'traffic.sidecar.istio.io/excludeInboundPorts';
const INCLUDED = 'traffic.sidecar.istio.io/includeInboundPorts';
/** Of the proxy's own: health, metrics. Istio `tools/istio-iptables`. */
const OWN_PORTS = ['15020', '15021', '15090'];

/** Whether connections to a port of a pod are taken by its sidecar. */
export function isTaken({ annotations }: ClusterPod, port: number): boolean {
  const listed = (name: string): string[] => (annotations.get(name) ?? '').split(',').map((text) => text.trim());
  if ([...OWN_PORTS, ...listed(EXCLUDED)].includes(`${port}`)) return false;
  return !annotations.has(INCLUDED) || listed(INCLUDED).some((text) => text === '*' || text === `${port}`);
}

/** An annotation that keeps something that a pod sends from its sidecar; null for none. */
export const outboundOf = ({ annotations }: ClusterPod): string | null =>
  [...annotations.keys()].find((key) => /^traffic\.sidecar\.istio\.io\/(ex|in)cludeOutbound/.test(key)) ?? null;

/** Ports at which the mesh may say of a pod what it does not say of the next. */
export function meshPorts(cluster: Cluster, pod: ClusterPod): number[] {
  if (!hasMesh(cluster)) return [];
  const asked = authorizationOf(cluster, pod)
    .flatMap(({ rules }) => rules.flatMap(clausesOf))
    .filter(({ attribute }) => attribute === 'destination.port')
    .flatMap(({ values }) => values.map(Number));
  const levels = cluster.peerAuthentications
    .filter((policy) => isFor(policy, pod))
    .flatMap(({ ports }) => [...ports.keys()]);
  const listed = [EXCLUDED, INCLUDED].flatMap((name) => (pod.annotations.get(name) ?? '').split(',').map(Number));
  const ports = [...asked, ...levels, ...listed, ...OWN_PORTS.map(Number)];
  return [...new Set(ports)].filter((port) => Number.isInteger(port) && port >= 1 && port <= 65535);
}
