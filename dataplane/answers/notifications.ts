/**
 * What Cilium's programs tell of a packet: trace, drop and policy verdict notifications, as its agent reads them from
 * cilium_events with monitor aggregation off. `cilium monitor` prints them, and Hubble makes flows of them. Cilium
 * `bpf/lib/trace.h`, `drop.h`, `policy_log.h`.
 */
import {
  CtDirection,
  CtStatus,
  DropReason,
  EventType,
  MapId,
  PolicyMatch,
  Program,
  Step,
  TracePoint,
  type XlatePoint,
} from '../../assembly/abi.js';
import { dissect, isIcmp, type Dissected } from '../dissect.js';
import { hashOf } from '../hash.js';
import { pairOf } from '../loader/families.js';
import { SCHEMAS } from '../loader/present.js';
import type { Direction, RuleOrigin } from '../policy/rules.js';
import { MAP_NAMES, POINT_NAMES } from '../reasons.js';
import { policyOf, type State } from '../state.js';
import type { Recording } from './probe.js';
import { decidedIn, recordsOf, tupleText, type Recorded, type TraceRecord } from './records.js';

/** Cilium `pkg/monitor/api`, `MessageType*`. */
export const enum MessageType {
  DROP = 1,
  TRACE = 4,
  POLICY_VERDICT = 5,
  TRACE_SOCK = 7,
}

/** Cilium `enum trace_reason`: a `CtStatus`, or this where connection tracking was not asked yet. */
export const TRACE_REASON_UNKNOWN = 5;
export type TraceReason = CtStatus | typeof TRACE_REASON_UNKNOWN;

interface Common {
  /** The node whose agent reads it. */
  readonly node: { readonly index: number; readonly name: string };
  /** The endpoint whose program tells it; 0 for none. */
  readonly source: number;
  readonly packet: Dissected;
  /** Of the flow, the same for both directions. */
  readonly hash: number;
}

export interface TraceNotification extends Common {
  readonly type: MessageType.TRACE;
  readonly point: TracePoint;
  readonly reason: TraceReason;
  readonly sourceLabel: number;
  readonly destinationLabel: number;
  /** The endpoint it is handed to; 0 for none. */
  readonly destination: number;
  /** The source before this program translated it. Cilium `orig_ip4`. */
  readonly originalSource: string | null;
}

export interface DropNotification extends Common {
  readonly type: MessageType.DROP;
  readonly reason: DropReason;
  readonly sourceLabel: number;
  readonly destinationLabel: number;
  /** The endpoint it was for; 0 for what an endpoint sent. */
  readonly destination: number;
  /** The source file of Cilium's that holds this program. */
  readonly file: string;
}

export interface PolicyVerdictNotification extends Common {
  readonly type: MessageType.POLICY_VERDICT;
  readonly direction: Direction;
  readonly remoteLabel: number;
  /** 0, or why it was refused. */
  readonly reason: DropReason | 0;
  readonly match: PolicyMatch;
  /** It passed in spite of the reason. */
  readonly audited: boolean;
  /** It goes to a proxy. */
  readonly redirected: boolean;
  /** How both ends must have authenticated (`policy.AuthType`); 0 for not at all. */
  readonly authType: number;
  /** The rules behind the entry that decided; none where no entry did, or one that no policy put there. */
  readonly rules: readonly RuleOrigin[];
}

/** A socket's address, before or after it was translated. */
export interface TraceSockNotification extends Common {
  readonly type: MessageType.TRACE_SOCK;
  readonly point: XlatePoint;
  /** Whom the socket speaks to, as far as it has been told. */
  readonly peer: { readonly ip: string; readonly port: number };
  /** The address of the socket's own end. */
  readonly own: string;
  /** The kernel's number of the socket: here that of its key in cilium_lb4_reverse_sk; 0 for one without. */
  readonly cookie: bigint;
}

export type Notification = TraceNotification | DropNotification | PolicyVerdictNotification | TraceSockNotification;

/**
 * Stands for the number that an agent gives its node's own endpoint, which programs on the node's devices name as their
 * source. It is shown in verdicts of the node's firewall alone. Cilium `TEMPLATE_HOST_EP_ID`.
 */
const HOST_ENDPOINT = 0xffff;

/** Programs by the endpoint they name as the source (`EVENT_SOURCE`), and the file that holds them. */
const PROGRAMS: Readonly<Record<number, { readonly file: string; readonly source: 'endpoint' | 'host' | 'none' }>> = {
  [Program.FROM_CONTAINER]: { file: 'bpf_lxc.c', source: 'endpoint' },
  [Program.LXC_POLICY]: { file: 'bpf_lxc.c', source: 'endpoint' },
  [Program.FROM_NETDEV]: { file: 'bpf_host.c', source: 'host' },
  [Program.TO_NETDEV]: { file: 'bpf_host.c', source: 'host' },
  [Program.FROM_HOST]: { file: 'bpf_host.c', source: 'host' },
  [Program.FROM_PROXY]: { file: 'bpf_host.c', source: 'host' },
  [Program.TO_HOST]: { file: 'bpf_host.c', source: 'host' },
  [Program.FROM_OVERLAY]: { file: 'bpf_overlay.c', source: 'none' },
  [Program.TO_WIREGUARD]: { file: 'bpf_wireguard.c', source: 'none' },
  [Program.FROM_WIREGUARD]: { file: 'bpf_wireguard.c', source: 'none' },
};
const NO_PROGRAM = { file: 'unknown', source: 'none' } as const;

/** Points at which a packet enters a node or leaves a pod: neither its connection nor whom it is for was asked yet. */
const ENTRANCES: ReadonlySet<number> = new Set([
  TracePoint.FROM_LXC,
  TracePoint.FROM_HOST,
  TracePoint.FROM_NETWORK,
  TracePoint.FROM_OVERLAY,
  TracePoint.FROM_PROXY,
]);

/** Places where a datagram to the tunnel's port is the tunnel's. */
const UNDERLAY: ReadonlySet<number> = new Set([
  Program.FROM_NETDEV,
  Program.TO_NETDEV,
  Program.FROM_OVERLAY,
  Program.TO_WIREGUARD,
  Program.FROM_WIREGUARD,
]);

/** What is known of a packet between two notifications. */
interface Way {
  /** Whether connection tracking was asked since the packet entered here. */
  readonly tracked: boolean;
  /** The source at the program's start, and before the node's own address took its place; null for none. */
  readonly arrived: string;
  readonly beforeNat: string | null;
  readonly program: number;
}

/** Everything that one packet's recording makes Cilium tell, in order. */
export function notificationsOf(state: State, { events }: Pick<Recording, 'events'>): Notification[] {
  let way: Way = { tracked: false, arrived: '', beforeNat: null, program: 0 };
  let source = '';
  const records = recordsOf(events);
  const cookie = cookieOf(records);
  return records.flatMap((recorded) => {
    const { record } = recorded;
    if (record.type === (EventType.TRACE_SOCK as number)) return socketOf(state, recorded, cookie);
    // A socket that gets no address has no packet to tell of.
    if (record.program === (Program.SOCK_CONNECT as number)) return [];
    const now = tupleText(record).source;
    const entered = ENTRANCES.has(record.point);
    way = {
      tracked: (way.tracked && !entered) || record.step === Step.CT || recorded.lookups.some(isConnection),
      arrived: record.program === way.program ? way.arrived : now,
      beforeNat: entered ? null : record.step === Step.NAT ? source : way.beforeNat,
      program: record.program,
    };
    source = now;
    return notificationOf(state, recorded, way) ?? [];
  });
}

/** The socket whose packets these are: one that a Service was translated for. */
function cookieOf(records: readonly Recorded[]): bigint {
  for (const { lookups } of records)
    for (const { map, key } of lookups)
      if (pairOf(map) === MapId.LB4_REVERSE_SK) return BigInt(String(SCHEMAS[map].key(key)['cookie']));
  return 0n;
}

function socketOf(state: State, recorded: Recorded, cookie: bigint): TraceSockNotification {
  const { record } = recorded;
  const { source, sourcePort, destination, destinationPort } = tupleText(record);
  const forward = record.program === (Program.SOCK_CONNECT as number);
  return {
    ...commonOf(state, recorded),
    type: MessageType.TRACE_SOCK,
    point: record.point,
    peer: forward ? { ip: destination, port: destinationPort } : { ip: source, port: sourcePort },
    own: forward ? source : destination,
    cookie,
  };
}

/** Whether a look-up asked for the packet's connection; not for the Service's memory of its backend. */
const isConnection = ({ map, key }: Recorded['lookups'][number]): boolean =>
  MAP_NAMES[map].startsWith('cilium_ct') && SCHEMAS[map].key(key)['flags'] !== CtDirection.SERVICE;

function notificationOf(state: State, recorded: Recorded, way: Way): Notification | null {
  const { record } = recorded;
  const common = commonOf(state, recorded);
  const entered = ENTRANCES.has(record.point);
  const labels = { sourceLabel: record.sourceIdentity, destinationLabel: entered ? 0 : record.destinationIdentity };
  const handed = record.program === Program.LXC_POLICY ? record.endpoint : 0;
  if (record.step === Step.DROP) {
    const { file } = PROGRAMS[record.program] ?? NO_PROGRAM;
    return { ...common, ...labels, type: MessageType.DROP, reason: record.info, destination: handed, file };
  }
  if (record.step === Step.POLICY) return verdictOf(state, recorded, common);
  if (!(record.point in POINT_NAMES)) return null;
  const toProxy = record.point === (TracePoint.TO_PROXY as number);
  const underlay = record.point === TracePoint.TO_NETWORK && common.packet.tunnel !== null;
  return {
    ...common,
    ...labels,
    // On its way out, nobody has said yet whom it is for.
    ...(toProxy && handed === 0 ? { destinationLabel: 0 } : {}),
    type: MessageType.TRACE,
    point: record.point,
    reason: way.tracked && !underlay && !entered ? record.ctStatus : TRACE_REASON_UNKNOWN,
    destination: toProxy ? record.info : handed,
    originalSource: originalSource(record, way, underlay),
  };
}

/** A pod's own program tells the source as it came; the network device's, where it gave the node's address. */
function originalSource(
  { point, program }: TraceRecord,
  { arrived, beforeNat }: Way,
  underlay: boolean,
): string | null {
  if (program === Program.LXC_POLICY && (point === TracePoint.TO_LXC || point === TracePoint.TO_PROXY)) return arrived;
  return point === TracePoint.TO_NETWORK && !underlay ? beforeNat : null;
}

function commonOf(state: State, { record, frame }: Recorded): Common {
  const { source } = PROGRAMS[record.program] ?? NO_PROGRAM;
  // What goes into the tunnel is told before the outer headers are on.
  const packet = dissect(frame, UNDERLAY.has(record.program) || record.point === TracePoint.TO_OVERLAY);
  return {
    node: {
      index: record.node,
      name: state.cluster.nodes.find(({ index }) => index === record.node)?.name ?? '',
    },
    source: source === 'endpoint' ? record.endpoint : source === 'host' ? HOST_ENDPOINT : 0,
    packet: record.point === TracePoint.TO_OVERLAY ? { ...packet, tunnel: null } : packet,
    hash: flowHash(packet),
  };
}

/**
 * A verdict is told when it refuses (or would), or when it lets the first packet of a connection through, and only of an endpoint that
 * a policy isolates in this direction (`POLICY_VERDICT_LOG_FILTER`).
 */
function verdictOf(state: State, { record, lookups }: Recorded, common: Common): PolicyVerdictNotification | null {
  const { match, direction, reason, audited, redirected } = decidedIn(record)!;
  const egress = direction === 'egress';
  const pod = state.desired.endpointIds.podOf(record.endpoint);
  const isolated = pod ? (policyOf(state, pod)?.isolatedBy[direction] ?? []).length > 0 : true;
  if (!isolated || (reason === 0 && record.ctStatus !== CtStatus.NEW)) return null;
  const [specific, wildcard] = lookups.filter(({ map }) => map === MapId.POLICY);
  const decisive = BY_IDENTITY.has(match) ? specific : wildcard;
  const asked = lookups.find(({ map }) => map === MapId.AUTH);
  const entry = match === PolicyMatch.NONE || !decisive ? null : state.loader.entry(MapId.POLICY, decisive.key);
  return {
    ...common,
    type: MessageType.POLICY_VERDICT,
    direction,
    remoteLabel: egress ? record.destinationIdentity : record.sourceIdentity,
    reason,
    match,
    audited,
    redirected,
    authType: asked ? Number(SCHEMAS[MapId.AUTH].key(asked.key)['authType']) : 0,
    rules: entry?.grants?.map(({ origin }) => origin) ?? [],
  };
}

/** Matches of the entry for the peer's identity; the others are of the entry for any. */
const BY_IDENTITY: ReadonlySet<PolicyMatch> = new Set([PolicyMatch.L3_ONLY, PolicyMatch.L3_L4, PolicyMatch.L3_PROTO]);

/** In place of the kernel's hash of the packet, which is drawn anew at each boot: one that is always the same. */
function flowHash({ ip, l4 }: Dissected): number {
  if (!ip) return 0;
  const ports = l4 && !isIcmp(l4) ? [l4.sourcePort, l4.destinationPort] : [0, 0];
  const ends = [`${ip.source} ${ports[0]}`, `${ip.destination} ${ports[1]}`].sort();
  return hashOf(`${ends.join(' ')} ${ip.protocol}`);
}
