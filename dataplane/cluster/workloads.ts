/** The pods: those of the manifests, and those that workloads would make. */
import { contains, familyOf, parseAddress, sizeOf, type Address, type Family, type Prefix } from '../addresses.js';
import { compare, hashOf } from '../hash.js';
import { kept, sameItems } from '../kept.js';
import type { Pod, PodSpec, Workload, WorkloadKind } from '../manifests/objects.js';
import type { Located, Place } from '../manifests/place.js';
import type { Settings } from '../settings.js';
import { allocate } from './allocate.js';
import { allAddresses, type ClusterNode, type ClusterPod, type ClusterWorkload } from './cluster.js';
import { rangeOf } from './families.js';

/** One pod before it has a node and an address. */
interface Draft {
  readonly namespace: string;
  readonly name: string;
  readonly workload: ClusterWorkload;
  readonly labelPlaces: ReadonlyMap<string, Located<string>>;
  readonly annotations: ReadonlyMap<string, Located<string>>;
  readonly spec: PodSpec;
  readonly nodeName: string | null;
  /** Those that the manifest reports. */
  readonly addresses: readonly Address[];
  /** Families of which it has none, and gets one. */
  readonly wanting: readonly Family[];
  readonly ready: boolean | null;
  readonly terminating: boolean;
  readonly source: Place;
  /** Its number among its workload's pods. */
  readonly ordinal: number;
}

/** Letters of the suffixes that Kubernetes makes up: no vowels, so no words. `k8s.io/apimachinery/pkg/util/rand`. */
const SUFFIX_LETTERS = 'bcdfghjklmnpqrstvwxz2456789';

function suffix(text: string, length: number): string {
  let letters = '';
  for (let i = 0; i < length; i++) letters += SUFFIX_LETTERS.charAt(hashOf(`${text}#${i}`) % SUFFIX_LETTERS.length);
  return letters;
}

/** Whether a pod is on its node's network: by its manifest, unless the setting makes it a pod like others. */
export const onNode = ({ hostNetwork }: PodSpec, { hostNetworkPods }: Settings): boolean =>
  hostNetwork && hostNetworkPods === 'node';

const keyOf = (kind: string, namespace: string, name: string): string => `${kind}/${namespace}/${name}`;

function workloadOf(kind: string, namespace: string, name: string, source: Workload | Pod): ClusterWorkload {
  return { ref: `${namespace}/${name}[${kind}]`, kind, namespace, name, pods: [], source };
}

/** Of the pods of one workload, all alike, at most so many are made: a number that was mistyped must not fill the memory. */
const MAX_REPLICAS = 10_000;

/** Pods that a workload makes where the manifests hold none of them; DaemonSets put one on every node. */
function templatePods(
  workload: ClusterWorkload,
  source: Workload,
  nodes: readonly ClusterNode[],
  families: readonly Family[],
  settings: Settings,
): Draft[] {
  const { namespace, name } = workload;
  const count = source.kind === 'DaemonSet' ? nodes.length : (source.replicas?.value ?? 1);
  return Array.from({ length: Math.min(Math.max(0, count), MAX_REPLICAS) }, (_, ordinal) => ({
    namespace,
    name: podName(source.kind, name, `${source.kind} ${namespace}/${name}`, ordinal),
    workload,
    labelPlaces: new Map([...source.template.labels, ...madeLabels(source, name, ordinal)]),
    annotations: source.template.annotations,
    spec: source.template.spec,
    nodeName: source.kind === 'DaemonSet' ? nodes[ordinal]!.name : (source.template.spec.nodeName?.value ?? null),
    addresses: [],
    wanting: onNode(source.template.spec, settings) ? [] : families,
    ready: null,
    terminating: false,
    source: source.template.at,
    ordinal,
  }));
}

/** Labels that controllers put on the pods they make. Kubernetes: well-known labels. */
function madeLabels(source: Workload, name: string, ordinal: number): [string, Located<string>][] {
  const label = (key: string, value: string): [string, Located<string>] => [key, { value, at: source.template.at }];
  if (source.kind === 'StatefulSet')
    return [
      label('statefulset.kubernetes.io/pod-name', `${name}-${ordinal}`),
      label('apps.kubernetes.io/pod-index', `${ordinal}`),
    ];
  if (source.kind === 'Job') return [label('batch.kubernetes.io/job-name', name), label('job-name', name)];
  return [];
}

function podName(kind: Workload['kind'], name: string, key: string, ordinal: number): string {
  if (kind === 'StatefulSet') return `${name}-${ordinal}`;
  if (kind === 'Deployment') return `${name}-${suffix(key, 9)}-${suffix(`${key}/${ordinal}`, 5)}`;
  if (kind === 'CronJob') return `${name}-${28000000 + (hashOf(key) % 1000000)}-${suffix(`${key}/${ordinal}`, 5)}`;
  return `${name}-${suffix(`${key}/${ordinal}`, 5)}`;
}

/**
 * The workload that a given pod belongs to: up the owner references as far as the manifests go, so that a pod of a
 * ReplicaSet of a Deployment is the Deployment's; an owner that is not declared stands all the same.
 */
function ownerOf(pod: Pod, declared: ReadonlyMap<string, Workload>): { kind: string; name: string } | null {
  const { namespace } = pod.metadata;
  let owner = pod.metadata.ownerReferences.find((reference) => reference.controller) ?? pod.metadata.ownerReferences[0];
  for (let depth = 0; owner && depth < 4; depth++) {
    const source = declared.get(keyOf(owner.kind, namespace, owner.name));
    const above = source ? source.metadata.ownerReferences[0] : makerOf(owner, namespace, declared);
    if (!above) break;
    owner = above;
  }
  return owner ?? null;
}

const hasEnded = ({ phase }: Pod): boolean => phase === 'Succeeded' || phase === 'Failed';

/** Kinds that make others under names of their own, with a suffix. */
const MAKERS: ReadonlyMap<string, WorkloadKind> = new Map([
  ['ReplicaSet', 'Deployment'],
  ['Job', 'CronJob'],
]);

/** The declared workload that an owner which is not declared would be of: `cart` of ReplicaSet `cart-7d9f8`. */
function makerOf(
  owner: { readonly kind: string; readonly name: string },
  namespace: string,
  declared: ReadonlyMap<string, Workload>,
): { readonly kind: string; readonly name: string; readonly controller: boolean } | undefined {
  const kind = MAKERS.get(owner.kind);
  const name = owner.name.slice(0, Math.max(0, owner.name.lastIndexOf('-')));
  return kind && declared.has(keyOf(kind, namespace, name)) ? { kind, name, controller: true } : undefined;
}

export interface Workloads {
  readonly workloads: readonly ClusterWorkload[];
  readonly pods: readonly ClusterPod[];
}

/** Builds workloads with their pods; what an edit leaves as it was stays the very same. */
export class WorkloadBuilder {
  private before: Workloads = { workloads: [], pods: [] };
  readonly build = kept((...inputs: Parameters<typeof buildWorkloads>) => this.settled(buildWorkloads(...inputs)));

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

function buildWorkloads(
  pods: readonly Pod[],
  declared: readonly Workload[],
  nodes: readonly ClusterNode[],
  families: readonly Family[],
  settings: Settings,
): Workloads {
  const byKey = new Map(
    declared.map((workload) => [
      keyOf(workload.kind, workload.metadata.namespace, workload.metadata.name.value),
      workload,
    ]),
  );
  const workloads = new Map<string, ClusterWorkload>();
  const drafts: Draft[] = [];
  const withPods = new Set<string>();

  for (const pod of pods) {
    const { namespace, name } = pod.metadata;
    const owner = ownerOf(pod, byKey) ?? { kind: 'Pod', name: name.value };
    const key = keyOf(owner.kind, namespace, owner.name);
    const workload = workloads.get(key) ?? workloadOf(owner.kind, namespace, owner.name, byKey.get(key) ?? pod);
    workloads.set(key, workload);
    withPods.add(key);
    // What lies between the pod and the top of its owners has its pods with it.
    for (const reference of pod.metadata.ownerReferences)
      withPods.add(keyOf(reference.kind, namespace, reference.name));
    drafts.push({
      namespace,
      name: name.value,
      workload,
      labelPlaces: pod.metadata.labels,
      annotations: pod.metadata.annotations,
      spec: pod.spec,
      nodeName: pod.spec.nodeName?.value ?? null,
      ...addressesOf(pod, families, settings),
      // A pod that has ended may be asked about, as what its workload runs next will be, but serves nobody.
      ready: hasEnded(pod) ? false : pod.ready,
      terminating: pod.terminating,
      source: pod.at,
      ordinal: 0,
    });
  }
  for (const [key, source] of byKey) {
    if (withPods.has(key) || ownedByDeclared(source, byKey)) continue;
    const workload = workloadOf(source.kind, source.metadata.namespace, source.metadata.name.value, source);
    workloads.set(key, workload);
    drafts.push(...templatePods(workload, source, nodes, families, settings));
  }

  const built = place(drafts, nodes, settings);
  for (const pod of built) pod.workload.pods.push(pod);
  const sorted = [...workloads.values()].sort((a, b) => compare(a.ref, b.ref));
  return { workloads: sorted, pods: built };
}

/** What a pod's status reports. `podIP` alone is one address of as many as the cluster has families; `podIPs` are all. */
function addressesOf(pod: Pod, families: readonly Family[], settings: Settings): Pick<Draft, 'addresses' | 'wanting'> {
  // What it reports is its node's address.
  if (pod.spec.hostNetwork) return { addresses: [], wanting: onNode(pod.spec, settings) ? [] : families };
  // The address of a pod that has ended may be another's by now.
  const addresses = hasEnded(pod) ? [] : pod.podIPs.flatMap((ip) => parseAddress(ip.value) ?? []);
  const isWhole = pod.reportsPodIPs && addresses.length > 0;
  return {
    addresses,
    wanting: isWhole ? [] : families.filter((family) => !addresses.some((address) => familyOf(address) === family)),
  };
}

/** A ReplicaSet of a Deployment makes no pods of its own beside it. */
function ownedByDeclared(source: Workload, byKey: ReadonlyMap<string, Workload>): boolean {
  return source.metadata.ownerReferences.some((owner) =>
    byKey.has(keyOf(owner.kind, source.metadata.namespace, owner.name)),
  );
}

const nameOf = ({ namespace, name, workload }: Draft): string => `${namespace}/${name} of ${workload.ref}`;

/** Gives each draft its node and its address: what the manifests say, else the same for the same pod, whatever else is there. */
function place(drafts: readonly Draft[], nodes: readonly ClusterNode[], settings: Settings): ClusterPod[] {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const taken = new Set([...nodes.flatMap(allAddresses), ...drafts.flatMap(({ addresses }) => addresses)]);

  const homeOf = (draft: Draft): ClusterNode => {
    if (draft.nodeName !== null) return byName.get(draft.nodeName) ?? nodes[0]!;
    const isHome = ({ podRanges }: ClusterNode): boolean =>
      draft.addresses.some((address) => podRanges.some((range) => contains(range, address)));
    return nodes.find(isHome) ?? nodes[(hashOf(draft.workload.ref) + draft.ordinal) % nodes.length]!;
  };
  const homes = drafts.map(homeOf);

  const wanting = new Map<Prefix, string[]>();
  for (const [i, draft] of drafts.entries()) {
    for (const family of draft.wanting) {
      const range = homes[i]!.podRanges.find(({ address }) => familyOf(address) === family)!;
      const names = wanting.get(range);
      if (names) names.push(nameOf(draft));
      else wanting.set(range, [nameOf(draft)]);
    }
  }
  const made = new Map<string, Address[]>();
  for (const part of nodes.flatMap(({ podRanges }) => podRanges)) {
    const names = wanting.get(part) ?? [];
    // The network, its broadcast and the first address, which is the node's own end, are nobody's. A node with more pods
    // than its part has addresses takes from the whole range.
    const isEnough = names.length <= (sizeOf(part) - 3) * 0.75;
    const range = isEnough ? part : rangeOf(settings, 'podCIDR', familyOf(part.address));
    for (const [name, address] of allocate(names, range, 2, taken)) {
      made.set(name, [...(made.get(name) ?? []), address]);
      taken.add(address);
    }
  }

  const built = drafts.map((draft, i): ClusterPod => {
    const node = homes[i]!;
    const { namespace, name, workload, labelPlaces, annotations, spec, ready, terminating, source } = draft;
    const hostNetwork = onNode(spec, settings);
    const own = draft.wanting.length > 0 ? (made.get(nameOf(draft)) ?? []) : [];
    const addresses = hostNetwork ? node.addresses : [...draft.addresses, ...own];
    return {
      namespace,
      name,
      workload,
      labels: new Map([...labelPlaces].map(([key, label]) => [key, label.value])),
      labelPlaces,
      annotations: new Map([...annotations].map(([key, annotation]) => [key, annotation.value])),
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
  return built.sort((a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name));
}
