/** Source NAT: the node's address in front of what leaves it, and back again. Cilium `bpf/lib/nat.h`, map cilium_snat_v4_external. */
import { DropReason, MapId, NAT_PORT_MAX, NAT_PORT_MIN, NAT_TRIES, Step } from '../abi';
import { LruHashMap } from '../maps/hash';
import { be16, be32, ntohs } from '../wire/bytes';
import * as ct from './conntrack';
import { Ipv4CtTuple } from './conntrack';
import { jhash3words } from './jhash';
import { Context } from './packet';
import * as rewrite from './rewrite';
import * as trace from './trace';

/** Cilium `struct ipv4_nat_entry`: what the tuple's source becomes (on the way out), or its destination (on the way back). */
@unmanaged
export class Ipv4NatEntry {
  address: be32;
  port: be16;
  pad: u16;
  /** Seconds of the datapath's clock. */
  created: u32;
}

/** Flags of a NAT tuple. Cilium `TUPLE_F_OUT`, `TUPLE_F_IN`. */
const OUT: u32 = 0;
const IN: u32 = 1;

export const mappings = changetype<LruHashMap<Ipv4CtTuple, Ipv4NatEntry>>(
  memory.data(offsetof<LruHashMap<Ipv4CtTuple, Ipv4NatEntry>>(), 16),
);

const outgoing = changetype<Ipv4CtTuple>(memory.data(offsetof<Ipv4CtTuple>(), 16));
const incoming = changetype<Ipv4CtTuple>(memory.data(offsetof<Ipv4CtTuple>(), 16));

function find(tuple: Ipv4CtTuple): Ipv4NatEntry {
  const entry = mappings.touch(tuple);
  trace.lookup<Ipv4CtTuple, Ipv4NatEntry>(MapId.SNAT, tuple, entry);
  return entry;
}

function remember(tuple: Ipv4CtTuple, address: u32, port: u32): void {
  const entry = changetype<Ipv4NatEntry>(mappings.admit(tuple));
  entry.address = address;
  entry.port = <u16>port;
  entry.pad = 0;
  entry.created = ct.now;
}

/**
 * Gives the packet in hand `address` as its source, and a port that no other flow to the same destination has
 * (`snat_v4_nat`): the flow's own where it can be kept, else those from a hash of the flow on. 0, or negated NAT_NO_MAPPING
 * when `NAT_TRIES` of them are taken.
 */
export function masquerade(ctx: Context, address: u32): i32 {
  outgoing.set(ctx.daddr, ctx.saddr, ctx.ports, ctx.protocol, OUT, ctx.node);
  let entry = find(outgoing);
  if (entry === null) {
    const port = allocate(ctx, address);
    if (port == 0) return -DropReason.NAT_NO_MAPPING;
    remember(outgoing, address, port);
    remember(incoming, ctx.saddr, ctx.sport);
    entry = mappings.lookup(outgoing);
  }
  rewrite.source(ctx, entry.address, entry.port);
  trace.step(ctx, Step.NAT, trace.NO_POINT, 0);
  return 0;
}

/** A free port, network order, with `incoming` left at the tuple of the way back; 0 for none. */
function allocate(ctx: Context, address: u32): u32 {
  const range = NAT_PORT_MAX - NAT_PORT_MIN + 1;
  const own = ntohs(ctx.sport);
  const hashed: u32 = jhash3words(ctx.saddr, ctx.daddr, ctx.ports, ctx.protocol) % range;
  let offset: u32 = own >= <u32>NAT_PORT_MIN ? own - NAT_PORT_MIN : hashed;
  for (let i = 0; i < NAT_TRIES; i++) {
    const port = ntohs(NAT_PORT_MIN + offset);
    incoming.set(address, ctx.daddr, ctx.dport | (port << 16), ctx.protocol, IN, ctx.node);
    if (mappings.lookup(incoming) === null) return port;
    offset = i == 0 ? hashed : (offset + 1) % range;
  }
  return 0;
}

/** Turns the destination of a reply back into the source that was replaced (`snat_v4_rev_nat`). Whether there was one. */
export function reverse(ctx: Context): bool {
  incoming.set(ctx.daddr, ctx.saddr, ctx.ports, ctx.protocol, IN, ctx.node);
  const entry = find(incoming);
  if (entry === null) return false;
  rewrite.destination(ctx, entry.address, entry.port);
  trace.step(ctx, Step.REVERSE_NAT, trace.NO_POINT, 0);
  return true;
}
