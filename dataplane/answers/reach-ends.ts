/** The ends of connections: workloads whose pods answer alike, and ranges of addresses outside. */
import { formatAddress, type Address } from '../addresses.js';
import type { ClusterPod } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import { keptFor, keptWhile } from '../kept.js';
import type { Ingress } from '../manifests/ingress.js';
import type { Protocol } from '../manifests/objects.js';
import { hasMesh } from '../policy/mesh.js';
import { DIRECTIONS } from '../policy/rules.js';
import type { State } from '../state.js';
import { classOf } from './cases.js';
import { refusedPod } from './mistakes.js';
import { enforcedOrNot, halfMatched, unevaluatedOf, unreadPolicies, withoutAddress } from './missing.js';
import { externalClasses, outsideIn, overlap, podAt, type ExternalClass } from './probe.js';
import { resolveRef } from './refs.js';

/** An end of connections: pods that answer alike, or addresses outside. */
export interface End {
  readonly ref: string;
  readonly kind: 'workload' | 'pod' | 'external' | 'ingress';
  readonly pods: readonly ClusterPod[];
  readonly external: ExternalClass | null;
  /** Ends of which it is the same answer alike. */
  readonly like: string;
}

/** Those that a reference stands for, and of a Service the ports that it leads to. An Ingress is one that only sends. */
export interface Chosen {
  readonly ends: readonly End[];
  readonly ingresses: readonly Ingress[];
  readonly ports: readonly OpenPort[] | null;
}

export interface OpenPort {
  readonly protocol: Protocol;
  readonly port: number;
}

/** All ends: those inside by name, then those outside. The very same list while no end is another. */
export const endsOf = (state: State): readonly End[] => {
  const { cluster, identities, policies } = state;
  const ids = identities.pods.map((identity) => policies.ofIdentity.get(identity)!.id);
  const inside = insides(cluster.workloads, [identities.pods, ids, hasMesh(cluster) ? state : null], () =>
    endsInside(state),
  );
  return joined(inside, externalClasses(state));
};

const insides = keptWhile<readonly End[]>();
const joined = keptFor((inside: readonly End[], externals: readonly ExternalClass[]): readonly End[] => [
  ...inside,
  ...externals.map(outside),
]);

/** Pods of one workload are one end while no policy tells them apart; else each is its own. Pods on their node's network are the node's. */
function endsInside(state: State): readonly End[] {
  const ends: End[] = [];
  for (const { ref, kind, pods } of state.cluster.workloads) {
    const own = pods.filter((pod) => !pod.hostNetwork);
    const like = new Set(own.map((pod) => classOf(state, pod)));
    if (like.size === 1)
      ends.push({ ref, kind: kind === 'Pod' ? 'pod' : 'workload', pods: own, external: null, like: [...like][0]! });
    else
      for (const pod of own)
        ends.push({
          ref: `${pod.namespace}/${pod.name}[Pod]`,
          kind: 'pod',
          pods: [pod],
          external: null,
          like: classOf(state, pod),
        });
  }
  return ends.sort((a, b) => compare(a.ref, b.ref));
}

/** Workloads all of whose pods are on their nodes' networks: they are what their nodes are, and no ends of their own. */
export const onNodes = ({ cluster }: State): string[] =>
  cluster.workloads
    .filter(({ pods }) => pods.length > 0 && pods.every(({ hostNetwork }) => hostNetwork))
    .map(({ ref }) => ref);

function outside(external: ExternalClass): End {
  const ref = `ip:${formatAddress(external.first)}-${formatAddress(external.last)}`;
  return { ref, kind: 'external', pods: [], external, like: ref };
}

/** The ends that a reference stands for, all for none. Addresses are narrowed to those asked for. */
export function choose(state: State, ends: readonly End[], ref: string | null): Chosen | { readonly error: string } {
  const all = (chosen: readonly End[]): Chosen => ({ ends: chosen, ports: null, ingresses: [] });
  if (ref === null) return { ...all(ends), ingresses: state.cluster.ingresses };
  const target = resolveRef(state, ref, 'default');
  if ('error' in target) return target;
  switch (target.kind) {
    case 'pods':
      return all(endsWith(ends, target.pods));
    case 'service': {
      const backends = target.service.ports.flatMap((port) =>
        port.backends.map((backend) => ({ protocol: port.source.protocol, port: backend.port, pod: backend.pod })),
      );
      const behind = endsWith(
        ends,
        backends.flatMap(({ pod }) => pod ?? []),
      );
      return { ...all(behind), ports: backends };
    }
    case 'world':
      return all(ends.filter((end) => end.external !== null));
    case 'address': {
      const pod = podAt(state, target.address);
      if (pod) return all(ends.filter(({ pods }) => pods.includes(pod)));
      return all(within(state, ends, { first: target.address, last: target.address }));
    }
    case 'addresses':
      return all(within(state, ends, target));
    case 'ingress':
      return { ...all([]), ingresses: target.ingress ? [target.ingress] : state.cluster.ingresses };
    case 'unanswerable':
      return { error: target.why };
    default:
      return { error: `${ref}: reach is about workloads and addresses outside` };
  }
}

const placesOf = keptFor(
  (ends: readonly End[]) =>
    new Map(ends.flatMap(({ pods }, place) => pods.map((pod): [ClusterPod, number] => [pod, place]))),
);

/** Those that any of some pods is of, in their order. */
function endsWith(ends: readonly End[], pods: readonly ClusterPod[]): End[] {
  const placeOf = placesOf(ends);
  const found = new Set(pods.flatMap((pod) => placeOf.get(pod) ?? []));
  return [...found].sort((a, b) => a - b).map((place) => ends[place]!);
}

/** The parts of the ranges outside that lie in another range. */
const within = (
  state: State,
  ends: readonly End[],
  range: { readonly first: Address; readonly last: Address },
): End[] =>
  ends.flatMap(({ external }) => {
    const part = external && overlap(external, range);
    if (!part) return [];
    return outsideIn(state, part.first, part.last).map((example) => outside({ ...external, ...part, example }));
  });

/** Lines about one end, at most. */
export const MOST_DEPENDS = 16;

/** What of each end's policies could not be read, where something could not. */
export function unreadOf(state: State, ends: readonly End[]): Map<End, readonly string[]> {
  const unread = new Map<End, readonly string[]>();
  const ofClasses = new Map<string, readonly string[]>();
  const noAddress = withoutAddress(state);
  for (const end of ends) {
    const [pod] = end.pods;
    if (!pod) continue;
    let ofClass = ofClasses.get(end.like);
    if (!ofClass) {
      ofClass = [
        ...halfMatched(state, pod),
        ...unreadPolicies(state, new Set([pod.namespace])),
        ...unevaluatedOf(state, pod, DIRECTIONS),
        ...enforcedOrNot(state, pod),
      ];
      ofClasses.set(end.like, ofClass);
    }
    const own = end.pods.flatMap((one) => [...refusedPod(state, one), ...[noAddress.get(one) ?? []].flat()]);
    const depends = [...new Set([...own, ...ofClass])].slice(0, MOST_DEPENDS);
    if (depends.length > 0) unread.set(end, depends);
  }
  return unread;
}
