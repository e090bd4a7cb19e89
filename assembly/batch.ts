/**
 * Packets in batches. WebAssembly has no prefetch, and a look-up that misses the caches stalls for longer than all else takes. So a
 * batch goes through in stages: what a later stage will look at is touched for all packets in a loop that does nothing else, where
 * the processor waits for many lines at once. Nothing is decided there: packets are answered one by one, in order.
 *
 * 1. each is looked at: whether it goes on with a flow or opens a connection, and of what hash; for the latter, what its Service is
 * 2. the tags of its hash's group are touched, then the outcome that they name, then the connections that this one names, or those that
 *    make room for the ones to be opened
 * 3. it fares as that outcome says, if it is known and nothing has changed; else it runs through the programs
 */
import { Family } from './abi';
import { ETHERNET_LENGTH, Ethernet, EtherType } from './wire/ethernet';
import * as ct from './lib/conntrack';
import * as flow from './lib/flow';
import { Flow } from './lib/flow';
import * as lb from './lib/lb';
import * as maglev from './lib/maglev';
import { MaglevTable } from './lib/maglev';
import * as opening from './lib/opening';
import * as outcome from './lib/outcome';
import { Packet } from './lib/packet';
import * as trace from './lib/trace';
import { run } from './run';

/** Packets that go through the stages together: their frames, records and outcomes fit in the first cache. */
export const WIDTH: u32 = 32;

/** How a packet may fare. */
const enum Way {
  PROGRAMS = 0,
  /** As its flow. */
  FLOW = 1,
  /** As another that opened a connection to the same port. */
  OPENING = 2,
}

/** What the first stages find out about a packet. */
@unmanaged
class Staged {
  /** A `Family`. */
  family: u32;
  /** A `Way`. */
  way: u32;
  /** Bytes from its IP header on. */
  total: u32;
  /** Of its flow, or of its opening. */
  hash: u32;
  /** What its outcome may be; 0 for none. */
  kept: u32;
  /** Hash by which connections of a packet that opens one are found. */
  home: u32;
  /** The Maglev table that picks its backend, and the slot; 0 for a packet to no Service. */
  table: u32;
  slot: u32;
  /** That backend. */
  backendId: u32;
  pad: u32;
}

const staged = memory.data(32 * 40, 64);
if (offsetof<Staged>() != 40 || WIDTH != 32) ERROR('there is room for a batch');

function stagedAt(index: u32): Staged {
  return changetype<Staged>(staged + <usize>index * offsetof<Staged>());
}

function packetAt(packets: usize, index: u32): Packet {
  return changetype<Packet>(packets + <usize>index * offsetof<Packet>());
}

function ipOf(packet: Packet): usize {
  return <usize>packet.data + ETHERNET_LENGTH;
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
  if (trace.isEnabled() || (!keeps<u32>() && !keeps<v128>())) return processPlain(packets, count);
  for (let i: u32 = 0; i < count; i += WIDTH) stage(packets + <usize>i * offsetof<Packet>(), min(WIDTH, count - i));
}

/** The same, each through the programs. */
export function processPlain(packets: usize, count: u32): void {
  for (let i: u32 = 0; i < count; i++) run(packetAt(packets, i));
}

/** Whether there is room for any outcome of a family. */
function keeps<A>(): bool {
  return (flow.flows<A>().capacity | opening.openings<A>().capacity) != 0;
}

function stage(packets: usize, count: u32): void {
  if (last < Stage.LOOK) return;
  let openings: u32 = 0;
  for (let i: u32 = 0; i < count; i++) openings += look(packetAt(packets, i), stagedAt(i));
  if (last < Stage.FIND) return;
  let touched: u32 = openings == 0 ? 0 : touchOpenings(packets, count);
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    if (one.way != Way.PROGRAMS) touched += one.family == Family.IPV4 ? group<u32>(one) : group<v128>(one);
  }
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    if (one.way == Way.PROGRAMS) continue;
    one.kept = one.family == Family.IPV4 ? guess<u32>(one) : guess<v128>(one);
    if (one.kept != 0) touched += load<u8>(one.kept) + load<u8>(one.kept, 64) + load<u8>(one.kept, 127);
  }
  sum += touched;
  if (last < Stage.TOUCH) return;
  touched = 0;
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    if (one.way == Way.FLOW && one.kept != 0)
      touched += one.family == Family.IPV4 ? touch<u32>(one.kept) : touch<v128>(one.kept);
  }
  if (openings != 0) touched += foresee<u32>(count, Family.IPV4) + foresee<v128>(count, Family.IPV6);
  sum += touched;
  if (last < Stage.ANSWER) return;
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    const packet = packetAt(packets, i);
    if (one.way == Way.PROGRAMS) run(packet);
    else if (one.way == Way.FLOW) one.family == Family.IPV4 ? follow<u32>(packet, one) : follow<v128>(packet, one);
    else one.family == Family.IPV4 ? open<u32>(packet, one) : open<v128>(packet, one);
  }
}

/** Finds out which way a packet goes. 1 for one that opens a connection. */
function look(packet: Packet, one: Staged): u32 {
  one.way = Way.PROGRAMS;
  one.kept = 0;
  if (packet.length < ETHERNET_LENGTH || !outcome.mayKeep(packet)) return 0;
  const type = <u32>changetype<Ethernet>(packet.data).type;
  if (type == EtherType.IPV4) lookInto<u32>(packet, one, Family.IPV4);
  else if (type == EtherType.IPV6) lookInto<v128>(packet, one, Family.IPV6);
  return one.way == Way.OPENING ? 1 : 0;
}

function lookInto<A>(packet: Packet, one: Staged, family: Family): void {
  if (!keeps<A>()) return;
  const ip = ipOf(packet);
  one.family = family;
  one.total = outcome.lengthOf<A>(ip, packet.length - ETHERNET_LENGTH);
  if (one.total == 0) return;
  if (!flow.isTurning<A>(ip)) {
    if (flow.flows<A>().capacity == 0) return;
    one.way = Way.FLOW;
    one.hash = flow.hashOf<A>(packet, ip);
  } else if (opening.openings<A>().capacity != 0 && opening.isOpening<A>(ip)) lookBeyond<A>(ip, one);
}

/** Finds out who picks the backend of a packet that opens a connection. */
function lookBeyond<A>(ip: usize, one: Staged): void {
  const saddr = outcome.saddrOf<A>(ip);
  const daddr = outcome.daddrOf<A>(ip);
  const ports = outcome.portsOf<A>(ip);
  const protocol = outcome.protocolOf<A>(ip);
  const table = lb.tableOf<A>(daddr, ports >>> 16, protocol);
  if (table == lb.UNDECIDED) return;
  one.way = Way.OPENING;
  one.home = ct.homeOf<A>(saddr, daddr, ports);
  one.table = <u32>table;
  one.slot = table == 0 ? 0 : <u32>maglev.slotOf<A>(changetype<MaglevTable>(table), saddr, ports, protocol);
}

/** Of packets that open connections: touches where connections of their ends stand, and finds out their backends and hashes. */
function touchOpenings(packets: usize, count: u32): u32 {
  let touched: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    if (one.way != Way.OPENING) continue;
    if (one.table != 0) touched += load<u8>(one.slot);
    touched += load<u8>(one.family == Family.IPV4 ? ct.placeOf<u32>(one.home) : ct.placeOf<v128>(one.home));
  }
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    if (one.way != Way.OPENING) continue;
    const packet = packetAt(packets, i);
    const ip = ipOf(packet);
    one.backendId = one.table == 0 ? 0 : maglev.backendIn(changetype<MaglevTable>(<usize>one.table), one.slot);
    one.hash =
      one.family == Family.IPV4
        ? opening.hashOf<u32>(packet, ip, one.backendId)
        : opening.hashOf<v128>(packet, ip, one.backendId);
  }
  return touched;
}

function group<A>(one: Staged): u32 {
  const found = one.way == Way.FLOW ? flow.flows<A>().groupOf(one.hash) : opening.openings<A>().groupOf(one.hash);
  return found.turnover;
}

/** The outcome that the tags name first; 0 for none. */
function guess<A>(one: Staged): u32 {
  return one.way == Way.FLOW
    ? <u32>changetype<usize>(flow.flows<A>().guess(one.hash))
    : <u32>changetype<usize>(opening.openings<A>().guess(one.hash));
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

/** Touches the entries that will make room for those that the batch opens, and where they stand. */
function foresee<A>(count: u32, family: Family): u32 {
  let entries: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    if (one.way == Way.OPENING && one.family == family && one.kept != 0)
      entries += changetype<opening.Opening<A>>(<usize>one.kept).creations;
  }
  return entries == 0 ? 0 : ct.connections<A>().foresee(entries);
}

/** Answers a packet as its flow was answered, or keeps what the programs answer. */
function follow<A>(packet: Packet, one: Staged): void {
  const ip = ipOf(packet);
  const known = flow.find<A>(packet, ip, one.hash, changetype<Flow<A>>(<usize>one.kept));
  if (known !== null && flow.follow<A>(packet, known, ip, one.total)) return;
  const length = packet.length;
  flow.record<A>(packet, ip);
  run(packet);
  flow.keep<A>(packet, ip, one.hash, length, known);
}

/** Answers a packet as another was that opened a connection to the same port, or keeps what the programs answer. */
function open<A>(packet: Packet, one: Staged): void {
  const ip = ipOf(packet);
  const known = opening.find<A>(packet, ip, one.hash, one.backendId);
  if (known !== null && opening.open<A>(packet, known, ip, one.total, one.home)) return;
  if (known !== null && known.isCurrent) return run(packet);
  const length = packet.length;
  const sport = opening.record<A>(packet, ip);
  run(packet);
  opening.keep<A>(packet, ip, one.hash, one.home, one.backendId, sport, length, known);
}
