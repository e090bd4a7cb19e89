/** Fragments: the ports of a packet's first piece, kept for the pieces after it. Cilium `bpf/lib/ipfrag.h`, map cilium_ipv4_frag_datagrams. */
import { ConfigFlag, DropReason, MapId, Program } from '../abi';
import { LruHashMap } from '../maps/hash';
import { mapOf } from '../wire/address';
import { be16 } from '../wire/bytes';
import * as config from './config';
import { Context } from './packet';
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
}

/** Cilium `struct ipv4_frag_l4ports`. */
@unmanaged
export class FragmentPorts {
  sport: be16;
  dport: be16;

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
  if (at != 0) changetype<FragmentPorts>(at).ports = ctx.ports;
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

/** A piece where none is tracked: a pod sends none; one that arrives has no ports, and only rules without any let it. */
function untracked<A>(ctx: Context<A>): i32 {
  if (ctx.program == Program.FROM_CONTAINER) return -DropReason.FRAG_NOSUPPORT;
  ctx.l4 = 0;
  ctx.ports = 0;
  ctx.quoted = 0;
  return 0;
}
