/** What an answer lacks, which makes it UNKNOWN, and what it takes for granted. */
import { DropReason, ReservedIdentity } from '../../assembly/abi.js';
import { contains, formatAddress, parsePrefix } from '../addresses.js';
import type { ClusterPod } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import type { Unevaluated } from '../manifests/cilium.js';
import type { UnreadDocument } from '../manifests/objects.js';
import { locate } from '../manifests/place.js';
import { PROTOCOL_NUMBERS } from '../policy/networkpolicy.js';
import type { Direction, Policy } from '../policy/rules.js';
import { DERIVED } from '../policy/selectors.js';
import { policyOf, type State } from '../state.js';
import { clusterDns } from './dns.js';
import { isNamed } from './names.js';
import type { Outcome } from './probe.js';
import type { Target } from './refs.js';

/** Pods whose policies have a say in these packets. */
function podsOf(outcomes: readonly Outcome[]): Set<ClusterPod> {
  const pods = new Set<ClusterPod>();
  for (const { probe, receiver } of outcomes) {
    if (probe.sender.kind === 'pod') pods.add(probe.sender.pod);
    if (receiver) pods.add(receiver);
  }
  return pods;
}

/** Refusals that no policy could lift. */
const BEFORE_POLICY = new Set<number>([DropReason.NO_SERVICE, DropReason.IS_CLUSTER_IP]);

const unaddressed = new WeakMap<State, ReadonlyMap<ClusterPod, string>>();

/** Pods that no packet can be sent to for sure, and why: without an IPv4 address, or with one that is another's as well. */
export function withoutAddress(state: State): ReadonlyMap<ClusterPod, string> {
  const known = unaddressed.get(state);
  if (known) return known;
  const owners = new Map<number, string>();
  const shared = new Set<number>();
  for (const { name, address } of state.cluster.nodes) {
    if (owners.has(address)) shared.add(address);
    owners.set(address, `node ${name}`);
  }
  for (const { address, service } of state.desired.frontends) {
    if (address !== 0 && !owners.has(address)) owners.set(address, `Service ${service.namespace}/${service.name}`);
  }
  const found = new Map<ClusterPod, string>();
  const pods = state.cluster.pods.filter((pod) => !pod.hostNetwork);
  const first = new Map<number, ClusterPod>();
  for (const pod of pods) {
    const text = `pod ${pod.namespace}/${pod.name}`;
    const owner = owners.get(pod.address);
    const twin = first.get(pod.address);
    if (shared.has(pod.node.address))
      found.set(
        pod,
        `${text} is on node ${pod.node.name}, whose address ${formatAddress(pod.node.address)} another node has too`,
      );
    else if (pod.ipv6Only)
      found.set(pod, `${text} has an IPv6 address only, and the dataplane does not carry IPv6 yet`);
    else if (pod.address === 0) found.set(pod, `${text} has no address: the pod range is used up`);
    else if (owner) found.set(pod, `${text} has the address ${formatAddress(pod.address)}, which is that of ${owner}`);
    else if (twin) {
      const both = `pods ${twin.namespace}/${twin.name} and ${pod.namespace}/${pod.name} have the same address ${formatAddress(pod.address)}`;
      found.set(pod, both).set(twin, found.get(twin) ?? both);
    } else first.set(pod.address, pod);
  }
  unaddressed.set(state, found);
  return found;
}

/** What stands at a destination that packets alone would not show, one line each. */
function unclear(state: State, { probe, backend, tuple }: Outcome): string[] {
  const lines: string[] = [];
  const { destination, destinationPort, protocol } = probe.tuple;
  const services = new Set(
    state.desired.frontends
      .filter((one) => one.address === destination && one.type !== 'NodePort')
      .map(({ service }) => service),
  );
  if (services.size > 1) {
    lines.push(
      `Services ${[...services].map(({ namespace, name }) => `${namespace}/${name}`).join(' and ')} have the same address ${formatAddress(destination)}`,
    );
  }
  const podRanges = [parsePrefix(state.settings.podCIDR)!, ...state.cluster.nodes.map(({ podRange }) => podRange)];
  if (backend && !backend.pod && podRanges.some((range) => contains(range, backend.address))) {
    lines.push(`the pod at ${formatAddress(backend.address)}, which is behind the Service: it is not in the manifests`);
  }
  for (const pod of state.cluster.pods) {
    if (pod.hostNetwork || pod.node.address !== tuple.destination) continue;
    const port = pod.spec.containers
      .flatMap((container) => container.ports)
      .find((one) => one.hostPort?.value === destinationPort && PROTOCOL_NUMBERS[one.protocol] === protocol);
    if (port) lines.push(`hostPort ${destinationPort} of pod ${pod.namespace}/${pod.name}: not evaluated yet`);
  }
  return lines;
}

/** What was needed and could not be read, one line each. */
export function missingFor(state: State, outcomes: readonly Outcome[]): string[] {
  if (outcomes.every(({ reason }) => reason !== null && BEFORE_POLICY.has(reason.code))) return [];
  const pods = [...podsOf(outcomes)];
  const namespaces = new Set(pods.map((pod) => pod.namespace));
  const missing = [
    ...outcomes.flatMap((outcome) => unclear(state, outcome)),
    ...pods.flatMap((pod) => withoutAddress(state).get(pod) ?? []),
    ...unreadPolicies(state, namespaces),
    ...unevaluatedFor(state, outcomes),
  ];
  for (const document of state.manifests.unread) {
    if (document.kind !== 'Namespace' || !asksForNamespaceLabels(state, pods)) continue;
    const { file, range } = locate(document.at);
    missing.push(
      `${file}:${range.start.line}: Namespace could not be read, and a policy asks for labels of namespaces`,
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
    for (const { backend } of outcomes)
      if (backend?.pod && backend.pod.ready === null)
        missing.push(`whether pod ${backend.pod.namespace}/${backend.pod.name} is ready: not reported`);
  }
  return [...new Set(missing)];
}

/** Kinds that may hold a policy, as far as the text of an unread document shows. */
const mayBePolicy = ({ kind }: UnreadDocument): boolean =>
  kind === null || /policy|^ciliumcidrgroup$|^peerauthentication$|^list$/i.test(kind);

/** Documents that could hold a policy for these namespaces and could not be read, or are of a kind that is not evaluated. */
export function unreadPolicies(state: State, namespaces: ReadonlySet<string>): string[] {
  const lines: string[] = [];
  for (const document of state.manifests.unread) {
    if (!mayBePolicy(document)) continue;
    if (
      document.namespace !== null &&
      !namespaces.has(document.namespace) &&
      !/Cluster|Global|Admin/.test(document.kind ?? '')
    )
      continue;
    const { file, range } = locate(document.at);
    const why = document.reason === 'template' ? 'a Helm template, not analysed' : 'could not be read';
    lines.push(`${file}:${range.start.line}: ${document.kind ?? 'a document'} ${why}`);
  }
  for (const object of state.cluster.objects) {
    if (object.kind !== 'UnevaluatedPolicy') continue;
    if (object.metadata.namespace !== '' && !namespaces.has(object.metadata.namespace)) continue;
    const { file, range } = locate(object.kindAt);
    lines.push(`${file}:${range.start.line}: ${object.actualKind} ${object.metadata.name.value} is not evaluated yet`);
  }
  return lines;
}

const unevaluatedLine = ({ source }: Policy, { at, what }: Unevaluated): string => {
  const { file, range } = locate(at);
  return `${file}:${range.start.line}: ${what} in ${source.kind} ${source.metadata.name.value} is not evaluated yet`;
};

const NODES = new Set<number>([ReservedIdentity.HOST, ReservedIdentity.REMOTE_NODE]);

/** What of a pod's policies is not evaluated in a direction, towards a peer; without one, towards pods and the world. */
export function unevaluatedOf(
  state: State,
  pod: ClusterPod,
  directions: readonly Direction[],
  peer: number | null = null,
): string[] {
  return (policyOf(state, pod)?.applied ?? []).flatMap((policy) =>
    policy.unevaluated
      .filter(
        ({ direction, nodes }) => directions.includes(direction) && (!nodes || (peer !== null && NODES.has(peer))),
      )
      .map((one) => unevaluatedLine(policy, one)),
  );
}

/** What of the policies that have a say in these packets is not evaluated: those of pods, and those of nodes at an end. */
function unevaluatedFor(state: State, outcomes: readonly Outcome[]): string[] {
  return outcomes.flatMap(({ probe: { sender }, receiver, tuple, sourceIdentity, destinationIdentity }) => {
    const pod = sender.kind === 'pod' ? sender.pod : null;
    const reachesNode = state.cluster.nodes.some(({ address }) => address === tuple.destination);
    return [
      ...(pod ? unevaluatedOf(state, pod, ['egress'], destinationIdentity) : []),
      ...(receiver && receiver !== pod ? unevaluatedOf(state, receiver, ['ingress'], sourceIdentity) : []),
      ...(sender.kind === 'host' || pod?.hostNetwork || reachesNode ? nodePolicies(state) : []),
    ];
  });
}

/** Policies about nodes: Cilium's host firewall. */
function nodePolicies(state: State): string[] {
  return state.cluster.policies.flatMap((source) => {
    if (source.kind === 'NetworkPolicy') return [];
    return source.specs
      .filter(({ aboutNodes }) => aboutNodes)
      .map(({ selector }) => {
        const { file, range } = locate(selector.at);
        return `${file}:${range.start.line}: nodeSelector of ${source.kind} ${source.metadata.name.value} is not evaluated yet`;
      });
  });
}

/** Whether a policy of these pods asks for namespace labels beyond the name. */
function asksForNamespaceLabels(state: State, pods: readonly ClusterPod[]): boolean {
  return pods.some((pod) => {
    const policies = policyOf(state, pod)?.applied ?? [];
    return policies.some(({ subject, rules }) =>
      [
        subject,
        ...rules.flatMap(({ peers }) =>
          (peers ?? []).flatMap((peer) => (peer.kind === 'endpoints' ? peer.selector : [])),
        ),
      ].some(({ requirements }) =>
        requirements.some(
          ({ key }) =>
            key.startsWith(DERIVED.namespaceLabels) && key !== `${DERIVED.namespaceLabels}kubernetes.io/metadata.name`,
        ),
      ),
    );
  });
}

/** What the verdict takes for granted. */
export function assumptions(state: State, to: Target, outcomes: readonly Outcome[]): string[] {
  const lines: string[] = [];
  const pods = [...podsOf(outcomes)];
  for (const name of [...new Set(pods.map((pod) => pod.namespace))].sort(compare)) {
    if (!state.cluster.namespaces.get(name)?.declared)
      lines.push(`namespace ${name} has no label but kubernetes.io/metadata.name: there is no Namespace object`);
  }
  const unreported = [
    ...new Set(outcomes.flatMap(({ backend }) => (backend?.pod?.ready === null ? [backend.pod.workload.ref] : []))),
  ].sort(compare);
  for (const workload of unreported) lines.push(`the pods of ${workload} are ready: no state is reported`);
  const spread = pods.some(
    (pod) => pod.source === (pod.workload.source as { template?: { at: unknown } }).template?.at,
  );
  if (spread && state.cluster.nodes.length > 1)
    lines.push(
      `pods are spread over the nodes ${state.cluster.nodes.length <= 4 ? state.cluster.nodes.map(({ name }) => name).join(', ') : `(${state.cluster.nodes.length})`}`,
    );
  for (const object of state.manifests.stale) {
    const { file, range } = locate(object.at);
    lines.push(
      `${file}:${range.start.line}: last good state of ${object.kind} ${object.metadata.name.value}, since the document cannot be read now`,
    );
  }
  if (state.settings.engine !== 'cilium')
    lines.push(`engine ${state.settings.engine}: Services are translated as Cilium does`);
  if (
    state.settings['loadBalancer.mode'] !== 'snat' &&
    outcomes.some(({ probe, tuple }) => probe.sender.kind === 'external' && probe.tuple.source !== tuple.source)
  )
    lines.push(
      `loadBalancer.mode ${state.settings['loadBalancer.mode']}: a backend on another node is reached by SNAT all the same`,
    );
  if (state.settings.cni !== 'cilium-vxlan')
    lines.push(`cni ${state.settings.cni}: packets between nodes take Cilium's VXLAN tunnel`);
  if (to.kind === 'world' && to.name !== null) lines.push(`${to.label} is an address outside the cluster`);
  const known = outcomes.find((outcome) => isNamed(state, outcome));
  if (known)
    lines.push(
      `${to.label} has the address ${formatAddress(known.probe.tuple.destination)}: none that a policy's prefix holds`,
    );
  if (to.label.startsWith('dns:') && !clusterDns(state))
    lines.push('names are looked up: the manifests hold no cluster DNS');
  return lines;
}
