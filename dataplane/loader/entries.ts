/** From the cluster and its policies to what the datapath's maps must hold. */
import { EndpointFlag, LbAlgorithm, LbScope, MapId, ReservedIdentity, SvcFlag, SvcFlag2 } from '../../assembly/abi.js';
import {
  EndpointConfig,
  EndpointInfo,
  EndpointKey,
  IpcacheKey,
  Lb4Backend,
  Lb4BackendKey,
  Lb4Key,
  Lb4ReverseNat,
  Lb4ReverseNatKey,
  Lb4Service,
  Lb4SourceRange,
  Lb4SourceRangeKey,
  NodeConfig,
  NodeKey,
  NodeValue,
  PolicyEntry,
  PolicyKey,
  RemoteEndpointInfo,
} from '../../pkg/structs.js';
import { formatAddress, parseAddress, parsePrefix } from '../addresses.js';
import type { Cluster, ClusterBackend, ClusterPod, ClusterService, ClusterServicePort } from '../cluster/cluster.js';
import { hashOf, Numbers } from '../hash.js';
import type { Place } from '../manifests/place.js';
import type { CompiledPolicies } from '../policy/compile.js';
import type { Identities } from '../policy/identities.js';
import type { Grant } from '../policy/mapstate.js';
import { PROTOCOL_NUMBERS } from '../policy/networkpolicy.js';
import type { Settings } from '../settings.js';
import { encode, type Bytes } from '../wasm.js';

/** One entry that a map must hold, and what in the manifests put it there. */
export interface MapEntry {
  readonly map: MapId;
  readonly key: Bytes;
  readonly value: Bytes;
  readonly origin: readonly Place[];
  /** For policymap entries, what the rules say in full. */
  readonly grants?: readonly Grant[];
}

/** A Maglev table that must be there: its backends in Cilium's order. */
export interface MaglevEntry {
  readonly revNatIndex: number;
  readonly backends: readonly { readonly backendId: number; readonly weight: number; readonly name: string }[];
  readonly origin: readonly Place[];
}

/** What makes a Service listen somewhere. Cilium `loadbalancer.SVCType`. */
export type FrontendType = 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalIP';

/** Where a Service listens: a frontend of Cilium's. */
export interface Frontend {
  readonly type: FrontendType;
  readonly service: ClusterService;
  readonly port: ClusterServicePort;
  readonly address: number;
  /** The port that clients ask for: the Service's, or the node port. */
  readonly number: number;
  readonly protocol: number;
  readonly revNatIndex: number;
  /** An `LbScope` and the number of a node, where the entry is for the clients of that node; else both 0. */
  readonly scope: LbScope;
  readonly node: number;
  readonly backends: readonly { readonly id: number; readonly backend: ClusterBackend }[];
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

/** Hardware addresses that need no manifest: locally administered, from a stable number. Six bytes, first on the wire lowest. */
const macOf = (role: number, number: number): bigint => {
  const bytes = [0x02, role, number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255];
  return bytes.reduce((mac, byte, i) => mac | (BigInt(byte) << BigInt(8 * i)), 0n);
};

/** Cilium's text of a backend, as its Maglev hashes it. `pkg/maglev`, `setHashString`. */
const maglevName = (address: number, port: number, protocol: string): string =>
  `[${formatAddress(address)}:${port}/${protocol},State:active]`;

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
    const frontends = this.frontends(cluster);
    const entries: MapEntry[] = [];
    const maglev: MaglevEntry[] = [];
    const backendsById = new Map<number, ClusterBackend>();
    for (const frontend of frontends) {
      entries.push(...frontendEntries(frontend, settings));
      const table = maglevEntry(frontend);
      if (table && settings['loadBalancer.algorithm'] === 'maglev') maglev.push(table);
      for (const { id, backend } of frontend.backends) {
        if (!backendsById.has(id)) entries.push(backendEntry(id, backend, frontend.protocol));
        backendsById.set(id, backend);
      }
    }
    for (const entry of wildcardEntries(frontends)) entries.push(entry);
    for (const entry of nodeEntries(cluster)) entries.push(entry);
    for (const pod of pods) entries.push(...podEntries(pod, endpointIds.get(pod)!, identities, policies));
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

  private frontends(cluster: Cluster): Frontend[] {
    const wanted = cluster.services.flatMap((service) =>
      service.ports.flatMap((port) => listening(cluster, service, port)),
    );
    const nameOf = ({ address, number, port, scope, node }: Listening): string =>
      `${formatAddress(address)}:${number}/${port.source.protocol}${node === 0 ? '' : ` ${scope} ${node}`}`;
    const backendName = ({ port }: Listening, backend: ClusterBackend): string =>
      `${formatAddress(backend.address)}:${backend.port}/${port.source.protocol}`;
    const indexes = this.revNatNumbers.assign(wanted.map(nameOf));
    const ids = this.backendNumbers.assign(
      wanted.flatMap((one) => one.backends.map((backend) => backendName(one, backend))),
    );
    return wanted.map((one) => ({
      ...one,
      protocol: PROTOCOL_NUMBERS[one.port.source.protocol],
      revNatIndex: indexes.get(nameOf(one))!,
      backends: one.backends.map((backend) => ({ id: ids.get(backendName(one, backend))!, backend })),
    }));
  }
}

type Listening = Omit<Frontend, 'protocol' | 'revNatIndex' | 'backends'> & {
  readonly backends: readonly ClusterBackend[];
};

/** Every address at which one port of a Service listens, and for which clients. Service v1: type, externalIPs, status, policies. */
function listening(cluster: Cluster, service: ClusterService, port: ClusterServicePort): Listening[] {
  const { source, clusterIP } = service;
  const whole = { service, port, scope: LbScope.EXTERNAL, node: 0, backends: port.backends };
  const at = (type: FrontendType, address: number | null, number = port.source.port.value): Listening[] =>
    address === null ? [] : [{ ...whole, type, address, number }];
  const found = at('ClusterIP', clusterIP);
  if (clusterIP === null) return found;
  const nodePort = source.type === 'ClusterIP' ? null : port.source.nodePort;
  // Cilium keeps the node port once for no address and once for each node's.
  if (nodePort)
    for (const address of [0, ...cluster.nodes.map((node) => node.address)])
      found.push(...at('NodePort', address, nodePort.value));
  const given =
    source.ingressIPs.length > 0
      ? source.ingressIPs.filter(({ ipMode }) => ipMode !== 'Proxy').map(({ ip }) => ip)
      : source.loadBalancerIP
        ? [source.loadBalancerIP]
        : [];
  if (source.type === 'LoadBalancer') for (const ip of given) found.push(...at('LoadBalancer', parseAddress(ip.value)));
  for (const ip of source.externalIPs) found.push(...at('ExternalIP', parseAddress(ip.value)));
  return found.flatMap((one) => [one, ...localOf(cluster, one)]);
}

/** What a frontend that keeps clients to their node has for each node: the backends there. */
function localOf(cluster: Cluster, one: Listening): Listening[] {
  const scope = one.type === 'ClusterIP' ? LbScope.INTERNAL : LbScope.EXTERNAL;
  if (!keepsToNode(one)) return [];
  return cluster.nodes.map(({ index }) => ({
    ...one,
    scope,
    node: index,
    backends: one.backends.filter(({ pod }) => pod?.node.index === index),
  }));
}

/** externalTrafficPolicy holds for clients from outside, internalTrafficPolicy for those within. */
const keepsToNode = ({ type, service: { source } }: Pick<Frontend, 'type' | 'service'>): boolean =>
  (type === 'ClusterIP' ? source.internalTrafficPolicy : source.externalTrafficPolicy) === 'Local';

const TYPE_FLAGS: Readonly<Record<FrontendType, number>> = {
  ClusterIP: 0,
  NodePort: SvcFlag.NODEPORT | SvcFlag.ROUTABLE,
  LoadBalancer: SvcFlag.LOADBALANCER | SvcFlag.ROUTABLE,
  ExternalIP: SvcFlag.EXTERNAL_IP | SvcFlag.ROUTABLE,
};

function flagsOf(frontend: Frontend): Pick<Lb4Service, 'flags' | 'flags2'> {
  const { source } = frontend.service;
  const local = keepsToNode(frontend);
  const ranges = frontend.type === 'LoadBalancer' && source.loadBalancerSourceRanges.length > 0;
  const flags =
    TYPE_FLAGS[frontend.type] |
    (source.affinitySeconds === null ? 0 : SvcFlag.AFFINITY) |
    (ranges ? SvcFlag.SOURCE_RANGE : 0) |
    (local && frontend.type !== 'ClusterIP' ? SvcFlag.EXT_LOCAL_SCOPE : 0);
  return { flags, flags2: local && frontend.type === 'ClusterIP' ? SvcFlag2.INT_LOCAL_SCOPE : 0 };
}

function frontendEntries(frontend: Frontend, settings: Settings): MapEntry[] {
  const { service, port, address, number, protocol, revNatIndex, scope, node, backends } = frontend;
  const { affinitySeconds, loadBalancerSourceRanges } = service.source;
  const algorithm = settings['loadBalancer.algorithm'] === 'maglev' ? LbAlgorithm.MAGLEV : LbAlgorithm.RANDOM;
  const flags = flagsOf(frontend);
  const origin = [port.source.at];
  const slot = (backendSlot: number, value: Partial<Lb4Service>, from: readonly Place[]): MapEntry => ({
    map: MapId.LB4_SERVICES,
    key: encode(Lb4Key, { address, dport: number, backendSlot, proto: protocol, scope, node }),
    value: encode(Lb4Service, { revNatIndex, ...flags, ...value }),
    origin: from,
  });
  const entries = [
    slot(0, { backendId: (algorithm << 24) | (affinitySeconds ?? 0), count: backends.length }, origin),
    ...backends.map(({ id, backend }, i) => slot(i + 1, { backendId: id }, [backend.source, ...origin])),
    {
      map: MapId.LB4_REVERSE_NAT,
      key: encode(Lb4ReverseNatKey, { revNatIndex }),
      value: encode(Lb4ReverseNat, { address, port: number }),
      origin,
    },
  ];
  if ((flags.flags & SvcFlag.SOURCE_RANGE) === 0) return entries;
  // A range that cannot be read takes nobody; that there are ranges at all keeps everybody else out.
  for (const range of loadBalancerSourceRanges) {
    const prefix = parsePrefix(range.value);
    if (prefix === null) continue;
    const key = encode(Lb4SourceRangeKey, { revNatIndex, prefixLength: prefix.length, address: prefix.address });
    entries.push({ map: MapId.SOURCE_RANGE, key, value: encode(Lb4SourceRange, { present: 1 }), origin: [range.at] });
  }
  return entries;
}

/** Each Service address answers on its other ports too: with no backend. Cilium's wildcard entries; a node has other ports of its own. */
function wildcardEntries(frontends: readonly Frontend[]): MapEntry[] {
  const byAddress = new Map(
    frontends.filter(({ type }) => type !== 'NodePort').map((frontend) => [frontend.address, frontend]),
  );
  return [...byAddress].map(([address, { service, type }]) => ({
    map: MapId.LB4_SERVICES,
    key: encode(Lb4Key, { address }),
    value: encode(Lb4Service, { flags: TYPE_FLAGS[type] }),
    origin: [service.source.at],
  }));
}

function backendEntry(backendId: number, { address, port, source }: ClusterBackend, proto: number): MapEntry {
  return {
    map: MapId.LB4_BACKENDS,
    key: encode(Lb4BackendKey, { backendId }),
    value: encode(Lb4Backend, { address, port, proto, weight: 1 }),
    origin: [source],
  };
}

function maglevEntry({ service, revNatIndex, protocol, backends }: Frontend): MaglevEntry | null {
  if (backends.length === 0) return null;
  const name = protocol === PROTOCOL_NUMBERS.UDP ? 'UDP' : protocol === PROTOCOL_NUMBERS.SCTP ? 'SCTP' : 'TCP';
  const named = backends.map(({ id, backend }) => ({
    backendId: id,
    weight: 1,
    name: maglevName(backend.address, backend.port, name),
  }));
  return { revNatIndex, backends: named.sort((a, b) => (a.name < b.name ? -1 : 1)), origin: [service.source.at] };
}

function nodeEntries(cluster: Cluster): MapEntry[] {
  return cluster.nodes.flatMap(({ index, address, source }) => {
    const origin = source ? [source] : [];
    return [
      {
        map: MapId.NODE_CONFIG,
        key: word(index),
        value: encode(NodeConfig, { address, mac: macOf(1, index) }),
        origin,
      },
      { map: MapId.NODES, key: encode(NodeKey, { address }), value: encode(NodeValue, { node: index }), origin },
      {
        map: MapId.LXC,
        key: encode(EndpointKey, { address, node: index }),
        value: encode(EndpointInfo, { secId: ReservedIdentity.HOST, flags: EndpointFlag.HOST }),
        origin,
      },
    ];
  });
}

/** The index of an array map as bytes. */
const word = (index: number): Bytes =>
  String.fromCharCode(index & 255, (index >>> 8) & 255, (index >>> 16) & 255, index >>> 24);

function podEntries(pod: ClusterPod, lxcId: number, identities: Identities, policies: CompiledPolicies): MapEntry[] {
  const identity = identities.ofPod.get(pod)!;
  const policyId = policies.ofIdentity.get(identity)!.id;
  const { address, node, source } = pod;
  const mac = macOf(2, hashOf(`${pod.namespace}/${pod.name}`));
  const origin = [source];
  return [
    {
      map: MapId.LXC,
      key: encode(EndpointKey, { address, node: node.index }),
      value: encode(EndpointInfo, { lxcId, secId: identity.number }),
      origin,
    },
    {
      map: MapId.ENDPOINT_CONFIG,
      key: word(lxcId),
      value: encode(EndpointConfig, {
        mac,
        nodeMac: macOf(1, node.index),
        address,
        secId: identity.number,
        policyId,
        node: node.index,
      }),
      origin,
    },
    {
      map: MapId.IPCACHE,
      key: encode(IpcacheKey, { prefixLength: 32, address }),
      value: encode(RemoteEndpointInfo, { secIdentity: identity.number, tunnelEndpoint: node.address }),
      origin,
    },
  ];
}

function ipcacheEntries(cluster: Cluster, identities: Identities): MapEntry[] {
  const cache = (
    address: number,
    prefixLength: number,
    secIdentity: number,
    tunnelEndpoint: number,
    origin: readonly Place[],
  ): MapEntry => ({
    map: MapId.IPCACHE,
    key: encode(IpcacheKey, { prefixLength, address }),
    value: encode(RemoteEndpointInfo, { secIdentity, tunnelEndpoint }),
    origin,
  });
  const pods = new Set(cluster.pods.filter((pod) => !pod.hostNetwork).map((pod) => pod.address));
  return [
    cache(0, 0, ReservedIdentity.WORLD, 0, []),
    ...identities.prefixes
      // A pod's own address stays the pod's, also where a policy names it.
      .filter(
        ({ prefix }) =>
          prefix.length < 32 ||
          !(pods.has(prefix.address) || cluster.nodes.some((node) => node.address === prefix.address)),
      )
      .map(({ number, prefix }) => cache(prefix.address, prefix.length, number, 0, [])),
    ...identities.fqdns.map(({ number, address, fqdn }) => cache(address, 32, number, 0, [fqdn.at])),
    ...cluster.nodes.map((node) =>
      cache(node.address, 32, ReservedIdentity.REMOTE_NODE, 0, node.source ? [node.source] : []),
    ),
  ];
}

/** A rule may let the same traffic in several ways. */
function placesOf(grants: readonly Grant[]): readonly Place[] {
  const places = grants.map(({ origin }) => origin.at);
  return places.length > 1 ? [...new Set(places)] : places;
}

function policyEntries({ policies }: CompiledPolicies): MapEntry[] {
  return policies.flatMap(({ id, entries }) =>
    entries.map(({ identity, egress, protocol, port, length, deny, proxyPort, proxyPortPriority, grants }) => ({
      map: MapId.POLICY,
      key: encode(PolicyKey, {
        prefixLength: length,
        policyId: id,
        secLabel: identity,
        egress: egress ? 1 : 0,
        protocol,
        dport: port,
      }),
      value: encode(PolicyEntry, { deny: deny ? 1 : 0, proxyPort, proxyPortPriority }),
      origin: placesOf(grants),
      grants,
    })),
  );
}
