/** What a benchmark's maps hold: two nodes, clients on the first or outside, and Services before their backends. */
import {
  ConfigFlag,
  EndpointFlag,
  IpProto,
  LbAlgorithm,
  MapId,
  NodePortMode,
  ReservedIdentity,
  SvcFlag,
} from '../../assembly/abi.js';
import {
  EndpointConfig,
  EndpointInfo,
  LbBackendKey,
  LbReverseNatKey,
  LbService,
  NodeConfig,
  NodeValue,
  PolicyEntry,
  PolicyKey,
  RemoteEndpointInfo,
  RuntimeConfig,
} from '../../pkg/structs.js';
import { BITS, formatEndpoint, UNSPECIFIED, type Address, type Family } from '../addresses.js';
import { word } from '../loader/entry.js';
import { MAPS } from '../loader/families.js';
import { encode, type Bytes } from '../wasm.js';
import type { Traffic } from './traffic.js';

/** One entry of a map, as bytes. */
export interface Entry {
  readonly map: MapId;
  readonly key: Bytes;
  readonly value: Bytes;
}

/** A Maglev table: whose it is, and what of. */
export interface MaglevOf {
  readonly revNatIndex: number;
  readonly backends: readonly { readonly backendId: number; readonly weight: number; readonly name: string }[];
}

export const CLIENTS = 250;
export const BACKENDS_PER_SERVICE = 3;
const SERVICE_PORT = 80;
const BACKEND_PORT = 8080;
const NODE_PORT = 30000;
/** Numbers of addresses, below 2^32: IPv4's are the address, IPv6's its lowest word. */
const POD = 0x0af40001; // 10.244.0.1
const SERVICE = 0x0a600001; // 10.96.0.1
const NODE = 0x0a000000; // 10.0.0.1 is node 1
const OUTSIDE = 0xcb007101; // 203.0.113.1
/** fd00::, in front of the lowest word. */
const WIDE = 0xfd00n << 112n;
const CLIENT_IDENTITY = 1000;
const BACKEND_IDENTITY = 10000;
/** Named by the clients' policy in place of the backends where packets are to be dropped. */
const OTHER_IDENTITY = 30000;
const CLIENT_POLICY = 1;
const BACKEND_POLICY = 2;
const ONE_TCP_PORT = { prefixLength: 24, protocol: IpProto.TCP } as const;

export const addressOf = (family: Family, low: number): Address => (family === 'IPv4' ? low : WIDE + BigInt(low));

/** Whom clients ask for a Service. */
export const frontendOf = ({ clients }: Traffic, service: number): { low: number; port: number } =>
  clients === 'pods' ? { low: SERVICE + service, port: SERVICE_PORT } : { low: NODE + 1, port: NODE_PORT + service };

/** A client's address, and its endpoint: 0 for one outside. */
export const clientOf = ({ clients }: Traffic, client: number): { low: number; endpoint: number } =>
  clients === 'pods' ? { low: POD + client, endpoint: client + 1 } : { low: OUTSIDE + client, endpoint: 0 };

/** Backends have the ids from 1 on, and the endpoints after the clients'. */
const backendsOf = (service: number): { id: number; endpoint: number; low: number }[] =>
  Array.from({ length: BACKENDS_PER_SERVICE }, (_, i) => {
    const number = service * BACKENDS_PER_SERVICE + i;
    return { id: number + 1, endpoint: CLIENTS + number + 1, low: POD + CLIENTS + number };
  });

/** A hardware address as the datapath keeps it: first byte on the wire lowest. */
const macOf = (role: number, number: number): bigint => {
  const bytes = [0x02, role, 0, 0, number >>> 8, number & 255];
  return bytes.reduce((mac, byte, i) => mac | (BigInt(byte) << BigInt(8 * i)), 0n);
};

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);

/** All entries of the maps. */
export function entriesOf(traffic: Traffic): Entry[] {
  return [
    configEntry(traffic),
    ...[1, 2].flatMap((node) => nodeEntries(traffic, node)),
    ...podEntries(traffic),
    ...range(traffic.services).flatMap((service) => serviceEntries(traffic, service)),
    ...policyEntries(traffic),
  ];
}

export const maglevOf = ({ family, services }: Traffic): MaglevOf[] =>
  range(services).map((service) => ({
    revNatIndex: service + 1,
    backends: backendsOf(service)
      .map(({ id, low }) => ({
        backendId: id,
        weight: 1,
        name: `[${formatEndpoint(addressOf(family, low), BACKEND_PORT)}/TCP,State:active]`,
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
  }));

const configEntry = ({ clients, mode }: Traffic): Entry => ({
  map: MapId.RUNTIME_CONFIG,
  key: word(0),
  value: encode(
    RuntimeConfig,
    clients === 'world' && mode === 'dsr' ? { flags: ConfigFlag.DSR, nodePortMode: NodePortMode.DSR } : {},
  ),
});

/** What the ipcache says of an address, or of all (length 0). */
function ipcacheEntry(address: Address, family: Family, length: number, remote: Partial<RemoteEndpointInfo>): Entry {
  const { map, IpcacheKey } = MAPS[family];
  const key = encode(IpcacheKey, { address, prefixLength: length });
  return { map: map(MapId.IPCACHE4), key, value: encode(RemoteEndpointInfo, remote) };
}

/** Tunnels run over IPv4, so each node has an address of that. */
function nodeEntries({ family }: Traffic, node: number): Entry[] {
  const families = [...new Set<Family>(['IPv4', family])];
  const ipv6 = families.includes('IPv6') ? BigInt(addressOf('IPv6', NODE + node)) : 0n;
  const config = { ipv4: NODE + node, ipv6, mac: macOf(1, node) };
  return [
    { map: MapId.NODE_CONFIG, key: word(node), value: encode(NodeConfig, config) },
    ...families.flatMap((family): Entry[] => {
      const { map, NodeKey, EndpointKey } = MAPS[family];
      const address = addressOf(family, NODE + node);
      const host = { secId: ReservedIdentity.HOST, flags: EndpointFlag.HOST };
      return [
        { map: map(MapId.NODES4), key: encode(NodeKey, { address }), value: encode(NodeValue, { node }) },
        { map: map(MapId.LXC4), key: encode(EndpointKey, { address, node }), value: encode(EndpointInfo, host) },
        ipcacheEntry(address, family, BITS[family], { secIdentity: ReservedIdentity.REMOTE_NODE }),
        ...(node === 1 ? [ipcacheEntry(UNSPECIFIED[family], family, 0, { secIdentity: ReservedIdentity.WORLD })] : []),
      ];
    }),
  ];
}

function podEntries({ family, services, peers, local }: Traffic): Entry[] {
  const { map, EndpointKey } = MAPS[family];
  const pod = (lxcId: number, low: number, node: number, secId: number, policyId: number): Entry[] => {
    const address = addressOf(family, low);
    const own = typeof address === 'number' ? { ipv4: address } : { ipv6: address };
    const config = { ...own, mac: macOf(2, lxcId), nodeMac: macOf(1, node), secId, policyId, node };
    return [
      {
        map: map(MapId.LXC4),
        key: encode(EndpointKey, { address, node }),
        value: encode(EndpointInfo, { lxcId, secId }),
      },
      { map: MapId.ENDPOINT_CONFIG, key: word(lxcId), value: encode(EndpointConfig, config) },
      ipcacheEntry(address, family, BITS[family], { secIdentity: secId, tunnelEndpoint: NODE + node }),
    ];
  };
  return [
    ...range(CLIENTS).flatMap((client) =>
      pod(client + 1, POD + client, 1, CLIENT_IDENTITY + (client % peers), CLIENT_POLICY),
    ),
    ...range(services).flatMap((service) =>
      backendsOf(service).flatMap(({ endpoint, low }) =>
        pod(endpoint, low, local ? 1 : 2, BACKEND_IDENTITY + (service % peers), BACKEND_POLICY),
      ),
    ),
  ];
}

function serviceEntries(traffic: Traffic, service: number): Entry[] {
  const { family, clients, stop } = traffic;
  const { map, LbKey, LbBackend, LbReverseNat } = MAPS[family];
  const { low, port } = frontendOf(traffic, service);
  const address = addressOf(family, low);
  const revNatIndex = service + 1;
  const frontend = (backendSlot: number, value: Partial<LbService>): Entry => ({
    map: map(MapId.LB4_SERVICES),
    key: encode(LbKey, { address, dport: port, backendSlot, proto: IpProto.TCP }),
    value: encode(LbService, { revNatIndex, ...value }),
  });
  const flags = clients === 'world' ? SvcFlag.NODEPORT | SvcFlag.ROUTABLE : 0;
  const count = stop === 'service' ? 0 : BACKENDS_PER_SERVICE;
  return [
    frontend(0, { backendId: LbAlgorithm.MAGLEV << 24, count, flags }),
    ...backendsOf(service).flatMap(({ id, low: to }, i) => [
      frontend(i + 1, { backendId: id }),
      {
        map: map(MapId.LB4_BACKENDS),
        key: encode(LbBackendKey, { backendId: id }),
        value: encode(LbBackend, {
          address: addressOf(family, to),
          port: BACKEND_PORT,
          proto: IpProto.TCP,
          weight: 1,
        }),
      },
    ]),
    // Behind a ClusterIP there is nothing on any other port; a node has ports that are no Service's.
    ...(clients === 'pods'
      ? [{ map: map(MapId.LB4_SERVICES), key: encode(LbKey, { address }), value: encode(LbService, {}) }]
      : []),
    {
      map: map(MapId.LB4_REVERSE_NAT),
      key: encode(LbReverseNatKey, { revNatIndex }),
      value: encode(LbReverseNat, { address, port }),
    },
  ];
}

/** Three of four peers may use the one port, the fourth any; everybody may ask for names, and the world whom it asks for. */
function policyEntries({ clients, peers, stop }: Traffic): Entry[] {
  const entry = (policyId: number, egress: number, secLabel: number, to: Partial<PolicyKey>): Entry => ({
    map: MapId.POLICY,
    key: encode(PolicyKey, { policyId, egress, secLabel, ...to }),
    value: encode(PolicyEntry, {}),
  });
  const toBackends = { ...ONE_TCP_PORT, dport: BACKEND_PORT };
  const named = stop === 'policy' ? OTHER_IDENTITY : BACKEND_IDENTITY;
  return [
    ...range(peers).flatMap((peer) => {
      const ports = peer % 4 === 3 ? { prefixLength: 0 } : toBackends;
      return [entry(CLIENT_POLICY, 1, named + peer, ports), entry(BACKEND_POLICY, 0, CLIENT_IDENTITY + peer, ports)];
    }),
    entry(CLIENT_POLICY, 1, 0, { prefixLength: 24, protocol: IpProto.UDP, dport: 53 }),
    ...(clients === 'world' ? [entry(BACKEND_POLICY, 0, ReservedIdentity.WORLD, toBackends)] : []),
  ];
}
