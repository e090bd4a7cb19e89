/** Nodes as peers: they have the identities of the sender's own node and of any other, so that they are told apart by no more. */
import { contains, type Prefix } from '../addresses.js';
import { allAddresses, type Cluster, type ClusterNode } from '../cluster/cluster.js';
import type { Place } from '../manifests/place.js';
import type { Peer } from './rules.js';
import { requirement } from './selectors.js';

/** How many of the nodes, or of their addresses, something is about. */
export type NodeShare = 'all' | 'some' | 'none';

/** `holds` says of each thing of a node whether it is meant. */
export function nodesIn(
  { nodes }: Pick<Cluster, 'nodes'>,
  holds: (node: ClusterNode) => readonly boolean[],
): NodeShare {
  const found = nodes.flatMap(holds);
  return found.every((one) => !one) ? 'none' : found.every((one) => one) ? 'all' : 'some';
}

/** Of which nodes prefixes hold the addresses. */
export const nodesWithin = (cluster: Pick<Cluster, 'nodes'>, prefixes: readonly Prefix[]): NodeShare =>
  nodesIn(cluster, (node) => allAddresses(node).map((address) => prefixes.some((prefix) => contains(prefix, address))));

/** All nodes, or none: of some, a rule can only be said not to be evaluated. */
export const nodePeers = (share: NodeShare, at: Place): Peer[] =>
  share === 'all' ? ['host', 'remote-node'].map((name) => reserved(name, at)) : [];

/** What Cilium has a reserved identity for. */
export const reserved = (name: string, at: Place): Peer => ({
  kind: 'endpoints',
  at,
  selector: { requirements: [requirement(`reserved:${name}`, 'Exists')], written: null },
});
