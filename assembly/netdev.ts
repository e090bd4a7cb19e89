/** The programs on a node's network device, and the node's own packets. Cilium `bpf/bpf_host.c`. */
import { DropReason, Program, ReservedIdentity, Step, SvcFlag, TracePoint } from './abi';
import * as delivery from './lib/delivery';
import * as encap from './lib/encap';
import * as endpoint from './lib/endpoint';
import * as ipcache from './lib/ipcache';
import * as lb from './lib/lb';
import { Context, parse } from './lib/packet';
import * as trace from './lib/trace';

/**
 * What arrives at a node from outside it (`cil_from_netdev`):
 *
 * 1. the tunnel's packets to this node go to the overlay's program
 * 2. a Service's address is translated, where that Service is reachable from outside
 * 3. the sender is known by its address
 * 4. an endpoint of this node, the node itself, or whoever else has the address
 */
export function fromNetdev(ctx: Context): i32 {
  const result = parse(ctx);
  if (result == 0) ctx.sourceIdentity = ipcache.identityOf(ipcache.lookup(ctx.saddr));
  trace.step(ctx, Step.RECEIVE, TracePoint.FROM_NETWORK, 0);
  if (result < 0) return result;
  if (encap.isTunnel(ctx) && endpoint.nodeOf(ctx.daddr) == ctx.node) return Program.FROM_OVERLAY;
  const service = lb.lookupService(ctx);
  if (service !== null) {
    if ((service.flags & SvcFlag.ROUTABLE) == 0) return -DropReason.IS_CLUSTER_IP;
    const translated = lb.local(ctx, service);
    if (translated < 0) return translated;
  }
  return route(ctx);
}

/** What the node itself sends (`cil_from_host`): as `fromNetdev`, but known to be the node's. */
export function fromHost(ctx: Context): i32 {
  let result = parse(ctx);
  ctx.sourceIdentity = ReservedIdentity.HOST;
  trace.step(ctx, Step.RECEIVE, TracePoint.FROM_HOST, 0);
  if (result < 0) return result;
  const service = lb.lookupService(ctx);
  if (service !== null) {
    result = lb.local(ctx, service);
    if (result < 0) return result;
  }
  return route(ctx);
}

function route(ctx: Context): i32 {
  const info = endpoint.lookup(ctx.daddr, ctx.node);
  if (info !== null) return endpoint.isHost(info) ? delivery.toStack(ctx, true) : delivery.toEndpoint(ctx, info);
  const remote = ipcache.lookup(ctx.daddr);
  ctx.destinationIdentity = ipcache.identityOf(remote);
  if (remote !== null && remote.tunnelEndpoint != 0) return delivery.toOverlay(ctx, remote);
  return delivery.toStack(ctx, false);
}

/** What leaves a node (`cil_to_netdev`). */
export function toNetdev(ctx: Context): i32 {
  trace.step(ctx, Step.ROUTE, TracePoint.TO_NETWORK, 0);
  return Program.WIRE;
}

/** The network between the nodes: a frame reaches the node that has its outer destination, or leaves the cluster. */
export function wire(ctx: Context): i32 {
  const node = endpoint.nodeOf(ctx.outerDaddr != 0 ? ctx.outerDaddr : ctx.daddr);
  if (node == 0 || node == ctx.node) return Program.WORLD;
  ctx.node = node;
  ctx.endpoint = 0;
  return Program.FROM_NETDEV;
}
