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
import { Numbers } from '../hash.js';
import type { Located, Place } from '../manifests/place.js';
import type { CompiledPolicies } from '../policy/compile.js';
import type { Identities } from '../policy/identities.js';
import type { Grant, PolicymapEntry } from '../policy/mapstate.js';
import { PROTOCOL_NUMBERS } from '../policy/networkpolicy.js';
import { isKubeProxy, type Settings } from '../settings.js';
import { encode } from '../wasm.js';
import { configEntry, ipMasqEntries } from './config.js';
import { ipcacheEntries, nodeEntries, podEntries, unlistedEntries } from './endpoints.js';
import type { MaglevEntry, MapEntry } from './entry.js';
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

export interface Desired {
  readonly entries: readonly MapEntry[];
  readonly maglev: readonly MaglevEntry[];
  readonly frontends: readonly Frontend[];
  /** Number of each pod's endpoint in the datapath. */
  readonly endpointIds: ReadonlyMap<ClusterPod, number>;
  readonly backendsById: ReadonlyMap<number, ClusterBackend>;
  readonly frontendsByIndex: ReadonlyMap<number, Frontend>;
}

/** Cilium's text of a backend, as its Maglev hashes it. `pkg/maglev`, `setHashString`. */
const maglevName = (address: Address, port: number, protocol: string): string =>
  `[${formatEndpoint(address, port)}/${protocol},State:active]`;

/** Ids of frontends, backends and endpoints stay while those do. */
export class Desirer {
  private readonly revNatNumbers = new Numbers();
  private readonly backendNumbers = new Numbers();
  private readonly endpointNumbers = new Numbers();

  /** Everything the maps must hold for a cluster. */
  desire(cluster: Cluster, identities: Identities, policies: CompiledPolicies, settings: Settings): Desired {
    const pods = cluster.pods.filter((pod) => !pod.hostNetwork);
    const nameOf = (pod: ClusterPod): string => `${pod.namespace}/${pod.name} of ${pod.workload.ref}`;
    const numbers = this.endpointNumbers.assign(pods.map(nameOf));
    const endpointIds = new Map(pods.map((pod) => [pod, numbers.get(nameOf(pod))!]));
    const frontends = this.frontends(cluster, settings);
    const annotated = isAnnotated(frontends, settings);
    const entries: MapEntry[] = [];
    const maglev: MaglevEntry[] = [];
    const backendsById = new Map<number, ClusterBackend>();
    for (const frontend of frontends) {
      entries.push(...frontendEntries(frontend, settings, annotated));
      const table = maglevEntry(frontend);
      if (table && algorithmOf(frontend, settings) === 'maglev') maglev.push(table);
      for (const { id, backend } of [...frontend.backends, ...frontend.draining]) {
        if (!backendsById.has(id)) entries.push(backendEntry(id, backend, frontend.protocol));
        backendsById.set(id, backend);
      }
    }
    entries.push(configEntry(settings, annotated), ...ipMasqEntries(settings));
    for (const entry of wildcardEntries(frontends, settings)) entries.push(entry);
    for (const entry of unlistedEntries(cluster, frontends, settings)) entries.push(entry);
    for (const entry of nodeEntries(cluster, policies)) entries.push(entry);
    for (const pod of pods) entries.push(...podEntries(pod, endpointIds.get(pod)!, identities, policies, settings));
    for (const entry of ipcacheEntries(cluster, identities)) entries.push(entry);
    for (const entry of policyEntries(policies)) entries.push(entry);
    return {
      entries,
      maglev,
      frontends,
      endpointIds,
      backendsById,
      frontendsByIndex: new Map(frontends.map((frontend) => [frontend.revNatIndex, frontend])),
    };
  }

  private frontends(cluster: Cluster, settings: Settings): Frontend[] {
    const wanted = [
      ...cluster.services.flatMap((service) =>
        service.ports.flatMap((port) => listening(cluster, service, port, settings)),
      ),
      ...hostPorts(cluster),
    ].flatMap((one) => [one, ...scopesOf(cluster, one, settings)]);
    const nameOf = ({ address, number, port, scope, node }: Listening): string =>
      `${formatEndpoint(address, number)}/${port.source.protocol}${node === 0 ? '' : ` ${scope} ${node}`}`;
    const backendName = ({ port }: Listening, backend: ClusterBackend): string =>
      `${formatEndpoint(backend.address, backend.port)}/${port.source.protocol}`;
    const indexes = this.revNatNumbers.assign(wanted.map(nameOf));
    const ids = this.backendNumbers.assign(
      wanted.flatMap((one) => one.endpoints.map((backend) => backendName(one, backend))),
    );
    return wanted.map((one) => {
      const taking = new Set(one.backends);
      const numbered = (backend: ClusterBackend): Frontend['backends'][number] => ({
        id: ids.get(backendName(one, backend))!,
        backend,
      });
      return {
        ...one,
        protocol: PROTOCOL_NUMBERS[one.port.source.protocol],
        revNatIndex: indexes.get(nameOf(one))!,
        backends: one.backends.map(numbered),
        draining: one.endpoints.filter((backend) => !taking.has(backend)).map(numbered),
      };
    });
  }
}

/** A frontend before it has its numbers. */
export type Listening = Omit<Frontend, 'protocol' | 'revNatIndex' | 'backends' | 'draining'> & {
  readonly backends: readonly ClusterBackend[];
};

/**
 * Every address at which one port of a Service listens, each with the endpoints of its family. Service v1: type, externalIPs,
 * status; `service.cilium.io/type`.
 */
function listening(
  cluster: Cluster,
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
      for (const address of [UNSPECIFIED[family], ...nodePortAddresses(cluster, family, settings)])
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
function nodePortAddresses({ nodes }: Cluster, family: Family, settings: Settings): Address[] {
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
  const slot = (backendSlot: number, value: Partial<LbService>, from: readonly Place[]): MapEntry => ({
    map: family.map(MapId.LB4_SERVICES),
    key: encode(family.LbKey, { address, dport: number, backendSlot, proto: protocol, scope, node }),
    value: encode(LbService, { revNatIndex, ...flags, ...value }),
    origin: from,
  });
  const entries = [
    slot(0, { backendId: (algorithm << 24) | (affinitySeconds ?? 0), count: backends.length }, origin),
    ...backends.map(({ id, backend }, i) => slot(i + 1, { backendId: id }, [backend.source, ...origin])),
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
function wildcardEntries(frontends: readonly Frontend[], settings: Settings): MapEntry[] {
  const whole = frontends.filter(({ type }) =>
    isKubeProxy(settings) ? type === 'ClusterIP' : type !== 'NodePort' && type !== 'HostPort',
  );
  const byAddress = new Map(whole.map((frontend) => [frontend.address, frontend]));
  return [...byAddress].map(([address, { service, type }]) => ({
    ...wildcardEntry(address, typeFlags(type, settings)),
    origin: service ? [service.source.at] : [],
  }));
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
    key: encode(PolicyKey, {
      prefixLength: length,
      policyId,
      secLabel: identity,
      egress: egress ? 1 : 0,
      protocol,
      dport: port,
    }),
    value: encode(PolicyEntry, { deny: deny ? 1 : 0, proxyPort, proxyPortPriority, authType }),
    origin: placesOf(grants),
    grants,
  };
};

const policyEntries = ({ policies }: CompiledPolicies): MapEntry[] =>
  policies.flatMap(({ id, entries }) => entries.map((entry) => policymapEntry(id, entry)));
