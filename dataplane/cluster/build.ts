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
import { valuesOf } from '../manifests/place.js';
import { indexed } from '../indexed.js';
import { groupedBy, joined, kept, keptFor, keptJoined, sameItems, steady } from '../kept.js';
import type { Settings } from '../settings.js';
import { NAME_LABEL, type Cluster, type ClusterNamespace, type ClusterPod, type ClusterWorkload } from './cluster.js';
import { familiesOf, familiesShown, type ShownFamilies } from './families.js';
import { assumedFor } from './ingress.js';
import { buildNodes, sameNode } from './nodes.js';
import { ServiceBuilder } from './services.js';
import { WorkloadBuilder, type AllWorkloads } from './workloads.js';

/** Builds the cluster, and of that again only what an edit touches: the rest stays the very same. */
export class ClusterBuilder {
  private readonly byKind = new Map<string, ReturnType<typeof keptJoined<ManifestObject>>>();
  private readonly assumedFor = kept(assumedFor);
  private readonly families = steady(kept(familiesOf));
  private readonly nodes = steady(
    kept(buildNodes),
    (a, b) => a.length === b.length && a.every((node, i) => sameNode(node, b[i]!)),
  );
  private readonly podsIn = new ByNamespace<Pod>(['Pod']);
  private readonly workloadsIn = new ByNamespace<Workload>(WORKLOAD_KINDS);
  private readonly servicesIn = new ByNamespace<Service>(['Service']);
  private readonly endpointsIn = new ByNamespace<Endpoints>(ENDPOINT_KINDS);
  private readonly workloads = new WorkloadBuilder();
  private readonly podsByAddress = indexed(({ hostNetwork, addresses }: ClusterPod) => (hostNetwork ? [] : addresses));
  private readonly podsByKey = indexed(({ key }: ClusterPod) => [key]);
  private readonly split = kept(splitAssumed);
  private readonly services = new ServiceBuilder();
  private readonly namesOf = keptJoined<string>();
  private readonly namespaces = steady(kept(buildNamespaces), sameNamespaces);

  /** `parts` are the objects, in lists that an edit leaves the very same where it touches nothing of them. */
  build(parts: readonly (readonly ManifestObject[])[], settings: Settings): Cluster {
    const groups = parts.map((part) => groupOf(part));
    /** The objects of some kinds, in their order. */
    const of = <T extends ManifestObject>(...kinds: readonly T['kind'][]): readonly T[] => {
      const name = kinds.join();
      return this.joined(
        name,
        groups.map((group) => group.of(kinds, name)),
      ) as readonly T[];
    };
    const pods = of<Pod>('Pod');
    const endpoints = of<Endpoints>(...ENDPOINT_KINDS);
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
    const all = [...groups, groupOf(assumed.pods), groupOf(assumed.services)];
    const built = this.workloads.build(this.podsIn.of(all), this.workloadsIn.of(all), nodes, families, settings);
    const podsByAddress = this.podsByAddress(built.pods);
    const split = this.split(built, assumed.pods);
    return {
      families,
      nodes,
      namespaces: this.namespaces(of<Namespace>('Namespace'), this.namesOf(all.map(({ namespaces }) => namespaces))),
      ...split,
      pods: built.pods,
      podsByAddress,
      podsByKey: this.podsByKey(built.pods),
      services: this.services.build(
        this.servicesIn.of(all),
        this.endpointsIn.of(all),
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
      get objects() {
        return joined(parts);
      },
    };
  }

  /** Lists as one under a name, the very same as before where they have the same in them. */
  private joined(name: string, lists: readonly (readonly ManifestObject[])[]): readonly ManifestObject[] {
    let join = this.byKind.get(name);
    if (!join) this.byKind.set(name, (join = keptJoined()));
    return join(lists);
  }
}

export const buildCluster = (objects: readonly ManifestObject[], settings: Settings): Cluster =>
  new ClusterBuilder().build([objects], settings);

const ENDPOINT_KINDS = ['Endpoints', 'EndpointSlice'] as const;

/** The objects of some kinds by their namespaces: lists that stay the very same while they have the same in them. */
class ByNamespace<T extends ManifestObject> {
  private before: ReadonlyMap<string, readonly T[]> = new Map();
  private readonly name: string;

  constructor(private readonly kinds: readonly T['kind'][]) {
    this.name = kinds.join();
  }

  of(groups: readonly Group[]): ReadonlyMap<string, readonly T[]> {
    const lists = new Map<string, (readonly T[])[]>();
    for (const group of groups)
      for (const [namespace, objects] of group.inNamespace(this.kinds, this.name)) {
        const others = lists.get(namespace);
        if (others) others.push(objects as readonly T[]);
        else lists.set(namespace, [objects as readonly T[]]);
      }
    return (this.before = new Map(
      [...lists].map(([namespace, [first, ...others]]) => [
        namespace,
        others.length === 0 ? first! : this.steady(namespace, joined([first!, ...others])),
      ]),
    ));
  }

  private steady(namespace: string, objects: readonly T[]): readonly T[] {
    const before = this.before.get(namespace);
    return before && sameItems(before, objects) ? before : objects;
  }
}

const NOTHING: readonly ManifestObject[] = [];

/** What there is in a part of the objects. */
class Group {
  private readonly byKind = new Map<string, ManifestObject[]>();
  private readonly ofKinds = new Map<string, readonly ManifestObject[]>();
  private readonly byNamespace = new Map<string, ReadonlyMap<string, readonly ManifestObject[]>>();
  /** The namespaces that they are in. */
  readonly namespaces: readonly string[];
  /** The nodes that pods are said to be on. */
  readonly nodes: readonly string[];
  /** The addresses that pods report. */
  readonly addresses: readonly Address[];
  readonly families: ShownFamilies;

  constructor(private readonly objects: readonly ManifestObject[]) {
    const namespaces = new Set<string>();
    const nodes = new Set<string>();
    const addresses: Address[] = [];
    for (const object of objects) {
      const group = this.byKind.get(object.kind);
      if (group) group.push(object);
      else this.byKind.set(object.kind, [object]);
      namespaces.add(object.metadata.namespace);
      const spec = object.kind === 'Pod' ? object.spec : 'template' in object ? object.template.spec : null;
      if (spec?.nodeName) nodes.add(spec.nodeName.value);
      if (object.kind === 'Pod' && !object.spec.hostNetwork)
        addresses.push(...object.podIPs.map(({ value }) => parseAddress(value)!));
    }
    this.namespaces = [...namespaces];
    this.nodes = [...nodes];
    this.addresses = addresses;
    this.families = familiesShown(objects);
  }

  /** Those of some kinds, in their order. `name`: the kinds, joined. */
  of(kinds: readonly string[], name: string): readonly ManifestObject[] {
    if (kinds.length === 1) return this.byKind.get(name) ?? NOTHING;
    let found = this.ofKinds.get(name);
    if (!found) this.ofKinds.set(name, (found = this.objects.filter(({ kind }) => kinds.includes(kind))));
    return found;
  }

  /** The same by their namespaces. */
  inNamespace(kinds: readonly string[], name: string): ReadonlyMap<string, readonly ManifestObject[]> {
    let found = this.byNamespace.get(name);
    if (!found)
      this.byNamespace.set(name, (found = groupedBy(this.of(kinds, name), ({ metadata }) => metadata.namespace)));
    return found;
  }
}

const groupOf = keptFor((part: readonly ManifestObject[]) => new Group(part));

/** The pods that are assumed, and the workloads that are not. */
function splitAssumed(
  { workloads, pods, inNamespace }: AllWorkloads,
  assumed: readonly object[],
): Pick<Cluster, 'assumed' | 'workloads' | 'inNamespace'> {
  if (assumed.length === 0) return { assumed: NOBODY, workloads, inNamespace };
  const sources = new Set(assumed);
  const isAssumed = ({ workload }: ClusterPod): boolean => sources.has(workload.source);
  const others = (some: readonly ClusterWorkload[]): readonly ClusterWorkload[] => {
    const left = some.filter(({ pods: [first] }) => !first || !isAssumed(first));
    return left.length === some.length ? some : left;
  };
  return {
    assumed: new Set(pods.filter(isAssumed)),
    workloads: others(workloads),
    inNamespace: new Map([...inNamespace].map(([name, own]) => [name, { ...own, workloads: others(own.workloads) }])),
  };
}

const NOBODY: ReadonlySet<ClusterPod> = new Set();

/** The namespaces declared, and those that other objects are in. */
function buildNamespaces(
  declared: readonly Namespace[],
  others: readonly string[],
): ReadonlyMap<string, ClusterNamespace> {
  const namespaces = new Map<string, ClusterNamespace>();
  for (const namespace of declared) namespaces.set(namespace.metadata.name.value, declaredNamespace(namespace));
  for (const name of others)
    if (name !== '' && !namespaces.has(name))
      namespaces.set(name, { name, labels: new Map([[NAME_LABEL, name]]), declared: false });
  return namespaces;
}

const declaredNamespace = keptFor(({ metadata }: Namespace): ClusterNamespace => {
  const name = metadata.name.value;
  return { name, labels: new Map([...valuesOf(metadata.labels), [NAME_LABEL, name]]), declared: true };
});

/** One that is not declared has no labels but its name. */
const sameNamespaces = (a: ReadonlyMap<string, ClusterNamespace>, b: ReadonlyMap<string, ClusterNamespace>): boolean =>
  sameItems([...a.keys()], [...b.keys()]) &&
  [...a].every(([name, one]) => one === b.get(name) || (!one.declared && !b.get(name)!.declared));
