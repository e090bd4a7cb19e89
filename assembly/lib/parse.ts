/** The door: every length in a frame is checked here, once, before anything else looks at it. */
import { DropReason, Family, IpProto } from '../abi';
import { ETHERNET_LENGTH, Ethernet, EtherType } from '../wire/ethernet';
import { Icmp, ICMP_LENGTH, isEcho, isEchoReply, isError } from '../wire/icmp';
import { Ipv4, IPV4_LENGTH } from '../wire/ipv4';
import { Extension, EXTENSION_LENGTH, Fragment, Ipv6, IPV6_LENGTH, MAX_EXTENSIONS, NextHeader } from '../wire/ipv6';
import * as l4 from '../wire/l4';
import * as fragments from './fragments';
import { Context, Fragmented, icmpOf } from './packet';

/** The family of the frame in hand; what is neither counts as IPv4, whose `parse` refuses it. */
export function familyOf<A>(ctx: Context<A>): Family {
  if (<u32>(ctx.end - ctx.data) < ETHERNET_LENGTH) return Family.IPV4;
  return changetype<Ethernet>(ctx.data).type == <u16>EtherType.IPV6 ? Family.IPV6 : Family.IPV4;
}

/**
 * Checks that an Ethernet, IP and transport header, and all the bytes they claim, lie within the frame,
 * and takes down the tuple. 0, or the negated reason in the order in which `cil_from_container` finds it:
 *
 * 1. shorter than an Ethernet header, or an EtherType below 0x600: UNSUPPORTED_L2; a VLAN tag: VLAN_FILTERED
 * 2. not IP: UNKNOWN_L3
 * 3. an IP header that is cut off or contradicts itself: INVALID; an IPv6 extension header that does: INVALID_EXTHDR
 * 4. a later fragment whose first has not passed here: FRAG_NOT_FOUND; any fragment where they are not tracked: FRAG_NOSUPPORT
 * 5. neither TCP, UDP, SCTP nor the family's ICMP: CT_UNKNOWN_PROTO
 * 6. a transport header that is cut off or contradicts itself: CT_INVALID_HDR
 */
export function parse<A>(ctx: Context<A>): i32 {
  const length = <u32>(ctx.end - ctx.data);
  if (length < ETHERNET_LENGTH) return -DropReason.UNSUPPORTED_L2;
  const type = <u32>changetype<Ethernet>(ctx.data).type;
  if (type != <u32>(isVector<A>() ? EtherType.IPV6 : EtherType.IPV4)) {
    if (type == EtherType.VLAN || type == EtherType.QINQ) return -DropReason.VLAN_FILTERED;
    // An IEEE 802.3 length instead of a type (network order: its high byte comes first).
    return (type & 0xff) < 6 ? -DropReason.UNSUPPORTED_L2 : -DropReason.UNKNOWN_L3;
  }
  const start = ctx.data + ETHERNET_LENGTH;
  ctx.ip = start;
  ctx.ports = 0;
  ctx.tcpFlags = 0;
  ctx.icmp = 0;
  ctx.quoted = 0;
  ctx.protocol = 0;
  const result = isVector<A>()
    ? readIpv6(changetype<Context<v128>>(changetype<usize>(ctx)), length - ETHERNET_LENGTH)
    : readIpv4(changetype<Context<u32>>(changetype<usize>(ctx)), length - ETHERNET_LENGTH);
  if (result < 0) return result;
  if (ctx.fragmented == Fragmented.LATER) return fragments.recall<A>(ctx);
  const outcome = readTransport<A>(ctx);
  return outcome == 0 && ctx.fragmented == Fragmented.FIRST ? fragments.remember<A>(ctx) : outcome;
}

function readIpv4(ctx: Context<u32>, available: u32): i32 {
  const ip = changetype<Ipv4>(ctx.ip);
  if (!ip.check(available)) return -DropReason.INVALID;
  ctx.saddr = ip.saddr;
  ctx.daddr = ip.daddr;
  ctx.protocol = ip.protocol;
  ctx.ipEnd = ctx.ip + ip.length;
  ctx.l4 = ctx.ip + ip.headerLength;
  ctx.fragmented = !ip.isFragment ? Fragmented.NOT : ip.fragmentOffset == 0 ? Fragmented.FIRST : Fragmented.LATER;
  ctx.fragmentId = ip.id;
  return 0;
}

/** Cilium `ipv6_hdrlen`: passes over the extension headers, `MAX_EXTENSIONS` at most. */
function readIpv6(ctx: Context<v128>, available: u32): i32 {
  const ip = changetype<Ipv6>(ctx.ip);
  if (!ip.check(available)) return -DropReason.INVALID;
  ctx.saddr = ip.saddr;
  ctx.daddr = ip.daddr;
  ctx.ipEnd = ctx.ip + ip.totalLength;
  ctx.fragmented = Fragmented.NOT;
  let at = ctx.ip + IPV6_LENGTH;
  let kind = <u32>ip.nextHeader;
  for (let i: u32 = 0; isExtension(kind); i++) {
    if (kind == NextHeader.NONE || i == MAX_EXTENSIONS || at + EXTENSION_LENGTH > ctx.ipEnd)
      return -DropReason.INVALID_EXTHDR;
    const extension = changetype<Extension>(at);
    if (kind == NextHeader.FRAGMENT) {
      const fragment = changetype<Fragment>(at);
      // The two bytes of the offset as they lie: bits 3 to 15 in units of 8, and bit 0 for more to come.
      const offset = (<u32>fragment.offset) & 0xf8ff;
      if (((<u32>fragment.offset) & 0xf9ff) != 0) ctx.fragmented = offset == 0 ? Fragmented.FIRST : Fragmented.LATER;
      ctx.fragmentId = fragment.id;
    }
    at += extension.lengthOf(kind);
    if (at > ctx.ipEnd) return -DropReason.INVALID_EXTHDR;
    kind = extension.nextHeader;
    // What stands at the start of a later piece is payload.
    if (ctx.fragmented == Fragmented.LATER) break;
  }
  ctx.protocol = kind;
  ctx.l4 = at;
  return 0;
}

function isExtension(kind: u32): bool {
  switch (kind) {
    case NextHeader.HOP_BY_HOP:
    case NextHeader.ROUTING:
    case NextHeader.FRAGMENT:
    case NextHeader.AUTH:
    case NextHeader.DESTINATION:
    case NextHeader.NONE:
      return true;
  }
  return false;
}

/** Steps 5 and 6 of `parse`. Of the pieces of a packet only the first has what the length of a UDP datagram claims. */
function readTransport<A>(ctx: Context<A>): i32 {
  const protocol = ctx.protocol;
  const start = ctx.l4;
  const available = <u32>(ctx.ipEnd - start);
  if (protocol == icmpOf<A>()) return readIcmp<A>(ctx, available);
  if (protocol != IpProto.TCP && protocol != IpProto.UDP && protocol != IpProto.SCTP)
    return -DropReason.CT_UNKNOWN_PROTO;
  if (!l4.check(protocol, start, available, ctx.fragmented == Fragmented.NOT)) return -DropReason.CT_INVALID_HDR;
  ctx.ports = changetype<l4.Ports>(start).both;
  if (protocol == IpProto.TCP) ctx.tcpFlags = changetype<l4.Tcp>(start).flags;
  return 0;
}

/** The ports that an ICMP message stands for: the id of an echo, on the side of the one that asks. Cilium `ct_extract_ports4`. */
function echoPorts<A>(message: Icmp): u32 {
  const type = <u32>message.type;
  const id = <u32>message.id;
  return isEcho<A>(type) ? id : isEchoReply<A>(type) ? id << 16 : 0;
}

function readIcmp<A>(ctx: Context<A>, available: u32): i32 {
  if (available < ICMP_LENGTH) return -DropReason.CT_INVALID_HDR;
  const message = changetype<Icmp>(ctx.l4);
  ctx.icmp = (<u32>message.type) | ((<u32>message.code) << 8);
  ctx.ports = echoPorts<A>(message);
  return isError<A>(message.type) ? readQuoted<A>(ctx) : 0;
}

/**
 * Takes down the tuple of the packet that an ICMP error quotes: its IP header and 8 bytes more, which RFC 792 promises and
 * every sender keeps. CT_INVALID_HDR for less. A quoted fragment without a transport header belongs to no connection.
 */
function readQuoted<A>(ctx: Context<A>): i32 {
  const at = ctx.l4 + ICMP_LENGTH;
  const available = <u32>(ctx.ipEnd - at);
  let start: usize = 0;
  if (isVector<A>()) {
    const ip = changetype<Ipv6>(at);
    if (available < IPV6_LENGTH + QUOTED_LENGTH) return -DropReason.CT_INVALID_HDR;
    ctx.quotedSaddr = ip.saddr;
    ctx.quotedDaddr = ip.daddr;
    ctx.quotedProtocol = ip.nextHeader;
    start = at + IPV6_LENGTH;
  } else {
    const ip = changetype<Ipv4>(at);
    if (available < IPV4_LENGTH + QUOTED_LENGTH || available < ip.headerLength + QUOTED_LENGTH || !ip.isSane)
      return -DropReason.CT_INVALID_HDR;
    ctx.quotedSaddr = ip.saddr;
    ctx.quotedDaddr = ip.daddr;
    ctx.quotedProtocol = ip.protocol;
    start = at + ip.headerLength;
    if (ip.fragmentOffset != 0) return 0;
  }
  const protocol = ctx.quotedProtocol;
  if (protocol == icmpOf<A>()) ctx.quotedPorts = echoPorts<A>(changetype<Icmp>(start));
  else if (protocol == IpProto.TCP || protocol == IpProto.UDP || protocol == IpProto.SCTP)
    ctx.quotedPorts = changetype<l4.Ports>(start).both;
  else return 0;
  ctx.quoted = at;
  ctx.quotedL4 = start;
  return 0;
}

/** Bytes of the transport header that an ICMP error quotes at least. RFC 792. */
const QUOTED_LENGTH: u32 = 8;
