/** Flows as `hubble observe -o compact` prints them. Cilium `hubble/pkg/printer`, v1.19. */
import type { Flow, FlowEndpoint, FlowL4, FlowService } from '../answers/flows.js';
import { MessageType } from '../answers/notifications.js';
import { RESERVED_NAMES } from '../answers/identity-name.js';
import { MATCH_NAMES, POINT_NAMES, reasonOf, XLATE_NAMES } from '../reasons.js';
import { hostPort } from './host-port.js';

export const hubbleCompact = (flows: readonly Flow[]): string => flows.map((flow) => `${line(flow)}\n`).join('');

function line(flow: Flow): string {
  const source = [
    host(flow.IP?.source ?? flow.ethernet?.source, flow.source, flow.source_service, portsOf(flow.l4)[0]),
    identity(flow.source.identity),
  ];
  const destination = [
    host(
      flow.IP?.destination ?? flow.ethernet?.destination,
      flow.destination,
      flow.destination_service,
      portsOf(flow.l4)[1],
    ),
    identity(flow.destination.identity),
  ];
  // The client stands on the left.
  const ends = flow.is_reply
    ? [...destination, '<-', ...source]
    : [...source, flow.is_reply === undefined ? '<>' : '->', ...destination];
  return `${stamp(flow.time)}: ${ends.join(' ')} ${typeOf(flow)} ${verdictOf(flow)} (${flow.Summary ?? ''})`;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `Jan  1 00:00:00.000`. */
function stamp(time: string): string {
  const [, month, day, clock] = /^\d+-(\d\d)-(\d\d)T(.*)Z$/.exec(time) ?? [];
  return `${MONTHS[Number(month) - 1]} ${String(Number(day)).padStart(2)} ${clock}`;
}

function host(
  address = '',
  { namespace, pod_name: pod }: FlowEndpoint,
  service: FlowService | undefined,
  port = 0,
): string {
  const within = service?.namespace ?? namespace ?? '';
  const name = pod ?? service?.name;
  return hostPort(name === undefined ? address : `${within}/${name}`, port);
}

function identity(number: number): string {
  const name = (RESERVED_NAMES as Readonly<Record<number, string>>)[number];
  return name === undefined ? `(ID:${number})` : `(${name})`;
}

function portsOf(l4: FlowL4 | undefined): readonly [source?: number, destination?: number] {
  const { source_port: source, destination_port: destination } = l4?.TCP ?? l4?.UDP ?? l4?.SCTP ?? {};
  return [source ?? 0, destination ?? 0];
}

function typeOf({
  event_type: { type, sub_type: subType = 0 },
  policy_match_type: match = 0,
  traffic_direction: direction,
}: Flow): string {
  if (type === MessageType.TRACE) return POINT_NAMES[subType as keyof typeof POINT_NAMES];
  if (type === MessageType.TRACE_SOCK) return XLATE_NAMES[subType as keyof typeof XLATE_NAMES];
  if (type === MessageType.DROP) return reasonOf(subType).text;
  return `policy-verdict:${MATCH_NAMES[match as keyof typeof MATCH_NAMES]} ${direction}`;
}

function verdictOf({ verdict, event_type: { type } }: Flow): string {
  if (type !== MessageType.POLICY_VERDICT) return verdict;
  if (verdict === 'AUDIT') return 'AUDITED';
  return verdict === 'DROPPED' ? 'DENIED' : 'ALLOWED';
}
