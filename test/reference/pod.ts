/** The programs on a pod's link. Cilium `bpf/bpf_lxc.c`. */
import { LOOPBACK } from './bytes.js';
import * as conntrack from './conntrack.js';
import * as delivery from './delivery.js';
import * as dsr from './dsr.js';
import type { Journey } from './journey.js';
import { CT_FLAG, DROP, ICMPV6, IDENTITY, IN, MARK, OUT, PROGRAM, PROTOCOL } from './numbers.js';
import type { Packet } from './packet.js';
import * as nat from './nat.js';
import * as masquerade from './masquerade.js';
import { decide, PASSED, refused, type Decision } from './policy.js';
import * as proxy from './proxy.js';
import { receive } from './receive.js';
import { replied } from './routes.js';
import * as services from './services.js';
import type { EndpointConfig } from './tables.js';
import { isTunnel } from './tunnel.js';

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
    return solicited(journey, sent);

  const asked = services.lookup(journey, sent, false);
  const isAsking = asked !== undefined && !services.lendError(journey, sent);
  const lent = isAsking ? services.lend(journey, sent, asked, PROGRAM.delivered) : 0;
  if (lent !== 0) return lent;
  const isNodes = isAsking && masquerade.isServices(journey, journey.packet!, asked.service, 'pod');
  const { looped, revNatIndex, backendId } = journey;
  const status = conntrack.lookup(journey, journey.packet!, OUT);
  const isBack = status === 'reply' || status === 'related';
  if (isBack) {
    if (journey.back && (journey.back.flags & CT_FLAG.proxyRedirect) !== 0) return proxy.redirect(journey, 0);
    if (journey.packet!.flow.destination === LOOPBACK[sent.version]) return toItself(journey, config);
    const { back } = journey;
    // What came in the node's name goes back to whom it was for.
    if (tables.config.serviceMasquerade !== null && nat.reverse(journey, journey.packet!))
      return replied(journey, journey.packet!);
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
  const { reason, proxyPort } = isBack || looped ? PASSED : egress(journey, packet, config);
  if (reason !== 0) return -reason;
  const proxied = proxyPort === 0 ? 0 : CT_FLAG.proxyRedirect;
  const { ongoing } = journey;
  // As another's, or without the mark that it should have: `ct_recreate4`.
  const isStale =
    ongoing && (ongoing.revNatIndex !== revNatIndex || (ongoing.flags & CT_FLAG.proxyRedirect) !== proxied);
  if (status === 'new' || isStale)
    conntrack.create(journey, packet, OUT, {
      revNatIndex,
      backendId,
      flags: proxied | (looped ? CT_FLAG.loopback : 0),
    });
  if (proxyPort !== 0) return proxy.redirect(journey, proxyPort);
  const masqueraded = isNodes ? masquerade.asNodes(journey, packet) : 0;
  return masqueraded < 0 ? masqueraded : deliver(journey, journey.packet!);
}

function deliver(journey: Journey, packet: Packet): number {
  const { tables, node } = journey;
  const local = tables.endpointAt(packet.flow.destination, node);
  if (local) return delivery.toLocal(journey, packet, local);
  journey.paced = journey.endpoint;
  return delivery.onward(journey, packet, tables.remoteAt(packet.flow.destination)?.tunnelEndpoint ?? null);
}

/** Only the node is on the link. */
function solicited(journey: Journey, { flow }: Packet): number {
  const asked = journey.tables.endpointAt(flow.destination, journey.node);
  return asked?.isHost ? delivery.toHost(journey) : -DROP.unknownTarget;
}

/** To a node, a pod may not speak as nodes do among themselves. */
function egress(journey: Journey, packet: Packet, { policy, identity: local }: EndpointConfig): Decision {
  const { tables, destinationIdentity: peer } = journey;
  const isToNode = peer === IDENTITY.host || peer === IDENTITY.remoteNode;
  if (isTunnel(tables.config, packet) && isToNode) return refused(DROP.encapsulationProhibited);
  return decide(journey, packet, { policy, isEgress: true, local, peer });
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
    const isProxied = journey.back && (journey.back.flags & CT_FLAG.proxyRedirect) !== 0;
    if (isProxied && !proxy.isFrom(journey, MARK.proxyEgress)) return proxy.redirect(journey, 0);
    if (journey.back && journey.back.revNatIndex !== 0) services.reverse(journey, packet, journey.back);
    return delivery.toProcess(journey);
  }
  // What the proxy of the ingress sends has been decided on.
  const isDecided = looped || proxy.isFrom(journey, MARK.proxyIngress);
  const question = { policy, isEgress: false, local: identity, peer: sourceIdentity };
  const { reason, proxyPort } = isDecided ? PASSED : decide(journey, packet, question);
  if (reason !== 0) return -reason;
  if (status === 'new') {
    const opened = conntrack.peek(journey, packet.version, packet.flow, OUT);
    const marks = opened ? opened.flags & (CT_FLAG.nodePort | CT_FLAG.dsr) : 0;
    conntrack.create(journey, packet, IN, {
      flags: marks | (looped ? CT_FLAG.loopback : 0) | (proxyPort === 0 ? 0 : CT_FLAG.proxyRedirect),
      revNatIndex: (marks & CT_FLAG.nodePort) === 0 ? 0 : opened!.revNatIndex,
    });
  }
  return proxyPort === 0 ? delivery.toProcess(journey) : proxy.redirect(journey, proxyPort);
}
