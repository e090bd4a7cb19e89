/** The last steps: to an endpoint of this node, into the tunnel, or to the stack. Cilium `bpf/lib/local_delivery.h`, `l3.h`. */
import { DropReason, Program, Step, TracePoint } from '../abi';
import * as checksum from '../wire/checksum';
import { Ethernet } from '../wire/ethernet';
import * as encap from './encap';
import * as endpoint from './endpoint';
import { EndpointInfo } from './endpoint';
import { RemoteEndpointInfo } from './ipcache';
import { Context } from './packet';
import * as trace from './trace';

/** Takes one off the TTL (`ipv4_l3`). 0, or negated TTL_EXCEEDED. */
export function decrementTtl(ctx: Context): i32 {
  const ttl = ctx.ip.ttl;
  if (ttl <= 1) return -DropReason.TTL_EXCEEDED;
  ctx.ip.ttl = ttl - 1;
  ctx.ip.checksum = checksum.update(ctx.ip.checksum, checksum.difference(ttl, ttl - 1));
  return 0;
}

/** Routes the packet to an endpoint of this node; its policy program is next. Negated TTL_EXCEEDED or EP_NOT_READY otherwise. */
export function toEndpoint(ctx: Context, info: EndpointInfo): i32 {
  const result = decrementTtl(ctx);
  if (result < 0) return result;
  const config = endpoint.configs.lookup(info.lxcId);
  if (config === null || config.policyId == 0) return -DropReason.EP_NOT_READY;
  changetype<Ethernet>(ctx.data).setAddresses(config.mac, config.nodeMac);
  ctx.endpoint = info.lxcId;
  return Program.LXC_POLICY;
}

/** Sends the packet through the tunnel to the node of its destination; the wire is next. */
export function toOverlay(ctx: Context, info: RemoteEndpointInfo): i32 {
  const result = decrementTtl(ctx);
  if (result < 0) return result;
  const vni = encap.wrap(ctx, info.tunnelEndpoint, ctx.sourceIdentity);
  trace.step(ctx, Step.ENCAP, TracePoint.TO_OVERLAY, vni);
  return Program.TO_NETDEV;
}

/** Leaves the packet to the node's stack: for the node itself, or to be routed out. */
export function toStack(ctx: Context, isHost: bool): i32 {
  if (isHost) {
    trace.step(ctx, Step.DELIVER, TracePoint.TO_HOST, 0);
    return Program.HOST;
  }
  trace.step(ctx, Step.ROUTE, TracePoint.TO_STACK, 0);
  return Program.TO_NETDEV;
}
