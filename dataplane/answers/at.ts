/** What has an address. */
import type { Address } from '../addresses.js';
import { allAddresses, type ClusterNode, type ClusterPod } from '../cluster/cluster.js';
import { indexed } from '../indexed.js';
import { kept } from '../kept.js';
import type { Frontend } from '../loader/frontends.js';
import { overStates, type State } from '../state.js';

const indexes = overStates(() => ({
  frontends: indexed(({ address }: Frontend) => [address]),
  nodes: kept((nodes: readonly ClusterNode[]) => new Set(nodes.flatMap(allAddresses))),
}));

/** The pod with an address of its own; null for none. */
export const podAt = ({ cluster }: State, address: Address): ClusterPod | null =>
  cluster.podsByAddress.get(address) ?? null;

/** The node that has an address; null for none. */
export const nodeAt = (state: State, address: Address): ClusterNode | null =>
  state.cluster.nodes.find((node) => allAddresses(node).includes(address)) ?? null;

/** Whether a Service, or a pod with a hostPort, listens at addresses. */
export function listeningAt(state: State): (address: Address) => boolean {
  const frontends = indexes(state).frontends(state.desired.frontends);
  return (address) => frontends.has(address);
}

/** The frontends at an address. */
export function frontendsAt(state: State): (address: Address) => readonly Frontend[] {
  const frontends = indexes(state).frontends(state.desired.frontends);
  return (address) => frontends.all(address);
}

/** Whether addresses are the cluster's own: pods', nodes' and Services'. */
export function insideOf(state: State): (address: Address) => boolean {
  const { cluster, desired } = state;
  const frontends = indexes(state).frontends(desired.frontends);
  const nodes = indexes(state).nodes(cluster.nodes);
  return (address) => cluster.podsByAddress.has(address) || frontends.has(address) || nodes.has(address);
}

/** Whether an address is a pod's, a node's or a Service's. */
export const isInside = (state: State, address: Address): boolean => insideOf(state)(address);
