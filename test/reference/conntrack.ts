/**
 * Connection tracking as Cilium does it (`bpf/lib/conntrack.h`, `__ct_lookup`, `ct_create4`): an entry for each side on which
 * a connection was seen, under the tuple of the packet that opened it.
 */
import type { Journey, Status } from './journey.js';
import { connectionKey } from './keys.js';
import { CT_FLAG, IN, LIFETIME, OUT, PROTOCOL, SERVICE, TCP_FLAG } from './numbers.js';
import { turned, type Flow, type Packet } from './packet.js';
import type { Version } from './bytes.js';

export interface Connection {
  readonly packets: number;
  readonly bytes: number;
  /** Second in which it may be forgotten. */
  readonly lifetime: number;
  readonly flags: number;
  readonly revNatIndex: number;
  readonly backendId: number;
  readonly sourceIdentity: number;
  /** TCP flags of what the endpoint sent, and of what it received. */
  readonly txFlagsSeen: number;
  readonly rxFlagsSeen: number;
}

/** From the endpoint, to it, or through a Service of which only one way is seen. */
export type Direction = typeof OUT | typeof IN | typeof SERVICE;

const BOTH_CLOSING = CT_FLAG.rxClosing | CT_FLAG.txClosing;

const isAlive = ({ flags }: Connection): boolean => (flags & BOTH_CLOSING) !== BOTH_CLOSING;

/** `ct_update_timeout`: what a packet with these TCP flags does to the lifetime. */
function prolonged(
  entry: Connection,
  protocol: number,
  tcpFlags: number,
  direction: Direction,
  now: number,
): Connection {
  if (protocol !== PROTOCOL.tcp) return { ...entry, lifetime: now + LIFETIME.nonTcp };
  const flags = entry.flags | ((tcpFlags & TCP_FLAG.syn) === 0 ? CT_FLAG.seenNonSyn : 0);
  const lifetime = now + ((flags & CT_FLAG.seenNonSyn) !== 0 ? LIFETIME.tcp : LIFETIME.syn);
  return seen({ ...entry, flags, lifetime }, tcpFlags, direction);
}

/** Flags that are noted: `monitor-aggregation-flags`, which are syn, fin and rst unless set. */
const NOTED = TCP_FLAG.syn | TCP_FLAG.fin | TCP_FLAG.rst;

const seen = (entry: Connection, tcpFlags: number, direction: Direction): Connection =>
  direction === IN
    ? { ...entry, rxFlagsSeen: entry.rxFlagsSeen | (tcpFlags & NOTED) }
    : { ...entry, txFlagsSeen: entry.txFlagsSeen | (tcpFlags & NOTED) };

/** Which ways a FIN or RST closes: of a Service both, since only one is seen; both by a reset before both sides have said SYN. */
function closing(entry: Connection, tcpFlags: number, direction: Direction): number {
  const bothSyn = (entry.txFlagsSeen & entry.rxFlagsSeen & TCP_FLAG.syn) !== 0;
  if (direction === SERVICE || (!bothSyn && (tcpFlags & TCP_FLAG.rst) !== 0)) return BOTH_CLOSING;
  return direction === IN ? CT_FLAG.rxClosing : CT_FLAG.txClosing;
}

/**
 * Counts a packet in the entry under a key (`__ct_lookup`). The entry, or undefined when there is none or when a SYN opens
 * anew what was closing: that is a connection of its own, which the policy has yet to allow.
 */
function follow(journey: Journey, packet: Packet, key: string, direction: Direction): Connection | undefined {
  const { connections, clock } = journey.state;
  let entry = connections.get(key);
  if (entry === undefined) return undefined;
  const { protocol } = packet.flow;
  const { tcpFlags } = packet;
  if (isAlive(entry)) entry = prolonged(entry, protocol, tcpFlags, direction, clock);
  entry = { ...entry, packets: entry.packets + 1, bytes: entry.bytes + packet.frame.length };
  let isSame = true;
  if ((tcpFlags & (TCP_FLAG.fin | TCP_FLAG.rst)) !== 0) {
    entry = { ...entry, flags: entry.flags | closing(entry, tcpFlags, direction) };
    if (!isAlive(entry)) entry = seen({ ...entry, lifetime: clock + LIFETIME.close }, tcpFlags, direction);
  } else if ((tcpFlags & (TCP_FLAG.syn | TCP_FLAG.ack)) === TCP_FLAG.syn && (entry.flags & BOTH_CLOSING) !== 0) {
    const flags = entry.flags & ~(BOTH_CLOSING | CT_FLAG.seenNonSyn);
    entry = prolonged({ ...entry, flags, txFlagsSeen: 0, rxFlagsSeen: 0 }, protocol, tcpFlags, direction, clock);
    isSame = false;
  }
  connections.set(key, entry);
  return isSame ? entry : undefined;
}

/** A packet goes back along a connection, or is about one that went that way: what a Service did to that is to be undone. */
function goesBack(journey: Journey, entry: Connection): void {
  journey.back = entry;
  journey.revNatIndex = entry.revNatIndex;
}

/** The connection of a packet from (OUT) or to (IN) an endpoint. A reply counts before one that goes the same way. */
export function lookup(journey: Journey, packet: Packet, direction: typeof OUT | typeof IN): Status {
  journey.back = null;
  journey.ongoing = null;
  journey.status = packet.quote
    ? related(journey, packet, packet.quote.flow, direction)
    : known(journey, packet, direction);
  return journey.status;
}

function known(journey: Journey, packet: Packet, direction: typeof OUT | typeof IN): Status {
  const { node } = journey;
  const { version, flow } = packet;
  const opposite = direction === OUT ? IN : OUT;
  const opened = follow(journey, packet, connectionKey(node, version, turned(flow), opposite), direction);
  if (opened) {
    goesBack(journey, opened);
    return 'reply';
  }
  journey.ongoing = follow(journey, packet, connectionKey(node, version, flow, direction), direction) ?? null;
  return journey.ongoing ? 'established' : 'new';
}

/**
 * A Service's flow from outside to a backend, under the backend's address (`CT_ENTRY_NODEPORT`): what is there for another Service,
 * or without one, does not count.
 */
export function lookupNodePort(journey: Journey, packet: Packet, revNatIndex: number): Status {
  const key = connectionKey(journey.node, packet.version, packet.flow, OUT);
  const entry = journey.state.connections.get(key);
  const isIts = entry && (entry.flags & CT_FLAG.nodePort) !== 0 && entry.revNatIndex === revNatIndex;
  journey.back = null;
  journey.status = isIts && follow(journey, packet, key, OUT) ? 'established' : 'new';
  return journey.status;
}

/** An error for the sender of what it quotes belongs to that connection: the quote passed here the other way, opening it or in reply. */
function related(journey: Journey, { version, flow }: Packet, quoted: Flow, direction: typeof OUT | typeof IN): Status {
  if (flow.destination !== quoted.source) return 'new';
  const { connections } = journey.state;
  const opposite = direction === OUT ? IN : OUT;
  const opened = connections.get(connectionKey(journey.node, version, quoted, opposite));
  if (opened) {
    goesBack(journey, opened);
    return 'related';
  }
  if (!connections.get(connectionKey(journey.node, version, turned(quoted), direction))) return 'new';
  // It is about a reply, which no Service turned on this side.
  journey.revNatIndex = 0;
  return 'related';
}

/** A Service's flow, under the frontend that the client asked; of this Service, and none that a SYN opens anew. */
export function lookupService(journey: Journey, packet: Packet, revNatIndex: number): Connection | undefined {
  const key = connectionKey(journey.node, packet.version, packet.flow, SERVICE);
  if (journey.state.connections.get(key)?.revNatIndex !== revNatIndex) return undefined;
  const flow = follow(journey, packet, key, SERVICE);
  journey.reopened = flow === undefined;
  return flow;
}

/** A pod's reply to a client outside counts where the node's device let that one in, too. */
export function countNodePort(journey: Journey, packet: Packet): void {
  follow(journey, packet, connectionKey(journey.node, packet.version, turned(packet.flow), OUT), IN);
}

/** Counts a packet of a client outside whom another node let in. */
export function countOpener(journey: Journey, packet: Packet): void {
  follow(journey, packet, connectionKey(journey.node, packet.version, packet.flow, OUT), OUT);
}

/** Takes flags out of an entry, if it is there. */
export function unmark({ state, node }: Journey, { version, flow }: Packet, side: Direction, flags: number): void {
  const key = connectionKey(node, version, flow, side);
  const entry = state.connections.get(key);
  if (entry) state.connections.set(key, { ...entry, flags: entry.flags & ~flags });
}

/** A flow of a Service that goes on keeps its entry, and has another backend now; else it gets one. */
export function lend(journey: Journey, packet: Packet, revNatIndex: number, backendId: number): void {
  const { connections } = journey.state;
  const key = connectionKey(journey.node, packet.version, packet.flow, SERVICE);
  const flow = connections.get(key);
  const goesOn = flow?.revNatIndex === revNatIndex && !journey.reopened;
  if (goesOn) connections.set(key, { ...flow, backendId });
  else create(journey, packet, SERVICE, { revNatIndex, backendId });
}

/** An entry without counting anything in it. */
export const peek = (journey: Journey, version: Version, flow: Flow, side: Direction): Connection | undefined =>
  journey.state.connections.get(connectionKey(journey.node, version, flow, side));

/** `ct_create4`: whatever packet of TCP opens a connection, it counts as a SYN. */
export function create(
  journey: Journey,
  packet: Packet,
  direction: Direction,
  { revNatIndex = 0, backendId = 0, flags = 0 }: Partial<Pick<Connection, 'revNatIndex' | 'backendId' | 'flags'>>,
): void {
  const { state, node, sourceIdentity } = journey;
  const { version, flow } = packet;
  const entry = {
    packets: 1,
    bytes: packet.frame.length,
    lifetime: 0,
    flags,
    revNatIndex,
    backendId,
    sourceIdentity,
    txFlagsSeen: 0,
    rxFlagsSeen: 0,
  };
  state.connections.set(
    connectionKey(node, version, flow, direction),
    prolonged(entry, flow.protocol, flow.protocol === PROTOCOL.tcp ? TCP_FLAG.syn : 0, direction, state.clock),
  );
}
