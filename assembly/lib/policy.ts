/** The policymap and how it decides. Cilium `bpf/lib/policy.h`. */
import { ConfigFlag, CtDirection, DropReason, MapId, PolicyBit, PolicyMatch, Step } from '../abi';
import { LpmMap } from '../maps/lpm';
import { be16, ntohl } from '../wire/bytes';
import { IcmpType, Unreachable } from '../wire/icmp';
import * as auth from './auth';
import * as config from './config';
import { Context, Fragmented, icmpOf } from './packet';
import * as trace from './trace';

/** Bits of protocol and port that a prefix may cover. */
const FULL_LENGTH: u32 = 24;
const PROTOCOL_LENGTH: u32 = 8;

/**
 * Cilium `struct policy_key`. Prefixes cover `protocol` and then `dport`; what stands before is always exact.
 *
 *  0              4          8           12       13         14      16
 *  +--------------+----------+-----------+--------+----------+-------+
 *  | prefixLength | policyId | secLabel  | egress | protocol | dport |
 *  +--------------+----------+-----------+--------+----------+-------+
 */
@unmanaged
export class PolicyKey {
  prefixLength: u32;
  /** Cilium has one map an endpoint; pods that are alike share one policy here. */
  policyId: u32;
  /** The identity of the peer; 0 for any. */
  secLabel: u32;
  egress: u8;
  protocol: u8;
  dport: be16;

  /** The last four fields as one word, as they lie in memory. */
  get traffic(): u32 {
    return load<u32>(changetype<usize>(this) + offsetof<PolicyKey>('egress'));
  }

  set traffic(word: u32) {
    store<u32>(changetype<usize>(this) + offsetof<PolicyKey>('egress'), word);
  }

  truncate(length: u32): void {
    this.prefixLength = length;
    this.traffic &= ntohl((<u32>-1) << (FULL_LENGTH - length));
  }

  /** The entry that matches best; null for none. Leaves in the key the prefix that did. */
  @inline
  find(policyId: u32, identity: u32, traffic: u32): PolicyEntry {
    this.prefixLength = FULL_LENGTH;
    this.policyId = policyId;
    this.secLabel = identity;
    this.traffic = traffic;
    const entry = policies.longest(this);
    trace.lookup<PolicyKey, PolicyEntry>(MapId.POLICY, this, entry);
    return entry;
  }
}

/** Cilium `struct policy_entry`. */
@unmanaged
export class PolicyEntry {
  /** 0 for no proxy. */
  proxyPort: be16;
  deny: u8;
  proxyPortPriority: u8;
  /** Bits of `AuthType`: how both ends must have authenticated. */
  authType: u8;
  pad: u8;
  /** Number under which the control plane remembers why the entry is there. */
  cookie: u16;
}

export const policies = changetype<LpmMap<PolicyKey, PolicyEntry>>(
  memory.data(offsetof<LpmMap<PolicyKey, PolicyEntry>>(), 16),
);

const specific = changetype<PolicyKey>(memory.data(offsetof<PolicyKey>(), 16));
const wildcard = changetype<PolicyKey>(memory.data(offsetof<PolicyKey>(), 16));

function matchOf(l3: bool, length: u32): PolicyMatch {
  if (l3)
    return length > PROTOCOL_LENGTH
      ? PolicyMatch.L3_L4
      : length == PROTOCOL_LENGTH
        ? PolicyMatch.L3_PROTO
        : PolicyMatch.L3_ONLY;
  return length > PROTOCOL_LENGTH
    ? PolicyMatch.L4_ONLY
    : length == PROTOCOL_LENGTH
      ? PolicyMatch.PROTO_ONLY
      : PolicyMatch.ALL;
}

/**
 * Whether `policyId` lets the packet in hand pass to or from `identity` (`__policy_can_access`), with `local` that of the
 * endpoint itself. Of the best entry for the identity and the best for any:
 *
 * 1. one that denies
 * 2. the one with the higher proxy port priority
 * 3. the one with the longer prefix of protocol and port
 * 4. the one for the identity
 *
 * 0, or the port of a proxy that is to decide (network order), or negated POLICY_DENY when the entry denies, POLICY when none
 * matches (FRAG_NOSUPPORT for a piece whose ports are not known), POLICY_AUTH_REQUIRED, NO_NODE_ID when both ends should have
 * authenticated. With POLICY_AUDIT set nobody is asked for that, what would be refused passes (to the proxy too, where the entry
 * has one), and the reason is kept in `ctx`.
 */
export function canAccess<A>(ctx: Context<A>, policyId: u32, direction: CtDirection, local: u32, identity: u32): i32 {
  let match: PolicyMatch = PolicyMatch.NONE;
  let dport = ctx.dport;
  let result: i32 = 0;
  let proxyPort: u32 = 0;
  if (ctx.protocol == icmpOf<A>()) {
    if (isFragNeeded<A>(ctx)) return decided<A>(ctx, direction, match, 0, 0);
    // A rule for ICMP names its type, which takes the port's place.
    dport = ctx.icmpType << 8;
  }
  const egress: u32 = direction == CtDirection.EGRESS ? 1 : 0;
  const traffic = egress | (ctx.protocol << 8) | (dport << 16);
  const l3 = specific.find(policyId, identity, traffic);
  const l4 = wildcard.find(policyId, 0, traffic);
  if (l3 !== null || l4 !== null) {
    const useL3 = l4 === null || (l3 !== null && prefers(l3, specific.prefixLength, l4, wildcard.prefixLength));
    match = matchOf(useL3, useL3 ? specific.prefixLength : wildcard.prefixLength);
    const entry = useL3 ? l3 : l4;
    const other = useL3 ? l4 : l3;
    const type = auth.required(entry.authType, other === null ? 0 : other.authType);
    if (entry.deny) result = -DropReason.POLICY_DENY;
    else {
      proxyPort = entry.proxyPort;
      if (type != 0) result = authenticated<A>(ctx, direction, local, identity, type);
    }
  } else result = isUntracked<A>(ctx) ? -DropReason.FRAG_NOSUPPORT : -DropReason.POLICY;
  return decided<A>(ctx, direction, match, result, proxyPort);
}

/** As `auth.check`; where policies are only tried out, nobody is asked. */
function authenticated<A>(ctx: Context<A>, direction: CtDirection, local: u32, identity: u32, type: u32): i32 {
  if (config.has(ConfigFlag.POLICY_AUDIT)) return -DropReason.POLICY_AUTH_REQUIRED;
  return auth.check<A>(ctx, direction, local, identity, type);
}

/** Tells what was decided, and lets it pass all the same where policies are only tried out. */
function decided<A>(ctx: Context<A>, direction: CtDirection, match: PolicyMatch, result: i32, proxyPort: u32): i32 {
  const reason: u32 = result < 0 ? -result : 0;
  const audited = result < 0 && config.has(ConfigFlag.POLICY_AUDIT);
  if (audited) ctx.audited = reason | ((<u32>direction) << 8);
  if (result == 0 || audited) result = proxyPort;
  const bits: u32 = (audited ? PolicyBit.AUDITED : 0) | (result > 0 ? PolicyBit.REDIRECTED : 0);
  trace.step<A>(ctx, Step.POLICY, trace.NO_POINT, match | ((<u32>direction) << 8) | (reason << 16) | bits);
  return result;
}

/** Whether the packet in hand tells its receiver to send smaller ones: without that, paths with a small MTU go silent. RFC 1191. */
function isFragNeeded<A>(ctx: Context<A>): bool {
  if (isVector<A>()) return false;
  return (
    ctx.icmp == (IcmpType.DEST_UNREACH | (Unreachable.FRAGMENTATION_NEEDED << 8)) &&
    config.has(ConfigFlag.ALLOW_ICMP_FRAG_NEEDED)
  );
}

/** Whether the packet in hand is a piece whose ports nobody kept: its tuple has none. */
function isUntracked<A>(ctx: Context<A>): bool {
  return ctx.fragmented != Fragmented.NOT && !config.has(ConfigFlag.TRACK_FRAGMENTS);
}

function prefers(l3: PolicyEntry, l3Length: u32, l4: PolicyEntry, l4Length: u32): bool {
  if (l3.deny != l4.deny) return l3.deny != 0;
  if (l3.proxyPortPriority != l4.proxyPortPriority) return l3.proxyPortPriority > l4.proxyPortPriority;
  return l3Length >= l4Length;
}
