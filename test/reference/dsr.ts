/**
 * Direct server return: a backend on another node answers the client itself, as the Service. The node that was asked tells the
 * backend's which Service that was. Cilium `bpf/lib/nodeport.h`, `tail_nodeport_ipv4_dsr`, `nodeport_extract_dsr_v4`.
 */
import * as conntrack from './conntrack.js';
import * as delivery from './delivery.js';
import { inIp, withHeader } from './grow.js';
import type { Journey } from './journey.js';
import { connectionKey } from './keys.js';
import {
  CT_FLAG,
  DROP,
  IDENTITY,
  IN,
  OUT,
  PROGRAM,
  PROTOCOL,
  SERVICE_FLAG2,
  TCP_FLAG,
  TUNNEL_OVERHEAD,
} from './numbers.js';
import { lengthOf, turned, withFlow, withOneHopLess, type Packet } from './packet.js';
import * as services from './services.js';
import type { ServiceRow } from './tables.js';
import { inHeader, option, readHeader, type Told } from './told.js';
import * as tunnel from './tunnel.js';

/** Whether a packet for this Service goes to a backend on another node so (`nodeport_uses_dsr4`). */
export function uses({ tables }: Journey, { flow }: Packet, { flags2 }: ServiceRow): boolean {
  const { dsr } = tables.config;
  if (dsr === null) return false;
  if (dsr.mode === 'all' || (flags2 & SERVICE_FLAG2.dsr) !== 0) return true;
  return dsr.mode === 'tcp' && flow.protocol === PROTOCOL.tcp;
}

/** Of TCP only what opens a connection tells the Service. */
const tells = ({ flow, tcpFlags }: Packet): boolean =>
  flow.protocol !== PROTOCOL.tcp || (tcpFlags & TCP_FLAG.syn) !== 0;

/** Sends a packet that was lent to a backend on another node there, `asking` being how it came. */
export function dispatch(journey: Journey, asking: Packet, packet: Packet): number {
  const { tables, node } = journey;
  const remote = tables.remoteAt(packet.flow.destination);
  const end = remote?.tunnelEndpoint ?? null;
  journey.sourceIdentity = tables.worldOf(packet.version);
  journey.destinationIdentity = remote?.identity ?? IDENTITY.world;
  const told: Told = { address: asking.flow.destination, port: asking.flow.destinationPort };
  switch (tables.config.dsr!.dispatch) {
    case 'geneve': {
      if (end === null) return -DROP.noTunnelEndpoint;
      const options = tells(packet) ? option(told) : undefined;
      const overhead = TUNNEL_OVERHEAD + (options?.length ?? 0);
      if (!fits(journey, packet, overhead)) return tellTooBig(journey, asking, overhead);
      if (packet.ttl <= 1) return -DROP.ttlExceeded;
      journey.packet = withOneHopLess(packet);
      tunnel.enter(journey, journey.packet, end, options);
      return PROGRAM.toNetdev;
    }
    case 'ipip': {
      // Nothing would say which port the backend has.
      if (packet.flow.destinationPort !== told.port) return -DROP.dsrUnsupported;
      const outer = inIp(withFlow(asking, {}), tables.node(node), packet.flow.destination);
      if (!fits(journey, outer, 0)) return tellTooBig(journey, asking, lengthOf(outer) - lengthOf(asking));
      journey.packet = outer;
      return delivery.onward(journey, outer, end);
    }
    case 'option': {
      if (!tells(packet)) return delivery.onward(journey, packet, end);
      const grown = withHeader(packet, inHeader(told, packet.frame[20]!));
      if (grown === null) return -DROP.ctInvalidHeader;
      const around = end === null || tables.config.isNative ? 0 : TUNNEL_OVERHEAD;
      const overhead = lengthOf(grown) - lengthOf(packet) + around;
      if (!fits(journey, packet, overhead)) return tellTooBig(journey, asking, overhead);
      journey.packet = grown;
      return delivery.onward(journey, grown, end);
    }
  }
}

/** Whoever sent it need not have asked that it stays whole (`dsr_is_too_big`). */
const fits = ({ tables }: Journey, packet: Packet, overhead: number): boolean =>
  tables.config.mtu === 0 || lengthOf(packet) + overhead <= tables.config.mtu;

/** `dsr_reply_icmp4`: about the packet as it came. */
const tellTooBig = (journey: Journey, asking: Packet, overhead: number): number =>
  delivery.tellTooBig(journey, withFlow(asking, {}), journey.tables.config.mtu - overhead);

/** What another node told along with a packet for a backend here is remembered. Whatever has no ports is no Service's. */
export function learn(journey: Journey, packet: Packet, told: Told | null): void {
  const { state, node } = journey;
  const { version, flow } = packet;
  if (flow.protocol !== PROTOCOL.tcp && flow.protocol !== PROTOCOL.udp && flow.protocol !== PROTOCOL.sctp) return;
  const opened = conntrack.peek(journey, version, flow, OUT);
  const isKnown = opened !== undefined && (opened.flags & CT_FLAG.dsr) !== 0;
  const isTcp = flow.protocol === PROTOCOL.tcp;
  if (!tells(packet)) {
    if (isKnown) conntrack.countOpener(journey, packet);
  } else if (told === null || told.port === 0) {
    // The same ports once more, and no Service: replies are the backend's own from now on (`ct_update_dsr`).
    if (isKnown && isTcp) for (const side of [OUT, IN] as const) conntrack.unmark(journey, packet, side, CT_FLAG.dsr);
  } else if (isKnown && !isTcp) conntrack.countOpener(journey, packet);
  else {
    conntrack.create(journey, packet, OUT, { flags: CT_FLAG.dsr });
    // `snat_v4_create_dsr`.
    const reply = connectionKey(node, version, turned(flow), OUT);
    state.mappings.set(reply, { ...told, created: state.clock });
  }
}

/** What the packet's own header tells, where it is looked at. */
export const toldIn = ({ tables }: Journey, { frame, version }: Packet): Told | null =>
  tables.config.dsr?.dispatch === 'option' ? readHeader(frame, version) : null;

/** A backend's reply, or its error about a request, comes from the Service (`xlate_dsr_v4`). */
export function reverse(journey: Journey, packet: Packet): void {
  const { state, node } = journey;
  const { version, flow, quote } = packet;
  const frontend = state.mappings.get(connectionKey(node, version, quote ? turned(quote.flow) : flow, OUT));
  if (frontend) services.restore(journey, packet, frontend, false);
}
