/** Endpoints and nodes: who has which address, and what its programs are configured with. */
import { EndpointFlag, MapId } from '../abi';
import { ArrayMap } from '../maps/array';
import { HashMap } from '../maps/hash';
import { mapOf } from '../wire/address';
import { be128, be32 } from '../wire/bytes';
import * as trace from './trace';

/** Cilium `struct endpoint_key`. The map is one a node there, so here the node is part of the key. */
@unmanaged
export class EndpointKey<A> {
  address: A;
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
  /** The pod's addresses; 0 for a family that it has none of. */
  ipv6: be128;
  ipv4: be32;
  secId: u32;
  /** The policy that both directions of this endpoint share with all pods like it; 0 while it has none. */
  policyId: u32;
  node: u16;
  pad: u16;

  /** The address of a family. */
  address<A>(): A {
    if (isVector<A>()) return this.ipv6;
    return this.ipv4;
  }
}

/** What a node's programs are compiled with (`IPV4_GATEWAY`, `NATIVE_DEV_MAC`). */
@unmanaged
export class NodeConfig {
  /** Its addresses; 0 for a family that it has none of. The IPv4 address is its end of tunnels. */
  ipv6: be128;
  mac: u64;
  ipv4: be32;
  /** The policy of the node itself, where nodes have a firewall; 0 for none. */
  policyId: u32;

  /** The address of a family. */
  address<A>(): A {
    if (isVector<A>()) return this.ipv6;
    return this.ipv4;
  }
}

@unmanaged
export class NodeKey<A> {
  address: A;
}

@unmanaged
export class NodeValue {
  node: u32;
}

export function lxc<A>(): HashMap<EndpointKey<A>, EndpointInfo> {
  return changetype<HashMap<EndpointKey<A>, EndpointInfo>>(
    memory.data(offsetof<HashMap<EndpointKey<A>, EndpointInfo>>(), 16),
  );
}

export function nodes<A>(): HashMap<NodeKey<A>, NodeValue> {
  return changetype<HashMap<NodeKey<A>, NodeValue>>(memory.data(offsetof<HashMap<NodeKey<A>, NodeValue>>(), 16));
}

export const configs = changetype<ArrayMap<EndpointConfig>>(memory.data(offsetof<ArrayMap<EndpointConfig>>(), 16));
export const nodeConfigs = changetype<ArrayMap<NodeConfig>>(memory.data(offsetof<ArrayMap<NodeConfig>>(), 16));

function scratch<A>(): EndpointKey<A> {
  return changetype<EndpointKey<A>>(memory.data(offsetof<EndpointKey<A>>(), 16));
}

function nodeScratch<A>(): NodeKey<A> {
  return changetype<NodeKey<A>>(memory.data(offsetof<NodeKey<A>>(), 16));
}

/** The endpoint with that address on that node (`lookup_ip4_endpoint`); null for none. */
export function lookup<A>(address: A, node: u32): EndpointInfo {
  const key = scratch<A>();
  key.address = address;
  store<u32>(changetype<usize>(key) + offsetof<EndpointKey<A>>('node'), node);
  const info = lxc<A>().lookup(key);
  trace.lookup<EndpointKey<A>, EndpointInfo>(mapOf<A>(MapId.LXC4), key, info);
  return info;
}

/** Whether an entry stands for the node itself. */
export function isHost(info: EndpointInfo): bool {
  return (info.flags & EndpointFlag.HOST) != 0;
}

/** The node that has an address, 0 for none. */
export function nodeOf<A>(address: A): u32 {
  const key = nodeScratch<A>();
  key.address = address;
  const value = nodes<A>().lookup(key);
  return value === null ? 0 : value.node;
}
