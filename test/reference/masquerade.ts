/** What goes in its node's name, and its replies. Cilium `bpf/lib/nat.h`; kube-proxy's `KUBE-MARK-MASQ` (`pkg/proxy/iptables/proxier.go`). */
import { versionOf, type Address, type Version } from './bytes.js';
import * as conntrack from './conntrack.js';
import type { Journey } from './journey.js';
import * as nat from './nat.js';
import { IDENTITY, IN, MARK, SERVICE_FLAG } from './numbers.js';
import { turned, type Packet } from './packet.js';
import * as proxy from './proxy.js';
import { isIn, type ServiceRow } from './tables.js';

/** The address of nobody, which a node has in a family that it has no address of. */
const NOBODY = { 4: '\0'.repeat(4), 6: '\0'.repeat(16) } as const;

export const ownAddress = ({ tables, node }: Journey, version: Version): Address =>
  tables.node(node).addresses[version] ?? NOBODY[version];

/** A pod's own packet, where its address means nothing to whom it is for; the node's own keeps its port. */
export function leave(journey: Journey, packet: Packet): number {
  const own = ownAddress(journey, packet.version);
  if (journey.sourceIdentity === IDENTITY.host) return packet.flow.source === own ? nat.reserve(journey, packet) : 0;
  return needsMasquerade(journey, packet) ? nat.masquerade(journey, packet, own) : 0;
}

/** Cilium `bpf/lib/nat.h`, `snat_v4_needs_masquerade`. */
function needsMasquerade(journey: Journey, { flow, version }: Packet): boolean {
  const { tables, node, destinationIdentity } = journey;
  const { isNative, nativeCidrs, nonMasqueradeCidrs } = tables.config;
  const { source, destination } = flow;
  const sender = tables.endpointAt(source, node);
  if (!sender || sender.isHost) return false;
  // A pod's link has looked; what its proxy sends may be a reply too (`ct_is_reply4`).
  const isProxys = proxy.isFrom(journey, MARK.proxyIngress) || proxy.isFrom(journey, MARK.proxyEgress);
  if (journey.status === 'reply' || (isProxys && conntrack.peek(journey, version, turned(flow), IN))) return false;
  if (isIn(nativeCidrs, destination) || isIn(nonMasqueradeCidrs ?? [], destination)) return false;
  if (!isNative) return true;
  // The network carries pods' addresses to nodes, and where it was not told which addresses it carries, to all pods.
  if (destinationIdentity === IDENTITY.remoteNode || destinationIdentity === IDENTITY.kubeApiserver) return false;
  const isTold = nativeCidrs.some(({ address }) => versionOf(address) === version);
  return isTold || !tables.remoteAt(destination)?.tunnelEndpoint;
}

const EXTERNAL = SERVICE_FLAG.externalIp | SERVICE_FLAG.nodePort | SERVICE_FLAG.loadBalancer;

/**
 * Whether kube-proxy masquerades a packet, just lent to a backend of a Service: what comes back to its sender; what asks for an
 * external address, unless that keeps clients to their node and is none of its own; and what asks for a ClusterIP, as it is set.
 */
export function isServices(
  { tables }: Journey,
  { flow }: Packet,
  { flags }: ServiceRow,
  client: 'pod' | 'node' | 'world',
): boolean {
  const { serviceMasquerade: mode } = tables.config;
  if (mode === null) return false;
  if (flow.source === flow.destination) return true;
  if ((flags & EXTERNAL) !== 0) return (flags & SERVICE_FLAG.extLocalScope) === 0 || client === 'node';
  return mode === 'all' || (mode === 'nonLocal' && client !== 'pod');
}

/** In the node's name: from here on it is the node's. 0, or the reason for which it is dropped, negated. */
export function asNodes(journey: Journey, packet: Packet): number {
  journey.isSourceDone = true;
  journey.sourceIdentity = IDENTITY.host;
  const own = ownAddress(journey, packet.version);
  return packet.flow.source === own ? 0 : nat.masquerade(journey, packet, own);
}
