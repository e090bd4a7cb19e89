/** From the cluster and its policies to what the datapath's maps must hold. */
import {
  BackendState,
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
import { contains, formatAddress, parseAddress, parsePrefix } from '../addresses.js';
import type { Cluster, ClusterBackend, ClusterPod, ClusterService, ClusterServicePort } from '../cluster/cluster.js';
import { hashOf, Numbers } from '../hash.js';
import type { Place } from '../manifests/place.js';
import { PROTOCOL_NUMBERS, type CompiledPolicies } from '../policy/compile.js';
import type { Identities } from '../policy/identities.js';
import type { RuleOrigin } from '../policy/rules.js';
import { isKubeProxy, type Settings } from '../settings.js';
import { encode, type Bytes } from '../wasm.js';
import { hostPorts } from './host-ports.js';
import { keeping, scopesOf } from './scopes.js';

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
  readonly revNatIndex: number;
  readonly backends: readonly { readonly backendId: number; readonly weight: number; readonly name: string }[];
  readonly origin: readonly Place[];
}

/** What makes a Service listen somewhere. Cilium `loadbalancer.SVCType`. */
export type FrontendType = 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalIP' | 'HostPort';

/** Where a Service, or a pod with a hostPort, listens: a frontend of Cilium's. */
export interface Frontend {
  readonly type: FrontendType;
  /** null for a hostPort, which is its pod's alone: its only endpoint. */
  readonly service: ClusterService | null;
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
    const frontends = this.frontends(cluster, settings);
    const entries: MapEntry[] = [];
    const maglev: MaglevEntry[] = [];
    const backendsById = new Map<number, ClusterBackend>();
    for (const frontend of frontends) {
      entries.push(...frontendEntries(frontend, settings));
      const table = maglevEntry(frontend);
      if (table && algorithmOf(frontend, settings) === 'maglev') maglev.push(table);
      for (const { id, backend } of [...frontend.backends, ...frontend.draining]) {
        if (!backendsById.has(id)) entries.push(backendEntry(id, backend, frontend.protocol));
        backendsById.set(id, backend);
      }
    }
    for (const entry of wildcardEntries(frontends, settings)) entries.push(entry);
    for (const entry of unlistedEntries(cluster, frontends, settings)) entries.push(entry);
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

  private frontends(cluster: Cluster, settings: Settings): Frontend[] {
    const wanted = [
      ...cluster.services.flatMap((service) =>
        service.ports.flatMap((port) => listening(cluster, service, port, settings)),
      ),
      ...hostPorts(cluster),
    ].flatMap((one) => [one, ...scopesOf(cluster, one, settings)]);
    const nameOf = ({ address, number, port, scope, node }: Listening): string =>
      `${formatAddress(address)}:${number}/${port.source.protocol}${node === 0 ? '' : ` ${scope} ${node}`}`;
    const backendName = ({ port }: Listening, backend: ClusterBackend): string =>
      `${formatAddress(backend.address)}:${backend.port}/${port.source.protocol}`;
    const indexes = this.revNatNumbers.assign(wanted.map(nameOf));
    const ids = this.backendNumbers.assign(
      wanted.flatMap((one) => one.port.endpoints.map((backend) => backendName(one, backend))),
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
        draining: one.port.endpoints.filter((backend) => !taking.has(backend)).map(numbered),
      };
    });
  }
}

/** A frontend before it has its numbers. */
export type Listening = Omit<Frontend, 'protocol' | 'revNatIndex' | 'backends' | 'draining'> & {
  readonly backends: readonly ClusterBackend[];
};

/** Every address at which one port of a Service listens. Service v1: type, externalIPs, status; `service.cilium.io/type`. */
function listening(
  cluster: Cluster,
  service: ClusterService,
  port: ClusterServicePort,
  settings: Settings,
): Listening[] {
  const { source, clusterIP } = service;
  if (clusterIP === null) return [];
  const found = new Map<string, Listening>();
  const whole = { service, port, scope: LbScope.EXTERNAL, node: 0, backends: port.backends };
  const only = isKubeProxy(settings) ? null : source.cilium.type;
  const add = (type: FrontendType, address: number | null, number = port.source.port.value): void => {
    const key = `${address} ${number}`;
    if (address === null || found.has(key) || (only !== null && only !== type)) return;
    found.set(key, { ...whole, type, address, number });
  };
  add('ClusterIP', clusterIP);
  const nodePort = source.type === 'ClusterIP' ? null : port.source.nodePort;
  // Cilium keeps the node port once for no address and once for each node's.
  if (nodePort)
    for (const address of [0, ...nodePortAddresses(cluster, settings)]) add('NodePort', address, nodePort.value);
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

/** The addresses of nodes on which node ports are open. */
function nodePortAddresses({ nodes }: Cluster, settings: Settings): number[] {
  const prefixes = settings.nodePortAddresses.flatMap((text) => parsePrefix(text) ?? []);
  const all = nodes.flatMap(({ address, others }) => [address, ...others]);
  if (prefixes.length > 0) return all.filter((address) => prefixes.some((prefix) => contains(prefix, address)));
  return settings.engine === 'kube-proxy-iptables' ? all : nodes.map(({ address }) => address);
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

function flagsOf(frontend: Frontend, settings: Settings): Pick<Lb4Service, 'flags' | 'flags2'> {
  const source = frontend.service?.source;
  const ranges = frontend.type === 'LoadBalancer' && (source?.loadBalancerSourceRanges.length ?? 0) > 0;
  // Ranges that are refused rather than taken need a flag that the datapath does not have: it asks for none.
  const takes = isKubeProxy(settings) || source?.cilium.sourceRangesPolicy === 'allow';
  const flags =
    typeFlags(frontend.type, settings) |
    (source?.affinitySeconds == null ? 0 : SvcFlag.AFFINITY) |
    (ranges && takes ? SvcFlag.SOURCE_RANGE : 0) |
    (keeping(frontend, LbScope.EXTERNAL, settings) === null ? 0 : SvcFlag.EXT_LOCAL_SCOPE);
  const internal = keeping(frontend, LbScope.INTERNAL, settings) === null ? 0 : SvcFlag2.INT_LOCAL_SCOPE;
  return { flags, flags2: internal };
}

function frontendEntries(frontend: Frontend, settings: Settings): MapEntry[] {
  const { service, port, address, number, protocol, revNatIndex, scope, node, backends } = frontend;
  const affinitySeconds = service?.source.affinitySeconds ?? 0;
  const algorithm = algorithmOf(frontend, settings) === 'maglev' ? LbAlgorithm.MAGLEV : LbAlgorithm.RANDOM;
  const flags = flagsOf(frontend, settings);
  const origin = [port.source.at];
  const slot = (backendSlot: number, value: Partial<Lb4Service>, from: readonly Place[]): MapEntry => ({
    map: MapId.LB4_SERVICES,
    key: encode(Lb4Key, { address, dport: number, backendSlot, proto: protocol, scope, node }),
    value: encode(Lb4Service, { revNatIndex, ...flags, ...value }),
    origin: from,
  });
  const entries = [
    slot(0, { backendId: (algorithm << 24) | affinitySeconds, count: backends.length }, origin),
    ...backends.map(({ id, backend }, i) => slot(i + 1, { backendId: id }, [backend.source, ...origin])),
    {
      map: MapId.LB4_REVERSE_NAT,
      key: encode(Lb4ReverseNatKey, { revNatIndex }),
      value: encode(Lb4ReverseNat, { address, port: number }),
      origin,
    },
  ];
  if ((flags.flags & SvcFlag.SOURCE_RANGE) !== 0) entries.push(...sourceRangeEntries(frontend, settings));
  return entries;
}

/** A range that cannot be read takes nobody; that there are ranges at all keeps everybody else out. */
function sourceRangeEntries({ service, address, revNatIndex }: Frontend, settings: Settings): MapEntry[] {
  const ranges = (service?.source.loadBalancerSourceRanges ?? []).flatMap(({ value, at }) => {
    const prefix = parsePrefix(value.trim());
    return prefix === null ? [] : [{ prefix, at }];
  });
  // What a node sends to the load balancer comes back with that one's address, and kube-proxy takes it.
  if (isKubeProxy(settings) && ranges[0]) ranges.push({ prefix: { address, length: 32 }, at: ranges[0].at });
  return ranges.map(({ prefix, at }) => ({
    map: MapId.SOURCE_RANGE,
    key: encode(Lb4SourceRangeKey, { revNatIndex, prefixLength: prefix.length, address: prefix.address }),
    value: encode(Lb4SourceRange, { present: 1 }),
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
export const wildcardEntry = (address: number, flags = 0): MapEntry => ({
  map: MapId.LB4_SERVICES,
  key: encode(Lb4Key, { address }),
  value: encode(Lb4Service, { flags }),
  origin: [],
});

/** Whether an address is that of a pod, though the manifests may hold no such pod. */
export const inPodRange = ({ nodes }: Cluster, settings: Settings, address: number): boolean =>
  [parsePrefix(settings.podCIDR)!, ...nodes.map(({ podRange }) => podRange)].some((range) =>
    contains(range, address),
  ) && !nodes.some((node) => node.address === address || node.others.includes(address));

/**
 * Pods that EndpointSlices name with their node, and that the manifests do not hold: endpoints that no Cilium manages. Their
 * node's stack delivers to them, and other nodes send them through the tunnel.
 */
function unlistedEntries(cluster: Cluster, frontends: readonly Frontend[], settings: Settings): MapEntry[] {
  const found = new Map<number, ClusterBackend>();
  for (const { backends } of frontends)
    for (const { backend } of backends)
      if (backend.pod === null && backend.node !== null && inPodRange(cluster, settings, backend.address))
        found.set(backend.address, backend);
  return [...found].flatMap(([address, { node, source }]) => [
    {
      map: MapId.LXC,
      key: encode(EndpointKey, { address, node: node!.index }),
      value: encode(EndpointInfo, { secId: ReservedIdentity.UNMANAGED, flags: EndpointFlag.HOST }),
      origin: [source],
    },
    {
      map: MapId.IPCACHE,
      key: encode(IpcacheKey, { prefixLength: 32, address }),
      value: encode(RemoteEndpointInfo, { secIdentity: ReservedIdentity.UNMANAGED, tunnelEndpoint: node!.address }),
      origin: [source],
    },
  ]);
}

/** Weight 0 is maintenance. Cilium `pkg/annotation`, `service.cilium.io/weight`. */
const stateOf = ({ terminating, weight }: ClusterBackend): BackendState =>
  terminating ? BackendState.TERMINATING : weight === 0 ? BackendState.MAINTENANCE : BackendState.ACTIVE;

function backendEntry(backendId: number, backend: ClusterBackend, proto: number): MapEntry {
  const { address, port, weight, source } = backend;
  return {
    map: MapId.LB4_BACKENDS,
    key: encode(Lb4BackendKey, { backendId }),
    value: encode(Lb4Backend, { address, port, proto, state: stateOf(backend), weight }),
    origin: [source],
  };
}

function maglevEntry({ service, port, revNatIndex, protocol, backends }: Frontend): MaglevEntry | null {
  if (backends.length === 0) return null;
  const name = protocol === PROTOCOL_NUMBERS.UDP ? 'UDP' : protocol === PROTOCOL_NUMBERS.SCTP ? 'SCTP' : 'TCP';
  const named = backends.map(({ id, backend }) => ({
    backendId: id,
    weight: backend.weight,
    name: maglevName(backend.address, backend.port, name),
  }));
  return {
    revNatIndex,
    backends: named.sort((a, b) => (a.name < b.name ? -1 : 1)),
    origin: [service?.source.at ?? port.source.at],
  };
}

function nodeEntries(cluster: Cluster): MapEntry[] {
  return cluster.nodes.flatMap(({ index, address: first, others, source }) => {
    const origin = source ? [source] : [];
    const config = encode(NodeConfig, { address: first, mac: macOf(1, index) });
    return [
      { map: MapId.NODE_CONFIG, key: word(index), value: config, origin },
      ...[first, ...others].flatMap((address) => [
        { map: MapId.NODES, key: encode(NodeKey, { address }), value: encode(NodeValue, { node: index }), origin },
        {
          map: MapId.LXC,
          key: encode(EndpointKey, { address, node: index }),
          value: encode(EndpointInfo, { secId: ReservedIdentity.HOST, flags: EndpointFlag.HOST }),
          origin,
        },
      ]),
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
    ...cluster.nodes.flatMap(({ address, others, source }) =>
      [address, ...others].map((one) => cache(one, 32, ReservedIdentity.REMOTE_NODE, 0, source ? [source] : [])),
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
