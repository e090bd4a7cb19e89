/** Nodes, pods and whoever else has an address: who they are, where they are, and what their programs are configured with. */
import {
  CtDirection,
  EDT_DROP_HORIZON,
  EndpointFlag,
  MapId,
  ReservedIdentity,
  WIREGUARD_KEY,
} from '../../assembly/abi.js';
import {
  EdtId,
  EdtInfo,
  EndpointConfig,
  EndpointInfo,
  NodeConfig,
  NodeValue,
  RemoteEndpointInfo,
} from '../../pkg/structs.js';
import { BITS, contains, familyOf, prefixOf, UNSPECIFIED, type Address, type Prefix } from '../addresses.js';
import {
  addressIn,
  allAddresses,
  type Cluster,
  type ClusterBackend,
  type ClusterNode,
  type ClusterPod,
} from '../cluster/cluster.js';
import { rangeOf } from '../cluster/families.js';
import { hashOf } from '../hash.js';
import type { Place } from '../manifests/place.js';
import type { CompiledPolicies } from '../policy/compile.js';
import type { Identities } from '../policy/identities.js';
import type { Settings } from '../settings.js';
import { encode } from '../wasm.js';
import type { Frontend } from './frontends.js';
import { word, type MapEntry } from './entry.js';
import { MAPS, mapsOf } from './families.js';

/** Hardware addresses that need no manifest: locally administered, from a stable number. Six bytes, first on the wire lowest. */
const macOf = (role: number, number: number): bigint => {
  const bytes = [0x02, role, number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255];
  return bytes.reduce((mac, byte, i) => mac | (BigInt(byte) << BigInt(8 * i)), 0n);
};

/** The node's end of tunnels. They run over IPv4; a node without such an address has a link-local one, which is nobody else's. */
const tunnelEndpointOf = (node: ClusterNode): number => Number(addressIn(node, 'IPv4') ?? 0xa9fe0000 + node.index);

export function nodeEntries(nodes: Cluster['nodes'], ofNode: CompiledPolicies['ofNode']): MapEntry[] {
  return nodes.flatMap((node): MapEntry[] => {
    const { index, source } = node;
    const origin = source ? [source] : [];
    const ipv6 = BigInt(addressIn(node, 'IPv6') ?? 0);
    const own = new Set<Address>([tunnelEndpointOf(node), ...allAddresses(node)]);
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

/** `lxcId`: the number of its endpoint; `secId`: of its identity. */
export function podEntries(
  pod: ClusterPod,
  lxcId: number,
  secId: number,
  policyId: number,
  settings: Settings,
): MapEntry[] {
  const { addresses, node, source } = pod;
  const origin = [source];
  const key = settings['encryption.type'] === 'wireguard' ? WIREGUARD_KEY : 0;
  return [
    ...(settings.bandwidthManager ? throttleEntries(pod, lxcId) : []),
    {
      map: MapId.ENDPOINT_CONFIG,
      key: word(lxcId),
      value: encode(EndpointConfig, {
        mac: macOf(2, hashOf(`${pod.namespace}/${pod.name}`)),
        nodeMac: macOf(1, node.index),
        ipv4: Number(addressIn(pod, 'IPv4') ?? 0),
        ipv6: BigInt(addressIn(pod, 'IPv6') ?? 0),
        secId,
        policyId,
        node: node.index,
      }),
      origin,
    },
    ...addresses.flatMap((address): MapEntry[] => [
      {
        map: mapsOf(address).map(MapId.LXC4),
        key: encode(mapsOf(address).EndpointKey, { address, node: node.index }),
        value: encode(EndpointInfo, { lxcId, secId }),
        origin,
      },
      ipcacheEntry(prefixOf(address), secId, tunnelEndpointOf(node), origin, key),
    ]),
  ];
}

/** Cilium has bytes a second where the annotation has bits. `pkg/maps/bwmap`. */
function throttleEntries({ spec: { egressBandwidth } }: ClusterPod, lxcId: number): MapEntry[] {
  if (egressBandwidth === null) return [];
  return [
    {
      map: MapId.THROTTLE,
      key: encode(EdtId, { id: BigInt(lxcId), direction: BigInt(CtDirection.EGRESS) }),
      value: encode(EdtInfo, {
        bps: BigInt(Math.floor(egressBandwidth.value / 8)),
        tHorizonDrop: BigInt(EDT_DROP_HORIZON),
      }),
      origin: [egressBandwidth.at],
    },
  ];
}

const ipcacheEntry = (
  { address, length }: Prefix,
  secIdentity: number,
  tunnelEndpoint: number,
  origin: readonly Place[],
  encryptKey = 0,
): MapEntry => ({
  map: mapsOf(address).map(MapId.IPCACHE4),
  key: encode(mapsOf(address).IpcacheKey, { prefixLength: length, address }),
  value: encode(RemoteEndpointInfo, { secIdentity, tunnelEndpoint, key: encryptKey }),
  origin,
});

/** Whether a prefix is the one address of one of these pods. */
export const isOneOf = (pods: Cluster['podsByAddress'], { address, length }: Prefix): boolean =>
  length === BITS[familyOf(address)] && pods.has(address);

/** The world, the prefixes that policies name, but for pods' own addresses, and the nodes. */
export function ipcacheEntries(
  nodes: Cluster['nodes'],
  world: Identities['world'],
  prefixes: Identities['prefixes'],
  fqdns: Identities['fqdns'],
): MapEntry[] {
  const ofNodes = new Set(nodes.flatMap(allAddresses));
  const isNodes = ({ address, length }: Prefix): boolean => length === BITS[familyOf(address)] && ofNodes.has(address);
  return [
    ...Object.keys(MAPS).flatMap((family) => {
      const number = world[family as keyof typeof MAPS];
      const all = { address: UNSPECIFIED[family as keyof typeof MAPS], length: 0 };
      return number === undefined ? [] : ipcacheEntry(all, number, 0, []);
    }),
    ...prefixes
      .filter(({ prefix }) => !isNodes(prefix))
      .map(({ number, prefix }) => ipcacheEntry(prefix, number, 0, [])),
    ...fqdns.map(({ number, address, fqdn }) => ipcacheEntry(prefixOf(address), number, 0, [fqdn.at])),
    ...nodes.flatMap((node) =>
      allAddresses(node).map((address) =>
        ipcacheEntry(prefixOf(address), ReservedIdentity.REMOTE_NODE, 0, node.source ? [node.source] : []),
      ),
    ),
  ];
}

/** Whether an address is that of a pod, though the manifests may hold no such pod. */
export const inPodRange = ({ nodes }: Pick<Cluster, 'nodes'>, settings: Settings, address: Address): boolean =>
  [rangeOf(settings, 'podCIDR', familyOf(address)), ...nodes.flatMap(({ podRanges }) => podRanges)].some((range) =>
    contains(range, address),
  ) && !nodes.some((node) => allAddresses(node).includes(address));

/** Backends of a frontend that are pods which EndpointSlices name with their node, and which the manifests do not hold. */
export function unlistedBackends(
  { backends }: Frontend,
  nodes: Cluster['nodes'],
  settings: Settings,
): readonly ClusterBackend[] {
  const found = backends
    .map(({ backend }) => backend)
    .filter(
      ({ podKey, node, address }) => podKey === null && node !== null && inPodRange({ nodes }, settings, address),
    );
  return found.length > 0 ? found : NONE;
}

const NONE: readonly ClusterBackend[] = [];

/** Endpoints that no Cilium manages. Their node's stack delivers to them, and other nodes send them through the tunnel. */
export function unlistedEntries(unlisted: readonly ClusterBackend[]): MapEntry[] {
  const found = new Map(unlisted.map((backend) => [backend.address, backend]));
  return [...found].flatMap(([address, { node, source }]) => [
    {
      map: mapsOf(address).map(MapId.LXC4),
      key: encode(mapsOf(address).EndpointKey, { address, node: node!.index }),
      value: encode(EndpointInfo, { secId: ReservedIdentity.UNMANAGED, flags: EndpointFlag.HOST }),
      origin: [source],
    },
    ipcacheEntry(prefixOf(address), ReservedIdentity.UNMANAGED, tunnelEndpointOf(node!), [source]),
  ]);
}
