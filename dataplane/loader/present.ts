/** Map entries in words: Cilium's maps with the C names of their fields in camelCase, addresses as text, ports in host order. */
import {
  AuthType,
  ConfigFlag,
  CtDirection,
  DsrDispatch,
  EndpointFlag,
  LbAlgorithm,
  MapId,
  NodePortMode,
  SvcFlag,
  SvcFlag2,
  TunnelProtocol,
} from '../../assembly/abi.js';
import {
  AuthInfo,
  AuthKey,
  CtEntry,
  EdtId,
  EdtInfo,
  EndpointConfig,
  EndpointInfo,
  FragmentPorts,
  IpMasq,
  LbAffinityMatch,
  LbAffinityMatched,
  LbAffinityValue,
  LbBackendKey,
  LbReverseNatKey,
  LbService,
  LbSourceRange,
  MaglevKey,
  MaglevTable,
  MetricsValue,
  NodeConfig,
  NodeValue,
  PolicyEntry,
  PolicyKey,
  RemoteEndpointInfo,
  RuntimeConfig,
  type CtTuple4,
} from '../../pkg/structs.js';
import { formatAddress, type Address } from '../addresses.js';
import { decode, type Bytes, type StructType } from '../wasm.js';
import { ofBoth, type Dual, type FamilyMaps } from './families.js';

export type Presented = Readonly<Record<string, unknown>>;

interface Schema {
  readonly keySize: number;
  readonly valueSize: number;
  readonly key: (bytes: Bytes) => Presented;
  readonly value: (bytes: Bytes) => Presented;
}

function schema<K extends object, V extends object>(
  keyType: StructType<K>,
  valueType: StructType<V>,
  key: (key: K) => Presented,
  value: (value: V) => Presented,
): Schema {
  return {
    keySize: keyType.size,
    valueSize: valueType.size,
    key: (bytes) => key(decode(keyType, bytes)),
    value: (bytes) => value(decode(valueType, bytes)),
  };
}

/** The index of an array map. */
class Index {
  static readonly size = 4;
  static readonly fields = ['index'] as const;
  constructor(
    private readonly view: DataView,
    private readonly at = 0,
  ) {}
  get index(): number {
    return this.view.getUint32(this.at, true);
  }
}

const macOf = (mac: bigint): string =>
  Array.from({ length: 6 }, (_, i) =>
    Number((mac >> BigInt(8 * i)) & 255n)
      .toString(16)
      .padStart(2, '0'),
  ).join(':');

const SERVICE_FLAGS: readonly (readonly [SvcFlag, string])[] = [
  [SvcFlag.EXTERNAL_IP, 'externalIPs'],
  [SvcFlag.NODEPORT, 'nodePort'],
  [SvcFlag.EXT_LOCAL_SCOPE, 'extLocalScope'],
  [SvcFlag.HOSTPORT, 'hostPort'],
  [SvcFlag.AFFINITY, 'sessionAffinity'],
  [SvcFlag.LOADBALANCER, 'loadBalancer'],
  [SvcFlag.ROUTABLE, 'routable'],
  [SvcFlag.SOURCE_RANGE, 'sourceRange'],
];

const SERVICE_FLAGS2: readonly (readonly [SvcFlag2, string])[] = [
  [SvcFlag2.INT_LOCAL_SCOPE, 'intLocalScope'],
  [SvcFlag2.SOURCE_RANGE_DENY, 'sourceRangeDeny'],
];

const ALGORITHMS: Readonly<Record<LbAlgorithm, string>> = {
  [LbAlgorithm.RANDOM]: 'random',
  [LbAlgorithm.MAGLEV]: 'maglev',
};
const STATES = ['active', 'terminating', 'quarantined', 'maintenance'];

const CONFIG_FLAGS: readonly (readonly [ConfigFlag, string])[] = [
  [ConfigFlag.TRACK_FRAGMENTS, 'trackFragments'],
  [ConfigFlag.MASQUERADE, 'masquerade'],
  [ConfigFlag.REJECT_NO_BACKEND, 'rejectNoBackend'],
  [ConfigFlag.NATIVE_ROUTING, 'nativeRouting'],
  [ConfigFlag.DSR, 'dsr'],
  [ConfigFlag.IP_MASQ_AGENT, 'ipMasqAgent'],
  [ConfigFlag.SERVICE_MASQUERADE, 'serviceMasquerade'],
  [ConfigFlag.MASQUERADE_ALL, 'masqueradeAll'],
  [ConfigFlag.MASQUERADE_NON_LOCAL, 'masqueradeNonLocal'],
  [ConfigFlag.SOCKET_LB, 'socketLB'],
  [ConfigFlag.SOCKET_LB_HOST_ONLY, 'socketLBHostOnly'],
  [ConfigFlag.POLICY_AUDIT, 'policyAuditMode'],
  [ConfigFlag.HOST_FIREWALL, 'hostFirewall'],
  [ConfigFlag.ALLOW_ICMP_FRAG_NEEDED, 'allowIcmpFragNeeded'],
  [ConfigFlag.BANDWIDTH_MANAGER, 'bandwidthManager'],
  [ConfigFlag.WIREGUARD, 'wireguard'],
  [ConfigFlag.ENCRYPTION_STRICT, 'encryptionStrict'],
];

const TUNNELS: Readonly<Record<TunnelProtocol, string>> = {
  [TunnelProtocol.VXLAN]: 'vxlan',
  [TunnelProtocol.GENEVE]: 'geneve',
  [TunnelProtocol.NONE]: 'none',
};
const MODES: Readonly<Record<NodePortMode, string>> = {
  [NodePortMode.SNAT]: 'snat',
  [NodePortMode.DSR]: 'dsr',
  [NodePortMode.HYBRID]: 'hybrid',
};
const DISPATCHES: Readonly<Record<DsrDispatch, string>> = {
  [DsrDispatch.OPT]: 'opt',
  [DsrDispatch.IPIP]: 'ipip',
  [DsrDispatch.GENEVE]: 'geneve',
};

/** A prefix from its mask; a mask has no 1 behind a 0. */
const maskedText = (address: Address, mask: Address): string =>
  `${formatAddress(address)}/${BigInt(mask).toString(2).replaceAll('0', '').length}`;

/** The addresses of a pod or a node; one of a family that it has none of is not shown. */
const addressesOf = (ipv4: number, ipv6: bigint): Presented => ({
  ...(ipv4 === 0 ? {} : { address: formatAddress(ipv4) }),
  ...(ipv6 === 0n ? {} : { ipv6: formatAddress(ipv6) }),
});

/** The number of a network namespace, which lies in a key where others have an address: in its first four bytes, lowest first. */
function netnsNumber(address: Address): number {
  const first = typeof address === 'bigint' ? Number(address >> 96n) : address;
  return (((first & 0xff) << 24) | ((first & 0xff00) << 8) | ((first >>> 8) & 0xff00) | (first >>> 24)) >>> 0;
}

/** A master has its algorithm and affinity timeout where a slot has its backend. */
function service({ backendId, count, revNatIndex, flags, flags2, qcount }: LbService): Presented {
  const named = [
    ...SERVICE_FLAGS.filter(([bit]) => (flags & bit) !== 0),
    ...SERVICE_FLAGS2.filter(([bit]) => (flags2 & bit) !== 0),
  ].map(([, name]) => name);
  const algorithm = ALGORITHMS[(backendId >>> 24) as LbAlgorithm];
  if (algorithm === undefined) return { backendId, count, revNatIndex, flags, flags2, qcount, flagNames: named };
  return {
    backendId: 0,
    count,
    revNatIndex,
    flags,
    flags2,
    qcount,
    flagNames: named,
    algorithm,
    affinityTimeout: backendId & 0xffffff,
  };
}

/** The key of a connection, and of a port that source NAT took for one. */
const tuple = ({ daddr, saddr, sport, dport, nexthdr, flags, node }: Dual<CtTuple4>): Presented => ({
  daddr: formatAddress(daddr),
  saddr: formatAddress(saddr),
  dport,
  sport,
  nexthdr,
  flags,
  node,
});

/** The maps of one family, numbered as IPv4's. */
/** The id of a datagram's pieces, which lies in the map as in the header: of 16 bits in IPv4, of 32 in IPv6. */
const fragmentId = (address: Address, id: number): number =>
  new DataView(Uint32Array.of(id).buffer).getUint32(0) >>> (typeof address === 'number' ? 16 : 0);

const schemasOf = (family: FamilyMaps) => ({
  [MapId.LB4_SERVICES]: schema(
    family.LbKey,
    LbService,
    ({ address, dport, backendSlot, proto, scope, node }) => ({
      address: formatAddress(address),
      dport,
      backendSlot,
      proto,
      scope,
      ...(node === 0 ? {} : { node }),
    }),
    service,
  ),
  [MapId.LB4_BACKENDS]: schema(
    LbBackendKey,
    family.LbBackend,
    ({ backendId }) => ({ backendId }),
    ({ address, port, proto, state, weight }) => ({
      address: formatAddress(address),
      port,
      proto,
      state: STATES[state] ?? state,
      weight,
    }),
  ),
  [MapId.LB4_REVERSE_NAT]: schema(
    LbReverseNatKey,
    family.LbReverseNat,
    ({ revNatIndex }) => ({ revNatIndex }),
    ({ address, port }) => ({ address: formatAddress(address), port }),
  ),
  [MapId.LB4_MAGLEV]: schema(
    MaglevKey,
    MaglevTable,
    ({ revNatIndex }) => ({ revNatIndex }),
    ({ size }) => ({ size }),
  ),
  [MapId.LB4_AFFINITY]: schema(
    family.LbAffinityKey,
    LbAffinityValue,
    ({ address, revNatIndex, netnsCookie }) => ({
      clientId: netnsCookie === 0 ? formatAddress(address) : `netns ${netnsNumber(address)}`,
      revNatIndex,
    }),
    ({ lastUsed, backendId }) => ({ lastUsed, backendId }),
  ),
  [MapId.LB4_SOURCE_RANGE]: schema(
    family.LbSourceRangeKey,
    LbSourceRange,
    ({ revNatIndex, address, prefixLength }) => ({ revNatIndex, prefix: `${formatAddress(address)}/${prefixLength}` }),
    () => ({}),
  ),
  [MapId.CT4]: schema(
    family.CtTuple,
    CtEntry,
    tuple,
    ({ packets, bytes, lifetime, flags, revNatIndex, backendId, srcSecId, txFlagsSeen, rxFlagsSeen }) => ({
      packets: Number(packets),
      bytes: Number(bytes),
      lifetime,
      flags,
      revNatIndex,
      backendId,
      srcSecId,
      txFlagsSeen,
      rxFlagsSeen,
    }),
  ),
  [MapId.SNAT4]: schema(family.CtTuple, family.NatEntry, tuple, ({ address, port, created }) => ({
    address: formatAddress(address),
    port,
    created,
  })),
  [MapId.FRAGMENTS4]: schema(
    family.FragmentKey,
    FragmentPorts,
    ({ daddr, saddr, id, proto, node }) => ({
      daddr: formatAddress(daddr),
      saddr: formatAddress(saddr),
      id: fragmentId(daddr, id),
      proto,
      node,
    }),
    ({ sport, dport }) => ({ sport, dport }),
  ),
  [MapId.IPCACHE4]: schema(
    family.IpcacheKey,
    RemoteEndpointInfo,
    ({ address, prefixLength }) => ({ prefix: `${formatAddress(address)}/${prefixLength}` }),
    ({ secIdentity, tunnelEndpoint, key }) => ({
      identity: secIdentity,
      tunnelEndpoint: tunnelEndpoint === 0 ? null : formatAddress(tunnelEndpoint),
      ...(key === 0 ? {} : { key }),
    }),
  ),
  [MapId.LB4_REVERSE_SK]: schema(
    family.ReverseSkKey,
    family.ReverseSkEntry,
    ({ cookie, address, port }) => ({ cookie: String(cookie), address: formatAddress(address), port }),
    ({ address, port, revNatIndex }) => ({ address: formatAddress(address), port, revNatIndex }),
  ),
  [MapId.LXC4]: schema(
    family.EndpointKey,
    EndpointInfo,
    ({ address, node }) => ({ address: formatAddress(address), node }),
    ({ lxcId, secId, flags }) => ({ lxcId, secId, host: (flags & EndpointFlag.HOST) !== 0 }),
  ),
  [MapId.NODES4]: schema(
    family.NodeKey,
    NodeValue,
    ({ address }) => ({ address: formatAddress(address) }),
    ({ node }) => ({ node }),
  ),
  [MapId.IPMASQ4]: schema(
    family.IpMasqKey,
    IpMasq,
    ({ address, prefixLength }) => ({ prefix: `${formatAddress(address)}/${prefixLength}` }),
    () => ({}),
  ),
});

export const SCHEMAS: Readonly<Record<Exclude<MapId, MapId.EVENTS | MapId.COUNT>, Schema>> = {
  ...ofBoth<Schema>(schemasOf),
  [MapId.AFFINITY_MATCH]: schema(
    LbAffinityMatch,
    LbAffinityMatched,
    ({ backendId, revNatIndex }) => ({ backendId, revNatIndex }),
    () => ({}),
  ),
  [MapId.POLICY]: schema(
    PolicyKey,
    PolicyEntry,
    ({ policyId, egress, secLabel, protocol, dport, prefixLength }) => ({
      policy: policyId,
      direction: egress ? 'egress' : 'ingress',
      identity: secLabel,
      proto: protocol,
      port: dport,
      prefixLength,
    }),
    ({ deny, proxyPort, proxyPortPriority, authType }) => ({
      deny: deny !== 0,
      proxyPort,
      proxyPortPriority,
      ...(authType === 0 ? {} : { authType: authType & AuthType.TYPE }),
    }),
  ),
  [MapId.AUTH]: schema(
    AuthKey,
    AuthInfo,
    ({ localSecLabel, remoteSecLabel, remoteNodeId, authType, node }) => ({
      localIdentity: localSecLabel,
      remoteIdentity: remoteSecLabel,
      remoteNodeId,
      authType,
      node,
    }),
    ({ expiration }) => ({ expiration: Number(expiration) }),
  ),
  [MapId.THROTTLE]: schema(
    EdtId,
    EdtInfo,
    ({ id, direction }) => ({
      endpoint: Number(id),
      direction: direction === BigInt(CtDirection.EGRESS) ? 'egress' : 'ingress',
    }),
    ({ bps, tHorizonDrop }) => ({
      bps: Number(bps),
      tHorizonDrop: Number(tHorizonDrop),
    }),
  ),
  [MapId.ENDPOINT_CONFIG]: schema(
    Index,
    EndpointConfig,
    ({ index }) => ({ endpoint: index }),
    ({ ipv4, ipv6, secId, policyId, node, mac, nodeMac }) => ({
      ...addressesOf(ipv4, ipv6),
      secId,
      policy: policyId,
      node,
      mac: macOf(mac),
      nodeMac: macOf(nodeMac),
    }),
  ),
  [MapId.NODE_CONFIG]: schema(
    Index,
    NodeConfig,
    ({ index }) => ({ node: index }),
    ({ ipv4, ipv6, mac, policyId }) => ({
      ...addressesOf(ipv4, ipv6),
      mac: macOf(mac),
      ...(policyId === 0 ? {} : { policy: policyId }),
    }),
  ),
  [MapId.RUNTIME_CONFIG]: schema(
    Index,
    RuntimeConfig,
    () => ({}),
    ({
      flags,
      mtu,
      tunnel,
      nodePortMode,
      dsrDispatch,
      nativeCidr4,
      nativeMask4,
      nativeCidr6,
      nativeMask6,
      strictCidr4,
      strictMask4,
    }) => ({
      flags: CONFIG_FLAGS.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name),
      mtu,
      tunnel: TUNNELS[tunnel as TunnelProtocol],
      nodePortMode: MODES[nodePortMode as NodePortMode],
      dsrDispatch: DISPATCHES[dsrDispatch as DsrDispatch],
      ...(flags & ConfigFlag.NATIVE_CIDR4 ? { nativeCidr4: maskedText(nativeCidr4, nativeMask4) } : {}),
      ...(flags & ConfigFlag.ENCRYPTION_STRICT ? { strictCidr4: maskedText(strictCidr4, strictMask4) } : {}),
      ...(flags & ConfigFlag.NATIVE_CIDR6 ? { nativeCidr6: maskedText(nativeCidr6, nativeMask6) } : {}),
    }),
  ),
  [MapId.METRICS]: schema(
    Index,
    MetricsValue,
    ({ index }) => ({ reason: index >>> 1, direction: index & 1 ? 'egress' : 'ingress' }),
    ({ count, bytes }) => ({ count: Number(count), bytes: Number(bytes) }),
  ),
};
