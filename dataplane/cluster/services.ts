/** Services: their addresses, the pods they select, and what is behind their ports. */
import { familyOf, parseAddress, sizeOf, type Address, type Family } from '../addresses.js';
import { compare } from '../hash.js';
import { kept, same, sameItems, steady } from '../kept.js';
import type { Endpoints, Service } from '../manifests/objects.js';
import type { Settings } from '../settings.js';
import { allocate } from './allocate.js';
import { listedBackends, selectedBackends } from './backends.js';
import { addressIn, type ClusterNode, type ClusterPod, type ClusterService } from './cluster.js';
import { rangeOf } from './families.js';

/** Builds Services, and again only those that an edit touched. */
export class ServiceBuilder {
  private readonly byNamespace = kept(groupByNamespace);
  private readonly byService = kept(groupByService);
  private readonly byAddress = kept(ownersOf);
  private readonly byName = kept((nodes: readonly ClusterNode[]) => new Map(nodes.map((node) => [node.name, node])));
  private readonly clusterIPs = kept(clusterIPsOf);
  private readonly built = new WeakMap<Service, Built>();
  private readonly sorted = steady((services: ClusterService[]) =>
    services.sort((a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name)),
  );

  build(
    sources: readonly Service[],
    endpoints: readonly Endpoints[],
    pods: readonly ClusterPod[],
    nodes: readonly ClusterNode[],
    families: readonly Family[],
    settings: Settings,
  ): readonly ClusterService[] {
    const nodesByName = this.byName(nodes);
    const podsByNamespace = this.byNamespace(pods);
    const slicesByService = this.byService(endpoints);
    const owners = this.byAddress(pods);
    const addresses = this.clusterIPs(sources, families, settings);
    const build = (source: Service): ClusterService => {
      const { namespace, name } = source.metadata;
      const slices = slicesByService.get(`${namespace}/${name.value}`) ?? [];
      const inputs = [slices, addresses.get(source) ?? [], families, nodes, settings] as const;
      const before = this.built.get(source);
      const selected = selectedBy(source, podsByNamespace.get(namespace) ?? []);
      const selects = source.selector !== null && slices.length === 0;
      if (
        before &&
        sameItems(before.service.selected, selected) &&
        inputs.every((input, i) => same(input, before.inputs[i])) &&
        (selects || before.owners === owners || standsFor(before.service, owners))
      ) {
        before.owners = owners;
        return before.service;
      }
      const ports = source.ports.map((port) =>
        selects
          ? selectedBackends(source, port, selected, familiesOf(source, families))
          : listedBackends(port, slices, owners, nodesByName, settings),
      );
      const clusterIPs = inputs[1];
      const service = {
        source,
        namespace,
        name: name.value,
        clusterIPs,
        clusterIP: clusterIPs[0] ?? null,
        selected,
        ports,
      };
      this.built.set(source, { service, inputs, owners });
      return service;
    };
    return this.sorted(sources.map(build));
  }
}

/** A Service and what it was made of. */
interface Built {
  readonly service: ClusterService;
  readonly inputs: readonly unknown[];
  /** The pods by their addresses, when that was looked at last. */
  owners: ReadonlyMap<Address, ClusterPod>;
}

/** Whether all addresses behind a Service are still those pods'. */
const standsFor = ({ ports }: ClusterService, owners: ReadonlyMap<Address, ClusterPod>): boolean =>
  ports.every(({ endpoints }) => endpoints.every(({ address, pod }) => (owners.get(address) ?? null) === pod));

const ownersOf = (pods: readonly ClusterPod[]): ReadonlyMap<Address, ClusterPod> =>
  new Map(
    pods.filter((pod) => !pod.hostNetwork).flatMap((pod) => pod.addresses.map((address) => [address, pod] as const)),
  );

function groupByService(endpoints: readonly Endpoints[]): ReadonlyMap<string, readonly Endpoints[]> {
  const groups = new Map<string, Endpoints[]>();
  for (const slice of endpoints) {
    if (slice.service === null) continue;
    const key = `${slice.metadata.namespace}/${slice.service}`;
    const group = groups.get(key);
    if (group) group.push(slice);
    else groups.set(key, [slice]);
  }
  return groups;
}

function groupByNamespace(pods: readonly ClusterPod[]): Map<string, ClusterPod[]> {
  const groups = new Map<string, ClusterPod[]>();
  for (const pod of pods) {
    const group = groups.get(pod.namespace);
    if (group) group.push(pod);
    else groups.set(pod.namespace, [pod]);
  }
  return groups;
}

/** The families of a Service, primary first. Service v1: spec.ipFamilies, spec.ipFamilyPolicy, spec.clusterIPs. */
function familiesOf(source: Service, cluster: readonly Family[]): readonly Family[] {
  const given =
    source.ipFamilies.length > 0
      ? source.ipFamilies
      : source.clusterIPs.flatMap(({ value }) => familyOf(parseAddress(value)!));
  const own = [...new Set([...given, ...cluster])];
  switch (source.ipFamilyPolicy) {
    case 'RequireDualStack':
    case 'PreferDualStack':
      return own;
    case 'SingleStack':
      return own.slice(0, 1);
    case null:
      // What the API server fills in: both for whoever names both, and for a headless Service whose endpoints others list.
      return new Set(given).size > 1 || (source.headless && source.selector === null) ? own : own.slice(0, 1);
  }
}

/** The clusterIPs of each Service: its own, and for each of its families without one, one that depends on its name alone. */
function clusterIPsOf(
  sources: readonly Service[],
  cluster: readonly Family[],
  settings: Settings,
): Map<Service, readonly Address[]> {
  const addressed = sources.filter(({ headless, type }) => !headless && type !== 'ExternalName');
  const ownOf = ({ clusterIPs }: Service): Address[] => clusterIPs.flatMap((ip) => parseAddress(ip.value) ?? []);
  const taken = addressed.flatMap(ownOf);
  const found = new Map(addressed.map((source) => [source, ownOf(source)]));
  for (const family of cluster) {
    const range = rangeOf(settings, 'serviceCIDR', family);
    // The lowest addresses are where Kubernetes puts its own (…1 the API, …10 DNS), and are left to those who ask for them.
    const reserved = sizeOf(range) > 512 ? 256 : 1;
    const wanting = new Map(
      addressed
        .filter(
          (source) =>
            familiesOf(source, cluster).includes(family) && addressIn({ addresses: ownOf(source) }, family) === null,
        )
        .map((source) => [`${source.metadata.namespace}/${source.metadata.name.value}`, source]),
    );
    for (const [name, address] of allocate(wanting.keys(), range, reserved, taken))
      found.get(wanting.get(name)!)!.push(address);
  }
  for (const [source, addresses] of found) {
    const order = familiesOf(source, cluster);
    addresses.sort((a, b) => order.indexOf(familyOf(a)) - order.indexOf(familyOf(b)));
  }
  return found;
}

function selectedBy(source: Service, pods: readonly ClusterPod[]): ClusterPod[] {
  const { selector } = source;
  if (selector === null) return [];
  const labels = [...selector.labels];
  return pods.filter((pod) => labels.every(([key, { value }]) => pod.labels.get(key) === value));
}
