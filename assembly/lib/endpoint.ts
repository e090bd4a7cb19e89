/** Endpoints and nodes: who has which address, and what its programs are configured with. */
import { EndpointFlag, MapId } from '../abi';
import { ArrayMap } from '../maps/array';
import { HashMap } from '../maps/hash';
import * as trace from './trace';
import { be32 } from '../wire/bytes';

/** Cilium `struct endpoint_key`. The map is one a node there, so here the node is part of the key. */
@unmanaged
export class EndpointKey {
  address: be32;
  node: u16;
  pad: u16;
}

/** Cilium `struct endpoint_info`. */
@unmanaged
export class EndpointInfo {
  lxcId: u32;
  secId: u32;
  /** Bits of `EndpointFlag`. */
  flags: u32;
  pad: u32;
}

/** What an endpoint's programs are compiled with in Cilium (`LXC_ID`, `SECLABEL`, `LXC_IPV4`, the addresses of its link). */
@unmanaged
export class EndpointConfig {
  /** The six bytes of the pod's hardware address, in wire order from the lowest on. */
  mac: u64;
  /** Of the node's end of the link. */
  nodeMac: u64;
  /** 0 marks an unused number. */
  address: be32;
  secId: u32;
  /** The policy that both directions of this endpoint share with all pods like it; 0 while it has none. */
  policyId: u32;
  node: u16;
  pad: u16;
}

/** What a node's programs are compiled with (`IPV4_GATEWAY`, `NATIVE_DEV_MAC`). */
@unmanaged
export class NodeConfig {
  mac: u64;
  address: be32;
  pad: u32;
}

@unmanaged
export class NodeKey {
  address: be32;
}

@unmanaged
export class NodeValue {
  node: u32;
}

export const lxc = changetype<HashMap<EndpointKey, EndpointInfo>>(
  memory.data(offsetof<HashMap<EndpointKey, EndpointInfo>>(), 16),
);
export const configs = changetype<ArrayMap<EndpointConfig>>(memory.data(offsetof<ArrayMap<EndpointConfig>>(), 16));
export const nodeConfigs = changetype<ArrayMap<NodeConfig>>(memory.data(offsetof<ArrayMap<NodeConfig>>(), 16));
export const nodes = changetype<HashMap<NodeKey, NodeValue>>(memory.data(offsetof<HashMap<NodeKey, NodeValue>>(), 16));

const key = changetype<EndpointKey>(memory.data(offsetof<EndpointKey>(), 16));
const nodeKey = changetype<NodeKey>(memory.data(offsetof<NodeKey>(), 16));

/** The endpoint with that address on that node (`lookup_ip4_endpoint`); null for none. */
export function lookup(address: u32, node: u32): EndpointInfo {
  key.address = address;
  store<u32>(changetype<usize>(key) + offsetof<EndpointKey>('node'), node);
  const info = lxc.lookup(key);
  trace.lookup<EndpointKey, EndpointInfo>(MapId.LXC, key, info);
  return info;
}

/** Whether an entry stands for the node itself. */
export function isHost(info: EndpointInfo): bool {
  return (info.flags & EndpointFlag.HOST) != 0;
}

/** The node that has an address, 0 for none. */
export function nodeOf(address: u32): u32 {
  nodeKey.address = address;
  const value = nodes.lookup(nodeKey);
  return value === null ? 0 : value.node;
}
