/** One question about one flow, answered by as many packets as it stands for. */
import { DropReason } from '../../assembly/abi.js';
import { formatAddress } from '../addresses.js';
import type { ClusterBackend, ClusterNode, ClusterPod, ClusterService } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import type { Protocol, UnreadDocument } from '../manifests/objects.js';
import { locate } from '../manifests/place.js';
import { PROTOCOL_NUMBERS } from '../policy/compile.js';
import type { Direction } from '../policy/rules.js';
import type { Reason } from '../reasons.js';
import type { Frontend } from '../loader/entries.js';
import { identityOf, policyOf, type State } from '../state.js';
import { decidersOf, type Decider } from './decide.js';
import { askDns, clusterDns } from './dns.js';
import { hintsOf } from './hints.js';
import { externalClasses, podAt, run, type ExternalClass, type Outcome, type Probe, type Sender } from './probe.js';
import { resolveRef, type Target } from './refs.js';

export type Verdict = 'ALLOWED' | 'DENIED' | 'CONDITIONAL' | 'UNKNOWN';

export interface Question {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port: number | null;
  readonly sourcePort: number | null;
  /** Where a packet from outside enters; the destination's node unless set. */
  readonly node: string | null;
  readonly http: unknown;
}

export interface Answer {
  readonly verdict: Verdict;
  readonly direction: Direction | null;
  readonly reason: Reason | null;
  readonly deciders: readonly Decider[];
  readonly backend: {
    readonly pod: string | null;
    readonly workload: string | null;
    readonly ip: string;
    readonly port: number;
  } | null;
  readonly service: { readonly namespace: string; readonly name: string; readonly port: number } | null;
  readonly snat: string | null;
  readonly http: { readonly status: number; readonly backend: string | null } | null;
  readonly depends: readonly string[];
  readonly assumes: readonly string[];
  /** For a refusal, what it means here and what would have had to be there, most telling first. */
  readonly hints: readonly string[];
}

/** An answer and the packets it rests on, the telling one first. */
export interface Answered {
  readonly answer: Answer;
  readonly outcomes: readonly Outcome[];
}

/** Source port of a question that names none. */
export const SOURCE_PORT = 40000;
/** Source ports tried, at most, until every kind of backend of a Service has been picked. */
const SOURCE_PORTS = 20000;

/** Answers a question; an error where a reference matches nothing or the question is not one. */
export function query(state: State, question: Question): Answered | { readonly error: string } {
  const protocol = question.protocol.toUpperCase();
  const namespace = /^([^/:[\]]+)\//.exec(question.from)?.[1] ?? 'default';
  const from = resolveRef(state, question.from, namespace);
  if ('error' in from) return from;
  const to = resolveRef(state, question.to, namespace);
  if ('error' in to) return to;
  if (from.kind === 'service') return { error: `${question.from} cannot send: a Service is only ever addressed` };
  const port = question.port ?? onlyPort(to, protocol);
  if (!(protocol in PROTOCOL_NUMBERS))
    return { answer: unknown([`${protocol}: the dataplane carries TCP, UDP and SCTP so far`]), outcomes: [] };
  if (question.http) return { answer: unknown(['http: layer 7 is not evaluated yet']), outcomes: [] };
  for (const end of [from, to]) if (end.kind === 'unanswerable') return { answer: unknown([end.why]), outcomes: [] };
  if (port === null) return { error: `${question.to}: which port?` };
  if (!Number.isInteger(port) || port < 0 || port > 65535) return { error: `${port} is no port` };

  const node =
    question.node === null ? null : (state.cluster.nodes.find(({ name }) => name === question.node) ?? undefined);
  if (node === undefined) return { error: `there is no node ${question.node}` };
  const number = PROTOCOL_NUMBERS[protocol as Protocol];
  const cases = casesOf(state, from, to, number, port, question.sourcePort ?? SOURCE_PORT, node);
  if (cases.length === 0)
    return { answer: isItself(from, to) ? ITSELF : unknown([`${to.label}: nothing there to send to`]), outcomes: [] };
  const nameless = from.kind === 'pods' && to.label.startsWith('dns:') ? refusedNames(state, from.pods) : [];
  if (nameless.length > 0) {
    const answer = combine(state, to, nameless);
    const cannot = `${to.label.slice('dns:'.length)} cannot be looked up: the pod may not ask ${clusterDns(state)!.name}`;
    return {
      answer: { ...answer, service: null, backend: null, hints: [cannot, ...answer.hints] },
      outcomes: nameless,
    };
  }
  const outcomes = settle(state, cases, question.sourcePort !== null);
  return { answer: combine(state, to, outcomes), outcomes };
}

function unknown(depends: readonly string[]): Answer {
  return {
    verdict: 'UNKNOWN',
    direction: null,
    reason: null,
    deciders: [],
    backend: null,
    service: null,
    snat: null,
    http: null,
    depends,
    assumes: [],
    hints: [],
  };
}

/** A pod that speaks to its own address: nothing enters the dataplane, and Kubernetes has no policy about it. */
const ITSELF: Answer = {
  ...unknown([]),
  verdict: 'ALLOWED',
  assumes: ['a pod reaches its own address without any packet leaving it'],
};

const isItself = (from: Target, to: Target): boolean =>
  from.kind === 'pods' && to.kind === 'pods' && to.pods.every((pod) => from.pods.includes(pod));

/** The questions to the DNS of those kinds of pods that get no answer, when none gets one: without an address there is no packet. */
function refusedNames(state: State, pods: readonly ClusterPod[]): Outcome[] {
  const asked = classes(state, pods).map((pod) => askDns(state, pod));
  const refused = asked.filter((outcome): outcome is Outcome => outcome !== null && !outcome.allowed);
  return refused.length === asked.length ? refused : [];
}

/** The port of a question that names none: the only one that its destination has. */
function onlyPort(to: Target, protocol: string): number | null {
  const ports =
    to.kind === 'service'
      ? to.service.source.ports.filter((port) => port.protocol === protocol).map((port) => port.port.value)
      : to.kind === 'pods'
        ? to.pods[0]!.spec.containers.flatMap((container) =>
            container.ports.filter((port) => port.protocol === protocol).map((port) => port.containerPort.value),
          )
        : [];
  return new Set(ports).size === 1 ? ports[0]! : null;
}

/** Pods of which any one answers for all: one identity and one policy, and one node where `byNode` says that it matters. */
function classes(state: State, pods: readonly ClusterPod[], byNode = false): ClusterPod[] {
  const seen = new Map<string, ClusterPod>();
  for (const pod of pods) {
    const key = pod.hostNetwork
      ? `host ${pod.node.index}`
      : `${identityOf(state, pod)?.number} ${policyOf(state, pod)?.id} ${byNode ? pod.node.index : ''}`;
    if (!seen.has(key)) seen.set(key, pod);
  }
  return [...seen.values()];
}

/** One destination of a question. */
interface Destination {
  readonly address: number;
  readonly port: number;
  /** The pod it belongs to, where it is one's own address. */
  readonly pod: ClusterPod | null;
  readonly service: ClusterService | null;
}

/** Where clients outside find a port of a Service: its load balancer, else an external address, else each node's port. */
function outsideOf(state: State, service: ClusterService, port: number): Frontend[] {
  const open = state.desired.frontends.filter(
    (one) => one.service === service && one.node === 0 && one.address !== 0 && one.port.source.port.value === port,
  );
  for (const type of ['LoadBalancer', 'ExternalIP', 'NodePort'] as const) {
    const found = open.filter((one) => one.type === type);
    if (found.length > 0) return found;
  }
  return [];
}

function destinationsOf(
  state: State,
  to: Target,
  port: number,
  sender: ClusterNode | null,
  outside = false,
): Destination[] {
  const at = (address: number, service: ClusterService | null = null, own = port): Destination => ({
    address,
    port: own,
    pod: podAt(state, address),
    service,
  });
  switch (to.kind) {
    case 'pods':
      return classes(state, to.pods).map((pod) => ({
        address: pod.address,
        port,
        pod: pod.hostNetwork ? null : pod,
        service: null,
      }));
    case 'service': {
      const { service } = to;
      const open = outside ? outsideOf(state, service, port) : [];
      if (open.length > 0) return open.map(({ address, number }) => at(address, service, number));
      if (service.clusterIP !== null) return [at(service.clusterIP, service)];
      // A headless Service is only a name: the client gets the pods' own addresses, and the port stays as asked.
      const backends = service.ports.flatMap((listed) => listed.backends);
      const pods = new Map(backends.map((backend) => [backend.address, backend]));
      return [...pods.values()].map((backend) => at(backend.address));
    }
    case 'address':
      return [at(to.address)];
    case 'addresses':
      return externalClasses(state)
        .filter(({ first, last }) => first <= to.last && to.first <= last)
        .map(({ first }) => at(Math.max(first, to.first)));
    case 'node':
      return [at(to.node.address)];
    case 'host':
      return sender ? [at(sender.address)] : [];
    case 'world':
      return externalClasses(state).map(({ example }) => at(example));
    case 'unanswerable':
      return [];
  }
}

/** The packets that a question stands for: one for each kind of sender and each kind of destination. */
function casesOf(
  state: State,
  from: Target,
  to: Target,
  protocol: number,
  port: number,
  sourcePort: number,
  entry: ClusterNode | null,
): Probe[] {
  const probes: Probe[] = [];
  const add = (sender: Sender, source: number, destination: Destination): void => {
    if (source === destination.address && destination.service === null) return;
    probes.push({
      sender,
      tuple: { source, destination: destination.address, protocol, sourcePort, destinationPort: destination.port },
    });
  };
  const fallback = state.cluster.nodes[0]!;
  if (from.kind === 'pods') {
    const byNode = to.kind === 'service' && to.service.source.internalTrafficPolicy === 'Local';
    for (const pod of classes(state, from.pods, byNode)) {
      for (const destination of destinationsOf(state, to, port, pod.node)) {
        // A pod of a workload speaks to another of its pods, if there is one, and not to itself.
        const other =
          destination.pod === pod && to.kind === 'pods'
            ? to.pods.find((candidate) => candidate !== pod && identityOf(state, candidate) === identityOf(state, pod))
            : null;
        add(
          { kind: 'pod', pod },
          pod.address,
          other ? { ...destination, address: other.address, pod: other } : destination,
        );
      }
    }
    return probes;
  }
  const outside = from.kind === 'world' || from.kind === 'address' || from.kind === 'addresses';
  for (const destination of destinationsOf(state, to, port, null, outside)) {
    const home = destination.pod?.node ?? firstBackend(destination.service)?.pod?.node ?? fallback;
    if (from.kind === 'host' || from.kind === 'node') {
      const node = from.kind === 'node' ? from.node : home;
      add({ kind: 'host', node }, node.address, destination);
      continue;
    }
    for (const address of sourcesOf(state, from)) {
      const pod = podAt(state, address);
      const node = state.cluster.nodes.find((candidate) => candidate.address === address);
      if (pod) add({ kind: 'pod', pod }, address, destination);
      else if (node) add({ kind: 'host', node }, address, destination);
      else
        for (const at of entriesOf(state, destination, entry, home))
          add({ kind: 'external', address, node: at }, address, destination);
    }
  }
  return probes;
}

/** Nodes at which packets from outside are tried to enter, at most. */
const MAX_ENTRIES = 16;

/**
 * Where a packet from outside enters: at the node asked for, else at the node that it is addressed to, else, for an address
 * of a Service, at any node there is; a pod's own address is only known at the pod's node.
 */
function entriesOf(
  state: State,
  { address }: Destination,
  entry: ClusterNode | null,
  home: ClusterNode,
): readonly ClusterNode[] {
  if (entry) return [entry];
  const own = state.cluster.nodes.find((node) => node.address === address);
  if (own) return [own];
  const isFrontend = state.desired.frontends.some(
    (frontend) => frontend.address === address && frontend.type !== 'ClusterIP',
  );
  return isFrontend ? state.cluster.nodes.slice(0, MAX_ENTRIES) : [home];
}

const firstBackend = (service: ClusterService | null): ClusterBackend | undefined =>
  service?.ports.flatMap((port) => port.backends)[0];

function sourcesOf(state: State, from: Target): number[] {
  if (from.kind === 'address') return [from.address];
  const all = externalClasses(state);
  if (from.kind === 'addresses')
    return all
      .filter(({ first, last }) => first <= from.last && from.first <= last)
      .map(({ first }) => Math.max(first, from.first));
  return from.kind === 'world' ? all.map(({ example }) => example) : [];
}

/** What makes two backends of a Service answer differently. */
const backendClass = (state: State, { pod, address, port }: ClusterBackend): string =>
  pod ? `${identityOf(state, pod)?.number} ${policyOf(state, pod)?.id} ${port}` : `${address} ${port}`;

/**
 * Runs the packets. Where a Service picks among backends that differ, other source ports are tried until each kind of
 * backend was picked once, unless the question names its source port.
 */
function settle(state: State, cases: readonly Probe[], fixed: boolean): Outcome[] {
  const outcomes: Outcome[] = [];
  for (const outcome of run(state, cases)) {
    outcomes.push(outcome);
    const kinds = new Set(outcome.frontend?.backends.map(({ backend }) => backendClass(state, backend)) ?? []);
    if (fixed || !outcome.backend || kinds.size < 2) continue;
    kinds.delete(backendClass(state, outcome.backend));
    for (let tried = 1; tried < SOURCE_PORTS && kinds.size > 0; tried += 64) {
      const more = Array.from({ length: 64 }, (_, i) => ({
        ...outcome.probe,
        tuple: { ...outcome.probe.tuple, sourcePort: 20000 + ((outcome.probe.tuple.sourcePort + tried + i) % 40000) },
      }));
      for (const other of run(state, more))
        if (other.backend && kinds.delete(backendClass(state, other.backend))) outcomes.push(other);
    }
  }
  return outcomes;
}

/** Hints given, at most. */
const MAX_HINTS = 4;

/** One answer of many outcomes: theirs where they agree, CONDITIONAL where they do not, UNKNOWN where something needed is missing. */
function combine(state: State, to: Target, outcomes: readonly Outcome[]): Answer {
  const allowed = outcomes.filter((outcome) => outcome.allowed);
  const denied = outcomes.filter((outcome) => !outcome.allowed);
  const telling = denied[0] ?? allowed[0]!;
  const mixed = allowed.length > 0 && denied.length > 0;
  const missing = missingFor(state, outcomes);
  const verdict: Verdict =
    missing.length > 0 ? 'UNKNOWN' : mixed ? 'CONDITIONAL' : denied.length > 0 ? 'DENIED' : 'ALLOWED';
  const deciders =
    mixed || denied.length === 0
      ? outcomes.flatMap((outcome) => decidersOf(state, outcome))
      : denied.flatMap((outcome) => decidersOf(state, outcome));
  const { frontend, backend } = telling;
  return {
    verdict,
    direction: denied[0]?.direction ?? null,
    reason: denied[0]?.reason ?? null,
    deciders: unique(deciders),
    backend: backend && {
      pod: backend.pod && `${backend.pod.namespace}/${backend.pod.name}`,
      workload: backend.pod?.workload.ref ?? null,
      ip: formatAddress(backend.address),
      port: backend.port,
    },
    service: frontend
      ? { namespace: frontend.service.namespace, name: frontend.service.name, port: frontend.port.source.port.value }
      : to.kind === 'service'
        ? { namespace: to.service.namespace, name: to.service.name, port: telling.probe.tuple.destinationPort }
        : null,
    snat: masqueradedAs(state, allowed[0] ?? telling),
    http: null,
    depends: verdict === 'UNKNOWN' ? missing : mixed ? dependsOn(state, outcomes) : [],
    assumes: assumptions(state, to, outcomes),
    hints: [...new Set(denied.flatMap((outcome) => hintsOf(state, outcome)))].slice(0, MAX_HINTS),
  };
}

/** The node's address that the receiver sees in the sender's place; null where it sees the sender. */
function masqueradedAs(state: State, { probe, tuple }: Outcome): string | null {
  if (tuple.source === probe.tuple.source) return null;
  return state.cluster.nodes.some(({ address }) => address === tuple.source) ? formatAddress(tuple.source) : null;
}

function unique(deciders: readonly Decider[]): Decider[] {
  const seen = new Map(deciders.map((decider) => [JSON.stringify(decider), decider]));
  return [...seen.values()];
}

const sentence = ({ allowed, reason, direction }: Outcome): string =>
  allowed ? 'ALLOWED' : `DENIED (${reason?.text}, ${direction})`;

const podName = ({ namespace, name }: ClusterPod): string => `pod ${namespace}/${name}`;

/** An address outside stands for all that no policy tells from it, and is named with them. */
function externalOf(state: State, address: number): ExternalClass | null {
  if (podAt(state, address) || state.cluster.nodes.some((node) => node.address === address)) return null;
  return externalClasses(state).find(({ first, last }) => first <= address && address <= last) ?? null;
}

const rangeText = (first: number, last: number): string =>
  first === last ? `address ${formatAddress(first)}` : `addresses ${formatAddress(first)}-${formatAddress(last)}`;

/** What sets a packet apart from the question's others: its words, with a range of addresses where it stands for one. */
interface Distinction {
  readonly before: string;
  readonly range: ExternalClass | null;
  readonly after: string;
}

function distinction(state: State, outcome: Outcome, outcomes: readonly Outcome[]): Distinction {
  const differ = (of: (outcome: Outcome) => unknown): boolean => new Set(outcomes.map(of)).size > 1;
  const { sender, tuple } = outcome.probe;
  const parts: string[] = [];
  if (outcome.backend && differ(({ backend }) => backend?.address)) {
    const { pod, address, port } = outcome.backend;
    parts.push(`on backend ${pod ? podName(pod) : formatAddress(address)}:${port}`);
  }
  if (
    sender.kind === 'external' &&
    differ(({ probe }) => (probe.sender.kind === 'external' ? probe.sender.node : null))
  ) {
    parts.push(`entering at node ${sender.node.name}`);
  }
  const destination = podAt(state, tuple.destination);
  if (destination && parts.length === 0 && differ(({ probe }) => probe.tuple.destination))
    parts.push(`to ${podName(destination)}`);
  if (sender.kind !== 'external' && differ(({ probe }) => probe.tuple.source)) {
    parts.unshift(`from ${sender.kind === 'pod' ? podName(sender.pod) : `node ${sender.node.name}`}`);
  }
  if (sender.kind === 'external' && differ(({ probe }) => probe.tuple.source)) {
    return { before: 'from ', range: externalOf(state, tuple.source), after: parts.map((part) => ` ${part}`).join('') };
  }
  if (!destination && !outcome.backend && differ(({ probe }) => probe.tuple.destination)) {
    return { before: [...parts, 'to '].join(' '), range: externalOf(state, tuple.destination), after: '' };
  }
  return { before: parts.join(' '), range: null, after: '' };
}

/** One line for each kind of packet; ranges of addresses that touch and fare alike are one. */
function dependsOn(state: State, outcomes: readonly Outcome[]): string[] {
  const plain = new Set<string>();
  const ranges: { before: string; after: string; result: string; first: number; last: number }[] = [];
  for (const outcome of outcomes) {
    const { before, range, after } = distinction(state, outcome, outcomes);
    const result = sentence(outcome);
    if (!range) plain.add(`${before}${after}: ${result}`);
    else ranges.push({ before, after, result, first: range.first, last: range.last });
  }
  ranges.sort((a, b) => compare(a.before + a.after, b.before + b.after) || a.first - b.first);
  const merged: typeof ranges = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    const touches =
      last &&
      last.before === range.before &&
      last.after === range.after &&
      last.result === range.result &&
      last.last + 1 >= range.first;
    if (touches) last.last = Math.max(last.last, range.last);
    else merged.push({ ...range });
  }
  return [
    ...[...plain].sort(compare),
    ...merged.map(({ before, after, result, first, last }) => `${before}${rangeText(first, last)}${after}: ${result}`),
  ];
}

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

/** What was needed and could not be read, one line each. */
function missingFor(state: State, outcomes: readonly Outcome[]): string[] {
  if (outcomes.every(({ reason }) => reason !== null && BEFORE_POLICY.has(reason.code))) return [];
  const pods = [...podsOf(outcomes)];
  const namespaces = new Set(pods.map((pod) => pod.namespace));
  const missing = [...unreadPolicies(state, namespaces)];
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
  kind === null || /Policy|^PeerAuthentication$|^List$/.test(kind);

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
  return pods.some((pod) => {
    const policy = policyOf(state, pod);
    const applied = policy ? [...policy.isolatedBy.ingress, ...policy.isolatedBy.egress] : [];
    return applied.some((source) =>
      [...(source.ingress?.rules ?? []), ...(source.egress?.rules ?? [])].some((rule) =>
        (rule.peers ?? []).some(
          ({ namespaceSelector }) =>
            namespaceSelector &&
            [...namespaceSelector.matchLabels.keys(), ...namespaceSelector.matchExpressions.map(({ key }) => key)].some(
              (key) => key !== 'kubernetes.io/metadata.name',
            ),
        ),
      ),
    );
  });
}

/** What the verdict takes for granted. */
function assumptions(state: State, to: Target, outcomes: readonly Outcome[]): string[] {
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
  if (to.kind === 'world' && to.label.startsWith('dns:')) lines.push(`${to.label} is an address outside the cluster`);
  if (to.label.startsWith('dns:') && !clusterDns(state))
    lines.push('names are looked up: the manifests hold no cluster DNS');
  return lines;
}
