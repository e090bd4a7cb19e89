/** The programs on a pod's link. Cilium `bpf/bpf_lxc.c`. */
import {
  ConfigFlag,
  CtDirection,
  CtFlag,
  CtStatus,
  DropReason,
  Program,
  ReservedIdentity,
  Step,
  TracePoint,
} from './abi';
import * as config from './lib/config';
import * as ct from './lib/conntrack';
import * as delivery from './lib/delivery';
import * as dsr from './lib/dsr';
import * as encap from './lib/encap';
import * as endpoint from './lib/endpoint';
import { EndpointConfig } from './lib/endpoint';
import * as ipcache from './lib/ipcache';
import * as lb from './lib/lb';
import * as masquerade from './lib/masquerade';
import * as nat from './lib/nat';
import { Context, icmpOf } from './lib/packet';
import { parse } from './lib/parse';
import * as policy from './lib/policy';
import * as proxy from './lib/proxy';
import * as route from './lib/route';
import * as service from './lib/service';
import * as trace from './lib/trace';
import { loopback, unspecified } from './wire/address';
import { Icmp6Type } from './wire/icmp';

/**
 * What a pod sends (`cil_from_container`):
 *
 * 1. the frame is whole, and its source is the pod's own address
 * 2. a Service's address becomes a backend's
 * 3. the connection is looked up
 * 4. the destination's identity is looked up
 * 5. the egress policy decides, unless this is a reply, an error about a known connection, or a packet to itself
 * 6. a new connection is remembered, and one that was known as another's
 * 7. it is delivered, or left to the proxy that the policy names, or that the connection came from
 */
export function fromContainer<A>(ctx: Context<A>): i32 {
  const own = endpoint.configs.lookup(ctx.endpoint);
  if (own === null || own.policyId == 0) return -DropReason.EP_NOT_READY;
  ctx.node = own.node;
  ctx.sourceIdentity = own.secId;
  let result = parse<A>(ctx);
  trace.step<A>(ctx, Step.RECEIVE, TracePoint.FROM_LXC, 0);
  if (result < 0) return result;
  // A pod without an address of this family has nothing to send from.
  if (ctx.saddr != own.address<A>() || ctx.saddr == unspecified<A>()) return -DropReason.INVALID_SIP;
  if (isSolicitation<A>(ctx)) return solicited<A>(ctx);

  result = translate<A>(ctx);
  if (result != 0) return result;
  const revNatIndex = ctx.revNatIndex;
  const looped = ctx.loopback;

  const status = ct.lookup<A>(ctx, CtDirection.EGRESS);
  trace.step<A>(ctx, Step.CT, trace.NO_POINT, CtDirection.EGRESS);
  const back = status == CtStatus.REPLY || status == CtStatus.RELATED;
  if (back) {
    if (ctx.proxied) return proxy.redirect<A>(ctx, 0);
    if (ctx.daddr == loopback<A>()) return toItself<A>(ctx);
    // What came in the node's name goes back to whom it was for, and is asked for at the node.
    if (config.has(ConfigFlag.SERVICE_MASQUERADE) && nat.reverse<A>(ctx)) return route.back<A>(ctx);
    // The client outside knows only the Service, and no program of a pod comes after this one.
    if (ctx.nodePort) {
      if (status == CtStatus.REPLY) ct.countNodePort<A>(ctx);
      lb.reverse<A>(ctx);
    } else if (ctx.dsr) dsr.reverse<A>(ctx);
  }
  // Only this packet's own translation loops it: what is known of its connection lets nobody past the policy.
  ctx.loopback = looped;

  const remote = ipcache.lookup<A>(ctx.daddr);
  ctx.destinationIdentity = ipcache.identityOf(remote);
  // The ipcache is one for all nodes, and each is the host to its own pods.
  if (ctx.destinationIdentity == ReservedIdentity.REMOTE_NODE && endpoint.nodeOf<A>(ctx.daddr) == ctx.node)
    ctx.destinationIdentity = ReservedIdentity.HOST;

  let proxyPort: u32 = 0;
  if (!back && !looped) {
    result = allowEgress<A>(ctx, own);
    if (result < 0) return result;
    proxyPort = result;
  }
  if (status == CtStatus.NEW || (!back && ct.isStale<A>(ctx, revNatIndex, proxyPort != 0))) {
    const flags = (looped ? CtFlag.LB_LOOPBACK : 0) | (proxyPort != 0 ? CtFlag.PROXY_REDIRECT : 0);
    result = ct.create<A>(ctx, CtDirection.EGRESS, revNatIndex, ctx.backendId, flags);
    if (result < 0) return result;
  }
  if (proxyPort != 0) return proxy.redirect<A>(ctx, proxyPort);
  result = masquerade.asNoted<A>(ctx);
  return result < 0 ? result : deliver<A>(ctx, remote);
}

/** A question for the hardware address of a neighbour, which a pod's routes never make it ask but of its node. */
function isSolicitation<A>(ctx: Context<A>): bool {
  return isVector<A>() && ctx.protocol == icmpOf<A>() && ctx.icmpType == Icmp6Type.NEIGHBOR_SOLICITATION;
}

/** The node's stack answers for the node (`icmp6_handle_ns`); nobody else is on the link. */
function solicited<A>(ctx: Context<A>): i32 {
  const info = endpoint.lookup<A>(ctx.daddr, ctx.node);
  return info !== null && endpoint.isHost(info) ? delivery.toStack<A>(ctx, true) : -DropReason.UNKNOWN_TARGET;
}

/** A Service's address becomes a backend's (`__per_packet_lb_svc_xlate_4`); any other packet is left alone. 0 to go on. */
function translate<A>(ctx: Context<A>): i32 {
  ctx.revNatIndex = 0;
  ctx.backendId = 0;
  ctx.loopback = false;
  const found = lb.lookupService<A>(ctx, false);
  if (found === null || (ctx.quoted != 0 && lb.localQuoted<A>(ctx))) return 0;
  const result = service.lend<A>(ctx, found, Program.DELIVERED);
  if (result == 0) masquerade.note<A>(ctx, found, masquerade.Client.POD);
  return result;
}

/** Egress policy; a pod may not speak the tunnel's own protocol to a node, or it could forge identities. */
function allowEgress<A>(ctx: Context<A>, own: EndpointConfig): i32 {
  const identity = ctx.destinationIdentity;
  if (encap.isTunnel<A>(ctx) && (identity == ReservedIdentity.HOST || identity == ReservedIdentity.REMOTE_NODE)) {
    return -DropReason.ENCAP_PROHIBITED;
  }
  return policy.canAccess<A>(ctx, own.policyId, CtDirection.EGRESS, own.secId, identity);
}

/** The reply of a pod to itself: it takes the way to its own ingress, where the Service's address comes back. */
function toItself<A>(ctx: Context<A>): i32 {
  const own = endpoint.configs.lookup(ctx.endpoint);
  ctx.loopback = false;
  ctx.destinationIdentity = own.secId;
  const info = endpoint.lookup<A>(own.address<A>(), ctx.node);
  return info === null ? -DropReason.UNROUTABLE : delivery.toEndpoint<A>(ctx, info);
}

/** To an endpoint of this node, to the node itself, or on. */
function deliver<A>(ctx: Context<A>, remote: ipcache.RemoteEndpointInfo): i32 {
  const info = endpoint.lookup<A>(ctx.daddr, ctx.node);
  if (info !== null) return endpoint.isHost(info) ? delivery.toStack<A>(ctx, true) : delivery.toEndpoint<A>(ctx, info);
  ctx.aggregate = ctx.endpoint;
  return delivery.onward<A>(ctx, remote);
}

/**
 * What reaches a pod (`cil_lxc_policy`, `ipv4_policy`):
 *
 * 1. the connection is looked up
 * 2. a reply, or an error about a known connection, gets the Service's address back as its source, and passes; unless a
 *    proxy has made the connection, and gets it
 * 3. the ingress policy decides, unless the pod speaks to itself through a Service, or its own proxy has decided
 * 4. a new connection is remembered
 * 5. the packet is handed over, or left to the proxy that the policy names
 */
export function ingressPolicy<A>(ctx: Context<A>): i32 {
  const own = endpoint.configs.lookup(ctx.endpoint);
  ctx.destinationIdentity = own.secId;
  // Set by this packet's own translation: an address on the wire proves nothing.
  const looped = ctx.loopback;
  const status = ct.lookup<A>(ctx, CtDirection.INGRESS);
  trace.step<A>(ctx, Step.CT, trace.NO_POINT, CtDirection.INGRESS);
  if (status == CtStatus.REPLY || status == CtStatus.RELATED) {
    if (ctx.proxied && !proxy.isFromEgress<A>(ctx)) return proxy.redirect<A>(ctx, 0);
    if (ctx.revNatIndex != 0) lb.reverse<A>(ctx);
  } else {
    let proxyPort: u32 = 0;
    if (!looped && !proxy.isFromIngress<A>(ctx)) {
      const result = policy.canAccess<A>(ctx, own.policyId, CtDirection.INGRESS, own.secId, ctx.sourceIdentity);
      if (result < 0) return result;
      proxyPort = result;
    }
    if (status == CtStatus.NEW) {
      const result = remember<A>(ctx, looped, proxyPort != 0);
      if (result < 0) return result;
    }
    if (proxyPort != 0) return proxy.redirect<A>(ctx, proxyPort);
  }
  trace.step<A>(ctx, Step.DELIVER, TracePoint.TO_LXC, 0);
  return config.has(ConfigFlag.SOCKET_LB) ? Program.SOCK_RECVMSG : Program.DELIVERED;
}

/** A new connection at the pod; through a Service from outside when this node's device, or another node's, has just let it in. */
function remember<A>(ctx: Context<A>, looped: bool, proxied: bool): i32 {
  const opened = ct.peek<A>(ctx, CtDirection.EGRESS);
  const marks: u32 = opened === null ? 0 : opened.flags & (CtFlag.NODE_PORT | CtFlag.DSR_INTERNAL);
  const revNatIndex = (marks & CtFlag.NODE_PORT) != 0 ? opened.revNatIndex : 0;
  const flags = marks | (looped ? CtFlag.LB_LOOPBACK : 0) | (proxied ? CtFlag.PROXY_REDIRECT : 0);
  return ct.create<A>(ctx, CtDirection.INGRESS, revNatIndex, 0, flags);
}
