/** Source NAT: the node's address in front of what leaves it, and back again. Cilium `bpf/lib/nat.h`, map cilium_snat_v4_external. */
import { CtDirection, DropReason, MapId, NAT_PORT_MAX, NAT_PORT_MIN, NAT_TRIES, Step } from '../abi';
import { LruHashMap } from '../maps/lru';
import { folded, mapOf } from '../wire/address';
import { be16, ntohs } from '../wire/bytes';
import { isEcho, isEchoReply } from '../wire/icmp';
import * as ct from './conntrack';
import { CtTuple } from './conntrack';
import { jhash3words } from './jhash';
import { Context, Fragmented, icmpOf } from './packet';
import * as recording from './recording';
import * as rewrite from './rewrite';
import * as trace from './trace';

/** Cilium `struct ipv4_nat_entry`, `ipv6_nat_entry`: what the tuple's source becomes (on the way out), or its destination (on the way back). */
@unmanaged
export class NatEntry<A> {
  address: A;
  port: be16;
  pad: u16;
  /** Seconds of the datapath's clock. */
  created: u32;
}

/** Flags of a NAT tuple. Cilium `TUPLE_F_OUT`, `TUPLE_F_IN`. */
const OUT: u32 = 0;
const IN: u32 = 1;

export function mappings<A>(): LruHashMap<CtTuple<A>, NatEntry<A>> {
  return changetype<LruHashMap<CtTuple<A>, NatEntry<A>>>(
    memory.data(offsetof<LruHashMap<CtTuple<A>, NatEntry<A>>>(), 16),
  );
}

function outgoingTuple<A>(): CtTuple<A> {
  return changetype<CtTuple<A>>(memory.data(offsetof<CtTuple<A>>(), 16));
}

function incomingTuple<A>(): CtTuple<A> {
  return changetype<CtTuple<A>>(memory.data(offsetof<CtTuple<A>>(), 16));
}

/** The mapping of a tuple, which the packet in hand uses; null for none. */
function use<A>(tuple: CtTuple<A>): NatEntry<A> {
  tuple.ask();
  recording.askedMapping();
  const entry = mappings<A>().touch(tuple);
  if (entry !== null) recording.used(changetype<usize>(entry));
  return entry;
}

function find<A>(tuple: CtTuple<A>): NatEntry<A> {
  const entry = use<A>(tuple);
  trace.lookup<CtTuple<A>, NatEntry<A>>(mapOf<A>(MapId.SNAT4), tuple, entry);
  return entry;
}

/** The packet in hand uses a mapping, as `find` found it. */
export function proceed<A>(entry: NatEntry<A>): void {
  mappings<A>().use(entry);
}

/** The new entry of a tuple; null for a table without any room. */
function remember<A>(tuple: CtTuple<A>, address: A, port: u32): NatEntry<A> {
  recording.spoil();
  const entry = changetype<NatEntry<A>>(mappings<A>().admit(tuple));
  if (entry === null) return entry;
  tuple.changed();
  entry.address = address;
  entry.port = <u16>port;
  entry.pad = 0;
  entry.created = ct.now;
  return entry;
}

/**
 * Gives the packet in hand `address` as its source, and a port that no other flow to the same destination has
 * (`snat_v4_nat`): the flow's own where it can be kept, else those from a hash of the flow on; for an echo, its id is the
 * port. An ICMP error about a reply is turned as the reply was. 0, or negated NAT_NO_MAPPING when `NAT_TRIES` ports are taken
 * or the table has no room at all, NAT_UNSUPP_PROTO for ICMP of which nothing could be told apart by a port, INVALID for ICMP in
 * pieces, of which only the first has its id.
 */
export function masquerade<A>(ctx: Context<A>, address: A): i32 {
  if (ctx.protocol == icmpOf<A>() && ctx.fragmented != Fragmented.NOT) return -DropReason.INVALID;
  if (ctx.quoted != 0) return masqueradeQuoted<A>(ctx);
  if (ctx.protocol == icmpOf<A>() && !isEcho<A>(ctx.icmpType))
    return isEchoReply<A>(ctx.icmpType) ? 0 : -DropReason.NAT_UNSUPP_PROTO;
  const outgoing = outgoingTuple<A>();
  outgoing.set(ctx.daddr, ctx.saddr, ctx.ports, ctx.protocol, OUT, ctx.node);
  let entry = find<A>(outgoing);
  if (entry === null) {
    const port = allocate<A>(ctx, address);
    if (port == 0) {
      // Any of the mappings that are in the way may go.
      recording.spoil();
      return -DropReason.NAT_NO_MAPPING;
    }
    const incoming = incomingTuple<A>();
    remember<A>(incoming, ctx.saddr, ctx.sport);
    entry = remember<A>(outgoing, address, port);
    if (entry === null) return -DropReason.NAT_NO_MAPPING;
  } else if (ctx.assured && !mappings<A>().isAssured(entry)) assure<A>(ctx, address, entry);
  rewrite.source<A>(ctx, entry.address, entry.port);
  trace.step<A>(ctx, Step.NAT, trace.NO_POINT, 0);
  return 0;
}

/** The mapping of an assured connection stays with it, and so does that of the way back. */
function assure<A>(ctx: Context<A>, address: A, entry: NatEntry<A>): void {
  mappings<A>().assure(entry);
  const incoming = incomingTuple<A>();
  incoming.set(address, ctx.daddr, ctx.dport | ((<u32>entry.port) << 16), ctx.protocol, IN, ctx.node);
  const back = mappings<A>().lookup(incoming);
  if (back !== null) mappings<A>().assure(back);
}

/** A pod's error about a reply to what went out in the node's name: the quoted reply had the node as its destination. */
function masqueradeQuoted<A>(ctx: Context<A>): i32 {
  const outgoing = outgoingTuple<A>();
  const ports = rotl(ctx.quotedPorts, 16);
  outgoing.set(ctx.quotedSaddr, ctx.quotedDaddr, ports, ctx.quotedProtocol, OUT, ctx.node);
  const entry = find<A>(outgoing);
  if (entry === null) return 0;
  rewrite.quoted<A>(ctx, ctx.quotedSaddr, entry.address, (ctx.quotedPorts & 0xffff) | ((<u32>entry.port) << 16));
  rewrite.tuple<A>(ctx, entry.address, ctx.daddr, ctx.ports);
  trace.step<A>(ctx, Step.NAT, trace.NO_POINT, 0);
  return 0;
}

/**
 * Keeps the port of the packet in hand, the node's own, from being given to another: it is entered as what it already is. Where
 * another has it, this packet gets another port. 0, or as `masquerade`.
 */
export function reserve<A>(ctx: Context<A>): i32 {
  recording.dependsOnPort();
  if (ctx.quoted != 0 || ntohs(ctx.sport) < <u32>NAT_PORT_MIN) return 0;
  const outgoing = outgoingTuple<A>();
  outgoing.set(ctx.daddr, ctx.saddr, ctx.ports, ctx.protocol, OUT, ctx.node);
  const entry = use<A>(outgoing);
  if (entry !== null) return isItself<A>(entry, ctx.saddr, ctx.sport) ? 0 : masquerade<A>(ctx, ctx.saddr);
  const incoming = incomingTuple<A>();
  incoming.set(ctx.saddr, ctx.daddr, rotl(ctx.ports, 16), ctx.protocol, IN, ctx.node);
  if (mappings<A>().lookup(incoming) !== null) return masquerade<A>(ctx, ctx.saddr);
  remember<A>(outgoing, ctx.saddr, ctx.sport);
  remember<A>(incoming, ctx.saddr, ctx.sport);
  return 0;
}

function isItself<A>(entry: NatEntry<A>, address: A, port: u32): bool {
  return entry.address == address && <u32>entry.port == port;
}

/** The tuple of the reply to the packet in hand, or to the one that the ICMP error in hand quotes, turned to what the reply's source becomes. */
function replyTuple<A>(ctx: Context<A>, back: bool): CtTuple<A> {
  const tuple = outgoingTuple<A>();
  const ports = rotl(ctx.quoted != 0 ? ctx.quotedPorts : ctx.ports, 16);
  if (ctx.quoted != 0) tuple.set(ctx.quotedSaddr, ctx.quotedDaddr, ports, ctx.quotedProtocol, OUT, ctx.node);
  else if (back) tuple.set(ctx.daddr, ctx.saddr, ctx.ports, ctx.protocol, OUT, ctx.node);
  else tuple.set(ctx.saddr, ctx.daddr, ports, ctx.protocol, OUT, ctx.node);
  return tuple;
}

/** Remembers that replies to the packet in hand get `address` and `port` as their source (`snat_v4_create_dsr`). */
export function rememberFrontend<A>(ctx: Context<A>, address: A, port: u32): void {
  remember<A>(replyTuple<A>(ctx, false), address, port);
}

/** What the source of the reply in hand, or of what the error in hand would be the reply to, becomes so; null for nothing. */
export function frontendOf<A>(ctx: Context<A>): NatEntry<A> {
  return find<A>(replyTuple<A>(ctx, true));
}

/** A free port, network order, with the incoming tuple left at that of the way back; 0 for none. */
function allocate<A>(ctx: Context<A>, address: A): u32 {
  const range = NAT_PORT_MAX - NAT_PORT_MIN + 1;
  const own = ntohs(ctx.sport);
  const hashed: u32 = jhash3words(folded<A>(ctx.saddr), folded<A>(ctx.daddr), ctx.ports, ctx.protocol) % range;
  const incoming = incomingTuple<A>();
  const kept = own >= <u32>NAT_PORT_MIN;
  let offset: u32 = kept ? own - NAT_PORT_MIN : hashed;
  for (let i = 0; i < NAT_TRIES; i++) {
    const port = ntohs(NAT_PORT_MIN + offset);
    incoming.set(address, ctx.daddr, ctx.dport | (port << 16), ctx.protocol, IN, ctx.node);
    if (mappings<A>().lookup(incoming) === null) return port;
    offset = kept && i == 0 ? hashed : (offset + 1) % range;
  }
  return 0;
}

/**
 * Turns the destination of a reply back into the source that was replaced (`snat_v4_rev_nat`), and that of an ICMP error
 * together with what it quotes. Whether there was one.
 */
export function reverse<A>(ctx: Context<A>): bool {
  const incoming = incomingTuple<A>();
  if (ctx.quoted != 0) {
    // The quoted packet went out with the node's address as its source: it names the mapping turned round.
    const ports = rotl(ctx.quotedPorts, 16);
    incoming.set(ctx.quotedSaddr, ctx.quotedDaddr, ports, ctx.quotedProtocol, IN, ctx.node);
  } else incoming.set(ctx.daddr, ctx.saddr, ctx.ports, ctx.protocol, IN, ctx.node);
  const entry = find<A>(incoming);
  if (entry === null || (ctx.quoted == 0 && isItself<A>(entry, ctx.daddr, ctx.dport))) return false;
  if (ctx.quoted != 0) {
    rewrite.quoted<A>(ctx, entry.address, ctx.quotedDaddr, (ctx.quotedPorts & 0xffff0000) | entry.port);
    rewrite.tuple<A>(ctx, ctx.saddr, entry.address, ctx.ports);
  } else rewrite.destination<A>(ctx, entry.address, entry.port);
  trace.step<A>(ctx, Step.REVERSE_NAT, trace.NO_POINT, 0);
  return true;
}

/**
 * Takes out the mappings that no connection uses any more (`ctmap.PurgeOrphanNATEntries`), of the next `places` of the map.
 * How many.
 */
export function collect<A>(places: u32): u32 {
  const map = mappings<A>();
  let removed: u32 = 0;
  for (let i = min<u32>(places, map.places); i > 0; i--) {
    const entry = map.inspect();
    if (entry === null || ct.connections<A>().lookup(connectionOf<A>(entry)) !== null) continue;
    map.expire(entry);
    removed++;
  }
  return removed;
}

/** The tuple of the connection that a mapping serves, as its opener sent it: that of the way out, whose flags are EGRESS's. */
function connectionOf<A>(entry: NatEntry<A>): CtTuple<A> {
  const tuple = mappings<A>().keyOf(entry);
  if (tuple.flags == <u8>OUT) return tuple;
  const outgoing = outgoingTuple<A>();
  const ports = (<u32>entry.port) | ((<u32>tuple.sport) << 16);
  outgoing.set(tuple.saddr, entry.address, ports, tuple.nexthdr, CtDirection.EGRESS, tuple.node);
  return outgoing;
}
