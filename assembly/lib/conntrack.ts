/** Connection tracking. Cilium `bpf/lib/conntrack.h`, map cilium_ct4_global. */
import { CtDirection, CtFlag, CtLifetime, CtStatus, DropReason, IpProto, MapId, TcpFlag } from '../abi';
import { LruHashMap } from '../maps/hash';
import { Context } from './packet';
import * as trace from './trace';
import { be16, be32 } from '../wire/bytes';
import { clear } from '../wire/records';

/**
 * Cilium `struct ipv4_ct_tuple`, with the ports in wire order (Cilium's field names are swapped) and, since Cilium keeps
 * one map a node, the node.
 */
@unmanaged
export class Ipv4CtTuple {
  daddr: be32;
  saddr: be32;
  sport: be16;
  dport: be16;
  nexthdr: u8;
  /** A `CtDirection`. */
  flags: u8;
  node: u16;

  set(daddr: u32, saddr: u32, ports: u32, protocol: u32, flags: u32, node: u32): void {
    this.daddr = daddr;
    this.saddr = saddr;
    store<u32>(changetype<usize>(this) + offsetof<Ipv4CtTuple>('sport'), ports);
    store<u32>(changetype<usize>(this) + offsetof<Ipv4CtTuple>('nexthdr'), protocol | (flags << 8) | (node << 16));
  }

  /** The connection of this tuple; null for none. */
  @inline
  find(): CtEntry {
    const entry = connections.touch(this);
    trace.lookup<Ipv4CtTuple, CtEntry>(MapId.CT4, this, entry);
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
  account(ctx: Context, transmit: bool): void {
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

export const connections = changetype<LruHashMap<Ipv4CtTuple, CtEntry>>(
  memory.data(offsetof<LruHashMap<Ipv4CtTuple, CtEntry>>(), 16),
);

/** The clock, in seconds; the host sets it, so that tests hold it. */
export let now: u32 = 0;

export function setClock(seconds: u32): void {
  now = seconds;
}

const forward = changetype<Ipv4CtTuple>(memory.data(offsetof<Ipv4CtTuple>(), 16));
const reverse = changetype<Ipv4CtTuple>(memory.data(offsetof<Ipv4CtTuple>(), 16));

/**
 * Which connection the packet in hand belongs to, seen from the endpoint in `direction` (`ct_lookup4`):
 *
 * 1. REPLY: the opposite tuple was opened from the other side
 * 2. ESTABLISHED: this tuple was opened from this side
 * 3. NEW: neither
 *
 * Leaves in `ctx` the status and, of a reply's connection, the Service and the marks.
 */
export function lookup(ctx: Context, direction: CtDirection): CtStatus {
  const opposite: u32 = direction == CtDirection.EGRESS ? CtDirection.INGRESS : CtDirection.EGRESS;
  reverse.set(ctx.saddr, ctx.daddr, rotl(ctx.ports, 16), ctx.protocol, opposite, ctx.node);
  let status = CtStatus.REPLY;
  let entry = reverse.find();
  if (entry === null) {
    forward.set(ctx.daddr, ctx.saddr, ctx.ports, ctx.protocol, direction, ctx.node);
    status = CtStatus.ESTABLISHED;
    entry = forward.find();
  }
  if (entry === null) {
    ctx.ctStatus = CtStatus.NEW;
    return CtStatus.NEW;
  }
  entry.account(ctx, status == CtStatus.ESTABLISHED);
  ctx.ctStatus = status;
  if (status == CtStatus.REPLY) {
    ctx.revNatIndex = entry.revNatIndex;
    ctx.loopback = (entry.flags & CtFlag.LB_LOOPBACK) != 0;
    ctx.nodePort = (entry.flags & CtFlag.NODE_PORT) != 0;
  }
  return status;
}

/** The entry of a Service's flow, under the frontend's address (`ct_lookup4` with CT_SERVICE); null for a new one. */
export function lookupService(ctx: Context): CtEntry {
  forward.set(ctx.daddr, ctx.saddr, ctx.ports, ctx.protocol, CtDirection.SERVICE, ctx.node);
  const entry = forward.find();
  if (entry !== null) entry.account(ctx, true);
  return entry;
}

/** The entry that this tuple opened in `direction`, without counting the packet in it or saving it from eviction; null for none. */
export function peek(ctx: Context, direction: CtDirection): CtEntry {
  forward.set(ctx.daddr, ctx.saddr, ctx.ports, ctx.protocol, direction, ctx.node);
  const entry = connections.lookup(forward);
  trace.lookup<Ipv4CtTuple, CtEntry>(MapId.CT4, forward, entry);
  return entry;
}

/** Remembers the packet in hand as the first of a connection (`ct_create4`), with bits of `CtFlag`. 0, or negated CT_CREATE_FAILED. */
export function create(ctx: Context, direction: CtDirection, revNatIndex: u32, backendId: u32, flags: u32): i32 {
  forward.set(ctx.daddr, ctx.saddr, ctx.ports, ctx.protocol, direction, ctx.node);
  const at = connections.admit(forward);
  if (at == 0) return -DropReason.CT_CREATE_FAILED;
  const entry = changetype<CtEntry>(at);
  clear<CtEntry>(at);
  entry.revNatIndex = <u16>revNatIndex;
  entry.backendId = backendId;
  entry.srcSecId = ctx.sourceIdentity;
  entry.flags = <u16>flags;
  entry.account(ctx, true);
  return 0;
}
