/** Fragments: the ports of a packet's first piece, kept for the pieces after it. Cilium `bpf/lib/ipfrag.h`, map cilium_ipv4_frag_datagrams. */
import { ConfigFlag, DropReason, MapId, Program } from '../abi';
import { hashOf } from '../maps/hash';
import { LruHashMap } from '../maps/lru';
import { mapOf } from '../wire/address';
import { be16 } from '../wire/bytes';
import * as config from './config';
import * as ct from './conntrack';
import { Context, Fragmented } from './packet';
import * as trace from './trace';

/** Cilium `struct ipv4_frag_id`, `ipv6_frag_id`. The map is one a node there, so here the node is part of the key. */
@unmanaged
export class FragmentKey<A> {
  daddr: A;
  saddr: A;
  /** As it lies in the header. */
  id: u32;
  proto: u8;
  pad: u8;
  node: u16;

  home(): u32 {
    return hashOf<FragmentKey<A>>(changetype<usize>(this));
  }

  kind(): u32 {
    return 1;
  }

  /** No answer to a piece is kept. */
  leaves(_: u32): void {}
}

/** Cilium `struct ipv4_frag_l4ports`, and when it was put down. */
@unmanaged
export class FragmentPorts {
  sport: be16;
  dport: be16;
  /** Seconds of the datapath's clock. Not a field of Cilium's, which never collects these. */
  created: u32;

  /** Both, as `Context.ports`. */
  get ports(): u32 {
    return load<u32>(changetype<usize>(this));
  }

  set ports(both: u32) {
    store<u32>(changetype<usize>(this), both);
  }
}

export function fragments<A>(): LruHashMap<FragmentKey<A>, FragmentPorts> {
  return changetype<LruHashMap<FragmentKey<A>, FragmentPorts>>(
    memory.data(offsetof<LruHashMap<FragmentKey<A>, FragmentPorts>>(), 16),
  );
}

function scratch<A>(): FragmentKey<A> {
  return changetype<FragmentKey<A>>(memory.data(offsetof<FragmentKey<A>>(), 16));
}

function keyOf<A>(ctx: Context<A>): FragmentKey<A> {
  const key = scratch<A>();
  key.daddr = ctx.daddr;
  key.saddr = ctx.saddr;
  key.id = ctx.fragmentId;
  key.proto = <u8>ctx.protocol;
  key.node = <u16>ctx.node;
  return key;
}

/** Keeps the ports of the first piece in hand. 0, or negated FRAG_NOSUPPORT where fragments are not tracked. */
export function remember<A>(ctx: Context<A>): i32 {
  if (!config.has(ConfigFlag.TRACK_FRAGMENTS)) return untracked<A>(ctx);
  const at = fragments<A>().admit(keyOf(ctx));
  if (at == 0) return 0;
  const kept = changetype<FragmentPorts>(at);
  kept.ports = ctx.ports;
  kept.created = ct.now;
  return 0;
}

/** Gives the later piece in hand the ports of its first. 0, or negated FRAG_NOT_FOUND, FRAG_NOSUPPORT. */
export function recall<A>(ctx: Context<A>): i32 {
  ctx.l4 = 0;
  if (!config.has(ConfigFlag.TRACK_FRAGMENTS)) return untracked<A>(ctx);
  const key = keyOf(ctx);
  const kept = fragments<A>().touch(key);
  trace.lookup<FragmentKey<A>, FragmentPorts>(mapOf<A>(MapId.FRAGMENTS4), key, kept);
  if (kept === null) return -DropReason.FRAG_NOT_FOUND;
  ctx.ports = kept.ports;
  return 0;
}

/** Seconds after which nobody puts the pieces of a packet together any more. RFC 8200 section 4.5; RFC 791 and Linux wait less. */
const REASSEMBLY: u32 = 60;

/** Forgets packets whose pieces are useless by now, of the next `places` of the map. How many. */
export function collect<A>(places: u32): u32 {
  const map = fragments<A>();
  let removed: u32 = 0;
  for (let i = min<u32>(places, map.places); i > 0; i--) {
    const kept = map.inspect();
    if (kept === null || kept.created + REASSEMBLY > ct.now) continue;
    map.expire(kept);
    removed++;
  }
  return removed;
}

/** A piece where none is tracked: a pod sends none; one that arrives has no ports, and only rules without any let it. */
function untracked<A>(ctx: Context<A>): i32 {
  if (ctx.program == Program.FROM_CONTAINER) return -DropReason.FRAG_NOSUPPORT;
  ctx.fragmented = Fragmented.LATER;
  ctx.l4 = 0;
  ctx.ports = 0;
  ctx.quoted = 0;
  return 0;
}
