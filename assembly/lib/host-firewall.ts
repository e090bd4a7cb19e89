/** Policies of the node itself. Cilium `bpf/lib/host_firewall.h`. */
import { CtDirection, CtFlag, CtStatus, ReservedIdentity, Step } from '../abi';
import * as ct from './conntrack';
import * as endpoint from './endpoint';
import * as ipcache from './ipcache';
import { Context } from './packet';
import * as policy from './policy';
import * as proxy from './proxy';
import * as trace from './trace';

/**
 * What the node sends (`ipv4_host_policy_egress`). 0 to go on, PROXY where the policy names one, or a negated drop reason:
 * those of `policy.canAccess` and `proxy.redirect`, CT_CREATE_FAILED.
 */
export function egress<A>(ctx: Context<A>): i32 {
  ctx.destinationIdentity = ipcache.identityOf(ipcache.lookup<A>(ctx.daddr));
  const result = ask<A>(ctx, CtDirection.EGRESS, ctx.destinationIdentity);
  return result > 0 ? proxy.redirect<A>(ctx, result) : result;
}

/** What is for the node (`ipv4_host_policy_ingress`). 0, or a negated drop reason as above; no proxy listens there. */
export function ingress<A>(ctx: Context<A>): i32 {
  ctx.destinationIdentity = ReservedIdentity.HOST;
  return min(ask<A>(ctx, CtDirection.INGRESS, ctx.sourceIdentity), 0);
}

/**
 * 1. a node without a policy lets everything
 * 2. so does any for replies, and for errors about known connections
 * 3. the policy decides
 * 4. a new connection is remembered
 */
function ask<A>(ctx: Context<A>, direction: CtDirection, peer: u32): i32 {
  const policyId = endpoint.nodeConfigs.lookup(ctx.node).policyId;
  if (policyId == 0) return 0;
  const status = ct.lookup<A>(ctx, direction);
  trace.step<A>(ctx, Step.CT, trace.NO_POINT, direction);
  if (status == CtStatus.REPLY || status == CtStatus.RELATED) return 0;
  const result = policy.canAccess<A>(ctx, policyId, direction, ReservedIdentity.HOST, peer);
  if (result < 0 || status != CtStatus.NEW) return result;
  const created = ct.create<A>(ctx, direction, 0, 0, result > 0 ? CtFlag.PROXY_REDIRECT : 0);
  return created < 0 ? created : result;
}
