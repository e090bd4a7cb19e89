/** From what was read to the cluster. */
import { parseAddress, type Address } from '../addresses.js';
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
  Endpoints,
  ManifestObject,
  Namespace,
  Node,
  Pod,
  PolicySource,
  Service,
  Workload,
  WorkloadKind,
} from '../manifests/objects.js';
import { POLICY_KINDS, WORKLOAD_KINDS } from '../manifests/objects.js';
import type { Settings } from '../settings.js';
import type { Cluster, ClusterNamespace, ClusterPod } from './cluster.js';
import { familiesOf } from './families.js';
import { assumedFor } from './ingress.js';
import { buildNodes } from './nodes.js';
import { buildServices } from './services.js';
import { buildWorkloads } from './workloads.js';

/** The label that every namespace has. Kubernetes API: well-known labels. */
const NAME_LABEL = 'kubernetes.io/metadata.name';

export function buildCluster(objects: readonly ManifestObject[], settings: Settings): Cluster {
  const of = <T extends ManifestObject>(...kinds: readonly T['kind'][]): T[] =>
    objects.filter((object): object is T => (kinds as readonly string[]).includes(object.kind));
  const pods = of<Pod>('Pod');
  const endpoints = of<Endpoints>('Endpoints', 'EndpointSlice');
  const workloads = of<Workload>(...(WORKLOAD_KINDS as readonly WorkloadKind[]));
  const services = of<Service>('Service');
  const policies = of<PolicySource>(...POLICY_KINDS);

  const ingresses = of<Ingress>('Ingress');
  const assumed = assumedFor(ingresses, pods.length + workloads.length + services.length === 0);

  const mentioned = new Set<string>();
  for (const pod of pods) if (pod.spec.nodeName) mentioned.add(pod.spec.nodeName.value);
  for (const { template } of workloads) if (template.spec.nodeName) mentioned.add(template.spec.nodeName.value);
  const taken = new Set(
    pods
      .filter((pod) => !pod.spec.hostNetwork)
      .flatMap((pod) => pod.podIPs.map((ip): Address => parseAddress(ip.value)!)),
  );
  const declared = of<Node>('Node');
  const families = familiesOf(declared, pods, services, settings);
  const nodes = buildNodes(declared, mentioned, taken, families, settings);
  const built = buildWorkloads([...pods, ...assumed.pods], workloads, nodes, families, settings);
  const isAssumed = ({ workload }: ClusterPod): boolean =>
    (assumed.pods as readonly object[]).includes(workload.source);
  return {
    families,
    nodes,
    namespaces: buildNamespaces(of<Namespace>('Namespace'), [...objects, ...assumed.pods]),
    workloads: built.workloads.filter(({ pods: [first] }) => !first || !isAssumed(first)),
    pods: built.pods,
    assumed: new Set(built.pods.filter(isAssumed)),
    services: buildServices([...services, ...assumed.services], endpoints, built.pods, nodes, families, settings),
    policies,
    cidrGroups: of<CiliumCIDRGroup>('CiliumCIDRGroup'),
    tiers: of<CalicoTier>('Tier'),
    networkSets: of<CalicoNetworkSet>('NetworkSet', 'GlobalNetworkSet'),
    endpoints,
    authorizationPolicies: of<AuthorizationPolicy>('AuthorizationPolicy'),
    peerAuthentications: of<PeerAuthentication>('PeerAuthentication'),
    requestAuthentications: of<RequestAuthentication>('RequestAuthentication'),
    destinationRules: of<DestinationRule>('DestinationRule'),
    ingresses,
    ingressClasses: of<IngressClass>('IngressClass'),
    objects,
  };
}

/** The namespaces declared, and those that other objects are in. */
function buildNamespaces(
  declared: readonly Namespace[],
  objects: readonly ManifestObject[],
): Map<string, ClusterNamespace> {
  const namespaces = new Map<string, ClusterNamespace>();
  for (const { metadata } of declared) {
    const name = metadata.name.value;
    const labels = new Map([...metadata.labels].map(([key, label]) => [key, label.value]));
    namespaces.set(name, { name, labels: labels.set(NAME_LABEL, name), declared: true });
  }
  for (const { metadata } of objects) {
    const name = metadata.namespace;
    if (name !== '' && !namespaces.has(name))
      namespaces.set(name, { name, labels: new Map([[NAME_LABEL, name]]), declared: false });
  }
  return namespaces;
}
