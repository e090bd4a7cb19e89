/** Which pods the parts of a policy are about, whatever its language. */
import { contains, formatPrefix } from '../addresses.js';
import { namedPort, type Cluster, type ClusterPod } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import { keptFor } from '../kept.js';
import type { ManifestObject } from '../manifests/objects.js';
import { isIcmp, protocolName } from '../packet.js';
import type { PodIdentity } from '../policy/identities.js';
import { protocolOf } from '../policy/networkpolicy.js';
import { EVERY_PORT, type Peer, type Policy, type PortMatch } from '../policy/rules.js';
import { DERIVED, type EndpointSelector } from '../policy/selectors.js';
import type { State } from '../state.js';

/** The policies that a manifest object holds; none for any other object. */
export const policiesIn = (state: State, object: ManifestObject): readonly Policy[] =>
  bySource(state.policies.all).get(object) ?? [];

const bySource = keptFor((policies: readonly Policy[]): ReadonlyMap<ManifestObject, readonly Policy[]> => {
  const found = new Map<ManifestObject, Policy[]>();
  for (const policy of policies) {
    const others = found.get(policy.source);
    if (others) others.push(policy);
    else found.set(policy.source, [policy]);
  }
  return found;
});

/** Pods in the cluster's order, without those that are assumed. */
const inOrder = (pods: Iterable<ClusterPod>, assumed: Cluster['assumed']): readonly ClusterPod[] =>
  [...pods]
    .filter((pod) => !assumed.has(pod))
    .sort(
      (a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name) || compare(a.workload.ref, b.workload.ref),
    );

/** The pods that a selector matches; none is on the host's network, which no policy is about. */
export const podsMatching = ({ cluster, identities }: State, selector: EndpointSelector): readonly ClusterPod[] =>
  podsWith(identities.selected.of(selector), cluster.assumed);

const podsWith = keptFor((identities: readonly PodIdentity[], assumed: Cluster['assumed']) =>
  inOrder(
    identities.flatMap(({ pods }) => pods),
    assumed,
  ),
);

/** The pods that any of the policies is about. */
export const podsOf = (state: State, policies: readonly Policy[]): readonly ClusterPod[] =>
  inOrder(
    new Set(policies.flatMap(({ aboutNodes, subject }) => (aboutNodes ? [] : podsMatching(state, subject)))),
    state.cluster.assumed,
  );

/** The pods among a peer. */
export function podsAmong(state: State, peer: Peer): readonly ClusterPod[] {
  if (peer.kind === 'anyone')
    return state.cluster.pods.filter((pod) => !pod.hostNetwork && !state.cluster.assumed.has(pod));
  if (peer.kind === 'where') return podsWhere(state, peer);
  return peer.kind === 'endpoints' ? podsMatching(state, peer.selector) : [];
}

/** Pods by their labels, and by their addresses where blocks stand for pods. */
function podsWhere(state: State, { all, none }: Peer & { readonly kind: 'where' }): ClusterPod[] {
  const among = (peers: readonly Peer[]): Set<ClusterPod> =>
    new Set(
      peers.flatMap((peer) =>
        peer.kind === 'prefix'
          ? state.cluster.pods.filter(({ addresses }) => addresses.some((address) => contains(peer.cidr, address)))
          : podsAmong(state, peer),
      ),
    );
  const groups = all.map(among);
  const without = among(none);
  return state.cluster.pods.filter(
    (pod) => !pod.hostNetwork && groups.every((group) => group.has(pod)) && !without.has(pod),
  );
}

/** Whether a peer is every pod of the cluster. */
export const isEveryPod = ({ requirements, expression }: EndpointSelector): boolean =>
  expression === undefined &&
  requirements.every(({ key, operator }) => key === DERIVED.namespace && operator === 'Exists');

/** What a peer is that is no pod: addresses, names, and what Cilium has words for. */
export function outsidersOf(peer: Peer): string[] {
  switch (peer.kind) {
    case 'prefix': {
      const except = peer.except.map(formatPrefix).join(', ');
      return [formatPrefix(peer.cidr) + (except ? ` except ${except}` : '')];
    }
    case 'fqdn':
      return [peer.fqdn.matchName ?? peer.fqdn.matchPattern ?? ''];
    case 'endpoints':
      return peer.selector.requirements.filter(({ source }) => source === 'reserved').map(({ key }) => key);
    case 'where':
      return peer.all.flat().flatMap(outsidersOf);
    case 'anyone':
      return [];
  }
}

/** The number that a pod has for a port, by number or by name; null where it has none of that name. */
export function portAt({ port, protocol }: PortMatch, pod: Pick<ClusterPod, 'spec'>): number | null {
  if (typeof port !== 'string') return port.first;
  const word = protocolOf(protocol);
  return word ? (namedPort(pod.spec, port, word)?.containerPort.value ?? null) : null;
}

/** `TCP 80`, `UDP 8080-8090`, `SCTP all`, `TCP http`. */
export function portText({ port, protocol }: PortMatch): string {
  const name = protocolName(protocol);
  if (typeof port === 'string') return `${name} ${port}`;
  const { first, last } = port;
  if (first === EVERY_PORT.first && last === EVERY_PORT.last) return `${name} all`;
  // Nobody asks for port 0.
  const from = isIcmp(protocol) ? first : Math.max(first, 1);
  return from === last ? `${name} ${last}` : `${name} ${from}-${last}`;
}
