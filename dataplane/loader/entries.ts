/** From the cluster and its policies to what the datapath's maps must hold. */
import {
  ConfigFlag,
  EndpointFlag,
  LbAlgorithm,
  LbScope,
  MapId,
  ReservedIdentity,
  SvcFlag,
  SvcFlag2,
} from '../../assembly/abi.js';
import {
  EndpointConfig,
  EndpointInfo,
  LbAffinityMatch,
  LbAffinityMatched,
  LbBackendKey,
  LbReverseNatKey,
  LbService,
  LbSourceRange,
  NodeConfig,
  NodeValue,
  PolicyEntry,
  PolicyKey,
  RemoteEndpointInfo,
  RuntimeConfig,
} from '../../pkg/structs.js';
import {
  BITS,
  familyOf,
  formatAddress,
  formatEndpoint,
  parseAddress,
  parsePrefix,
  prefixOf,
  UNSPECIFIED,
  type Address,
  type Prefix,
} from '../addresses.js';
import { addressIn } from '../cluster/cluster.js';
import type {
  Cluster,
  ClusterBackend,
  ClusterNode,
  ClusterPod,
  ClusterService,
  ClusterServicePort,
} from '../cluster/cluster.js';
import { hashOf, Numbers } from '../hash.js';
import type { Place } from '../manifests/place.js';
import { PROTOCOL_NUMBERS, type CompiledPolicies } from '../policy/compile.js';
import type { Identities } from '../policy/identities.js';
import type { RuleOrigin } from '../policy/rules.js';
import type { Settings } from '../settings.js';
import { encode, type Bytes } from '../wasm.js';
import { MAPS, mapsOf } from './families.js';

/** One entry that a map must hold, and what in the manifests put it there. */
export interface MapEntry {
  readonly map: MapId;
  readonly key: Bytes;
  readonly value: Bytes;
  readonly origin: readonly Place[];
  /** For policymap entries, the rules in full. */
  readonly rules?: readonly RuleOrigin[];
}

/** A Maglev table that must be there: its backends in Cilium's order. */
export interface MaglevEntry {
  /** LB4_MAGLEV or LB6_MAGLEV. */
  readonly map: MapId;
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
  readonly address: Address;
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
    entries.push(configEntry(settings));
    for (const entry of wildcardEntries(frontends)) entries.push(entry);
    for (const entry of nodeEntries(cluster, policies)) entries.push(entry);
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
  const { source, clusterIP, clusterIPs } = service;
  const whole = { service, port, scope: LbScope.EXTERNAL, node: 0, backends: port.backends };
  const at = (type: FrontendType, address: Address | null, number = port.source.port.value): Listening[] => {
    if (address === null) return [];
    const backends = port.backends.filter((backend) => familyOf(backend.address) === familyOf(address));
    return [{ ...whole, backends, type, address, number }];
  };
  const found = clusterIPs.flatMap((address) => at('ClusterIP', address));
  if (clusterIP === null) return found;
  const nodePort = source.type === 'ClusterIP' ? null : port.source.nodePort;
  // Cilium keeps the node port once for no address and once for each node's.
  if (nodePort)
    for (const family of clusterIPs.map(familyOf))
      for (const address of [UNSPECIFIED[family], ...cluster.nodes.map((node) => addressIn(node, family))])
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

function flagsOf(frontend: Frontend): Pick<LbService, 'flags' | 'flags2'> {
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
  if ((flags.flags & SvcFlag.SOURCE_RANGE) === 0) return entries;
  // A range that cannot be read takes nobody; that there are ranges at all keeps everybody else out.
  for (const range of loadBalancerSourceRanges) {
    const prefix = parsePrefix(range.value);
    if (prefix === null) continue;
    const { address: start, length: prefixLength } = prefix;
    if (familyOf(start) !== familyOf(address)) continue;
    const key = encode(family.LbSourceRangeKey, { revNatIndex, prefixLength, address: start });
    const value = encode(LbSourceRange, { present: 1 });
    entries.push({ map: family.map(MapId.LB4_SOURCE_RANGE), key, value, origin: [range.at] });
  }
  return entries;
}

/** Bytes that the network between the nodes carries. */
const MTU = 1500;

/** Cilium's defaults, and what the settings say. */
const configEntry = (settings: Settings): MapEntry => ({
  map: MapId.RUNTIME_CONFIG,
  key: word(0),
  value: encode(RuntimeConfig, {
    flags:
      ConfigFlag.TRACK_FRAGMENTS |
      ConfigFlag.MASQUERADE |
      ConfigFlag.REJECT_NO_BACKEND |
      ConfigFlag.ALLOW_ICMP_FRAG_NEEDED |
      (settings.socketLB === false ? 0 : ConfigFlag.SOCKET_LB) |
      (settings.socketLB === 'hostNamespaceOnly' ? ConfigFlag.SOCKET_LB_HOST_ONLY : 0) |
      (settings.policyAuditMode ? ConfigFlag.POLICY_AUDIT : 0) |
      (settings.hostFirewall ? ConfigFlag.HOST_FIREWALL : 0),
    mtu: MTU,
  }),
  origin: [],
});

/** Each Service address answers on its other ports too: with no backend. Cilium's wildcard entries; a node has other ports of its own. */
function wildcardEntries(frontends: readonly Frontend[]): MapEntry[] {
  const byAddress = new Map(
    frontends.filter(({ type }) => type !== 'NodePort').map((frontend) => [frontend.address, frontend]),
  );
  return [...byAddress].map(([address, { service, type }]) => ({
    map: mapsOf(address).map(MapId.LB4_SERVICES),
    key: encode(mapsOf(address).LbKey, { address }),
    value: encode(LbService, { flags: TYPE_FLAGS[type] }),
    origin: [service.source.at],
  }));
}

function backendEntry(backendId: number, { address, port, source }: ClusterBackend, proto: number): MapEntry {
  return {
    map: mapsOf(address).map(MapId.LB4_BACKENDS),
    key: encode(LbBackendKey, { backendId }),
    value: encode(mapsOf(address).LbBackend, { address, port, proto, weight: 1 }),
    origin: [source],
  };
}

function maglevEntry({ service, address, revNatIndex, protocol, backends }: Frontend): MaglevEntry | null {
  if (backends.length === 0) return null;
  const name = protocol === PROTOCOL_NUMBERS.UDP ? 'UDP' : protocol === PROTOCOL_NUMBERS.SCTP ? 'SCTP' : 'TCP';
  const named = backends.map(({ id, backend }) => ({
    backendId: id,
    weight: 1,
    name: maglevName(backend.address, backend.port, name),
  }));
  return {
    map: mapsOf(address).map(MapId.LB4_MAGLEV),
    revNatIndex,
    backends: named.sort((a, b) => (a.name < b.name ? -1 : 1)),
    origin: [service.source.at],
  };
}

/** The node's end of tunnels. They run over IPv4; a node without such an address has a link-local one, which is nobody else's. */
const tunnelEndpointOf = (node: ClusterNode): number => Number(addressIn(node, 'IPv4') ?? 0xa9fe0000 + node.index);

function nodeEntries(cluster: Cluster, { ofNode }: CompiledPolicies): MapEntry[] {
  return cluster.nodes.flatMap((node): MapEntry[] => {
    const { index, addresses, source } = node;
    const origin = source ? [source] : [];
    const ipv6 = BigInt(addressIn(node, 'IPv6') ?? 0);
    const own = new Set<Address>([tunnelEndpointOf(node), ...addresses]);
    return [
      {
        map: MapId.NODE_CONFIG,
        key: word(index),
        value: encode(NodeConfig, {
          ipv4: tunnelEndpointOf(node),
          ipv6,
          mac: macOf(1, index),
          policyId: ofNode.get(node)?.id ?? 0,
        }),
        origin,
      },
      ...[...own].flatMap((address): MapEntry[] => {
        const { map, NodeKey, EndpointKey } = mapsOf(address);
        return [
          {
            map: map(MapId.NODES4),
            key: encode(NodeKey, { address }),
            value: encode(NodeValue, { node: index }),
            origin,
          },
          {
            map: map(MapId.LXC4),
            key: encode(EndpointKey, { address, node: index }),
            value: encode(EndpointInfo, { secId: ReservedIdentity.HOST, flags: EndpointFlag.HOST }),
            origin,
          },
        ];
      }),
    ];
  });
}

/** The index of an array map as bytes. */
const word = (index: number): Bytes =>
  String.fromCharCode(index & 255, (index >>> 8) & 255, (index >>> 16) & 255, index >>> 24);

function podEntries(pod: ClusterPod, lxcId: number, identities: Identities, policies: CompiledPolicies): MapEntry[] {
  const identity = identities.ofPod.get(pod)!;
  const policyId = policies.ofIdentity.get(identity)!.id;
  const { addresses, node, source } = pod;
  const origin = [source];
  return [
    {
      map: MapId.ENDPOINT_CONFIG,
      key: word(lxcId),
      value: encode(EndpointConfig, {
        mac: macOf(2, hashOf(`${pod.namespace}/${pod.name}`)),
        nodeMac: macOf(1, node.index),
        ipv4: Number(addressIn(pod, 'IPv4') ?? 0),
        ipv6: BigInt(addressIn(pod, 'IPv6') ?? 0),
        secId: identity.number,
        policyId,
        node: node.index,
      }),
      origin,
    },
    ...addresses.flatMap((address): MapEntry[] => [
      {
        map: mapsOf(address).map(MapId.LXC4),
        key: encode(mapsOf(address).EndpointKey, { address, node: node.index }),
        value: encode(EndpointInfo, { lxcId, secId: identity.number }),
        origin,
      },
      ipcacheEntry(prefixOf(address), identity.number, tunnelEndpointOf(node), origin),
    ]),
  ];
}

const ipcacheEntry = (
  { address, length }: Prefix,
  secIdentity: number,
  tunnelEndpoint: number,
  origin: readonly Place[],
): MapEntry => ({
  map: mapsOf(address).map(MapId.IPCACHE4),
  key: encode(mapsOf(address).IpcacheKey, { prefixLength: length, address }),
  value: encode(RemoteEndpointInfo, { secIdentity, tunnelEndpoint }),
  origin,
});

/** The world, the prefixes that policies name, and the nodes. */
function ipcacheEntries(cluster: Cluster, identities: Identities): MapEntry[] {
  const taken = new Set<Address>([
    ...cluster.pods.filter((pod) => !pod.hostNetwork).flatMap((pod) => pod.addresses),
    ...cluster.nodes.flatMap((node) => node.addresses),
  ]);
  const isOneTaken = ({ address, length }: Prefix): boolean => length === BITS[familyOf(address)] && taken.has(address);
  return [
    ...Object.keys(MAPS).flatMap((family) => {
      const number = identities.world[family as keyof typeof MAPS];
      const all = { address: UNSPECIFIED[family as keyof typeof MAPS], length: 0 };
      return number === undefined ? [] : ipcacheEntry(all, number, 0, []);
    }),
    // A pod's own address stays the pod's, also where a policy names it.
    ...identities.prefixes
      .filter(({ prefix }) => !isOneTaken(prefix))
      .map(({ number, prefix }) => ipcacheEntry(prefix, number, 0, [])),
    ...cluster.nodes.flatMap((node) =>
      node.addresses.map((address) =>
        ipcacheEntry(prefixOf(address), ReservedIdentity.REMOTE_NODE, 0, node.source ? [node.source] : []),
      ),
    ),
  ];
}

function policyEntries({ policies }: CompiledPolicies): MapEntry[] {
  return policies.flatMap(({ id, entries }) =>
    entries.map(({ identity, egress, protocol, port, length, origins }) => ({
      map: MapId.POLICY,
      key: encode(PolicyKey, {
        prefixLength: length,
        policyId: id,
        secLabel: identity,
        egress: egress ? 1 : 0,
        protocol,
        dport: port,
      }),
      value: encode(PolicyEntry, {}),
      origin: origins.map((rule) => rule.at),
      rules: origins,
    })),
  );
}
