/** Security identities: numbers for sets of labels and for prefixes, as Cilium gives them. `pkg/identity`. */
import { ReservedIdentity } from '../../assembly/abi.js';
import {
  comparePrefixes,
  contains,
  covers,
  FAMILIES,
  familyOf,
  formatPrefix,
  prefixOf,
  plus,
  type Address,
  type Family,
  type Prefix,
} from '../addresses.js';
import type { Cluster, ClusterPod } from '../cluster/cluster.js';
import { compare, spread } from '../hash.js';
import type { FqdnSelector } from '../manifests/cilium.js';
import { ipBlocksMatchPods, type Settings } from '../settings.js';
import { fqdnName } from './fqdn.js';
import { partsOf, type Peer, type Policy } from './rules.js';
import { DERIVED, keysAskedFor, labelsOf, selects, type EndpointSelector, type Labelled } from './selectors.js';

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

/** Where the addresses begin that stand for names: blocks that nobody has. RFC 1112 section 4, class E; RFC 6666, discard-only. */
const FQDN_ADDRESSES: Readonly<Record<Family, Prefix>> = {
  IPv4: { address: 0xf0000000, length: 4 },
  IPv6: { address: 0x0100n << 112n, length: 64 },
};

/** Pods that no policy can tell apart. */
export interface PodIdentity extends Labelled {
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

/** The addresses of the names that a policy's selector matches, once the DNS proxy has seen them. */
export interface FqdnIdentity {
  readonly number: number;
  readonly fqdn: FqdnSelector;
  /** An address that stands for theirs, which nobody knows. */
  readonly address: Address;
}

export interface Identities {
  /** The reserved identity of all addresses outside that no prefix holds: one for each family of the cluster. */
  readonly world: Readonly<Partial<Record<Family, number>>>;
  readonly pods: readonly PodIdentity[];
  readonly prefixes: readonly PrefixIdentity[];
  readonly fqdns: readonly FqdnIdentity[];
  readonly ofPod: ReadonlyMap<ClusterPod, PodIdentity>;
}

/** One number where the cluster has one family, else one for each. Cilium `pkg/labels/cidr`, `AddWorldLabel`. */
function worldOf(families: readonly Family[]): Identities['world'] {
  const [first, ...others] = families;
  if (first && others.length === 0) return { [first]: ReservedIdentity.WORLD };
  return { IPv4: ReservedIdentity.WORLD_IPV4, IPv6: ReservedIdentity.WORLD_IPV6 };
}

const peersOf = (policies: readonly Policy[]): Peer[] =>
  policies.flatMap(({ rules }) =>
    rules.flatMap(({ own, peers }) => [...(own ? [own] : []), ...(peers ?? [])].flatMap(partsOf)),
  );

/** Every prefix of the cluster's families that a policy names, `cidr` or `except`, once; those alone that `asked` says. */
function prefixesOf(
  policies: readonly Policy[],
  families: readonly Family[],
  asked: (peer: Peer & { readonly kind: 'prefix' }) => boolean = () => true,
): Prefix[] {
  const found = new Map<string, Prefix>();
  for (const peer of peersOf(policies)) {
    if (peer.kind !== 'prefix' || !asked(peer)) continue;
    for (const prefix of [peer.cidr, ...peer.except])
      if (families.includes(familyOf(prefix.address))) found.set(formatPrefix(prefix), prefix);
  }
  return [...found.values()].sort(comparePrefixes);
}

/** The selectors of names, each once. */
function fqdnsOf(policies: readonly Policy[]): Map<string, FqdnSelector> {
  const found = new Map<string, FqdnSelector>();
  for (const peer of peersOf(policies)) if (peer.kind === 'fqdn') found.set(fqdnName(peer.fqdn), peer.fqdn);
  return found;
}

/** Whether the addresses of pods are among those of a prefix. */
export const matchesPods = ({ pods }: Peer & { readonly kind: 'prefix' }, settings: Settings): boolean =>
  pods === 'always' || (pods && ipBlocksMatchPods(settings));

/** The label keys that policies ask pods for. */
function keysOfPolicies(policies: readonly Policy[]): Set<string> {
  const selectors: EndpointSelector[] = policies.map(({ subject }) => subject);
  for (const peer of peersOf(policies)) if (peer.kind === 'endpoints') selectors.push(peer.selector);
  return new Set(selectors.flatMap(keysAskedFor));
}

/**
 * What tells a pod from others: its namespace, its labels, its service account where a policy asks for it, the names of its
 * ports (a rule may ask for a port by name, and then Cilium's one number for all pods with these labels would not do), and,
 * of the prefixes that match pods, those that hold its address.
 */
function keyOf(pod: ClusterPod, asked: ReadonlySet<string>, prefixes: readonly Prefix[]): string {
  const labels = [...pod.labels]
    .filter(([key]) => asked.has(key) || !IGNORED.test(key))
    .map(([key, value]) => `${key}=${value}`);
  return JSON.stringify([
    pod.namespace,
    ...labels.sort(compare),
    ...(asked.has(DERIVED.serviceAccount) ? [`${DERIVED.serviceAccount}=${pod.spec.serviceAccountName}`] : []),
    ...prefixes.filter((prefix) => pod.addresses.some((one) => contains(prefix, one))).map(formatPrefix),
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

export function buildIdentities(cluster: Cluster, policies: readonly Policy[], settings: Settings): Identities {
  const prefixes = prefixesOf(policies, cluster.families);
  const asked = keysOfPolicies(policies);
  const ofPods = prefixesOf(policies, cluster.families, (peer) => matchesPods(peer, settings));
  const groups = new Map<string, Map<string, ClusterPod[]>>();
  for (const pod of cluster.pods) {
    if (pod.hostNetwork) continue;
    const key = keyOf(pod, asked, ofPods);
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
      ...labelsOf(cluster, group[0]!),
    }));
  // 0.0.0.0/0 and ::/0 are the world, whose numbers are reserved.
  const local = spread(prefixes.filter((prefix) => prefix.length > 0).map(formatPrefix), LOCAL_SCOPE + 1, 2 ** 20);
  const prefixIdentities = prefixes
    .filter((prefix) => prefix.length > 0)
    .map((prefix) => ({ number: local.get(formatPrefix(prefix))!, prefix }));
  const fqdns = fqdnsOf(policies);
  const named = spread(fqdns.keys(), LOCAL_SCOPE + 1 + 2 ** 20, 2 ** 20);
  // A name stands for addresses of both families; one of the cluster's primary family stands for all of them.
  const block = FQDN_ADDRESSES[cluster.families[0] ?? 'IPv4'];
  const offsets = spread(fqdns.keys(), 1, 2 ** 20);
  return {
    world: worldOf(cluster.families),
    pods,
    prefixes: prefixIdentities,
    fqdns: [...fqdns]
      .sort(([a], [b]) => compare(a, b))
      .map(([name, fqdn]) => ({ number: named.get(name)!, fqdn, address: plus(block.address, offsets.get(name)!) })),
    ofPod: new Map(pods.flatMap((identity) => identity.pods.map((pod) => [pod, identity] as const))),
  };
}

/** Reserved identities with the labels that selectors find them by. Cilium `pkg/identity/reserved.go`. */
const RESERVED: readonly (readonly [ReservedIdentity, Labelled])[] = (
  [
    [ReservedIdentity.HOST, 'host'],
    [ReservedIdentity.UNMANAGED, 'unmanaged'],
    [ReservedIdentity.HEALTH, 'health'],
    [ReservedIdentity.INIT, 'init'],
    [ReservedIdentity.REMOTE_NODE, 'remote-node'],
    [ReservedIdentity.KUBE_APISERVER, 'kube-apiserver'],
    [ReservedIdentity.INGRESS, 'ingress'],
  ] as const
).map(([number, name]) => [number, { source: 'reserved', labels: new Map([[name, '']]) }]);

/** What is outside the cluster in each family: the world, and the addresses there that policies name. */
const WORLDS: Readonly<Record<Family, Labelled>> = {
  IPv4: { source: 'reserved', labels: new Map(['world', 'world-ipv4'].map((name) => [name, ''])) },
  IPv6: { source: 'reserved', labels: new Map(['world', 'world-ipv6'].map((name) => [name, ''])) },
};

/** Every identity that a packet can come from or go to. */
export const everyIdentity = ({ pods, world, prefixes, fqdns }: Identities): number[] => [
  ...pods.map(({ number }) => number),
  ...RESERVED.map(([number]) => number),
  ...Object.values(world),
  ...prefixes.map(({ number }) => number),
  ...fqdns.map(({ number }) => number),
];

/** The identities of endpoints, nodes and the world that a selector matches. */
export function selectEndpoints(identities: Identities, selector: EndpointSelector): number[] {
  const numbers = identities.pods.filter((identity) => selects(selector, identity)).map(({ number }) => number);
  for (const [number, labelled] of RESERVED) if (selects(selector, labelled)) numbers.push(number);
  for (const family of FAMILIES) {
    const world = identities.world[family];
    if (world === undefined || !selects(selector, WORLDS[family])) continue;
    const prefixes = identities.prefixes.filter(({ prefix }) => familyOf(prefix.address) === family);
    numbers.push(world, ...prefixes.map(({ number }) => number), ...namesIn(identities, family));
  }
  return numbers;
}

/** The identities of names whose stand-in is of a family. */
const namesIn = ({ fqdns }: Identities, family: Family): number[] =>
  fqdns.filter(({ address }) => familyOf(address) === family).map(({ number }) => number);

/** The identities that a prefix selects: of addresses, and of pods where the setting says so. */
export function selectPrefix(
  identities: Identities,
  cidr: Prefix,
  except: readonly Prefix[],
  alsoPods: boolean,
): number[] {
  const within = (prefix: Prefix): boolean => covers(cidr, prefix) && !except.some((hole) => covers(hole, prefix));
  const numbers = identities.prefixes.filter(({ prefix }) => within(prefix)).map(({ number }) => number);
  const family = familyOf(cidr.address);
  const world = identities.world[family];
  if (world !== undefined && cidr.length === 0 && !except.some((hole) => hole.length === 0))
    numbers.push(world, ...namesIn(identities, family));
  if (alsoPods) {
    for (const { number, example } of identities.pods)
      if (example.addresses.some((address) => within(prefixOf(address)))) numbers.push(number);
  }
  return numbers;
}
