/** Notifications as `cilium monitor` prints them, under the node whose agent would. Cilium `pkg/monitor`, v1.19. */
import { TracePoint } from '../../assembly/abi.js';
import { icmpText } from '../answers/flows.js';
import { RESERVED_NAMES } from '../answers/identity-name.js';
import {
  MessageType,
  TRACE_REASON_UNKNOWN,
  type DropNotification,
  type Notification,
  type PolicyVerdictNotification,
  type TraceNotification,
  type TraceReason,
  type TraceSockNotification,
} from '../answers/notifications.js';
import { isIcmp, type Dissected, type Packet } from '../dissect.js';
import { MATCH_NAMES, reasonOf, XLATE_NAMES } from '../reasons.js';
import { hostPort } from './host-port.js';

export function monitorText(notifications: readonly Notification[]): string {
  let node = '';
  const lines = notifications.flatMap((notification) => {
    const heading = notification.node.name === node ? [] : [`# ${notification.node.name}`];
    node = notification.node.name;
    return [...heading, line(notification)];
  });
  return lines.map((text) => `${text}\n`).join('');
}

function line(notification: Notification): string {
  if (notification.type === MessageType.TRACE_SOCK) return socketLine(notification);
  const text =
    notification.type === MessageType.TRACE
      ? traceLine(notification)
      : notification.type === MessageType.DROP
        ? dropLine(notification)
        : verdictLine(notification);
  return `${text}${connection(notification.packet)}`;
}

const REASONS: Readonly<Record<TraceReason, string>> = {
  0: 'new',
  1: 'established',
  2: 'reply',
  3: 'related',
  [TRACE_REASON_UNKNOWN]: 'unknown',
};

function traceLine(notification: TraceNotification): string {
  const { hash, sourceLabel, destinationLabel, reason, originalSource, packet } = notification;
  const none = packet.ip?.version === 6 ? '::' : '0.0.0.0';
  return `${summary(notification)} flow ${hex(hash)} , identity ${identity(sourceLabel)}->${identity(destinationLabel)} state ${REASONS[reason]} ifindex 0 orig-ip ${originalSource ?? none}: `;
}

function summary({ point, source, destination }: TraceNotification): string {
  switch (point) {
    case TracePoint.TO_LXC:
      return `-> endpoint ${destination}`;
    case TracePoint.TO_PROXY:
      return `-> proxy port ${destination}`;
    case TracePoint.TO_HOST:
      return '-> host from';
    case TracePoint.TO_STACK:
      return '-> stack';
    case TracePoint.TO_OVERLAY:
      return '-> overlay';
    case TracePoint.TO_NETWORK:
      return '-> network';
    case TracePoint.FROM_LXC:
      return `<- endpoint ${source}`;
    case TracePoint.FROM_PROXY:
      return '<- proxy';
    case TracePoint.FROM_HOST:
      return '<- host';
    case TracePoint.FROM_STACK:
      return '<- stack';
    case TracePoint.FROM_OVERLAY:
      return '<- overlay';
    case TracePoint.FROM_NETWORK:
      return '<- network';
    case TracePoint.FROM_CRYPTO:
      return '<- crypto';
    case TracePoint.TO_CRYPTO:
      return '-> crypto';
  }
}

/** Line 0: what ran here is not the file's own text. */
const dropLine = ({ reason, hash, destination, file, sourceLabel, destinationLabel }: DropNotification): string =>
  `xx drop (${reasonOf(reason).text}) flow ${hex(hash)} to endpoint ${destination}, ifindex 0, file ${file}:0, , identity ${identity(sourceLabel)}->${identity(destinationLabel)}: `;

/** Cilium `pkg/policy`, `AuthType`. */
const AUTH_TYPES = ['disabled', 'spire', 'test-always-fail'] as const;

function verdictLine({
  hash,
  source,
  remoteLabel,
  packet,
  direction,
  reason,
  match,
  audited,
  redirected,
  authType,
}: PolicyVerdictNotification): string {
  const action = audited ? 'audit' : redirected ? 'redirect' : reason === 0 ? 'allow' : 'deny';
  return `Policy verdict log: flow ${hex(hash)} local EP ID ${source}, remote ID ${identity(remoteLabel)}, proto ${packet.ip?.protocol ?? 0}, ${direction}, action ${action}, auth: ${AUTH_TYPES[authType] ?? authType}, match ${MATCH_NAMES[match]}, `;
}

/** The processes of which the kernel's control group is: what no manifest says. */
const CGROUP = 0;

function socketLine({ point, cookie, peer, packet }: TraceSockNotification): string {
  const protocol = packet.l4?.kind === 'UDP' ? 'udp' : 'tcp';
  return `[${XLATE_NAMES[point]}] cgroup_id: ${CGROUP} sock_cookie: ${cookie}, dst [${peer.ip}]:${peer.port} ${protocol}`;
}

const hex = (number: number): string => `0x${number.toString(16)}`;

const identity = (number: number): string =>
  (RESERVED_NAMES as Readonly<Record<number, string>>)[number] ?? `${number}`;

/** `GetConnectionSummary`. */
function connection(packet: Dissected): string {
  const { ethernet, tunnel } = packet;
  if (!packet.ip)
    return ethernet ? `${ethernet.source} -> ${ethernet.destination} ${etherType(ethernet.type)}` : '[unknown]';
  if (!tunnel?.ip || !tunnel.l4) return ends(packet);
  return `${ends(packet)} [tunnel ${ends(tunnel).replace(/ udp$/, '')} ${tunnel.protocol.toLowerCase()}]`;
}

/** The flags that the monitor names, in its order. */
const FLAGS = ['SYN', 'ACK', 'RST', 'FIN'] as const;

function ends({ ip, l4 }: Packet): string {
  const source = ip?.source ?? '';
  const destination = ip?.destination ?? '';
  if (!l4) return `${source} -> ${destination}`;
  if (isIcmp(l4)) return `${source} -> ${destination} ${icmpText(l4)}`;
  const flags = l4.kind === 'TCP' ? ` ${FLAGS.filter((flag) => l4.flags.includes(flag)).join(', ')}` : '';
  return `${hostPort(source, l4.sourcePort)} -> ${hostPort(destination, l4.destinationPort)} ${l4.kind.toLowerCase()}${flags}`;
}

/** EtherTypes by name. IANA ieee-802-numbers. */
const ETHER_TYPES: Readonly<Record<number, string>> = {
  0x0800: 'IPv4',
  0x0806: 'ARP',
  0x8100: 'Dot1Q',
  0x86dd: 'IPv6',
};

const etherType = (type: number): string => ETHER_TYPES[type] ?? `0x${type.toString(16).padStart(4, '0')}`;
