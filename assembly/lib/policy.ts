/** The policymap and how it decides. Cilium `bpf/lib/policy.h`. */
import { CtDirection, DropReason, IpProto, MapId, PolicyMatch, Step } from '../abi';
import { LpmMap } from '../maps/lpm';
import { be16, ntohl } from '../wire/bytes';
import { IcmpType, Unreachable } from '../wire/icmp';
import { Context, icmpOf } from './packet';
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
  /** Number under which the control plane remembers why the entry is there. */
  cookie: u32;
}

export const policies = changetype<LpmMap<PolicyKey, PolicyEntry>>(
  memory.data(offsetof<LpmMap<PolicyKey, PolicyEntry>>(), 16),
);

const specific = changetype<PolicyKey>(memory.data(offsetof<PolicyKey>(), 16));
const wildcard = changetype<PolicyKey>(memory.data(offsetof<PolicyKey>(), 16));

/** What path MTU discovery lives on: no policy keeps it out (`allow-icmp-frag-needed`, on unless it is turned off). IPv4's only. */
function isFragmentationNeeded<A>(ctx: Context<A>): bool {
  if (isVector<A>() || ctx.protocol != IpProto.ICMP) return false;
  return ctx.icmp == (IcmpType.DEST_UNREACH | (Unreachable.FRAGMENTATION_NEEDED << 8));
}

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
 * Whether `policyId` lets the packet in hand pass to or from `identity` (`__policy_can_access`). `egress` is 1 when the
 * endpoint sends. 0, or negated POLICY_DENY when an entry denies, or negated POLICY when none matches. Of the best entry
 * for the identity and the best for any:
 *
 * 1. one that denies
 * 2. the one with the higher proxy port priority
 * 3. the one with the longer prefix of protocol and port
 * 4. the one for the identity
 */
export function canAccess<A>(ctx: Context<A>, policyId: u32, identity: u32, egress: u32): i32 {
  if (isFragmentationNeeded<A>(ctx)) return 0;
  // A rule for ICMP names its type, which takes the port's place.
  const dport = ctx.protocol == icmpOf<A>() ? ctx.icmpType << 8 : ctx.dport;
  const traffic = egress | (ctx.protocol << 8) | (dport << 16);
  const l3 = specific.find(policyId, identity, traffic);
  const l4 = wildcard.find(policyId, 0, traffic);
  let match: PolicyMatch = PolicyMatch.NONE;
  let result: i32 = -DropReason.POLICY;
  if (l3 !== null || l4 !== null) {
    const useL3 = l4 === null || (l3 !== null && prefers(l3, specific.prefixLength, l4, wildcard.prefixLength));
    match = matchOf(useL3, useL3 ? specific.prefixLength : wildcard.prefixLength);
    result = (useL3 ? l3 : l4).deny ? -DropReason.POLICY_DENY : 0;
  }
  trace.step<A>(
    ctx,
    Step.POLICY,
    trace.NO_POINT,
    match | ((egress == 0 ? CtDirection.INGRESS : CtDirection.EGRESS) << 8) | ((<u32>-result) << 16),
  );
  return result;
}

function prefers(l3: PolicyEntry, l3Length: u32, l4: PolicyEntry, l4Length: u32): bool {
  if (l3.deny != l4.deny) return l3.deny != 0;
  if (l3.proxyPortPriority != l4.proxyPortPriority) return l3.proxyPortPriority > l4.proxyPortPriority;
  return l3Length >= l4Length;
}
