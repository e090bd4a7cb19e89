/** WireGuard between the nodes, whose ciphers leave everything as it is. Cilium `bpf/lib/wireguard.h`, `bpf/bpf_wireguard.c`. */
import { checksumFor, putAddress, putWord, sumOf, type Address } from './bytes.js';
import type { Journey } from './journey.js';
import { DEFAULT_TTL, DROP, IDENTITY, MARK, PROGRAM, PROTOCOL, WIREGUARD_PORT } from './numbers.js';
import type { Packet } from './packet.js';
import { receive } from './receive.js';
import { route } from './routes.js';
import { isIn } from './tables.js';
import { isTunnel } from './tunnel.js';

const ETHERNET = 14;
/** Where the message behind the outer UDP header starts, and its bytes in front of the packet. */
const MESSAGE_AT = 42;
const MESSAGE_LENGTH = 16;
/** WireGuard's message for data. */
const DATA = 4;

const UNENCRYPTED: readonly number[] = [
  IDENTITY.unknown,
  IDENTITY.host,
  IDENTITY.world,
  IDENTITY.remoteNode,
  IDENTITY.kubeApiserver,
  IDENTITY.worldIpv4,
  IDENTITY.worldIpv6,
];

/** The node for which what is about to leave this one is encrypted: all in a tunnel, and what is a pod's for another's; null for none. */
function peerOf({ tables, tunnelTo, packet, mark, sourceIdentity }: Journey): Address | null {
  if (tunnelTo !== null) return tunnelTo;
  const isPods = !UNENCRYPTED.includes(sourceIdentity) && sourceIdentity < IDENTITY.firstCidr;
  if ((mark & MARK.magic) !== MARK.proxyIngress && !isPods) return null;
  const remote = tables.remoteAt(packet!.flow.destination);
  return remote?.hasKey ? remote.tunnelEndpoint : null;
}

/** Within the strict prefix, only what the node itself sends leaves it as it is. */
function mayLeavePlain({ tables, tunnelTo, packet, node }: Journey): boolean {
  const { strictCidr } = tables.config;
  if (strictCidr === null || tunnelTo !== null || packet!.version === 6) return true;
  const { source, destination } = packet!.flow;
  return tables.nodeAt(source) === node || !isIn([strictCidr], source) || !isIn([strictCidr], destination);
}

/** What of that leaves: the next program for what is encrypted first, 0 to go on. */
export function guard(journey: Journey): number {
  if (!journey.tables.config.wireguard || journey.isEncrypted) return 0;
  if (peerOf(journey) !== null) return PROGRAM.toWireguard;
  return mayLeavePlain(journey) ? 0 : -DROP.unencrypted;
}

/** Puts the packet, without its Ethernet header, in a message to the other node (`cil_to_wireguard`). */
export function toWireguard(journey: Journey): number {
  const { mac, addresses } = journey.tables.node(journey.node);
  const peer = peerOf(journey)!;
  const inner = journey.bytes.subarray(ETHERNET);
  const frame = new Uint8Array(MESSAGE_AT + MESSAGE_LENGTH + inner.length);
  frame.set(mac, 6);
  frame.set([0x08, 0x00], 12);
  const ip = frame.subarray(ETHERNET, ETHERNET + 20);
  ip.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, DEFAULT_TTL, PROTOCOL.udp]);
  putWord(ip, 2, frame.length - ETHERNET);
  putAddress(ip, 12, addresses[4]!);
  putAddress(ip, 16, peer);
  putWord(ip, 10, checksumFor(sumOf(ip)));
  putWord(frame, 34, WIREGUARD_PORT);
  putWord(frame, 36, WIREGUARD_PORT);
  putWord(frame, 38, frame.length - 34);
  frame.set([DATA, 0, 0, 0, journey.tables.nodeAt(peer)], MESSAGE_AT);
  frame.set(inner, MESSAGE_AT + MESSAGE_LENGTH);
  journey.frame = frame;
  journey.packet = null;
  journey.tunnelTo = peer;
  journey.isEncrypted = true;
  return PROGRAM.toNetdev;
}

export const isMessage = ({ tables }: Journey, { flow }: Packet): boolean =>
  tables.config.wireguard &&
  flow.protocol === PROTOCOL.udp &&
  flow.sourcePort === WIREGUARD_PORT &&
  flow.destinationPort === WIREGUARD_PORT;

/** Takes the packet out of a message that another node has sent (`cil_from_wireguard`). */
export function fromWireguard(journey: Journey): number {
  const { tables, node } = journey;
  const { piece, frame, bodyAt, end, flow } = journey.packet!;
  const message = frame.subarray(Math.min(bodyAt + 8, end), end);
  const isWhole = piece !== 'later' && message.length > MESSAGE_LENGTH;
  if (!isWhole || message[0] !== DATA || tables.nodeAt(flow.source) === 0) return -DROP.invalid;
  const inner = message.subarray(MESSAGE_LENGTH);
  const taken = new Uint8Array(ETHERNET + inner.length);
  taken.set(inner[0]! >>> 4 === 6 ? [0x86, 0xdd] : [0x08, 0x00], 12);
  taken.set(inner, ETHERNET);
  journey.frame = taken;
  journey.packet = null;
  const packet = receive(journey);
  if (typeof packet === 'number') return -packet;
  journey.sourceIdentity = tables.remoteAt(packet.flow.source)?.identity ?? IDENTITY.world;
  if (packet.version === 4 && isTunnel(tables.config, packet) && tables.nodeAt(packet.flow.destination) === node)
    return PROGRAM.fromOverlay;
  return route(journey, packet);
}
