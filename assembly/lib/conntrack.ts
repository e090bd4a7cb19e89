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

const BOTH_CLOSING: u32 = CtFlag.RX_CLOSING | CtFlag.TX_CLOSING;

/** Cilium `struct ct_entry`. What is closing, and which flags were seen, is told as the endpoint sends (tx) or receives (rx). */
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
    return (this.flags & BOTH_CLOSING) != 0;
  }

  /** Neither direction, or one, is closed: the other may still send. */
  get isAlive(): bool {
    return (this.flags & BOTH_CLOSING) != BOTH_CLOSING;
  }

  /**
   * Counts the packet in hand, which the endpoint sends or receives, and moves the lifetime (`__ct_lookup`). Whether it
   * belongs to this connection: a SYN while that is closing opens another one, which the policy has yet to allow.
   */
  @inline
  follow<A>(ctx: Context<A>, direction: u32): bool {
    this.packets++;
    this.bytes += <u64>(ctx.end - ctx.data);
    if (ctx.protocol != IpProto.TCP) {
      this.lifetime = now + CtLifetime.NONTCP;
      return true;
    }
    const flags = ctx.tcpFlags;
    if (this.isAlive) this.prolong(flags, direction);
    if ((flags & (TcpFlag.RST | TcpFlag.FIN)) != 0) this.close(flags, direction);
    else if ((flags & TcpFlag.SYN) != 0 && this.isClosing) {
      this.flags &= ~(<u16>(BOTH_CLOSING | CtFlag.SEEN_NON_SYN));
      this.txFlagsSeen = 0;
      this.rxFlagsSeen = 0;
      this.prolong(flags, direction);
      return false;
    }
    return true;
  }

  /** Opens the connection with the packet in hand (`ct_create4`): whatever TCP packet that is, it counts as a SYN. */
  open<A>(ctx: Context<A>, direction: u32): void {
    this.packets = 1;
    this.bytes = <u64>(ctx.end - ctx.data);
    if (ctx.protocol == IpProto.TCP) this.prolong(TcpFlag.SYN, direction);
    else this.lifetime = now + CtLifetime.NONTCP;
  }

  /** What TCP flags do to the lifetime (`ct_update_timeout`). */
  @inline
  private prolong(flags: u32, direction: u32): void {
    if ((flags & TcpFlag.SYN) == 0) this.flags |= <u16>CtFlag.SEEN_NON_SYN;
    this.lifetime = now + ((this.flags & CtFlag.SEEN_NON_SYN) != 0 ? CtLifetime.TCP : CtLifetime.SYN);
    this.see(flags, direction);
  }

  private see(flags: u32, direction: u32): void {
    if (direction == CtDirection.INGRESS) this.rxFlagsSeen |= <u8>flags;
    else this.txFlagsSeen |= <u8>flags;
  }

  /**
   * Closes what the endpoint sends or receives. Both, of a Service, of which only one way passes here; and by a reset, unless
   * both sides have said SYN.
   */
  private close(flags: u32, direction: u32): void {
    const answered = (this.txFlagsSeen & this.rxFlagsSeen & TcpFlag.SYN) != 0;
    if (direction == CtDirection.SERVICE || (!answered && (flags & TcpFlag.RST) != 0))
      this.flags |= <u16>BOTH_CLOSING;
    else this.flags |= <u16>(direction == CtDirection.INGRESS ? CtFlag.RX_CLOSING : CtFlag.TX_CLOSING);
    if (this.isAlive) return;
    this.lifetime = now + CtLifetime.CLOSE;
    this.see(flags, direction);
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
 * 4. NEW: none of these, or a SYN over a connection that was closing
 *
 * Leaves in `ctx` the status and, of the connection of a reply or an error, the Service and the marks.
 */
export function lookup<A>(ctx: Context<A>, direction: CtDirection): CtStatus {
  if (ctx.quoted != 0) return lookupQuoted<A>(ctx, direction);
  const opposite: u32 = direction == CtDirection.EGRESS ? CtDirection.INGRESS : CtDirection.EGRESS;
  const reverse = reverseTuple<A>();
  reverse.set(ctx.saddr, ctx.daddr, rotl(ctx.ports, 16), ctx.protocol, opposite, ctx.node);
  let entry = reverse.find();
  if (entry !== null && entry.follow<A>(ctx, direction)) {
    learn<A>(ctx, entry);
    ctx.ctStatus = CtStatus.REPLY;
    return CtStatus.REPLY;
  }
  entry = tupleOf<A>(ctx, direction).find();
  const status = entry !== null && entry.follow<A>(ctx, direction) ? CtStatus.ESTABLISHED : CtStatus.NEW;
  ctx.ctStatus = status;
  return status;
}

/** What a packet that goes back along a connection must know of it. */
function learn<A>(ctx: Context<A>, entry: CtEntry): void {
  ctx.revNatIndex = entry.revNatIndex;
  ctx.loopback = (entry.flags & CtFlag.LB_LOOPBACK) != 0;
  ctx.nodePort = (entry.flags & CtFlag.NODE_PORT) != 0;
}

/**
 * The connection of the packet that the ICMP error in hand quotes. That packet passed here the other way: as the one that
 * opened the connection, or as a reply to it. Only the opener's quote names a backend in the place of a Service. An error for
 * anybody but the sender of what it quotes belongs to nothing: what passes policies would be anybody's to send.
 */
function lookupQuoted<A>(ctx: Context<A>, direction: CtDirection): CtStatus {
  ctx.ctStatus = CtStatus.NEW;
  if (ctx.daddr != ctx.quotedSaddr) return CtStatus.NEW;
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

/** The entry of a flow through this Service, under the frontend's address (`ct_lookup4` with CT_SERVICE); null for a new one. */
export function lookupService<A>(ctx: Context<A>, revNatIndex: u32): CtEntry {
  const entry = tupleOf<A>(ctx, CtDirection.SERVICE).find();
  if (entry === null || entry.revNatIndex != revNatIndex) return changetype<CtEntry>(0);
  return entry.follow<A>(ctx, CtDirection.SERVICE) ? entry : changetype<CtEntry>(0);
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
  entry.open<A>(ctx, direction);
  return 0;
}
