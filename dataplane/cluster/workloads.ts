/** The pods: those of the manifests, and those that workloads would make. */
import { familyOf, sizeOf, type Address, type Family, type Prefix } from '../addresses.js';
import { compare } from '../hash.js';
import { joined, kept, sameItems } from '../kept.js';
import type { Pod, Workload } from '../manifests/objects.js';
import { valuesOf } from '../manifests/place.js';
import type { Settings } from '../settings.js';
import { allocate } from './allocate.js';
import { draftPods, nameOf, onNode, type Draft, type Drafts, type Maker } from './drafts.js';
import { allAddresses, type Cluster, type ClusterNode, type ClusterPod, type ClusterWorkload } from './cluster.js';
import { rangeOf } from './families.js';

export type Workloads = Pick<Cluster, 'workloads' | 'pods'>;
export type AllWorkloads = Pick<Cluster, 'workloads' | 'pods' | 'inNamespace'>;

/** Builds workloads with their pods, namespace by namespace; what an edit leaves as it was stays the very same. */
export class WorkloadBuilder {
  private builders: ReadonlyMap<string, NamespaceBuilder> = new Map();
  private readonly allocated = kept(allocateAddresses);
  private readonly workloads = kept((groups: readonly (readonly ClusterWorkload[])[]) => joined(groups));
  private readonly pods = kept((groups: readonly (readonly ClusterPod[])[]) => joined(groups));
  private readonly all = kept(
    (
      workloads: readonly ClusterWorkload[],
      pods: readonly ClusterPod[],
      inNamespace: Cluster['inNamespace'],
    ): AllWorkloads => ({ workloads, pods, inNamespace }),
  );

  build(
    podsIn: ReadonlyMap<string, readonly Pod[]>,
    declaredIn: ReadonlyMap<string, readonly Workload[]>,
    nodes: readonly ClusterNode[],
    families: readonly Family[],
    settings: Settings,
  ): AllWorkloads {
    // In the order of the workloads' references, in which the namespace is the first part.
    const names = [...new Set([...podsIn.keys(), ...declaredIn.keys()])].sort((a, b) => compare(`${a}/`, `${b}/`));
    this.builders = new Map(names.map((name) => [name, this.builders.get(name) ?? new NamespaceBuilder()]));
    const drafts = new Map(
      [...this.builders].map(([name, builder]) => {
        return [name, builder.draft(podsIn.get(name) ?? [], declaredIn.get(name) ?? [], nodes, families, settings)];
      }),
    );
    const addresses = this.addresses([...drafts.values()], nodes, settings);
    const inNamespace = new Map(
      [...this.builders].map(([name, builder]) => [name, builder.build(drafts.get(name)!, addresses, settings)]),
    );
    return this.all(
      this.workloads([...inNamespace.values()].map((one) => one.workloads)),
      this.pods([...names].sort(compare).map((name) => inNamespace.get(name)!.pods)),
      inNamespace,
    );
  }

  /** An address for each that wants one: the same for the same pod, whatever else is there. */
  private addresses(drafts: readonly Drafts[], nodes: readonly ClusterNode[], settings: Settings): Addresses {
    const names = joined(drafts.map((one) => one.names));
    if (names.length === 0) return NO_ADDRESSES;
    const ranges = joined(drafts.map((one) => one.ranges));
    const taken = joined(drafts.map((one) => one.taken));
    return this.allocated(names, ranges, taken, nodes, settings);
  }
}

/** Those that were made, by the name of the pod that wants them. */
type Addresses = ReadonlyMap<string, readonly Address[]>;

const NO_ADDRESSES: Addresses = new Map();

class NamespaceBuilder {
  readonly draft = kept(draftPods);
  private before: Workloads = { workloads: [], pods: [] };
  private readonly built = kept((drafts: Drafts, made: readonly (Address | null)[], settings: Settings) =>
    this.settled(makePods(drafts, made, settings)),
  );

  build(drafts: Drafts, addresses: Addresses, settings: Settings): Workloads {
    const made = drafts.names.length === 0 ? [] : drafts.drafts.flatMap((draft) => [...ownOf(draft, addresses), null]);
    return this.built(drafts, made, settings);
  }

  private settled({ workloads, pods }: Workloads): Workloads {
    const byRef = new Map(this.before.workloads.map((workload) => [workload.ref, workload]));
    const former = new Map<ClusterPod, ClusterPod>();
    const settled = workloads.map((workload) => {
      const earlier = byRef.get(workload.ref);
      if (!earlier || !isSame(earlier, workload)) return workload;
      workload.pods.forEach((pod, i) => former.set(pod, earlier.pods[i]!));
      return earlier;
    });
    return (this.before = { workloads: settled, pods: pods.map((pod) => former.get(pod) ?? pod) });
  }
}

const isSame = (a: ClusterWorkload, b: ClusterWorkload): boolean =>
  a.source === b.source && a.pods.length === b.pods.length && a.pods.every((pod, i) => isSamePod(pod, b.pods[i]!));

/** Of one place in the manifests, and with the same in everything that does not come from there. */
const isSamePod = (a: ClusterPod, b: ClusterPod): boolean =>
  a.source === b.source &&
  a.spec === b.spec &&
  a.namespace === b.namespace &&
  a.name === b.name &&
  a.node === b.node &&
  a.hostNetwork === b.hostNetwork &&
  a.ready === b.ready &&
  a.terminating === b.terminating &&
  sameItems(a.addresses, b.addresses);

function allocateAddresses(
  names: readonly string[],
  ranges: readonly Prefix[],
  reported: readonly Address[],
  nodes: readonly ClusterNode[],
  settings: Settings,
): Addresses {
  const taken = new Set([...joined(nodes.map(allAddresses)), ...reported]);
  const wanting = new Map<Prefix, string[]>();
  names.forEach((name, i) => {
    const among = wanting.get(ranges[i]!);
    if (among) among.push(name);
    else wanting.set(ranges[i]!, [name]);
  });
  const made = new Map<string, Address[]>();
  for (const part of nodes.flatMap(({ podRanges }) => podRanges)) {
    const among = wanting.get(part) ?? [];
    // The network, its broadcast and the first address, which is the node's own end, are nobody's. A node with more pods
    // than its part has addresses takes from the whole range.
    const isEnough = among.length <= (sizeOf(part) - 3) * 0.75;
    const range = isEnough ? part : rangeOf(settings, 'podCIDR', familyOf(part.address));
    for (const [name, address] of allocate(among, range, 2, taken)) {
      made.set(name, [...(made.get(name) ?? []), address]);
      taken.add(address);
    }
  }
  return made;
}

/** The addresses that were made for a pod. */
const ownOf = (draft: Draft, made: Addresses): readonly Address[] =>
  draft.wanting.length > 0 ? (made.get(nameOf(draft)) ?? []) : [];

/** `made`: the addresses that were made for each pod, with null behind those of each; none at all where none wants any. */
function makePods({ makers, drafts }: Drafts, made: readonly (Address | null)[], settings: Settings): Workloads {
  const workloads = new Map(makers.map((maker): [Maker, ClusterWorkload] => [maker, { ...maker, pods: [] }]));
  let next = 0;
  const pods = drafts.map((draft): ClusterPod => {
    const { namespace, name, maker, labelPlaces, annotations, spec, node, ready, terminating, source } = draft;
    const own: Address[] = [];
    while (next < made.length && made[next] !== null) own.push(made[next++]!);
    next++;
    const hostNetwork = onNode(spec, settings);
    const addresses = hostNetwork ? node.addresses : [...draft.addresses, ...own];
    return {
      key: nameOf(draft),
      namespace,
      name,
      workload: workloads.get(maker)!,
      labels: valuesOf(labelPlaces),
      labelPlaces,
      annotations: valuesOf(annotations),
      spec,
      node,
      addresses,
      address: addresses[0] ?? 0,
      hostNetwork,
      ready,
      terminating,
      source,
    };
  });
  pods.sort((a, b) => compare(a.name, b.name));
  for (const pod of pods) pod.workload.pods.push(pod);
  return { workloads: [...workloads.values()].sort((a, b) => compare(a.ref, b.ref)), pods };
}
