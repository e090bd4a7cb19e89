/** What an answer lacks, which makes it UNKNOWN. */
import { DropReason, ReservedIdentity } from '../../assembly/abi.js';
import { formatAddress, parsePrefix } from '../addresses.js';
import { podBehind, type ClusterPod, type ClusterService } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import { keptFor } from '../kept.js';
import { inPodRange } from '../loader/endpoints.js';
import { isExternal } from '../loader/scopes.js';
import type { Unevaluated } from '../manifests/cilium.js';
import { ROOT_NAMESPACE } from '../manifests/istio.js';
import { kindName, unreadName, type UnreadDocument } from '../manifests/objects.js';
import { lineOf } from '../manifests/place.js';
import { trafficName } from '../packet.js';
import type { CompiledPolicy } from '../policy/compile.js';
import { isAnyEnforced } from '../policy/enforced.js';
import { matchesPods } from '../policy/identities.js';
import type { Grant } from '../policy/mapstate.js';
import { DIRECTIONS, partsOf, peersIn, type Direction, type Policy } from '../policy/rules.js';
import { DERIVED, keysAskedFor, NAMESPACE_NAME } from '../policy/selectors.js';
import { isKubeProxy } from '../settings.js';
import { policyOf, type State } from '../state.js';
import { nodeAt, podAt } from './at.js';
import { unreadPods } from './checks/unread.js';
import { grantsFor, policyAt } from './decide.js';
import { unreadOf } from './layer7.js';
import { refusedPod, refusedServices, serviceOf } from './mistakes.js';
import type { Outcome } from './probe.js';
import { withoutAddress } from './unaddressed.js';

/** Pods whose policies have a say in these packets. */
export function podsOf(outcomes: readonly Outcome[]): Set<ClusterPod> {
  const pods = new Set<ClusterPod>();
  for (const { probe, receiver } of outcomes) {
    if (probe.sender.kind === 'pod') pods.add(probe.sender.pod);
    if (receiver) pods.add(receiver);
  }
  return pods;
}

/** Refusals that no policy could lift. */
const BEFORE_POLICY = new Set<number>([DropReason.NO_SERVICE, DropReason.IS_CLUSTER_IP]);

/** What stands at a destination that packets alone would not show, one line each. */
function unclear(state: State, outcome: Outcome): string[] {
  const { destination } = outcome.probe.tuple;
  const lines = [...unreadFields(state, outcome), ...unlistedPods(state, outcome), ...undefinedBy(state, outcome)];
  const services = new Set(
    state.desired.frontends.flatMap(({ address, type, service }) =>
      service && address === destination && type !== 'NodePort' ? [service] : [],
    ),
  );
  if (services.size > 1) {
    lines.push(
      `Services ${[...services].map(({ namespace, name }) => `${namespace}/${name}`).join(' and ')} have the same address ${formatAddress(destination)}`,
    );
  }
  return [...lines, ...beyondServices(state, outcome, services)];
}

/**
 * With kube-proxy, what a load balancer does with traffic that its Service does not ask for is its own affair: the node only routes such
 * a packet on, unless the address is a node's or a pod's.
 */
function beyondServices(
  state: State,
  { allowed, frontend, probe }: Outcome,
  services: ReadonlySet<ClusterService>,
): string[] {
  const { destination, destinationPort, protocol } = probe.tuple;
  if (services.size === 0 || !allowed || frontend !== null) return [];
  if (nodeAt(state, destination) || podAt(state, destination)) return [];
  const asked = `${trafficName(protocol, destinationPort)} at ${formatAddress(destination)}`;
  return [...services].map(
    ({ namespace, name }) =>
      `who answers ${asked}: Service ${namespace}/${name} does not, and the address is announced outside`,
  );
}

/** What a Service asks for that is not done. */
function unreadFields(state: State, outcome: Outcome): string[] {
  const { settings } = state;
  const { frontend, probe } = outcome;
  const service = serviceOf(state, outcome);
  if (!service) return [];
  const { source, namespace, name } = service;
  const lines = source.unknown
    .filter(({ value }) => !isKubeProxy(settings) || !value.startsWith('service.cilium.io/'))
    .map(({ value, at }) => {
      return `${lineOf(at)}: ${value} of Service ${namespace}/${name} is not evaluated`;
    });
  const denies = source.cilium.sourceRangesPolicy === 'deny' && !isKubeProxy(settings);
  if (denies && frontend?.type === 'LoadBalancer' && probe.sender.kind === 'external')
    for (const { value, at } of source.loadBalancerSourceRanges.filter(({ value }) => !parsePrefix(value.trim()))) {
      lines.push(`${lineOf(at)}: whom ${value} of Service ${namespace}/${name} refuses: it is no prefix`);
    }
  return lines;
}

/** Pods that the manifests do not hold: nobody knows which policies are theirs, or who lets them in. */
function unlistedPods(state: State, { probe, backend, frontend, receiver }: Outcome): string[] {
  const { policies } = state.cluster;
  const isolates = (pod: ClusterPod | null, direction: Direction): boolean =>
    pod !== null && (policyOf(state, pod)?.isolatedBy[direction].length ?? 0) > 0;
  const lines: string[] = [];
  const { sender } = probe;
  if (sender.kind === 'unlisted' && (policies.length > 0 || hasUnreadPolicies(state)))
    lines.push(`what policies say of ${formatAddress(sender.address)}: it is no pod of the manifests`);
  if (!isUnlisted(state, backend)) return lines;
  const namespace = frontend?.service?.namespace;
  const spokenOf = policies.some((policy) => ['', namespace].includes(policy.metadata.namespace));
  if (spokenOf || isolates(sender.kind === 'pod' ? sender.pod : receiver, 'egress') || hasUnreadPolicies(state))
    lines.push(
      `the pod at ${formatAddress(backend!.address)}, which is behind the Service: it is not in the manifests, and there are policies`,
    );
  return lines;
}

export const isUnlisted = ({ cluster, settings }: State, backend: Outcome['backend']): boolean =>
  backend !== null && backend.podKey === null && inPodRange(cluster, settings, backend.address);

const hasUnreadPolicies = (state: State): boolean => unreadPolicies(state, state.cluster.namespaces.keys()).length > 0;

/** Flows that depend on what Kubernetes leaves to the network plug-in. */
function undefinedBy({ settings }: State, { allowed, masqueraded, frontend, probe }: Outcome): string[] {
  const lines: string[] = [];
  if (masqueraded && masqueraded.allowed !== allowed)
    lines.push(
      'whether the policies are asked about the client or about its node, in whose name kube-proxy sends the packet on',
    );
  const isOutside =
    frontend !== null && frontend.service?.source.externalTrafficPolicy === 'Local' && isExternal(frontend.type);
  if (isKubeProxy(settings) && !settings.localDetector && probe.sender.kind === 'pod' && isOutside)
    lines.push(
      'which endpoints a pod finds at an address for outside: without a local detector it is a client from there',
    );
  return lines;
}

/** What was needed and could not be read, one line each. */
export function missingFor(state: State, outcomes: readonly Outcome[]): string[] {
  const refused = [
    ...refusedServices(state, outcomes),
    ...outcomes.flatMap((outcome) => unreadBackends(state, outcome)),
  ];
  if (outcomes.every(({ reason }) => reason !== null && BEFORE_POLICY.has(reason.code))) return [...new Set(refused)];
  const pods = [...podsOf(outcomes)];
  const namespaces = new Set(pods.map((pod) => pod.namespace));
  const missing = [
    ...refused,
    ...pods.flatMap((pod) => refusedPod(state, pod)),
    ...outcomes.flatMap((outcome) => unclear(state, outcome)),
    ...outcomes.flatMap(unreadOf),
    ...pods.flatMap((pod) => withoutAddress(state).get(pod) ?? []),
    ...pods.flatMap((pod) => halfMatched(state, pod)),
    ...unreadPolicies(state, namespaces),
    ...unevaluatedFor(state, outcomes),
    ...pods.flatMap((pod) => enforcedOrNot(state, pod)),
  ];
  for (const document of state.manifests.unread) {
    if (document.kind !== 'Namespace' || !asksForNamespaceLabels(state, pods)) continue;
    missing.push(
      `${lineOf(document.at)}: ${unreadName(document)} could not be read, and a policy asks for labels of namespaces`,
    );
  }
  if (state.settings.undeclaredNamespaces === 'unknown') {
    for (const name of [...namespaces].sort(compare)) {
      if (state.cluster.namespaces.get(name)?.declared) continue;
      if (asksForNamespaceLabels(state, pods))
        missing.push(`the labels of namespace ${name}: there is no Namespace object`);
    }
  }
  if (state.settings.unreportedReadiness === 'unknown') {
    for (const { backend } of outcomes) {
      const pod = podBehind(state.cluster, backend);
      if (pod?.ready === null) missing.push(`whether pod ${pod.namespace}/${pod.name} is ready: not reported`);
    }
  }
  return [...new Set(missing)];
}

/** Documents that could hold a pod behind a Service that has nobody. */
function unreadBackends(state: State, outcome: Outcome): string[] {
  const service = serviceOf(state, outcome);
  if (!service?.source.selector || outcome.allowed || outcome.backend) return [];
  return unreadPods(state)
    .filter(({ namespace }) => namespace === null || namespace === service.namespace)
    .map(
      (document) => `${lineOf(document.at)}: ${unreadName(document)} could not be read: it may be behind the Service`,
    );
}

/** A pod has one identity, and of a pod with addresses of both families an `ipBlock` matches one alone. */
export function halfMatched(state: State, pod: ClusterPod): string[] {
  if (state.cluster.families.length === 1) return [];
  const rules = (policyOf(state, pod)?.applied ?? []).flatMap(({ rules }) => rules);
  const asks = rules.some(({ peers }) =>
    peers?.some((peer) => peer.kind === 'prefix' && matchesPods(peer, state.settings)),
  );
  return asks
    ? [`which of a pod's two addresses an ipBlock matches: a policy of pod ${pod.namespace}/${pod.name} has one`]
    : [];
}

/** Kinds that may hold a policy, as far as the text of an unread document shows. */
const mayBePolicy = ({ kind }: UnreadDocument): boolean =>
  kind === null ||
  /policy|networkset$|^(ciliumcidrgroup|tier|hostendpoint|(peer|request)authentication|destinationrule|list)$/i.test(
    kind,
  );

/** Policies of the mesh are for all of it where they are in its root namespace. */
const isOfMesh = ({ kind }: UnreadDocument): boolean =>
  kind === null || /^(authorizationpolicy|(peer|request)authentication|destinationrule|list)$/i.test(kind);

/** Documents that could hold a policy for these namespaces and could not be read, or are of a kind that is not evaluated. */
export function unreadPolicies(state: State, names: Iterable<string>): string[] {
  const lines: string[] = [];
  if (state.manifests.unread.length + state.cluster.unevaluated.length === 0) return lines;
  const namespaces = new Set(names);
  for (const document of state.manifests.unread) {
    if (!mayBePolicy(document)) continue;
    if (
      document.namespace !== null &&
      !namespaces.has(document.namespace) &&
      !(document.namespace === ROOT_NAMESPACE && isOfMesh(document)) &&
      !/Cluster|Global|Admin|NetworkSet/.test(document.kind ?? '')
    )
      continue;
    const why = document.reason === 'template' ? 'a Helm template, not analysed' : 'could not be read';
    lines.push(`${lineOf(document.at)}: ${unreadName(document)} ${why}`);
  }
  for (const object of state.cluster.unevaluated) {
    if (object.metadata.namespace !== '' && !namespaces.has(object.metadata.namespace)) continue;
    lines.push(`${lineOf(object.kindAt)}: ${object.actualKind} ${object.metadata.name.value} is not evaluated yet`);
  }
  return lines;
}

const unevaluatedLine = ({ source }: Policy, { at, what }: Unevaluated): string => {
  return `${lineOf(at)}: ${what} in ${kindName(source)} ${source.metadata.name.value} is not evaluated yet`;
};

const NODES = new Set<number>([ReservedIdentity.HOST, ReservedIdentity.REMOTE_NODE]);

/** What of a pod's policies is not evaluated in a direction, towards pods and the world. */
export function unevaluatedOf(state: State, pod: ClusterPod, directions: readonly Direction[]): string[] {
  const policy = policyOf(state, pod);
  if (!policy || !isPartlyTold(policy)) return [];
  const tied = directions.flatMap((direction) => tiedIn(policy)[direction]);
  return [...unevaluatedIn(policy, directions, null), ...ties(tied)];
}

/** Whether there may be anything in a policy that is not evaluated, or that leaves open what it says. */
const isPartlyTold = keptFor(
  ({ applied, refusals }: CompiledPolicy) =>
    refusals !== null || applied.some(({ unevaluated }) => unevaluated.length > 0),
);

/** What stands beside another rule of the same order that says otherwise; only policies that are asked in an order have such. */
const tiedIn = keptFor(({ refusals, entries }: CompiledPolicy): Readonly<Record<Direction, readonly Grant[]>> => {
  const tied: Record<Direction, Grant[]> = { ingress: [], egress: [] };
  for (const { egress, grants } of refusals ? entries : [])
    for (const grant of grants) if (grant.tied) tied[egress ? 'egress' : 'ingress'].push(grant);
  return tied;
});

/** Whether somebody enforces the policies of a pod, where the setting leaves that open. */
export function enforcedOrNot(state: State, pod: ClusterPod): string[] {
  const { settings, cluster } = state;
  if (settings.unenforcedPolicies !== 'unknown' || isAnyEnforced(cluster, settings)) return [];
  if ((policyOf(state, pod)?.applied ?? []).length === 0) return [];
  return [`who enforces policies: cni ${settings.cni} does not`];
}

/** Rules of policies with one priority that say different things of the same traffic. */
function ties(grants: readonly Grant[]): string[] {
  const tied = new Set(grants.flatMap(({ tied, origin }) => (tied ? [origin] : [])));
  return [...tied].map(({ kind, name, rule, at }) => {
    return `${lineOf(at)}: whether ${rule} of ${kind} ${name} comes first: another policy has the same priority and says otherwise`;
  });
}

function unevaluatedIn(
  compiled: CompiledPolicy | null,
  directions: readonly Direction[],
  peer: number | null,
): string[] {
  return (compiled?.applied ?? []).flatMap((policy) =>
    policy.unevaluated
      .filter(
        ({ direction, nodes }) => directions.includes(direction) && (!nodes || (peer !== null && NODES.has(peer))),
      )
      .map((one) => unevaluatedLine(policy, one)),
  );
}

/** What of the policies that have a say in these packets is not evaluated: those of pods, and those of nodes at an end. */
function unevaluatedFor(state: State, outcomes: readonly Outcome[]): string[] {
  return outcomes.flatMap((outcome) =>
    DIRECTIONS.flatMap((direction) => {
      const { sourceIdentity, destinationIdentity } = outcome;
      const peer = direction === 'egress' ? destinationIdentity : sourceIdentity;
      const policy = policyAt(state, outcome, direction);
      const denying = grantsFor(state, policy, outcome, direction, 'denies');
      return [...unevaluatedIn(policy, [direction], peer), ...ties(denying)];
    }),
  );
}

/** Whether a policy of these pods asks for namespace labels beyond the name. */
function asksForNamespaceLabels(state: State, pods: readonly ClusterPod[]): boolean {
  return pods.some((pod) => {
    const policies = policyOf(state, pod)?.applied ?? [];
    return policies.some(({ subject, rules }) => {
      const peers = rules.flatMap(peersIn).flatMap(partsOf);
      const selectors = peers.flatMap((peer) => (peer.kind === 'endpoints' ? peer.selector : []));
      return [subject, ...selectors]
        .flatMap(keysAskedFor)
        .some((key) => key.startsWith(DERIVED.namespaceLabels) && key !== NAMESPACE_NAME);
    });
  });
}
