/**
 * Packets in batches. WebAssembly has no prefetch, and a look-up that misses the caches stalls for longer than all else takes. So a
 * batch goes through in stages: what a later stage will look at is touched for all packets in a loop that does nothing else, where
 * the processor waits for many lines at once. Nothing is decided there: packets are answered one by one, in order.
 *
 * 1. each is looked at: whether it goes on with a flow or opens a connection, and of what hash; for the latter, what its Service is
 * 2. the tags that its hash points to are read, then the outcome that they name, then the connections that this one names, or those that
 *    make room for the ones to be opened
 * 3. it fares as that outcome says, if it is known and nothing has changed; else it runs through the programs
 */
import { ETHERNET_LENGTH, Ethernet, EtherType } from './wire/ethernet';
import * as ct from './lib/conntrack';
import * as flow from './lib/flow';
import { Flow } from './lib/flow';
import * as following from './lib/following';
import * as lb from './lib/lb';
import * as maglev from './lib/maglev';
import { MaglevTable } from './lib/maglev';
import * as opening from './lib/opening';
import { Opening } from './lib/opening';
import * as outcome from './lib/outcome';
import { Outcome } from './lib/outcome';
import { Packet } from './lib/packet';
import * as trace from './lib/trace';
import { run } from './run';

/**
 * Packets that go through the stages together: few, so that their frames, records and outcomes fit in the first cache; more where
 * outcomes come from beyond the second, so that the processor waits for more of them at once.
 */
const FEW: u32 = 32;
export const MANY: u32 = 128;
/** Outcomes that fit in the second cache, with the connections that they name; and those whose tags do. */
const NEAR: u32 = 4096;
const TAGS_NEAR: u32 = 1 << 18;

/** As many outcomes may be kept. */
function outcomes(): u32 {
  const flows = flow.flows<u32>().capacity + flow.flows<v128>().capacity;
  return flows + opening.openings<u32>().capacity + opening.openings<v128>().capacity;
}

export function width(): u32 {
  return outcomes() > NEAR ? MANY : FEW;
}

/** Longest IP packet, with its padding, that goes on with a flow: so much a flow counts of one. */
const MAX_LENGTH: u32 = 0xffff - ETHERNET_LENGTH;

/** How a packet may fare: as its flow, or as another that opened a connection to the same port. */
const enum Way {
  PROGRAMS = 0,
  FLOW4 = 1,
  FLOW6 = 2,
  OPENING4 = 3,
  OPENING6 = 4,
}

/** What the first stages find out about a packet; most of it only where it does not run through the programs. */
@unmanaged
class Staged {
  /** A `Way`. */
  way: Way;
  /** Bytes from its IP header on. */
  total: u32;
  /** Of its flow, or of its opening. */
  hash: u32;
  /** What its outcome may be; 0 for none. */
  kept: u32;
  /** Of a packet that opens a connection, the hash by which those of its client are found. */
  home: u32;
  /** The Maglev table that picks its backend, and the slot; 0 for a packet to no Service. */
  table: u32;
  slot: u32;
  /** That backend. */
  backendId: u32;

  get isOpening(): bool {
    return this.way >= Way.OPENING4;
  }
}

const staged = memory.data(128 * 32, 64);
if (offsetof<Staged>() != 32 || MANY != 128) ERROR('there is room for a batch');

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
  const most = width();
  for (let i: u32 = 0; i < count; i += most) stage(packets + <usize>i * offsetof<Packet>(), min(most, count - i));
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
  for (let i: u32 = 0; i < count; i++) openings += look(packetAt(packets, i), stagedAt(i)) ? 1 : 0;
  if (last < Stage.FIND) return;
  let touched: u32 = openings == 0 ? 0 : fetchOpenings(packets, count);
  if (outcomes() > TAGS_NEAR) for (let i: u32 = 0; i < count; i++) touched += touchTags(stagedAt(i));
  for (let i: u32 = 0; i < count; i++) guess(stagedAt(i));
  // Few are near, or not worth a loop of their own.
  if (count > FEW || openings != 0) for (let i: u32 = 0; i < count; i++) touched += fetch(stagedAt(i));
  sum += touched;
  if (last < Stage.TOUCH) return;
  touched = 0;
  // Entries of conntrack that the batch will open.
  let entries4: u32 = 0;
  let entries6: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    if (one.way == Way.FLOW4) touched += touchNamed<u32>(one.kept);
    else if (one.way == Way.OPENING4) entries4 += creationsOf<u32>(one.kept);
    else if (one.way == Way.FLOW6) touched += touchNamed<v128>(one.kept);
    else if (one.way == Way.OPENING6) entries6 += creationsOf<v128>(one.kept);
  }
  touched += ct.connections<u32>().foresee(entries4) + ct.connections<v128>().foresee(entries6);
  sum += touched;
  if (last < Stage.ANSWER) return;
  let followed: u32 = 0;
  let opened: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    const packet = packetAt(packets, i);
    if (one.way == Way.FLOW4) followed += follow<u32>(packet, one);
    else if (one.way == Way.PROGRAMS) run(packet);
    else if (one.way == Way.OPENING4) opened += open<u32>(packet, one);
    else if (one.way == Way.FLOW6) followed += follow<v128>(packet, one);
    else opened += open<v128>(packet, one);
  }
  flow.counters.followed += followed;
  flow.counters.opened += opened;
}

/** Finds out which way a packet goes. Whether it opens a connection. */
function look(packet: Packet, one: Staged): bool {
  one.way = Way.PROGRAMS;
  // Both too short, which is a very large number then, and too long.
  if (packet.length - ETHERNET_LENGTH > MAX_LENGTH || !outcome.mayKeep(packet)) return false;
  const type = <u32>changetype<Ethernet>(packet.data).type;
  if (type == EtherType.IPV4) return lookInto<u32>(packet, one);
  return type == EtherType.IPV6 && lookInto<v128>(packet, one);
}

function lookInto<A>(packet: Packet, one: Staged): bool {
  const ip = ipOf(packet);
  const total = outcome.lengthOf<A>(ip, packet.length - ETHERNET_LENGTH);
  if (total == 0) return false;
  one.total = total;
  if (!following.isTurning<A>(ip)) {
    if (flow.flows<A>().capacity == 0) return false;
    one.way = isVector<A>() ? Way.FLOW6 : Way.FLOW4;
    one.hash = following.hashOf<A>(packet, ip);
    return false;
  }
  return opening.openings<A>().capacity != 0 && opening.isOpening<A>(ip) && lookBeyond<A>(ip, one);
}

/** Finds out who picks the backend of a packet that opens a connection. Whether that can be said. */
function lookBeyond<A>(ip: usize, one: Staged): bool {
  const saddr = outcome.saddrOf<A>(ip);
  const daddr = outcome.daddrOf<A>(ip);
  const ports = outcome.portsOf<A>(ip);
  const protocol = outcome.protocolOf<A>(ip);
  const table = lb.tableOf<A>(daddr, ports >>> 16, protocol);
  if (table == lb.UNDECIDED) return false;
  one.way = isVector<A>() ? Way.OPENING6 : Way.OPENING4;
  one.home = ct.homeOf<A>(saddr, daddr, ports);
  one.table = <u32>table;
  one.slot = table == 0 ? 0 : <u32>maglev.slotOf<A>(changetype<MaglevTable>(table), saddr, ports, protocol);
  return true;
}

/** Of packets that open connections: has where those of their clients stand fetched, and finds out their backends and hashes. */
function fetchOpenings(packets: usize, count: u32): u32 {
  let touched: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    if (one.isOpening && one.table != 0) touched += load<u8>(one.slot);
  }
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    if (one.way == Way.OPENING4) ct.connections<u32>().groupOf(one.home).fetch();
    else if (one.way == Way.OPENING6) ct.connections<v128>().groupOf(one.home).fetch();
  }
  for (let i: u32 = 0; i < count; i++) {
    const one = stagedAt(i);
    if (!one.isOpening) continue;
    const packet = packetAt(packets, i);
    one.backendId = one.table == 0 ? 0 : maglev.backendIn(changetype<MaglevTable>(<usize>one.table), one.slot);
    one.hash =
      one.way == Way.OPENING4
        ? opening.hashOf<u32>(packet, ipOf(packet), one.backendId)
        : opening.hashOf<v128>(packet, ipOf(packet), one.backendId);
  }
  return touched;
}

/** Touches the tags among which those of a packet's outcome are. */
function touchTags(one: Staged): u32 {
  if (one.way == Way.FLOW4) return flow.flows<u32>().touch(one.hash);
  if (one.way == Way.OPENING4) return opening.openings<u32>().touch(one.hash);
  if (one.way == Way.FLOW6) return flow.flows<v128>().touch(one.hash);
  return one.way == Way.OPENING6 ? opening.openings<v128>().touch(one.hash) : 0;
}

/** Notes the outcome that those tags name first. */
function guess(one: Staged): void {
  let kept: usize = 0;
  if (one.way == Way.FLOW4) kept = changetype<usize>(flow.flows<u32>().guess(one.hash));
  else if (one.way == Way.OPENING4) kept = changetype<usize>(opening.openings<u32>().guess(one.hash));
  else if (one.way == Way.FLOW6) kept = changetype<usize>(flow.flows<v128>().guess(one.hash));
  else if (one.way == Way.OPENING6) kept = changetype<usize>(opening.openings<v128>().guess(one.hash));
  one.kept = <u32>kept;
}

/** Has an outcome fetched. */
function fetch(one: Staged): u32 {
  const kept = <usize>one.kept;
  if (kept == 0) return 0;
  if (one.way == Way.FLOW4 || one.way == Way.OPENING4) return changetype<Outcome<u32>>(kept).fetch();
  return changetype<Outcome<v128>>(kept).fetch();
}

/** Touches what a flow names. */
function touchNamed<A>(at: u32): u32 {
  return at == 0 ? 0 : changetype<Flow<A>>(<usize>at).touch();
}

/** How many connections an opening makes; 0 where it is not known. */
function creationsOf<A>(at: u32): u32 {
  return at == 0 ? 0 : changetype<Opening<A>>(<usize>at).creations;
}

/** Answers a packet as its flow was answered, or keeps what the programs answer. 1 for the former. */
function follow<A>(packet: Packet, one: Staged): u32 {
  const ip = ipOf(packet);
  const known = following.find<A>(packet, ip, one.hash, changetype<Flow<A>>(<usize>one.kept));
  if (known !== null && following.follow<A>(packet, known, ip, one.total)) return 1;
  const length = packet.length;
  following.record<A>(packet, ip);
  run(packet);
  following.keep<A>(packet, ip, one.hash, length, known);
  return 0;
}

/** Answers a packet as another was that opened a connection to the same port, or keeps what the programs answer. 1 for the former. */
function open<A>(packet: Packet, one: Staged): u32 {
  const ip = ipOf(packet);
  const known = opening.find<A>(packet, ip, one.hash, one.backendId, changetype<Opening<A>>(<usize>one.kept));
  if (known !== null && opening.open<A>(packet, known, ip, one.total, one.home)) return 1;
  // What is known of the client may have a part in the answer, and is not in the recording.
  if ((known !== null && known.isCurrent) || ct.connections<A>().mayKnow(one.home)) {
    run(packet);
    return 0;
  }
  const length = packet.length;
  const sport = opening.record<A>(packet, ip);
  run(packet);
  opening.keep<A>(packet, ip, one.hash, one.home, one.backendId, sport, length, known);
  return 0;
}
