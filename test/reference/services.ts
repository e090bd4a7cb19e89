/** Services: which one a packet asks, which backend gets it, and the way back. Cilium `bpf/lib/lb.h`. */
import { LOOPBACK, type Address } from './bytes.js';
import * as conntrack from './conntrack.js';
import type { Connection } from './conntrack.js';
import { draw, folded, hashOfTuple, portsWord } from './hashes.js';
import * as icmp from './icmp.js';
import type { Journey } from './journey.js';
import { clientKey } from './keys.js';
import {
  ALGORITHM,
  BACKEND,
  CT_FLAG,
  DROP,
  PROGRAM,
  SERVICE,
  SERVICE_FLAG,
  SERVICE_FLAG2,
  TCP_FLAG,
} from './numbers.js';
import { isIcmp, turned, withFlow, withQuote, type Packet } from './packet.js';
import type { BackendRow, Loaded, ServiceRow } from './tables.js';

/** Whose rows count: for whom, and on which node; 0 and 0 for everybody. */
interface Scope {
  readonly scope: number;
  readonly node: number;
}

const EVERYBODY: Scope = { scope: 0, node: 0 };

function find(
  tables: Loaded,
  address: Address,
  port: number,
  protocol: number,
  slot: number,
  { scope, node }: Scope,
): ServiceRow | undefined {
  return tables
    .servicesAt(address)
    .find(
      (row) =>
        row.port === port && row.slot === slot && row.protocol === protocol && row.scope === scope && row.node === node,
    );
}

/** A Service that a packet asks, and whose rows hold for it. */
export interface Asked {
  readonly service: ServiceRow;
  readonly scope: Scope;
}

/** By address, port and protocol; else by address alone, which serves nobody, and is all that ICMP can ask. */
export function lookup(journey: Journey, packet: Packet, fromOutside: boolean): Asked | undefined {
  const { tables } = journey;
  const { destination, destinationPort, protocol } = packet.flow;
  const service = isIcmp(packet) ? undefined : find(tables, destination, destinationPort, protocol, 0, EVERYBODY);
  if (service) return scoped(journey, service, fromOutside);
  const any = find(tables, destination, 0, 0, 0, EVERYBODY);
  return any && { service: any, scope: EVERYBODY };
}

/** The frontend with exactly that address and port, as clients within the cluster find it. */
export function lookupAt(journey: Journey, { flow }: Packet, address: Address, port: number): Asked | undefined {
  const service = find(journey.tables, address, port, flow.protocol, 0, EVERYBODY);
  return service && scoped(journey, service, false);
}

/** Where a Service keeps clients of this kind to their node, this node's. */
function scoped({ tables, node }: Journey, service: ServiceRow, fromOutside: boolean): Asked | undefined {
  const isLocal = fromOutside
    ? (service.flags & SERVICE_FLAG.extLocalScope) !== 0
    : (service.flags2 & SERVICE_FLAG2.intLocalScope) !== 0;
  if (!isLocal) return { service, scope: EVERYBODY };
  const scope = { scope: fromOutside ? 0 : 1, node };
  const here = find(tables, service.address, service.port, service.protocol, 0, scope);
  return here && { service: here, scope };
}

/** Whether a Service with source ranges takes this client. */
export function takes({ tables }: Journey, { flow }: Packet, { revNatIndex, flags, flags2 }: ServiceRow): boolean {
  if ((flags & SERVICE_FLAG.sourceRange) === 0) return true;
  return tables.isInSourceRanges(revNatIndex, flow.source) !== ((flags2 & SERVICE_FLAG2.sourceRangeDeny) !== 0);
}

/**
 * Gives the packet to a backend (`lb4_local`). 0 to go on; where there is none, `home` with the ICMP error in its place, or
 * the reason for which it is dropped.
 */
export function lend(journey: Journey, packet: Packet, asked: Asked, home: number): number {
  journey.revNatIndex = asked.service.revNatIndex;
  const backend = kept(journey, packet, asked.service) ?? fresh(journey, packet, asked);
  if (!backend) {
    if (!journey.tables.config.rejectNoBackend || !icmp.mayAnswer(packet)) return -DROP.noService;
    icmp.portUnreachable(journey, packet);
    return home;
  }
  remember(journey, packet, asked.service, 0);
  const { version, flow } = packet;
  journey.looped = flow.source === backend.address && mayLoop(journey);
  journey.packet = withFlow(packet, {
    source: journey.looped ? LOOPBACK[version] : flow.source,
    destination: backend.address,
    destinationPort: backend.port,
  });
  return 0;
}

/** Only a pod's own link brings a reply back to it (`USE_LOOPBACK_LB`), and the node's own stack; kube-proxy masquerades it instead. */
const mayLoop = ({ program, tables }: Journey): boolean =>
  program !== PROGRAM.fromNetdev && tables.config.serviceMasquerade === null;

const isSticky = ({ flags }: ServiceRow): boolean => (flags & SERVICE_FLAG.affinity) !== 0;

/** The backend that the flow has; one that is no longer active keeps what is open and gets nothing new. */
function kept(journey: Journey, packet: Packet, service: ServiceRow): BackendRow | undefined {
  const flow = conntrack.lookupService(journey, packet, service.revNatIndex);
  const backend = flow && journey.tables.backend(flow.backendId, packet.version);
  if (!backend || (backend.state !== BACKEND.active && (packet.tcpFlags & TCP_FLAG.syn) !== 0)) return undefined;
  journey.backendId = backend.id;
  return backend;
}

/** A backend for a new flow, which is remembered. */
function fresh(journey: Journey, packet: Packet, asked: Asked): BackendRow | undefined {
  if (asked.service.count === 0) return undefined;
  const backend = pick(journey, packet, asked, 0);
  if (backend) conntrack.lend(journey, packet, asked.service.revNatIndex, backend.id);
  return backend;
}

/** The one that the client had last, where the Service keeps clients to one, else one that is picked; and notes which that is. */
export function pick(journey: Journey, packet: Packet, asked: Asked, netns: number): BackendRow | undefined {
  const { service } = asked;
  const last = isSticky(service) ? recall(journey, packet, service, netns) : undefined;
  journey.backendId = last?.id ?? select(journey, packet, asked);
  return last ?? journey.tables.backend(journey.backendId, packet.version);
}

function select({ tables }: Journey, packet: Packet, { service, scope }: Asked): number {
  const { source, sourcePort, destinationPort, protocol } = packet.flow;
  const sticky = isSticky(service);
  if (service.algorithm === ALGORITHM.maglev) {
    const table = tables.maglevTable(service.revNatIndex, packet.version);
    const hash = hashOfTuple(source, sticky ? 0 : sourcePort, destinationPort, protocol);
    if (table) return table[hash % table.length]!;
  }
  const ports = sticky ? 0 : portsWord(sourcePort, destinationPort);
  const slot = 1 + (draw(folded(source), ports ^ (protocol << 8)) % service.count);
  return find(tables, service.address, destinationPort, protocol, slot, scope)?.backendId ?? 0;
}

/** Gives the packet to the backend with that address, which another node picked. Whether the Service has it. */
export function lendTo(journey: Journey, packet: Packet, { service, scope }: Asked, address: Address): boolean {
  const { tables } = journey;
  const { destination, destinationPort, protocol } = packet.flow;
  for (let slot = 1; slot <= service.count; slot++) {
    const id = find(tables, destination, destinationPort, protocol, slot, scope)?.backendId ?? 0;
    const backend = tables.backend(id, packet.version);
    if (backend?.address !== address) continue;
    journey.revNatIndex = service.revNatIndex;
    journey.backendId = id;
    journey.packet = withFlow(packet, { destination: address, destinationPort: backend.port });
    return true;
  }
  return false;
}

/** Sticky for the range [last used, last used + timeout); clients are known by their network namespace, or with 0 by their address. */
function recall(
  { tables, state }: Journey,
  { version, flow }: Packet,
  service: ServiceRow,
  netns: number,
): BackendRow | undefined {
  const { revNatIndex } = service;
  const last = state.clients.get(clientKey(version, flow.source, netns, revNatIndex));
  if (!last || last.lastUsed + service.affinityTimeout <= state.clock) return undefined;
  if (!tables.isAffinityMatch(last.backendId, revNatIndex)) return undefined;
  const backend = tables.backend(last.backendId, version);
  return backend?.state === BACKEND.active ? backend : undefined;
}

/** The backend that was picked last is the client's, where the Service keeps clients to one. */
export function remember(journey: Journey, { version, flow }: Packet, service: ServiceRow, netns: number): void {
  const { state, backendId } = journey;
  if (!isSticky(service)) return;
  state.clients.set(clientKey(version, flow.source, netns, service.revNatIndex), { backendId, lastUsed: state.clock });
}

/** An error about a Service's reply, which its client knows by the Service's address, goes to the backend that sent it. */
export function lendError(journey: Journey, packet: Packet): boolean {
  const { version, quote } = packet;
  const flow = quote && conntrack.peek(journey, version, turned(quote.flow), SERVICE);
  const backend = flow && journey.tables.backend(flow.backendId, version);
  if (!backend) return false;
  const { address, port } = backend;
  const readdressed = withFlow(packet, { destination: address });
  journey.packet = withQuote(readdressed, { source: address, sourcePort: port });
  return true;
}

/** Gives a reply the Service's address as its source, as the client knows it. Where the Service is gone, nothing happens. */
export function reverse(journey: Journey, packet: Packet, along: Connection): void {
  const frontend = journey.tables.frontend(along.revNatIndex, packet.version);
  if (frontend) restore(journey, packet, frontend, (along.flags & CT_FLAG.loopback) !== 0);
}

/**
 * Likewise with what is at hand already; what went to the loopback address goes to the pod that asked itself. In an error about
 * a request, the quote becomes what the client sent.
 */
export function restore(
  journey: Journey,
  packet: Packet,
  { address, port }: { readonly address: Address; readonly port: number },
  looped: boolean,
): void {
  const { flow, quote } = packet;
  const destination = looped ? flow.source : flow.destination;
  if (!quote) {
    journey.packet = withFlow(packet, { source: address, sourcePort: port, destination });
    return;
  }
  const isFromBackend = flow.source === quote.flow.destination;
  const source = looped ? flow.source : quote.flow.source;
  const quoting = withQuote(packet, { source, destination: address, destinationPort: port });
  journey.packet = withFlow(quoting, { source: isFromBackend ? address : flow.source, destination });
}
