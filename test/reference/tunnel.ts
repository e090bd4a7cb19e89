/** VXLAN (RFC 7348) between the nodes, with the sender's identity as its network. Cilium `bpf/lib/encap.h`. */
import { checksumFor, putAddress, putWord, sumOf, word, type Address } from './bytes.js';
import { hashOfFlow } from './hashes.js';
import type { Journey } from './journey.js';
import { DEFAULT_TTL, DROP, IDENTITY, PROTOCOL, TUNNEL_PORTS, TUNNEL_PORT_FIRST, VXLAN_PORT } from './numbers.js';
import type { Packet } from './packet.js';

const VNI_IS_VALID = 0x08;

export const isTunnel = ({ flow }: Packet): boolean =>
  flow.protocol === PROTOCOL.udp && flow.destinationPort === VXLAN_PORT;

/** Puts the packet into the tunnel. The host of one node is a remote node to the others. */
export function enter(journey: Journey, packet: Packet, to: Address): void {
  const { mac, addresses } = journey.tables.node(journey.node);
  const inner = journey.bytes;
  const identity = journey.sourceIdentity === IDENTITY.host ? IDENTITY.remoteNode : journey.sourceIdentity;
  const { source, destination, sourcePort, destinationPort, protocol } = packet.flow;
  const hash = hashOfFlow(source, destination, sourcePort, destinationPort, protocol);
  const outer = new Uint8Array(50);
  outer.set(mac, 6);
  outer.set([0x08, 0x00], 12);
  const ip = outer.subarray(14, 34);
  // Version 4, five words; don't fragment.
  ip.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, DEFAULT_TTL, PROTOCOL.udp]);
  putWord(ip, 2, 36 + inner.length);
  putAddress(ip, 12, addresses[4]!);
  putAddress(ip, 16, to);
  putWord(ip, 10, checksumFor(sumOf(ip)));
  putWord(outer, 34, TUNNEL_PORT_FIRST + (hash % TUNNEL_PORTS));
  putWord(outer, 36, VXLAN_PORT);
  putWord(outer, 38, 16 + inner.length);
  outer[42] = VNI_IS_VALID;
  outer.set([identity >>> 16, identity >>> 8, identity], 46);
  journey.frame = new Uint8Array(outer.length + inner.length);
  journey.frame.set(outer, 0);
  journey.frame.set(inner, outer.length);
  journey.packet = null;
  journey.tunnelTo = to;
}

/** Takes the packet out of it. 0, or the reason for which it is dropped. */
export function leave(journey: Journey, { piece, frame, bodyAt, end }: Packet): number {
  const vxlan = frame.subarray(Math.min(bodyAt + 8, end), end);
  if (piece === 'later' || vxlan.length < 8 || (vxlan[0]! & VNI_IS_VALID) === 0) return DROP.noTunnelKey;
  const identity = (vxlan[4]! << 16) | word(vxlan, 5);
  if (identity === IDENTITY.host) return DROP.invalidIdentity;
  journey.sourceIdentity = identity;
  journey.frame = vxlan.subarray(8);
  journey.packet = null;
  return 0;
}
