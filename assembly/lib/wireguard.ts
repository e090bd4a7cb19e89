/**
 * WireGuard between nodes. Cilium `bpf/lib/wireguard.h`. The ciphers are the kernel's, and no program sees what they write: here
 * the packet stands in the message as it is, without padding and tag.
 */
import { ConfigFlag, DropReason, IpProto, Mark, ReservedIdentity, WIREGUARD_PORT } from '../abi';
import { ntohs } from '../wire/bytes';
import { Ethernet, ETHERNET_LENGTH, EtherType } from '../wire/ethernet';
import { IPV4_LENGTH } from '../wire/ipv4';
import { UDP_LENGTH } from '../wire/l4';
import { WireGuard, WIREGUARD_DATA, WIREGUARD_LENGTH } from '../wire/wireguard';
import { config, has } from './config';
import * as encap from './encap';
import * as endpoint from './endpoint';
import * as ipcache from './ipcache';
import { Context } from './packet';
import * as recording from './recording';

/** Where the identities of addresses outside the cluster begin. Cilium `IDENTITY_LOCAL_SCOPE_CIDR`. */
const FIRST_CIDR_IDENTITY: u32 = 1 << 24;

/** From the frame's first byte to that of the packet in the message. */
const HEADERS: usize = ETHERNET_LENGTH + IPV4_LENGTH + UDP_LENGTH + WIREGUARD_LENGTH;

/** Whether an identity's packets are encrypted: a pod's, for the nodes' own and those from outside are not. */
function isEncrypted(identity: u32): bool {
  switch (identity) {
    case ReservedIdentity.UNKNOWN:
    case ReservedIdentity.HOST:
    case ReservedIdentity.WORLD:
    case ReservedIdentity.REMOTE_NODE:
    case ReservedIdentity.KUBE_APISERVER:
    case ReservedIdentity.WORLD_IPV4:
    case ReservedIdentity.WORLD_IPV6:
      return false;
  }
  return identity < FIRST_CIDR_IDENTITY;
}

/**
 * Whether the packet in hand, about to leave the node, goes through WireGuard (`wg_maybe_redirect_to_encrypt`):
 *
 * 1. all that is in a tunnel, so that the identity in there is hidden too
 * 2. else what a pod, or a proxy for a pod, sends to where the ipcache has a key
 */
export function isWanted<A>(ctx: Context<A>): bool {
  if (ctx.outerDaddr != 0) return true;
  if ((ctx.mark & Mark.MAGIC) != Mark.PROXY_INGRESS && !isEncrypted(ctx.sourceIdentity)) return false;
  const remote = ipcache.lookup<A>(ctx.daddr);
  return remote !== null && remote.key != 0;
}

/** Whether the packet in hand may leave as it is (`strict_allow`): unless both its ends are in the strict CIDR, and it is not the node's own. */
export function mayLeavePlain<A>(ctx: Context<A>): bool {
  if (isVector<A>() || !has(ConfigFlag.ENCRYPTION_STRICT) || ctx.outerDaddr != 0) return true;
  if (endpoint.nodeOf<A>(ctx.saddr) == ctx.node) return true;
  const mask = config.strictMask4;
  return ((<u32>ctx.saddr) & mask) != config.strictCidr4 || ((<u32>ctx.daddr) & mask) != config.strictCidr4;
}

/** Addresses the packet in hand to the node that `isWanted` found for it. */
export function address<A>(ctx: Context<A>): void {
  ctx.outerSaddr = endpoint.nodeConfigs.lookup(ctx.node).ipv4;
  if (ctx.outerDaddr == 0) ctx.outerDaddr = ipcache.peek<A>(ctx.daddr).tunnelEndpoint;
  ctx.outerSport = ntohs(WIREGUARD_PORT);
}

/** Puts the packet in hand, without its Ethernet header, in a message to where it is addressed. */
export function wrap<A>(ctx: Context<A>): void {
  const inner = ctx.data + ETHERNET_LENGTH;
  const length = <u32>(ctx.end - inner);
  ctx.data = inner - HEADERS;
  const port = ntohs(WIREGUARD_PORT);
  const message = changetype<WireGuard>(encap.putOuter<A>(ctx, ctx.outerDaddr, port, port, WIREGUARD_LENGTH + length));
  message.type = WIREGUARD_DATA;
  message.reserved1 = 0;
  message.reserved2 = 0;
  message.receiver = endpoint.nodeOf<u32>(ctx.outerDaddr);
  message.counter = 0;
  ctx.encrypted = true;
}

/** Whether the packet in hand, parsed, is such a message. */
export function isMessage<A>(ctx: Context<A>): bool {
  const port = ntohs(WIREGUARD_PORT);
  return has(ConfigFlag.WIREGUARD) && ctx.protocol == IpProto.UDP && ctx.ports == ((port << 16) | port);
}

/**
 * Takes the packet out of the message in hand, parsed, and gives it an Ethernet header again. 0, or negated INVALID for what no
 * peer has sent: it is cut off, no message for data, or not a node's.
 */
export function unwrap(ctx: Context<u32>): i32 {
  // As of a tunnel's.
  if (ctx.outerDaddr == 0) recording.spoil();
  const at = ctx.l4 + UDP_LENGTH;
  if (ctx.l4 == 0 || at + WIREGUARD_LENGTH >= ctx.ipEnd) return -DropReason.INVALID;
  if (changetype<WireGuard>(at).type != WIREGUARD_DATA || endpoint.nodeOf<u32>(ctx.saddr) == 0)
    return -DropReason.INVALID;
  const inner = at + WIREGUARD_LENGTH;
  ctx.data = inner - ETHERNET_LENGTH;
  ctx.end = ctx.ipEnd;
  const ethernet = changetype<Ethernet>(ctx.data);
  ethernet.setAddresses(0, 0);
  recording.addressed();
  ethernet.type = <u16>(load<u8>(inner) >>> 4 == 6 ? EtherType.IPV6 : EtherType.IPV4);
  ctx.outerSaddr = 0;
  ctx.outerDaddr = 0;
  return 0;
}
