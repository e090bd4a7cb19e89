/** Source NAT: what leaves the cluster goes in its node's name. Cilium `bpf/lib/nat.h`. */
import type { Address, Version } from './bytes.js';
import { connectionKey } from './keys.js';
import { hashOfFlow } from './hashes.js';
import type { Journey, Mapping } from './journey.js';
import { DROP, IN, NAT_PORTS, NAT_PORT_FIRST, NAT_TRIES, OUT } from './numbers.js';
import { isEcho, isEchoReply, isIcmp, turned, withFlow, withQuote, type Flow, type Packet } from './packet.js';

const mappingOf = (
  { state, node }: Journey,
  version: Version,
  flow: Flow,
  side: typeof OUT | typeof IN,
): Mapping | undefined => state.mappings.get(connectionKey(node, version, flow, side));

/** 0, or the reason for which the packet is dropped. */
export function masquerade(journey: Journey, packet: Packet, address: Address): number {
  // Of an ICMP message in pieces, those after the first have no id by which the answer could be told.
  if (isIcmp(packet) && packet.piece !== 'whole') return -DROP.invalid;
  if (packet.quote) return masqueradeError(journey, packet);
  const { version, flow } = packet;
  if (isIcmp(packet) && !isEcho(version, packet.icmpType))
    return isEchoReply(version, packet.icmpType) ? 0 : -DROP.natUnsupportedProtocol;
  const mapping = mappingOf(journey, version, flow, OUT) ?? open(journey, version, flow, address);
  if (!mapping) return -DROP.noMapping;
  journey.packet = withFlow(packet, { source: mapping.address, sourcePort: mapping.port });
  return 0;
}

/** A port that no other flow to the same end has: the flow's own, where that is above all node ports, else one from its hash on. */
function open({ state, node }: Journey, version: Version, flow: Flow, address: Address): Mapping | undefined {
  const { source, destination, sourcePort, destinationPort, protocol } = flow;
  const hash = hashOfFlow(source, destination, sourcePort, destinationPort, protocol) % NAT_PORTS;
  const hashed = Array.from({ length: NAT_TRIES }, (_, i) => NAT_PORT_FIRST + ((hash + i) % NAT_PORTS));
  const ports = sourcePort >= NAT_PORT_FIRST ? [sourcePort, ...hashed.slice(0, -1)] : hashed;
  for (const port of ports) {
    const back = connectionKey(node, version, turned({ ...flow, source: address, sourcePort: port }), IN);
    if (state.mappings.get(back)) continue;
    const mapping = { address, port, created: state.clock };
    state.mappings.set(connectionKey(node, version, flow, OUT), mapping);
    state.mappings.set(back, { address: source, port: sourcePort, created: state.clock });
    return mapping;
  }
  return undefined;
}

/** The node's own packet: its port is taken, and where another has it, the packet gets another. */
export function reserve(journey: Journey, packet: Packet): number {
  const { version, flow, quote } = packet;
  const { source, sourcePort } = flow;
  if (quote || sourcePort < NAT_PORT_FIRST) return 0;
  const own = { address: source, port: sourcePort, created: journey.state.clock };
  const mapping = mappingOf(journey, version, flow, OUT);
  if (mapping)
    return mapping.address === source && mapping.port === sourcePort ? 0 : masquerade(journey, packet, source);
  const { mappings } = journey.state;
  const back = connectionKey(journey.node, version, turned(flow), IN);
  if (mappings.get(back)) return masquerade(journey, packet, source);
  mappings.set(connectionKey(journey.node, version, flow, OUT), own);
  mappings.set(back, own);
  return 0;
}

/** An error about a reply: who sent that knows this end by the node's address. */
function masqueradeError(journey: Journey, packet: Packet): number {
  const mapping = mappingOf(journey, packet.version, turned(packet.quote!.flow), OUT);
  if (!mapping) return 0;
  const { address, port } = mapping;
  const quoting = withQuote(packet, { destination: address, destinationPort: port });
  journey.packet = withFlow(quoting, { source: address });
  return 0;
}

/** Gives a reply, or an error about what went out, its true destination back. Whether it was one. */
export function reverse(journey: Journey, packet: Packet): boolean {
  const { version, flow, quote } = packet;
  const mapping = mappingOf(journey, version, quote ? turned(quote.flow) : flow, IN);
  if (!mapping) return false;
  const { address, port } = mapping;
  // The node's own, entered as what it is.
  if (!quote && address === flow.destination && port === flow.destinationPort) return false;
  if (quote) {
    const quoting = withQuote(packet, { source: address, sourcePort: port });
    journey.packet = withFlow(quoting, { destination: address });
  } else journey.packet = withFlow(packet, { destination: address, destinationPort: port });
  return true;
}
