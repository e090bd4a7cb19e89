/** The policy's decision. Cilium `bpf/lib/policy.h`, `__policy_can_access`. */
import type { Loaded, PolicyRow } from './tables.js';
import type { Journey } from './journey.js';
import { DROP, FRAGMENTATION_NEEDED, ICMP, IN, OUT, PROTOCOL } from './numbers.js';
import { isIcmp, type Packet } from './packet.js';

const PROTOCOL_BITS = 8;

function matches(row: PolicyRow, protocol: number, port: number): boolean {
  if (row.length < PROTOCOL_BITS) return true;
  const free = 16 - (row.length - PROTOCOL_BITS);
  return row.protocol === protocol && row.port >>> free === port >>> free;
}

function best(rows: readonly PolicyRow[], identity: number, protocol: number, port: number): PolicyRow | undefined {
  let found: PolicyRow | undefined;
  for (const row of rows)
    if (row.identity === identity && (!found || row.length > found.length) && matches(row, protocol, port)) found = row;
  return found;
}

/** The row that decides: one that denies, then the higher priority, then the longer prefix, then the one for the identity. */
function decisive(own: PolicyRow, any: PolicyRow): PolicyRow {
  if (own.deny || any.deny) return own.deny ? own : any;
  if (own.priority !== any.priority) return own.priority > any.priority ? own : any;
  return any.length > own.length ? any : own;
}

export interface Decision {
  /** 0, or the reason for which the packet is dropped. */
  readonly reason: number;
  /** That of the proxy which decides further; 0 for none. */
  readonly proxyPort: number;
}

export const PASSED: Decision = { reason: 0, proxyPort: 0 };

export const refused = (reason: number): Decision => ({ reason, proxyPort: 0 });

/** Whose policy is asked, in which direction, and about whom. */
export interface Question {
  readonly policy: number;
  readonly isEgress: boolean;
  readonly local: number;
  readonly peer: number;
}

/** The policy's decision. Where policies are only tried out, what they refuse passes, and is told (`POLICY_AUDIT_MODE`). */
export function decide(journey: Journey, packet: Packet, question: Question): Decision {
  const { audit } = journey.tables.config;
  const [decision, authType] = answer(journey.tables, packet, question);
  const reason =
    decision.reason !== 0 || authType === 0
      ? decision.reason
      : audit
        ? DROP.authRequired
        : authenticated(journey, packet, question, authType);
  if (reason === 0) return decision;
  if (!audit) return refused(reason);
  journey.audited = reason | ((question.isEgress ? OUT : IN) << 8);
  return { ...decision, reason: 0 };
}

/** Before anybody asks who has authenticated how, which is the second. */
function answer(tables: Loaded, packet: Packet, { policy, isEgress, peer }: Question): readonly [Decision, number] {
  const { flow, icmpType, icmpCode } = packet;
  const { protocol } = flow;
  // What path MTU discovery lives on passes every policy (`allow-icmp-frag-needed`).
  if (protocol === PROTOCOL.icmp && icmpType === ICMP.unreachable && icmpCode === FRAGMENTATION_NEEDED)
    return [PASSED, 0];
  const port = isIcmp(packet) ? icmpType : flow.destinationPort;
  const rows = tables.policyOf(policy, isEgress);
  const own = best(rows, peer, protocol, port);
  const any = best(rows, 0, protocol, port);
  const row = own && any ? decisive(own, any) : (own ?? any);
  if (!row) {
    const untracked = packet.piece !== 'whole' && !tables.config.trackFragments;
    return [refused(untracked ? DROP.fragmentsNotSupported : DROP.policyDenied), 0];
  }
  if (row.deny) return [refused(DROP.policyDeny), 0];
  return [{ reason: 0, proxyPort: row.proxyPort }, authTypeOf(row, row === own ? any : own)];
}

/** The stricter of both, unless the row that decides says how itself (`__policy_check`). */
function authTypeOf(row: PolicyRow, other: PolicyRow | undefined): number {
  if (row.auth.isExplicit || !other) return row.auth.type;
  return Math.max(row.auth.type, other.auth.type);
}

/** 0 where both ends have authenticated so and it still holds, or the reason for which the packet is dropped (`auth_lookup`). */
function authenticated({ tables, state, node }: Journey, { flow }: Packet, question: Question, type: number): number {
  const { isEgress, local, peer } = question;
  const remote = tables.remoteAt(isEgress ? flow.destination : flow.source);
  if (!remote && !isEgress) return DROP.authRequired;
  const on = remote?.tunnelEndpoint ? tables.nodeAt(remote.tunnelEndpoint) : node;
  if (on === 0) return DROP.noNodeId;
  const found = tables.authenticatedAs(node, local, peer, on === node ? 0 : on, type);
  return found && state.clock < found.expiration ? 0 : DROP.authRequired;
}
