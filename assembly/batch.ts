/**
 * Packets in batches. WebAssembly has no prefetch, and a look-up that misses the caches stalls for longer than all else takes. So a
 * batch goes through in stages: what a later stage will look at is touched for all packets in a loop that does nothing else, where
 * the processor waits for many lines at once. Nothing is decided there: packets are answered one by one, in order.
 *
 * 1. each is looked at: of what family, of which flow
 * 2. the tags of its flow's group are touched, then the flow that they name, then the connections that this one names; of a packet
 *    whose flow is not kept, what opening a connection takes
 * 3. it follows its flow, if that is known and nothing has changed; else it runs through the programs
 */
import { Family } from './abi';
import { ETHERNET_LENGTH, Ethernet, EtherType } from './wire/ethernet';
import * as ct from './lib/conntrack';
import * as flow from './lib/flow';
import { Flow } from './lib/flow';
import { Packet } from './lib/packet';
import * as trace from './lib/trace';
import { run } from './run';

/** Packets that go through the stages together: their frames, records and flows fit in the first cache. */
export const WIDTH: u32 = 32;

/** Entries of conntrack that a connection takes at most: its Service's, its sender's and its receiver's. */
const ENTRIES: u32 = 3;

/** What the first stages find out about a packet. */
@unmanaged
class Staged {
  /** A `Family`; 0 for a packet that has no ports. */
  family: u32;
  /** Of its flow; of a packet whose flow is not kept, that of its connections. */
  hash: u32;
  /** Bytes from its IP header on; 0 for a packet whose flow is not kept. */
  total: u32;
  /** What its flow may be; 0 for none. */
  flow: u32;
}

const staged = memory.data(32 * 16, 64);
if (offsetof<Staged>() != 16 || WIDTH != 32) ERROR('there is room for a batch');

function stagedAt(index: u32): Staged {
  return changetype<Staged>(staged + <usize>index * offsetof<Staged>());
}

function packetAt(packets: usize, index: u32): Packet {
  return changetype<Packet>(packets + <usize>index * offsetof<Packet>());
}

/** The stages, of which a benchmark may leave out the last ones. */
export const enum Stage {
  LOOK = 1,
  FIND = 2,
  TOUCH = 3,
  ANSWER = 4,
}

/** The last stage that batches go through. */
let last: i32 = Stage.ANSWER;

/** Batches end after a stage: all but the last change nothing, and answer nothing. */
export function endAfter(stage: i32): void {
  last = stage;
}

/** Sum of what was touched: a load whose value nobody uses is left out. */
let sum: u32 = 0;

/** Runs `count` packets, whose records are at `packets`, in order. */
export function process(packets: usize, count: u32): void {
  if (trace.isEnabled() || flow.flows<u32>().capacity + flow.flows<v128>().capacity == 0)
    return processPlain(packets, count);
  for (let i: u32 = 0; i < count; i += WIDTH) stage(packets + <usize>i * offsetof<Packet>(), min(WIDTH, count - i));
}

/** The same, each through the programs. */
export function processPlain(packets: usize, count: u32): void {
  for (let i: u32 = 0; i < count; i++) run(packetAt(packets, i));
}

function stage(packets: usize, count: u32): void {
  if (last < Stage.LOOK) return;
  for (let i: u32 = 0; i < count; i++) look(packetAt(packets, i), stagedAt(i));
  if (last < Stage.FIND) return;
  let touched: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    if (one.family == Family.IPV4) touched += group<u32>(one);
    else if (one.family == Family.IPV6) touched += group<v128>(one);
  }
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    if (one.total == 0) continue;
    one.flow = one.family == Family.IPV4 ? guess<u32>(one.hash) : guess<v128>(one.hash);
    if (one.flow != 0) touched += load<u8>(one.flow) + load<u8>(one.flow, 64) + load<u8>(one.flow, 127);
  }
  sum += touched;
  if (last < Stage.TOUCH) return;
  touched = 0;
  let opening4: u32 = 0;
  let opening6: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    if (one.flow != 0) touched += one.family == Family.IPV4 ? touch<u32>(one.flow) : touch<v128>(one.flow);
    else if (one.total == 0 && one.family == Family.IPV4) opening4++;
    else if (one.total == 0 && one.family == Family.IPV6) opening6++;
  }
  if (opening4 != 0) touched += ct.connections<u32>().foresee(opening4 * ENTRIES);
  if (opening6 != 0) touched += ct.connections<v128>().foresee(opening6 * ENTRIES);
  sum += touched;
  if (last < Stage.ANSWER) return;
  let followed: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    const packet = packetAt(packets, i);
    if (one.total == 0) run(packet);
    else followed += one.family == Family.IPV4 ? answer<u32>(packet, one) : answer<v128>(packet, one);
  }
  flow.counters.followed += followed;
}

/** Which flow a packet is of. */
function look(packet: Packet, one: Staged): void {
  one.total = 0;
  one.flow = 0;
  one.family = 0;
  if (packet.length < ETHERNET_LENGTH || !flow.mayKeep(packet)) return;
  const type = <u32>changetype<Ethernet>(packet.data).type;
  if (type == EtherType.IPV4) lookInto<u32>(packet, one, Family.IPV4);
  else if (type == EtherType.IPV6) lookInto<v128>(packet, one, Family.IPV6);
}

function lookInto<A>(packet: Packet, one: Staged, family: Family): void {
  if (flow.flows<A>().capacity == 0) return;
  const ip = ipOf(packet);
  const total = flow.lengthOf<A>(ip, packet.length - ETHERNET_LENGTH);
  if (total == 0) return;
  one.family = family;
  if (flow.isTurning<A>(ip)) one.hash = flow.homeOf<A>(ip);
  else {
    one.total = total;
    one.hash = flow.hashOf<A>(packet, ip);
  }
}

function ipOf(packet: Packet): usize {
  return <usize>packet.data + ETHERNET_LENGTH;
}

function group<A>(one: Staged): u32 {
  return one.total == 0 ? ct.connections<A>().groupOf(one.hash).turnover : flow.flows<A>().groupOf(one.hash).turnover;
}

/** The flow that the tags name first; 0 for none. */
function guess<A>(hash: u32): u32 {
  const bits = flow.flows<A>().candidates(hash);
  return bits == 0 ? 0 : <u32>changetype<usize>(flow.flows<A>().at(hash, bits));
}

function touch<A>(at: u32): u32 {
  const known = changetype<Flow<A>>(<usize>at);
  return (
    load<u8>(known.tuple0) +
    load<u8>(known.tuple1) +
    load<u8>(known.entry0) +
    load<u8>(known.entry1) +
    load<u8>(known.entry2) +
    load<u8>(known.entry3) +
    load<u8>(known.entry4)
  );
}

/** 1 for a packet that followed its flow. */
function answer<A>(packet: Packet, one: Staged): u32 {
  const ip = ipOf(packet);
  const known = flow.find<A>(packet, ip, one.hash, changetype<Flow<A>>(<usize>one.flow));
  if (known !== null && flow.follow<A>(packet, known, ip, one.total)) return 1;
  const length = packet.length;
  flow.record<A>(packet, ip);
  run(packet);
  flow.keep<A>(packet, ip, one.hash, length, known);
  return 0;
}
