/** Where a packet goes from here. Cilium `bpf/lib/local_delivery.h`, `l3.h`. */
import type { Address } from './bytes.js';
import * as icmp from './icmp.js';
import type { Journey } from './journey.js';
import { DROP, IDENTITY, PROGRAM, TUNNEL_OVERHEAD } from './numbers.js';
import { lengthOf, withOneHopLess, type Packet } from './packet.js';
import type { EndpointRow } from './tables.js';
import * as pace from './pace.js';
import * as tunnel from './tunnel.js';

/** To an endpoint of this node, whose policy is next, or to the node itself. */
export function toLocal(journey: Journey, packet: Packet, row: EndpointRow): number {
  if (row.isHost) return toHost(journey);
  if (packet.ttl <= 1) return -DROP.ttlExceeded;
  const routed = withOneHopLess(packet);
  journey.packet = routed;
  const config = journey.tables.readyEndpoint(row.endpoint);
  if (!config) return -DROP.endpointNotReady;
  journey.packet = { ...routed, hop: { destination: config.mac, source: config.nodeMac } };
  journey.endpoint = row.endpoint;
  return PROGRAM.lxcPolicy;
}

/** To the node's own processes, past its firewall. */
export function toHost(journey: Journey): number {
  journey.endpoint = 0;
  return journey.tables.config.hostFirewall ? PROGRAM.toHost : toProcess(journey);
}

/** To the processes of the endpoint, or of the node; where their sockets have programs, past those. */
export function toProcess({ tables, endpoint }: Journey): number {
  if (tables.config.socketLb !== 'off') return PROGRAM.sockRecvmsg;
  return endpoint === 0 ? PROGRAM.host : PROGRAM.delivered;
}

/** To where no endpoint of this node is: through the tunnel, or over the network as it is, to the node at `end`; else to the stack. */
export function onward(journey: Journey, packet: Packet, end: Address | null): number {
  if (end === null) return toStack(journey, packet);
  return journey.tables.config.isNative ? toNode(journey, packet, end) : toOverlay(journey, packet, end);
}

function toOverlay(journey: Journey, packet: Packet, end: Address): number {
  const { mtu } = journey.tables.config;
  if (isTooBig(packet, mtu, TUNNEL_OVERHEAD)) return tellTooBig(journey, packet, mtu - TUNNEL_OVERHEAD);
  if (packet.ttl <= 1) return -DROP.ttlExceeded;
  journey.packet = withOneHopLess(packet);
  const late = pace.depart(journey);
  if (late !== 0) return late;
  tunnel.enter(journey, journey.packet, end);
  return PROGRAM.toNetdev;
}

/** The route to another node's pods leads by its address of their family (`auto-direct-node-routes`). */
function toNode(journey: Journey, packet: Packet, end: Address): number {
  const { tables } = journey;
  const node = tables.nodeAt(end);
  if (node === 0 || !tables.node(node).addresses[packet.version]) return -DROP.noRoute;
  if (isTooBig(packet, tables.config.mtu, 0)) return tellTooBig(journey, packet, tables.config.mtu);
  if (packet.ttl <= 1) return -DROP.ttlExceeded;
  journey.packet = withOneHopLess(packet);
  return PROGRAM.toNetdev;
}

/** Out of the node, as its stack routes. */
function toStack(journey: Journey, packet: Packet): number {
  const { mtu } = journey.tables.config;
  return isTooBig(packet, mtu, 0) ? tellTooBig(journey, packet, mtu) : PROGRAM.toNetdev;
}

const isTooBig = (packet: Packet, mtu: number, overhead: number): boolean =>
  mtu !== 0 && packet.dontFragment && lengthOf(packet) + overhead > mtu;

/** The node's own stack sends the error. */
export function tellTooBig(journey: Journey, packet: Packet, mtu: number): number {
  if (!icmp.mayAnswer(packet)) return -DROP.fragmentationNeeded;
  icmp.tooBig(journey, packet, mtu);
  journey.status = 'new';
  journey.sourceIdentity = IDENTITY.host;
  return PROGRAM.fromHost;
}
