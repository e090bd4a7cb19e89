/** Which backends a frontend has for the clients of one node: by the Service's traffic policies, and by topology. */
import { LbScope } from '../../assembly/abi.js';
import { serving, type Cluster, type ClusterBackend, type ClusterNode } from '../cluster/cluster.js';
import { isKubeProxy, type Settings } from '../settings.js';
import type { Frontend, FrontendType, Listening } from './frontends.js';

/** What an entry for one node's clients keeps them to: their node's backends, those meant for them, or the pod of a hostPort. */
export type Keeping = 'node' | 'near' | 'home';

type Kept = Pick<Frontend, 'type' | 'service' | 'endpoints'>;

/** Why clients of a scope find other backends on each node; null where they do not. */
export function keeping({ type, service, endpoints }: Kept, scope: LbScope, settings: Settings): Keeping | null {
  if (service === null) return 'home';
  const { internalTrafficPolicy, externalTrafficPolicy } = service.source;
  const policy =
    type === 'ClusterIP'
      ? // Cilium lets nobody from outside at a ClusterIP; kube-proxy treats all its clients alike.
        scope === LbScope.INTERNAL || isKubeProxy(settings)
        ? internalTrafficPolicy
        : 'Cluster'
      : scope === LbScope.EXTERNAL
        ? externalTrafficPolicy
        : 'Cluster';
  if (policy === 'Local') return 'node';
  const topology = isKubeProxy(settings) || settings.serviceTopology;
  return topology && hinted(endpoints) ? 'near' : null;
}

/** Hints hold only where every backend that is ready has them. Kubernetes `pkg/proxy/topology.go`. */
function hinted(endpoints: readonly ClusterBackend[]): boolean {
  const ready = endpoints.filter(({ terminating }) => !terminating);
  if (ready.length === 0) return false;
  return ready.every(({ forNodes }) => forNodes.length > 0) || ready.every(({ forZones }) => forZones.length > 0);
}

/**
 * The backends meant for the clients of a node:
 *
 * 1. those with its name in their node hints, where all have node hints and one has that
 * 2. those with its zone in their zone hints, where all have zone hints and one has that
 * 3. all
 */
export function nearTo(endpoints: readonly ClusterBackend[], { name, zone }: ClusterNode): readonly ClusterBackend[] {
  const ready = endpoints.filter(({ terminating }) => !terminating);
  const onNode = ready.filter(({ forNodes }) => forNodes.includes(name));
  if (onNode.length > 0 && ready.every(({ forNodes }) => forNodes.length > 0)) return serving(onNode);
  const inZone = ready.filter(({ forZones }) => zone !== null && forZones.includes(zone));
  if (inZone.length > 0 && ready.every(({ forZones }) => forZones.length > 0)) return serving(inZone);
  return serving(endpoints);
}

/** What a frontend has for each node's clients, inside and outside the cluster, where that differs from what it has for all. */
export function scopesOf(nodes: Cluster['nodes'], one: Listening, settings: Settings): Listening[] {
  return [LbScope.EXTERNAL, LbScope.INTERNAL].flatMap((scope) => {
    const kept = keeping(one, scope, settings);
    if (kept === null) return [];
    const { endpoints } = one;
    const home = endpoints[0]?.node?.index;
    return nodes
      .filter(({ index }) => kept !== 'home' || index === home)
      .map((node): Listening => {
        const here = (): readonly ClusterBackend[] => serving(endpoints.filter((backend) => backend.node === node));
        return { ...one, scope, node: node.index, backends: kept === 'near' ? nearTo(endpoints, node) : here() };
      });
  });
}

/** Frontends that a Service has for the world outside: what its externalTrafficPolicy is about. */
export const isExternal = (type: FrontendType): boolean => type !== 'ClusterIP' && type !== 'HostPort';
