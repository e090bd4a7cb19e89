/** Policies of the node itself. Cilium `bpf/lib/host_firewall.h`. */
import * as conntrack from './conntrack.js';
import type { Journey } from './journey.js';
import { CT_FLAG, IDENTITY, IN, OUT } from './numbers.js';
import type { Packet } from './packet.js';
import { decide } from './policy.js';
import * as proxy from './proxy.js';

/** What the node sends (`ipv4_host_policy_egress`). 0 to go on, or what comes next in its stead. */
export function egress(journey: Journey, packet: Packet): number {
  journey.destinationIdentity = journey.tables.remoteAt(packet.flow.destination)?.identity ?? IDENTITY.world;
  const result = ask(journey, packet, OUT, journey.destinationIdentity);
  return result > 0 ? proxy.redirect(journey, result) : result;
}

/** What is for it (`ipv4_host_policy_ingress`): no proxy stands in between. 0, or the reason for which it is dropped, negated. */
export function ingress(journey: Journey, packet: Packet): number {
  journey.destinationIdentity = IDENTITY.host;
  return Math.min(ask(journey, packet, IN, journey.sourceIdentity), 0);
}

/** 0, the port of a proxy, or a negated reason. A node without a policy remembers nothing. */
function ask(journey: Journey, packet: Packet, direction: typeof OUT | typeof IN, peer: number): number {
  const { policy } = journey.tables.node(journey.node);
  if (policy === 0) return 0;
  const status = conntrack.lookup(journey, packet, direction);
  if (status === 'reply' || status === 'related') return 0;
  const isEgress = direction === OUT;
  const { reason, proxyPort } = decide(journey, packet, { policy, isEgress, local: IDENTITY.host, peer });
  if (reason !== 0) return -reason;
  if (status === 'new')
    conntrack.create(journey, packet, direction, { flags: proxyPort === 0 ? 0 : CT_FLAG.proxyRedirect });
  return proxyPort;
}
