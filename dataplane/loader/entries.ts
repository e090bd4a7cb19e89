/** From the cluster and its policies to what the datapath's maps must hold. */
import { BackendState, LbAlgorithm, LbScope, MapId, SvcFlag, SvcFlag2 } from '../../assembly/abi.js';
import {
  LbAffinityMatch,
  LbAffinityMatched,
  LbBackendKey,
  LbReverseNatKey,
  LbService,
  LbSourceRange,
  PolicyEntry,
  PolicyKey,
} from '../../pkg/structs.js';
import { familyOf, formatEndpoint, parsePrefix, prefixOf, type Address, type Prefix } from '../addresses.js';
import type { Cluster, ClusterBackend } from '../cluster/cluster.js';
import { indexed, type Index } from '../indexed.js';
import { difference, joined, kept, keptEach, keptFor, steady } from '../kept.js';
import type { Located, Place } from '../manifests/place.js';
import type { CompiledPolicies, CompiledPolicy } from '../policy/compile.js';
import type { Identities, PodIdentity } from '../policy/identities.js';
import type { Grant, PolicymapEntry } from '../policy/mapstate.js';
import { PROTOCOL_NUMBERS } from '../policy/networkpolicy.js';
import { isKubeProxy, type Settings } from '../settings.js';
import { encode, packed, type Bytes } from '../wasm.js';
import { configEntry, ipMasqEntries } from './config.js';
import { ipcacheEntries, isOneOf, nodeEntries, podEntries, unlistedBackends, unlistedEntries } from './endpoints.js';
import { eachEntry, type Block, type MaglevEntry, type MapEntry } from './entry.js';
import { Endpoints, type EndpointIds } from './endpoint-ids.js';
import { mapsOf } from './families.js';
import { Frontends, type Frontend, type FrontendType } from './frontends.js';
import { keeping } from './scopes.js';

/** Backends by their numbers. */
export interface Backends extends Iterable<readonly [number, ClusterBackend]> {
  get(id: number): ClusterBackend | undefined;
}

export interface Desired {
  /** All entries, in an order in which the last of a key counts: of each kind a list, which is the very same while it holds the same. */
  readonly sections: Block;
  /** The same in one list. */
  readonly entries: readonly MapEntry[];
  readonly maglev: readonly MaglevEntry[];
  readonly frontends: readonly Frontend[];
  readonly endpointIds: EndpointIds;
  readonly backendsById: Backends;
  readonly frontendsByIndex: Index<number, Frontend>;
}

/** Cilium's text of a backend, as its Maglev hashes it. `pkg/maglev`, `setHashString`. */
const maglevName = (address: Address, port: number, protocol: string): string =>
  `[${formatEndpoint(address, port)}/${protocol},State:active]`;

/** Ids of frontends, backends and endpoints stay while those do; and what an edit leaves as it was stays the very same. */
export class Desirer {
  private readonly endpoints = new Endpoints();
  private readonly frontends = new Frontends();
  private readonly ofFrontends = keptEach(frontendEntries);
  private readonly maglev = keptEach((frontend: Frontend, settings: Settings) =>
    algorithmOf(frontend, settings) === 'maglev' ? maglevEntry(frontend) : null,
  );
  private readonly tables = kept((maglev: readonly (MaglevEntry | null)[]) => maglev.filter((one) => one !== null));
  private readonly byIndex = indexed(({ revNatIndex }: Frontend) => [revNatIndex]);
  private readonly annotated = keptEach(isAnnotated);
  private readonly backends = new BackendList();
  private readonly config = kept((settings: Settings, annotated: boolean) => [
    [configEntry(settings, annotated), ...ipMasqEntries(settings)],
  ]);
  private readonly wildcard = keptEach(wildcardOf);
  private readonly wildcards = kept((wildcards: readonly (Wildcard | null)[]): Block => [
    ...new Map(wildcards.flatMap((one) => (one ? [[one.address, one.block]] : []))).values(),
  ]);
  private readonly unlistedOf = keptEach(unlistedBackends);
  private readonly unlisted = kept((backends: readonly ClusterBackend[]): Block => [unlistedEntries(backends)]);
  private readonly nodes = kept((...inputs: Parameters<typeof nodeEntries>): Block => [nodeEntries(...inputs)]);
  private readonly ofPod = keptFor(podEntries);
  private readonly ofIdentity = keptFor(({ pods, number }: PodIdentity, policyId: number, settings: Settings): Block =>
    pods.map((pod) => this.ofPod(pod, this.endpoints.idOf(pod), number, policyId, settings)),
  );
  private readonly ofPods = steady((blocks: Block) => blocks);
  private readonly ipcache = kept((...inputs: Parameters<typeof ipcacheEntries>): Block => [ipcacheEntries(...inputs)]);
  private readonly policyBlocks = steady((blocks: Block) => blocks);

  /** Everything the maps must hold for a cluster. */
  desire(cluster: Cluster, identities: Identities, policies: CompiledPolicies, settings: Settings): Desired {
    const { pods, podsByAddress, nodes } = cluster;
    const endpointIds = this.endpoints.of(pods);
    const frontends = this.frontends.of(cluster.services, pods, nodes, settings);
    const annotated = this.annotated(frontends, settings).includes(true);
    const backends = this.backends.of(frontends);
    const { world, prefixes, fqdns } = identities;
    // A pod's own address stays the pod's, also where a policy names it.
    const others = prefixes.filter(({ prefix }) => !isOneOf(podsByAddress, prefix));
    const sections = [
      this.ofFrontends(frontends, settings, annotated),
      backends.blocks,
      this.config(settings, annotated),
      this.wildcards(this.wildcard(frontends, settings)),
      this.unlisted(joined(this.unlistedOf(frontends, nodes, settings))),
      this.nodes(nodes, policies.ofNode),
      this.ofPods(
        identities.pods.map((identity) => this.ofIdentity(identity, policies.ofIdentity.get(identity)!.id, settings)),
      ),
      this.ipcache(nodes, world, others, fqdns),
      this.policyBlocks(policies.policies.map((policy) => policyEntries(policy))),
    ];
    return {
      sections,
      get entries() {
        const all: MapEntry[] = [];
        eachEntry(sections, (entry) => all.push(entry));
        return all;
      },
      maglev: this.tables(this.maglev(frontends, settings)),
      frontends,
      endpointIds,
      backendsById: backends,
      frontendsByIndex: this.byIndex(frontends),
    };
  }
}

const NO_ENTRIES: Block = [];

/** Backends whose numbers follow each other are in one list, so that an edit makes few lists anew. */
const PAGE = 256;
const EMPTY_PAGE: Block = Array.from({ length: PAGE }, () => NO_ENTRIES);

/** The backends of all frontends, by number. One that several have is in the map as the first has it, and is told of as the last. */
class BackendList {
  private frontends: readonly Frontend[] = [];
  private readonly using = indexed(idsOf);
  /** By number: the first frontend of each backend, and its entry. */
  private readonly first: (Frontend | undefined)[] = [];
  private pages: readonly Block[] = [];
  readonly of = kept((frontends: readonly Frontend[]) => this.list(frontends));

  private list(frontends: readonly Frontend[]): Backends & { readonly blocks: Block } {
    const using = this.using(frontends);
    const { gone, come } = difference(this.frontends, frontends);
    this.frontends = frontends;
    const pages = [...this.pages];
    const written = new Set<number>();
    const write = (id: number, entry: Block[number]): void => {
      const page = Math.floor(id / PAGE);
      while (pages.length <= page) pages.push(EMPTY_PAGE);
      if (!written.has(page)) pages[page] = [...pages[page]!];
      written.add(page);
      (pages[page] as Block[number][])[id % PAGE] = entry;
    };
    const touched = new Set<number>();
    for (const frontend of [...gone, ...come]) for (const id of idsOf(frontend)) touched.add(id);
    for (const id of touched) {
      const [frontend] = using.all(id);
      if (frontend && frontend === this.first[id]) continue;
      this.first[id] = frontend;
      write(id, frontend ? backendEntry(id, backendIn(frontend, id), frontend.protocol) : NO_ENTRIES);
    }
    this.pages = pages;
    const get = (id: number): ClusterBackend | undefined => {
      const last = using.get(id);
      return last && backendIn(last, id);
    };
    return {
      blocks: pages,
      get,
      *[Symbol.iterator]() {
        for (let id = 0; id < pages.length * PAGE; id++) {
          const backend = get(id);
          if (backend) yield [id, backend] as const;
        }
      },
    };
  }
}

function idsOf({ backends, draining }: Frontend): number[] {
  const ids = backends.map(({ id }) => id);
  return draining.length === 0 ? ids : [...ids, ...draining.map(({ id }) => id)];
}

const backendIn = ({ backends, draining }: Frontend, wanted: number): ClusterBackend =>
  (backends.find(({ id }) => id === wanted) ?? draining.find(({ id }) => id === wanted))!.backend;

/** How the backend of a new flow is picked: kube-proxy draws lots. */
export const algorithmOf = ({ service }: Pick<Frontend, 'service'>, settings: Settings): 'maglev' | 'random' =>
  isKubeProxy(settings) ? 'random' : (service?.source.cilium.algorithm ?? settings['loadBalancer.algorithm']);

const TYPE_FLAGS: Readonly<Record<FrontendType, number>> = {
  ClusterIP: 0,
  NodePort: SvcFlag.NODEPORT | SvcFlag.ROUTABLE,
  LoadBalancer: SvcFlag.LOADBALANCER | SvcFlag.ROUTABLE,
  ExternalIP: SvcFlag.EXTERNAL_IP | SvcFlag.ROUTABLE,
  HostPort: SvcFlag.HOSTPORT | SvcFlag.ROUTABLE,
};

/** kube-proxy translates a ClusterIP for whoever asks for it. */
const typeFlags = (type: FrontendType, settings: Settings): number =>
  TYPE_FLAGS[type] | (isKubeProxy(settings) ? SvcFlag.ROUTABLE : 0);

/** The ranges that say whom a frontend takes, or whom it does not; kube-proxy knows only those of the frontend's family. */
export function sourceRangesOf({ type, service, address }: Frontend, settings: Settings): readonly Located<string>[] {
  const ranges = type === 'LoadBalancer' ? (service?.source.loadBalancerSourceRanges ?? []) : [];
  return isKubeProxy(settings) ? ranges.filter(({ value }) => isFamilyOf(parsePrefix(value.trim()), address)) : ranges;
}

const isFamilyOf = (prefix: Prefix | null, address: Address): boolean =>
  prefix !== null && familyOf(prefix.address) === familyOf(address);

function flagsOf(frontend: Frontend, settings: Settings, annotated: boolean): Pick<LbService, 'flags' | 'flags2'> {
  const source = frontend.service?.source;
  const ranges = sourceRangesOf(frontend, settings).length > 0;
  const denies = !isKubeProxy(settings) && source?.cilium.sourceRangesPolicy === 'deny';
  const flags =
    typeFlags(frontend.type, settings) |
    (source?.affinitySeconds == null ? 0 : SvcFlag.AFFINITY) |
    (ranges ? SvcFlag.SOURCE_RANGE : 0) |
    (keeping(frontend, LbScope.EXTERNAL, settings) === null ? 0 : SvcFlag.EXT_LOCAL_SCOPE);
  const flags2 =
    (keeping(frontend, LbScope.INTERNAL, settings) === null ? 0 : SvcFlag2.INT_LOCAL_SCOPE) |
    (ranges && denies ? SvcFlag2.SOURCE_RANGE_DENY : 0) |
    (annotated && returnsDirectly(frontend, settings) ? SvcFlag2.FWD_MODE_DSR : 0);
  return { flags, flags2 };
}

/** Whether a Service says how its packets are forwarded: where one does, each does, as Cilium has it (`bpf-lb-mode-annotation`). */
const isAnnotated = ({ service }: Frontend, settings: Settings): boolean =>
  !isKubeProxy(settings) && (service?.source.cilium.forwardingMode ?? null) !== null;

/** Whether a Service that says it, or the cluster where it does not, forwards by direct server return. */
function returnsDirectly({ service, type, protocol }: Frontend, settings: Settings): boolean {
  if (type === 'ClusterIP') return false;
  const mode = service?.source.cilium.forwardingMode ?? settings['loadBalancer.mode'];
  return mode === 'dsr' || (mode === 'hybrid' && protocol === PROTOCOL_NUMBERS.TCP);
}

function frontendEntries(frontend: Frontend, settings: Settings, annotated: boolean): MapEntry[] {
  const { service, port, address, number, protocol, revNatIndex, scope, node, backends } = frontend;
  const affinitySeconds = service?.source.affinitySeconds ?? null;
  const algorithm = algorithmOf(frontend, settings) === 'maglev' ? LbAlgorithm.MAGLEV : LbAlgorithm.RANDOM;
  const flags = flagsOf(frontend, settings, annotated);
  const { at } = port.source;
  const origin = [at];
  const family = mapsOf(address);
  const slot = (backendSlot: number, backendId: number, count: number, from: readonly Place[]): MapEntry => ({
    map: family.map(MapId.LB4_SERVICES),
    key: packed(family.LbKey, (key) => {
      key.address = address;
      key.dport = number;
      key.backendSlot = backendSlot;
      key.proto = protocol;
      key.scope = scope;
      key.node = node;
    }),
    value: packed(LbService, (value) => {
      value.backendId = backendId;
      value.count = count;
      value.revNatIndex = revNatIndex;
      value.flags = flags.flags;
      value.flags2 = flags.flags2;
    }),
    origin: from,
  });
  const entries = [
    slot(0, (algorithm << 24) | (affinitySeconds ?? 0), backends.length, origin),
    ...backends.map(({ id, backend }, i) => slot(i + 1, id, 0, [backend.source, at])),
    ...(affinitySeconds === null ? [] : backends).map(({ id, backend }) => ({
      map: MapId.AFFINITY_MATCH,
      key: encode(LbAffinityMatch, { backendId: id, revNatIndex }),
      value: encode(LbAffinityMatched, { present: 1 }),
      origin: [backend.source, at],
    })),
    {
      map: family.map(MapId.LB4_REVERSE_NAT),
      key: encode(LbReverseNatKey, { revNatIndex }),
      value: encode(family.LbReverseNat, { address, port: number }),
      origin,
    },
  ];
  if ((flags.flags & SvcFlag.SOURCE_RANGE) !== 0) entries.push(...sourceRangeEntries(frontend, settings));
  return entries;
}

/** A range that cannot be read is about nobody; that ranges are taken keeps everybody else out. */
function sourceRangeEntries(frontend: Frontend, settings: Settings): MapEntry[] {
  const { address, revNatIndex } = frontend;
  const ranges = sourceRangesOf(frontend, settings).flatMap(({ value, at }) => {
    const prefix = parsePrefix(value.trim());
    return prefix !== null && isFamilyOf(prefix, address) ? [{ prefix, at }] : [];
  });
  // What a node sends to the load balancer comes back with that one's address, and kube-proxy takes it.
  if (isKubeProxy(settings) && ranges[0]) ranges.push({ prefix: prefixOf(address), at: ranges[0].at });
  const { map, LbSourceRangeKey } = mapsOf(address);
  return ranges.map(({ prefix, at }) => ({
    map: map(MapId.LB4_SOURCE_RANGE),
    key: encode(LbSourceRangeKey, { revNatIndex, prefixLength: prefix.length, address: prefix.address }),
    value: encode(LbSourceRange, { present: 1 }),
    origin: [at],
  }));
}

/**
 * Each Service address answers on its other ports too: with no backend. Cilium's wildcard entries; a node has other ports
 * of its own, and kube-proxy knows only ClusterIPs to be nobody else's.
 */
interface Wildcard {
  readonly address: Address;
  readonly block: Block;
}

function wildcardOf({ address, service, type }: Frontend, settings: Settings): Wildcard | null {
  const isWhole = isKubeProxy(settings) ? type === 'ClusterIP' : type !== 'NodePort' && type !== 'HostPort';
  if (!isWhole) return null;
  const origin = service ? [service.source.at] : [];
  return { address, block: [{ ...wildcardEntry(address, typeFlags(type, settings)), origin }] };
}

/** An address with no backend on any port. */
export const wildcardEntry = (address: Address, flags = 0): MapEntry => ({
  map: mapsOf(address).map(MapId.LB4_SERVICES),
  key: encode(mapsOf(address).LbKey, { address }),
  value: encode(LbService, { flags }),
  origin: [],
});

/** Weight 0 is maintenance. Cilium `pkg/annotation`, `service.cilium.io/weight`. */
const stateOf = ({ terminating, weight }: ClusterBackend): BackendState =>
  terminating ? BackendState.TERMINATING : weight === 0 ? BackendState.MAINTENANCE : BackendState.ACTIVE;

function backendEntry(backendId: number, backend: ClusterBackend, proto: number): MapEntry {
  const { address, port, weight, source } = backend;
  return {
    map: mapsOf(address).map(MapId.LB4_BACKENDS),
    key: encode(LbBackendKey, { backendId }),
    value: packed(mapsOf(address).LbBackend, (value) => {
      value.address = address;
      value.port = port;
      value.proto = proto;
      value.state = stateOf(backend);
      value.weight = weight;
    }),
    origin: [source],
  };
}

function maglevEntry({ service, port, address, revNatIndex, protocol, backends }: Frontend): MaglevEntry | null {
  if (backends.length === 0) return null;
  const name = protocol === PROTOCOL_NUMBERS.UDP ? 'UDP' : protocol === PROTOCOL_NUMBERS.SCTP ? 'SCTP' : 'TCP';
  return {
    map: mapsOf(address).map(MapId.LB4_MAGLEV),
    revNatIndex,
    count: backends.length,
    // Not kept: of many Services few tables are built at once.
    get backends() {
      return backends
        .map(({ id, backend }) => ({
          backendId: id,
          weight: backend.weight,
          name: maglevName(backend.address, backend.port, name),
        }))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    origin: [service?.source.at ?? port.source.at],
  };
}

/** A rule may let the same traffic in several ways; what it says is of all its entries the very same. */
const placesOf = keptFor((grants: readonly Grant[]): readonly Place[] => {
  const places = grants.map(({ origin }) => origin.at);
  return places.length > 1 ? [...new Set(places)] : places;
});

/** What most entries hold: they let all that they are about. */
const LETS = encode(PolicyEntry, {});

const policyValue = ({ deny, proxyPort, proxyPortPriority, authType }: PolicymapEntry): Bytes =>
  encode(PolicyEntry, { deny: deny ? 1 : 0, proxyPort, proxyPortPriority, authType });

/** An entry of the policymap of a policy, as its map has it. */
export const policymapEntry = (policyId: number, entry: PolicymapEntry): MapEntry => {
  const { identity, egress, protocol, port, length, deny, proxyPort, authType, grants } = entry;
  return {
    map: MapId.POLICY,
    key: packed(PolicyKey, (key) => {
      key.prefixLength = length;
      key.policyId = policyId;
      key.secLabel = identity;
      key.egress = egress ? 1 : 0;
      key.protocol = protocol;
      key.dport = port;
    }),
    value: deny || proxyPort !== 0 || authType !== 0 ? policyValue(entry) : LETS,
    origin: placesOf(grants),
    grants,
  };
};

/** Of each identity that a policymap names a block. */
const policyEntries = keptFor(({ id, rows }: CompiledPolicy): Block =>
  [...rows.values()].map((row) => rowEntries(row, id)),
);

const rowEntries = keptFor((row: readonly PolicymapEntry[], id: number): Block =>
  row.map((entry) => policymapEntry(id, entry)),
);
