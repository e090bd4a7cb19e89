/** Security identities: numbers for sets of labels and for prefixes, as Cilium gives them. `pkg/identity`. */
import { ReservedIdentity } from '../../assembly/abi.js';
import {
  comparePrefixes,
  contains,
  covers,
  familyOf,
  formatPrefix,
  parsePrefix,
  prefixOf,
  type Family,
  type Prefix,
} from '../addresses.js';
import type { Cluster, ClusterPod } from '../cluster/cluster.js';
import { compare, spread } from '../hash.js';
import type { NetworkPolicy } from '../manifests/objects.js';
import type { Settings } from '../settings.js';

/** Numbers of label identities: those that Cilium leaves to users of one cluster. */
const FIRST = 256;
const COUNT = 65536 - FIRST;
/** Numbers of identities that stand for a prefix begin here. `IdentityScopeLocal`. */
export const LOCAL_SCOPE = 1 << 24;

/** Labels that do not make a pod another one, unless a policy asks for them. Cilium `pkg/labelsfilter`, the defaults. */
const IGNORED =
  /^(pod-template-hash|pod-template-generation|controller-revision-hash|controller-uid|statefulset\.kubernetes\.io\/pod-name|batch\.kubernetes\.io\/.*|job-name|apps\.kubernetes\.io\/pod-index)$/;

/** Whether a pod's label is one of its identity's, without any policy that asks for it. */
export const isIdentityLabel = (key: string): boolean => !IGNORED.test(key);

/** Pods that no policy can tell apart. */
export interface PodIdentity {
  readonly number: number;
  /** Namespace and labels, sorted; pods with the same text have the same number. */
  readonly key: string;
  readonly pods: readonly ClusterPod[];
  /** Any of them: its labels, namespace and named ports are those of all. */
  readonly example: ClusterPod;
}

/** Addresses that no policy can tell apart: those of a prefix, less those of the longer prefixes within. */
export interface PrefixIdentity {
  readonly number: number;
  readonly prefix: Prefix;
}

export interface Identities {
  /** The reserved identity of all addresses outside that no prefix holds: one for each family of the cluster. */
  readonly world: Readonly<Partial<Record<Family, number>>>;
  readonly pods: readonly PodIdentity[];
  readonly prefixes: readonly PrefixIdentity[];
  readonly ofPod: ReadonlyMap<ClusterPod, PodIdentity>;
}

/** One number where the cluster has one family, else one for each. Cilium `pkg/labels/cidr`, `AddWorldLabel`. */
function worldOf(families: readonly Family[]): Identities['world'] {
  const [first, ...others] = families;
  if (first && others.length === 0) return { [first]: ReservedIdentity.WORLD };
  return { IPv4: ReservedIdentity.WORLD_IPV4, IPv6: ReservedIdentity.WORLD_IPV6 };
}

/** Every prefix of the cluster's families that a policy names, `cidr` or `except`, once. */
function prefixesOf({ policies, families }: Cluster): Prefix[] {
  const found = new Map<string, Prefix>();
  for (const policy of policies) {
    for (const rule of [...(policy.ingress?.rules ?? []), ...(policy.egress?.rules ?? [])]) {
      for (const { ipBlock } of rule.peers ?? []) {
        for (const text of ipBlock ? [ipBlock.cidr, ...ipBlock.except] : []) {
          const prefix = parsePrefix(text.value);
          if (prefix && families.includes(familyOf(prefix.address))) found.set(formatPrefix(prefix), prefix);
        }
      }
    }
  }
  return [...found.values()].sort(comparePrefixes);
}

/** The label keys that policies ask pods for. */
function keysAskedFor(policies: readonly NetworkPolicy[]): Set<string> {
  const keys = new Set<string>();
  for (const policy of policies) {
    const rules = [...(policy.ingress?.rules ?? []), ...(policy.egress?.rules ?? [])];
    const selectors = [
      policy.podSelector,
      ...rules.flatMap((rule) => (rule.peers ?? []).flatMap((peer) => peer.podSelector ?? [])),
    ];
    for (const { matchLabels, matchExpressions } of selectors) {
      for (const key of matchLabels.keys()) keys.add(key);
      for (const { key } of matchExpressions) keys.add(key);
    }
  }
  return keys;
}

/**
 * What tells a pod from others: its namespace, its labels, the names of its ports (a rule may ask for a port by name, and
 * then Cilium's one number for all pods with these labels would not do), and, where `ipBlock` matches pods, the prefixes
 * that hold its address.
 */
function keyOf(pod: ClusterPod, asked: ReadonlySet<string>, prefixes: readonly Prefix[], matchesPods: boolean): string {
  const labels = [...pod.labels]
    .filter(([key]) => asked.has(key) || !IGNORED.test(key))
    .map(([key, value]) => `${key}=${value}`);
  return JSON.stringify([
    pod.namespace,
    ...labels.sort(compare),
    ...(matchesPods
      ? prefixes.filter((prefix) => pod.addresses.some((one) => contains(prefix, one))).map(formatPrefix)
      : []),
  ]);
}

const portsOf = (pod: ClusterPod): string =>
  pod.spec.containers
    .flatMap((container) =>
      container.ports.flatMap((port) =>
        port.name ? [`${port.name.value}:${port.protocol}:${port.containerPort.value}`] : [],
      ),
    )
    .sort(compare)
    .join(',');

export function buildIdentities(cluster: Cluster, settings: Settings): Identities {
  const prefixes = prefixesOf(cluster);
  const asked = keysAskedFor(cluster.policies);
  const groups = new Map<string, Map<string, ClusterPod[]>>();
  for (const pod of cluster.pods) {
    if (pod.hostNetwork) continue;
    const key = keyOf(pod, asked, prefixes, settings.ipBlockMatchesPods);
    const byPorts = groups.get(key) ?? new Map<string, ClusterPod[]>();
    groups.set(key, byPorts);
    const ports = portsOf(pod);
    byPorts.set(ports, [...(byPorts.get(ports) ?? []), pod]);
  }
  const members = new Map<string, ClusterPod[]>();
  for (const [key, byPorts] of groups) {
    for (const [ports, pods] of byPorts) members.set(byPorts.size > 1 ? `${key} ${ports}` : key, pods);
  }
  const numbers = spread(members.keys(), FIRST, COUNT);
  const pods = [...members]
    .sort(([a], [b]) => compare(a, b))
    .map(([key, group]) => ({
      number: numbers.get(key) ?? ReservedIdentity.UNMANAGED,
      key,
      pods: group,
      example: group[0]!,
    }));
  // 0.0.0.0/0 and ::/0 are the world, whose numbers are reserved.
  const local = spread(prefixes.filter((prefix) => prefix.length > 0).map(formatPrefix), LOCAL_SCOPE + 1, 2 ** 20);
  const prefixIdentities = prefixes
    .filter((prefix) => prefix.length > 0)
    .map((prefix) => ({ number: local.get(formatPrefix(prefix))!, prefix }));
  return {
    world: worldOf(cluster.families),
    pods,
    prefixes: prefixIdentities,
    ofPod: new Map(pods.flatMap((identity) => identity.pods.map((pod) => [pod, identity] as const))),
  };
}

/** The identities that an `ipBlock` selects: of addresses, and of pods where the setting says so. */
export function selectPrefix(
  identities: Identities,
  cidr: Prefix,
  except: readonly Prefix[],
  matchesPods: boolean,
): number[] {
  const within = (prefix: Prefix): boolean => covers(cidr, prefix) && !except.some((hole) => covers(hole, prefix));
  const numbers = identities.prefixes.filter(({ prefix }) => within(prefix)).map(({ number }) => number);
  const world = identities.world[familyOf(cidr.address)];
  if (world !== undefined && cidr.length === 0 && !except.some((hole) => hole.length === 0)) numbers.push(world);
  if (matchesPods) {
    for (const { number, example } of identities.pods)
      if (example.addresses.some((address) => within(prefixOf(address)))) numbers.push(number);
  }
  return numbers;
}
