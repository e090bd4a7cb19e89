/** Services: their addresses, the pods they select, and what is behind their ports. */
import { familyOf, parseAddress, sizeOf, type Address, type Family } from '../addresses.js';
import { compare } from '../hash.js';
import { indexed, type Index } from '../indexed.js';
import { joined, kept, keptEach, keptFor, same, sameItems } from '../kept.js';
import type { Endpoints, Service } from '../manifests/objects.js';
import type { Settings } from '../settings.js';
import { allocate } from './allocate.js';
import { listedBackends, selectedBackends } from './backends.js';
import { addressIn, type Cluster, type ClusterNode, type ClusterPod, type ClusterService } from './cluster.js';
import { rangeOf } from './families.js';

/** Builds Services, namespace by namespace, and again only those that an edit touched. */
export class ServiceBuilder {
  private readonly addressing = keptEach(addressingOf);
  private readonly clusterIPs = new ClusterIPs();
  private builders: ReadonlyMap<string, NamespaceBuilder> = new Map();
  private owners: Index<Address, ClusterPod> | null = null;
  private readonly all = kept((groups: readonly (readonly ClusterService[])[]) => joined(groups));

  build(
    sourcesIn: ReadonlyMap<string, readonly Service[]>,
    slicesIn: ReadonlyMap<string, readonly Endpoints[]>,
    workloads: Cluster['inNamespace'],
    owners: Index<Address, ClusterPod>,
    nodes: readonly ClusterNode[],
    families: readonly Family[],
    settings: Settings,
  ): readonly ClusterService[] {
    const sources = joined([...sourcesIn.values()]);
    const addresses = this.clusterIPs.of(this.addressing(sources, families), families, settings);
    /** The addresses that are another pod's than before. */
    const moved = this.owners ? owners.keysUnlike(this.owners) : [];
    this.owners = owners;
    const names = [...sourcesIn.keys()].sort(compare);
    this.builders = new Map(names.map((name) => [name, this.builders.get(name) ?? new NamespaceBuilder()]));
    return this.all(
      [...this.builders].map(([name, builder]) => {
        const own = sourcesIn.get(name)!;
        const pods = workloads.get(name)?.pods ?? [];
        return builder.build(
          own,
          builder.clusterIPs(addresses, own),
          slicesIn.get(name) ?? [],
          pods,
          owners,
          moved,
          nodes,
          families,
          settings,
        );
      }),
    );
  }
}

/** A Service and what it was made of, besides the pods that have the addresses behind it. */
interface Built {
  readonly service: ClusterService;
  readonly inputs: readonly unknown[];
}

/** Builds the Services of one namespace. */
class NamespaceBuilder {
  readonly clusterIPs = keptFor((all: ReadonlyMap<Service, readonly Address[]>, sources: readonly Service[]) =>
    sources.map((source) => all.get(source)!),
  );
  private readonly byService = indexed((slice: Endpoints) => (slice.service === null ? [] : [slice.service]));
  private readonly built = new WeakMap<Service, Built>();
  private inputs: readonly unknown[] = [];
  private services: readonly ClusterService[] = [];
  /** All addresses behind these; null until they are asked for. */
  private listed: ReadonlySet<Address> | null = null;

  build(
    sources: readonly Service[],
    clusterIPs: readonly (readonly Address[])[],
    slices: readonly Endpoints[],
    pods: readonly ClusterPod[],
    owners: Index<Address, ClusterPod>,
    moved: readonly Address[],
    nodes: readonly ClusterNode[],
    families: readonly Family[],
    settings: Settings,
  ): readonly ClusterService[] {
    const inputs = [sources, clusterIPs, slices, pods, nodes, families, settings];
    const isLike = this.inputs.length > 0 && inputs.every((input, i) => same(input, this.inputs[i]));
    if (isLike && !moved.some((address) => this.lists(address))) return this.services;
    this.inputs = inputs;
    this.listed = null;
    const byService = this.byService(slices);
    const services = sources.map((source, i) =>
      this.buildOne(
        source,
        clusterIPs[i]!,
        byService.all(source.metadata.name.value),
        pods,
        owners,
        nodes,
        families,
        settings,
      ),
    );
    services.sort((a, b) => compare(a.name, b.name));
    return sameItems(services, this.services) ? this.services : (this.services = services);
  }

  private lists(address: Address): boolean {
    this.listed ??= new Set(
      joined(joined(this.services.map(({ ports }) => ports.map(({ endpoints }) => endpoints)))).map(
        (one) => one.address,
      ),
    );
    return this.listed.has(address);
  }

  private buildOne(
    source: Service,
    clusterIPs: readonly Address[],
    slices: readonly Endpoints[],
    pods: readonly ClusterPod[],
    owners: Index<Address, ClusterPod>,
    nodes: readonly ClusterNode[],
    families: readonly Family[],
    settings: Settings,
  ): ClusterService {
    const { namespace, name } = source.metadata;
    const selected = selectedBy(source, pods);
    const inputs = [slices, selected, clusterIPs, families, nodes, settings];
    const selects = source.selector !== null && slices.length === 0;
    const before = this.built.get(source);
    const isLike = before?.inputs.every((input, i) => same(input, inputs[i])) ?? false;
    if (before && isLike && (selects || standsFor(before.service, owners))) return before.service;
    const ports = source.ports.map((port) =>
      selects
        ? selectedBackends(source, port, selected, familiesOf(source, families))
        : listedBackends(port, slices, owners, byName(nodes), settings),
    );
    const clusterIP = clusterIPs[0] ?? null;
    const service = { source, namespace, name: name.value, clusterIPs, clusterIP, selected, ports };
    this.built.set(source, { service, inputs });
    return service;
  }
}

const byName = keptFor((nodes: readonly ClusterNode[]) => new Map(nodes.map((node) => [node.name, node])));

/** Whether all addresses behind a Service are still those pods', where they were. */
const standsFor = ({ ports }: ClusterService, owners: Index<Address, ClusterPod>): boolean =>
  ports.every(({ endpoints }) =>
    endpoints.every(({ address, podKey, node }) => {
      const owner = owners.get(address);
      return owner ? owner.key === podKey && owner.node === node : podKey === null;
    }),
  );

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

/** What a Service says of its addresses; `order` is empty for one that has none. */
interface Addressing {
  readonly source: Service;
  readonly name: string;
  readonly own: readonly Address[];
  /** The families that it has, primary first, and those of which it gets an address. */
  readonly order: readonly Family[];
  readonly wanting: readonly Family[];
}

function addressingOf(source: Service, cluster: readonly Family[]): Addressing {
  const { metadata, headless, type, clusterIPs } = source;
  const name = `${metadata.namespace}/${metadata.name.value}`;
  if (headless || type === 'ExternalName') return { source, name, own: [], order: [], wanting: [] };
  const own = clusterIPs.flatMap((ip) => parseAddress(ip.value) ?? []);
  const order = familiesOf(source, cluster);
  const wanting = order.filter((family) => cluster.includes(family) && addressIn({ addresses: own }, family) === null);
  return { source, name, own, order, wanting };
}

/** The clusterIPs of each Service: its own, and for each of its families without one, one that depends on its name alone. */
class ClusterIPs {
  private before: ReadonlyMap<Service, readonly Address[]> = new Map();
  private readonly allocated = new Map<Family, ReturnType<typeof keptAllocation>>();
  readonly of = kept(
    (
      all: readonly Addressing[],
      families: readonly Family[],
      settings: Settings,
    ): ReadonlyMap<Service, readonly Address[]> => {
      const taken = joined(all.map(({ own }) => own));
      const made = families.map((family) => {
        const names = all.filter(({ wanting }) => wanting.includes(family)).map(({ name }) => name);
        return this.allocator(family)(names, taken, settings);
      });
      return (this.before = new Map(all.map((one) => [one.source, this.steady(one, made)])));
    },
  );

  private allocator(family: Family): ReturnType<typeof keptAllocation> {
    let found = this.allocated.get(family);
    if (!found) this.allocated.set(family, (found = keptAllocation(family)));
    return found;
  }

  private steady(
    { source, name, own, order }: Addressing,
    made: readonly ReadonlyMap<string, Address>[],
  ): readonly Address[] {
    const addresses = [...own, ...made.flatMap((of) => of.get(name) ?? [])];
    addresses.sort((a, b) => order.indexOf(familyOf(a)) - order.indexOf(familyOf(b)));
    const before = this.before.get(source);
    return before && sameItems(addresses, before) ? before : addresses;
  }
}

const keptAllocation = (family: Family) =>
  kept((names: readonly string[], taken: readonly Address[], settings: Settings): ReadonlyMap<string, Address> => {
    const range = rangeOf(settings, 'serviceCIDR', family);
    // The lowest addresses are where Kubernetes puts its own (…1 the API, …10 DNS), and are left to those who ask for them.
    return allocate(names, range, sizeOf(range) > 512 ? 256 : 1, taken);
  });

function selectedBy(source: Service, pods: readonly ClusterPod[]): ClusterPod[] {
  const { selector } = source;
  if (selector === null) return [];
  const labels = [...selector.labels];
  return pods.filter((pod) => labels.every(([key, { value }]) => pod.labels.get(key) === value));
}
