/** What sockets were connected to before translation. Cilium `bpf/bpf_sock.c`, maps cilium_lb4_reverse_sk and cilium_lb6_reverse_sk. */
import { MapId } from '../abi';
import { hashOf } from '../maps/hash';
import { LruHashMap } from '../maps/lru';
import { mapOf } from '../wire/address';
import { be16 } from '../wire/bytes';
import { Context } from './packet';
import * as trace from './trace';

/** Cilium `struct ipv4_revnat_tuple`, `ipv6_revnat_tuple`: a socket, and whom it speaks to. */
@unmanaged
export class ReverseSkKey<A> {
  address: A;
  /** The kernel's number of the socket: that of its network namespace above, its protocol and port below. */
  cookie: u64;
  port: be16;
  pad1: u16;
  pad2: u32;

  home(): u32 {
    return hashOf<ReverseSkKey<A>>(changetype<usize>(this));
  }

  kind(): u32 {
    return 1;
  }

  /** No answer to a socket is kept. */
  leaves(_: u32): void {}
}

/** Cilium `struct ipv4_revnat_entry`, `ipv6_revnat_entry`: whom it asked for. */
@unmanaged
export class ReverseSkEntry<A> {
  address: A;
  port: be16;
  revNatIndex: u16;
}

export function sockets<A>(): LruHashMap<ReverseSkKey<A>, ReverseSkEntry<A>> {
  return changetype<LruHashMap<ReverseSkKey<A>, ReverseSkEntry<A>>>(
    memory.data(offsetof<LruHashMap<ReverseSkKey<A>, ReverseSkEntry<A>>>(), 16),
  );
}

function scratch<A>(): ReverseSkKey<A> {
  return changetype<ReverseSkKey<A>>(memory.data(offsetof<ReverseSkKey<A>>(), 16));
}

/** Above the numbers of all endpoints: the network namespaces of nodes. */
const HOST_NETNS: u32 = 0x80000000;

/** The network namespace that sends or receives the packet in hand: a pod's, or the node's (`get_netns_cookie`). */
export function netns<A>(ctx: Context<A>): u32 {
  return ctx.endpoint != 0 ? ctx.endpoint : HOST_NETNS | ctx.node;
}

/** The socket with that port, network order, at this end of the packet in hand, and whom it speaks to. */
function keyOf<A>(ctx: Context<A>, own: u32, address: A, port: u32): ReverseSkKey<A> {
  const key = scratch<A>();
  key.address = address;
  key.cookie = ((<u64>netns<A>(ctx)) << 32) | (ctx.protocol << 16) | own;
  key.port = <u16>port;
  return key;
}

/** Notes that the socket which sends the packet in hand speaks to a backend, and what it asked for (`sock4_update_revnat`). Whether there was room. */
export function remember<A>(ctx: Context<A>, backend: A, port: u32, revNatIndex: u32): bool {
  const key = keyOf<A>(ctx, ctx.sport, backend, port);
  const at = sockets<A>().admit(key);
  if (at == 0) return false;
  const entry = changetype<ReverseSkEntry<A>>(at);
  entry.address = ctx.daddr;
  entry.port = <u16>ctx.dport;
  entry.revNatIndex = <u16>revNatIndex;
  trace.lookup<ReverseSkKey<A>, ReverseSkEntry<A>>(mapOf<A>(MapId.LB4_REVERSE_SK), key, entry);
  return true;
}

/** What the socket that receives the packet in hand asked for, when it was given this sender; null for none. */
export function recall<A>(ctx: Context<A>): ReverseSkEntry<A> {
  const key = keyOf<A>(ctx, ctx.dport, ctx.saddr, ctx.sport);
  const entry = sockets<A>().touch(key);
  trace.lookup<ReverseSkKey<A>, ReverseSkEntry<A>>(mapOf<A>(MapId.LB4_REVERSE_SK), key, entry);
  return entry;
}

/** Forgets it: the Service is another's, or has no backends any more. */
export function forget<A>(ctx: Context<A>): void {
  sockets<A>().delete(keyOf<A>(ctx, ctx.dport, ctx.saddr, ctx.sport));
}
