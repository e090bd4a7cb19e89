/** Mutual authentication of identities, where a policy asks for it. Cilium `bpf/lib/auth.h`, map cilium_auth_map. */
import { AuthType, CtDirection, DropReason, MapId } from '../abi';
import { HashMap } from '../maps/hash';
import * as ct from './conntrack';
import * as endpoint from './endpoint';
import * as ipcache from './ipcache';
import { Context } from './packet';
import * as recording from './recording';
import * as trace from './trace';

/** Cilium `struct auth_key`, and since Cilium has one map a node, the node. */
@unmanaged
export class AuthKey {
  localSecLabel: u32;
  remoteSecLabel: u32;
  /** The node of the remote identity; 0 for this one. */
  remoteNodeId: u16;
  /** Whose map it is. */
  node: u16;
  authType: u8;
  pad1: u8;
  pad2: u16;
}

/** Cilium `struct auth_info`. */
@unmanaged
export class AuthInfo {
  /** In seconds of the datapath's clock. */
  expiration: u64;
}

export const authenticated = changetype<HashMap<AuthKey, AuthInfo>>(
  memory.data(offsetof<HashMap<AuthKey, AuthInfo>>(), 16),
);

const key = changetype<AuthKey>(memory.data(offsetof<AuthKey>(), 16));

/**
 * How the two ends of the packet in hand must have authenticated for an entry of the policymap; 0 for not at all. Where the
 * entry that decides does not name its own way, that of the less specific one beside it holds, if that is stricter.
 */
export function required(decisive: u32, other: u32): u32 {
  const own = decisive & AuthType.TYPE;
  const beside = other & AuthType.TYPE;
  return (decisive & AuthType.EXPLICIT) == 0 && beside > own ? beside : own;
}

/**
 * Whether the identity `remote` has authenticated to that of the endpoint in hand, and that still holds (`auth_lookup`).
 * 0, or negated POLICY_AUTH_REQUIRED, also where nothing is known of a sender's address, NO_NODE_ID where the remote's node is not.
 */
export function check<A>(ctx: Context<A>, direction: CtDirection, local: u32, remote: u32, type: u32): i32 {
  recording.spoil();
  const info = ipcache.lookup<A>(direction == CtDirection.EGRESS ? ctx.daddr : ctx.saddr);
  if (info === null && direction == CtDirection.INGRESS) return -DropReason.POLICY_AUTH_REQUIRED;
  let node: u32 = 0;
  if (info !== null && info.tunnelEndpoint != 0) {
    node = endpoint.nodeOf<u32>(info.tunnelEndpoint);
    if (node == 0) return -DropReason.NO_NODE_ID;
  }
  key.localSecLabel = local;
  key.remoteSecLabel = remote;
  key.remoteNodeId = <u16>(node == ctx.node ? 0 : node);
  key.node = <u16>ctx.node;
  key.authType = <u8>type;
  const entry = authenticated.lookup(key);
  trace.lookup<AuthKey, AuthInfo>(MapId.AUTH, key, entry);
  return entry !== null && ct.now < entry.expiration ? 0 : -DropReason.POLICY_AUTH_REQUIRED;
}
