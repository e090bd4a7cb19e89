/** The ways that packets take where no policy is asked: to an endpoint, back to whom a packet was sent for, or on. Cilium `bpf/bpf_host.c`. */
import { CtDirection, CtStatus } from '../abi';
import * as ct from './conntrack';
import * as delivery from './delivery';
import * as endpoint from './endpoint';
import { EndpointInfo } from './endpoint';
import * as ipcache from './ipcache';
import * as lb from './lb';
import { Context } from './packet';

/** To an endpoint of this node, to the node itself, or on. */
export function to<A>(ctx: Context<A>): i32 {
  const info = endpoint.lookup<A>(ctx.daddr, ctx.node);
  return info === null ? onward<A>(ctx) : deliver<A>(ctx, info);
}

/** To an endpoint of this node, or to the node itself. */
export function deliver<A>(ctx: Context<A>, info: EndpointInfo): i32 {
  return endpoint.isHost(info) ? delivery.toStack<A>(ctx, true) : delivery.toEndpoint<A>(ctx, info);
}

/** To another node's endpoint, or out. */
export function onward<A>(ctx: Context<A>): i32 {
  const remote = ipcache.lookup<A>(ctx.daddr);
  ctx.destinationIdentity = ipcache.identityOf(remote);
  return delivery.onward<A>(ctx, remote);
}

/** A reply with its true destination back: to the pod that was masqueraded, or from a Service to its client outside. */
export function back<A>(ctx: Context<A>): i32 {
  if (endpoint.lookup<A>(ctx.daddr, ctx.node) !== null) return to<A>(ctx);
  const status = ct.lookup<A>(ctx, CtDirection.INGRESS);
  if ((status == CtStatus.REPLY || status == CtStatus.RELATED) && ctx.nodePort) lb.reverse<A>(ctx);
  return onward<A>(ctx);
}
