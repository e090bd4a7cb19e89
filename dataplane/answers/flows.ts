/**
 * Hubble flows: what its parser makes of each notification, field by field in the order of the message, empty ones left
 * out, as `hubble observe -o json` writes them. Cilium `api/v1/flow/flow.proto`, `pkg/hubble/parser/threefour`,
 * `pkg/hubble/parser/common`, `pkg/policy/correlation`, v1.19.
 */
import { DropReason, ReservedIdentity, TracePoint, XlatePoint } from '../../assembly/abi.js';
import { formatAddress, formatPrefix, parseAddress } from '../addresses.js';
import type { ClusterPod } from '../cluster/cluster.js';
import { isIcmp, type IcmpLayer, type IpLayer, type L4Layer } from '../dissect.js';
import { compare, hashOf } from '../hash.js';
import { isIdentityLabel } from '../policy/identities.js';
import type { RuleOrigin } from '../policy/rules.js';
import { POINT_NAMES, reasonOf } from '../reasons.js';
import { identityOf, type State } from '../state.js';
import { RESERVED_NAMES } from './identity-name.js';
import {
  MessageType,
  TRACE_REASON_UNKNOWN,
  type Notification,
  type PolicyVerdictNotification,
  type TraceReason,
  type TraceSockNotification,
} from './notifications.js';
import { podAt } from './at.js';
import { identityAt } from './outside.js';

/** Message `flow.Flow`; fields that Hubble leaves out are undefined. */
export interface Flow {
  readonly time: string;
  readonly uuid: string;
  readonly verdict: 'FORWARDED' | 'DROPPED' | 'AUDIT' | 'REDIRECTED' | 'TRACED' | 'TRANSLATED';
  readonly drop_reason?: number | undefined;
  readonly ethernet?: { readonly source: string; readonly destination: string } | undefined;
  readonly IP?: FlowIp | undefined;
  readonly l4?: FlowL4 | undefined;
  readonly tunnel?: FlowTunnel | undefined;
  readonly source: FlowEndpoint;
  readonly destination: FlowEndpoint;
  readonly Type: 'L3_L4' | 'SOCK';
  readonly node_name: string;
  readonly reply?: true | undefined;
  readonly event_type: { readonly type: number; readonly sub_type?: number | undefined };
  readonly source_service?: FlowService | undefined;
  readonly destination_service?: FlowService | undefined;
  readonly traffic_direction?: 'INGRESS' | 'EGRESS' | undefined;
  readonly policy_match_type?: number | undefined;
  readonly trace_observation_point?: string | undefined;
  readonly trace_reason?: string | undefined;
  readonly file?: { readonly name: string } | undefined;
  readonly drop_reason_desc?: string | undefined;
  readonly is_reply?: boolean | undefined;
  readonly proxy_port?: number | undefined;
  readonly sock_xlate_point?: string | undefined;
  readonly socket_cookie?: string | undefined;
  readonly egress_allowed_by?: readonly FlowPolicy[] | undefined;
  readonly ingress_allowed_by?: readonly FlowPolicy[] | undefined;
  readonly egress_denied_by?: readonly FlowPolicy[] | undefined;
  readonly ingress_denied_by?: readonly FlowPolicy[] | undefined;
  readonly Summary?: string | undefined;
}

export interface FlowEndpoint {
  readonly ID?: number | undefined;
  readonly identity: number;
  readonly cluster_name?: string | undefined;
  readonly namespace?: string | undefined;
  readonly labels?: readonly string[] | undefined;
  readonly pod_name?: string | undefined;
  readonly workloads?: readonly { readonly name: string; readonly kind: string }[] | undefined;
}

export interface FlowIp {
  readonly source: string;
  readonly source_xlated?: string | undefined;
  readonly destination: string;
  readonly ipVersion: 'IPv4' | 'IPv6';
}

interface Ports {
  readonly source_port?: number | undefined;
  readonly destination_port?: number | undefined;
}

export interface FlowL4 {
  readonly TCP?: Ports & { readonly flags?: Readonly<Record<string, true>> | undefined };
  readonly UDP?: Ports;
  readonly ICMPv4?: FlowIcmp;
  readonly ICMPv6?: FlowIcmp;
  readonly SCTP?: Ports & { readonly chunk_type?: string | undefined };
}

interface FlowIcmp {
  readonly type?: number | undefined;
  readonly code?: number | undefined;
}

interface FlowTunnel {
  readonly protocol: 'VXLAN' | 'GENEVE';
  readonly IP?: FlowIp | undefined;
  readonly l4?: FlowL4 | undefined;
  readonly vni?: number | undefined;
}

export interface FlowService {
  readonly name: string;
  readonly namespace: string;
}

interface FlowPolicy {
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
  readonly labels: readonly string[];
  readonly kind?: string | undefined;
}

/** Cilium's name of a cluster that was given none. */
const CLUSTER = 'default';

/** Enum `flow.TraceReason`: the datapath's numbers with a name for each, unknown first. */
const TRACE_REASONS: Readonly<Record<TraceReason, string | undefined>> = {
  0: 'NEW',
  1: 'ESTABLISHED',
  2: 'REPLY',
  3: 'RELATED',
  [TRACE_REASON_UNKNOWN]: undefined,
};
const REPLY = 2;

/**
 * One flow a notification, but for sockets of a node's own, whose process Hubble cannot name and which it leaves out. Times
 * count milliseconds from the epoch on, in order, so that the same trace gives the same bytes.
 */
export const flowsOf = (state: State, notifications: readonly Notification[]): Flow[] =>
  notifications.flatMap((notification, index) => {
    const time = new Date(index + 1).toISOString();
    const flow =
      notification.type === MessageType.TRACE_SOCK ? socketFlow(state, notification) : packetFlow(state, notification);
    return flow ? [{ time, uuid: uuidOf(`${time} ${JSON.stringify(flow)}`), ...flow }] : [];
  });

type Told = Omit<Flow, 'time' | 'uuid'>;

/** What Hubble makes of a socket's address. Cilium `pkg/hubble/parser/sock`; its names of the points are those of `flow.proto`. */
function socketFlow(state: State, { point, peer, own, cookie, node, packet }: TraceSockNotification): Told | null {
  const address = parseAddress(own);
  if (address === null || !podAt(state, address)) return null;
  const at = { state, node: node.index };
  const reverse = point === XlatePoint.PRE_DIRECTION_REV || point === XlatePoint.POST_DIRECTION_REV;
  const [source, destination] = reverse ? [peer.ip, own] : [own, peer.ip];
  const kind = packet.l4?.kind === 'UDP' ? 'UDP' : 'TCP';
  const port = reverse ? { source_port: peer.port } : { destination_port: peer.port };
  const service = serviceAt(state, peer.ip, peer.port);
  return {
    verdict: XLATE_VERDICTS[point],
    IP: { source, destination, ipVersion: packet.ip?.version === 6 ? 'IPv6' : 'IPv4' },
    l4: { [kind]: port },
    source: endpointOf(at, source, 0),
    destination: endpointOf(at, destination, 0),
    Type: 'SOCK',
    node_name: node.name,
    event_type: { type: MessageType.TRACE_SOCK, sub_type: point },
    source_service: reverse ? service : undefined,
    destination_service: reverse ? undefined : service,
    sock_xlate_point: XLATE_POINTS[point],
    socket_cookie: cookie === 0n ? undefined : String(cookie),
    Summary: kind,
  };
}

const XLATE_VERDICTS: Readonly<Record<XlatePoint, 'TRACED' | 'TRANSLATED'>> = {
  [XlatePoint.PRE_DIRECTION_FWD]: 'TRACED',
  [XlatePoint.POST_DIRECTION_FWD]: 'TRANSLATED',
  [XlatePoint.PRE_DIRECTION_REV]: 'TRACED',
  [XlatePoint.POST_DIRECTION_REV]: 'TRANSLATED',
};

/** Enum `flow.SocketTranslationPoint`. */
const XLATE_POINTS: Readonly<Record<XlatePoint, string>> = {
  [XlatePoint.PRE_DIRECTION_FWD]: 'SOCK_XLATE_POINT_PRE_DIRECTION_FWD',
  [XlatePoint.POST_DIRECTION_FWD]: 'SOCK_XLATE_POINT_POST_DIRECTION_FWD',
  [XlatePoint.PRE_DIRECTION_REV]: 'SOCK_XLATE_POINT_PRE_DIRECTION_REV',
  [XlatePoint.POST_DIRECTION_REV]: 'SOCK_XLATE_POINT_POST_DIRECTION_REV',
};

/** Of a packet, whatever is told of it. */
type PacketNotification = Exclude<Notification, TraceSockNotification>;

function packetFlow(state: State, notification: PacketNotification): Told {
  const { node, packet } = notification;
  const at = { state, node: node.index };
  const [sourceLabel, destinationLabel] = labelsOf(notification);
  const original = notification.type === MessageType.TRACE ? notification.originalSource : null;
  const ip = packet.ip && ipOf(packet.ip, original);
  const source = endpointOf(at, ip?.source ?? null, sourceLabel);
  const destination = endpointOf(at, ip?.destination ?? null, destinationLabel);
  const reply = isReply(notification);
  return {
    verdict: verdictOf(notification),
    drop_reason: reasonNumber(notification),
    ethernet: packet.ethernet
      ? { source: packet.ethernet.source, destination: packet.ethernet.destination }
      : undefined,
    IP: ip ?? undefined,
    l4: l4Of(packet.l4),
    tunnel: tunnelOf(notification),
    source,
    destination,
    Type: 'L3_L4',
    node_name: node.name,
    reply: reply === true ? true : undefined,
    event_type: { type: notification.type, sub_type: subType(notification) || undefined },
    source_service: serviceAt(state, ip?.source, portsOf(packet.l4)[0]),
    destination_service: serviceAt(state, ip?.destination, portsOf(packet.l4)[1]),
    traffic_direction: directionOf(notification, source.ID ?? 0),
    ...ofTrace(notification),
    file: notification.type === MessageType.DROP ? { name: notification.file } : undefined,
    drop_reason_desc: reasonName(notification),
    is_reply: reply,
    ...policiesOf(notification),
    Summary: summaryOf(notification),
  };
}

/** A UUID of version 8 (RFC 9562 section 5.8) that tells a flow by its content; Hubble draws one. */
function uuidOf(text: string): string {
  const words = [0, 1, 2, 3].map((salt) => hashOf(`${salt} ${text}`).toString(16).padStart(8, '0')).join('');
  const variant = ((parseInt(words[16]!, 16) & 3) | 8).toString(16);
  return `${words.slice(0, 8)}-${words.slice(8, 12)}-8${words.slice(13, 16)}-${variant}${words.slice(17, 20)}-${words.slice(20)}`;
}

/** `decodeVerdict`. */
function verdictOf(notification: PacketNotification): Flow['verdict'] {
  if (reasonNumber(notification) !== undefined) return 'DROPPED';
  if (notification.type !== MessageType.POLICY_VERDICT) return 'FORWARDED';
  return notification.redirected ? 'REDIRECTED' : notification.audited ? 'AUDIT' : 'FORWARDED';
}

/** `decodeDropReason`: none for what passed. */
function reasonNumber(notification: PacketNotification): number | undefined {
  if (notification.type === MessageType.TRACE || notification.reason === 0) return undefined;
  return notification.type === MessageType.POLICY_VERDICT && notification.audited ? undefined : notification.reason;
}

function reasonName(notification: PacketNotification): string | undefined {
  const reason = reasonNumber(notification);
  return reason === undefined ? undefined : reasonOf(reason).name;
}

/** `decodeSecurityIdentities`: of a verdict, only the peer's. */
function labelsOf(notification: PacketNotification): readonly [source: number, destination: number] {
  if (notification.type !== MessageType.POLICY_VERDICT)
    return [notification.sourceLabel, notification.destinationLabel];
  return notification.direction === 'ingress' ? [notification.remoteLabel, 0] : [0, notification.remoteLabel];
}

/** `decodeIsReply`: undefined where it is not known. */
function isReply(notification: PacketNotification): boolean | undefined {
  switch (notification.type) {
    case MessageType.TRACE:
      return notification.reason === TRACE_REASON_UNKNOWN ? undefined : notification.reason === REPLY;
    case MessageType.POLICY_VERDICT:
      return reasonNumber(notification) === undefined ? false : undefined;
    case MessageType.DROP:
      return undefined;
  }
}

/**
 * `decodeTrafficDirection`, for whichever end has its endpoint on this node. Every packet that is handed to a pod names its
 * original source, and counts as EGRESS for that: so it is in Hubble.
 */
function directionOf(notification: PacketNotification, sourceEndpoint: number): 'INGRESS' | 'EGRESS' | undefined {
  const { source } = notification;
  switch (notification.type) {
    case MessageType.POLICY_VERDICT:
      return notification.direction === 'ingress' ? 'INGRESS' : 'EGRESS';
    case MessageType.DROP:
      return source === 0 ? undefined : source === sourceEndpoint ? 'EGRESS' : 'INGRESS';
    case MessageType.TRACE: {
      if (source === 0 || notification.reason === TRACE_REASON_UNKNOWN) return undefined;
      const sends = source === sourceEndpoint;
      return sends !== (notification.reason === REPLY) || notification.originalSource !== null ? 'EGRESS' : 'INGRESS';
    }
  }
}

/** The number of what is told: a point, a reason, or none. A verdict has its match in a field of its own. */
const subType = (notification: PacketNotification): number =>
  notification.type === MessageType.TRACE
    ? notification.point
    : notification.type === MessageType.DROP
      ? notification.reason
      : 0;

type TraceFields = Pick<Flow, 'policy_match_type' | 'trace_observation_point' | 'trace_reason' | 'proxy_port'>;

function ofTrace(notification: PacketNotification): TraceFields {
  if (notification.type === MessageType.POLICY_VERDICT) return { policy_match_type: notification.match || undefined };
  if (notification.type === MessageType.DROP) return {};
  const { point, reason, destination } = notification;
  return {
    trace_observation_point: POINT_NAMES[point].toUpperCase().replace('-', '_'),
    trace_reason: TRACE_REASONS[reason],
    proxy_port: point === TracePoint.TO_PROXY ? destination || undefined : undefined,
  };
}

const tunnelOf = ({ packet: { tunnel } }: PacketNotification): FlowTunnel | undefined =>
  tunnel
    ? {
        protocol: tunnel.protocol,
        IP: tunnel.ip ? ipOf(tunnel.ip, null) : undefined,
        l4: l4Of(tunnel.l4),
        vni: tunnel.vni || undefined,
      }
    : undefined;

/** With a source before translation, that one is the source, and the one on the wire is what it was translated to. */
function ipOf({ version, source, destination }: IpLayer, original: string | null): FlowIp {
  const translated = original !== null && original !== source;
  return {
    source: translated ? original : source,
    source_xlated: translated ? source : undefined,
    destination,
    ipVersion: version === 4 ? 'IPv4' : 'IPv6',
  };
}

/** Enum `flow.SCTPChunkType`, by the numbers of RFC 9260 section 3.2; the others are not told apart. */
const CHUNKS: Readonly<Record<number, string>> = {
  1: 'INIT',
  2: 'INIT_ACK',
  6: 'ABORT',
  7: 'SHUTDOWN',
  8: 'SHUTDOWN_ACK',
  14: 'SHUTDOWN_COMPLETE',
};

function l4Of(l4: L4Layer | null): FlowL4 | undefined {
  if (!l4) return undefined;
  if (isIcmp(l4)) return { [l4.kind]: { type: l4.type || undefined, code: l4.code || undefined } };
  const ports = { source_port: l4.sourcePort || undefined, destination_port: l4.destinationPort || undefined };
  if (l4.kind === 'UDP') return { UDP: ports };
  if (l4.kind === 'SCTP') return { SCTP: { ...ports, chunk_type: CHUNKS[l4.chunk] } };
  return { TCP: { ...ports, flags: Object.fromEntries(l4.flags.map((flag) => [flag, true as const])) } };
}

/** Hubble's order of TCP flags in a summary. */
const SUMMARY_FLAGS = ['SYN', 'ACK', 'RST', 'FIN', 'PSH', 'URG', 'ECE', 'CWR'] as const;

function summaryOf({ packet: { ethernet, ip, l4 } }: PacketNotification): string | undefined {
  if (l4?.kind === 'TCP') return `TCP Flags: ${SUMMARY_FLAGS.filter((flag) => l4.flags.includes(flag)).join(', ')}`;
  if (l4 && isIcmp(l4)) return `${l4.kind} ${icmpText(l4)}`;
  return l4?.kind ?? (ip ? `IPv${ip.version}` : ethernet ? 'Ethernet' : undefined);
}

/** Types of ICMP messages by name, as Hubble writes them; another one by its numbers. RFC 792, RFC 4443. */
const ICMP_NAMES: Readonly<Record<string, string>> = {
  'ICMPv4 0': 'EchoReply',
  'ICMPv4 8': 'EchoRequest',
  'ICMPv6 128': 'EchoRequest',
  'ICMPv6 129': 'EchoReply',
};

export const icmpText = ({ kind, type, code }: IcmpLayer): string =>
  ICMP_NAMES[`${kind} ${type}`] ?? `${type}(${code})`;

const portsOf = (l4: L4Layer | null): readonly [number, number] =>
  l4 && !isIcmp(l4) ? [l4.sourcePort, l4.destinationPort] : [0, 0];

/** Who has an address, as the agent of one node knows it. */
interface Viewpoint {
  readonly state: State;
  /** The node's number. */
  readonly node: number;
}

/** `ResolveEndpoint`: the number and the workload only of the node's own pods; the identity is the datapath's, where it knew one. */
function endpointOf({ state, node }: Viewpoint, ip: string | null, label: number): FlowEndpoint {
  const address = ip === null ? null : parseAddress(ip);
  const pod = address === null ? null : podAt(state, address);
  if (pod) {
    const identity = label || (identityOf(state, pod)?.number ?? ReservedIdentity.UNKNOWN);
    const isLocal = pod.node.index === node;
    const labels = isLocal ? podLabels(state, pod) : identityLabels(state, identity);
    return {
      ID: isLocal ? state.desired.endpointIds.get(pod) : undefined,
      identity,
      cluster_name: CLUSTER,
      namespace: pod.namespace,
      labels,
      pod_name: pod.name,
      workloads: isLocal ? [{ name: pod.workload.name, kind: pod.workload.kind }] : undefined,
    };
  }
  const owner = address === null ? undefined : state.cluster.nodes.find((candidate) => candidate.address === address);
  const known = owner
    ? owner.index === node
      ? ReservedIdentity.HOST
      : ReservedIdentity.REMOTE_NODE
    : address === null
      ? ReservedIdentity.UNKNOWN
      : identityAt(state, address);
  const identity = label || known;
  return { identity, labels: identityLabels(state, identity) };
}

/** A pod's labels as its identity has them, with their source. The service account is not known here. */
function podLabels({ cluster }: State, { namespace, labels }: ClusterPod): string[] {
  const ofNamespace = cluster.namespaces.get(namespace)?.labels ?? new Map<string, string>();
  return [
    ...[...labels].filter(([key]) => isIdentityLabel(key)).map(([key, value]) => `k8s:${key}=${value}`),
    ...[...ofNamespace].map(([key, value]) => `k8s:io.cilium.k8s.namespace.labels.${key}=${value}`),
    `k8s:io.cilium.k8s.policy.cluster=${CLUSTER}`,
    `k8s:io.kubernetes.pod.namespace=${namespace}`,
  ].sort(compare);
}

function identityLabels(state: State, number: number): string[] | undefined {
  const reserved = RESERVED_NAMES[number as ReservedIdentity] as string | undefined;
  if (reserved !== undefined) return number === 0 ? undefined : [`reserved:${reserved}`];
  const pods = state.identities.pods.find((identity) => identity.number === number);
  if (pods) return podLabels(state, pods.example);
  const prefix = state.identities.prefixes.find((identity) => identity.number === number);
  return prefix && [`cidr:${formatPrefix(prefix.prefix)}`, 'reserved:world'];
}

const services = new WeakMap<State, ReadonlyMap<string, FlowService>>();

/** The Service that listens at an address and port, whatever the protocol. */
function serviceAt(state: State, ip: string | undefined, port: number): FlowService | undefined {
  let known = services.get(state);
  if (!known) {
    known = new Map(
      state.desired.frontends.flatMap(({ address, number, service }) =>
        service
          ? [[`${formatAddress(address)} ${number}`, { name: service.name, namespace: service.namespace }] as const]
          : [],
      ),
    );
    services.set(state, known);
  }
  return known.get(`${ip} ${port}`);
}

type PolicyFields = Pick<Flow, 'egress_allowed_by' | 'ingress_allowed_by' | 'egress_denied_by' | 'ingress_denied_by'>;

/** `CorrelatePolicy`: who let it through, or who denied it by a rule; that no rule matched is nobody's doing. */
function policiesOf(notification: PacketNotification): PolicyFields {
  if (notification.type !== MessageType.POLICY_VERDICT || notification.audited) return {};
  const { direction, reason } = notification;
  const policies = policyList(notification);
  if (reason === DropReason.POLICY_DENY) return { [`${direction}_denied_by`]: policies };
  return reason === 0 ? { [`${direction}_allowed_by`]: policies } : {};
}

/** Cilium's own rule that a pod's node always reaches it has a label instead of a policy. */
function policyList({ direction, rules }: PolicyVerdictNotification): FlowPolicy[] {
  if (rules.length === 0) return [{ labels: [`reserved:io.cilium.policy.derived-from=allow-${LOCAL[direction]}`] }];
  const policies = new Map(rules.map((rule) => [`${rule.kind} ${rule.namespace}/${rule.name}`, policyOfRule(rule)]));
  return [...policies.values()];
}

const LOCAL = { ingress: 'localhost-ingress', egress: 'any-egress' } as const;

const policyOfRule = ({ kind, namespace, name }: RuleOrigin): FlowPolicy => ({
  name,
  namespace,
  labels: [
    `k8s:io.cilium.k8s.policy.derived-from=${kind}`,
    `k8s:io.cilium.k8s.policy.name=${name}`,
    `k8s:io.cilium.k8s.policy.namespace=${namespace}`,
  ],
  kind,
});
