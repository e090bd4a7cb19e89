/** The program on the tunnel device. Cilium `bpf/bpf_overlay.c`. */
import { DropReason, ReservedIdentity, Step, TracePoint } from './abi';
import * as delivery from './lib/delivery';
import * as encap from './lib/encap';
import * as endpoint from './lib/endpoint';
import { Context, parse } from './lib/packet';
import * as trace from './lib/trace';

/**
 * What comes out of the tunnel (`cil_from_overlay`):
 *
 * 1. the outer headers come off, and the VNI is the sender's identity
 * 2. the inner frame is whole
 * 3. it goes to an endpoint of this node, or to the node itself
 */
export function fromOverlay(ctx: Context): i32 {
  let result = encap.unwrap(ctx);
  if (result < 0) return result;
  result = parse(ctx);
  trace.step(ctx, Step.DECAP, TracePoint.FROM_OVERLAY, ctx.sourceIdentity);
  if (result < 0) return result;
  const info = endpoint.lookup(ctx.daddr, ctx.node);
  if (info === null) return -DropReason.UNROUTABLE;
  if (endpoint.isHost(info)) {
    ctx.destinationIdentity = ReservedIdentity.HOST;
    return delivery.toStack(ctx, true);
  }
  return delivery.toEndpoint(ctx, info);
}
