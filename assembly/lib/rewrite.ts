/** Rewriting addresses and ports in place, with the checksums that cover them. Cilium `bpf/lib/l4.h`, `csum.h`. */
import { IpProto } from '../abi';
import * as checksum from '../wire/checksum';
import { Tcp, Udp, Ports } from '../wire/l4';
import { Context } from './packet';

/** Applies a change to the transport checksum. UDP's zero means none was computed; a computed zero is sent as all ones (RFC 768). */
function updateL4(ctx: Context, difference: u64): void {
  if (ctx.protocol == IpProto.TCP) {
    const tcp = changetype<Tcp>(ctx.l4);
    tcp.checksum = checksum.update(tcp.checksum, difference);
  } else if (ctx.protocol == IpProto.UDP) {
    const udp = changetype<Udp>(ctx.l4);
    if (udp.checksum == 0) return;
    const sum = checksum.update(udp.checksum, difference);
    udp.checksum = sum == 0 ? 0xffff : sum;
  }
  // SCTP's CRC32c covers no address, and Cilium leaves it alone when a port changes.
}

/** Writes a destination: address and port in network order. */
export function destination(ctx: Context, daddr: u32, dport: u32): void {
  tuple(ctx, ctx.saddr, daddr, (ctx.ports & 0xffff) | (dport << 16));
}

/** Writes a source: address and port in network order. */
export function source(ctx: Context, saddr: u32, sport: u32): void {
  tuple(ctx, saddr, ctx.daddr, (ctx.ports & 0xffff0000) | sport);
}

/** Writes a whole tuple; all in network order, the source port in the lower half of `ports`. */
export function tuple(ctx: Context, saddr: u32, daddr: u32, ports: u32): void {
  const addresses = checksum.difference(ctx.saddr, saddr) + checksum.difference(ctx.daddr, daddr);
  ctx.ip.checksum = checksum.update(ctx.ip.checksum, addresses);
  updateL4(ctx, addresses + checksum.difference(ctx.ports, ports));
  ctx.ip.saddr = saddr;
  ctx.ip.daddr = daddr;
  changetype<Ports>(ctx.l4).both = ports;
  ctx.saddr = saddr;
  ctx.daddr = daddr;
  ctx.ports = ports;
}
