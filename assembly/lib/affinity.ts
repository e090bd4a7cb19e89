/** Session affinity: which backend a client had last. Cilium `bpf/lib/lb.h`, maps cilium_lb4_affinity and cilium_lb_affinity_match. */
import { MapId } from '../abi';
import { HashMap, hashOf } from '../maps/hash';
import { LruHashMap } from '../maps/lru';
import { mapOf } from '../wire/address';
import * as ct from './conntrack';
import * as recording from './recording';
import * as trace from './trace';

/** Cilium `struct lb4_affinity_key`, `lb6_affinity_key`. */
@unmanaged
export class LbAffinityKey<A> {
  /** Of the client; or the number of its network namespace. */
  address: A;
  revNatIndex: u16;
  /** 1 for a client known by its network namespace. */
  netnsCookie: u8;
  pad: u8;

  home(): u32 {
    return hashOf<LbAffinityKey<A>>(changetype<usize>(this));
  }

  kind(): u32 {
    return 1;
  }

  /** No answer is kept that depends on what a client had. */
  leaves(_: u32): void {}

  /** `netns` is 0 for a client known by its address. */
  @inline
  set(client: A, netns: u32, revNatIndex: u32): void {
    this.address = client;
    if (netns != 0) {
      if (isVector<A>()) this.address = i64x2(netns, 0);
      else this.address = <A>netns;
    }
    const cookie: u32 = netns != 0 ? 1 : 0;
    store<u32>(changetype<usize>(this) + offsetof<LbAffinityKey<A>>('revNatIndex'), revNatIndex | (cookie << 16));
  }
}

/** Cilium `struct lb_affinity_val`. */
@unmanaged
export class LbAffinityValue {
  /** In seconds of the datapath's clock. */
  lastUsed: u32;
  backendId: u32;
}

/** Cilium `struct lb_affinity_match`: the backends that a Service has now. */
@unmanaged
export class LbAffinityMatch {
  backendId: u32;
  revNatIndex: u32;
}

/** That it is there says all. */
@unmanaged
export class LbAffinityMatched {
  present: u32;
}

export function clients<A>(): LruHashMap<LbAffinityKey<A>, LbAffinityValue> {
  return changetype<LruHashMap<LbAffinityKey<A>, LbAffinityValue>>(
    memory.data(offsetof<LruHashMap<LbAffinityKey<A>, LbAffinityValue>>(), 16),
  );
}

export const matches = changetype<HashMap<LbAffinityMatch, LbAffinityMatched>>(
  memory.data(offsetof<HashMap<LbAffinityMatch, LbAffinityMatched>>(), 16),
);

function scratch<A>(): LbAffinityKey<A> {
  return changetype<LbAffinityKey<A>>(memory.data(offsetof<LbAffinityKey<A>>(), 16));
}

const match = changetype<LbAffinityMatch>(memory.data(offsetof<LbAffinityMatch>(), 16));

/** The backend that a client had within the Service's timeout, in seconds, if the Service still has it (`lb4_affinity_backend_id`); 0 for none. */
export function recall<A>(client: A, netns: u32, revNatIndex: u32, timeout: u32): u32 {
  recording.spoil();
  const key = scratch<A>();
  key.set(client, netns, revNatIndex);
  const value = clients<A>().touch(key);
  trace.lookup<LbAffinityKey<A>, LbAffinityValue>(mapOf<A>(MapId.LB4_AFFINITY), key, value);
  if (value === null || value.lastUsed + timeout <= ct.now) return 0;
  match.backendId = value.backendId;
  match.revNatIndex = revNatIndex;
  return matches.lookup(match) === null ? 0 : value.backendId;
}

/** Notes that a client has a backend now (`lb4_update_affinity`). */
export function remember<A>(client: A, netns: u32, revNatIndex: u32, backendId: u32): void {
  recording.spoil();
  const key = scratch<A>();
  key.set(client, netns, revNatIndex);
  const at = clients<A>().admit(key);
  if (at == 0) return;
  const value = changetype<LbAffinityValue>(at);
  value.lastUsed = ct.now;
  value.backendId = backendId;
}

/** The longest that a Service may ask for, in seconds. Kubernetes `spec.sessionAffinityConfig.clientIP.timeoutSeconds`. */
const MAX_TIMEOUT: u32 = 86400;

/** Forgets clients that no Service remembers any more, of the next `places` of the map. How many. */
export function collect<A>(places: u32): u32 {
  const map = clients<A>();
  let removed: u32 = 0;
  for (let i = min<u32>(places, map.places); i > 0; i--) {
    const value = map.inspect();
    if (value === null || value.lastUsed + MAX_TIMEOUT > ct.now) continue;
    map.expire(value);
    removed++;
  }
  return removed;
}
