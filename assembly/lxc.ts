/** The programs on a pod's link. Cilium `bpf/bpf_lxc.c`. */
import { CtDirection, CtFlag, CtStatus, DropReason, Program, ReservedIdentity, Step, TracePoint } from './abi';
import * as ct from './lib/conntrack';
import * as delivery from './lib/delivery';
import * as encap from './lib/encap';
import * as endpoint from './lib/endpoint';
import { EndpointConfig } from './lib/endpoint';
import * as ipcache from './lib/ipcache';
import * as lb from './lib/lb';
import { Context, icmpOf } from './lib/packet';
import { parse } from './lib/parse';
import * as policy from './lib/policy';
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
 * 6. a new connection is remembered
 * 7. it is delivered
 */
export function fromContainer<A>(ctx: Context<A>): i32 {
  const config = endpoint.configs.lookup(ctx.endpoint);
  if (config === null || config.policyId == 0) return -DropReason.EP_NOT_READY;
  ctx.node = config.node;
  ctx.sourceIdentity = config.secId;
  let result = parse<A>(ctx);
  trace.step<A>(ctx, Step.RECEIVE, TracePoint.FROM_LXC, 0);
  if (result < 0) return result;
  // A pod without an address of this family has nothing to send from.
  if (ctx.saddr != config.address<A>() || ctx.saddr == unspecified<A>()) return -DropReason.INVALID_SIP;
  if (isSolicitation<A>(ctx)) return solicited<A>(ctx);

  result = translate<A>(ctx);
  if (result != 0) return result;
  const revNatIndex = ctx.revNatIndex;
  const looped = ctx.loopback;

  const status = ct.lookup<A>(ctx, CtDirection.EGRESS);
  trace.step<A>(ctx, Step.CT, trace.NO_POINT, CtDirection.EGRESS);
  const back = status == CtStatus.REPLY || status == CtStatus.RELATED;
  if (back) {
    if (ctx.daddr == loopback<A>()) return toItself<A>(ctx);
    // The client outside knows only the Service, and no program of a pod comes after this one.
    if (ctx.nodePort) lb.reverse<A>(ctx);
  }
  // Only this packet's own translation loops it: what is known of its connection lets nobody past the policy.
  ctx.loopback = looped;

  const remote = ipcache.lookup<A>(ctx.daddr);
  ctx.destinationIdentity = ipcache.identityOf(remote);

  if (!back && !looped) {
    result = allowEgress<A>(ctx, config);
    if (result < 0) return result;
  }
  if (status == CtStatus.NEW) {
    result = ct.create<A>(ctx, CtDirection.EGRESS, revNatIndex, ctx.backendId, looped ? CtFlag.LB_LOOPBACK : 0);
    if (result < 0) return result;
  }
  return deliver<A>(ctx, remote);
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
  return service.lend<A>(ctx, found, Program.DELIVERED);
}

/** Egress policy; a pod may not speak the tunnel's own protocol to a node, or it could forge identities. */
function allowEgress<A>(ctx: Context<A>, config: EndpointConfig): i32 {
  const identity = ctx.destinationIdentity;
  if (encap.isTunnel<A>(ctx) && (identity == ReservedIdentity.HOST || identity == ReservedIdentity.REMOTE_NODE)) {
    return -DropReason.ENCAP_PROHIBITED;
  }
  return policy.canAccess<A>(ctx, config.policyId, identity, 1);
}

/** The reply of a pod to itself: it takes the way to its own ingress, where the Service's address comes back. */
function toItself<A>(ctx: Context<A>): i32 {
  const config = endpoint.configs.lookup(ctx.endpoint);
  ctx.loopback = false;
  ctx.destinationIdentity = config.secId;
  const info = endpoint.lookup<A>(config.address<A>(), ctx.node);
  return info === null ? -DropReason.UNROUTABLE : delivery.toEndpoint<A>(ctx, info);
}

/**
 * 1. an endpoint of this node, or the node itself
 * 2. through the tunnel, where the ipcache names its other end
 * 3. the stack
 */
function deliver<A>(ctx: Context<A>, remote: ipcache.RemoteEndpointInfo): i32 {
  const info = endpoint.lookup<A>(ctx.daddr, ctx.node);
  if (info !== null) return endpoint.isHost(info) ? delivery.toStack<A>(ctx, true) : delivery.toEndpoint<A>(ctx, info);
  if (remote !== null && remote.tunnelEndpoint != 0) return delivery.toOverlay<A>(ctx, remote);
  return delivery.toStack<A>(ctx, false);
}

/**
 * What reaches a pod (`cil_lxc_policy`, `ipv4_policy`):
 *
 * 1. the connection is looked up
 * 2. a reply, or an error about a known connection, gets the Service's address back as its source, and passes
 * 3. the ingress policy decides, unless the pod speaks to itself through a Service
 * 4. a new connection is remembered
 * 5. the packet is handed over
 */
export function ingressPolicy<A>(ctx: Context<A>): i32 {
  const config = endpoint.configs.lookup(ctx.endpoint);
  ctx.destinationIdentity = config.secId;
  // Set by this packet's own translation: an address on the wire proves nothing.
  const looped = ctx.loopback;
  const status = ct.lookup<A>(ctx, CtDirection.INGRESS);
  trace.step<A>(ctx, Step.CT, trace.NO_POINT, CtDirection.INGRESS);
  if (status == CtStatus.REPLY || status == CtStatus.RELATED) {
    if (ctx.revNatIndex != 0) lb.reverse<A>(ctx);
  } else {
    if (!looped) {
      const result = policy.canAccess<A>(ctx, config.policyId, ctx.sourceIdentity, 0);
      if (result < 0) return result;
    }
    if (status == CtStatus.NEW) {
      const result = remember<A>(ctx, looped);
      if (result < 0) return result;
    }
  }
  trace.step<A>(ctx, Step.DELIVER, TracePoint.TO_LXC, 0);
  return Program.DELIVERED;
}

/** A new connection at the pod; through a Service from outside when this node's device has just let it in. */
function remember<A>(ctx: Context<A>, looped: bool): i32 {
  const opened = ct.peek<A>(ctx, CtDirection.EGRESS);
  const nodePort = opened !== null && (opened.flags & CtFlag.NODE_PORT) != 0;
  const flags = (looped ? CtFlag.LB_LOOPBACK : 0) | (nodePort ? CtFlag.NODE_PORT : 0);
  return ct.create<A>(ctx, CtDirection.INGRESS, nodePort ? opened.revNatIndex : 0, 0, flags);
}
