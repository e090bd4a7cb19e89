/** Connection tracking. Cilium `bpf/lib/conntrack.h`, maps cilium_ct4_global and cilium_ct6_global. */
import { CtDirection, CtFlag, CtLifetime, CtStatus, DropReason, IpProto, MapId, TcpFlag } from '../abi';
import { LruHashMap } from '../maps/hash';
import { mapOf } from '../wire/address';
import { be16 } from '../wire/bytes';
import { clear } from '../wire/records';
import { Context } from './packet';
import * as trace from './trace';

/**
 * Cilium `struct ipv4_ct_tuple`, `ipv6_ct_tuple`, with the ports in wire order (Cilium's field names are swapped) and, since
 * Cilium keeps one map a node, the node.
 */
@unmanaged
export class CtTuple<A> {
  daddr: A;
  saddr: A;
  sport: be16;
  dport: be16;
  nexthdr: u8;
  /** A `CtDirection`. */
  flags: u8;
  node: u16;

  set(daddr: A, saddr: A, ports: u32, protocol: u32, flags: u32, node: u32): void {
    this.daddr = daddr;
    this.saddr = saddr;
    store<u32>(changetype<usize>(this) + offsetof<CtTuple<A>>('sport'), ports);
    store<u32>(changetype<usize>(this) + offsetof<CtTuple<A>>('nexthdr'), protocol | (flags << 8) | (node << 16));
  }

  /** The connection of this tuple; null for none. */
  @inline
  find(): CtEntry {
    const entry = connections<A>().touch(this);
    trace.lookup<CtTuple<A>, CtEntry>(mapOf<A>(MapId.CT4), this, entry);
    return entry;
  }
}

/** Cilium `struct ct_entry`. */
@unmanaged
export class CtEntry {
  packets: u64;
  bytes: u64;
  /** In seconds of the datapath's clock. */
  lifetime: u32;
  /** Bits of `CtFlag`. */
  flags: u16;
  revNatIndex: u16;
  backendId: u32;
  srcSecId: u32;
  txFlagsSeen: u8;
  rxFlagsSeen: u8;
  pad: u16;
  lastReport: u32;

  get isClosing(): bool {
    return (this.flags & (CtFlag.RX_CLOSING | CtFlag.TX_CLOSING)) != 0;
  }

  /** Counts the packet in hand and moves the lifetime; `transmit` in the direction in which the connection was opened. */
  @inline
  account<A>(ctx: Context<A>, transmit: bool): void {
    this.packets++;
    this.bytes += <u64>(ctx.end - ctx.data);
    if (ctx.protocol != IpProto.TCP) {
      this.lifetime = now + CtLifetime.NONTCP;
      return;
    }
    const flags = ctx.tcpFlags;
    if (transmit) this.txFlagsSeen |= <u8>flags;
    else this.rxFlagsSeen |= <u8>flags;
    if ((flags & (TcpFlag.RST | TcpFlag.FIN)) != 0) return this.close(flags, transmit);
    // The same ports again: a connection reopened before the old one was forgotten.
    if ((flags & TcpFlag.SYN) == 0) this.flags |= <u16>CtFlag.SEEN_NON_SYN;
    else if (this.isClosing) this.flags &= ~(<u16>(CtFlag.RX_CLOSING | CtFlag.TX_CLOSING | CtFlag.SEEN_NON_SYN));
    if (this.isClosing) return;
    this.lifetime = now + ((this.flags & CtFlag.SEEN_NON_SYN) != 0 ? CtLifetime.TCP : CtLifetime.SYN);
  }

  /** Closes the sender's direction; a reset closes both at once. */
  private close(flags: u32, transmit: bool): void {
    const both = CtFlag.TX_CLOSING | CtFlag.RX_CLOSING;
    if ((flags & TcpFlag.RST) != 0) this.flags |= <u16>both;
    else this.flags |= <u16>(transmit ? CtFlag.TX_CLOSING : CtFlag.RX_CLOSING);
    if ((this.flags & both) == both) this.lifetime = now + CtLifetime.CLOSE;
  }
}

export function connections<A>(): LruHashMap<CtTuple<A>, CtEntry> {
  return changetype<LruHashMap<CtTuple<A>, CtEntry>>(memory.data(offsetof<LruHashMap<CtTuple<A>, CtEntry>>(), 16));
}

/** The clock, in seconds; the host sets it, so that tests hold it. */
export let now: u32 = 0;

export function setClock(seconds: u32): void {
  now = seconds;
}

function forwardTuple<A>(): CtTuple<A> {
  return changetype<CtTuple<A>>(memory.data(offsetof<CtTuple<A>>(), 16));
}

function reverseTuple<A>(): CtTuple<A> {
  return changetype<CtTuple<A>>(memory.data(offsetof<CtTuple<A>>(), 16));
}

/** The tuple of the packet in hand, as the one that opened a connection in `direction`. */
function tupleOf<A>(ctx: Context<A>, direction: u32): CtTuple<A> {
  const tuple = forwardTuple<A>();
  tuple.set(ctx.daddr, ctx.saddr, ctx.ports, ctx.protocol, direction, ctx.node);
  return tuple;
}

/**
 * Which connection the packet in hand belongs to, seen from the endpoint in `direction` (`ct_lookup4`):
 *
 * 1. RELATED: an ICMP error, and the packet that it quotes belongs to one
 * 2. REPLY: the opposite tuple was opened from the other side
 * 3. ESTABLISHED: this tuple was opened from this side
 * 4. NEW: none of these
 *
 * Leaves in `ctx` the status and, of the connection of a reply or an error, the Service and the marks.
 */
export function lookup<A>(ctx: Context<A>, direction: CtDirection): CtStatus {
  if (ctx.quoted != 0) return lookupQuoted<A>(ctx, direction);
  const opposite: u32 = direction == CtDirection.EGRESS ? CtDirection.INGRESS : CtDirection.EGRESS;
  const reverse = reverseTuple<A>();
  reverse.set(ctx.saddr, ctx.daddr, rotl(ctx.ports, 16), ctx.protocol, opposite, ctx.node);
  let status = CtStatus.REPLY;
  let entry = reverse.find();
  if (entry === null) {
    status = CtStatus.ESTABLISHED;
    entry = tupleOf<A>(ctx, direction).find();
  }
  if (entry === null) {
    ctx.ctStatus = CtStatus.NEW;
    return CtStatus.NEW;
  }
  entry.account<A>(ctx, status == CtStatus.ESTABLISHED);
  ctx.ctStatus = status;
  if (status == CtStatus.REPLY) learn<A>(ctx, entry);
  return status;
}

/** What a packet that goes back along a connection must know of it. */
function learn<A>(ctx: Context<A>, entry: CtEntry): void {
  ctx.revNatIndex = entry.revNatIndex;
  ctx.loopback = (entry.flags & CtFlag.LB_LOOPBACK) != 0;
  ctx.nodePort = (entry.flags & CtFlag.NODE_PORT) != 0;
  ctx.proxied = (entry.flags & CtFlag.PROXY_REDIRECT) != 0;
}

/**
 * The connection of the packet that the ICMP error in hand quotes. That packet passed here the other way: as the one that
 * opened the connection, or as a reply to it. Only the opener's quote names a backend in the place of a Service.
 */
function lookupQuoted<A>(ctx: Context<A>, direction: CtDirection): CtStatus {
  const opposite: u32 = direction == CtDirection.EGRESS ? CtDirection.INGRESS : CtDirection.EGRESS;
  const opened = forwardTuple<A>();
  opened.set(ctx.quotedDaddr, ctx.quotedSaddr, ctx.quotedPorts, ctx.quotedProtocol, opposite, ctx.node);
  let entry = opened.find();
  if (entry !== null) learn<A>(ctx, entry);
  else {
    const replied = reverseTuple<A>();
    const ports = rotl(ctx.quotedPorts, 16);
    replied.set(ctx.quotedSaddr, ctx.quotedDaddr, ports, ctx.quotedProtocol, direction, ctx.node);
    entry = replied.find();
  }
  ctx.ctStatus = entry === null ? CtStatus.NEW : CtStatus.RELATED;
  return ctx.ctStatus;
}

/** The entry of a Service's flow, under the frontend's address (`ct_lookup4` with CT_SERVICE); null for a new one. */
export function lookupService<A>(ctx: Context<A>): CtEntry {
  const entry = tupleOf<A>(ctx, CtDirection.SERVICE).find();
  if (entry !== null) entry.account<A>(ctx, true);
  return entry;
}

/** The entry of the Service's flow whose reply the ICMP error in hand quotes; null for none. */
export function peekQuotedService<A>(ctx: Context<A>): CtEntry {
  const tuple = forwardTuple<A>();
  const ports = rotl(ctx.quotedPorts, 16);
  tuple.set(ctx.quotedSaddr, ctx.quotedDaddr, ports, ctx.quotedProtocol, CtDirection.SERVICE, ctx.node);
  return tuple.find();
}

/** The entry that this tuple opened in `direction`, without counting the packet in it or saving it from eviction; null for none. */
export function peek<A>(ctx: Context<A>, direction: CtDirection): CtEntry {
  const tuple = tupleOf<A>(ctx, direction);
  const entry = connections<A>().lookup(tuple);
  trace.lookup<CtTuple<A>, CtEntry>(mapOf<A>(MapId.CT4), tuple, entry);
  return entry;
}

/** Remembers the packet in hand as the first of a connection (`ct_create4`), with bits of `CtFlag`. 0, or negated CT_CREATE_FAILED. */
export function create<A>(ctx: Context<A>, direction: CtDirection, revNatIndex: u32, backendId: u32, flags: u32): i32 {
  const at = connections<A>().admit(tupleOf<A>(ctx, direction));
  if (at == 0) return -DropReason.CT_CREATE_FAILED;
  const entry = changetype<CtEntry>(at);
  clear<CtEntry>(at);
  entry.revNatIndex = <u16>revNatIndex;
  entry.backendId = backendId;
  entry.srcSecId = ctx.sourceIdentity;
  entry.flags = <u16>flags;
  entry.account<A>(ctx, true);
  return 0;
}
