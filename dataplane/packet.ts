/** Frames as bytes: made for a question, and read back from the datapath. RFC 791, 9293, 768, 9260. */
import { IpProto } from '../assembly/abi.js';
import type { Protocol } from './manifests/objects.js';

/** Addresses and ports in host order. */
export interface Tuple {
  readonly source: number;
  readonly destination: number;
  /** An IP protocol number. */
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export const PROTOCOL_NAMES: Readonly<Record<number, Protocol>> = {
  [IpProto.TCP]: 'TCP',
  [IpProto.UDP]: 'UDP',
  [IpProto.SCTP]: 'SCTP',
};

const ETHERNET = 14;
const IPV4 = 20;
/** Bytes of the transport header, and of a little payload where the protocol opens with one. */
const TRANSPORT: Readonly<Record<number, number>> = {
  [IpProto.TCP]: 20,
  [IpProto.UDP]: 8 + 18,
  [IpProto.SCTP]: 12 + 20,
};
const SYN = 0x02;
const SYN_ACK = 0x12;

/** The Internet checksum of some bytes, starting from a sum of others. RFC 1071. */
export function checksum(bytes: Uint8Array, sum = 0): number {
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** The first packet of a flow, or (with `reply`) the first one back, with right checksums and an ordinary TTL. */
export function frameOf(tuple: Tuple, reply = false): Uint8Array {
  const { source, destination, protocol, sourcePort, destinationPort } = tuple;
  const transport = TRANSPORT[protocol] ?? 8;
  const frame = new Uint8Array(ETHERNET + IPV4 + transport);
  const view = new DataView(frame.buffer);
  view.setUint16(12, 0x0800);
  view.setUint8(14, 0x45);
  view.setUint16(16, IPV4 + transport);
  view.setUint16(20, 0x4000);
  view.setUint8(22, 64);
  view.setUint8(23, protocol);
  view.setUint32(26, source);
  view.setUint32(30, destination);
  view.setUint16(24, checksum(frame.subarray(ETHERNET, ETHERNET + IPV4)));
  const l4 = ETHERNET + IPV4;
  view.setUint16(l4, sourcePort);
  view.setUint16(l4 + 2, destinationPort);
  const pseudo =
    (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol + transport;
  if (protocol === IpProto.TCP) {
    view.setUint8(l4 + 12, 0x50);
    view.setUint8(l4 + 13, reply ? SYN_ACK : SYN);
    view.setUint16(l4 + 14, 0xfaf0);
    view.setUint16(l4 + 16, checksum(frame.subarray(l4), pseudo));
  } else if (protocol === IpProto.UDP) {
    view.setUint16(l4 + 4, transport);
    view.setUint16(l4 + 6, checksum(frame.subarray(l4), pseudo) || 0xffff);
  }
  return frame;
}

/** The tuple of a whole, unencapsulated IPv4 frame; null for one too short to have one. */
export function tupleOf(frame: Uint8Array): Tuple | null {
  if (frame.length < ETHERNET + IPV4 + 4) return null;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const l4 = ETHERNET + (view.getUint8(14) & 15) * 4;
  if (l4 + 4 > frame.length) return null;
  return {
    source: view.getUint32(26),
    destination: view.getUint32(30),
    protocol: view.getUint8(23),
    sourcePort: view.getUint16(l4),
    destinationPort: view.getUint16(l4 + 2),
  };
}

/** The tuple of the way back. */
export const reversed = ({ source, destination, protocol, sourcePort, destinationPort }: Tuple): Tuple => ({
  source: destination,
  destination: source,
  protocol,
  sourcePort: destinationPort,
  destinationPort: sourcePort,
});
