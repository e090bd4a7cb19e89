/**
 * Maglev tables, as Cilium's agent builds them (`pkg/maglev/maglev.go`, after "Maglev: A Fast and Reliable Software
 * Network Load Balancer", Eisenbud et al., NSDI 2016), and the look-up in them (`bpf/lib/lb.h`).
 */
import { MapError, MapId } from '../abi';
import { take } from '../maps/arena';
import { HashMap } from '../maps/hash';
import { mapOf } from '../wire/address';
import { jhash3words, jhash6words } from './jhash';
import { murmur3High, murmur3Low, murmur3x64 } from './murmur3';
import { Context } from './packet';
import * as trace from './trace';

/** Bytes that the text of a backend may have: `[address:port/PROTO,State:active]`. */
export const NAME_ROOM: u32 = 96;

/** A backend as the host hands it in for `build`. */
@unmanaged
export class MaglevBackend {
  backendId: u32;
  weight: u16;
  nameLength: u16;
  /** The text that Cilium hashes, `nameLength` bytes of ASCII; `NAME_ROOM` bytes follow this struct for it. */
}

@unmanaged
export class MaglevKey {
  revNatIndex: u32;
}

/**
 * Cilium's inner map: here a table in a pool of tables of one size. Where Cilium has a backend's id in each slot, this has its number
 * among the Service's backends, a quarter of the bytes: the slot of a new flow is wherever its hash says, and seldom near.
 *
 *   u32 ids[backends]   of the backends, by number
 *   slots[size]         numbers, of one byte; of two where a Service may have more than 255 backends
 */
@unmanaged
export class MaglevTable {
  /** Address of the ids, and of the slots. */
  ids: u32;
  slots: u32;
  size: u32;
  /** Bytes of a slot. */
  width: u32;
}

/** The tables of a family's Services; both take them from one pool. */
export function tables<A>(): HashMap<MaglevKey, MaglevTable> {
  return changetype<HashMap<MaglevKey, MaglevTable>>(memory.data(offsetof<HashMap<MaglevKey, MaglevTable>>(), 16));
}

const key = changetype<MaglevKey>(memory.data(offsetof<MaglevKey>(), 16));
const value = changetype<MaglevTable>(memory.data(offsetof<MaglevTable>(), 16));

/** Slots of each table, a prime. */
let size: u32 = 0;
/** Bytes of each slot. */
let width: u32 = 1;
/** Tables with the ids of their backends, and bytes of each. */
let pool: usize = 0;
let stride: usize = 0;
/** Addresses of the tables that no Service uses, and how many. */
let spare: usize = 0;
let spareCount: u32 = 0;
/** While building: position in each backend's sequence, its offset, skip and turn. */
let walkers: usize = 0;
let walkerCount: u32 = 0;
/** Backends that each table has room for the ids of. */
let room: u32 = 0;
/** The Service whose table was looked for in vain last, 0 for none. */
let missing: u32 = 0;

/** Seeds of the hashes, from the cluster's seed (`pkg/maglev`: three big-endian words, for murmur, jhash over IPv4 and over IPv6). */
let murmurSeed: u32 = 0;
let jhashSeed: u32 = 0;
let jhashSeed6: u32 = 0;

/** As many backends have numbers of one byte; the byte that is left says that a slot is free. */
const MOST: u32 = 0xff;

/** A backend's walk through the slots in its own order. */
@unmanaged
class Walker {
  slot: u32;
  skip: u32;
  weight: u32;
  /** Slots taken so far, times the sum of all weights; a little at first, so that nobody is left out. */
  claimed: f64;
}

/** Takes memory for the pool of `capacity` tables of `tableSize` slots, built from at most `backends` backends each. */
export function create(capacity: u32, tableSize: u32, backends: u32): void {
  size = tableSize;
  width = backends > MOST ? 2 : 1;
  room = backends;
  const ids = (<usize>backends) << 2;
  stride = ids + ((<usize>(tableSize * width) + 3) & ~3);
  spare = take((<usize>capacity) << 2);
  spareCount = capacity;
  pool = take(<usize>capacity * stride);
  walkers = take(<usize>backends * offsetof<Walker>());
  walkerCount = min<u32>(backends, 0xffff);
}

/** Once that memory is there: no Service uses a table yet. */
export function start(): void {
  for (let i: usize = 0; i < <usize>spareCount; i++) store<u32>(spare + (i << 2), <u32>(pool + i * stride));
}

export function setSeeds(murmur: u32, jhash: u32, jhash6: u32): void {
  murmurSeed = murmur;
  jhashSeed = jhash;
  jhashSeed6 = jhash6;
}

/**
 * Builds the table of a Service from `count` backends at `backends` (records of `offsetof<MaglevBackend>() + NAME_ROOM`
 * bytes, sorted by name as Cilium sorts them). 0, E2BIG without a free table or with too many backends, EINVAL for none.
 */
export function build<A>(revNatIndex: u32, backends: usize, count: u32): i32 {
  if (count == 0) return MapError.EINVAL;
  if (count > walkerCount) return MapError.E2BIG;
  key.revNatIndex = revNatIndex;
  const present = tables<A>().lookup(key);
  let ids: usize;
  if (present !== null) ids = present.ids;
  else {
    if (spareCount == 0) return MapError.E2BIG;
    ids = load<u32>(spare + ((<usize>(spareCount - 1)) << 2));
    value.ids = <u32>ids;
    value.slots = <u32>ids + (room << 2);
    value.size = size;
    value.width = width;
    const error = tables<A>().update(key, value);
    if (error != 0) return error;
    spareCount--;
  }
  const slots = ids + ((<usize>room) << 2);
  const weightSum = prepare(backends, count, ids);
  if (width == 1) fill<u8>(slots, weightSum, count);
  else fill<u16>(slots, weightSum, count);
  return 0;
}

/** Gives a Service's table back. 0 or ENOENT. */
export function remove<A>(revNatIndex: u32): i32 {
  key.revNatIndex = revNatIndex;
  const present = tables<A>().lookup(key);
  if (present === null) return MapError.ENOENT;
  store<u32>(spare + ((<usize>spareCount) << 2), present.ids);
  spareCount++;
  return tables<A>().delete(key);
}

/** The Service whose table was looked for in vain since this was asked last, 0 for none: a host that builds tables late is told. */
export function takeMissing(): u32 {
  const revNatIndex = missing;
  missing = 0;
  return revNatIndex;
}

function walker(index: u32): Walker {
  return changetype<Walker>(walkers + <usize>index * offsetof<Walker>());
}

/** Hashes the names, and numbers the backends; returns the sum of the weights, or 0 when all weights are 1. */
function prepare(backends: usize, count: u32, ids: usize): u32 {
  let sum: u32 = 0;
  let weighted = false;
  for (let i: u32 = 0; i < count; i++) {
    const at = backends + <usize>i * (offsetof<MaglevBackend>() + NAME_ROOM);
    const backend = changetype<MaglevBackend>(at);
    murmur3x64(at + offsetof<MaglevBackend>(), min<u32>(backend.nameLength, NAME_ROOM), murmurSeed);
    const w = walker(i);
    w.slot = <u32>(murmur3Low() % size);
    w.skip = <u32>(murmur3High() % (size - 1)) + 1;
    store<u32>(ids + ((<usize>i) << 2), backend.backendId);
    w.weight = backend.weight;
    w.claimed = <f64>backend.weight / <f64>count;
    sum += backend.weight;
    if (backend.weight > 1) weighted = true;
  }
  return weighted ? sum : 0;
}

/** The slot `skip` slots further on, round and round. */
function after(slot: u32, skip: u32): u32 {
  const next = slot + skip;
  return next >= size ? next - size : next;
}

/** The first free slot of a walk from `slot` on. */
function free<T>(slots: usize, slot: u32, skip: u32): u32 {
  while (load<T>(slots + <usize>slot * sizeof<T>()) != <T>-1) slot = after(slot, skip);
  return slot;
}

/**
 * Lets the backends take turns, each claiming the next slot of its own order that is still free. With weights, the slot
 * goes to the first backend, from the one whose turn it would be, whose share of the slots so far is not yet used up.
 */
function fill<T>(slots: usize, weightSum: u32, count: u32): void {
  memory.fill(slots, 0xff, <usize>size * sizeof<T>());
  let turn: u32 = 0;
  for (let filled: u32 = 0; filled < size; filled++) {
    let number = turn;
    let w = walker(number);
    if (weightSum != 0) {
      while (<f64>(filled + 1) * <f64>w.weight < w.claimed) {
        number = number + 1 == count ? 0 : number + 1;
        w = walker(number);
      }
      w.claimed += <f64>weightSum;
    }
    const slot = free<T>(slots, w.slot, w.skip);
    store<T>(slots + <usize>slot * sizeof<T>(), <T>number);
    w.slot = after(slot, w.skip);
    turn = turn + 1 == count ? 0 : turn + 1;
  }
}

/**
 * The backend of the packet in hand (`lb4_select_backend_id_maglev`): 0 when the Service has no table. `affinity`: the
 * client's address alone decides, not its port.
 */
export function select<A>(ctx: Context<A>, revNatIndex: u32, affinity: bool): u32 {
  const table = tableOf<A>(revNatIndex);
  trace.lookup<MaglevKey, MaglevTable>(mapOf<A>(MapId.LB4_MAGLEV), key, table);
  if (table === null) {
    missing = revNatIndex;
    return 0;
  }
  const ports = (ctx.dport << 16) | (affinity ? 0 : ctx.sport);
  return backendIn(table, slotOf<A>(table, ctx.saddr, ports, ctx.protocol));
}

/** The table of a Service; null for none. */
export function tableOf<A>(revNatIndex: u32): MaglevTable {
  key.revNatIndex = revNatIndex;
  return tables<A>().lookup(key);
}

/** Address of a flow's slot. */
export function slotOf<A>(table: MaglevTable, saddr: A, ports: u32, protocol: u32): usize {
  const slot = tupleHash<A>(saddr, ports, protocol) % table.size;
  return <usize>table.slots + slot * table.width;
}

/** The id of the backend whose number is in the slot at `slot`. */
export function backendIn(table: MaglevTable, slot: usize): u32 {
  const number: u32 = table.width == 1 ? load<u8>(slot) : load<u16>(slot);
  return load<u32>(<usize>table.ids + ((<usize>number) << 2));
}

/** Cilium `hash_from_tuple_v4`, `hash_from_tuple_v6`. */
function tupleHash<A>(saddr: A, ports: u32, protocol: u32): u32 {
  if (isVector<A>()) return jhash6words(saddr, ports, protocol, jhashSeed6);
  return jhash3words(<u32>saddr, ports, protocol, jhashSeed);
}
