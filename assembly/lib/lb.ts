/** Services: look-up, choice of a backend, translation and its undoing. Cilium `bpf/lib/lb.h`. */
import {
  BackendState,
  ConfigFlag,
  CtDirection,
  DropReason,
  LbAlgorithm,
  LbScope,
  MapId,
  Program,
  Step,
  SvcFlag,
  SvcFlag2,
  TcpFlag,
} from '../abi';
import { HashMap, hashOf } from '../maps/hash';
import { LpmMap } from '../maps/lpm';
import { bitsOf, folded, loopback, mapOf, truncate } from '../wire/address';
import { be16 } from '../wire/bytes';
import * as affinity from './affinity';
import * as config from './config';
import * as ct from './conntrack';
import { CtEntry } from './conntrack';
import * as maglev from './maglev';
import { Context, icmpOf } from './packet';
import * as recording from './recording';
import * as rewrite from './rewrite';
import * as trace from './trace';

/** Cilium `struct lb4_key`, `lb6_key`. Slot 0 is the Service itself (its master), the others its backends. */
@unmanaged
export class LbKey<A> {
  address: A;
  /** 0 stands for every port that has no entry of its own. */
  dport: be16;
  backendSlot: u16;
  proto: u8;
  scope: u8;
  /** 0: the entry holds on every node. Cilium's map is one a node. */
  node: u16;
}

/** Cilium `struct lb4_service`, `lb6_service`. */
@unmanaged
export class LbService {
  /** In a slot: the backend. In a master: an `LbAlgorithm` in the top byte, the affinity timeout in seconds below. */
  backendId: u32;
  /** In a master: backends in the slots. */
  count: u16;
  revNatIndex: u16;
  /** Bits of `SvcFlag`. */
  flags: u8;
  flags2: u8;
  qcount: u16;

  /** Seconds for which a client keeps its backend. */
  get affinityTimeout(): u32 {
    return this.backendId & 0xffffff;
  }
}

@unmanaged
export class LbBackendKey {
  backendId: u32;
}

/** Cilium `struct lb4_backend`, `lb6_backend`. */
@unmanaged
export class LbBackend<A> {
  address: A;
  port: be16;
  proto: u8;
  /** A `BackendState`. */
  state: u8;
  weight: u16;
  pad: u16;
}

@unmanaged
export class LbReverseNatKey {
  revNatIndex: u32;
}

/** Cilium `struct lb4_reverse_nat`, `lb6_reverse_nat`: what clients address. */
@unmanaged
export class LbReverseNat<A> {
  address: A;
  port: be16;
  pad: u16;
}

/** Cilium `struct lb4_src_range_key`, `lb6_src_range_key`; `prefixLength` counts the bits of the address only. */
@unmanaged
export class LbSourceRangeKey<A> {
  address: A;
  prefixLength: u32;
  revNatIndex: u32;

  truncate(length: u32): void {
    this.prefixLength = length;
    truncate<A>(changetype<usize>(this), length);
  }
}

/** That it is there says all. */
@unmanaged
export class LbSourceRange {
  present: u32;
}

export function services<A>(): HashMap<LbKey<A>, LbService> {
  return changetype<HashMap<LbKey<A>, LbService>>(memory.data(offsetof<HashMap<LbKey<A>, LbService>>(), 16));
}

export function backends<A>(): HashMap<LbBackendKey, LbBackend<A>> {
  return changetype<HashMap<LbBackendKey, LbBackend<A>>>(
    memory.data(offsetof<HashMap<LbBackendKey, LbBackend<A>>>(), 16),
  );
}

export function reverseNats<A>(): HashMap<LbReverseNatKey, LbReverseNat<A>> {
  return changetype<HashMap<LbReverseNatKey, LbReverseNat<A>>>(
    memory.data(offsetof<HashMap<LbReverseNatKey, LbReverseNat<A>>>(), 16),
  );
}

export function sourceRanges<A>(): LpmMap<LbSourceRangeKey<A>, LbSourceRange> {
  return changetype<LpmMap<LbSourceRangeKey<A>, LbSourceRange>>(
    memory.data(offsetof<LpmMap<LbSourceRangeKey<A>, LbSourceRange>>(), 16),
  );
}

function serviceKey<A>(): LbKey<A> {
  return changetype<LbKey<A>>(memory.data(offsetof<LbKey<A>>(), 16));
}

function rangeKey<A>(): LbSourceRangeKey<A> {
  return changetype<LbSourceRangeKey<A>>(memory.data(offsetof<LbSourceRangeKey<A>>(), 16));
}

const backendKey = changetype<LbBackendKey>(memory.data(offsetof<LbBackendKey>(), 16));
const reverseKey = changetype<LbReverseNatKey>(memory.data(offsetof<LbReverseNatKey>(), 16));

/** `scope` is that of the context: scope and node as they lie in the key. */
function findService<A>(address: A, dport: u32, protocol: u32, slot: u32, scope: u32): LbService {
  const key = serviceKey<A>();
  key.address = address;
  store<u32>(changetype<usize>(key) + offsetof<LbKey<A>>('dport'), dport | (slot << 16));
  store<u32>(changetype<usize>(key) + offsetof<LbKey<A>>('proto'), protocol | scope);
  const service = services<A>().lookup(key);
  trace.lookup<LbKey<A>, LbService>(mapOf<A>(MapId.LB4_SERVICES), key, service);
  return service;
}

/** Whether a Service keeps this kind of client to the backends of the node they are on. */
function isLocal(service: LbService, external: bool): bool {
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
export function lookupService<A>(ctx: Context<A>, external: bool): LbService {
  ctx.scope = 0;
  // ICMP asks no port: all it can find is that the address is a Service's.
  if (ctx.protocol == icmpOf<A>()) return findService<A>(ctx.daddr, 0, 0, 0, 0);
  const service = findService<A>(ctx.daddr, ctx.dport, ctx.protocol, 0, 0);
  if (service === null) return findService<A>(ctx.daddr, 0, 0, 0, 0);
  if (!isLocal(service, external)) return service;
  ctx.scope = ((external ? LbScope.EXTERNAL : LbScope.INTERNAL) << 8) | (ctx.node << 16);
  return findService<A>(ctx.daddr, ctx.dport, ctx.protocol, 0, ctx.scope);
}

/** The frontend with an address and port, network order, as clients within the cluster find it (`lb4_lookup_service` with `east_west`); null for none. */
export function lookupFrontend<A>(ctx: Context<A>, address: A, port: u32): LbService {
  ctx.scope = 0;
  const service = findService<A>(address, port, ctx.protocol, 0, 0);
  if (service === null || !isLocal(service, false)) return service;
  ctx.scope = (LbScope.INTERNAL << 8) | (ctx.node << 16);
  return findService<A>(address, port, ctx.protocol, 0, ctx.scope);
}

/** Whether a Service that takes clients from some prefixes only, or keeps some out, takes this one (`lb4_src_range_ok`). */
export function takes<A>(ctx: Context<A>, service: LbService): bool {
  if ((service.flags & SvcFlag.SOURCE_RANGE) == 0) return true;
  const key = rangeKey<A>();
  key.prefixLength = bitsOf<A>();
  key.revNatIndex = service.revNatIndex;
  key.address = ctx.saddr;
  const range = sourceRanges<A>().longest(key);
  trace.lookup<LbSourceRangeKey<A>, LbSourceRange>(mapOf<A>(MapId.LB4_SOURCE_RANGE), key, range);
  return (range !== null) != ((service.flags2 & SvcFlag2.SOURCE_RANGE_DENY) != 0);
}

function lookupBackend<A>(backendId: u32): LbBackend<A> {
  backendKey.backendId = backendId;
  const backend = backends<A>().lookup(backendKey);
  trace.lookup<LbBackendKey, LbBackend<A>>(mapOf<A>(MapId.LB4_BACKENDS), backendKey, backend);
  return backend;
}

/** The backend in a slot of the frontend at `address`, 0 when the slot is missing. */
function backendInSlot<A>(ctx: Context<A>, address: A, slot: u32): u32 {
  const entry = findService<A>(address, ctx.dport, ctx.protocol, slot, ctx.scope);
  return entry === null ? 0 : entry.backendId;
}

/** Whether a Service keeps each client to one backend. */
function isSticky(service: LbService): bool {
  return (service.flags & SvcFlag.AFFINITY) != 0;
}

/** A packet whose backend is not only its Maglev table's to say. */
export const UNDECIDED: usize = 1;

/** The Maglev table that alone decides which backend a new flow gets; null for one that asks no Service, or `UNDECIDED`. */
export function tableOf<A>(daddr: A, dport: u32, protocol: u32): usize {
  const service = findService<A>(daddr, dport, protocol, 0, 0);
  if (service === null) return 0;
  if (service.backendId >>> 24 != LbAlgorithm.MAGLEV || isSticky(service)) return UNDECIDED;
  if (isLocal(service, false) || isLocal(service, true)) return UNDECIDED;
  const table = maglev.tableOf<A>(service.revNatIndex);
  return table === null ? UNDECIDED : changetype<usize>(table);
}

/** Picks a backend for a new flow (`lb4_select_backend_id`). 0 when the maps hold none. */
function selectBackend<A>(ctx: Context<A>, service: LbService, address: A): u32 {
  const sticky = isSticky(service);
  if (service.backendId >>> 24 == LbAlgorithm.MAGLEV) {
    const backendId = maglev.select<A>(ctx, service.revNatIndex, sticky);
    if (backendId != 0) return backendId;
  }
  // Cilium draws a random slot. A hash of the flow spreads as well, and the same packet gets the same answer.
  if (!sticky) recording.dependsOnPort();
  spread.address = folded<A>(ctx.saddr);
  spread.flow = (sticky ? 0 : ctx.ports) ^ (ctx.protocol << 8);
  return backendInSlot<A>(ctx, address, 1 + (hashOf<Spread>(changetype<usize>(spread)) % service.count));
}

@unmanaged
class Spread {
  address: u32;
  flow: u32;
}

const spread = changetype<Spread>(memory.data(offsetof<Spread>(), 16));

/** The backend that a flow already has, while that is there: flows may finish on one that is not active, but not open; null for none. */
function keptBackend<A>(ctx: Context<A>, flow: CtEntry): LbBackend<A> {
  const backend = lookupBackend<A>(flow.backendId);
  const drained = backend === null || (backend.state != <u8>BackendState.ACTIVE && (ctx.tcpFlags & TcpFlag.SYN) != 0);
  if (drained) return changetype<LbBackend<A>>(0);
  ctx.backendId = flow.backendId;
  return backend;
}

/**
 * A backend for a new flow to the frontend at `address`: the client's own, where the Service keeps clients to one, else one
 * that is picked; null for none. Clients are known by the number of their network namespace, or with 0 by their address.
 * Leaves in `ctx` the backend that was found in the Service's slots, also where there is no such backend.
 */
export function newBackend<A>(ctx: Context<A>, service: LbService, address: A, netns: u32): LbBackend<A> {
  const sticky = isSticky(service);
  let backendId = sticky ? affinity.recall<A>(ctx.saddr, netns, service.revNatIndex, service.affinityTimeout) : 0;
  let backend = changetype<LbBackend<A>>(0);
  if (backendId != 0) {
    backend = lookupBackend<A>(backendId);
    if (backend !== null && backend.state != <u8>BackendState.ACTIVE) backend = changetype<LbBackend<A>>(0);
  }
  if (backend === null) {
    backendId = selectBackend<A>(ctx, service, address);
    backend = lookupBackend<A>(backendId);
  }
  ctx.backendId = backendId;
  return backend;
}

/**
 * Lends the packet in hand to a backend of `service` (`lb4_local`), keeping the one its flow already has while that backend
 * lives. The destination becomes the backend's; a packet that would go back to its sender gets the loopback address as source.
 * 0, or negated NO_SERVICE (no backend), CT_CREATE_FAILED. `ctx` then tells the backend and the Service.
 */
export function local<A>(ctx: Context<A>, service: LbService): i32 {
  const revNatIndex = <u32>service.revNatIndex;
  ctx.revNatIndex = revNatIndex;
  const flow = ct.lookupService<A>(ctx, revNatIndex);
  let backend = flow === null ? changetype<LbBackend<A>>(0) : keptBackend<A>(ctx, flow);
  if (backend === null) {
    if (service.count == 0) return -DropReason.NO_SERVICE;
    backend = newBackend<A>(ctx, service, ctx.daddr, 0);
    if (backend === null) return -DropReason.NO_SERVICE;
    if (flow !== null) {
      recording.spoil();
      flow.backendId = ctx.backendId;
      ct.connections<A>().keyOf(flow).changed();
    } else {
      const result = ct.create<A>(ctx, CtDirection.SERVICE, revNatIndex, ctx.backendId, 0);
      if (result < 0) return result;
    }
  }
  if (isSticky(service)) affinity.remember<A>(ctx.saddr, 0, revNatIndex, ctx.backendId);
  ctx.loopback = ctx.saddr == backend.address && mayLoop<A>(ctx);
  rewrite.tuple<A>(
    ctx,
    ctx.loopback ? loopback<A>() : ctx.saddr,
    backend.address,
    (ctx.ports & 0xffff) | ((<u32>backend.port) << 16),
  );
  trace.step<A>(ctx, Step.LB, trace.NO_POINT, ctx.backendId);
  return 0;
}

/**
 * Whether a packet that would go back to its sender does so: not where it comes from outside, which has no link on which it would
 * come back (`USE_LOOPBACK_LB`); kube-proxy masquerades it instead.
 */
function mayLoop<A>(ctx: Context<A>): bool {
  return ctx.program != Program.FROM_NETDEV && !config.has(ConfigFlag.SERVICE_MASQUERADE);
}

/**
 * Lends the packet in hand to the backend of `service` with that address, which another node picked. Whether there is one.
 * `ctx` then tells the backend and the Service.
 */
export function localTo<A>(ctx: Context<A>, service: LbService, address: A): bool {
  for (let slot: u32 = 1; slot <= <u32>service.count; slot++) {
    const backendId = backendInSlot<A>(ctx, ctx.daddr, slot);
    const backend = lookupBackend<A>(backendId);
    if (backend === null || backend.address != address) continue;
    ctx.revNatIndex = service.revNatIndex;
    ctx.backendId = backendId;
    rewrite.destination<A>(ctx, address, backend.port);
    trace.step<A>(ctx, Step.LB, trace.NO_POINT, backendId);
    return true;
  }
  return false;
}

/**
 * An ICMP error about a Service's reply goes to the backend that sent it, and quotes it as that backend sent it. Whether the
 * packet in hand was one.
 */
export function localQuoted<A>(ctx: Context<A>): bool {
  const flow = ct.peekQuotedService<A>(ctx);
  if (flow === null) return false;
  const backend = lookupBackend<A>(flow.backendId);
  if (backend === null) return false;
  const ports = (ctx.quotedPorts & 0xffff0000) | backend.port;
  rewrite.tuple<A>(ctx, ctx.saddr, backend.address, ctx.ports);
  rewrite.quoted<A>(ctx, backend.address, ctx.quotedDaddr, ports);
  trace.step<A>(ctx, Step.LB, trace.NO_POINT, flow.backendId);
  return true;
}

function lookupReverse<A>(revNatIndex: u32): LbReverseNat<A> {
  reverseKey.revNatIndex = revNatIndex;
  const frontend = reverseNats<A>().lookup(reverseKey);
  trace.lookup<LbReverseNatKey, LbReverseNat<A>>(mapOf<A>(MapId.LB4_REVERSE_NAT), reverseKey, frontend);
  return frontend;
}

/**
 * Gives a reply the Service's address back as its source (`lb4_rev_nat`). Nothing happens when the Service is gone.
 */
export function reverse<A>(ctx: Context<A>): void {
  const frontend = lookupReverse<A>(ctx.revNatIndex);
  if (frontend !== null) restore<A>(ctx, frontend.address, frontend.port);
}

/**
 * Gives a reply `address` and `port` (network order) as its source; a reply on the loopback address goes to the pod itself. An
 * ICMP error about a request gets them in what it quotes, and as its source where the backend sent it.
 */
export function restore<A>(ctx: Context<A>, address: A, port: u32): void {
  // Where the packet was looped back, its source is the pod that opened the connection.
  const looped = ctx.loopback;
  const pod = ctx.saddr;
  const daddr = looped ? pod : ctx.daddr;
  if (ctx.quoted != 0) {
    const fromBackend = pod == ctx.quotedDaddr;
    rewrite.quoted<A>(ctx, looped ? pod : ctx.quotedSaddr, address, (ctx.quotedPorts & 0xffff) | (port << 16));
    rewrite.tuple<A>(ctx, fromBackend ? address : pod, daddr, ctx.ports);
  } else rewrite.tuple<A>(ctx, address, daddr, (ctx.ports & 0xffff0000) | port);
  trace.step<A>(ctx, Step.REVERSE_LB, trace.NO_POINT, ctx.revNatIndex);
}
