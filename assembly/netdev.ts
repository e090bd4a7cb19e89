/** The programs on a node's network device, and the node's own packets. Cilium `bpf/bpf_host.c`. */
import {
  ConfigFlag,
  CtDirection,
  CtFlag,
  CtStatus,
  DropReason,
  Program,
  ReservedIdentity,
  Step,
  SvcFlag,
  TracePoint,
} from './abi';
import * as config from './lib/config';
import * as ct from './lib/conntrack';
import * as delivery from './lib/delivery';
import * as encap from './lib/encap';
import * as endpoint from './lib/endpoint';
import * as firewall from './lib/host-firewall';
import * as ipcache from './lib/ipcache';
import * as lb from './lib/lb';
import { LbService } from './lib/lb';
import * as nat from './lib/nat';
import { Context } from './lib/packet';
import { parse } from './lib/parse';
import * as proxy from './lib/proxy';
import * as service from './lib/service';
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
export function fromNetdev<A>(ctx: Context<A>): i32 {
  const result = parse<A>(ctx);
  if (result == 0) ctx.sourceIdentity = ipcache.identityOf(ipcache.lookup<A>(ctx.saddr));
  trace.step<A>(ctx, Step.RECEIVE, TracePoint.FROM_NETWORK, 0);
  if (result < 0) return result;
  if (!isVector<A>() && encap.isTunnel<A>(ctx) && endpoint.nodeOf<A>(ctx.daddr) == ctx.node)
    return Program.FROM_OVERLAY;
  const found = lb.lookupService<A>(ctx, true);
  if (found !== null && !(ctx.quoted != 0 && lb.localQuoted<A>(ctx))) return nodePort<A>(ctx, found);
  if (nat.reverse<A>(ctx)) return replied<A>(ctx);
  return route<A>(ctx);
}

/**
 * A Service asked from outside (`nodeport_lb4`):
 *
 * 1. it must be one that outside clients may ask, and take this one
 * 2. a backend is picked, and the flow remembered
 * 3. a backend of this node gets the packet as it is: the client's address stays
 * 4. one of another node gets it in this node's name, so that the reply comes back here; there it is the world's
 */
function nodePort<A>(ctx: Context<A>, found: LbService): i32 {
  if ((found.flags & SvcFlag.ROUTABLE) == 0) return -DropReason.IS_CLUSTER_IP;
  if (!lb.takes<A>(ctx, found)) return -DropReason.NOT_IN_SRC_RANGE;
  let result = service.lend<A>(ctx, found, Program.WORLD);
  if (result != 0) return result;
  if (ct.lookup<A>(ctx, CtDirection.EGRESS) == CtStatus.NEW) {
    result = ct.create<A>(ctx, CtDirection.EGRESS, found.revNatIndex, ctx.backendId, CtFlag.NODE_PORT);
    if (result < 0) return result;
  }
  const info = endpoint.lookup<A>(ctx.daddr, ctx.node);
  if (info !== null) return endpoint.isHost(info) ? delivery.toStack<A>(ctx, true) : delivery.toEndpoint<A>(ctx, info);
  result = nat.masquerade<A>(ctx, endpoint.nodeConfigs.lookup(ctx.node).address<A>());
  if (result < 0) return result;
  ctx.sourceIdentity = ReservedIdentity.WORLD;
  return forward<A>(ctx);
}

/** A reply with its true destination back: to the pod that was masqueraded, or from a Service to its client outside. */
function replied<A>(ctx: Context<A>): i32 {
  if (endpoint.lookup<A>(ctx.daddr, ctx.node) !== null) return route<A>(ctx);
  const status = ct.lookup<A>(ctx, CtDirection.INGRESS);
  if ((status == CtStatus.REPLY || status == CtStatus.RELATED) && ctx.nodePort) lb.reverse<A>(ctx);
  return forward<A>(ctx);
}

/** What the node itself sends (`cil_from_host`): as `fromNetdev`, but known to be the node's. */
export function fromHost<A>(ctx: Context<A>): i32 {
  const result = parse<A>(ctx);
  ctx.sourceIdentity = ReservedIdentity.HOST;
  trace.step<A>(ctx, Step.RECEIVE, TracePoint.FROM_HOST, 0);
  if (result < 0) return result;
  // Its stack's error about what it sent on in its own name belongs to whoever that was for.
  if (ctx.quoted != 0 && nat.reverse<A>(ctx)) return replied<A>(ctx);
  const found = lb.lookupService<A>(ctx, false);
  if (found !== null) {
    const lent = service.lend<A>(ctx, found, Program.HOST);
    if (lent != 0) return lent;
  }
  if (config.has(ConfigFlag.HOST_FIREWALL) && isPod<A>(ctx)) {
    const next = firewall.egress<A>(ctx);
    if (next != 0) return next;
  }
  return route<A>(ctx);
}

/** Whether the packet in hand is for a pod, of this node or another. */
function isPod<A>(ctx: Context<A>): bool {
  const info = endpoint.lookup<A>(ctx.daddr, ctx.node);
  if (info !== null) return !endpoint.isHost(info);
  const remote = ipcache.lookup<A>(ctx.daddr);
  return remote !== null && remote.tunnelEndpoint != 0;
}

/** What a proxy sends on, for whom it speaks (`cil_from_host`, `inherit_identity_from_host`): known by its mark, and routed as the node's. */
export function fromProxy<A>(ctx: Context<A>): i32 {
  const result = parse<A>(ctx);
  if (result == 0) ctx.sourceIdentity = proxy.identityOf<A>(ctx);
  trace.step<A>(ctx, Step.RECEIVE, TracePoint.FROM_PROXY, 0);
  return result < 0 ? result : route<A>(ctx);
}

/** What is for the node itself, where it has a firewall (`cil_to_host`). */
export function toHost<A>(ctx: Context<A>): i32 {
  const result = firewall.ingress<A>(ctx);
  return result < 0 ? result : delivery.toHost<A>(ctx);
}

/** To an endpoint of this node, to the node itself, or on. */
function route<A>(ctx: Context<A>): i32 {
  const info = endpoint.lookup<A>(ctx.daddr, ctx.node);
  if (info !== null) return endpoint.isHost(info) ? delivery.toStack<A>(ctx, true) : delivery.toEndpoint<A>(ctx, info);
  return forward<A>(ctx);
}

/** To another node's endpoint through the tunnel, or out. */
function forward<A>(ctx: Context<A>): i32 {
  const remote = ipcache.lookup<A>(ctx.daddr);
  ctx.destinationIdentity = ipcache.identityOf(remote);
  if (remote !== null && remote.tunnelEndpoint != 0) return delivery.toOverlay<A>(ctx, remote);
  return delivery.toStack<A>(ctx, false);
}

/**
 * What leaves a node (`cil_to_netdev`). A pod's own packet to where pods' addresses mean nothing goes in the node's name
 * (`snat_v4_needs_masquerade`): not a tunnel's packet, not a reply, and only a pod's of this node. The node's own passes its
 * firewall; what goes to a pod has done so before.
 */
export function toNetdev<A>(ctx: Context<A>): i32 {
  if (config.has(ConfigFlag.HOST_FIREWALL) && ctx.sourceIdentity == ReservedIdentity.HOST && ctx.outerDaddr == 0) {
    const next = firewall.egress<A>(ctx);
    if (next != 0) return next;
  }
  if (ctx.outerDaddr == 0 && ctx.ctStatus != CtStatus.REPLY && config.has(ConfigFlag.MASQUERADE)) {
    const sender = endpoint.lookup<A>(ctx.saddr, ctx.node);
    if (sender !== null && !endpoint.isHost(sender)) {
      const result = nat.masquerade<A>(ctx, endpoint.nodeConfigs.lookup(ctx.node).address<A>());
      if (result < 0) return result;
    }
  }
  trace.step<A>(ctx, Step.ROUTE, TracePoint.TO_NETWORK, 0);
  return Program.WIRE;
}

/** The network between the nodes: a frame reaches the node that has its outer destination, or leaves the cluster. */
export function wire<A>(ctx: Context<A>): i32 {
  const node = ctx.outerDaddr != 0 ? endpoint.nodeOf<u32>(ctx.outerDaddr) : endpoint.nodeOf<A>(ctx.daddr);
  if (node == 0 || node == ctx.node) return Program.WORLD;
  ctx.node = node;
  ctx.endpoint = 0;
  ctx.ctStatus = CtStatus.NEW;
  ctx.nodePort = false;
  ctx.loopback = false;
  ctx.proxied = false;
  ctx.mark = 0;
  return Program.FROM_NETDEV;
}
