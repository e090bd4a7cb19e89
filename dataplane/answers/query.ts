/** One question about one flow, answered by as many packets as it stands for. */
import { DropReason } from '../../assembly/abi.js';
import { FAMILIES, familyOf, formatAddress, type Family } from '../addresses.js';
import { podBehind, type ClusterNode, type ClusterPod, type ClusterService } from '../cluster/cluster.js';
import { isIcmp } from '../packet.js';
import type { HttpRequest } from '../policy/http.js';
import type { Direction } from '../policy/rules.js';
import type { Reason } from '../reasons.js';
import type { State } from '../state.js';
import { assumptions } from './assumptions.js';
import { casesOf, classes, settle } from './cases.js';
import { decidersOf, type Decider } from './decide.js';
import { dependsOn } from './depends.js';
import { askDns, clusterDns } from './dns.js';
import { hintsOf } from './hints.js';
import { fromIngress } from './ingress/exposure.js';
import { throughIngress, type Send, type Through } from './ingress/through.js';
import { deciding, readRequest, untoldOf } from './layer7.js';
import { isOfServices } from './kube-proxy.js';
import { missingFor } from './missing.js';
import { withoutAddress } from './unaddressed.js';
import { towards, unseen } from './names.js';
import { beyondNetwork, takenByMany, toItself } from './special-addresses.js';
import { refused, unknown } from './unknown.js';
import { isInside, nodeAt } from './at.js';
import { type Outcome } from './probe.js';
import { familiesOf, fullName, resolveRef, type Target } from './refs.js';
import { hasPorts, isCarried, isProtocol, trafficOf, type Traffic } from './traffic.js';

export type Verdict = 'ALLOWED' | 'DENIED' | 'CONDITIONAL' | 'UNKNOWN';

/** Source port of a question that names none. */
export const SOURCE_PORT = 40000;

export interface Question {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  /** Of protocols that have ports; unless given, the only one that the destination has. */
  readonly port: number | null;
  /** The type of an ICMP or ICMPv6 message: echo request unless given. */
  readonly icmpType?: number | null;
  /** Of ICMP, the identifier of an echo. */
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
  /** Where an Ingress stands between the two ends: the outcomes are of the packets that its controller sends on. */
  readonly through?: Through;
}

/** What flows between two ends. */
interface Flow {
  readonly traffic: Traffic;
  readonly sourcePort: number | null;
  readonly node: ClusterNode | null;
  readonly http: HttpRequest | null;
}

/** Answers a question; an error where a reference matches nothing or the question is not one. */
export function query(state: State, question: Question): Answered | { readonly error: string } {
  const protocol = question.protocol.toUpperCase();
  const namespace = /^([^/:[\]]+)\//.exec(question.from)?.[1] ?? 'default';
  const from = resolveRef(state, question.from, namespace);
  if ('error' in from) return from;
  const to = resolveRef(state, question.to, namespace);
  if ('error' in to) return to;
  if (from.kind === 'service') return { error: `${question.from} cannot send: a Service is only ever addressed` };
  const icmpType = question.icmpType ?? null;
  if (!isProtocol(protocol))
    return { error: `${question.protocol} is no protocol over IP: expected TCP, UDP, SCTP, ICMP or ICMPv6` };
  if (!isCarried(protocol))
    return { answer: unknown([`${protocol}: the dataplane carries TCP, UDP, SCTP and ICMP so far`]), outcomes: [] };
  const http = readRequest(question.http);
  if (http && 'error' in http) return http;
  const port = hasPorts(protocol) ? (question.port ?? onlyPort(to, protocol, http)) : 0;
  if (http && protocol !== 'TCP') return { error: `${protocol}: an HTTP request goes over TCP` };
  for (const end of [from, to]) if (end.kind === 'unanswerable') return { answer: unknown([end.why]), outcomes: [] };
  if ((from.kind === 'ingress' || to.kind === 'ingress') && protocol !== 'TCP')
    return { error: `${protocol}: an Ingress takes HTTP requests, which go over TCP` };
  if (port === null) return { error: `${question.to}: which port?` };
  if (!Number.isInteger(port) || port < 0 || port > 65535) return { error: `${port} is no port` };
  if (icmpType !== null && !(Number.isInteger(icmpType) && icmpType >= 0 && icmpType <= 255))
    return { error: `${icmpType} is no ICMP type` };

  const node =
    question.node === null ? null : (state.cluster.nodes.find(({ name }) => name === question.node) ?? undefined);
  if (node === undefined) return { error: `there is no node ${question.node}` };
  const beyond = beyondNetwork(from, to);
  if (beyond) return 'error' in beyond ? beyond : { answer: beyond, outcomes: [] };
  const flow: Flow = {
    traffic: trafficOf(protocol, port, icmpType),
    sourcePort: question.sourcePort,
    node,
    http,
  };
  const send: Send = (client, server, number) =>
    between(state, client, server, {
      traffic: trafficOf(protocol, number, null),
      sourcePort: null,
      node: null,
      http,
    });
  if (to.kind === 'ingress') {
    if (from.kind === 'ingress')
      return { error: `${question.from} cannot send to ${question.to}: both are an Ingress` };
    return throughIngress(state, to, http, (controller) => between(state, from, controller, flow), send);
  }
  if (from.kind === 'ingress') return fromIngress(state, from, to, port, send);
  return between(state, from, to, flow);
}

/** The answer for two ends: all packets that this stands for, run. */
function between(state: State, from: Target, to: Target, { traffic, sourcePort, node, http }: Flow): Answered {
  const plain = casesOf(state, from, to, traffic, sourcePort ?? SOURCE_PORT, node);
  const cases = to.kind === 'world' && to.name !== null ? towards(state, plain, to.name) : plain;
  if (cases.length === 0) return { answer: withoutPacket(state, from, to, traffic), outcomes: [] };
  const nameless =
    from.kind === 'pods' && to.label.startsWith('dns:') ? refusedNames(state, from.pods, nameOf(state, to)) : [];
  if (nameless.length > 0) {
    const answer = combine(state, to, nameless);
    const cannot = `${to.label.slice('dns:'.length)} cannot be looked up: the pod may not ask ${clusterDns(state)!.name}`;
    return {
      answer: { ...answer, service: null, backend: null, hints: [cannot, ...answer.hints] },
      outcomes: nameless,
    };
  }
  const outcomes = settle(state, cases, sourcePort !== null, deciding(state, { http, name: null }));
  const answer = withRequest(combine(state, to, outcomes), http, outcomes);
  const named = answer.verdict === 'DENIED' && to.kind === 'world' && to.name !== null && from.kind === 'pods';
  const why = named ? unseen(state, classes(state, from.pods), to.name) : null;
  return { answer: why === null ? answer : { ...answer, hints: [why, ...answer.hints].slice(0, MAX_HINTS) }, outcomes };
}

const isItself = (from: Target, to: Target): boolean =>
  from.kind === 'pods' && to.kind === 'pods' && to.pods.every((pod) => from.pods.includes(pod));

/** The answer where no packet can be made. */
function withoutPacket(state: State, from: Target, to: Target, traffic: Traffic): Answer {
  if (isItself(from, to)) return toItself('a pod reaches its own address without any packet leaving it');
  const [own, others] = [familiesOf(state, from), familiesOf(state, to)];
  const asked = FAMILIES.filter((family) => traffic[family]);
  if (
    own.length === 0 ||
    others.length === 0 ||
    asked.some((family) => own.includes(family) && others.includes(family))
  )
    return unknown(unsendable(state, to));
  const has = (target: Target, families: readonly Family[]): string => `${target.label} has ${families.join(' and ')}`;
  const needs = asked.length === 1 ? `, and this is of ${asked[0]} alone` : '';
  const more = {
    assumes: singleStack(state, [...own, ...others]),
    hints: [`no packet can go: ${has(from, own)}, ${has(to, others)}${needs}`],
  };
  // The sender has no address to send from, as where it sends all the same; or nobody knows a way to the receiver.
  return from.kind === 'pods' || from.kind === 'node' || from.kind === 'host'
    ? refused(DropReason.INVALID_SIP, 'egress', more)
    : refused(DropReason.UNROUTABLE, 'ingress', more);
}

/** Why there is nothing to send a packet to. */
function unsendable(state: State, to: Target): string[] {
  const why = to.kind === 'pods' ? to.pods.flatMap((pod) => withoutAddress(state).get(pod) ?? []) : [];
  if (why.length > 0) return why;
  if (to.kind === 'service' && to.service.source.externalName)
    return [`${to.label} is another name for ${to.service.source.externalName.value}: ask about that`];
  return [`${to.label}: nothing there to send to`];
}

/** The full name that is looked up; null where it is not known. */
function nameOf(state: State, to: Target): string | null {
  if (to.kind === 'service') return fullName(state, to.service);
  return to.kind === 'world' ? to.name : null;
}

/** The questions to the DNS of those kinds of pods that get no answer, when none gets one: without an address there is no packet. */
function refusedNames(state: State, pods: readonly ClusterPod[], name: string | null): Outcome[] {
  const asked = classes(state, pods).map((pod) => askDns(state, pod, name));
  const refused = asked.filter((outcome): outcome is Outcome => outcome !== null && !outcome.allowed);
  return refused.length === asked.length ? refused : [];
}

/** The port of a question that names none: the only one that its destination has. */
function onlyPort(to: Target, protocol: string, http: HttpRequest | null): number | null {
  if (to.kind === 'ingress') return http?.scheme === 'https' ? 443 : 80;
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

/** What the client sees of its request: 403 where a proxy refuses it, and nothing at all where its connection is refused. */
function withRequest(answer: Answer, http: HttpRequest | null, outcomes: readonly Outcome[]): Answer {
  if (!http) return answer;
  if (answer.verdict === 'ALLOWED') return { ...answer, http: { status: 200, backend: null } };
  const byProxy =
    answer.verdict === 'DENIED' &&
    outcomes.every(({ refusedBy }) => refusedBy !== null && refusedBy.mesh?.isAnswered !== false);
  return byProxy ? { ...answer, http: { status: 403, backend: null } } : answer;
}

/** Hints given, at most. */
const MAX_HINTS = 4;

/** A Service for clients outside gets the address or the node port at which they find it once it is applied, unless the manifests say. */
function unallotted(to: Target, outcomes: readonly Outcome[]): string[] {
  if (to.kind !== 'service' || !['NodePort', 'LoadBalancer'].includes(to.service.source.type)) return [];
  const { namespace, name, source } = to.service;
  const isMeant = ({ reason, probe }: Outcome): boolean =>
    reason?.code === DropReason.IS_CLUSTER_IP &&
    (isIcmp(probe.tuple.protocol) || source.ports.some(({ port }) => port.value === probe.tuple.destinationPort));
  if (!outcomes.some(isMeant)) return [];
  return [`where clients outside find Service ${namespace}/${name}: the manifests tell no node port nor address of it`];
}

/** What policies let to an address of the Services' range that none of the manifests has: it may be a Service's of elsewhere. */
function unassigned(state: State, to: Target): string[] {
  if (to.kind !== 'address' || !isOfServices(state, to.address) || isInside(state, to.address)) return [];
  return [`what ${to.label} is: an address of the Services' range (serviceCIDR) that no Service of the manifests has`];
}

/** The Service that was asked, or would have answered, and its port as it was asked for: 0 of ICMP, which has none. */
function serviceAsked(state: State, to: Target, { frontend, probe, allowed }: Outcome): Answer['service'] {
  const { destination, destinationPort, protocol } = probe.tuple;
  const own = allowed ? [] : state.desired.frontends.filter((one) => one.service && one.address === destination);
  const asked = frontend?.service
    ? frontend
    : own.find((one) => one.number === destinationPort && one.protocol === protocol);
  if (asked) return { ...namesOf(asked.service!), port: asked.port.source.port.value };
  const service = to.kind === 'service' ? to.service : own.find(({ type }) => type !== 'NodePort')?.service;
  return service ? { ...namesOf(service), port: isIcmp(protocol) ? 0 : destinationPort } : null;
}

const namesOf = ({ namespace, name }: ClusterService): { readonly namespace: string; readonly name: string } => ({
  namespace,
  name,
});

/** One answer of many outcomes: theirs where they agree, CONDITIONAL where they do not, UNKNOWN where something needed is missing. */
function combine(state: State, to: Target, outcomes: readonly Outcome[]): Answer {
  const allowed = outcomes.filter((outcome) => outcome.allowed);
  const denied = outcomes.filter((outcome) => !outcome.allowed);
  const telling = denied[0] ?? allowed[0]!;
  const untold = [...new Set(outcomes.flatMap(untoldOf))];
  const mixed = allowed.length > 0 && (denied.length > 0 || untold.length > 0);
  const missing = [
    ...missingFor(state, outcomes),
    ...unallotted(to, outcomes),
    ...(allowed.length > 0 ? [...unassigned(state, to), ...takenByMany(to)] : []),
  ];
  const verdict: Verdict =
    missing.length > 0 ? 'UNKNOWN' : mixed ? 'CONDITIONAL' : denied.length > 0 ? 'DENIED' : 'ALLOWED';
  const deciders =
    mixed || denied.length === 0
      ? outcomes.flatMap((outcome) => decidersOf(state, outcome))
      : denied.flatMap((outcome) => decidersOf(state, outcome));
  const { backend } = telling;
  const pod = podBehind(state.cluster, backend);
  return {
    verdict,
    direction: denied[0]?.direction ?? null,
    reason: denied[0]?.reason ?? null,
    deciders: unique(deciders),
    backend: backend && {
      pod: pod && `${pod.namespace}/${pod.name}`,
      workload: pod?.workload.ref ?? null,
      ip: formatAddress(backend.address),
      port: backend.port,
    },
    service: serviceAsked(state, to, telling),
    snat: masqueradedAs(state, allowed[0] ?? telling),
    http: null,
    depends:
      verdict === 'UNKNOWN'
        ? missing
        : mixed
          ? [...(denied.length > 0 ? dependsOn(state, outcomes) : []), ...untold]
          : [],
    assumes: [...assumptions(state, to, outcomes), ...singleStack(state, familiesAsked(outcomes))],
    hints: [
      ...new Set([...denied, ...outcomes.flatMap(asRefused)].flatMap((outcome) => hintsOf(state, outcome))),
    ].slice(0, MAX_HINTS),
  };
}

/** What would have become of a packet that policies, only tried out, let pass. */
const asRefused = (outcome: Outcome): Outcome[] =>
  outcome.audited ? [{ ...outcome, ...outcome.audited, allowed: false }] : [];

/** The node's address that the receiver sees in the sender's place; null where it sees the sender. */
function masqueradedAs(state: State, { probe, tuple, masqueraded }: Outcome): string | null {
  if (masqueraded) return formatAddress(masqueraded.tuple.source);
  if (tuple.source === probe.tuple.source) return null;
  return nodeAt(state, tuple.source) ? formatAddress(tuple.source) : null;
}

const familiesAsked = (outcomes: readonly Outcome[]): Family[] =>
  outcomes.map(({ probe }) => familyOf(probe.tuple.destination));

/** What is taken for granted about a family that was asked about and that nothing shows the cluster to have. */
const singleStack = ({ cluster }: State, asked: readonly Family[]): string[] =>
  FAMILIES.filter((family) => asked.includes(family) && !cluster.families.includes(family)).map(
    (family) => `the cluster has no ${family}: neither the manifests nor the settings show any`,
  );

function unique(deciders: readonly Decider[]): Decider[] {
  const seen = new Map(deciders.map((decider) => [JSON.stringify(decider), decider]));
  return [...seen.values()];
}
