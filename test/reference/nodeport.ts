/** Services asked from outside. Cilium `bpf/lib/nodeport.h`. */
import * as conntrack from './conntrack.js';
import * as delivery from './delivery.js';
import * as dsr from './dsr.js';
import type { IpInIp } from './ipip.js';
import type { Journey } from './journey.js';
import * as masquerade from './masquerade.js';
import * as nat from './nat.js';
import { CT_FLAG, DROP, IDENTITY, OUT, PROGRAM, SERVICE_FLAG } from './numbers.js';
import type { Packet } from './packet.js';
import { receive } from './receive.js';
import { forward, route } from './routes.js';
import * as services from './services.js';

/** A Service asked from outside (`nodeport_lb4`). */
export function asked(journey: Journey, asking: Packet, found: services.Asked): number {
  const { tables, node } = journey;
  const { service } = found;
  if ((service.flags & SERVICE_FLAG.routable) === 0) return -DROP.isClusterIp;
  if (!services.takes(journey, asking, service)) return -DROP.notInSourceRange;
  const lent = services.lend(journey, asking, found, PROGRAM.world);
  if (lent !== 0) return lent;
  const packet = journey.packet!;
  const local = tables.endpointAt(packet.flow.destination, node);
  if (!local && dsr.uses(journey, packet, service)) return dsr.dispatch(journey, asking, packet);
  open(journey, packet);
  if (masquerade.isServices(journey, packet, service, 'world')) {
    const result = masquerade.asNodes(journey, packet);
    return result < 0 ? result : route(journey, journey.packet!);
  }
  if (local) return delivery.toLocal(journey, packet, local);
  const masqueraded = nat.masquerade(journey, packet, masquerade.ownAddress(journey, packet.version));
  if (masqueraded < 0) return masqueraded;
  journey.isSourceDone = true;
  journey.sourceIdentity = tables.worldOf(packet.version);
  return forward(journey, journey.packet!);
}

/** A backend's replies are the Service's. */
function open(journey: Journey, packet: Packet): void {
  const { revNatIndex, backendId } = journey;
  if (conntrack.lookupNodePort(journey, packet, revNatIndex) === 'new')
    conntrack.create(journey, packet, OUT, { revNatIndex, backendId, flags: CT_FLAG.nodePort });
}

/** What the node that was asked sent in an IP header of its own to a backend here is as if this node had been. */
export function fromIp(journey: Journey, { destination, inner }: IpInIp): number {
  const { tables, node } = journey;
  const pod = tables.endpointAt(destination, node);
  if (!pod || pod.isHost) return -DROP.unroutable;
  journey.frame = inner;
  const packet = receive(journey);
  if (typeof packet === 'number') return -packet;
  journey.sourceIdentity = tables.remoteAt(packet.flow.source)?.identity ?? IDENTITY.world;
  const found = services.lookup(journey, packet, false);
  if (!found || !services.lendTo(journey, packet, found, destination)) return -DROP.unroutable;
  open(journey, journey.packet!);
  return route(journey, journey.packet!);
}
