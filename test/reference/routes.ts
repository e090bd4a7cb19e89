/** The ways that packets take where no policy is asked. Cilium `bpf/bpf_host.c`, `bpf/lib/nodeport.h`. */
import * as conntrack from './conntrack.js';
import * as delivery from './delivery.js';
import type { Journey } from './journey.js';
import { CT_FLAG, IDENTITY, IN } from './numbers.js';
import type { Packet } from './packet.js';
import * as services from './services.js';

/** To an endpoint of this node, or on. */
export function route(journey: Journey, packet: Packet): number {
  const local = journey.tables.endpointAt(packet.flow.destination, journey.node);
  return local ? delivery.toLocal(journey, packet, local) : forward(journey, packet);
}

/** To where no endpoint of this node is. */
export function forward(journey: Journey, packet: Packet): number {
  const remote = journey.tables.remoteAt(packet.flow.destination);
  journey.destinationIdentity = remote?.identity ?? IDENTITY.world;
  return delivery.onward(journey, packet, remote?.tunnelEndpoint ?? null);
}

/** A reply to what went out in the node's name: to a pod, or through a Service to its client outside. */
export function replied(journey: Journey, packet: Packet): number {
  if (journey.tables.endpointAt(packet.flow.destination, journey.node)) return route(journey, packet);
  conntrack.lookup(journey, packet, IN);
  const { back } = journey;
  if (back && (back.flags & CT_FLAG.nodePort) !== 0) services.reverse(journey, packet, back);
  return forward(journey, journey.packet!);
}
