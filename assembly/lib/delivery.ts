/** The last steps: to an endpoint of this node, into the tunnel, to another node, or to the stack. Cilium `bpf/lib/local_delivery.h`, `l3.h`. */
import { ConfigFlag, DropReason, Program, ReservedIdentity, Step, TracePoint, TUNNEL_OVERHEAD } from '../abi';
import { unspecified } from '../wire/address';
import * as checksum from '../wire/checksum';
import { Ethernet } from '../wire/ethernet';
import { Ipv4 } from '../wire/ipv4';
import { Ipv6 } from '../wire/ipv6';
import { config, has } from './config';
import * as edt from './edt';
import * as encap from './encap';
import * as endpoint from './endpoint';
import { EndpointInfo } from './endpoint';
import * as icmp from './icmp';
import { RemoteEndpointInfo } from './ipcache';
import { Context } from './packet';
import * as recording from './recording';
import * as trace from './trace';

/** The next packet of this flow may have more hops left. */
function expired(): i32 {
  recording.spoil();
  return -DropReason.TTL_EXCEEDED;
}

/** Takes one off the TTL or hop limit (`ipv4_l3`, `ipv6_l3`). 0, or negated TTL_EXCEEDED. */
export function decrementTtl<A>(ctx: Context<A>): i32 {
  if (isVector<A>()) {
    const ip = changetype<Ipv6>(ctx.ip);
    if (ip.hopLimit <= 1) return expired();
    ip.hopLimit--;
    return 0;
  }
  const ip = changetype<Ipv4>(ctx.ip);
  const ttl = ip.ttl;
  if (ttl <= 1) return expired();
  ip.ttl = ttl - 1;
  ip.checksum = checksum.update(ip.checksum, checksum.difference(ttl, ttl - 1));
  return 0;
}

/** Routes the packet to an endpoint of this node; its policy program is next. Negated TTL_EXCEEDED or EP_NOT_READY otherwise. */
export function toEndpoint<A>(ctx: Context<A>, info: EndpointInfo): i32 {
  const result = decrementTtl<A>(ctx);
  if (result < 0) return result;
  const config = endpoint.configs.lookup(info.lxcId);
  if (config === null || config.policyId == 0) return -DropReason.EP_NOT_READY;
  changetype<Ethernet>(ctx.data).setAddresses(config.mac, config.nodeMac);
  recording.addressed();
  ctx.endpoint = info.lxcId;
  return Program.LXC_POLICY;
}

/** Whether the packet in hand is longer than `mtu` bytes, and may not be cut in pieces on the way; IPv6's never may (RFC 8200 section 5). */
function isTooBig<A>(ctx: Context<A>, mtu: u32): bool {
  if (config.mtu == 0) return false;
  if (<u32>(ctx.ipEnd - ctx.ip) <= mtu) {
    recording.fits(mtu);
    return false;
  }
  recording.spoil();
  return isVector<A>() || changetype<Ipv4>(ctx.ip).dontFragment;
}

/** Tells the sender what fits; the node's stack does, and sends the error as it sends all its packets. */
export function fragmentationNeeded<A>(ctx: Context<A>, mtu: u32): i32 {
  if (!icmp.mayAnswer<A>(ctx)) return -DropReason.FRAG_NEEDED;
  icmp.tooBig<A>(ctx, mtu);
  ctx.sourceIdentity = ReservedIdentity.HOST;
  return Program.FROM_HOST;
}

/** Whether what goes to there takes the tunnel. */
export function isTunnelled(remote: RemoteEndpointInfo): bool {
  return remote !== null && remote.tunnelEndpoint != 0 && !has(ConfigFlag.NATIVE_ROUTING);
}

/**
 * To where no endpoint of this node is, `remote` being what the ipcache says of it:
 *
 * 1. through the tunnel, where it names the other end
 * 2. by the network, where that carries pods' own addresses between nodes
 * 3. the stack
 */
export function onward<A>(ctx: Context<A>, remote: RemoteEndpointInfo): i32 {
  if (remote === null || remote.tunnelEndpoint == 0) return toStack<A>(ctx, false);
  return has(ConfigFlag.NATIVE_ROUTING) ? toNode<A>(ctx, remote) : toOverlay<A>(ctx, remote);
}

/** Sends the packet through the tunnel to the node of its destination, at its pod's pace (`cil_to_overlay`); the wire is next. */
function toOverlay<A>(ctx: Context<A>, info: RemoteEndpointInfo): i32 {
  const mtu = config.mtu - TUNNEL_OVERHEAD;
  if (isTooBig<A>(ctx, mtu)) return fragmentationNeeded<A>(ctx, mtu);
  const result = decrementTtl<A>(ctx);
  if (result < 0) return result;
  const late = edt.schedule<A>(ctx);
  if (late < 0) return late;
  const vni = encap.wrap<A>(ctx, info.tunnelEndpoint, ctx.sourceIdentity, 0);
  trace.step<A>(ctx, Step.ENCAP, TracePoint.TO_OVERLAY, vni);
  return Program.TO_NETDEV;
}

/**
 * Routes the packet to the node of its destination as it is (`auto-direct-node-routes`): the route to that node's pods leads by
 * its address of the same family. Negated NO_FIB where it has none, TTL_EXCEEDED.
 */
function toNode<A>(ctx: Context<A>, info: RemoteEndpointInfo): i32 {
  const node = endpoint.nodeOf<u32>(info.tunnelEndpoint);
  if (node == 0 || endpoint.nodeConfigs.lookup(node).address<A>() == unspecified<A>()) return -DropReason.NO_FIB;
  if (isTooBig<A>(ctx, config.mtu)) return fragmentationNeeded<A>(ctx, config.mtu);
  const result = decrementTtl<A>(ctx);
  if (result < 0) return result;
  trace.step<A>(ctx, Step.ROUTE, TracePoint.TO_STACK, node);
  return Program.TO_NETDEV;
}

/** Hands the packet to the node's own processes. */
export function toHost<A>(ctx: Context<A>): i32 {
  trace.step<A>(ctx, Step.DELIVER, TracePoint.TO_HOST, 0);
  ctx.endpoint = 0;
  return has(ConfigFlag.SOCKET_LB) ? Program.SOCK_RECVMSG : Program.HOST;
}

/** Leaves the packet to the node's stack: for the node itself, or to be routed out. */
export function toStack<A>(ctx: Context<A>, isHost: bool): i32 {
  if (isHost) {
    if (!has(ConfigFlag.HOST_FIREWALL)) return toHost<A>(ctx);
    ctx.endpoint = 0;
    return Program.TO_HOST;
  }
  if (isTooBig<A>(ctx, config.mtu)) return fragmentationNeeded<A>(ctx, config.mtu);
  trace.step<A>(ctx, Step.ROUTE, TracePoint.TO_STACK, 0);
  return Program.TO_NETDEV;
}
