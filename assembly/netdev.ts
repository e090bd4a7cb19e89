/** The programs on a node's network device, and the node's own packets. Cilium `bpf/bpf_host.c`. */
import {
  ConfigFlag,
  CtDirection,
  CtFlag,
  CtStatus,
  DropReason,
  KeptSource,
  Program,
  ReservedIdentity,
  Step,
  SvcFlag,
  TracePoint,
} from './abi';
import * as config from './lib/config';
import * as ct from './lib/conntrack';
import * as delivery from './lib/delivery';
import * as dsr from './lib/dsr';
import * as edt from './lib/edt';
import * as encap from './lib/encap';
import * as endpoint from './lib/endpoint';
import * as firewall from './lib/host-firewall';
import * as ipcache from './lib/ipcache';
import * as lb from './lib/lb';
import { LbService } from './lib/lb';
import * as masquerade from './lib/masquerade';
import * as nat from './lib/nat';
import { Context } from './lib/packet';
import { parse } from './lib/parse';
import * as proxy from './lib/proxy';
import * as route from './lib/route';
import * as service from './lib/service';
import * as trace from './lib/trace';
import * as wireguard from './lib/wireguard';

/**
 * What arrives at a node from outside it (`cil_from_netdev`):
 *
 * 1. the tunnel's packets to this node go to the overlay's program, and what is encrypted to WireGuard's
 * 2. a Service's address is translated, where that Service is reachable from outside; where another node was asked for it, that
 *    one's choice holds, and is remembered (direct server return)
 * 3. a reply to what this node sent in its own name gets its true destination back
 * 4. the sender is known by its address
 * 5. an endpoint of this node, the node itself, or whoever else has the address
 */
export function fromNetdev<A>(ctx: Context<A>): i32 {
  const result = parse<A>(ctx);
  if (result == 0) ctx.sourceIdentity = ipcache.identityOf(ipcache.lookup<A>(ctx.saddr));
  trace.step<A>(ctx, Step.RECEIVE, TracePoint.FROM_NETWORK, 0);
  if (result < 0) return dsr.isInIp<A>(ctx, result) ? inIp<A>(ctx) : result;
  if (!isVector<A>() && encap.isTunnel<A>(ctx) && endpoint.nodeOf<A>(ctx.daddr) == ctx.node)
    return Program.FROM_OVERLAY;
  if (!isVector<A>() && wireguard.isMessage<A>(ctx) && endpoint.nodeOf<A>(ctx.daddr) == ctx.node)
    return Program.FROM_WIREGUARD;
  const found = lb.lookupService<A>(ctx, true);
  if (found !== null && !(ctx.quoted != 0 && lb.localQuoted<A>(ctx))) return nodePort<A>(ctx, found);
  if (config.has(ConfigFlag.DSR)) {
    const learnt = dsr.learn<A>(ctx);
    if (learnt < 0) return learnt;
  }
  if (nat.reverse<A>(ctx)) return route.back<A>(ctx);
  return route.to<A>(ctx);
}

/** A Service's packet in an IP header of the node that was asked: as if this node had been. */
function inIp<A>(ctx: Context<A>): i32 {
  let result = dsr.fromIp<A>(ctx);
  if (result < 0) return result;
  result = open<A>(ctx, ctx.revNatIndex);
  return result < 0 ? result : route.to<A>(ctx);
}

/** Remembers that a backend's replies are a Service's, where the packet in hand is the first to it. 0, or negated CT_CREATE_FAILED. */
function open<A>(ctx: Context<A>, revNatIndex: u32): i32 {
  if (ct.lookupNodePort<A>(ctx, revNatIndex)) return 0;
  return ct.create<A>(ctx, CtDirection.EGRESS, revNatIndex, ctx.backendId, CtFlag.NODE_PORT);
}

/**
 * A Service asked from outside (`nodeport_lb4`):
 *
 * 1. it must be one that outside clients may ask, and take this one
 * 2. a backend is picked, and the flow remembered
 * 3. a backend of this node gets the packet as it is: the client's address stays
 * 4. one of another node gets it in this node's name, so that the reply comes back here; there it is the world's
 *
 * With direct server return one of another node gets it as the client sent it, and answers the client itself; nothing comes back
 * here. With kube-proxy's masquerade one of this node gets it in the node's name too, and it is the node's.
 */
function nodePort<A>(ctx: Context<A>, found: LbService): i32 {
  if ((found.flags & SvcFlag.ROUTABLE) == 0) return -DropReason.IS_CLUSTER_IP;
  if (!lb.takes<A>(ctx, found)) return -DropReason.NOT_IN_SRC_RANGE;
  const address = ctx.daddr;
  const port = ctx.dport;
  let result = service.lend<A>(ctx, found, Program.WORLD);
  if (result != 0) return result;
  if (config.has(ConfigFlag.DSR) && dsr.uses<A>(ctx, found) && endpoint.lookup<A>(ctx.daddr, ctx.node) === null)
    return dsr.dispatch<A>(ctx, address, port);
  result = open<A>(ctx, found.revNatIndex);
  if (result < 0) return result;
  masquerade.note<A>(ctx, found, masquerade.Client.WORLD);
  const info = endpoint.lookup<A>(ctx.daddr, ctx.node);
  if (ctx.masquerade) {
    result = masquerade.asNoted<A>(ctx);
    return result < 0 ? result : info === null ? route.onward<A>(ctx) : route.deliver<A>(ctx, info);
  }
  if (info !== null) return route.deliver<A>(ctx, info);
  result = nat.masquerade<A>(ctx, masquerade.nodeAddress<A>(ctx));
  if (result < 0) return result;
  ctx.snatDone = true;
  ctx.sourceIdentity = ipcache.worldOf<A>();
  return route.onward<A>(ctx);
}

/** What the node itself sends (`cil_from_host`): as `fromNetdev`, but known to be the node's. */
export function fromHost<A>(ctx: Context<A>): i32 {
  const result = parse<A>(ctx);
  ctx.sourceIdentity = ReservedIdentity.HOST;
  trace.step<A>(ctx, Step.RECEIVE, TracePoint.FROM_HOST, 0);
  if (result < 0) return result;
  // Its stack's error about what it sent on in its own name belongs to whoever that was for.
  if (ctx.quoted != 0 && nat.reverse<A>(ctx)) return route.back<A>(ctx);
  const found = lb.lookupService<A>(ctx, false);
  if (found !== null) {
    let lent = service.lend<A>(ctx, found, Program.HOST);
    if (lent != 0) return lent;
    masquerade.note<A>(ctx, found, masquerade.Client.NODE);
    lent = masquerade.asNoted<A>(ctx);
    if (lent < 0) return lent;
  }
  if (config.has(ConfigFlag.HOST_FIREWALL) && isInside<A>(ctx)) {
    const next = firewall.egress<A>(ctx);
    if (next != 0) return next;
  }
  return route.to<A>(ctx);
}

/** Whether the packet in hand goes to a pod of this node, or by the tunnel to one of another: not as it is through `cil_to_netdev`. */
function isInside<A>(ctx: Context<A>): bool {
  const info = endpoint.lookup<A>(ctx.daddr, ctx.node);
  return info !== null ? !endpoint.isHost(info) : delivery.isTunnelled(ipcache.lookup<A>(ctx.daddr));
}

/** What a proxy sends on, for whom it speaks (`cil_from_host`, `inherit_identity_from_host`): known by its mark, and routed as the node's. */
export function fromProxy<A>(ctx: Context<A>): i32 {
  const result = parse<A>(ctx);
  if (result == 0) ctx.sourceIdentity = proxy.identityOf<A>(ctx);
  trace.step<A>(ctx, Step.RECEIVE, TracePoint.FROM_PROXY, 0);
  return result < 0 ? result : route.to<A>(ctx);
}

/** What is for the node itself, where it has a firewall (`cil_to_host`). */
export function toHost<A>(ctx: Context<A>): i32 {
  const result = firewall.ingress<A>(ctx);
  return result < 0 ? result : delivery.toHost<A>(ctx);
}

/**
 * What leaves a node (`cil_to_netdev`):
 *
 * 1. the node's own passes its firewall, outside of a tunnel; what goes to a pod of this node or by the tunnel has done so before
 * 2. a pod's packets leave at its pace
 * 3. what is to be encrypted goes to WireGuard's device, and comes back
 * 4. outside of a tunnel, what the node, or a proxy, answers as a Service's backend gets the Service's address back as its source
 * 5. a pod's own packet to where pods' addresses mean nothing goes in the node's name
 */
export function toNetdev<A>(ctx: Context<A>): i32 {
  let kept: u32 = KeptSource.NOT;
  if (ctx.outerDaddr == 0) {
    if (config.has(ConfigFlag.HOST_FIREWALL) && ctx.sourceIdentity == ReservedIdentity.HOST) {
      const next = firewall.egress<A>(ctx);
      if (next != 0) return next;
    }
  }
  const late = edt.schedule<A>(ctx);
  if (late < 0) return late;
  if (config.has(ConfigFlag.WIREGUARD) && !ctx.encrypted) {
    if (wireguard.isWanted<A>(ctx)) return Program.TO_WIREGUARD;
    if (!wireguard.mayLeavePlain<A>(ctx)) return -DropReason.UNENCRYPTED_TRAFFIC;
  }
  if (ctx.outerDaddr == 0) {
    // What a pod itself sends comes from the Service already.
    if (ctx.endpoint == 0 && !ctx.snatDone) answer<A>(ctx);
    const result = masquerade.leave<A>(ctx);
    if (result < 0) return result;
    kept = masquerade.kept;
  }
  trace.step<A>(ctx, Step.ROUTE, TracePoint.TO_NETWORK, kept);
  return Program.WIRE;
}

/** A reply of the node's, or a proxy's, as of a Service's backend, to a client outside that knows only the Service (`nodeport_rev_dnat_fwd_ipv4`). */
function answer<A>(ctx: Context<A>): void {
  if (ctx.quoted != 0 || !ct.isNodePortReply<A>(ctx)) return;
  if (ct.lookup<A>(ctx, CtDirection.INGRESS) != CtStatus.REPLY) return;
  if (ctx.nodePort) lb.reverse<A>(ctx);
  else if (ctx.dsr) dsr.reverse<A>(ctx);
}

/**
 * The node that a frame gets to with its outer destination, or its only one; 0 for none. Pods' own addresses lead to their node
 * where the network has routes to them.
 */
function destinationOf<A>(ctx: Context<A>): u32 {
  if (ctx.outerDaddr != 0) return endpoint.nodeOf<u32>(ctx.outerDaddr);
  const node = endpoint.nodeOf<A>(ctx.daddr);
  if (node != 0 || !config.has(ConfigFlag.NATIVE_ROUTING)) return node;
  const remote = ipcache.peek<A>(ctx.daddr);
  return remote === null || remote.tunnelEndpoint == 0 ? 0 : endpoint.nodeOf<u32>(remote.tunnelEndpoint);
}

/** The network between the nodes: a frame reaches the node that has its outer destination, or leaves the cluster. */
export function wire<A>(ctx: Context<A>): i32 {
  const node = destinationOf<A>(ctx);
  if (node == 0 || node == ctx.node) return Program.WORLD;
  ctx.node = node;
  ctx.endpoint = 0;
  ctx.ctStatus = CtStatus.NEW;
  ctx.nodePort = false;
  ctx.dsr = false;
  ctx.loopback = false;
  ctx.snatDone = false;
  ctx.service = 0;
  ctx.assured = false;
  ctx.proxied = false;
  ctx.encrypted = false;
  ctx.aggregate = 0;
  ctx.mark = 0;
  return Program.FROM_NETDEV;
}
