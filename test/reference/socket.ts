/** The programs on sockets: Services are translated before there is any packet. Cilium `bpf/bpf_sock.c`. */
import type { Address } from './bytes.js';
import type { Journey } from './journey.js';
import { socketKey } from './keys.js';
import { DROP, IDENTITY, NODE_PORTS, PROGRAM, PROTOCOL, SERVICE_FLAG } from './numbers.js';
import { withFlow, type Packet } from './packet.js';
import { receive as read } from './receive.js';
import * as services from './services.js';
import type { Asked } from './services.js';

/** Above all endpoints' numbers: the network namespaces of nodes. */
const NODES = 0x80000000;

/** The network namespace at this end (`get_netns_cookie`). */
const netnsOf = ({ endpoint, node }: Journey): number => (endpoint === 0 ? NODES + node : endpoint);

const isTranslated = ({ tables, endpoint }: Journey, { flow }: Packet): boolean => {
  const { socketLb } = tables.config;
  if (flow.protocol !== PROTOCOL.tcp && flow.protocol !== PROTOCOL.udp) return false;
  return socketLb === 'all' || (socketLb === 'node' && endpoint === 0);
};

/** A socket is connected, or sends without being so; the first packet that it is going to send stands for its address. */
export function connect(journey: Journey): number {
  const { endpoint, tables } = journey;
  const next = endpoint === 0 ? PROGRAM.fromHost : PROGRAM.fromContainer;
  const own = tables.readyEndpoint(endpoint);
  if (endpoint !== 0 && !own) return next;
  journey.node = own?.node ?? journey.node;
  journey.sourceIdentity = own?.identity ?? IDENTITY.host;
  const packet = read(journey);
  if (typeof packet === 'number' || !isTranslated(journey, packet)) return afresh(journey, next);
  const result = translate(journey, packet);
  if (result !== 0) return result;
  const { source, destination } = journey.packet!.flow;
  if (!own || destination !== own.addresses[packet.version] || source !== destination) return afresh(journey, next);
  // Within its network namespace there is no link to pass.
  journey.destinationIdentity = own.identity;
  return PROGRAM.sockRecvmsg;
}

/** The packet itself starts as a frame, and its own programs pick no backend that is picked. */
function afresh(journey: Journey, next: number): number {
  journey.frame = journey.bytes;
  journey.packet = null;
  journey.backendId = 0;
  return next;
}

/** `__sock4_xlate_fwd`. 0 whether there was anything to do or not. */
function translate(journey: Journey, packet: Packet): number {
  const { version, flow } = packet;
  const asked =
    services.lookupAt(journey, packet, flow.destination, flow.destinationPort) ??
    lookupShared(journey, packet, flow.destination, flow.destinationPort);
  if (!asked) return 0;
  const { service } = asked;
  if (service.count === 0) return -DROP.sockNoBackend;
  if (isOutside(journey, packet, asked)) return 0;
  const backend = services.pick(journey, packet, asked, netnsOf(journey));
  if (!backend) return journey.backendId === 0 ? -DROP.sockNoSlot : -DROP.sockNoBackend;
  const { revNatIndex } = service;
  const key = socketKey(version, netnsOf(journey), flow.protocol, flow.sourcePort, backend);
  journey.state.sockets.set(key, { address: flow.destination, port: flow.destinationPort, revNatIndex });
  services.remember(journey, packet, service, netnsOf(journey));
  journey.socket = { backendId: backend.id, revNatIndex };
  journey.packet = withFlow(packet, { destination: backend.address, destinationPort: backend.port });
  return 0;
}

/** Every node has node ports at its address, and host ports are at this one's (`sock4_wildcard_lookup_full`). */
function lookupShared(journey: Journey, packet: Packet, address: Address, port: number): Asked | undefined {
  const isNodePort = port >= NODE_PORTS.first && port <= NODE_PORTS.last;
  const identity = identityAt(journey, address);
  if (identity !== IDENTITY.host && !(isNodePort && identity === IDENTITY.remoteNode)) return undefined;
  const asked = services.lookupAt(journey, packet, '\0'.repeat(address.length), port);
  const flag = isNodePort ? SERVICE_FLAG.nodePort : SERVICE_FLAG.hostPort;
  return asked && (asked.service.flags & flag) !== 0 ? asked : undefined;
}

/** As this node knows it: its own addresses, and among its own processes the loopback, are the host's. */
function identityAt({ tables, node, endpoint }: Journey, address: Address): number {
  const isLoopback = address.length === 4 ? address.charCodeAt(0) === 127 : address === `${'\0'.repeat(15)}\u0001`;
  if (isLoopback && endpoint === 0) return IDENTITY.host;
  if (tables.endpointAt(address, node)?.isHost) return IDENTITY.host;
  return tables.remoteAt(address)?.identity ?? IDENTITY.world;
}

/** No Service takes over an address that is not this node's (`sock4_skip_xlate`). */
function isOutside(journey: Journey, { flow }: Packet, { service }: Asked): boolean {
  if ((service.flags & (SERVICE_FLAG.externalIp | SERVICE_FLAG.hostPort)) === 0) return false;
  return identityAt(journey, flow.destination) !== IDENTITY.host;
}

/** A socket is told who sent what it receives: where that is a backend, the Service that it asked (`__sock4_xlate_rev`). */
export function receive(journey: Journey): number {
  const end = journey.endpoint === 0 ? PROGRAM.host : PROGRAM.delivered;
  const packet = journey.packet!;
  if (!isTranslated(journey, packet)) return end;
  const { version, flow } = packet;
  const sender = { address: flow.source, port: flow.sourcePort };
  const key = socketKey(version, netnsOf(journey), flow.protocol, flow.destinationPort, sender);
  const asked = journey.state.sockets.get(key);
  if (!asked) return end;
  const { address, port, revNatIndex } = asked;
  const now = services.lookupAt(journey, packet, address, port) ?? lookupShared(journey, packet, address, port);
  if (!now || now.service.revNatIndex !== revNatIndex || now.service.count === 0) {
    journey.state.sockets.delete(key);
    return end;
  }
  journey.socket = { backendId: journey.socket?.backendId ?? 0, revNatIndex };
  journey.packet = withFlow(packet, { source: address, sourcePort: port });
  return end;
}
