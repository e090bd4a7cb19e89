/** To a proxy of this node, and from it. Cilium `bpf/lib/proxy.h`, `bpf/lib/identity.h`. */
import { DropReason, IpProto, Mark, Program, Step, TracePoint } from '../abi';
import { ntohs } from '../wire/bytes';
import * as ipcache from './ipcache';
import { Context } from './packet';
import * as trace from './trace';

/**
 * Leaves the packet in hand to the proxy that listens at `port`, network order, or (with 0) whose connection it belongs to
 * (`ctx_redirect_to_proxy4`). PROXY, or negated PROXY_UNKNOWN_PROTO for what has no sockets that the stack could give it to.
 */
export function redirect<A>(ctx: Context<A>, port: u32): i32 {
  ctx.mark = Mark.TO_PROXY | (port << 16);
  trace.step<A>(ctx, Step.PROXY, TracePoint.TO_PROXY, ntohs(port));
  if (port != 0 && ctx.protocol != IpProto.TCP && ctx.protocol != IpProto.UDP) return -DropReason.PROXY_UNKNOWN_PROTO;
  return Program.PROXY;
}

/** Whether the packet in hand was sent by the proxy of an ingress (`tc_index_from_ingress_proxy`). */
export function isFromIngress<A>(ctx: Context<A>): bool {
  return (ctx.mark & Mark.MAGIC) == Mark.PROXY_INGRESS;
}

/** Whether it was sent by that of an egress (`tc_index_from_egress_proxy`). */
export function isFromEgress<A>(ctx: Context<A>): bool {
  return (ctx.mark & Mark.MAGIC) == Mark.PROXY_EGRESS;
}

/** Whether a proxy sent it. */
export function isFrom<A>(ctx: Context<A>): bool {
  return isFromIngress<A>(ctx) || isFromEgress<A>(ctx);
}

/** Bits of an identity for which a mark has room; above stands its scope. */
const MARKED: u32 = 0xffffff;

/**
 * The identity of whom a proxy speaks for, the packet in hand being parsed (`get_identity`, `resolve_srcid_ipv4`): that of the
 * mark, and where it is that of a prefix, which has a scope, the whole of it by the address.
 */
export function identityOf<A>(ctx: Context<A>): u32 {
  const marked = ((ctx.mark & 0xff) << 16) | (ctx.mark >>> 16);
  const known = ipcache.identityOf(ipcache.lookup<A>(ctx.saddr));
  return (known & MARKED) == marked ? known : marked;
}
