/** The programs on a pod's link. Cilium `bpf/bpf_lxc.c`. */
import { LOOPBACK } from './bytes.js';
import * as conntrack from './conntrack.js';
import * as delivery from './delivery.js';
import * as dsr from './dsr.js';
import { reassembled } from './fragments.js';
import type { Journey } from './journey.js';
import { CT_FLAG, DROP, ICMPV6, IDENTITY, IN, OUT, PROGRAM, PROTOCOL } from './numbers.js';
import type { Packet } from './packet.js';
import { decide } from './policy.js';
import { read } from './read.js';
import * as services from './services.js';
import type { EndpointConfig } from './tables.js';
import { isTunnel } from './tunnel.js';

/** What the packet in the frame is; its reason when it is none. */
export function receive(journey: Journey): Packet | number {
  const packet = read(journey.frame);
  if (typeof packet === 'number') return packet;
  const whole = reassembled(journey, packet);
  if (typeof whole !== 'number') journey.packet = whole;
  return whole;
}

/** What a pod sends (`cil_from_container`). */
export function fromContainer(journey: Journey): number {
  const { tables } = journey;
  const config = tables.readyEndpoint(journey.endpoint);
  if (!config) return -DROP.endpointNotReady;
  journey.node = config.node;
  journey.sourceIdentity = config.identity;
  const sent = receive(journey);
  if (typeof sent === 'number') return -sent;
  if (sent.flow.source !== config.addresses[sent.version]) return -DROP.invalidSource;
  if (sent.flow.protocol === PROTOCOL.icmpv6 && sent.icmpType === ICMPV6.neighborSolicitation)
    return tables.endpointAt(sent.flow.destination, journey.node)?.isHost ? PROGRAM.host : -DROP.unknownTarget;

  const result = toBackend(journey, sent);
  if (result !== 0) return result;
  const { looped, revNatIndex, backendId } = journey;
  const status = conntrack.lookup(journey, journey.packet!, OUT);
  const isBack = status === 'reply' || status === 'related';
  if (isBack) {
    if (journey.packet!.flow.destination === LOOPBACK[sent.version]) return toItself(journey, config);
    const { back } = journey;
    // The client outside knows only the Service, and this is the last program that does.
    if (back && (back.flags & CT_FLAG.nodePort) !== 0) {
      if (status === 'reply') conntrack.countNodePort(journey, journey.packet!);
      services.reverse(journey, journey.packet!, back);
    } else if (back && (back.flags & CT_FLAG.dsr) !== 0) dsr.reverse(journey, journey.packet!);
  }
  const packet = journey.packet!;
  const remote = tables.remoteAt(packet.flow.destination);
  const isOwnNode = remote?.identity === IDENTITY.remoteNode && tables.nodeAt(packet.flow.destination) === journey.node;
  journey.destinationIdentity = isOwnNode ? IDENTITY.host : (remote?.identity ?? IDENTITY.world);
  if (!isBack && !looped) {
    const reason = egress(journey, packet, config);
    if (reason !== 0) return -reason;
  }
  if (status === 'new')
    conntrack.create(journey, packet, OUT, { revNatIndex, backendId, flags: looped ? CT_FLAG.loopback : 0 });
  const local = tables.endpointAt(packet.flow.destination, journey.node);
  if (local) return delivery.toLocal(journey, packet, local);
  return delivery.onward(journey, packet, remote?.tunnelEndpoint ?? null);
}

function toBackend(journey: Journey, packet: Packet): number {
  const asked = services.lookup(journey, packet, false);
  if (!asked || services.lendError(journey, packet)) return 0;
  return services.lend(journey, packet, asked, PROGRAM.delivered);
}

/** To a node, a pod may not speak as nodes do among themselves. */
function egress({ tables, destinationIdentity }: Journey, packet: Packet, { policy }: EndpointConfig): number {
  const isToNode = destinationIdentity === IDENTITY.host || destinationIdentity === IDENTITY.remoteNode;
  if (isTunnel(tables.config, packet) && isToNode) return DROP.encapsulationProhibited;
  return decide(tables, packet, policy, destinationIdentity, true);
}

/** The pod answers itself, and its own link is where the Service's address comes back. */
function toItself(journey: Journey, { identity, addresses }: EndpointConfig): number {
  const packet = journey.packet!;
  journey.destinationIdentity = identity;
  const itself = journey.tables.endpointAt(addresses[packet.version]!, journey.node);
  return itself ? delivery.toLocal(journey, packet, itself) : -DROP.unroutable;
}

/** What reaches a pod (`ipv4_policy`). */
export function ingressPolicy(journey: Journey): number {
  const { tables, endpoint, looped, sourceIdentity } = journey;
  const { identity, policy } = tables.readyEndpoint(endpoint)!;
  const packet = journey.packet!;
  journey.destinationIdentity = identity;
  const status = conntrack.lookup(journey, packet, IN);
  if (status === 'reply' || status === 'related') {
    if (journey.back && journey.back.revNatIndex !== 0) services.reverse(journey, packet, journey.back);
    return PROGRAM.delivered;
  }
  const reason = looped ? 0 : decide(tables, packet, policy, sourceIdentity, false);
  if (reason !== 0) return -reason;
  if (status === 'new') {
    const opened = conntrack.peek(journey, packet.version, packet.flow, OUT);
    const marks = opened ? opened.flags & (CT_FLAG.nodePort | CT_FLAG.dsr) : 0;
    conntrack.create(journey, packet, IN, {
      flags: marks | (looped ? CT_FLAG.loopback : 0),
      revNatIndex: (marks & CT_FLAG.nodePort) === 0 ? 0 : opened!.revNatIndex,
    });
  }
  return PROGRAM.delivered;
}
