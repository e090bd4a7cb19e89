/** ICMP errors of the datapath's own: what tells a sender why its packet went no further. Cilium `bpf/lib/icmp.h`, `icmp6.h`. */
import { CtStatus, DropReason, IpProto, PACKET_HEADROOM, TUNNEL_OVERHEAD, WIREGUARD_OVERHEAD } from '../abi';
import * as checksum from '../wire/checksum';
import { ETHERNET_LENGTH, Ethernet } from '../wire/ethernet';
import { Icmp, ICMP_LENGTH, Icmp6Type, IcmpType, isError, Unreachable } from '../wire/icmp';
import { Ipv4, IPV4_LENGTH } from '../wire/ipv4';
import { Ipv6, IPV6_LENGTH } from '../wire/ipv6';
import { ntohl, ntohs } from '../wire/bytes';
import { Context, Fragmented, icmpOf } from './packet';
import * as recording from './recording';
import * as rewrite from './rewrite';
import * as trace from './trace';

if (IPV6_LENGTH + ICMP_LENGTH > <u32>(PACKET_HEADROOM - TUNNEL_OVERHEAD - WIREGUARD_OVERHEAD))
  ERROR('an error, tunnelled, fits in the headroom');

const TTL: u8 = 64;
/** Bytes of the packet that an error quotes at most. Cilium `ICMP_PACKET_MAX_SAMPLE_SIZE`; RFC 4443 section 2.4 (c). */
const QUOTE4: u32 = 64;
const QUOTE6: u32 = 1280 - IPV6_LENGTH - ICMP_LENGTH;

/** Whether a sender may be told of the packet in hand: not of an error, nor of a piece without a transport header. RFC 1122 section 3.2.2. */
export function mayAnswer<A>(ctx: Context<A>): bool {
  return ctx.fragmented != Fragmented.LATER && !(ctx.protocol == icmpOf<A>() && isError<A>(ctx.icmpType));
}

/** No Service listens on that port (`tail_no_service_ipv4`). */
export function portUnreachable<A>(ctx: Context<A>): void {
  if (isVector<A>()) answer<A>(ctx, DropReason.NO_SERVICE, Icmp6Type.DEST_UNREACH, Unreachable.PORT6, 0);
  else answer<A>(ctx, DropReason.NO_SERVICE, IcmpType.DEST_UNREACH, Unreachable.PORT, 0);
}

/** The packet does not fit in `mtu` bytes. RFC 1191 section 4, RFC 4443 section 3.2. */
export function tooBig<A>(ctx: Context<A>, mtu: u32): void {
  if (isVector<A>()) answer<A>(ctx, DropReason.FRAG_NEEDED, Icmp6Type.PACKET_TOO_BIG, 0, mtu);
  else answer<A>(ctx, DropReason.FRAG_NEEDED, IcmpType.DEST_UNREACH, Unreachable.FRAGMENTATION_NEEDED, mtu);
}

/**
 * Drops the packet in hand for `reason`, and puts in its place the ICMP error that tells its sender: from the address that it
 * was sent to, quoting its start. `rest` is the last word of the ICMP header, in host order. The frame grows into the headroom.
 */
function answer<A>(ctx: Context<A>, reason: DropReason, type: u32, code: u32, rest: u32): void {
  recording.spoil();
  trace.drop<A>(ctx, reason);
  ctx.answered = reason;
  ctx.answeredBy = ctx.program;
  const ipLength = isVector<A>() ? IPV6_LENGTH : IPV4_LENGTH;
  const quote = min<u32>(<u32>(ctx.ipEnd - ctx.ip), isVector<A>() ? QUOTE6 : QUOTE4);
  const total = ipLength + ICMP_LENGTH + quote;
  const before = changetype<Ethernet>(ctx.data);
  const src = before.src;
  const dst = before.dst;
  const etherType = before.type;
  ctx.quoted = ctx.ip;
  ctx.quotedL4 = ctx.l4;
  ctx.quotedPorts = ctx.ports;
  ctx.quotedProtocol = ctx.protocol;
  ctx.quotedSaddr = ctx.saddr;
  ctx.quotedDaddr = ctx.daddr;
  ctx.l4 = ctx.ip - ICMP_LENGTH;
  ctx.ip = ctx.l4 - ipLength;
  ctx.data = ctx.ip - ETHERNET_LENGTH;
  ctx.ipEnd = ctx.ip + total;
  ctx.end = ctx.ipEnd;
  ctx.ports = 0;
  ctx.protocol = icmpOf<A>();
  ctx.icmp = type | (code << 8);
  ctx.ctStatus = CtStatus.NEW;
  ctx.saddr = ctx.quotedDaddr;
  ctx.daddr = ctx.quotedSaddr;
  const ethernet = changetype<Ethernet>(ctx.data);
  ethernet.setAddresses(src, dst);
  ethernet.type = etherType;
  writeIp<A>(ctx, total);
  const message = changetype<Icmp>(ctx.l4);
  message.type = <u8>type;
  message.code = <u8>code;
  store<u32>(ctx.l4 + offsetof<Icmp>('id'), ntohl(rest));
  rewrite.seal<A>(ctx);
}

function writeIp<A>(ctx: Context<A>, total: u32): void {
  if (isVector<A>()) {
    const ip = changetype<Ipv6>(ctx.ip);
    ip.versionClassFlow = 0x60;
    ip.payloadLength = <u16>ntohs(total - IPV6_LENGTH);
    ip.nextHeader = <u8>IpProto.ICMPV6;
    ip.hopLimit = TTL;
    ip.saddr = ctx.saddr;
    ip.daddr = ctx.daddr;
  } else {
    const ip = changetype<Ipv4>(ctx.ip);
    ip.versionIhl = 0x45;
    ip.tos = 0;
    ip.totalLength = <u16>ntohs(total);
    ip.id = 0;
    ip.fragment = 0;
    ip.ttl = TTL;
    ip.protocol = <u8>IpProto.ICMP;
    ip.checksum = 0;
    ip.saddr = <u32>ctx.saddr;
    ip.daddr = <u32>ctx.daddr;
    ip.checksum = checksum.compute(ctx.ip, IPV4_LENGTH);
  }
}
