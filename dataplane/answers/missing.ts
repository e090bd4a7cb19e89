/** What an answer lacks, which makes it UNKNOWN, and what it takes for granted. */
import { DropReason } from '../../assembly/abi.js';
import { contains, formatAddress, type Address } from '../addresses.js';
import type { ClusterPod } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import type { NetworkPolicy, NetworkPolicyRule, UnreadDocument } from '../manifests/objects.js';
import { locate } from '../manifests/place.js';
import { prefixesIn } from '../settings.js';
import { PROTOCOL_NUMBERS } from '../policy/compile.js';
import { policyOf, type State } from '../state.js';
import { clusterDns } from './dns.js';
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

/** Pods that no packet can be sent to for sure, and why: without an address, or with one that is another's as well. */
export function withoutAddress(state: State): ReadonlyMap<ClusterPod, string> {
  const known = unaddressed.get(state);
  if (known) return known;
  const owners = new Map<Address, string>();
  const shared = new Set<Address>();
  for (const { name, addresses } of state.cluster.nodes) {
    for (const address of addresses) {
      if (owners.has(address)) shared.add(address);
      owners.set(address, `node ${name}`);
    }
  }
  for (const { address, service } of state.desired.frontends) {
    if (address && !owners.has(address)) owners.set(address, `Service ${service.namespace}/${service.name}`);
  }
  const found = new Map<ClusterPod, string>();
  const pods = state.cluster.pods.filter((pod) => !pod.hostNetwork);
  const first = new Map<Address, ClusterPod>();
  const claim = (pod: ClusterPod, text: string, address: Address): void => {
    const owner = owners.get(address);
    const twin = first.get(address);
    if (owner) found.set(pod, `${text} has the address ${formatAddress(address)}, which is that of ${owner}`);
    else if (twin) {
      const both = `pods ${twin.namespace}/${twin.name} and ${pod.namespace}/${pod.name} have the same address ${formatAddress(address)}`;
      found.set(pod, both).set(twin, found.get(twin) ?? both);
    } else first.set(address, pod);
  };
  for (const pod of pods) {
    const text = `pod ${pod.namespace}/${pod.name}`;
    const ofNode = pod.node.addresses.find((address) => shared.has(address));
    if (ofNode !== undefined) {
      const why = `whose address ${formatAddress(ofNode)} another node has too`;
      found.set(pod, `${text} is on node ${pod.node.name}, ${why}`);
    } else if (pod.addresses.length === 0) found.set(pod, `${text} has no address: the pod range is used up`);
    else for (const address of pod.addresses) claim(pod, text, address);
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
  const podRanges = [...prefixesIn(state.settings.podCIDR), ...state.cluster.nodes.flatMap((node) => node.podRanges)];
  if (backend && !backend.pod && podRanges.some((range) => contains(range, backend.address))) {
    lines.push(`the pod at ${formatAddress(backend.address)}, which is behind the Service: it is not in the manifests`);
  }
  for (const pod of state.cluster.pods) {
    if (pod.hostNetwork || !pod.node.addresses.includes(tuple.destination)) continue;
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
    ...pods.flatMap((pod) => halfMatched(state, pod)),
    ...unreadPolicies(state, namespaces),
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

/** A pod has one identity, and of a pod with addresses of both families an `ipBlock` matches one alone. */
export function halfMatched(state: State, pod: ClusterPod): string[] {
  const asks = state.settings.ipBlockMatchesPods && policiesOf(state, pod).some(hasIpBlock);
  return asks && state.cluster.families.length > 1
    ? [`which of a pod's two addresses an ipBlock matches: a policy of pod ${pod.namespace}/${pod.name} has one`]
    : [];
}

const rulesOf = ({ ingress, egress }: NetworkPolicy): NetworkPolicyRule[] => [
  ...(ingress?.rules ?? []),
  ...(egress?.rules ?? []),
];

const hasIpBlock = (policy: NetworkPolicy): boolean =>
  rulesOf(policy).some(({ peers }) => peers?.some(({ ipBlock }) => ipBlock !== null));

/** The policies that isolate a pod. */
function policiesOf(state: State, pod: ClusterPod): NetworkPolicy[] {
  const policy = policyOf(state, pod);
  return policy ? [...policy.isolatedBy.ingress, ...policy.isolatedBy.egress] : [];
}

/** Kinds that may hold a policy, as far as the text of an unread document shows. */
const mayBePolicy = ({ kind }: UnreadDocument): boolean =>
  kind === null || /policy|^peerauthentication$|^list$/i.test(kind);

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

/** Whether a policy of these pods asks for namespace labels beyond the name. */
function asksForNamespaceLabels(state: State, pods: readonly ClusterPod[]): boolean {
  const asks = (source: NetworkPolicy): boolean =>
    rulesOf(source).some((rule) =>
      (rule.peers ?? []).some(
        ({ namespaceSelector }) =>
          namespaceSelector &&
          [...namespaceSelector.matchLabels.keys(), ...namespaceSelector.matchExpressions.map(({ key }) => key)].some(
            (key) => key !== 'kubernetes.io/metadata.name',
          ),
      ),
    );
  return pods.some((pod) => policiesOf(state, pod).some(asks));
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
  const audits = outcomes.flatMap(({ audited }) => (audited ? [`${audited.reason.text}, ${audited.direction}`] : []));
  for (const refusal of new Set(audits)) lines.push(`policyAuditMode: what policies would refuse passes (${refusal})`);
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
  if (to.kind === 'world' && to.label.startsWith('dns:')) lines.push(`${to.label} is an address outside the cluster`);
  if (to.label.startsWith('dns:') && !clusterDns(state))
    lines.push('names are looked up: the manifests hold no cluster DNS');
  return lines;
}
