/** What is remembered is found again by a text: the node and the version stand first, then numbers of two units each, then addresses. */
import type { Version } from './bytes.js';
import type { Flow } from './packet.js';

const units = (number: number): string => String.fromCharCode(number >>> 16, number & 0xffff);

/** Of a connection, and of what source NAT did to one; `side` is the one from which it was opened. */
export const connectionKey = (node: number, version: Version, flow: Flow, side: number): string =>
  String.fromCharCode(node, version, 0, flow.protocol, 0, side, 0, flow.sourcePort, 0, flow.destinationPort) +
  flow.source +
  flow.destination;

export const fragmentKey = (node: number, version: Version, flow: Flow, id: number): string =>
  String.fromCharCode(node, version) + units(flow.protocol) + units(id) + flow.source + flow.destination;

/** Of a client that keeps to its backend: an address, or with another number than 0 a network namespace. */
export const clientKey = (version: Version, client: string, netns: number, revNatIndex: number): string =>
  String.fromCharCode(0, version) + units(revNatIndex) + units(netns) + (netns === 0 ? client : '');

/** Of a socket, by its network namespace, protocol and port, and whom it speaks to. */
export const socketKey = (
  version: Version,
  netns: number,
  protocol: number,
  port: number,
  peer: { readonly address: string; readonly port: number },
): string =>
  String.fromCharCode(0, version) + units(netns) + units(protocol) + units(port) + units(peer.port) + peer.address;
