/** What leaves in the node's name. Cilium `bpf/lib/nat.h`, maps cilium_ipmasq_v4 and cilium_ipmasq_v6. */
import { ConfigFlag, CtStatus, KeptSource, MapId, ReservedIdentity, SvcFlag } from '../abi';
import { LpmMap } from '../maps/lpm';
import { bitsOf, mapOf, truncate } from '../wire/address';
import * as config from './config';
import * as ct from './conntrack';
import * as endpoint from './endpoint';
import * as ipcache from './ipcache';
import { LbService } from './lb';
import * as nat from './nat';
import { Context } from './packet';
import * as proxy from './proxy';
import * as trace from './trace';

/** Cilium `struct lpm_v4_key`, `lpm_v6_key`; `prefixLength` counts the bits of the address only. */
@unmanaged
export class IpMasqKey<A> {
  address: A;
  prefixLength: u32;

  truncate(length: u32): void {
    this.prefixLength = length;
    truncate<A>(changetype<usize>(this), length);
  }
}

/** That it is there says all. */
@unmanaged
export class IpMasq {
  present: u32;
}

export function nonMasquerade<A>(): LpmMap<IpMasqKey<A>, IpMasq> {
  return changetype<LpmMap<IpMasqKey<A>, IpMasq>>(memory.data(offsetof<LpmMap<IpMasqKey<A>, IpMasq>>(), 16));
}

function scratch<A>(): IpMasqKey<A> {
  return changetype<IpMasqKey<A>>(memory.data(offsetof<IpMasqKey<A>>(), 16));
}

/** Whether ip-masq-agent says that pods keep their addresses to there. */
function isNonMasquerade<A>(address: A): bool {
  const key = scratch<A>();
  key.prefixLength = bitsOf<A>();
  key.address = address;
  const found = nonMasquerade<A>().longest(key);
  trace.lookup<IpMasqKey<A>, IpMasq>(mapOf<A>(MapId.IPMASQ4), key, found);
  return found !== null;
}

/** Whether the identity behind an address is a node's. Cilium `identity_is_remote_node`. */
function isNode(identity: u32): bool {
  return identity == ReservedIdentity.REMOTE_NODE || identity == ReservedIdentity.KUBE_APISERVER;
}

/** Why the last packet that `leave` saw kept its source. */
export let kept: KeptSource = KeptSource.NOT;

function keep(why: KeptSource): bool {
  kept = why;
  return false;
}

/**
 * Whether the packet in hand, about to leave the node outside of any tunnel, goes in the node's name
 * (`snat_v4_needs_masquerade`). Not:
 *
 * 1. a reply, also that of a proxy
 * 2. to where the network carries pods' addresses: the native routing CIDR; where none is set, to pods
 * 3. what no pod of this node sent
 * 4. to where ip-masq-agent says so
 * 5. to a node, where the network carries pods' addresses between nodes
 */
function isNeeded<A>(ctx: Context<A>): bool {
  if (ctx.ctStatus == CtStatus.REPLY || (proxy.isFrom<A>(ctx) && ct.isReply<A>(ctx))) return false;
  if (config.isNative<A>(ctx.daddr)) return keep(KeptSource.NATIVE_CIDR);
  const sender = endpoint.lookup<A>(ctx.saddr, ctx.node);
  if (sender === null || endpoint.isHost(sender)) return false;
  if (config.has(ConfigFlag.IP_MASQ_AGENT) && isNonMasquerade<A>(ctx.daddr)) return keep(KeptSource.IP_MASQ_AGENT);
  if (!config.has(ConfigFlag.NATIVE_ROUTING)) return true;
  if (isNode(ctx.destinationIdentity)) return keep(KeptSource.NODE);
  if (config.has(isVector<A>() ? ConfigFlag.NATIVE_CIDR6 : ConfigFlag.NATIVE_CIDR4)) return true;
  const remote = ipcache.lookup<A>(ctx.daddr);
  return remote === null || remote.tunnelEndpoint == 0 || keep(KeptSource.POD);
}

/** Gives what leaves the node its address, where that is needed; `kept` tells why it was not. 0, or a negated drop reason of `nat.masquerade`. */
export function leave<A>(ctx: Context<A>): i32 {
  kept = KeptSource.NOT;
  if (ctx.snatDone || !config.has(ConfigFlag.MASQUERADE)) return 0;
  // What the node says in its own name must not be taken for what it says in others'.
  if (ctx.sourceIdentity == ReservedIdentity.HOST) return ctx.saddr == nodeAddress<A>(ctx) ? nat.reserve<A>(ctx) : 0;
  return isNeeded<A>(ctx) ? nat.masquerade<A>(ctx, nodeAddress<A>(ctx)) : 0;
}

/** The address that the node has in the packet's family. */
export function nodeAddress<A>(ctx: Context<A>): A {
  return endpoint.nodeConfigs.lookup(ctx.node).address<A>();
}

/** Who asks a Service. */
export const enum Client {
  POD,
  NODE,
  WORLD,
}

const EXTERNAL: u32 = SvcFlag.EXTERNAL_IP | SvcFlag.NODEPORT | SvcFlag.LOADBALANCER;

/**
 * Notes whether the packet in hand, just lent to a backend of `service`, goes on in the node's name as kube-proxy has it
 * (KUBE-MARK-MASQ):
 *
 * 1. one that comes back to its sender
 * 2. to an external address: everybody's; where that keeps clients to their node, the node's own only
 * 3. to a ClusterIP: everybody's, or that of whoever is no pod, where it is set so
 */
export function note<A>(ctx: Context<A>, service: LbService, client: Client): void {
  if (!config.has(ConfigFlag.SERVICE_MASQUERADE)) return;
  if (ctx.saddr == ctx.daddr) ctx.masquerade = true;
  else if (((<u32>service.flags) & EXTERNAL) != 0)
    ctx.masquerade = (service.flags & SvcFlag.EXT_LOCAL_SCOPE) == 0 || client == Client.NODE;
  else
    ctx.masquerade =
      config.has(ConfigFlag.MASQUERADE_ALL) || (config.has(ConfigFlag.MASQUERADE_NON_LOCAL) && client != Client.POD);
}

/** Gives the packet in hand the node's address, where `note` says so; it then is the node's. 0, or as `nat.masquerade`. */
export function asNoted<A>(ctx: Context<A>): i32 {
  if (!ctx.masquerade) return 0;
  ctx.masquerade = false;
  ctx.snatDone = true;
  ctx.sourceIdentity = ReservedIdentity.HOST;
  const address = nodeAddress<A>(ctx);
  return ctx.saddr == address ? 0 : nat.masquerade<A>(ctx, address);
}
