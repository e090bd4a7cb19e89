/** The program on the tunnel device. Cilium `bpf/bpf_overlay.c`. */
import { ConfigFlag, DropReason, Family, ReservedIdentity, Step, TracePoint } from './abi';
import * as config from './lib/config';
import * as delivery from './lib/delivery';
import * as dsr from './lib/dsr';
import * as encap from './lib/encap';
import * as endpoint from './lib/endpoint';
import { Context } from './lib/packet';
import { familyOf, parse } from './lib/parse';
import * as trace from './lib/trace';

/**
 * What comes out of the tunnel (`cil_from_overlay`):
 *
 * 1. the outer headers come off, and the VNI is the sender's identity
 * 2. the inner frame, of either family, is whole
 * 3. a Service that another node was asked for is remembered (direct server return)
 * 4. it goes to an endpoint of this node, or to the node itself
 */
export function fromOverlay(ctx: Context<u32>): i32 {
  const result = encap.unwrap(ctx);
  if (result < 0) return result;
  ctx.family = familyOf<u32>(ctx);
  return ctx.family == Family.IPV6 ? receive<v128>(changetype<Context<v128>>(ctx)) : receive<u32>(ctx);
}

function receive<A>(ctx: Context<A>): i32 {
  const result = parse<A>(ctx);
  trace.step<A>(ctx, Step.DECAP, TracePoint.FROM_OVERLAY, ctx.sourceIdentity);
  if (result < 0) return result;
  if (config.has(ConfigFlag.DSR)) {
    const learnt = dsr.learn<A>(ctx);
    if (learnt < 0) return learnt;
  }
  const info = endpoint.lookup<A>(ctx.daddr, ctx.node);
  if (info === null) return -DropReason.UNROUTABLE;
  if (endpoint.isHost(info)) {
    ctx.destinationIdentity = ReservedIdentity.HOST;
    return delivery.toStack<A>(ctx, true);
  }
  return delivery.toEndpoint<A>(ctx, info);
}
