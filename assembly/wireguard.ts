/** The programs on WireGuard's device. Cilium `bpf/bpf_wireguard.c`. */
import { ConfigFlag, Family, Program, Step, TracePoint } from './abi';
import * as config from './lib/config';
import * as encap from './lib/encap';
import * as endpoint from './lib/endpoint';
import * as ipcache from './lib/ipcache';
import { Context } from './lib/packet';
import { familyOf, parse } from './lib/parse';
import * as route from './lib/route';
import * as trace from './lib/trace';
import * as wireguard from './lib/wireguard';

/** What is about to be encrypted (`cil_to_wireguard`): in a message to the other node, it leaves by this one's device. */
export function toWireguard<A>(ctx: Context<A>): i32 {
  wireguard.address<A>(ctx);
  trace.step<A>(ctx, Step.ENCRYPT, TracePoint.TO_CRYPTO, 0);
  wireguard.wrap<A>(ctx);
  return Program.TO_NETDEV;
}

/**
 * What was decrypted (`cil_from_wireguard`):
 *
 * 1. the message comes off, and what was in it is whole
 * 2. the tunnel's packets go to the overlay's program, which knows the sender
 * 3. of others the sender is known by its address; they go to an endpoint of this node, or to the node itself
 */
export function fromWireguard(ctx: Context<u32>): i32 {
  const result = wireguard.unwrap(ctx);
  if (result < 0) return result;
  ctx.family = familyOf<u32>(ctx);
  return ctx.family == Family.IPV6 ? receive<v128>(changetype<Context<v128>>(ctx)) : receive<u32>(ctx);
}

function receive<A>(ctx: Context<A>): i32 {
  const result = parse<A>(ctx);
  if (result == 0) ctx.sourceIdentity = ipcache.identityOf(ipcache.lookup<A>(ctx.saddr));
  // With a tunnel, Cilium's program leaves all to that of the overlay.
  const point: u32 = config.has(ConfigFlag.NATIVE_ROUTING) ? TracePoint.FROM_CRYPTO : trace.NO_POINT;
  trace.step<A>(ctx, Step.DECRYPT, point, 0);
  if (result < 0) return result;
  if (!isVector<A>() && encap.isTunnel<A>(ctx) && endpoint.nodeOf<A>(ctx.daddr) == ctx.node)
    return Program.FROM_OVERLAY;
  return route.to<A>(ctx);
}
