/** The programs on a node's network device, and the node's own packets. Cilium `bpf/bpf_host.c`. */
import { CtDirection, CtFlag, CtStatus, DropReason, Program, ReservedIdentity, Step, SvcFlag, TracePoint } from './abi';
import * as ct from './lib/conntrack';
import * as delivery from './lib/delivery';
import * as encap from './lib/encap';
import * as endpoint from './lib/endpoint';
import * as ipcache from './lib/ipcache';
import * as lb from './lib/lb';
import { Lb4Service } from './lib/lb';
import * as nat from './lib/nat';
import { Context, parse } from './lib/packet';
import * as trace from './lib/trace';

/**
 * What arrives at a node from outside it (`cil_from_netdev`):
 *
 * 1. the tunnel's packets to this node go to the overlay's program
 * 2. a Service's address is translated, where that Service is reachable from outside
 * 3. a reply to what this node sent in its own name gets its true destination back
 * 4. the sender is known by its address
 * 5. an endpoint of this node, the node itself, or whoever else has the address
 */
export function fromNetdev(ctx: Context): i32 {
  const result = parse(ctx);
  if (result == 0) ctx.sourceIdentity = ipcache.identityOf(ipcache.lookup(ctx.saddr));
  trace.step(ctx, Step.RECEIVE, TracePoint.FROM_NETWORK, 0);
  if (result < 0) return result;
  if (encap.isTunnel(ctx) && endpoint.nodeOf(ctx.daddr) == ctx.node) return Program.FROM_OVERLAY;
  const service = lb.lookupService(ctx, true);
  if (service !== null) return nodePort(ctx, service);
  if (nat.reverse(ctx)) return replied(ctx);
  return route(ctx);
}

/**
 * A Service asked from outside (`nodeport_lb4`):
 *
 * 1. it must be one that outside clients may ask, and take this one
 * 2. a backend is picked, and the flow remembered
 * 3. a backend of this node gets the packet as it is: the client's address stays
 * 4. one of another node gets it in this node's name, so that the reply comes back here; there it is the world's
 */
function nodePort(ctx: Context, service: Lb4Service): i32 {
  if ((service.flags & SvcFlag.ROUTABLE) == 0) return -DropReason.IS_CLUSTER_IP;
  if (!lb.takes(ctx, service)) return -DropReason.NOT_IN_SRC_RANGE;
  let result = lb.local(ctx, service);
  if (result < 0) return result;
  if (ct.lookup(ctx, CtDirection.EGRESS) == CtStatus.NEW) {
    result = ct.create(ctx, CtDirection.EGRESS, service.revNatIndex, ctx.backendId, CtFlag.NODE_PORT);
    if (result < 0) return result;
  }
  const info = endpoint.lookup(ctx.daddr, ctx.node);
  if (info !== null) return endpoint.isHost(info) ? delivery.toStack(ctx, true) : delivery.toEndpoint(ctx, info);
  result = nat.masquerade(ctx, endpoint.nodeConfigs.lookup(ctx.node).address);
  if (result < 0) return result;
  ctx.sourceIdentity = ReservedIdentity.WORLD;
  return forward(ctx);
}

/** A reply with its true destination back: to the pod that was masqueraded, or from a Service to its client outside. */
function replied(ctx: Context): i32 {
  if (endpoint.lookup(ctx.daddr, ctx.node) !== null) return route(ctx);
  if (ct.lookup(ctx, CtDirection.INGRESS) == CtStatus.REPLY && ctx.nodePort) lb.reverse(ctx);
  return forward(ctx);
}

/** What the node itself sends (`cil_from_host`): as `fromNetdev`, but known to be the node's. */
export function fromHost(ctx: Context): i32 {
  let result = parse(ctx);
  ctx.sourceIdentity = ReservedIdentity.HOST;
  trace.step(ctx, Step.RECEIVE, TracePoint.FROM_HOST, 0);
  if (result < 0) return result;
  const service = lb.lookupService(ctx, false);
  if (service !== null) {
    result = lb.local(ctx, service);
    if (result < 0) return result;
  }
  return route(ctx);
}

/** To an endpoint of this node, to the node itself, or on. */
function route(ctx: Context): i32 {
  const info = endpoint.lookup(ctx.daddr, ctx.node);
  if (info !== null) return endpoint.isHost(info) ? delivery.toStack(ctx, true) : delivery.toEndpoint(ctx, info);
  return forward(ctx);
}

/** To another node's endpoint through the tunnel, or out. */
function forward(ctx: Context): i32 {
  const remote = ipcache.lookup(ctx.daddr);
  ctx.destinationIdentity = ipcache.identityOf(remote);
  if (remote !== null && remote.tunnelEndpoint != 0) return delivery.toOverlay(ctx, remote);
  return delivery.toStack(ctx, false);
}

/**
 * What leaves a node (`cil_to_netdev`). A pod's own packet to where pods' addresses mean nothing goes in the node's name
 * (`snat_v4_needs_masquerade`): not a tunnel's packet, not a reply, and only a pod's of this node.
 */
export function toNetdev(ctx: Context): i32 {
  if (ctx.outerDaddr == 0 && ctx.ctStatus != CtStatus.REPLY) {
    const sender = endpoint.lookup(ctx.saddr, ctx.node);
    if (sender !== null && !endpoint.isHost(sender)) {
      const result = nat.masquerade(ctx, endpoint.nodeConfigs.lookup(ctx.node).address);
      if (result < 0) return result;
    }
  }
  trace.step(ctx, Step.ROUTE, TracePoint.TO_NETWORK, 0);
  return Program.WIRE;
}

/** The network between the nodes: a frame reaches the node that has its outer destination, or leaves the cluster. */
export function wire(ctx: Context): i32 {
  const node = endpoint.nodeOf(ctx.outerDaddr != 0 ? ctx.outerDaddr : ctx.daddr);
  if (node == 0 || node == ctx.node) return Program.WORLD;
  ctx.node = node;
  ctx.endpoint = 0;
  ctx.ctStatus = CtStatus.NEW;
  ctx.nodePort = false;
  ctx.loopback = false;
  return Program.FROM_NETDEV;
}
