/** The module's exports: start-up, the maps, and batches of packets. Numbers are those of `abi.ts`, structs those of `pkg/structs.ts`. */
import { BATCH_SIZE, EVENT_SIZE, MapError, MapId, PACKET_HEADROOM, PACKET_ROOM } from './abi';
import * as ct from './lib/conntrack';
import { CtEntry, Ipv4CtTuple } from './lib/conntrack';
import * as endpoint from './lib/endpoint';
import { EndpointConfig, EndpointInfo, EndpointKey, NodeConfig, NodeKey, NodeValue } from './lib/endpoint';
import { ipcache, IpcacheKey, RemoteEndpointInfo } from './lib/ipcache';
import * as lb from './lib/lb';
import {
  Lb4Backend,
  Lb4BackendKey,
  Lb4Key,
  Lb4ReverseNat,
  Lb4ReverseNatKey,
  Lb4Service,
  Lb4SourceRange,
  Lb4SourceRangeKey,
} from './lib/lb';
import * as maglev from './lib/maglev';
import * as nat from './lib/nat';
import { Ipv4NatEntry } from './lib/nat';
import { MaglevKey } from './lib/maglev';
import { metrics } from './lib/metrics';
import { Packet } from './lib/packet';
import { policies, PolicyEntry, PolicyKey } from './lib/policy';
import * as trace from './lib/trace';
import * as arena from './maps/arena';
import { Capacities } from './maps/capacities';
import { setSeed } from './maps/hash';
import { run } from './run';
import { copy, copyFrame } from './wire/records';

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
export function create(hashSeed: u64, murmurSeed: u32, jhashSeed: u32): void {
  setSeed(hashSeed);
  maglev.setSeeds(murmurSeed, jhashSeed);
  lb.services.create(capacities.services);
  lb.backends.create(capacities.backends);
  lb.reverseNats.create(capacities.reverseNat);
  maglev.create(capacities.maglev, capacities.maglevTableSize, capacities.maglevBackends);
  ct.connections.create(capacities.conntrack);
  ipcache.create(capacities.ipcache);
  policies.create(capacities.policy);
  endpoint.lxc.create(capacities.lxc);
  endpoint.configs.create(capacities.endpointConfig);
  endpoint.nodeConfigs.create(capacities.nodeConfig);
  endpoint.nodes.create(capacities.nodes);
  nat.mappings.create(capacities.snat);
  lb.sourceRanges.create(capacities.sourceRange);
  metrics.create(512);
  trace.events.create(capacities.events, EVENT_SIZE);
  scratchAt = arena.take(capacities.scratch);
  packetsAt = arena.take(BATCH_SIZE * offsetof<Packet>());
  framesAt = arena.take(BATCH_SIZE * PACKET_ROOM);
  templatesAt = arena.take(capacities.templates);
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
  for (let i: u32 = 0; i < min<u32>(count, BATCH_SIZE); i++)
    run(changetype<Packet>(packetsAt + <usize>i * offsetof<Packet>()));
}

/**
 * Receives `count` frames from templates, `stride` bytes apart from template number `first` of `total` on (wrapping), and
 * runs each. Returns how many were forwarded. A batch of a benchmark is one such call.
 */
export function replay(first: u32, count: u32, total: u32, stride: u32): u32 {
  const packet = changetype<Packet>(packetsAt);
  const frame = framesAt + PACKET_HEADROOM;
  let forwarded: u32 = 0;
  let index = first;
  for (let i: u32 = 0; i < count; i++) {
    const template = templatesAt + <usize>index * stride;
    copy<Packet>(packetsAt, template);
    copyFrame(frame, template + offsetof<Packet>(), packet.length);
    packet.data = <u32>frame;
    run(packet);
    forwarded += packet.verdict == 0 ? 1 : 0;
    index = index + 1 == total ? 0 : index + 1;
  }
  return forwarded;
}

/** FNV-1a over a packet's verdict and bytes, continuing `hash`: a wrong answer cannot win a benchmark. */
export function digest(index: u32, hash: u32): u32 {
  const packet = changetype<Packet>(packetsAt + <usize>index * offsetof<Packet>());
  hash = (hash ^ (<u32>packet.verdict)) * 0x01000193;
  for (let i: u32 = 0; i < packet.length; i++) hash = (hash ^ load<u8>(<usize>packet.data + i)) * 0x01000193;
  return hash;
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

/** Forgets all connections, and the ports that source NAT took for them. */
export function flushConnections(): void {
  ct.connections.clear();
  nat.mappings.clear();
}

/** Builds a Service's Maglev table; see `maglev.build`. */
export function buildMaglev(revNatIndex: u32, backends: usize, count: u32): i32 {
  return maglev.build(revNatIndex, backends, count);
}

/** Puts a copy of the value at `value` under the key at `key`. 0, or E2BIG when full, EINVAL for a map the host does not fill so. */
export function mapUpdate(map: MapId, key: usize, value: usize): i32 {
  switch (map) {
    case MapId.LB4_SERVICES:
      return lb.services.update(changetype<Lb4Key>(key), changetype<Lb4Service>(value));
    case MapId.LB4_BACKENDS:
      return lb.backends.update(changetype<Lb4BackendKey>(key), changetype<Lb4Backend>(value));
    case MapId.LB4_REVERSE_NAT:
      return lb.reverseNats.update(changetype<Lb4ReverseNatKey>(key), changetype<Lb4ReverseNat>(value));
    case MapId.CT4:
      return ct.connections.update(changetype<Ipv4CtTuple>(key), changetype<CtEntry>(value));
    case MapId.IPCACHE:
      return ipcache.update(changetype<IpcacheKey>(key), changetype<RemoteEndpointInfo>(value));
    case MapId.POLICY:
      return policies.update(changetype<PolicyKey>(key), changetype<PolicyEntry>(value));
    case MapId.LXC:
      return endpoint.lxc.update(changetype<EndpointKey>(key), changetype<EndpointInfo>(value));
    case MapId.ENDPOINT_CONFIG:
      return endpoint.configs.update(load<u32>(key), changetype<EndpointConfig>(value));
    case MapId.NODE_CONFIG:
      return endpoint.nodeConfigs.update(load<u32>(key), changetype<NodeConfig>(value));
    case MapId.NODES:
      return endpoint.nodes.update(changetype<NodeKey>(key), changetype<NodeValue>(value));
    case MapId.SNAT:
      return nat.mappings.update(changetype<Ipv4CtTuple>(key), changetype<Ipv4NatEntry>(value));
    case MapId.SOURCE_RANGE:
      return lb.sourceRanges.update(changetype<Lb4SourceRangeKey>(key), changetype<Lb4SourceRange>(value));
  }
  return MapError.EINVAL;
}

/** Takes an entry out; an array's becomes zeros. 0, or ENOENT, or EINVAL as above. */
export function mapDelete(map: MapId, key: usize): i32 {
  switch (map) {
    case MapId.LB4_SERVICES:
      return lb.services.delete(changetype<Lb4Key>(key));
    case MapId.LB4_BACKENDS:
      return lb.backends.delete(changetype<Lb4BackendKey>(key));
    case MapId.LB4_REVERSE_NAT:
      return lb.reverseNats.delete(changetype<Lb4ReverseNatKey>(key));
    case MapId.LB4_MAGLEV:
      return maglev.remove(changetype<MaglevKey>(key).revNatIndex);
    case MapId.CT4:
      return ct.connections.delete(changetype<Ipv4CtTuple>(key));
    case MapId.IPCACHE:
      return ipcache.delete(changetype<IpcacheKey>(key));
    case MapId.POLICY:
      return policies.delete(changetype<PolicyKey>(key));
    case MapId.LXC:
      return endpoint.lxc.delete(changetype<EndpointKey>(key));
    case MapId.ENDPOINT_CONFIG:
      return erase(changetype<usize>(endpoint.configs.lookup(load<u32>(key))), offsetof<EndpointConfig>());
    case MapId.NODE_CONFIG:
      return erase(changetype<usize>(endpoint.nodeConfigs.lookup(load<u32>(key))), offsetof<NodeConfig>());
    case MapId.NODES:
      return endpoint.nodes.delete(changetype<NodeKey>(key));
    case MapId.SNAT:
      return nat.mappings.delete(changetype<Ipv4CtTuple>(key));
    case MapId.SOURCE_RANGE:
      return lb.sourceRanges.delete(changetype<Lb4SourceRangeKey>(key));
  }
  return MapError.EINVAL;
}

function erase(at: usize, size: usize): i32 {
  if (at == 0) return MapError.ENOENT;
  memory.fill(at, 0, size);
  return 0;
}

/** Address of the value under the key at `key`, 0 for none. */
export function mapLookup(map: MapId, key: usize): usize {
  switch (map) {
    case MapId.LB4_SERVICES:
      return changetype<usize>(lb.services.lookup(changetype<Lb4Key>(key)));
    case MapId.LB4_BACKENDS:
      return changetype<usize>(lb.backends.lookup(changetype<Lb4BackendKey>(key)));
    case MapId.LB4_REVERSE_NAT:
      return changetype<usize>(lb.reverseNats.lookup(changetype<Lb4ReverseNatKey>(key)));
    case MapId.LB4_MAGLEV:
      return changetype<usize>(maglev.tables.lookup(changetype<MaglevKey>(key)));
    case MapId.CT4:
      return changetype<usize>(ct.connections.touch(changetype<Ipv4CtTuple>(key)));
    case MapId.IPCACHE:
      return changetype<usize>(ipcache.lookup(changetype<IpcacheKey>(key)));
    case MapId.POLICY:
      return changetype<usize>(policies.lookup(changetype<PolicyKey>(key)));
    case MapId.LXC:
      return changetype<usize>(endpoint.lxc.lookup(changetype<EndpointKey>(key)));
    case MapId.ENDPOINT_CONFIG:
      return changetype<usize>(endpoint.configs.lookup(load<u32>(key)));
    case MapId.NODE_CONFIG:
      return changetype<usize>(endpoint.nodeConfigs.lookup(load<u32>(key)));
    case MapId.NODES:
      return changetype<usize>(endpoint.nodes.lookup(changetype<NodeKey>(key)));
    case MapId.SNAT:
      return changetype<usize>(nat.mappings.touch(changetype<Ipv4CtTuple>(key)));
    case MapId.SOURCE_RANGE:
      return changetype<usize>(lb.sourceRanges.lookup(changetype<Lb4SourceRangeKey>(key)));
    case MapId.METRICS:
      return changetype<usize>(metrics.lookup(load<u32>(key)));
  }
  return 0;
}

/** Copies all keys of a hash or prefix map to `to`; as many as fit in `room` bytes. Returns how many. */
export function mapKeys(map: MapId, to: usize, room: usize): u32 {
  switch (map) {
    case MapId.LB4_SERVICES:
      return lb.services.keys(to, room);
    case MapId.LB4_BACKENDS:
      return lb.backends.keys(to, room);
    case MapId.LB4_REVERSE_NAT:
      return lb.reverseNats.keys(to, room);
    case MapId.LB4_MAGLEV:
      return maglev.tables.keys(to, room);
    case MapId.CT4:
      return ct.connections.keys(to, room);
    case MapId.IPCACHE:
      return ipcache.keys(to, room);
    case MapId.POLICY:
      return policies.keys(to, room);
    case MapId.LXC:
      return endpoint.lxc.keys(to, room);
    case MapId.NODES:
      return endpoint.nodes.keys(to, room);
    case MapId.SNAT:
      return nat.mappings.keys(to, room);
    case MapId.SOURCE_RANGE:
      return lb.sourceRanges.keys(to, room);
  }
  return 0;
}

/** Entries in a map: how full it is. Arrays are always full. */
export function mapCount(map: MapId): u32 {
  switch (map) {
    case MapId.LB4_SERVICES:
      return lb.services.count;
    case MapId.LB4_BACKENDS:
      return lb.backends.count;
    case MapId.LB4_REVERSE_NAT:
      return lb.reverseNats.count;
    case MapId.LB4_MAGLEV:
      return maglev.tables.count;
    case MapId.CT4:
      return ct.connections.count;
    case MapId.IPCACHE:
      return ipcache.count;
    case MapId.POLICY:
      return policies.count;
    case MapId.LXC:
      return endpoint.lxc.count;
    case MapId.ENDPOINT_CONFIG:
      return endpoint.configs.capacity;
    case MapId.NODE_CONFIG:
      return endpoint.nodeConfigs.capacity;
    case MapId.NODES:
      return endpoint.nodes.count;
    case MapId.SNAT:
      return nat.mappings.count;
    case MapId.SOURCE_RANGE:
      return lb.sourceRanges.count;
    case MapId.METRICS:
      return metrics.capacity;
    case MapId.EVENTS:
      return trace.events.count;
  }
  return 0;
}

/** Entries that fit in a map. */
export function mapCapacity(map: MapId): u32 {
  switch (map) {
    case MapId.METRICS:
      return metrics.capacity;
    case MapId.EVENTS:
      return trace.events.capacity;
  }
  return map < MapId.METRICS ? load<u32>(changetype<usize>(capacities) + ((<usize>map) << 2)) : 0;
}
