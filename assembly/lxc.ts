/** The programs on a pod's link. Cilium `bpf/bpf_lxc.c`. */
import {
  CtDirection,
  CtFlag,
  CtStatus,
  DropReason,
  IPV4_LOOPBACK_WORD,
  Program,
  ReservedIdentity,
  Step,
  TracePoint,
} from './abi';
import * as ct from './lib/conntrack';
import * as delivery from './lib/delivery';
import * as encap from './lib/encap';
import * as endpoint from './lib/endpoint';
import { EndpointConfig } from './lib/endpoint';
import * as ipcache from './lib/ipcache';
import * as lb from './lib/lb';
import { Context, parse } from './lib/packet';
import * as policy from './lib/policy';
import * as trace from './lib/trace';

/**
 * What a pod sends (`cil_from_container`):
 *
 * 1. the frame is whole, and its source is the pod's own address
 * 2. a Service's address becomes a backend's
 * 3. the connection is looked up
 * 4. the destination's identity is looked up
 * 5. the egress policy decides, unless this is a reply or a packet to itself
 * 6. a new connection is remembered
 * 7. it is delivered
 */
export function fromContainer(ctx: Context): i32 {
  const config = endpoint.configs.lookup(ctx.endpoint);
  if (config === null || config.policyId == 0) return -DropReason.EP_NOT_READY;
  ctx.node = config.node;
  ctx.sourceIdentity = config.secId;
  let result = parse(ctx);
  trace.step(ctx, Step.RECEIVE, TracePoint.FROM_LXC, 0);
  if (result < 0) return result;
  if (ctx.saddr != config.address) return -DropReason.INVALID_SIP;

  result = translate(ctx);
  if (result < 0) return result;
  const revNatIndex = ctx.revNatIndex;
  const loopback = ctx.loopback;

  const status = ct.lookup(ctx, CtDirection.EGRESS);
  trace.step(ctx, Step.CT, trace.NO_POINT, CtDirection.EGRESS);
  if (status == CtStatus.REPLY) {
    if (ctx.daddr == IPV4_LOOPBACK_WORD) return toItself(ctx);
    // The client outside knows only the Service, and no program of a pod comes after this one.
    if (ctx.nodePort) lb.reverse(ctx);
  }

  const remote = ipcache.lookup(ctx.daddr);
  ctx.destinationIdentity = ipcache.identityOf(remote);
  // The ipcache is one for all nodes, and each is the host to its own pods.
  if (
    ctx.destinationIdentity == ReservedIdentity.REMOTE_NODE &&
    ctx.daddr == endpoint.nodeConfigs.lookup(ctx.node).address
  )
    ctx.destinationIdentity = ReservedIdentity.HOST;

  if (status != CtStatus.REPLY && !loopback) {
    result = allowEgress(ctx, config);
    if (result < 0) return result;
  }
  if (status == CtStatus.NEW) {
    result = ct.create(ctx, CtDirection.EGRESS, revNatIndex, ctx.backendId, loopback ? CtFlag.LB_LOOPBACK : 0);
    if (result < 0) return result;
  }
  return deliver(ctx, remote);
}

/** A Service's address becomes a backend's (`__per_packet_lb_svc_xlate_4`); any other packet is left alone. */
function translate(ctx: Context): i32 {
  ctx.revNatIndex = 0;
  ctx.backendId = 0;
  ctx.loopback = false;
  const service = lb.lookupService(ctx, false);
  return service === null ? 0 : lb.local(ctx, service);
}

/** Egress policy; a pod may not speak the tunnel's own protocol to a node, or it could forge identities. */
function allowEgress(ctx: Context, config: EndpointConfig): i32 {
  const identity = ctx.destinationIdentity;
  if (encap.isTunnel(ctx) && (identity == ReservedIdentity.HOST || identity == ReservedIdentity.REMOTE_NODE)) {
    return -DropReason.ENCAP_PROHIBITED;
  }
  return policy.canAccess(ctx, config.policyId, identity, 1);
}

/** The reply of a pod to itself: it takes the way to its own ingress, where the Service's address comes back. */
function toItself(ctx: Context): i32 {
  const config = endpoint.configs.lookup(ctx.endpoint);
  ctx.destinationIdentity = config.secId;
  const info = endpoint.lookup(config.address, ctx.node);
  return info === null ? -DropReason.UNROUTABLE : delivery.toEndpoint(ctx, info);
}

/**
 * 1. an endpoint of this node, or the node itself
 * 2. through the tunnel, where the ipcache names its other end
 * 3. the stack
 */
function deliver(ctx: Context, remote: ipcache.RemoteEndpointInfo): i32 {
  const info = endpoint.lookup(ctx.daddr, ctx.node);
  if (info !== null) return endpoint.isHost(info) ? delivery.toStack(ctx, true) : delivery.toEndpoint(ctx, info);
  if (remote !== null && remote.tunnelEndpoint != 0) return delivery.toOverlay(ctx, remote);
  return delivery.toStack(ctx, false);
}

/**
 * What reaches a pod (`cil_lxc_policy`, `ipv4_policy`):
 *
 * 1. the connection is looked up
 * 2. a reply gets the Service's address back as its source, and passes
 * 3. the ingress policy decides, unless the pod speaks to itself through a Service
 * 4. a new connection is remembered
 * 5. the packet is handed over
 */
export function ingressPolicy(ctx: Context): i32 {
  const config = endpoint.configs.lookup(ctx.endpoint);
  ctx.destinationIdentity = config.secId;
  // Set by this packet's own translation: an address on the wire proves nothing.
  const looped = ctx.loopback;
  const status = ct.lookup(ctx, CtDirection.INGRESS);
  trace.step(ctx, Step.CT, trace.NO_POINT, CtDirection.INGRESS);
  if (status == CtStatus.REPLY) {
    if (ctx.revNatIndex != 0) lb.reverse(ctx);
  } else {
    if (!looped) {
      const result = policy.canAccess(ctx, config.policyId, ctx.sourceIdentity, 0);
      if (result < 0) return result;
    }
    if (status == CtStatus.NEW) {
      const result = remember(ctx, looped);
      if (result < 0) return result;
    }
  }
  trace.step(ctx, Step.DELIVER, TracePoint.TO_LXC, 0);
  return Program.DELIVERED;
}

/** A new connection at the pod; through a Service from outside when this node's device has just let it in. */
function remember(ctx: Context, looped: bool): i32 {
  const opened = ct.peek(ctx, CtDirection.EGRESS);
  const nodePort = opened !== null && (opened.flags & CtFlag.NODE_PORT) != 0;
  const flags = (looped ? CtFlag.LB_LOOPBACK : 0) | (nodePort ? CtFlag.NODE_PORT : 0);
  return ct.create(ctx, CtDirection.INGRESS, nodePort ? opened.revNatIndex : 0, 0, flags);
}
