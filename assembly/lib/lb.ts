/** Services: look-up, choice of a backend, translation and its undoing. Cilium `bpf/lib/lb.h`. */
import {
  BackendState,
  CtDirection,
  DropReason,
  IPV4_LOOPBACK_WORD,
  LbAlgorithm,
  LbScope,
  MapId,
  Step,
  SvcFlag,
  SvcFlag2,
} from '../abi';
import { HashMap, hashOf } from '../maps/hash';
import { LpmMap } from '../maps/lpm';
import * as ct from './conntrack';
import * as maglev from './maglev';
import * as rewrite from './rewrite';
import { Context } from './packet';
import * as trace from './trace';
import { be16, be32, ntohl } from '../wire/bytes';

/** Cilium `struct lb4_key`. Slot 0 is the Service itself (its master), the others its backends. */
@unmanaged
export class Lb4Key {
  address: be32;
  /** 0 stands for every port that has no entry of its own. */
  dport: be16;
  backendSlot: u16;
  proto: u8;
  scope: u8;
  /** 0: the entry holds on every node. Cilium's map is one a node. */
  node: u16;
}

/** Cilium `struct lb4_service`. */
@unmanaged
export class Lb4Service {
  /** In a slot: the backend. In a master: an `LbAlgorithm` in the top byte, the affinity timeout in seconds below. */
  backendId: u32;
  /** In a master: backends in the slots. */
  count: u16;
  revNatIndex: u16;
  /** Bits of `SvcFlag`. */
  flags: u8;
  flags2: u8;
  qcount: u16;
}

@unmanaged
export class Lb4BackendKey {
  backendId: u32;
}

/** Cilium `struct lb4_backend`. */
@unmanaged
export class Lb4Backend {
  address: be32;
  port: be16;
  proto: u8;
  /** A `BackendState`. */
  state: u8;
  weight: u16;
  pad: u16;
}

@unmanaged
export class Lb4ReverseNatKey {
  revNatIndex: u32;
}

/** Cilium `struct lb4_reverse_nat`: what clients address. */
@unmanaged
export class Lb4ReverseNat {
  address: be32;
  port: be16;
  pad: u16;
}

/** Cilium `struct lb4_src_range_key`; `prefixLength` counts the bits of the address only. */
@unmanaged
export class Lb4SourceRangeKey {
  prefixLength: u32;
  revNatIndex: u32;
  address: be32;

  truncate(length: u32): void {
    this.prefixLength = length;
    this.address &= length == 0 ? 0 : ntohl((<u32>-1) << (32 - length));
  }
}

/** That it is there says all. */
@unmanaged
export class Lb4SourceRange {
  present: u32;
}

export const services = changetype<HashMap<Lb4Key, Lb4Service>>(
  memory.data(offsetof<HashMap<Lb4Key, Lb4Service>>(), 16),
);
export const backends = changetype<HashMap<Lb4BackendKey, Lb4Backend>>(
  memory.data(offsetof<HashMap<Lb4BackendKey, Lb4Backend>>(), 16),
);
export const reverseNats = changetype<HashMap<Lb4ReverseNatKey, Lb4ReverseNat>>(
  memory.data(offsetof<HashMap<Lb4ReverseNatKey, Lb4ReverseNat>>(), 16),
);

export const sourceRanges = changetype<LpmMap<Lb4SourceRangeKey, Lb4SourceRange>>(
  memory.data(offsetof<LpmMap<Lb4SourceRangeKey, Lb4SourceRange>>(), 16),
);

const rangeKey = changetype<Lb4SourceRangeKey>(memory.data(offsetof<Lb4SourceRangeKey>(), 16));
const key = changetype<Lb4Key>(memory.data(offsetof<Lb4Key>(), 16));
const backendKey = changetype<Lb4BackendKey>(memory.data(offsetof<Lb4BackendKey>(), 16));
const reverseKey = changetype<Lb4ReverseNatKey>(memory.data(offsetof<Lb4ReverseNatKey>(), 16));

/** `scope` is that of the context: scope and node as they lie in the key. */
function findService(address: u32, dport: u32, protocol: u32, slot: u32, scope: u32): Lb4Service {
  key.address = address;
  store<u32>(changetype<usize>(key) + offsetof<Lb4Key>('dport'), dport | (slot << 16));
  store<u32>(changetype<usize>(key) + offsetof<Lb4Key>('proto'), protocol | scope);
  const service = services.lookup(key);
  trace.lookup<Lb4Key, Lb4Service>(MapId.LB4_SERVICES, key, service);
  return service;
}

/** Whether a Service keeps this kind of client to the backends of the node they are on. */
function isLocal(service: Lb4Service, external: bool): bool {
  return external ? (service.flags & SvcFlag.EXT_LOCAL_SCOPE) != 0 : (service.flags2 & SvcFlag2.INT_LOCAL_SCOPE) != 0;
}

/**
 * The Service that the packet in hand is addressed to (`lb4_lookup_service`); `external` when it comes from outside:
 *
 * 1. the frontend with its address, port and protocol; where that keeps clients of this kind to their node, this node's
 * 2. the wildcard of its address: a Service is there, but not on this port; it has no backends
 *
 * null when the address is no Service's.
 */
export function lookupService(ctx: Context, external: bool): Lb4Service {
  ctx.scope = 0;
  const service = findService(ctx.daddr, ctx.dport, ctx.protocol, 0, 0);
  if (service === null) return findService(ctx.daddr, 0, 0, 0, 0);
  if (!isLocal(service, external)) return service;
  ctx.scope = ((external ? LbScope.EXTERNAL : LbScope.INTERNAL) << 8) | (ctx.node << 16);
  return findService(ctx.daddr, ctx.dport, ctx.protocol, 0, ctx.scope);
}

/** Whether a Service that only takes clients from some prefixes takes this one (`lb4_src_range_ok`). */
export function takes(ctx: Context, service: Lb4Service): bool {
  if ((service.flags & SvcFlag.SOURCE_RANGE) == 0) return true;
  rangeKey.prefixLength = 32;
  rangeKey.revNatIndex = service.revNatIndex;
  rangeKey.address = ctx.saddr;
  const range = sourceRanges.longest(rangeKey);
  trace.lookup<Lb4SourceRangeKey, Lb4SourceRange>(MapId.SOURCE_RANGE, rangeKey, range);
  return range !== null;
}

function lookupBackend(backendId: u32): Lb4Backend {
  backendKey.backendId = backendId;
  const backend = backends.lookup(backendKey);
  trace.lookup<Lb4BackendKey, Lb4Backend>(MapId.LB4_BACKENDS, backendKey, backend);
  return backend;
}

/** The backend in a slot, 0 when the slot is missing. */
function backendInSlot(ctx: Context, slot: u32): u32 {
  const entry = findService(ctx.daddr, ctx.dport, ctx.protocol, slot, ctx.scope);
  return entry === null ? 0 : entry.backendId;
}

/** Picks a backend for a new flow (`lb4_select_backend_id`). 0 when the maps hold none. */
function selectBackend(ctx: Context, service: Lb4Service): u32 {
  const affinity = (service.flags & SvcFlag.AFFINITY) != 0;
  if (service.backendId >>> 24 == LbAlgorithm.MAGLEV) {
    const backendId = maglev.select(ctx, service.revNatIndex, affinity);
    if (backendId != 0) return backendId;
  }
  // Cilium draws a random slot. A hash of the flow spreads as well, and the same packet gets the same answer.
  spread.address = ctx.saddr;
  spread.flow = (affinity ? 0 : ctx.ports) ^ (ctx.protocol << 8);
  return backendInSlot(ctx, 1 + (hashOf<Spread>(changetype<usize>(spread)) % service.count));
}

@unmanaged
class Spread {
  address: be32;
  flow: u32;
}

const spread = changetype<Spread>(memory.data(offsetof<Spread>(), 16));

/**
 * Lends the packet in hand to a backend of `service` (`lb4_local`), keeping the one its flow already has while that backend
 * lives. The destination becomes the backend's; a packet that would go back to its sender gets the loopback address as source.
 * 0, or negated NO_SERVICE (no backend), CT_CREATE_FAILED. `ctx` then tells the backend and the Service.
 */
export function local(ctx: Context, service: Lb4Service): i32 {
  const revNatIndex = <u32>service.revNatIndex;
  ctx.revNatIndex = revNatIndex;
  if (service.count == 0) return -DropReason.NO_SERVICE;
  let backendId: u32 = 0;
  let backend = changetype<Lb4Backend>(0);
  const flow = ct.lookupService(ctx);
  if (flow !== null && flow.revNatIndex == revNatIndex) {
    backendId = flow.backendId;
    backend = lookupBackend(backendId);
    // Flows that are established may finish on a backend that is terminating.
    if (backend !== null && backend.state > <u8>BackendState.TERMINATING) backend = changetype<Lb4Backend>(0);
  }
  if (backend === null) {
    backendId = selectBackend(ctx, service);
    backend = lookupBackend(backendId);
    if (backend === null) return -DropReason.NO_SERVICE;
    const result = ct.create(ctx, CtDirection.SERVICE, revNatIndex, backendId, 0);
    if (result < 0) return result;
  }
  ctx.backendId = backendId;
  ctx.loopback = ctx.saddr == backend.address;
  rewrite.tuple(
    ctx,
    ctx.loopback ? IPV4_LOOPBACK_WORD : ctx.saddr,
    backend.address,
    (ctx.ports & 0xffff) | ((<u32>backend.port) << 16),
  );
  trace.step(ctx, Step.LB, trace.NO_POINT, backendId);
  return 0;
}

/**
 * Gives a reply the Service's address back as its source (`lb4_rev_nat`); a reply on the loopback address goes to the pod
 * itself. Nothing happens when the Service is gone.
 */
export function reverse(ctx: Context): void {
  reverseKey.revNatIndex = ctx.revNatIndex;
  const frontend = reverseNats.lookup(reverseKey);
  trace.lookup<Lb4ReverseNatKey, Lb4ReverseNat>(MapId.LB4_REVERSE_NAT, reverseKey, frontend);
  if (frontend === null) return;
  // The packet was looped back, so its source is the pod that opened the connection.
  const daddr = ctx.loopback ? ctx.saddr : ctx.daddr;
  rewrite.tuple(ctx, frontend.address, daddr, (ctx.ports & 0xffff0000) | frontend.port);
  trace.step(ctx, Step.REVERSE_LB, trace.NO_POINT, ctx.revNatIndex);
}
