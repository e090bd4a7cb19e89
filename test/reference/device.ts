/** The programs on a node's network device, and what the node sends itself. Cilium `bpf/bpf_host.c`. */
import * as conntrack from './conntrack.js';
import * as delivery from './delivery.js';
import * as dsr from './dsr.js';
import * as firewall from './host-firewall.js';
import { readIpInIp } from './ipip.js';
import type { Journey } from './journey.js';
import * as masquerade from './masquerade.js';
import * as nat from './nat.js';
import * as nodeport from './nodeport.js';
import { CT_FLAG, IDENTITY, IN, OUT, PROGRAM } from './numbers.js';
import { turned, type Packet } from './packet.js';
import * as proxy from './proxy.js';
import { receive } from './receive.js';
import { replied, route } from './routes.js';
import * as services from './services.js';
import * as tunnel from './tunnel.js';
import * as pace from './pace.js';
import * as wireguard from './wireguard.js';

/** What comes from outside the node (`cil_from_netdev`). */
export function fromNetdev(journey: Journey): number {
  const { tables, node } = journey;
  const outer = readIpInIp(journey);
  if (outer) return nodeport.fromIp(journey, outer);
  const packet = receive(journey);
  if (typeof packet === 'number') return -packet;
  journey.sourceIdentity = tables.remoteAt(packet.flow.source)?.identity ?? IDENTITY.world;
  if (packet.version === 4 && tunnel.isTunnel(tables.config, packet) && tables.nodeAt(packet.flow.destination) === node)
    return PROGRAM.fromOverlay;
  if (packet.version === 4 && wireguard.isMessage(journey, packet) && tables.nodeAt(packet.flow.destination) === node)
    return PROGRAM.fromWireguard;
  const asked = services.lookup(journey, packet, true);
  if (asked && !services.lendError(journey, packet)) return nodeport.asked(journey, packet, asked);
  // Geneve's own header tells, so that here there is nothing.
  const told = tables.config.dsr?.dispatch === 'option';
  if (told) dsr.learn(journey, journey.packet!, dsr.toldIn(journey, journey.packet!));
  return nat.reverse(journey, journey.packet!) ? replied(journey, journey.packet!) : route(journey, journey.packet!);
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
  if (asked && masquerade.isServices(journey, journey.packet!, asked.service, 'node')) {
    const result = masquerade.asNodes(journey, journey.packet!);
    if (result < 0) return result;
  }
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
  return firewall.ingress(journey, journey.packet!) || delivery.toProcess(journey);
}

/** What a proxy sends, for whom its mark tells. */
export function fromProxy(journey: Journey): number {
  const packet = receive(journey);
  if (typeof packet === 'number') return -packet;
  journey.sourceIdentity = proxy.identityOf(journey, packet);
  return route(journey, packet);
}

/** What leaves the node (`cil_to_netdev`): past its firewall, encrypted or under the right name, and in its time. */
export function toNetdev(journey: Journey): number {
  const isPlain = journey.tunnelTo === null;
  if (isPlain && journey.tables.config.hostFirewall && journey.sourceIdentity === IDENTITY.host) {
    const next = firewall.egress(journey, journey.packet!);
    if (next !== 0) return next;
  }
  const next = pace.depart(journey) || wireguard.guard(journey) || (isPlain ? renamed(journey, journey.packet!) : 0);
  return next === 0 ? PROGRAM.wire : next;
}

/** Outside of a tunnel replies are a Service's, and pods' own goes in the node's name. */
function renamed(journey: Journey, packet: Packet): number {
  if (journey.isSourceDone) return 0;
  // A pod's own link does so itself.
  if (journey.endpoint === 0) answer(journey, packet);
  return journey.tables.config.masquerade ? Math.min(masquerade.leave(journey, journey.packet!), 0) : 0;
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
