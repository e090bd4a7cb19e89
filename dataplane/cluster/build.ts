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
  UnevaluatedPolicy,
  UnreadRoute,
  Workload,
  WorkloadKind,
} from '../manifests/objects.js';
import { POLICY_KINDS, WORKLOAD_KINDS } from '../manifests/objects.js';
import { indexed } from '../indexed.js';
import { joined, kept, keptFor, sameItems, steady } from '../kept.js';
import type { Settings } from '../settings.js';
import type { Cluster, ClusterNamespace, ClusterPod, ClusterWorkload } from './cluster.js';
import { familiesOf, familiesShown, type ShownFamilies } from './families.js';
import { assumedFor } from './ingress.js';
import { buildNodes, sameNode } from './nodes.js';
import { ServiceBuilder } from './services.js';
import { WorkloadBuilder, type Workloads } from './workloads.js';

/** The label that every namespace has. Kubernetes API: well-known labels. */
const NAME_LABEL = 'kubernetes.io/metadata.name';

/** Builds the cluster, and of that again only what an edit touches: the rest stays the very same. */
export class ClusterBuilder {
  private readonly byKind = new Map<string, (objects: readonly ManifestObject[]) => readonly ManifestObject[]>();
  private readonly assumedFor = kept(assumedFor);
  private readonly families = steady(kept(familiesOf));
  private readonly nodes = steady(
    kept(buildNodes),
    (a, b) => a.length === b.length && a.every((node, i) => sameNode(node, b[i]!)),
  );
  private readonly workloads = new WorkloadBuilder();
  private readonly podsByAddress = indexed(({ hostNetwork, addresses }: ClusterPod) => (hostNetwork ? [] : addresses));
  private readonly split = kept(splitAssumed);
  private readonly services = new ServiceBuilder();
  private readonly namespaces = steady(buildNamespaces, sameNamespaces);

  /** `parts` are the objects, in lists that an edit leaves the very same where it touches nothing of them. */
  build(parts: readonly (readonly ManifestObject[])[], settings: Settings): Cluster {
    const groups = parts.map((part) => groupOf(part));
    const byKind = new Map<string, (readonly ManifestObject[])[]>();
    for (const group of groups)
      for (const [kind, found] of group.byKind) {
        const lists = byKind.get(kind);
        if (lists) lists.push(found);
        else byKind.set(kind, [found]);
      }
    const objects = joined(parts);
    /** The objects of some kinds, in their order. */
    const of = <T extends ManifestObject>(...kinds: readonly T['kind'][]): readonly T[] => {
      const there = kinds.filter((kind) => byKind.has(kind));
      const found =
        there.length > 1
          ? objects.filter(({ kind }) => (there as readonly string[]).includes(kind))
          : joined(there.flatMap((kind) => byKind.get(kind)!));
      return this.stay(kinds.join(), found) as readonly T[];
    };
    const pods = of<Pod>('Pod');
    const endpoints = of<Endpoints>('Endpoints', 'EndpointSlice');
    const workloads = of<Workload>(...(WORKLOAD_KINDS as readonly WorkloadKind[]));
    const services = of<Service>('Service');
    const policies = of<PolicySource>(...POLICY_KINDS);
    const ingresses = of<Ingress>('Ingress');
    const declared = of<Node>('Node');
    const assumed = this.assumedFor(ingresses, pods.length + workloads.length + services.length === 0);

    const families = this.families(
      groups.map(({ families }) => families),
      settings,
    );
    const nodes = this.nodes(
      declared,
      joined(groups.map(({ nodes }) => nodes)),
      joined(groups.map(({ addresses }) => addresses)),
      families,
      settings,
    );
    const built = this.workloads.build([...pods, ...assumed.pods], workloads, nodes, families, settings);
    const podsByAddress = this.podsByAddress(built.pods);
    const { made, others } = this.split(built.workloads, built.pods, assumed.pods);
    return {
      families,
      nodes,
      namespaces: this.namespaces(of<Namespace>('Namespace'), [...groups, groupOf(assumed.pods)]),
      workloads: others,
      pods: built.pods,
      assumed: made,
      podsByAddress,
      services: this.services.build(
        [...services, ...assumed.services],
        endpoints,
        built.inNamespace,
        podsByAddress,
        nodes,
        families,
        settings,
      ),
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
      unevaluated: of<UnevaluatedPolicy>('UnevaluatedPolicy'),
      routes: of<UnreadRoute>('UnreadRoute'),
      objects,
    };
  }

  /** A list under a name, the very same as before where it has the same in it. */
  private stay(name: string, list: readonly ManifestObject[]): readonly ManifestObject[] {
    let stay = this.byKind.get(name);
    if (!stay) this.byKind.set(name, (stay = steady((objects) => objects)));
    return stay(list);
  }
}

export const buildCluster = (objects: readonly ManifestObject[], settings: Settings): Cluster =>
  new ClusterBuilder().build([objects], settings);

/** What there is in a part of the objects. */
interface Group {
  readonly byKind: ReadonlyMap<string, readonly ManifestObject[]>;
  /** The namespaces that they are in. */
  readonly namespaces: readonly string[];
  /** The nodes that pods are said to be on. */
  readonly nodes: readonly string[];
  /** The addresses that pods report. */
  readonly addresses: readonly Address[];
  readonly families: ShownFamilies;
}

const groupOf = keptFor((part: readonly ManifestObject[]): Group => {
  const byKind = new Map<string, ManifestObject[]>();
  const namespaces = new Set<string>();
  const nodes = new Set<string>();
  const addresses: Address[] = [];
  for (const object of part) {
    const group = byKind.get(object.kind);
    if (group) group.push(object);
    else byKind.set(object.kind, [object]);
    namespaces.add(object.metadata.namespace);
    const spec = object.kind === 'Pod' ? object.spec : 'template' in object ? object.template.spec : null;
    if (spec?.nodeName) nodes.add(spec.nodeName.value);
    if (object.kind === 'Pod' && !object.spec.hostNetwork)
      addresses.push(...object.podIPs.map(({ value }) => parseAddress(value)!));
  }
  return { byKind, namespaces: [...namespaces], nodes: [...nodes], addresses, families: familiesShown(part) };
});

/** The pods that are assumed, and the workloads that are not. */
function splitAssumed(
  workloads: Workloads['workloads'],
  pods: Workloads['pods'],
  assumed: readonly object[],
): { readonly made: ReadonlySet<ClusterPod>; readonly others: readonly ClusterWorkload[] } {
  if (assumed.length === 0) return { made: new Set(), others: workloads };
  const sources = new Set(assumed);
  const isAssumed = ({ workload }: ClusterPod): boolean => sources.has(workload.source);
  return {
    made: new Set(pods.filter(isAssumed)),
    others: workloads.filter(({ pods: [first] }) => !first || !isAssumed(first)),
  };
}

/** The namespaces declared, and those that other objects are in. */
function buildNamespaces(
  declared: readonly Namespace[],
  groups: readonly Group[],
): ReadonlyMap<string, ClusterNamespace> {
  const namespaces = new Map<string, ClusterNamespace>();
  for (const namespace of declared) namespaces.set(namespace.metadata.name.value, declaredNamespace(namespace));
  for (const group of groups)
    for (const name of group.namespaces)
      if (name !== '' && !namespaces.has(name))
        namespaces.set(name, { name, labels: new Map([[NAME_LABEL, name]]), declared: false });
  return namespaces;
}

const declaredNamespace = keptFor(({ metadata }: Namespace): ClusterNamespace => {
  const name = metadata.name.value;
  const labels = new Map([...metadata.labels].map(([key, label]) => [key, label.value]));
  return { name, labels: labels.set(NAME_LABEL, name), declared: true };
});

/** One that is not declared has no labels but its name. */
const sameNamespaces = (a: ReadonlyMap<string, ClusterNamespace>, b: ReadonlyMap<string, ClusterNamespace>): boolean =>
  sameItems([...a.keys()], [...b.keys()]) &&
  [...a].every(([name, one]) => one === b.get(name) || (!one.declared && !b.get(name)!.declared));
