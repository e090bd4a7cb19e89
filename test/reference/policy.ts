/** The policy's decision. Cilium `bpf/lib/policy.h`, `__policy_can_access`. */
import type { Loaded, PolicyRow } from './tables.js';
import { DROP, FRAGMENTATION_NEEDED, ICMP, PROTOCOL } from './numbers.js';
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

/** 0, or the reason for which the packet is dropped. */
export function decide(tables: Loaded, packet: Packet, policy: number, identity: number, egress: boolean): number {
  const { flow, icmpType, icmpCode } = packet;
  const { protocol } = flow;
  // What path MTU discovery lives on passes every policy (`allow-icmp-frag-needed`).
  if (protocol === PROTOCOL.icmp && icmpType === ICMP.unreachable && icmpCode === FRAGMENTATION_NEEDED) return 0;
  const port = isIcmp(packet) ? icmpType : flow.destinationPort;
  const rows = tables.policyOf(policy, egress);
  const own = best(rows, identity, protocol, port);
  const any = best(rows, 0, protocol, port);
  const row = own && any ? decisive(own, any) : (own ?? any);
  if (!row) {
    const untracked = packet.piece !== 'whole' && !tables.config.trackFragments;
    return untracked ? DROP.fragmentsNotSupported : DROP.policyDenied;
  }
  return row.deny ? DROP.policyDeny : 0;
}
