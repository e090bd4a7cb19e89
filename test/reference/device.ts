/** The programs on a node's devices, and what the node sends itself. Cilium `bpf/bpf_host.c`, `bpf_overlay.c`, `bpf/lib/nodeport.h`. */
import * as conntrack from './conntrack.js';
import * as delivery from './delivery.js';
import * as dsr from './dsr.js';
import * as firewall from './host-firewall.js';
import { readIpInIp, type IpInIp } from './ipip.js';
import type { Journey } from './journey.js';
import * as nat from './nat.js';
import { versionOf } from './bytes.js';
import { CT_FLAG, DROP, IDENTITY, IN, MARK, OUT, PROGRAM, SERVICE_FLAG } from './numbers.js';
import { turned, type Packet } from './packet.js';
import { receive } from './pod.js';
import * as proxy from './proxy.js';
import * as services from './services.js';
import { isIn } from './tables.js';
import * as tunnel from './tunnel.js';

/** The address of nobody, which a node has in a family that it has no address of. */
const NOBODY = { 4: '\0'.repeat(4), 6: '\0'.repeat(16) } as const;

/** What comes from outside the node (`cil_from_netdev`). */
export function fromNetdev(journey: Journey): number {
  const { tables, node } = journey;
  const outer = readIpInIp(journey);
  if (outer) return fromIp(journey, outer);
  const packet = receive(journey);
  if (typeof packet === 'number') return -packet;
  journey.sourceIdentity = tables.remoteAt(packet.flow.source)?.identity ?? IDENTITY.world;
  if (packet.version === 4 && tunnel.isTunnel(tables.config, packet) && tables.nodeAt(packet.flow.destination) === node)
    return PROGRAM.fromOverlay;
  const asked = services.lookup(journey, packet, true);
  if (asked && !services.lendError(journey, packet)) return nodePort(journey, packet, asked);
  // Geneve's own header tells, so that here there is nothing.
  const told = tables.config.dsr?.dispatch === 'option';
  if (told) dsr.learn(journey, journey.packet!, dsr.toldIn(journey, journey.packet!));
  return nat.reverse(journey, journey.packet!) ? replied(journey, journey.packet!) : route(journey, journey.packet!);
}

/** A Service asked from outside (`nodeport_lb4`). */
function nodePort(journey: Journey, asking: Packet, asked: services.Asked): number {
  const { tables, node } = journey;
  const { service } = asked;
  if ((service.flags & SERVICE_FLAG.routable) === 0) return -DROP.isClusterIp;
  if (!services.takes(journey, asking, service)) return -DROP.notInSourceRange;
  const lent = services.lend(journey, asking, asked, PROGRAM.world);
  if (lent !== 0) return lent;
  const packet = journey.packet!;
  const local = tables.endpointAt(packet.flow.destination, node);
  if (!local && dsr.uses(journey, packet, service)) return dsr.dispatch(journey, asking, packet);
  open(journey, packet);
  if (local) return delivery.toLocal(journey, packet, local);
  const { addresses } = tables.node(node);
  const masqueraded = nat.masquerade(journey, packet, addresses[packet.version] ?? NOBODY[packet.version]);
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
function fromIp(journey: Journey, { destination, inner }: IpInIp): number {
  const { tables, node } = journey;
  const pod = tables.endpointAt(destination, node);
  if (!pod || pod.isHost) return -DROP.unroutable;
  journey.frame = inner;
  const packet = receive(journey);
  if (typeof packet === 'number') return -packet;
  journey.sourceIdentity = tables.remoteAt(packet.flow.source)?.identity ?? IDENTITY.world;
  const asked = services.lookup(journey, packet, false);
  if (!asked || !services.lendTo(journey, packet, asked, destination)) return -DROP.unroutable;
  open(journey, journey.packet!);
  return route(journey, journey.packet!);
}

/** A reply to what went out in the node's name: to a pod, or through a Service to its client outside. */
function replied(journey: Journey, packet: Packet): number {
  if (journey.tables.endpointAt(packet.flow.destination, journey.node)) return route(journey, packet);
  conntrack.lookup(journey, packet, IN);
  const { back } = journey;
  if (back && (back.flags & CT_FLAG.nodePort) !== 0) services.reverse(journey, packet, back);
  return forward(journey, journey.packet!);
}

/** What the node sends (`cil_from_host`). */
export function fromHost(journey: Journey): number {
  journey.sourceIdentity = IDENTITY.host;
  const packet = receive(journey);
  if (typeof packet === 'number') return -packet;
  if (packet.quote && nat.reverse(journey, packet)) return replied(journey, journey.packet!);
  const asked = services.lookup(journey, packet, false);
  const lent = asked ? services.lend(journey, packet, asked, PROGRAM.host) : 0;
  if (lent !== 0) return lent;
  const asking = journey.packet!;
  const next = isToPod(journey, asking) ? firewall.egress(journey, asking) : 0;
  return next === 0 ? route(journey, journey.packet!) : next;
}

/** To a pod of this node, or by a tunnel: that leaves by no device of the network's, where the firewall stands otherwise. */
function isToPod({ tables, node }: Journey, { flow }: Packet): boolean {
  if (!tables.config.hostFirewall) return false;
  const local = tables.endpointAt(flow.destination, node);
  if (local) return !local.isHost;
  return !tables.config.isNative && Boolean(tables.remoteAt(flow.destination)?.tunnelEndpoint);
}

/** What is for the node itself, where it has a firewall (`cil_to_host`). */
export function toHost(journey: Journey): number {
  return firewall.ingress(journey, journey.packet!) || PROGRAM.host;
}

function route(journey: Journey, packet: Packet): number {
  const local = journey.tables.endpointAt(packet.flow.destination, journey.node);
  return local ? delivery.toLocal(journey, packet, local) : forward(journey, packet);
}

function forward(journey: Journey, packet: Packet): number {
  const remote = journey.tables.remoteAt(packet.flow.destination);
  journey.destinationIdentity = remote?.identity ?? IDENTITY.world;
  return delivery.onward(journey, packet, remote?.tunnelEndpoint ?? null);
}

/** What a proxy sends, for whom its mark tells. */
export function fromProxy(journey: Journey): number {
  const packet = receive(journey);
  if (typeof packet === 'number') return -packet;
  journey.sourceIdentity = proxy.identityOf(journey, packet);
  return route(journey, packet);
}

/** What leaves the node (`cil_to_netdev`), but for the tunnel: replies are a Service's, and pods' own goes in the node's name. */
export function toNetdev(journey: Journey): number {
  if (journey.tunnelTo !== null || !journey.packet) return PROGRAM.wire;
  if (journey.tables.config.hostFirewall && journey.sourceIdentity === IDENTITY.host) {
    const next = firewall.egress(journey, journey.packet);
    if (next !== 0) return next;
  }
  if (journey.isSourceDone) return PROGRAM.wire;
  // A pod's own link does so itself.
  if (journey.endpoint === 0) answer(journey, journey.packet);
  const result = journey.tables.config.masquerade ? inNodesName(journey, journey.packet) : 0;
  return result < 0 ? result : PROGRAM.wire;
}

/** A backend of a client outside, which knows only the Service (`nodeport_rev_dnat_fwd_ipv4`). */
function answer(journey: Journey, packet: Packet): void {
  const opened = conntrack.peek(journey, packet.version, turned(packet.flow), OUT);
  if (packet.quote || !opened || (opened.flags & (CT_FLAG.nodePort | CT_FLAG.dsr)) === 0) return;
  conntrack.lookup(journey, packet, IN);
  const { back } = journey;
  if (back && (back.flags & CT_FLAG.nodePort) !== 0) services.reverse(journey, packet, back);
  else if (back && (back.flags & CT_FLAG.dsr) !== 0) dsr.reverse(journey, packet);
}

/** A pod's own packet, where its address means nothing to whom it is for; the node's own keeps its port. */
function inNodesName(journey: Journey, packet: Packet): number {
  const { tables, node } = journey;
  const own = tables.node(node).addresses[packet.version] ?? NOBODY[packet.version];
  if (journey.sourceIdentity === IDENTITY.host) return packet.flow.source === own ? nat.reserve(journey, packet) : 0;
  return needsMasquerade(journey, packet) ? nat.masquerade(journey, packet, own) : 0;
}

/** Cilium `bpf/lib/nat.h`, `snat_v4_needs_masquerade`. */
function needsMasquerade(journey: Journey, { flow, version }: Packet): boolean {
  const { tables, node, destinationIdentity } = journey;
  const { isNative, nativeCidrs, nonMasqueradeCidrs } = tables.config;
  const { source, destination } = flow;
  const sender = tables.endpointAt(source, node);
  if (!sender || sender.isHost) return false;
  // A pod's link has looked; what its proxy sends may be a reply too (`ct_is_reply4`).
  const isProxys = proxy.isFrom(journey, MARK.proxyIngress) || proxy.isFrom(journey, MARK.proxyEgress);
  if (journey.status === 'reply' || (isProxys && conntrack.peek(journey, version, turned(flow), IN))) return false;
  if (isIn(nativeCidrs, destination) || isIn(nonMasqueradeCidrs ?? [], destination)) return false;
  if (!isNative) return true;
  // The network carries pods' addresses to nodes, and where it was not told which addresses it carries, to all pods.
  if (destinationIdentity === IDENTITY.remoteNode || destinationIdentity === IDENTITY.kubeApiserver) return false;
  const isTold = nativeCidrs.some(({ address }) => versionOf(address) === version);
  return isTold || !tables.remoteAt(destination)?.tunnelEndpoint;
}

/** The network between the nodes, which knows the way to pods where they take no tunnel. */
export function wire(journey: Journey): number {
  const { tables, tunnelTo, packet } = journey;
  const to = tunnelTo ?? packet!.flow.destination;
  const end = tunnelTo === null && tables.config.isNative ? (tables.remoteAt(to)?.tunnelEndpoint ?? null) : null;
  const node = tables.nodeAt(to) || (end === null ? 0 : tables.nodeAt(end));
  if (node === 0 || node === journey.node) return PROGRAM.world;
  journey.moveTo(node);
  return PROGRAM.fromNetdev;
}

/** What comes out of the tunnel (`cil_from_overlay`). */
export function fromOverlay(journey: Journey): number {
  const reason = tunnel.leave(journey, journey.packet!);
  if (reason !== 0) return -reason;
  const packet = receive(journey);
  if (typeof packet === 'number') return -packet;
  learnInTunnel(journey, packet);
  const local = journey.tables.endpointAt(packet.flow.destination, journey.node);
  if (!local) return -DROP.unroutable;
  if (local.isHost) journey.destinationIdentity = IDENTITY.host;
  return delivery.toLocal(journey, packet, local);
}

/** In the tunnel its own header tells, or the packet's where that has the option; the last that is of the packet's family counts. */
function learnInTunnel(journey: Journey, packet: Packet): void {
  const { dsr: mode } = journey.tables.config;
  if (mode === null || mode.dispatch === 'ipip') return;
  const told = journey.told.filter(({ address }) => versionOf(address) === packet.version).at(-1) ?? null;
  dsr.learn(journey, packet, mode.dispatch === 'geneve' ? told : dsr.toldIn(journey, packet));
}
