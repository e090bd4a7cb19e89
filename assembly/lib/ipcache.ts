/** Addresses to identities. Cilium `bpf/lib/eps.h`, map cilium_ipcache_v2. */
import { MapId, ReservedIdentity } from '../abi';
import { LpmMap } from '../maps/lpm';
import { bitsOf, mapOf, truncate, unspecified } from '../wire/address';
import { be32 } from '../wire/bytes';
import * as trace from './trace';

/** Cilium `struct ipcache_key`; `prefixLength` counts the bits of the address only. */
@unmanaged
export class IpcacheKey<A> {
  address: A;
  prefixLength: u32;

  truncate(length: u32): void {
    this.prefixLength = length;
    truncate<A>(changetype<usize>(this), length);
  }
}

/** Cilium `struct remote_endpoint_info`. */
@unmanaged
export class RemoteEndpointInfo {
  secIdentity: u32;
  /** Address of the node to tunnel to; 0 for none. */
  tunnelEndpoint: be32;
  /** The key with which what goes there is encrypted; 0 for none. */
  key: u32;
}

export function ipcache<A>(): LpmMap<IpcacheKey<A>, RemoteEndpointInfo> {
  return changetype<LpmMap<IpcacheKey<A>, RemoteEndpointInfo>>(
    memory.data(offsetof<LpmMap<IpcacheKey<A>, RemoteEndpointInfo>>(), 16),
  );
}

function scratch<A>(): IpcacheKey<A> {
  return changetype<IpcacheKey<A>>(memory.data(offsetof<IpcacheKey<A>>(), 16));
}

/** What is known of an address (`lookup_ip4_remote_endpoint`); null when no prefix holds it. */
export function lookup<A>(address: A): RemoteEndpointInfo {
  const key = scratch<A>();
  key.prefixLength = bitsOf<A>();
  key.address = address;
  const info = ipcache<A>().longest(key);
  trace.lookup<IpcacheKey<A>, RemoteEndpointInfo>(mapOf<A>(MapId.IPCACHE4), key, info);
  return info;
}

/** The same, without a record of it: what the network knows, rather than a node. */
export function peek<A>(address: A): RemoteEndpointInfo {
  const key = scratch<A>();
  key.prefixLength = bitsOf<A>();
  key.address = address;
  return ipcache<A>().longest(key);
}

/** The identity of the world in a family: what the ipcache has for every address of which it knows no more. */
export function worldOf<A>(): u32 {
  const key = scratch<A>();
  key.prefixLength = 0;
  key.address = unspecified<A>();
  return identityOf(ipcache<A>().lookup(key));
}

/** The identity behind what `lookup` found: WORLD where nothing is known. */
export function identityOf(info: RemoteEndpointInfo): u32 {
  return info === null ? ReservedIdentity.WORLD : info.secIdentity;
}
