/** Connection tracking. Cilium `bpf/lib/conntrack.h`, maps cilium_ct4_global and cilium_ct6_global. */
import { CtDirection, CtFlag, CtLifetime, CtStatus, DropReason, IpProto, MapId, TcpFlag } from '../abi';
import { finish, mix, start } from '../maps/hash';
import { LruHashMap } from '../maps/lru';
import { endTurn } from '../maps/turn';
import { mapOf } from '../wire/address';
import { be16 } from '../wire/bytes';
import { clear } from '../wire/records';
import * as flow from './flow';
import { Context } from './packet';
import * as recording from './recording';
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

  @inline
  home(): u32 {
    const ports = load<u32>(changetype<usize>(this) + offsetof<CtTuple<A>>('sport'));
    return homeOf<A>(this.saddr, this.daddr, ports);
  }

  /** See `LruKey`: each connection has one of each. */
  kind(): u32 {
    return 1 + (this.flags & 1) + ((this.flags >>> 1) & 2);
  }

  /** What the packet in hand becomes depends on whether there is an entry of this tuple, and what it says. */
  @inline
  ask(): void {
    if (recording.isOn) asked<A>(this.home());
  }

  /** An entry of this tuple, of this map or that of source NAT, has come, is about to go, or says something else than it did. */
  changed(): void {
    this.changedAt(this.home());
  }

  leaves(home: u32): void {
    this.changedAt(home);
  }

  /** The same, of a tuple whose home is known. */
  changedAt(home: u32): void {
    const group = connections<A>().groupOf(home);
    if (!group.isWatched) return;
    group.isWatched = false;
    flow.outdate<A>(connections<A>().groupNumber(home));
  }

  /** What flows have counted for the entry of this tuple, and have not told it yet, is wanted there. */
  settle(): void {
    this.settleAt(this.home());
  }

  private settleAt(home: u32): void {
    if (connections<A>().groupOf(home).isWatched) flow.settle<A>(connections<A>().groupNumber(home));
  }

  /** The connection of this tuple; null for none. Whoever goes on with it counts its packet in it. */
  @inline
  find(): CtEntry {
    return this.findAt(this.home());
  }

  /** The same, of a tuple whose home is known. */
  @inline
  findAt(home: u32): CtEntry {
    if (recording.isOn) asked<A>(home);
    if (trace.isEnabled()) this.settleAt(home);
    const entry = connections<A>().lookupAt(home, this);
    trace.lookup<CtTuple<A>, CtEntry>(mapOf<A>(MapId.CT4), this, entry);
    return entry;
  }
}

function asked<A>(home: u32): void {
  recording.asked(connections<A>().groupNumber(home));
}

/** One end of a tuple as a word. */
function end<A>(address: A, port: u32): u64 {
  const place = (<u64>port) << 32;
  if (isVector<A>())
    return i64x2.extract_lane(address, 0) ^ rotl<u64>(i64x2.extract_lane(address, 1), 23) ^ rotl<u64>(place, 7);
  return (<u64>(<u32>address)) | place;
}

/**
 * Hash of a tuple, whichever way round; the source port is in the lower half of `ports`. It is that of the end with the higher port, as
 * far as their upper bytes tell, which is the client's: so a Service's tuple, that of the connection to its backend, and those of
 * their replies are in one group.
 */
export function homeOf<A>(saddr: A, daddr: A, ports: u32): u32 {
  const source = end<A>(saddr, ports & 0xffff);
  const destination = end<A>(daddr, ports >>> 16);
  const sport = ports & 0xff;
  const dport = (ports >>> 16) & 0xff;
  const isSource = sport == dport ? source > destination : sport > dport;
  return finish(mix(start(), isSource ? source : destination));
}

/** Whether the home of a tuple with these ports is its source's, whatever the addresses are. */
export function isClients(ports: u32): bool {
  return (ports & 0xff) > ((ports >>> 16) & 0xff);
}

/** Cilium `struct ct_entry`. What an endpoint receives is rx, what it and a Service's client send is tx. */
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
  /** Bits of `TcpFlag`, those of `REPORTED`. */
  txFlagsSeen: u8;
  rxFlagsSeen: u8;
  /** A packet has gone back along the connection. Not a field of Cilium's. */
  replied: u16;
  pad: u32;

  get isClosing(): bool {
    return (this.flags & CLOSED) != 0;
  }

  /** Not closed both ways (`ct_entry_alive`). */
  get isAlive(): bool {
    return (this.flags & CLOSED) != CLOSED;
  }

  get hasSeenBothSyns(): bool {
    return (this.txFlagsSeen & this.rxFlagsSeen & TcpFlag.SYN) != 0;
  }

  @inline
  count<A>(ctx: Context<A>): void {
    this.packets++;
    this.bytes += <u64>(ctx.end - ctx.data);
  }

  /** Notes flags of TCP, and that the connection lasts for `seconds` from now (`__ct_update_timeout`). */
  @inline
  extend(flags: u32, direction: u32, seconds: u32): void {
    this.lifetime = now + seconds;
    if (direction == CtDirection.INGRESS) this.rxFlagsSeen |= <u8>(flags & REPORTED);
    else this.txFlagsSeen |= <u8>(flags & REPORTED);
  }

  /** The connection lives on (`ct_update_timeout`). */
  @inline
  refresh(protocol: u32, flags: u32, direction: u32): void {
    let seconds: u32 = CtLifetime.NONTCP;
    if (protocol == IpProto.TCP) {
      if ((flags & TcpFlag.SYN) == 0) this.flags |= <u16>CtFlag.SEEN_NON_SYN;
      seconds = (this.flags & CtFlag.SEEN_NON_SYN) != 0 ? CtLifetime.TCP : CtLifetime.SYN;
    }
    this.extend(flags, direction, seconds);
  }

  /** A FIN or RST closes the sender's direction. Both: of a Service, whose replies are not seen, and by an RST before there was a handshake. */
  close(flags: u32, direction: u32): void {
    const refused = (flags & TcpFlag.RST) != 0 && !this.hasSeenBothSyns;
    if (direction == CtDirection.SERVICE || refused) this.flags |= CLOSED;
    else this.flags |= <u16>(direction == CtDirection.INGRESS ? CtFlag.RX_CLOSING : CtFlag.TX_CLOSING);
    if (!this.isAlive) this.extend(flags, direction, CtLifetime.CLOSE);
  }

  /** Nothing of what was seen before counts any more. */
  reopen(flags: u32, direction: u32): void {
    this.flags &= ~(CLOSED | (<u16>CtFlag.SEEN_NON_SYN));
    this.txFlagsSeen = 0;
    this.rxFlagsSeen = 0;
    this.replied = 0;
    this.refresh(IpProto.TCP, flags, direction);
  }
}

if (offsetof<CtEntry>('packets') != 0 || offsetof<CtEntry>('bytes') != 8) ERROR('a flow tells both at once');

/** Closed both ways. */
const CLOSED: u16 = <u16>(CtFlag.RX_CLOSING | CtFlag.TX_CLOSING);
/** Flags that an entry remembers. Cilium `CT_REPORT_FLAGS`: `monitor-aggregation-flags`, by default syn, fin, rst. */
const REPORTED: u32 = TcpFlag.SYN | TcpFlag.FIN | TcpFlag.RST;

export function connections<A>(): LruHashMap<CtTuple<A>, CtEntry> {
  return changetype<LruHashMap<CtTuple<A>, CtEntry>>(memory.data(offsetof<LruHashMap<CtTuple<A>, CtEntry>>(), 16));
}

/** The clock, in seconds; the host sets it, so that tests hold it. */
export let now: u32 = 0;

export function setClock(seconds: u32): void {
  if (seconds != now) endTurn();
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

/** The tuple of which the packet in hand goes back, as one that was opened in `direction`. */
function reverseOf<A>(ctx: Context<A>, direction: u32): CtTuple<A> {
  const tuple = reverseTuple<A>();
  tuple.set(ctx.saddr, ctx.daddr, rotl(ctx.ports, 16), ctx.protocol, direction, ctx.node);
  return tuple;
}

/**
 * Counts the packet in hand in `entry`, null for none, of a look-up in `direction` (`__ct_lookup`). The lifetime of an entry
 * says when it may be collected; until then it is found, and lives on. Null for none, and for a connection that is opened
 * anew.
 */
function counted<A>(ctx: Context<A>, entry: CtEntry, direction: u32): CtEntry {
  if (entry === null) return entry;
  entry.count<A>(ctx);
  recording.counted(changetype<usize>(entry));
  // Both are rare, and asked at once.
  if (((ctx.tcpFlags & REPORTED) | connections<A>().staleness(entry)) != 0) return turned<A>(ctx, entry, direction);
  if (entry.isAlive) entry.refresh(ctx.protocol, ctx.tcpFlags, direction);
  else recording.spoil();
  return entry;
}

/**
 * A packet goes on with a connection that is alive, as `counted` of one that neither opens nor closes anything, but that its flow counts
 * it; `seconds` is how long the connection lasts from now.
 */
export function proceed<A>(entry: CtEntry, seconds: u32): void {
  connections<A>().use(entry);
  entry.lifetime = now + seconds;
}

/**
 * A connection that is used for the first time in an epoch; and one that a SYN, FIN or RST may turn. A SYN without ACK opens
 * one anew that is closing, were it in one direction only.
 */
function turned<A>(ctx: Context<A>, entry: CtEntry, direction: u32): CtEntry {
  connections<A>().renew(entry);
  const flags = ctx.tcpFlags;
  if ((flags & REPORTED) != 0) connections<A>().keyOf(entry).changed();
  if (!entry.isAlive) recording.spoil();
  const isOpening = (flags & (REPORTED | TcpFlag.ACK)) == TcpFlag.SYN;
  if (isOpening && entry.isClosing) {
    entry.reopen(flags, direction);
    connections<A>().release(entry);
    return changetype<CtEntry>(0);
  }
  if (entry.isAlive) entry.refresh(ctx.protocol, flags, direction);
  if ((flags & (TcpFlag.FIN | TcpFlag.RST)) != 0) entry.close(flags, direction);
  if (!entry.isAlive) connections<A>().release(entry);
  return entry;
}

/**
 * Which connection the packet in hand belongs to, seen from the endpoint in `direction` (`ct_lookup4`):
 *
 * 1. RELATED: an ICMP error, and the packet that it quotes belongs to one
 * 2. REPLY: the opposite tuple was opened from the other side
 * 3. ESTABLISHED: this tuple was opened from this side
 * 4. NEW: none of these, or a connection that is opened anew
 *
 * Leaves in `ctx` the status and, of the connection of a reply or an error, the Service and the marks.
 */
export function lookup<A>(ctx: Context<A>, direction: CtDirection): CtStatus {
  if (ctx.quoted != 0) return lookupQuoted<A>(ctx, direction);
  const opposite: u32 = direction == CtDirection.EGRESS ? CtDirection.INGRESS : CtDirection.EGRESS;
  let status = CtStatus.REPLY;
  const reverse = reverseOf<A>(ctx, opposite);
  const home = reverse.home();
  let entry = counted<A>(ctx, reverse.findAt(home), direction);
  if (entry === null) {
    status = CtStatus.ESTABLISHED;
    entry = counted<A>(ctx, tupleOf<A>(ctx, direction).findAt(home), direction);
  }
  ctx.connection = 0;
  if (entry === null) status = CtStatus.NEW;
  else if (status == CtStatus.REPLY) {
    answer<A>(entry);
    learn<A>(ctx, entry);
  } else goOn<A>(ctx, entry, direction);
  ctx.ctStatus = status;
  return status;
}

/** A packet goes back along a connection. The next like it may be told apart: by a pod that answers itself. */
function answer<A>(entry: CtEntry): void {
  if (entry.replied != 0) return;
  recording.spoil();
  entry.replied = 1;
  connections<A>().keyOf(entry).changed();
}

function goOn<A>(ctx: Context<A>, entry: CtEntry, direction: u32): void {
  ctx.connection = changetype<usize>(entry);
  if (entry.replied != 0 && entry.isAlive) assure<A>(ctx, entry, direction);
}

/**
 * Whether the connection with which the packet in hand goes on is known as one of another Service, or of none, or is marked wrongly
 * as one that a proxy stands in: it is then remembered anew (`ct_recreate4`).
 */
export function isStale<A>(ctx: Context<A>, revNatIndex: u32, proxied: bool): bool {
  const entry = changetype<CtEntry>(ctx.connection);
  if (entry === null) return false;
  return entry.revNatIndex != revNatIndex || ((entry.flags & CtFlag.PROXY_REDIRECT) != 0) != proxied;
}

/**
 * Whether the packet in hand goes on with a connection that a node's device let in for the Service `revNatIndex` (`ct_lazy_lookup4`
 * with CT_ENTRY_NODEPORT); one that is there for anything else does not count.
 */
export function lookupNodePort<A>(ctx: Context<A>, revNatIndex: u32): bool {
  ctx.ctStatus = CtStatus.NEW;
  let entry = tupleOf<A>(ctx, CtDirection.EGRESS).find();
  if (entry === null || (entry.flags & CtFlag.NODE_PORT) == 0 || entry.revNatIndex != revNatIndex) return false;
  entry = counted<A>(ctx, entry, CtDirection.EGRESS);
  if (entry === null) return false;
  ctx.ctStatus = CtStatus.ESTABLISHED;
  goOn<A>(ctx, entry, CtDirection.EGRESS);
  return true;
}

/** Whether the packet in hand answers one that an endpoint received, were that connection closed since (`ct_is_reply4`). */
export function isReply<A>(ctx: Context<A>): bool {
  const tuple = reverseOf<A>(ctx, CtDirection.INGRESS);
  tuple.ask();
  return connections<A>().lookup(tuple) !== null;
}

/** The connection that was opened in `direction`, and along which the packet in hand goes back; null for none. */
function findReverse<A>(ctx: Context<A>, direction: u32): CtEntry {
  return reverseOf<A>(ctx, direction).find();
}

/**
 * Who opened this connection was answered, and goes on: no flood looks like that. Its entries are not evicted for those of
 * connections that have yet to show it; nor is the Service's, which the packet passed before.
 */
function assure<A>(ctx: Context<A>, entry: CtEntry, direction: u32): void {
  ctx.assured = true;
  connections<A>().assure(entry);
  const service = changetype<CtEntry>(ctx.service);
  if (direction == CtDirection.EGRESS && service !== null && service.isAlive) connections<A>().assure(service);
}

/** Counts a pod's reply to a client outside where the node's device let that one in (`nodeport_rev_dnat_ipv4`). */
export function countNodePort<A>(ctx: Context<A>): void {
  const entry = counted<A>(ctx, findReverse<A>(ctx, CtDirection.EGRESS), CtDirection.INGRESS);
  if (entry !== null) answer<A>(entry);
}

/** Counts the packet in hand in an entry that `peek` found where a node's device let the client in. */
export function countOpener<A>(ctx: Context<A>, entry: CtEntry): void {
  counted<A>(ctx, entry, CtDirection.EGRESS);
}

/** What a packet that goes back along a connection must know of it. */
function learn<A>(ctx: Context<A>, entry: CtEntry): void {
  ctx.revNatIndex = entry.revNatIndex;
  ctx.loopback = (entry.flags & CtFlag.LB_LOOPBACK) != 0;
  ctx.nodePort = (entry.flags & CtFlag.NODE_PORT) != 0;
  ctx.dsr = (entry.flags & CtFlag.DSR_INTERNAL) != 0;
  ctx.proxied = (entry.flags & CtFlag.PROXY_REDIRECT) != 0;
}

/** Nothing that an earlier look-up found is to be undone. */
function forget<A>(ctx: Context<A>): void {
  ctx.revNatIndex = 0;
  ctx.loopback = false;
  ctx.nodePort = false;
  ctx.dsr = false;
  ctx.proxied = false;
}

/**
 * The connection of the packet that the ICMP error in hand quotes. That packet passed here the other way: as the one that
 * opened the connection, or as a reply to it. Only the opener's quote names a backend in the place of a Service. An error is
 * for the sender of what it quotes: for anybody else it belongs to no connection.
 */
function lookupQuoted<A>(ctx: Context<A>, direction: CtDirection): CtStatus {
  const opposite: u32 = direction == CtDirection.EGRESS ? CtDirection.INGRESS : CtDirection.EGRESS;
  ctx.ctStatus = CtStatus.NEW;
  if (ctx.daddr != ctx.quotedSaddr) return CtStatus.NEW;
  const opened = forwardTuple<A>();
  opened.set(ctx.quotedDaddr, ctx.quotedSaddr, ctx.quotedPorts, ctx.quotedProtocol, opposite, ctx.node);
  let entry = opened.find();
  if (entry !== null) learn<A>(ctx, entry);
  else {
    const replied = reverseTuple<A>();
    const ports = rotl(ctx.quotedPorts, 16);
    replied.set(ctx.quotedSaddr, ctx.quotedDaddr, ports, ctx.quotedProtocol, direction, ctx.node);
    entry = replied.find();
    if (entry !== null) forget<A>(ctx);
  }
  ctx.ctStatus = entry === null ? CtStatus.NEW : CtStatus.RELATED;
  return ctx.ctStatus;
}

/**
 * The entry of a flow of the Service `revNatIndex`, under the frontend's address (`ct_lookup4` with CT_SERVICE); null for a
 * new one. A flow that its client closed is new with the next SYN: since Cilium 1.16 CT_SERVICE_CLOSE_REBALANCE delays no
 * other backend (cilium/cilium#32653).
 */
export function lookupService<A>(ctx: Context<A>, revNatIndex: u32): CtEntry {
  const entry = tupleOf<A>(ctx, CtDirection.SERVICE).find();
  if (entry === null || entry.revNatIndex != revNatIndex) return changetype<CtEntry>(0);
  ctx.service = changetype<usize>(entry);
  return counted<A>(ctx, entry, CtDirection.SERVICE);
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
  return tupleOf<A>(ctx, direction).find();
}

/** Whether the packet in hand answers one that a Service lent to this node, or that another node's did (`ct_has_nodeport_egress_entry4`). */
export function isNodePortReply<A>(ctx: Context<A>): bool {
  const tuple = reverseOf<A>(ctx, CtDirection.EGRESS);
  tuple.ask();
  const entry = connections<A>().lookup(tuple);
  return entry !== null && (entry.flags & (CtFlag.NODE_PORT | CtFlag.DSR_INTERNAL)) != 0;
}

/**
 * Remembers the packet in hand as the first of a connection (`ct_create4`), with bits of `CtFlag`; it counts as a SYN, whatever
 * it is. 0, or negated CT_CREATE_FAILED.
 */
export function create<A>(ctx: Context<A>, direction: CtDirection, revNatIndex: u32, backendId: u32, flags: u32): i32 {
  const tuple = tupleOf<A>(ctx, direction);
  const home = tuple.home();
  const length = <u32>(ctx.end - ctx.data);
  const at = connections<A>().admitAt(home, tuple);
  if (at == 0) {
    recording.spoil();
    return -DropReason.CT_CREATE_FAILED;
  }
  connections<A>().release(changetype<CtEntry>(at));
  begin<A>(at, tuple, home, revNatIndex, backendId, ctx.sourceIdentity, flags, length);
  recording.opened(direction, ctx.node, flags, revNatIndex, backendId, ctx.sourceIdentity, length);
  return 0;
}

/** Writes the new entry of a tuple, with its first packet of `length` bytes. */
function begin<A>(
  at: usize,
  tuple: CtTuple<A>,
  home: u32,
  revNatIndex: u32,
  backendId: u32,
  sourceIdentity: u32,
  flags: u32,
  length: u32,
): void {
  tuple.changedAt(home);
  const entry = changetype<CtEntry>(at);
  clear<CtEntry>(at);
  v128.store(at, i64x2(1, length));
  entry.revNatIndex = <u16>revNatIndex;
  entry.backendId = backendId;
  entry.srcSecId = sourceIdentity;
  entry.flags = <u16>flags;
  entry.refresh(tuple.nexthdr, tuple.nexthdr == <u8>IpProto.TCP ? TcpFlag.SYN : 0, tuple.flags);
}

/**
 * Opens a connection as another was, of the same client and to the same port (`opening.ts`). It is none that is known; `ways` are empty
 * ones of its group.
 */
export function open<A>(
  daddr: A,
  saddr: A,
  ports: u32,
  protocol: u32,
  creation: recording.Creation,
  home: u32,
  sourceIdentity: u32,
  backendId: u32,
  length: u32,
  ways: u32,
): void {
  const tuple = forwardTuple<A>();
  tuple.set(daddr, saddr, ports, protocol, creation.direction, creation.node);
  const at = connections<A>().add(home, tuple, ways);
  begin<A>(at, tuple, home, creation.revNatIndex, backendId, sourceIdentity, creation.flags, length);
}

/**
 * Takes out the connections whose lifetime is past, of the next `places` of the map (`ctmap.GC`: a lifetime below the clock).
 * How many.
 */
export function collect<A>(places: u32): u32 {
  const map = connections<A>();
  let removed: u32 = 0;
  for (let i = min<u32>(places, map.places); i > 0; i--) {
    const entry = map.inspect();
    if (entry === null || entry.lifetime >= now) continue;
    map.expire(entry);
    removed++;
  }
  return removed;
}
