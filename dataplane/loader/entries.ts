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
import {
  contains,
  familyOf,
  formatEndpoint,
  parseAddress,
  parsePrefix,
  prefixOf,
  UNSPECIFIED,
  type Address,
  type Family,
  type Prefix,
} from '../addresses.js';
import { addressIn, allAddresses, serving } from '../cluster/cluster.js';
import type { Cluster, ClusterBackend, ClusterPod, ClusterService, ClusterServicePort } from '../cluster/cluster.js';
import { Numbers, UsedNumbers } from '../hash.js';
import { kept, keptFor, steady } from '../kept.js';
import type { Located, Place } from '../manifests/place.js';
import type { CompiledPolicies, CompiledPolicy } from '../policy/compile.js';
import type { Identities } from '../policy/identities.js';
import type { Grant, PolicymapEntry } from '../policy/mapstate.js';
import { PROTOCOL_NUMBERS } from '../policy/networkpolicy.js';
import { isKubeProxy, type Settings } from '../settings.js';
import { encode, packed } from '../wasm.js';
import { configEntry, ipMasqEntries } from './config.js';
import { ipcacheEntries, nodeEntries, podEntries, unlistedEntries } from './endpoints.js';
import type { Block, MaglevEntry, MapEntry } from './entry.js';
import { mapsOf } from './families.js';
import { hostPorts } from './host-ports.js';
import { keeping, scopesOf } from './scopes.js';

/** What makes a Service listen somewhere. Cilium `loadbalancer.SVCType`. */
export type FrontendType = 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalIP' | 'HostPort';

/** Where a Service, or a pod with a hostPort, listens: a frontend of Cilium's. */
export interface Frontend {
  readonly type: FrontendType;
  /** null for a hostPort, which is its pod's alone: its only endpoint. */
  readonly service: ClusterService | null;
  readonly port: ClusterServicePort;
  readonly address: Address;
  /** The port that clients ask for: the Service's, or the node port. */
  readonly number: number;
  readonly protocol: number;
  readonly revNatIndex: number;
  /** An `LbScope` and the number of a node, where the entry is for the clients of that node; else both 0. */
  readonly scope: LbScope;
  readonly node: number;
  /** Those of its port's endpoints that have an address of its family. */
  readonly endpoints: readonly ClusterBackend[];
  readonly backends: readonly { readonly id: number; readonly backend: ClusterBackend }[];
  /** Those that get no new connection here: what is established with them may finish. */
  readonly draining: Frontend['backends'];
}

/** Backends by their numbers. */
export interface Backends extends Iterable<readonly [number, ClusterBackend]> {
  get(id: number): ClusterBackend | undefined;
}

export interface Desired {
  /** All entries, in an order in which the last of a key counts: of each kind a list, which is the very same while it holds the same. */
  readonly sections: readonly (readonly Block[])[];
  /** The same in one list. */
  readonly entries: readonly MapEntry[];
  readonly maglev: readonly MaglevEntry[];
  readonly frontends: readonly Frontend[];
  /** Number of each pod's endpoint in the datapath. */
  readonly endpointIds: ReadonlyMap<ClusterPod, number>;
  readonly backendsById: Backends;
  readonly frontendsByIndex: ReadonlyMap<number, Frontend>;
}

/** Cilium's text of a backend, as its Maglev hashes it. `pkg/maglev`, `setHashString`. */
const maglevName = (address: Address, port: number, protocol: string): string =>
  `[${formatEndpoint(address, port)}/${protocol},State:active]`;

/** Ids of frontends, backends and endpoints stay while those do; and what an edit leaves as it was stays the very same. */
export class Desirer {
  private readonly endpointNumbers = new Numbers();
  private readonly endpointIds = kept((pods: Cluster['pods']) => this.numbered(pods));
  private readonly frontends = new Frontends();
  private readonly ofFrontend = keptFor(blocksOf);
  private readonly tables = steady((tables: readonly MaglevEntry[]) => tables);
  private readonly frontendBlocks = steady((blocks: readonly Block[]) => blocks);
  private readonly byIndex = kept(
    (frontends: readonly Frontend[]) => new Map(frontends.map((frontend) => [frontend.revNatIndex, frontend])),
  );
  private readonly backends = new BackendList();
  private readonly config = kept((settings: Settings, annotated: boolean) => [
    [configEntry(settings, annotated), ...ipMasqEntries(settings)],
  ]);
  private readonly wildcards = kept(wildcardBlocks);
  private readonly unlisted = kept(
    (nodes: Cluster['nodes'], frontends: readonly Frontend[], settings: Settings): readonly Block[] => [
      unlistedEntries({ nodes }, frontends, settings),
    ],
  );
  private readonly nodes = kept((...inputs: Parameters<typeof nodeEntries>): readonly Block[] => [
    nodeEntries(...inputs),
  ]);
  private readonly ofPod = keptFor(podEntries);
  private readonly podBlocks = kept(
    (
      ids: ReadonlyMap<ClusterPod, number>,
      { ofPod, pods }: Identities,
      policyIds: readonly number[],
      settings: Settings,
    ) => {
      const policyOf = new Map(pods.map((identity, i) => [identity, policyIds[i]!]));
      return [...ids].map(([pod, id]) => {
        const identity = ofPod.get(pod)!;
        return this.ofPod(pod, id, identity.number, policyOf.get(identity)!, settings);
      });
    },
  );
  private readonly ipcache = kept(
    (
      pods: Cluster['pods'],
      nodes: Cluster['nodes'],
      world: Identities['world'],
      prefixes: Identities['prefixes'],
      fqdns: Identities['fqdns'],
    ): readonly Block[] => [ipcacheEntries({ pods, nodes }, { world, prefixes, fqdns })],
  );
  private readonly policyBlocks = steady((blocks: readonly Block[]) => blocks);

  /** Everything the maps must hold for a cluster. */
  desire(cluster: Cluster, identities: Identities, policies: CompiledPolicies, settings: Settings): Desired {
    const { pods, nodes } = cluster;
    const endpointIds = this.endpointIds(pods);
    const frontends = this.frontends.of(cluster, settings);
    const annotated = isAnnotated(frontends, settings);
    const ofFrontends = frontends.map((frontend) => this.ofFrontend(frontend, settings, annotated));
    const backends = this.backends.of(frontends);
    const { world, prefixes, fqdns } = identities;
    const sections = [
      this.frontendBlocks(ofFrontends.map(({ entries }) => entries)),
      backends.blocks,
      this.config(settings, annotated),
      this.wildcards(frontends, settings),
      this.unlisted(nodes, frontends, settings),
      this.nodes(nodes, policies.ofNode),
      this.podBlocks(
        endpointIds,
        identities,
        identities.pods.map((identity) => policies.ofIdentity.get(identity)!.id),
        settings,
      ),
      this.ipcache(pods, nodes, world, prefixes, fqdns),
      this.policyBlocks(policies.policies.map((policy) => policyEntries(policy))),
    ];
    return {
      sections,
      get entries() {
        return sections.flat(2);
      },
      maglev: this.tables(ofFrontends.flatMap(({ maglev }) => maglev ?? [])),
      frontends,
      endpointIds,
      backendsById: backends,
      frontendsByIndex: this.byIndex(frontends),
    };
  }

  private numbered(pods: Cluster['pods']): ReadonlyMap<ClusterPod, number> {
    const own = pods.filter((pod) => !pod.hostNetwork);
    const names = own.map((pod) => `${pod.namespace}/${pod.name} of ${pod.workload.ref}`);
    const numbers = this.endpointNumbers.assign(names);
    return new Map(own.map((pod, i) => [pod, numbers.get(names[i]!)!]));
  }
}

/** The frontends of Services and of pods with hostPorts; those of a Service stay the very same while it does. */
class Frontends {
  private readonly revNatNumbers = new UsedNumbers();
  private readonly backendNumbers = new UsedNumbers();
  private readonly ofService = keptFor(
    (service: ClusterService, nodes: Cluster['nodes'], settings: Settings): readonly Listening[] =>
      service.ports
        .flatMap((port) => listening(nodes, service, port, settings))
        .flatMap((one) => [one, ...scopesOf(nodes, one, settings)]),
  );
  private readonly ofHosts = kept((pods: Cluster['pods'], nodes: Cluster['nodes'], settings: Settings) =>
    hostPorts(pods).flatMap((one) => [one, ...scopesOf(nodes, one, settings)]),
  );
  /** What listens, group by group, and the frontends that were made of that. */
  private groups = new Map<readonly Listening[], readonly Frontend[]>();
  private readonly listed = steady((frontends: readonly Frontend[]) => frontends);

  of({ services, pods, nodes }: Cluster, settings: Settings): readonly Frontend[] {
    const before = this.groups;
    const wanted = new Set([
      ...services.map((service) => this.ofService(service, nodes, settings)),
      this.ofHosts(pods, nodes, settings),
    ]);
    const gone = [...before.keys()].filter((group) => !wanted.has(group)).flat();
    const come = [...wanted].filter((group) => !before.has(group)).flat();
    this.revNatNumbers.change(gone.map(frontendName), come.map(frontendName));
    this.backendNumbers.change(gone.flatMap(backendNames), come.flatMap(backendNames));
    this.groups = new Map(
      [...wanted].map((group) => [group, before.get(group) ?? group.map((one) => this.numbered(one))]),
    );
    return this.listed([...this.groups.values()].flat());
  }

  private numbered(one: Listening): Frontend {
    const numbers = backendNames(one).map((name) => this.backendNumbers.get(name)!);
    const taking = new Set(one.backends);
    const ids = new Map(one.endpoints.map((backend, i) => [backend, numbers[i]!]));
    const numbered = (backend: ClusterBackend): Frontend['backends'][number] => ({ id: ids.get(backend)!, backend });
    return {
      ...one,
      protocol: PROTOCOL_NUMBERS[one.port.source.protocol],
      revNatIndex: this.revNatNumbers.get(frontendName(one))!,
      backends: one.backends.map(numbered),
      draining: one.endpoints.filter((backend) => !taking.has(backend)).map(numbered),
    };
  }
}

const frontendName = ({ address, number, port, scope, node }: Listening): string =>
  `${formatEndpoint(address, number)}/${port.source.protocol}${node === 0 ? '' : ` ${scope} ${node}`}`;

const backendNames = ({ port, endpoints }: Listening): string[] =>
  endpoints.map((backend) => `${formatEndpoint(backend.address, backend.port)}/${port.source.protocol}`);

/** What the maps hold for one frontend, but for its backends, which others may have too. */
function blocksOf(
  frontend: Frontend,
  settings: Settings,
  annotated: boolean,
): { readonly entries: Block; readonly maglev: MaglevEntry | null } {
  return {
    entries: frontendEntries(frontend, settings, annotated),
    maglev: algorithmOf(frontend, settings) === 'maglev' ? maglevEntry(frontend) : null,
  };
}

/** The backends of all frontends, by number. One that several have is in the map as the first has it, and is told of as the last. */
class BackendList {
  private known: { readonly frontend: Frontend; readonly block: Block }[] = [];
  private readonly listed = steady((blocks: readonly Block[]) => blocks);
  readonly of = kept((frontends: readonly Frontend[]) => this.list(frontends));

  private list(frontends: readonly Frontend[]): Backends & { readonly blocks: readonly Block[] } {
    const first: Frontend[] = [];
    const last: Frontend[] = [];
    for (const frontend of frontends)
      for (const id of idsOf(frontend)) {
        first[id] ??= frontend;
        last[id] = frontend;
      }
    const before = this.known;
    this.known = [];
    first.forEach((frontend, id) => {
      const known = before[id];
      this.known[id] =
        known?.frontend === frontend
          ? known
          : { frontend, block: [backendEntry(id, backendIn(frontend, id), frontend.protocol)] };
    });
    return {
      blocks: this.listed(this.known.flatMap(({ block }) => [block])),
      get: (id) => last[id] && backendIn(last[id], id),
      *[Symbol.iterator]() {
        for (const [id, frontend] of last.entries()) if (frontend) yield [id, backendIn(frontend, id)] as const;
      },
    };
  }
}

const idsOf = keptFor(({ backends, draining }: Frontend) =>
  Uint32Array.from([...backends, ...draining], ({ id }) => id),
);

const backendIn = ({ backends, draining }: Frontend, wanted: number): ClusterBackend =>
  (backends.find(({ id }) => id === wanted) ?? draining.find(({ id }) => id === wanted))!.backend;

/** A frontend before it has its numbers. */
export type Listening = Omit<Frontend, 'protocol' | 'revNatIndex' | 'backends' | 'draining'> & {
  readonly backends: readonly ClusterBackend[];
};

/**
 * Every address at which one port of a Service listens, each with the endpoints of its family. Service v1: type, externalIPs,
 * status; `service.cilium.io/type`.
 */
function listening(
  nodes: Cluster['nodes'],
  service: ClusterService,
  port: ClusterServicePort,
  settings: Settings,
): Listening[] {
  const { source, clusterIPs } = service;
  if (clusterIPs.length === 0) return [];
  const found = new Map<string, Listening>();
  const only = isKubeProxy(settings) ? null : source.cilium.type;
  const add = (type: FrontendType, address: Address | null, number = port.source.port.value): void => {
    if (address === null || (only !== null && only !== type) || found.has(formatEndpoint(address, number))) return;
    const endpoints = port.endpoints.filter((backend) => familyOf(backend.address) === familyOf(address));
    const whole = { scope: LbScope.EXTERNAL, node: 0, endpoints, backends: serving(endpoints) };
    found.set(formatEndpoint(address, number), { ...whole, type, service, port, address, number });
  };
  for (const address of clusterIPs) add('ClusterIP', address);
  const nodePort = source.type === 'ClusterIP' ? null : port.source.nodePort;
  // Cilium keeps the node port once for no address and once for each node's.
  if (nodePort)
    for (const family of clusterIPs.map(familyOf))
      for (const address of [UNSPECIFIED[family], ...nodePortAddresses(nodes, family, settings)])
        add('NodePort', address, nodePort.value);
  const given =
    source.ingressIPs.length > 0
      ? source.ingressIPs.filter(({ ipMode }) => ipMode !== 'Proxy').map(({ ip }) => ip)
      : source.loadBalancerIP
        ? [source.loadBalancerIP]
        : [];
  if (source.type === 'LoadBalancer') for (const ip of given) add('LoadBalancer', parseAddress(ip.value));
  for (const ip of source.externalIPs) add('ExternalIP', parseAddress(ip.value));
  return [...found.values()];
}

/**
 * The addresses of nodes on which node ports of a family are open. Where only prefixes of the other one are set, Cilium opens
 * none, and kube-proxy takes this family as if nothing were set.
 */
function nodePortAddresses(nodes: Cluster['nodes'], family: Family, settings: Settings): Address[] {
  const prefixes = settings.nodePortAddresses.flatMap((text) => parsePrefix(text) ?? []);
  const all = nodes.flatMap(allAddresses).filter((address) => familyOf(address) === family);
  const isSet = isKubeProxy(settings) ? prefixes.some((one) => familyOf(one.address) === family) : prefixes.length > 0;
  if (isSet) return all.filter((address) => prefixes.some((prefix) => contains(prefix, address)));
  return settings.engine === 'kube-proxy-iptables' ? all : nodes.flatMap((node) => addressIn(node, family) ?? []);
}

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

/** Whether some Service says how its packets are forwarded: then each does, as Cilium has it (`bpf-lb-mode-annotation`). */
const isAnnotated = (frontends: readonly Frontend[], settings: Settings): boolean =>
  !isKubeProxy(settings) && frontends.some(({ service }) => (service?.source.cilium.forwardingMode ?? null) !== null);

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
  const origin = [port.source.at];
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
    ...backends.map(({ id, backend }, i) => slot(i + 1, id, 0, [backend.source, ...origin])),
    ...(affinitySeconds === null ? [] : backends).map(({ id, backend }) => ({
      map: MapId.AFFINITY_MATCH,
      key: encode(LbAffinityMatch, { backendId: id, revNatIndex }),
      value: encode(LbAffinityMatched, { present: 1 }),
      origin: [backend.source, ...origin],
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
function wildcardBlocks(frontends: readonly Frontend[], settings: Settings): readonly Block[] {
  const byAddress = new Map<Address, Frontend>();
  for (const frontend of frontends) {
    const { type, address } = frontend;
    const isWhole = isKubeProxy(settings) ? type === 'ClusterIP' : type !== 'NodePort' && type !== 'HostPort';
    if (isWhole) byAddress.set(address, frontend);
  }
  return [...byAddress.values()].map((frontend) => wildcardBlock(frontend, settings));
}

const wildcardBlock = keptFor(({ address, service, type }: Frontend, settings: Settings): Block => [
  { ...wildcardEntry(address, typeFlags(type, settings)), origin: service ? [service.source.at] : [] },
]);

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
    value: encode(mapsOf(address).LbBackend, { address, port, proto, state: stateOf(backend), weight }),
    origin: [source],
  };
}

function maglevEntry({ service, port, address, revNatIndex, protocol, backends }: Frontend): MaglevEntry | null {
  if (backends.length === 0) return null;
  const name = protocol === PROTOCOL_NUMBERS.UDP ? 'UDP' : protocol === PROTOCOL_NUMBERS.SCTP ? 'SCTP' : 'TCP';
  const named = backends.map(({ id, backend }) => ({
    backendId: id,
    weight: backend.weight,
    name: maglevName(backend.address, backend.port, name),
  }));
  return {
    map: mapsOf(address).map(MapId.LB4_MAGLEV),
    revNatIndex,
    backends: named.sort((a, b) => (a.name < b.name ? -1 : 1)),
    origin: [service?.source.at ?? port.source.at],
  };
}

/** A rule may let the same traffic in several ways. */
function placesOf(grants: readonly Grant[]): readonly Place[] {
  const places = grants.map(({ origin }) => origin.at);
  return places.length > 1 ? [...new Set(places)] : places;
}

/** An entry of the policymap of a policy, as its map has it. */
export const policymapEntry = (policyId: number, entry: PolicymapEntry): MapEntry => {
  const { identity, egress, protocol, port, length, deny, proxyPort, proxyPortPriority, authType, grants } = entry;
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
    value: packed(PolicyEntry, (value) => {
      value.deny = deny ? 1 : 0;
      value.proxyPort = proxyPort;
      value.proxyPortPriority = proxyPortPriority;
      value.authType = authType;
    }),
    origin: placesOf(grants),
    grants,
  };
};

const policyEntries = keptFor(({ id, entries }: CompiledPolicy): Block =>
  entries.map((entry) => policymapEntry(id, entry)),
);
