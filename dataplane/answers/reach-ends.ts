/** The ends of connections: workloads whose pods answer alike, and ranges of addresses outside. */
import { formatAddress, type Address } from '../addresses.js';
import { podBehind, type ClusterPod, type ClusterWorkload } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import { indexed } from '../indexed.js';
import { groupedBy, joined, kept, keptFor, keptGroups, keptWhile, steady } from '../kept.js';
import type { Ingress } from '../manifests/ingress.js';
import type { Protocol } from '../manifests/objects.js';
import { hasMesh } from '../policy/mesh.js';
import { DIRECTIONS } from '../policy/rules.js';
import type { PodIdentity } from '../policy/identities.js';
import { overStates, type State } from '../state.js';
import { classOf } from './cases.js';
import { hasMistakes, refusedPod } from './mistakes.js';
import { enforcedOrNot, halfMatched, unevaluatedOf, unreadPolicies } from './missing.js';
import { withoutAddress } from './unaddressed.js';
import { podAt } from './at.js';
import { externalClasses, outsideIn, overlap, type ExternalClass } from './outside.js';
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
export const endsOf = (state: State): readonly End[] => endsIn(endGroups(state));

/** The same, namespace by namespace, in lists that stay the very same while no end in them is another. */
export const endGroups = (state: State): readonly (readonly End[])[] => allEnds(state).groups(state);

export const endsIn = keptFor((groups: readonly (readonly End[])[]): readonly End[] => joined(groups));

const allEnds = overStates(() => new Ends());

/** Those inside are found namespace by namespace: what is in one has no part in what tells pods of another apart. */
class Ends {
  private readonly identities = keptGroups(({ example }: PodIdentity) => example.namespace);
  private readonly inNamespace = keptWhile<readonly End[]>();
  private readonly outside = kept((externals: readonly ExternalClass[]) => externals.map(outside));
  private readonly steady = steady((groups: readonly (readonly End[])[]) => groups);

  groups(state: State): readonly (readonly End[])[] {
    const { cluster, identities, policies } = state;
    const byNamespace = this.identities(identities.pods);
    const mesh = hasMesh(cluster) ? state : null;
    const groups = [...cluster.inNamespace].map(([namespace, { workloads }]) => {
      const own = byNamespace.get(namespace) ?? [];
      const ids = own.map((identity) => policies.ofIdentity.get(identity)!.id);
      return this.inNamespace(workloads, [own, ids, mesh], () => endsAmong(state, workloads));
    });
    return this.steady([...groups, this.outside(externalClasses(state))]);
  }
}

/** Pods of one workload are one end while no policy tells them apart; else each is its own. Pods on their node's network are the node's. */
function endsAmong(state: State, workloads: readonly ClusterWorkload[]): End[] {
  const ends: End[] = [];
  for (const { ref, kind, pods } of workloads) {
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
      return all(endsWith(state, ends, target.pods));
    case 'service': {
      const backends = target.service.ports.flatMap((port) =>
        port.backends.map((backend) => {
          return { protocol: port.source.protocol, port: backend.port, pod: podBehind(state.cluster, backend) };
        }),
      );
      const behind = endsWith(
        state,
        ends,
        backends.flatMap(({ pod }) => pod ?? []),
      );
      return { ...all(behind), ports: distinct(backends) };
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

const distinct = (ports: readonly OpenPort[]): OpenPort[] => [
  ...new Map(ports.map(({ protocol, port }) => [`${port}/${protocol}`, { protocol, port }])).values(),
];

const byPod = overStates(() => indexed(({ pods }: End) => pods));

/** Those that any of some pods is of, in their order. */
function endsWith(state: State, ends: readonly End[], pods: readonly ClusterPod[]): End[] {
  const endOf = byPod(state)(ends);
  return [...new Set(pods.flatMap((pod) => endOf.get(pod) ?? []))].sort((a, b) => compare(a.ref, b.ref));
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
  const noAddress = withoutAddress(state);
  const isPlain = noAddress.size === 0 && !hasMistakes(state);
  const ofClasses = new Map<string, readonly string[]>();
  for (const [like, [first]] of alike(ends)) {
    const lines = first!.pods[0] ? unreadFor(state, first!.pods[0]) : [];
    if (lines.length > 0) ofClasses.set(like, lines);
  }
  const unread = new Map<End, readonly string[]>();
  if (isPlain && ofClasses.size === 0) return unread;
  for (const end of ends) {
    const ofClass = ofClasses.get(end.like) ?? [];
    const own = isPlain
      ? []
      : end.pods.flatMap((one) => [...refusedPod(state, one), ...[noAddress.get(one) ?? []].flat()]);
    if (end.pods.length > 0 && own.length + ofClass.length > 0)
      unread.set(end, [...new Set([...own, ...ofClass])].slice(0, MOST_DEPENDS));
  }
  return unread;
}

/** Ends by what they are alike in. */
export const alike = keptFor((ends: readonly End[]): ReadonlyMap<string, readonly End[]> =>
  groupedBy(ends, ({ like }) => like),
);

/** What of the policies of a pod, and of all that are alike, could not be read. */
const unreadFor = (state: State, pod: ClusterPod): readonly string[] => [
  ...halfMatched(state, pod),
  ...unreadPolicies(state, [pod.namespace]),
  ...unevaluatedOf(state, pod, DIRECTIONS),
  ...enforcedOrNot(state, pod),
];
