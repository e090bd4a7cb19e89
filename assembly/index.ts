/** The module's exports: start-up, the maps, and batches of packets. Numbers are those of `abi.ts`, structs those of `pkg/structs.ts`. */
import { BATCH_SIZE, EVENT_SIZE, MapId, PACKET_HEADROOM, PACKET_ROOM } from './abi';
import * as batch from './batch';
import * as affinity from './lib/affinity';
import * as auth from './lib/auth';
import * as ct from './lib/conntrack';
import * as edt from './lib/edt';
import * as endpoint from './lib/endpoint';
import * as flow from './lib/flow';
import * as fragments from './lib/fragments';
import { ipcache } from './lib/ipcache';
import * as lb from './lib/lb';
import * as maglev from './lib/maglev';
import { nonMasquerade } from './lib/masquerade';
import { metrics } from './lib/metrics';
import * as nat from './lib/nat';
import * as opening from './lib/opening';
import { Packet } from './lib/packet';
import { policies } from './lib/policy';
import * as recording from './lib/recording';
import * as reverseSk from './lib/reverse-sk';
import * as trace from './lib/trace';
import * as arena from './maps/arena';
import { Capacities } from './maps/capacities';
import { setSeed } from './maps/hash';
import { MapOp, onMap } from './registry';
import { mapOf } from './wire/address';
import { copy, copyFrame } from './wire/records';

export { touch } from './floor';

const capacities = changetype<Capacities>(memory.data(offsetof<Capacities>(), 16));

let scratchAt: usize = 0;
let packetsAt: usize = 0;
let framesAt: usize = 0;
let templatesAt: usize = 0;

/** Where the host writes the capacities before `create`. */
export function capacitiesAt(): usize {
  return changetype<usize>(capacities);
}

/** Takes all the memory there will be. To be called once, first. Traps when the host has not that much. */
export function create(hashSeed: u64, murmurSeed: u32, jhashSeed: u32, jhash6Seed: u32): void {
  setSeed(hashSeed);
  maglev.setSeeds(murmurSeed, jhashSeed, jhash6Seed);
  createFamily<u32>();
  createFamily<v128>();
  maglev.create(capacities.maglev4 + capacities.maglev6, capacities.maglevTableSize, capacities.maglevBackends);
  affinity.matches.create(capacities.affinityMatch);
  policies.create(capacities.policy);
  auth.authenticated.create(capacities.auth);
  edt.throttles.create(capacities.throttle);
  endpoint.configs.create(capacities.endpointConfig);
  endpoint.nodeConfigs.create(capacities.nodeConfig);
  metrics.create(capacities.metrics);
  trace.events.create(capacities.events, EVENT_SIZE);
  flow.create<u32>(capacities.flows4, ct.connections<u32>().groupCount);
  flow.create<v128>(capacities.flows6, ct.connections<v128>().groupCount);
  opening.openings<u32>().create(capacities.openings4);
  opening.openings<v128>().create(capacities.openings6);
  scratchAt = arena.take(capacities.scratch);
  packetsAt = arena.take(BATCH_SIZE * offsetof<Packet>());
  framesAt = arena.take(BATCH_SIZE * PACKET_ROOM);
  templatesAt = arena.take(capacities.templates);
  arena.provide();
  maglev.start();
  flushConnections();
}

/** Capacity of a map, of a family's where there is one for each. */
function capacityOf(map: MapId): u32 {
  return load<u32>(changetype<usize>(capacities) + ((<usize>map) << 2));
}

/** The maps that each family has one of. */
function createFamily<A>(): void {
  lb.services<A>().create(capacityOf(mapOf<A>(MapId.LB4_SERVICES)));
  lb.backends<A>().create(capacityOf(mapOf<A>(MapId.LB4_BACKENDS)));
  lb.reverseNats<A>().create(capacityOf(mapOf<A>(MapId.LB4_REVERSE_NAT)));
  lb.sourceRanges<A>().create(capacityOf(mapOf<A>(MapId.LB4_SOURCE_RANGE)));
  maglev.tables<A>().create(capacityOf(mapOf<A>(MapId.LB4_MAGLEV)));
  affinity.clients<A>().create(capacityOf(mapOf<A>(MapId.LB4_AFFINITY)));
  ct.connections<A>().create(capacityOf(mapOf<A>(MapId.CT4)));
  nat.mappings<A>().create(capacityOf(mapOf<A>(MapId.SNAT4)));
  reverseSk.sockets<A>().create(capacityOf(mapOf<A>(MapId.LB4_REVERSE_SK)));
  fragments.fragments<A>().create(capacityOf(mapOf<A>(MapId.FRAGMENTS4)));
  ipcache<A>().create(capacityOf(mapOf<A>(MapId.IPCACHE4)));
  endpoint.lxc<A>().create(capacityOf(mapOf<A>(MapId.LXC4)));
  endpoint.nodes<A>().create(capacityOf(mapOf<A>(MapId.NODES4)));
  nonMasquerade<A>().create(capacityOf(mapOf<A>(MapId.IPMASQ4)));
}

/** Room for the host's keys, values and dumps. */
export function scratch(): usize {
  return scratchAt;
}

/** The batch: `BATCH_SIZE` packet records. */
export function packets(): usize {
  return packetsAt;
}

/** Frame `i` of the batch has its room at `frames() + i * PACKET_ROOM`; it starts `PACKET_HEADROOM` bytes in. */
export function frames(): usize {
  return framesAt;
}

/** Room for a benchmark's templates: packet records, each followed by its frame. */
export function templates(): usize {
  return templatesAt;
}

/** Bytes taken so far. */
export function memoryUsed(): u32 {
  return arena.used();
}

/** Runs the first `count` packets of the batch, in order. */
export function process(count: u32): void {
  batch.process(packetsAt, min<u32>(count, BATCH_SIZE));
}

/** The same, each through the programs, whatever is known of its flow: what `process` is held to. */
export function processPlain(count: u32): void {
  batch.processPlain(packetsAt, min<u32>(count, BATCH_SIZE));
}

/**
 * Receives `count` frames from templates, `stride` bytes apart from template number `first` of `total` on (wrapping), as many at a
 * time as go through the stages together, and runs them. Returns how many were forwarded. A batch of a benchmark is one such call.
 */
export function replay(first: u32, count: u32, total: u32, stride: u32): u32 {
  const most = batch.width();
  let passed: u32 = 0;
  let next = first;
  for (let left = count; left > 0;) {
    const some = min<u32>(left, most);
    next = receive(next, some, total, stride);
    batch.process(packetsAt, some);
    passed += forwarded(some);
    left -= some;
  }
  return passed;
}

/** The same up to a `batch.Stage`, 0 for receiving alone: it answers nothing, and tells a benchmark what the stages cost. */
export function replayUntil(stage: i32, first: u32, count: u32, total: u32, stride: u32): void {
  batch.endAfter(stage);
  replay(first, count, total, stride);
  batch.endAfter(batch.Stage.ANSWER);
}

/** The same, each through the programs. */
export function replayPlain(first: u32, count: u32, total: u32, stride: u32): u32 {
  let passed: u32 = 0;
  let next = first;
  for (let i: u32 = 0; i < count; i++) {
    next = receive(next, 1, total, stride);
    batch.processPlain(packetsAt, 1);
    passed += forwarded(1);
  }
  return passed;
}

/** Copies some templates into the first places of the batch. Returns the number of the one after them. */
function receive(first: u32, count: u32, total: u32, stride: u32): u32 {
  let index = first;
  let at = packetsAt;
  let frame = framesAt + PACKET_HEADROOM;
  for (let i: u32 = 0; i < count; i++) {
    const template = templatesAt + <usize>index * stride;
    copy<Packet>(at, template);
    const packet = changetype<Packet>(at);
    copyFrame(frame, template + offsetof<Packet>(), packet.length);
    packet.data = <u32>frame;
    index = index + 1 == total ? 0 : index + 1;
    at += offsetof<Packet>();
    frame += PACKET_ROOM;
  }
  return index;
}

/** Of the first packets of the batch, how many ended where they were meant to. */
function forwarded(count: u32): u32 {
  let passed: u32 = 0;
  for (let i: u32 = 0; i < count; i++)
    passed += changetype<Packet>(packetsAt + <usize>i * offsetof<Packet>()).verdict == 0 ? 1 : 0;
  return passed;
}

/** FNV-1a over a packet's verdict and bytes, continuing `hash`: a wrong answer cannot win a benchmark. */
export function digest(index: u32, hash: u32): u32 {
  const packet = changetype<Packet>(packetsAt + <usize>index * offsetof<Packet>());
  hash = (hash ^ (<u32>packet.verdict)) * 0x01000193;
  for (let i: u32 = 0; i < packet.length; i++) hash = (hash ^ load<u8>(<usize>packet.data + i)) * 0x01000193;
  return hash;
}

/** Address of what became of packets whose flows are kept, a `FlowCounters`. */
export function flowCounters(): usize {
  return changetype<usize>(flow.counters);
}

/** The datapath's clock, in seconds. */
export function setClock(seconds: u32): void {
  ct.setClock(seconds);
}

/** Records what happens to the coming packets, or stops recording. Only the tracing build records anything. */
export function setTracing(on: bool): void {
  trace.enable(on);
}

/** The events ring: records of `EVENT_SIZE` bytes, oldest first. */
export function events(): usize {
  return trace.events.records;
}

/** Records in the ring. */
export function eventCount(): u32 {
  return trace.events.count;
}

/** Records that did not fit since the last `drainEvents`. */
export function eventsLost(): u32 {
  return trace.events.lost;
}

/** The host has read the ring. */
export function drainEvents(): void {
  trace.events.drain();
}

/** Forgets all connections, and what is remembered along with them: ports taken by source NAT, clients' backends, fragments. */
export function flushConnections(): void {
  recording.outdate();
  flushFamily<u32>();
  flushFamily<v128>();
}

function flushFamily<A>(): void {
  flow.clear<A>();
  ct.connections<A>().clear();
  nat.mappings<A>().clear();
  affinity.clients<A>().clear();
  fragments.fragments<A>().clear();
  reverseSk.sockets<A>().clear();
}

/**
 * Takes out what has outlived its time on the datapath's clock: connections, the mappings of source NAT that none uses any
 * more, clients' backends, fragments. Looks at `places` places of each map, round and round. Returns how many went.
 */
export function collect(places: u32): u32 {
  return collectFamily<u32>(places) + collectFamily<v128>(places);
}

function collectFamily<A>(places: u32): u32 {
  const connections = ct.collect<A>(places);
  return connections + nat.collect<A>(places) + affinity.collect<A>(places) + fragments.collect<A>(places);
}

/** Builds the Maglev table of a Service, IPv4's or IPv6's; see `maglev.build`. */
export function buildMaglev(map: MapId, revNatIndex: u32, backends: usize, count: u32): i32 {
  recording.outdate();
  return map == MapId.LB6_MAGLEV
    ? maglev.build<v128>(revNatIndex, backends, count)
    : maglev.build<u32>(revNatIndex, backends, count);
}

/** The Service whose Maglev table a packet looked for in vain since this was asked last, 0 for none. */
export function maglevMissing(): u32 {
  return maglev.takeMissing();
}

/** Puts a copy of the value at `value` under the key at `key`. 0, or E2BIG when full, EINVAL for a map the host does not fill so. */
export function mapUpdate(map: MapId, key: usize, value: usize): i32 {
  recording.outdate();
  return <i32>onMap(MapOp.UPDATE, map, key, value);
}

/** Takes an entry out; an array's becomes zeros. 0, or ENOENT, or EINVAL as above. */
export function mapDelete(map: MapId, key: usize): i32 {
  recording.outdate();
  return <i32>onMap(MapOp.DELETE, map, key, 0);
}

/** Address of the value under the key at `key`, 0 for none. */
export function mapLookup(map: MapId, key: usize): usize {
  return onMap(MapOp.LOOKUP, map, key, 0);
}

/** Copies all keys of a hash or prefix map to `to`; as many as fit in `room` bytes. Returns how many. */
export function mapKeys(map: MapId, to: usize, room: usize): u32 {
  return <u32>onMap(MapOp.KEYS, map, to, room);
}

/** Entries in a map: how full it is. Arrays are always full. */
export function mapCount(map: MapId): u32 {
  return map == MapId.EVENTS ? trace.events.count : <u32>onMap(MapOp.COUNT, map, 0, 0);
}

/** Address of what became of a map's entries, a `MapCounters`; 0 for an array. */
export function mapCounters(map: MapId): usize {
  return onMap(MapOp.COUNTERS, map, 0, 0);
}

/** Entries that fit in a map. */
export function mapCapacity(map: MapId): u32 {
  return map < MapId.COUNT ? capacityOf(map) : 0;
}
