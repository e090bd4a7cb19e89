/** The program on the tunnel device. Cilium `bpf/bpf_overlay.c`. */
import { versionOf } from './bytes.js';
import * as delivery from './delivery.js';
import * as dsr from './dsr.js';
import type { Journey } from './journey.js';
import { DROP, IDENTITY } from './numbers.js';
import type { Packet } from './packet.js';
import { receive } from './receive.js';
import * as tunnel from './tunnel.js';

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
