/** What the manifests of a namespace say of its pods, before those that report no address get one. */
import { contains, familyOf, parseAddress, type Address, type Family, type Prefix } from '../addresses.js';
import { hashOf } from '../hash.js';
import { keptFor } from '../kept.js';
import type { Pod, PodSpec, Workload, WorkloadKind } from '../manifests/objects.js';
import type { Located, Place } from '../manifests/place.js';
import type { Settings } from '../settings.js';
import type { ClusterNode, ClusterWorkload } from './cluster.js';

/** A workload before its pods are made. */
export type Maker = Omit<ClusterWorkload, 'pods'>;

/** One pod before it has an address. */
export interface Draft {
  readonly namespace: string;
  readonly name: string;
  readonly maker: Maker;
  readonly labelPlaces: ReadonlyMap<string, Located<string>>;
  readonly annotations: ReadonlyMap<string, Located<string>>;
  readonly spec: PodSpec;
  readonly node: ClusterNode;
  /** Those that the manifest reports. */
  readonly addresses: readonly Address[];
  /** Families of which it has none, and gets one. */
  readonly wanting: readonly Family[];
  readonly ready: boolean | null;
  readonly terminating: boolean;
  readonly source: Place;
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

function makerOf(kind: string, namespace: string, name: string, source: Workload | Pod): Maker {
  return { ref: `${namespace}/${name}[${kind}]`, kind, namespace, name, source };
}

/** Of the pods of one workload, all alike, at most so many are made: a number that was mistyped must not fill the memory. */
const MAX_REPLICAS = 10_000;

/** Pods that a workload makes where the manifests hold none of them; DaemonSets put one on every node. */
function templatePods(
  maker: Maker,
  source: Workload,
  nodes: readonly ClusterNode[],
  families: readonly Family[],
  settings: Settings,
): Draft[] {
  const { namespace, name } = maker;
  const count = source.kind === 'DaemonSet' ? nodes.length : (source.replicas?.value ?? 1);
  return Array.from({ length: Math.min(Math.max(0, count), MAX_REPLICAS) }, (_, ordinal) => ({
    namespace,
    name: podName(source.kind, name, `${source.kind} ${namespace}/${name}`, ordinal),
    maker,
    labelPlaces: new Map([...source.template.labels, ...madeLabels(source, name, ordinal)]),
    annotations: source.template.annotations,
    spec: source.template.spec,
    node:
      source.kind === 'DaemonSet'
        ? nodes[ordinal]!
        : homeOf(maker, source.template.spec.nodeName?.value ?? null, [], ordinal, nodes),
    addresses: [],
    wanting: onNode(source.template.spec, settings) ? [] : families,
    ready: null,
    terminating: false,
    source: source.template.at,
  }));
}

/** The node of a pod: the one that it names, the one whose range it has an address of, or one that depends on its number in its workload. */
function homeOf(
  { ref }: Maker,
  nodeName: string | null,
  addresses: readonly Address[],
  ordinal: number,
  nodes: readonly ClusterNode[],
): ClusterNode {
  if (nodeName !== null) return byName(nodes).get(nodeName) ?? nodes[0]!;
  const isHome = ({ podRanges }: ClusterNode): boolean =>
    addresses.some((address) => podRanges.some((range) => contains(range, address)));
  return nodes.find(isHome) ?? nodes[(hashOf(ref) + ordinal) % nodes.length]!;
}

const byName = keptFor((nodes: readonly ClusterNode[]) => new Map(nodes.map((node) => [node.name, node])));

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
    const above = source ? source.metadata.ownerReferences[0] : declaredMaker(owner, namespace, declared);
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
function declaredMaker(
  owner: { readonly kind: string; readonly name: string },
  namespace: string,
  declared: ReadonlyMap<string, Workload>,
): { readonly kind: string; readonly name: string; readonly controller: boolean } | undefined {
  const kind = MAKERS.get(owner.kind);
  const name = owner.name.slice(0, Math.max(0, owner.name.lastIndexOf('-')));
  return kind && declared.has(keyOf(kind, namespace, name)) ? { kind, name, controller: true } : undefined;
}

/** What a namespace's manifests say of its pods. */
export interface Drafts {
  readonly makers: readonly Maker[];
  readonly drafts: readonly Draft[];
  /** The names of those that want an address, once for each, and of which range. */
  readonly names: readonly string[];
  readonly ranges: readonly Prefix[];
  /** The addresses that they report. */
  readonly taken: readonly Address[];
}

export function draftPods(
  pods: readonly Pod[],
  declared: readonly Workload[],
  nodes: readonly ClusterNode[],
  families: readonly Family[],
  settings: Settings,
): Drafts {
  const byKey = new Map(
    declared.map((workload) => [
      keyOf(workload.kind, workload.metadata.namespace, workload.metadata.name.value),
      workload,
    ]),
  );
  const makers = new Map<string, Maker>();
  const drafts: Draft[] = [];
  const withPods = new Set<string>();

  for (const pod of pods) {
    const { namespace, name } = pod.metadata;
    const owner = ownerOf(pod, byKey) ?? { kind: 'Pod', name: name.value };
    const key = keyOf(owner.kind, namespace, owner.name);
    const maker = makers.get(key) ?? makerOf(owner.kind, namespace, owner.name, byKey.get(key) ?? pod);
    makers.set(key, maker);
    withPods.add(key);
    // What lies between the pod and the top of its owners has its pods with it.
    for (const reference of pod.metadata.ownerReferences)
      withPods.add(keyOf(reference.kind, namespace, reference.name));
    const { addresses, wanting } = addressesOf(pod, families, settings);
    drafts.push({
      namespace,
      name: name.value,
      maker,
      labelPlaces: pod.metadata.labels,
      annotations: pod.metadata.annotations,
      spec: pod.spec,
      node: homeOf(maker, pod.spec.nodeName?.value ?? null, addresses, 0, nodes),
      addresses,
      wanting,
      // A pod that has ended may be asked about, as what its workload runs next will be, but serves nobody.
      ready: hasEnded(pod) ? false : pod.ready,
      terminating: pod.terminating,
      source: pod.at,
    });
  }
  for (const [key, source] of byKey) {
    if (withPods.has(key) || ownedByDeclared(source, byKey)) continue;
    const maker = makerOf(source.kind, source.metadata.namespace, source.metadata.name.value, source);
    makers.set(key, maker);
    drafts.push(...templatePods(maker, source, nodes, families, settings));
  }

  const wants = drafts.flatMap((draft) => draft.wanting.map((family) => ({ draft, family })));
  return {
    makers: [...makers.values()],
    drafts,
    names: wants.map(({ draft }) => nameOf(draft)),
    ranges: wants.map(({ draft, family }) => rangeIn(draft.node, family)),
    taken: drafts.flatMap(({ addresses }) => addresses),
  };
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

export const nameOf = ({ namespace, name, maker }: Draft): string => `${namespace}/${name} of ${maker.ref}`;

const rangeIn = ({ podRanges }: ClusterNode, family: Family): Prefix =>
  podRanges.find(({ address }) => familyOf(address) === family)!;
