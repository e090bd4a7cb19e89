/** Pieces of a packet: only the first has ports, which are kept for the others. Cilium `bpf/lib/ipfrag.h`. */
import type { Journey } from './journey.js';
import { fragmentKey } from './keys.js';
import { DROP, PROGRAM } from './numbers.js';
import type { Packet } from './packet.js';

/** The packet with the ports of its first piece, or the reason for which it is dropped. */
export function reassembled(journey: Journey, packet: Packet): Packet | number {
  if (packet.piece === 'whole') return packet;
  if (!journey.tables.config.trackFragments) return untracked(journey, packet);
  const { fragments } = journey.state;
  const key = fragmentKey(journey.node, packet.version, packet.flow, packet.fragmentId);
  if (packet.piece === 'first') {
    const { sourcePort, destinationPort } = packet.flow;
    fragments.set(key, { sourcePort, destinationPort });
    return packet;
  }
  const ports = fragments.get(key);
  return ports ? { ...packet, flow: { ...packet.flow, ...ports } } : DROP.firstFragmentNotFound;
}

/** A pod sends no piece where none is tracked; one that arrives has no ports, and only rules without any let it. */
function untracked({ program }: Journey, packet: Packet): Packet | number {
  if (program === PROGRAM.fromContainer) return DROP.fragmentsNotSupported;
  return { ...packet, piece: 'later', quote: null, flow: { ...packet.flow, sourcePort: 0, destinationPort: 0 } };
}
