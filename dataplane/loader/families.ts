/** The maps and structs of either family, so that what is written for one serves both. */
import { MapId } from '../../assembly/abi.js';
import {
  CtTuple4,
  CtTuple6,
  EndpointKey4,
  EndpointKey6,
  FragmentKey4,
  FragmentKey6,
  IpcacheKey4,
  IpcacheKey6,
  IpMasqKey4,
  IpMasqKey6,
  LbAffinityKey4,
  LbAffinityKey6,
  LbBackend4,
  LbBackend6,
  LbKey4,
  LbKey6,
  LbReverseNat4,
  LbReverseNat6,
  LbSourceRangeKey4,
  LbSourceRangeKey6,
  NatEntry4,
  NatEntry6,
  NodeKey4,
  NodeKey6,
  ReverseSkEntry4,
  ReverseSkEntry6,
  ReverseSkKey4,
  ReverseSkKey6,
} from '../../pkg/structs.js';
import { familyOf, type Address, type Family } from '../addresses.js';
import type { StructType } from '../wasm.js';

/** A struct whose addresses are of either family. */
export type Dual<Struct> = {
  [Field in keyof Struct]: Field extends 'address' | 'daddr' | 'saddr' ? Address : Struct[Field];
};

export interface FamilyMaps {
  /** This family's map of a pair; `map` is that of IPv4. */
  readonly map: (map: MapId) => MapId;
  readonly CtTuple: StructType<Dual<CtTuple4>>;
  readonly EndpointKey: StructType<Dual<EndpointKey4>>;
  readonly FragmentKey: StructType<Dual<FragmentKey4>>;
  readonly IpcacheKey: StructType<Dual<IpcacheKey4>>;
  readonly IpMasqKey: StructType<Dual<IpMasqKey4>>;
  readonly LbAffinityKey: StructType<Dual<LbAffinityKey4>>;
  readonly LbBackend: StructType<Dual<LbBackend4>>;
  readonly LbKey: StructType<Dual<LbKey4>>;
  readonly LbReverseNat: StructType<Dual<LbReverseNat4>>;
  readonly LbSourceRangeKey: StructType<Dual<LbSourceRangeKey4>>;
  readonly NatEntry: StructType<Dual<NatEntry4>>;
  readonly NodeKey: StructType<Dual<NodeKey4>>;
  readonly ReverseSkEntry: StructType<Dual<ReverseSkEntry4>>;
  readonly ReverseSkKey: StructType<Dual<ReverseSkKey4>>;
}

const IPV4: FamilyMaps = {
  map: (map) => map,
  CtTuple: CtTuple4,
  EndpointKey: EndpointKey4,
  FragmentKey: FragmentKey4,
  IpcacheKey: IpcacheKey4,
  IpMasqKey: IpMasqKey4,
  LbAffinityKey: LbAffinityKey4,
  LbBackend: LbBackend4,
  LbKey: LbKey4,
  LbReverseNat: LbReverseNat4,
  LbSourceRangeKey: LbSourceRangeKey4,
  NatEntry: NatEntry4,
  NodeKey: NodeKey4,
  ReverseSkEntry: ReverseSkEntry4,
  ReverseSkKey: ReverseSkKey4,
};

const IPV6: FamilyMaps = {
  map: (map) => map + 1,
  CtTuple: CtTuple6,
  EndpointKey: EndpointKey6,
  FragmentKey: FragmentKey6,
  IpcacheKey: IpcacheKey6,
  IpMasqKey: IpMasqKey6,
  LbAffinityKey: LbAffinityKey6,
  LbBackend: LbBackend6,
  LbKey: LbKey6,
  LbReverseNat: LbReverseNat6,
  LbSourceRangeKey: LbSourceRangeKey6,
  NatEntry: NatEntry6,
  NodeKey: NodeKey6,
  ReverseSkEntry: ReverseSkEntry6,
  ReverseSkKey: ReverseSkKey6,
};

export const MAPS: Readonly<Record<Family, FamilyMaps>> = { IPv4: IPV4, IPv6: IPV6 };

/** The maps and structs that an address belongs in. */
export const mapsOf = (address: Address): FamilyMaps => MAPS[familyOf(address)];

/** Of a pair of maps, one a family, IPv4's; any other map is itself. */
export const pairOf = (map: MapId): MapId => (map < MapId.AFFINITY_MATCH ? map & ~1 : map);

/** The maps of which each family has one, by IPv4's numbers, and by IPv6's. */
type Four =
  | MapId.LB4_SERVICES
  | MapId.LB4_BACKENDS
  | MapId.LB4_REVERSE_NAT
  | MapId.LB4_MAGLEV
  | MapId.LB4_AFFINITY
  | MapId.LB4_SOURCE_RANGE
  | MapId.CT4
  | MapId.SNAT4
  | MapId.FRAGMENTS4
  | MapId.IPCACHE4
  | MapId.LXC4
  | MapId.NODES4
  | MapId.IPMASQ4
  | MapId.LB4_REVERSE_SK;
type Six =
  | MapId.LB6_SERVICES
  | MapId.LB6_BACKENDS
  | MapId.LB6_REVERSE_NAT
  | MapId.LB6_MAGLEV
  | MapId.LB6_AFFINITY
  | MapId.LB6_SOURCE_RANGE
  | MapId.CT6
  | MapId.SNAT6
  | MapId.FRAGMENTS6
  | MapId.IPCACHE6
  | MapId.LXC6
  | MapId.NODES6
  | MapId.IPMASQ6
  | MapId.LB6_REVERSE_SK;

/** Something for each map of both families, from what makes it for one family's by IPv4's numbers. */
export function ofBoth<Value>(
  of: (maps: FamilyMaps, family: Family) => Record<Four, Value>,
): Record<Four | Six, Value> {
  const six = Object.entries(of(IPV6, 'IPv6')).map(([map, value]) => [IPV6.map(Number(map)), value] as const);
  return { ...of(IPV4, 'IPv4'), ...(Object.fromEntries(six) as Record<Six, Value>) };
}
