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
import type { Cluster, ClusterNamespace, ClusterPod } from '../cluster/cluster.js';
import { compare, spread } from '../hash.js';
import { indexed, type Index } from '../indexed.js';
import { joined, kept, keptEach, keptFor, sameItems, steady } from '../kept.js';
import type { FqdnSelector } from '../manifests/cilium.js';
import { ipBlocksMatchPods, type Settings } from '../settings.js';
import { fqdnName } from './fqdn.js';
import { partsOf, peersIn, type Peer, type Policy } from './rules.js';
import { Selected } from './selected.js';
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
  readonly namespace: ClusterNamespace | undefined;
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
  readonly ofPod: Index<ClusterPod, PodIdentity>;
  /** Those of pods by selectors. */
  readonly selected: Selected;
}

/** One number where the cluster has one family, else one for each. Cilium `pkg/labels/cidr`, `AddWorldLabel`. */
function worldOf(families: readonly Family[]): Identities['world'] {
  const [first, ...others] = families;
  if (first && others.length === 0) return { [first]: ReservedIdentity.WORLD };
  return { IPv4: ReservedIdentity.WORLD_IPV4, IPv6: ReservedIdentity.WORLD_IPV6 };
}

/** What one policy asks of identities. */
interface Asked {
  /** The label keys that it asks pods for. */
  readonly keys: readonly string[];
  /** The prefixes that it names, `cidr` or `except`, under their texts. */
  readonly prefixes: readonly { readonly text: string; readonly prefix: Prefix; readonly peer: PrefixPeer }[];
  readonly fqdns: readonly FqdnSelector[];
}

type PrefixPeer = Peer & { readonly kind: 'prefix' };

function askedBy({ subject, rules }: Policy): Asked {
  const peers = rules.flatMap(peersIn).flatMap(partsOf);
  const selectors = peers.flatMap((peer) => (peer.kind === 'endpoints' ? peer.selector : []));
  return {
    keys: [subject, ...selectors].flatMap(keysAskedFor),
    prefixes: peers.flatMap((peer) =>
      peer.kind === 'prefix'
        ? [peer.cidr, ...peer.except].map((prefix) => ({ text: formatPrefix(prefix), prefix, peer }))
        : [],
    ),
    fqdns: peers.flatMap((peer) => (peer.kind === 'fqdn' ? peer.fqdn : [])),
  };
}

/** Every prefix of the cluster's families that a policy names, once; those alone that `isAsked` says. */
function prefixesOf(
  asked: readonly Asked[],
  families: readonly Family[],
  isAsked: (peer: PrefixPeer) => boolean = () => true,
): Prefix[] {
  const found = new Map<string, Prefix>();
  for (const { prefixes } of asked)
    for (const { text, prefix, peer } of prefixes)
      if (families.includes(familyOf(prefix.address)) && isAsked(peer)) found.set(text, prefix);
  return [...found.values()].sort(comparePrefixes);
}

/** The selectors of names, each once. */
function fqdnsOf(asked: readonly Asked[]): Map<string, FqdnSelector> {
  const found = new Map<string, FqdnSelector>();
  for (const { fqdns } of asked) for (const fqdn of fqdns) found.set(fqdnName(fqdn), fqdn);
  return found;
}

/** Whether the addresses of pods are among those of a prefix. */
export const matchesPods = ({ pods }: Peer & { readonly kind: 'prefix' }, settings: Settings): boolean =>
  pods === 'always' || (pods && ipBlocksMatchPods(settings));

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

/** Builds the identities, and of those again only what an edit touches. */
export class IdentityBuilder {
  private readonly asked = keptEach(askedBy);
  private readonly keys = steady(
    kept((asked: readonly Asked[]) => new Set([...new Set(joined(asked.map(({ keys }) => keys)))].sort(compare))),
  );
  private readonly prefixes = steady(kept(prefixesOf), samePrefixes);
  private readonly prefixesOfPods = steady(
    kept((asked: readonly Asked[], families: readonly Family[], settings: Settings) =>
      prefixesOf(asked, families, (peer) => matchesPods(peer, settings)),
    ),
    samePrefixes,
  );
  private readonly fqdns = kept(fqdnsOf);
  private readonly world = kept(worldOf);
  private readonly numbered = kept(prefixIdentities);
  private readonly named = kept(fqdnIdentities);
  private alike: ReadonlyMap<string, ReturnType<typeof keptAlike>> = new Map();
  private readonly pods = kept((alike: readonly Alike[], namespaces: Cluster['namespaces']) =>
    this.podIdentities(alike, namespaces),
  );
  private readonly numbers = kept((keys: readonly string[]) => spread(keys, FIRST, COUNT));
  private readonly identity = keptFor(podIdentity);
  private readonly ofPod = indexed(({ pods }: PodIdentity) => pods);
  private found: Selected | null = null;
  private readonly selected = kept((pods: readonly PodIdentity[]) => (this.found = new Selected(pods, this.found)));
  private readonly all = kept(
    (
      world: Identities['world'],
      pods: readonly PodIdentity[],
      prefixes: readonly PrefixIdentity[],
      fqdns: readonly FqdnIdentity[],
    ): Identities => ({
      world,
      pods,
      prefixes,
      fqdns,
      ofPod: this.ofPod(pods),
      selected: this.selected(pods),
    }),
  );

  build({ families, namespaces, inNamespace }: Cluster, policies: readonly Policy[], settings: Settings): Identities {
    const asked = this.asked(policies);
    const keys = this.keys(asked);
    const ofPods = this.prefixesOfPods(asked, families, settings);
    this.alike = new Map([...inNamespace.keys()].map((name) => [name, this.alike.get(name) ?? keptAlike()]));
    const alike = [...inNamespace].map(([name, { pods }]) => this.alike.get(name)!(pods, keys, ofPods));
    return this.all(
      this.world(families),
      this.pods(joined(alike), namespaces),
      this.numbered(this.prefixes(asked, families)),
      this.named(this.fqdns(asked), families),
    );
  }

  private podIdentities(alike: readonly Alike[], namespaces: Cluster['namespaces']): readonly PodIdentity[] {
    const sorted = [...alike].sort((a, b) => compare(a.key, b.key));
    const numbers = this.numbers(sorted.map(({ key }) => key));
    return sorted.map((one) => {
      const namespace = namespaces.get(one.pods[0]!.namespace);
      return this.identity(one, numbers.get(one.key) ?? ReservedIdentity.UNMANAGED, namespace);
    });
  }
}

/** Pods that nothing tells apart. */
type Alike = Pick<PodIdentity, 'key' | 'pods'>;

/** The pods of a namespace by what they are alike in; those of which nothing is another stay the very same list. */
function keptAlike() {
  let before: ReadonlyMap<string, Alike> = new Map();
  return kept((pods: readonly ClusterPod[], asked: ReadonlySet<string>, prefixes: readonly Prefix[]) => {
    const found = alikeAmong(pods, asked, prefixes).map((one) => {
      const former = before.get(one.key);
      return former && sameItems(former.pods, one.pods) ? former : one;
    });
    before = new Map(found.map((one) => [one.key, one]));
    return found;
  });
}

function alikeAmong(pods: readonly ClusterPod[], asked: ReadonlySet<string>, prefixes: readonly Prefix[]): Alike[] {
  const groups = new Map<string, Map<string, ClusterPod[]>>();
  for (const pod of pods) {
    if (pod.hostNetwork) continue;
    const key = keyOf(pod, asked, prefixes);
    const byPorts = groups.get(key) ?? new Map<string, ClusterPod[]>();
    groups.set(key, byPorts);
    const ports = portsOf(pod);
    const group = byPorts.get(ports);
    if (group) group.push(pod);
    else byPorts.set(ports, [pod]);
  }
  return [...groups].flatMap(([key, byPorts]) =>
    [...byPorts].map(([ports, pods]) => ({ key: byPorts.size > 1 ? `${key} ${ports}` : key, pods })),
  );
}

function podIdentity({ key, pods }: Alike, number: number, namespace: ClusterNamespace | undefined): PodIdentity {
  const example = pods[0]!;
  const namespaces = new Map(namespace ? [[namespace.name, namespace]] : []);
  return { number, key, pods, namespace, example, ...labelsOf({ namespaces }, example) };
}

export const buildIdentities = (cluster: Cluster, policies: readonly Policy[], settings: Settings): Identities =>
  new IdentityBuilder().build(cluster, policies, settings);

const samePrefixes = (a: readonly Prefix[], b: readonly Prefix[]): boolean =>
  a.length === b.length && a.every(({ address, length }, i) => address === b[i]!.address && length === b[i]!.length);

/** 0.0.0.0/0 and ::/0 are the world, whose numbers are reserved. */
function prefixIdentities(prefixes: readonly Prefix[]): readonly PrefixIdentity[] {
  const named = prefixes
    .filter((prefix) => prefix.length > 0)
    .map((prefix) => ({ prefix, text: formatPrefix(prefix) }));
  const numbers = spread(
    named.map(({ text }) => text),
    LOCAL_SCOPE + 1,
    2 ** 20,
  );
  return named.map(({ prefix, text }) => ({ number: numbers.get(text)!, prefix }));
}

/** A name stands for addresses of both families; one of the cluster's primary family stands for all of them. */
function fqdnIdentities(
  fqdns: ReadonlyMap<string, FqdnSelector>,
  families: readonly Family[],
): readonly FqdnIdentity[] {
  const numbers = spread(fqdns.keys(), LOCAL_SCOPE + 1 + 2 ** 20, 2 ** 20);
  const block = FQDN_ADDRESSES[families[0] ?? 'IPv4'];
  const offsets = spread(fqdns.keys(), 1, 2 ** 20);
  return [...fqdns]
    .sort(([a], [b]) => compare(a, b))
    .map(([name, fqdn]) => ({ number: numbers.get(name)!, fqdn, address: plus(block.address, offsets.get(name)!) }));
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
export function selectEndpoints(identities: Identities, selector: EndpointSelector): readonly number[] {
  const ofPods = identities.selected.numbersOf(selector);
  const { reserved, worlds } = reservedSelected(selector);
  if (reserved.length + worlds.length === 0) return ofPods;
  const numbers = [...ofPods, ...reserved];
  for (const family of worlds) {
    const world = identities.world[family];
    if (world === undefined) continue;
    const prefixes = identities.prefixes.filter(({ prefix }) => familyOf(prefix.address) === family);
    numbers.push(world, ...prefixes.map(({ number }) => number), ...namesIn(identities, family));
  }
  return numbers;
}

/** Whether no endpoint but pods can be among those that a selector matches. */
export function selectsPodsAlone(selector: EndpointSelector): boolean {
  const { reserved, worlds } = reservedSelected(selector);
  return reserved.length + worlds.length === 0;
}

const reservedSelected = keptFor((selector: EndpointSelector) => ({
  reserved: RESERVED.filter(([, labelled]) => selects(selector, labelled)).map(([number]) => number),
  worlds: FAMILIES.filter((family) => selects(selector, WORLDS[family])),
}));

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
