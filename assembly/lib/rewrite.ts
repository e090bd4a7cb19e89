/** Rewriting addresses and ports in place, with the checksums that cover them. Cilium `bpf/lib/l4.h`, `csum.h`, `nat.h`. */
import { IpProto } from '../abi';
import * as checksum from '../wire/checksum';
import { Icmp, isEcho, isEchoReply } from '../wire/icmp';
import { Ipv4 } from '../wire/ipv4';
import { Ipv6 } from '../wire/ipv6';
import { Ports, Tcp, Udp } from '../wire/l4';
import { Context, icmpOf } from './packet';
import * as recording from './recording';

/** Adds a difference to a checksum that is there. UDP's zero means none was computed; a computed zero is sent as all ones (RFC 768). */
function adjust(at: usize, difference: u64, optional: bool): void {
  const before = load<u16>(at);
  if (optional && before == 0) return;
  const sum = checksum.update(before, difference);
  store<u16>(at, optional && sum == 0 ? 0xffff : sum);
}

/** What new addresses change in a pseudo header. */
export function difference<A>(before: A, after: A): u64 {
  if (isVector<A>())
    return (
      checksum.difference(i32x4.extract_lane(before, 0), i32x4.extract_lane(after, 0)) +
      checksum.difference(i32x4.extract_lane(before, 1), i32x4.extract_lane(after, 1)) +
      checksum.difference(i32x4.extract_lane(before, 2), i32x4.extract_lane(after, 2)) +
      checksum.difference(i32x4.extract_lane(before, 3), i32x4.extract_lane(after, 3))
    );
  return checksum.difference(<u32>before, <u32>after);
}

/**
 * Applies a change of addresses and ports to the transport header at `l4`: its ports, and its checksum where that covers them.
 * SCTP's CRC32c covers no address, and Cilium leaves it alone when a port changes.
 */
function transport<A>(l4: usize, protocol: u32, addresses: u64, before: u32, after: u32): void {
  if (protocol == icmpOf<A>()) {
    const message = changetype<Icmp>(l4);
    // Only of an echo is the id a port.
    const ported = isEcho<A>(message.type) || isEchoReply<A>(message.type);
    // ICMP has no pseudo header; ICMPv6 has (RFC 4443 section 2.3).
    const changes = (ported ? checksum.difference(before, after) : 0) + (isVector<A>() ? addresses : 0);
    adjust(l4 + offsetof<Icmp>('checksum'), changes, false);
    if (before == after || !ported) return;
    message.id = <u16>(isEchoReply<A>(message.type) ? after >>> 16 : after);
    return;
  }
  if (protocol == IpProto.TCP)
    adjust(l4 + offsetof<Tcp>('checksum'), addresses + checksum.difference(before, after), false);
  else if (protocol == IpProto.UDP)
    adjust(l4 + offsetof<Udp>('checksum'), addresses + checksum.difference(before, after), true);
  changetype<Ports>(l4).both = after;
}

/** Writes the addresses of the IP header at `ip`. */
function addresses<A>(ip: usize, saddr: A, daddr: A, change: u64): void {
  if (isVector<A>()) {
    const header = changetype<Ipv6>(ip);
    header.saddr = saddr;
    header.daddr = daddr;
  } else {
    const header = changetype<Ipv4>(ip);
    header.checksum = checksum.update(header.checksum, change);
    header.saddr = saddr;
    header.daddr = daddr;
  }
}

/** Writes a destination: address and port in network order. */
export function destination<A>(ctx: Context<A>, daddr: A, dport: u32): void {
  tuple<A>(ctx, ctx.saddr, daddr, (ctx.ports & 0xffff) | (dport << 16));
}

/** Writes a source: address and port in network order. */
export function source<A>(ctx: Context<A>, saddr: A, sport: u32): void {
  tuple<A>(ctx, saddr, ctx.daddr, (ctx.ports & 0xffff0000) | sport);
}

/** Writes a whole tuple; all in network order, the source port in the lower half of `ports`. A later fragment has no ports to write. */
export function tuple<A>(ctx: Context<A>, saddr: A, daddr: A, ports: u32): void {
  const change = difference<A>(ctx.saddr, saddr) + difference<A>(ctx.daddr, daddr);
  recording.rewritten();
  addresses<A>(ctx.ip, saddr, daddr, change);
  if (ctx.l4 != 0) transport<A>(ctx.l4, ctx.protocol, change, ctx.ports, ports);
  ctx.saddr = saddr;
  ctx.daddr = daddr;
  ctx.ports = ports;
}

/**
 * Writes the tuple of the packet that the ICMP error in hand quotes. The quote's own headers stay consistent, and the error's
 * checksum, which covers them all, is computed anew: errors are short and rare.
 */
export function quoted<A>(ctx: Context<A>, saddr: A, daddr: A, ports: u32): void {
  const change = difference<A>(ctx.quotedSaddr, saddr) + difference<A>(ctx.quotedDaddr, daddr);
  addresses<A>(ctx.quoted, saddr, daddr, change);
  quotedTransport<A>(ctx, change, ports);
  ctx.quotedSaddr = saddr;
  ctx.quotedDaddr = daddr;
  ctx.quotedPorts = ports;
  seal<A>(ctx);
}

/** Of a TCP header no more than the ports need be quoted, and its checksum, which cannot be checked without the rest, stays. */
function quotedTransport<A>(ctx: Context<A>, change: u64, ports: u32): void {
  if (ctx.quotedProtocol == IpProto.TCP) changetype<Ports>(ctx.quotedL4).both = ports;
  else transport<A>(ctx.quotedL4, ctx.quotedProtocol, change, ctx.quotedPorts, ports);
}

/** Computes the checksum of the ICMP message in hand. */
export function seal<A>(ctx: Context<A>): void {
  const message = changetype<Icmp>(ctx.l4);
  const length = <u32>(ctx.ipEnd - ctx.l4);
  message.checksum = 0;
  let sum = checksum.sum(ctx.l4, length);
  if (isVector<A>()) {
    const ip = changetype<usize>(ctx.ip);
    // The pseudo header: both addresses, the length, the protocol (RFC 8200 section 8.1).
    sum += checksum.sum(ip + offsetof<Ipv6>('saddrLow'), 32) + checksum.word(length) + checksum.word(ctx.protocol);
  }
  message.checksum = <u16>~checksum.fold(sum);
}
