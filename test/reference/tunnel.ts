/** VXLAN (RFC 7348) or Geneve (RFC 8926) between the nodes, with the sender's identity as its network. Cilium `bpf/lib/encap.h`. */
import { checksumFor, putAddress, putWord, sumOf, word, type Address } from './bytes.js';
import * as geneve from './geneve.js';
import { hashOfFlow } from './hashes.js';
import type { Journey } from './journey.js';
import { DEFAULT_TTL, DROP, IDENTITY, PROTOCOL, TUNNEL_PORT, TUNNEL_PORT_FIRST, TUNNEL_PORTS } from './numbers.js';
import type { Packet } from './packet.js';
import type { Config } from './tables.js';

const VNI_IS_VALID = 0x08;

/** Where the header behind the outer UDP header starts, and its bytes without options. */
const HEADER_AT = 42;
const HEADER_LENGTH = 8;

export const isTunnel = ({ tunnel }: Config, { flow }: Packet): boolean =>
  tunnel !== null && flow.protocol === PROTOCOL.udp && flow.destinationPort === TUNNEL_PORT[tunnel];

/** Puts the packet into the tunnel, with options in its header. The host of one node is a remote node to the others. */
export function enter(journey: Journey, packet: Packet, to: Address, options: Uint8Array = new Uint8Array(0)): void {
  const { mac, addresses } = journey.tables.node(journey.node);
  const inner = journey.bytes;
  const tunnel = journey.tables.config.tunnel!;
  const identity = journey.sourceIdentity === IDENTITY.host ? IDENTITY.remoteNode : journey.sourceIdentity;
  const { source, destination, sourcePort, destinationPort, protocol } = packet.flow;
  const hash = hashOfFlow(source, destination, sourcePort, destinationPort, protocol);
  const outer = new Uint8Array(HEADER_AT + HEADER_LENGTH + options.length);
  outer.set(mac, 6);
  outer.set([0x08, 0x00], 12);
  const ip = outer.subarray(14, 34);
  // Version 4, five words; don't fragment.
  ip.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, DEFAULT_TTL, PROTOCOL.udp]);
  putWord(ip, 2, outer.length - 14 + inner.length);
  putAddress(ip, 12, addresses[4]!);
  putAddress(ip, 16, to);
  putWord(ip, 10, checksumFor(sumOf(ip)));
  putWord(outer, 34, TUNNEL_PORT_FIRST + (hash % TUNNEL_PORTS));
  putWord(outer, 36, TUNNEL_PORT[tunnel]);
  putWord(outer, 38, outer.length - 34 + inner.length);
  if (tunnel === 'geneve') outer.set(geneve.start(options.length), HEADER_AT);
  else outer[HEADER_AT] = VNI_IS_VALID;
  outer.set([identity >>> 16, identity >>> 8, identity], HEADER_AT + 4);
  outer.set(options, HEADER_AT + HEADER_LENGTH);
  journey.frame = new Uint8Array(outer.length + inner.length);
  journey.frame.set(outer, 0);
  journey.frame.set(inner, outer.length);
  journey.packet = null;
  journey.tunnelTo = to;
}

/** Takes the packet out of it. 0, or the reason for which it is dropped. */
export function leave(journey: Journey, { piece, frame, bodyAt, end }: Packet): number {
  const header = frame.subarray(Math.min(bodyAt + 8, end), end);
  if (piece === 'later' || header.length < HEADER_LENGTH) return DROP.noTunnelKey;
  let length = HEADER_LENGTH;
  if (journey.tables.config.tunnel === 'geneve') {
    const options = geneve.read(header);
    if (typeof options === 'number') return options;
    journey.told = options.told;
    length += options.length;
  } else if ((header[0]! & VNI_IS_VALID) === 0) return DROP.noTunnelKey;
  const identity = (header[4]! << 16) | word(header, 5);
  if (identity === IDENTITY.host) return DROP.invalidIdentity;
  journey.sourceIdentity = identity;
  journey.frame = header.subarray(length);
  journey.packet = null;
  return 0;
}
