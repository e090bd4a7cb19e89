/** Addresses to identities. Cilium `bpf/lib/eps.h`, map cilium_ipcache_v2. */
import { MapId, ReservedIdentity } from '../abi';
import { LpmMap } from '../maps/lpm';
import { be32, ntohl } from '../wire/bytes';
import * as trace from './trace';

/** Cilium `struct ipcache_key`; `prefixLength` counts the bits of the address only. */
@unmanaged
export class IpcacheKey {
  prefixLength: u32;
  address: be32;

  truncate(length: u32): void {
    this.prefixLength = length;
    this.address &= length == 0 ? 0 : ntohl((<u32>-1) << (32 - length));
  }
}

/** Cilium `struct remote_endpoint_info`. */
@unmanaged
export class RemoteEndpointInfo {
  secIdentity: u32;
  /** Address of the node to tunnel to; 0 for none. */
  tunnelEndpoint: be32;
}

export const ipcache = changetype<LpmMap<IpcacheKey, RemoteEndpointInfo>>(
  memory.data(offsetof<LpmMap<IpcacheKey, RemoteEndpointInfo>>(), 16),
);

const key = changetype<IpcacheKey>(memory.data(offsetof<IpcacheKey>(), 16));

/** What is known of an address (`lookup_ip4_remote_endpoint`); null when no prefix holds it. */
export function lookup(address: u32): RemoteEndpointInfo {
  key.prefixLength = 32;
  key.address = address;
  const info = ipcache.longest(key);
  trace.lookup<IpcacheKey, RemoteEndpointInfo>(MapId.IPCACHE, key, info);
  return info;
}

/** The identity behind what `lookup` found: WORLD where nothing is known. */
export function identityOf(info: RemoteEndpointInfo): u32 {
  return info === null ? ReservedIdentity.WORLD : info.secIdentity;
}
