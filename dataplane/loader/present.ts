/** Map entries in words: Cilium's maps with the C names of their fields in camelCase, addresses as text, ports in host order. */
import { EndpointFlag, LbAlgorithm, MapId, SvcFlag } from '../../assembly/abi.js';
import {
  CtEntry,
  EndpointConfig,
  EndpointInfo,
  EndpointKey,
  IpcacheKey,
  Ipv4CtTuple,
  Ipv4NatEntry,
  Lb4Backend,
  Lb4BackendKey,
  Lb4Key,
  Lb4ReverseNat,
  Lb4ReverseNatKey,
  Lb4Service,
  Lb4SourceRange,
  Lb4SourceRangeKey,
  MaglevKey,
  MaglevTable,
  MetricsValue,
  NodeConfig,
  NodeKey,
  NodeValue,
  PolicyEntry,
  PolicyKey,
  RemoteEndpointInfo,
} from '../../pkg/structs.js';
import { formatAddress } from '../addresses.js';
import { decode, type Bytes, type StructType } from '../wasm.js';

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

const ALGORITHMS: Readonly<Record<LbAlgorithm, string>> = {
  [LbAlgorithm.RANDOM]: 'random',
  [LbAlgorithm.MAGLEV]: 'maglev',
};
const STATES = ['active', 'terminating', 'quarantined', 'maintenance'];

/** A master has its algorithm and affinity timeout where a slot has its backend. */
function service({ backendId, count, revNatIndex, flags, flags2, qcount }: Lb4Service): Presented {
  const named = SERVICE_FLAGS.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name);
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
const tuple = ({ daddr, saddr, sport, dport, nexthdr, flags, node }: Ipv4CtTuple): Presented => ({
  daddr: formatAddress(daddr),
  saddr: formatAddress(saddr),
  dport,
  sport,
  nexthdr,
  flags,
  node,
});

export const SCHEMAS: Readonly<Record<Exclude<MapId, MapId.EVENTS | MapId.COUNT>, Schema>> = {
  [MapId.LB4_SERVICES]: schema(
    Lb4Key,
    Lb4Service,
    ({ address, dport, backendSlot, proto, scope }) => ({
      address: formatAddress(address),
      dport,
      backendSlot,
      proto,
      scope,
    }),
    service,
  ),
  [MapId.LB4_BACKENDS]: schema(
    Lb4BackendKey,
    Lb4Backend,
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
    Lb4ReverseNatKey,
    Lb4ReverseNat,
    ({ revNatIndex }) => ({ revNatIndex }),
    ({ address, port }) => ({ address: formatAddress(address), port }),
  ),
  [MapId.LB4_MAGLEV]: schema(
    MaglevKey,
    MaglevTable,
    ({ revNatIndex }) => ({ revNatIndex }),
    ({ size }) => ({ size }),
  ),
  [MapId.CT4]: schema(
    Ipv4CtTuple,
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
  [MapId.IPCACHE]: schema(
    IpcacheKey,
    RemoteEndpointInfo,
    ({ address, prefixLength }) => ({ prefix: `${formatAddress(address)}/${prefixLength}` }),
    ({ secIdentity, tunnelEndpoint }) => ({
      identity: secIdentity,
      tunnelEndpoint: tunnelEndpoint === 0 ? null : formatAddress(tunnelEndpoint),
    }),
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
    ({ deny, proxyPort, proxyPortPriority }) => ({ deny: deny !== 0, proxyPort, proxyPortPriority }),
  ),
  [MapId.LXC]: schema(
    EndpointKey,
    EndpointInfo,
    ({ address, node }) => ({ address: formatAddress(address), node }),
    ({ lxcId, secId, flags }) => ({ lxcId, secId, host: (flags & EndpointFlag.HOST) !== 0 }),
  ),
  [MapId.ENDPOINT_CONFIG]: schema(
    Index,
    EndpointConfig,
    ({ index }) => ({ endpoint: index }),
    ({ address, secId, policyId, node, mac, nodeMac }) => ({
      address: formatAddress(address),
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
    ({ address, mac }) => ({ address: formatAddress(address), mac: macOf(mac) }),
  ),
  [MapId.NODES]: schema(
    NodeKey,
    NodeValue,
    ({ address }) => ({ address: formatAddress(address) }),
    ({ node }) => ({ node }),
  ),
  [MapId.SNAT]: schema(Ipv4CtTuple, Ipv4NatEntry, tuple, ({ address, port, created }) => ({
    address: formatAddress(address),
    port,
    created,
  })),
  [MapId.SOURCE_RANGE]: schema(
    Lb4SourceRangeKey,
    Lb4SourceRange,
    ({ revNatIndex, address, prefixLength }) => ({ revNatIndex, prefix: `${formatAddress(address)}/${prefixLength}` }),
    () => ({}),
  ),
  [MapId.METRICS]: schema(
    Index,
    MetricsValue,
    ({ index }) => ({ reason: index >>> 1, direction: index & 1 ? 'egress' : 'ingress' }),
    ({ count, bytes }) => ({ count: Number(count), bytes: Number(bytes) }),
  ),
};
