/**
 * Flows whose answer is kept: what the programs made of one packet, for the next that is like it. An entry holds all that such a
 * packet needs: what becomes of its headers, where it ends, which connections it counts in; and the state of the maps in which that is
 * so. An entry of another state is as good as none: the programs are asked again, for this one flow.
 *
 * Connections do not count the packets of their flows: a flow counts its own, and tells them before anybody looks, before one of them
 * goes, and before it goes itself. So all but the first packet of a turn touch no connection. A flow watches the groups of conntrack in which the
 * programs looked for its connections, and is outdated by whatever changes there.
 */
import { Rings, takeRings } from '../maps/rings';
import { TaggedCache } from '../maps/tagged';
import { turn } from '../maps/turn';
import { Outcome } from './outcome';
import * as recording from './recording';

/** A packet of a flow; its bytes stand below. */
const PACKET: u64 = 1 << 40;

/** The outcome of a packet and what it depends on, besides what the control plane has put in the maps. */
@unmanaged
export class Flow<A> extends Outcome<A> {
  /** As many of the entries below are of conntrack, and as many all. */
  connections: u8;
  entries: u8;
  /** Packets and bytes that its connections have not been told of. */
  untold: u64;
  /** That in which its entries were used last. */
  turn: u32;
  /** Those of conntrack that count the packet, then the mappings of source NAT that it uses. */
  entry0: u32;
  entry1: u32;
  entry2: u32;
  entry3: u32;
  entry4: u32;

  /** Address of an entry. */
  @inline
  entry(index: u32): usize {
    return <usize>load<u32>(this.addressOf(index));
  }

  @inline
  private addressOf(index: u32): usize {
    return changetype<usize>(this) + offsetof<Flow<A>>('entry0') + ((<usize>index) << 2);
  }

  /** Reads the entries that its next packet uses, so that they are near: none, but for the first packet of a turn. */
  @inline
  touch(): u32 {
    if (this.turn == turn) return 0;
    let touched: u32 = 0;
    for (let i: u32 = 0; i < <u32>this.entries; i++) touched += load<u8>(this.entry(i));
    return touched;
  }

  /** Counts a packet of `length` bytes, up to 65,535. */
  @inline
  count(length: u32): void {
    this.untold += PACKET | (<u64>length);
    if (<i64>this.untold < 0) this.tell();
  }

  /** Tells its connections what it has counted. */
  tell(): void {
    const counts = i64x2(this.untold >>> 40, this.untold & (PACKET - 1));
    this.untold = 0;
    for (let i: u32 = 0; i < <u32>this.connections; i++) {
      const entry = this.entry(i);
      v128.store(entry, i64x2.add(v128.load(entry), counts));
    }
  }

  /** Takes down which entries the recorded packet used. */
  depend(): void {
    this.turn = turn;
    this.untold = 0;
    this.connections = <u8>recording.connections;
    this.entries = <u8>(recording.connections + recording.mappings);
    for (let i: u32 = 0; i < recording.connections; i++) store<u32>(this.addressOf(i), recording.connection(i));
    for (let i: u32 = 0; i < recording.mappings; i++)
      store<u32>(this.addressOf(recording.connections + i), recording.mapping(i));
  }
}

export function flows<A>(): TaggedCache<Flow<A>> {
  return changetype<TaggedCache<Flow<A>>>(memory.data(offsetof<TaggedCache<Flow<A>>>(), 16));
}

/** Who watches what: each group of conntrack is the end of a queue, in which flows stand with one of their numbers, which come after. */
@unmanaged
class Watchers<A> {
  queues: Rings;
  groups: u32;

  /** Of groups and flows together. */
  get numbers(): u32 {
    return this.groups + flows<A>().places * recording.MAX_GROUPS;
  }

  numberOf(flow: Flow<A>, index: u32): u32 {
    return this.groups + flows<A>().placeOf(flow) * recording.MAX_GROUPS + index;
  }

  flowOf(number: u32): Flow<A> {
    return flows<A>().entry(<usize>((number - this.groups) / recording.MAX_GROUPS));
  }
}

function watchers<A>(): Watchers<A> {
  return changetype<Watchers<A>>(memory.data(offsetof<Watchers<A>>(), 16));
}

/** Takes memory for `capacity` flows, and for those who watch so many groups. It is to be cleared once that is there. */
export function create<A>(capacity: u32, groups: u32): void {
  flows<A>().create(capacity);
  watchers<A>().groups = groups;
  if (capacity != 0) watchers<A>().queues = takeRings(watchers<A>().numbers);
}

/** Forgets every flow, and what it has not told: its connections are to be forgotten too. */
export function clear<A>(): void {
  if (flows<A>().capacity == 0) return;
  flows<A>().clear();
  const numbers = watchers<A>().numbers;
  for (let i: u32 = 0; i < numbers; i++) watchers<A>().queues.alone(i);
}

/** A flow watches a group, besides others. */
export function watch<A>(flow: Flow<A>, index: u32, group: u32): void {
  watchers<A>().queues.append(group, watchers<A>().numberOf(flow, index));
}

/** What stood in a flow's place is about to be another. */
export function release<A>(flow: Flow<A>): void {
  const queues = watchers<A>().queues;
  const first = watchers<A>().numberOf(flow, 0);
  // Who watches nothing has no connections, or has told them.
  if (queues.isAlone(first)) return;
  flow.tell();
  for (let number = first; number < first + recording.MAX_GROUPS; number++) {
    queues.unlink(number);
    queues.alone(number);
  }
}

/** Something in a group is another now, or about to go: who watches it is no flow any more. */
export function outdate<A>(group: u32): void {
  const queues = watchers<A>().queues;
  while (!queues.isAlone(group)) {
    const flow = watchers<A>().flowOf(queues.behind(group));
    release<A>(flow);
    flow.generation = 0;
    flow.turn = 0;
  }
}

/** Has all who watch a group tell what they have counted. */
export function settle<A>(group: u32): void {
  const queues = watchers<A>().queues;
  for (let number = queues.behind(group); number != group; number = queues.behind(number))
    watchers<A>().flowOf(number).tell();
}

/** What became of packets of both families. */
@unmanaged
export class FlowCounters {
  /** Packets that followed their flow. */
  followed: u64;
  /** Outcomes that were kept, of a packet that had to run through the programs. */
  kept: u64;
  /** Packets that opened a connection as another had done. */
  opened: u64;
}

export const counters = changetype<FlowCounters>(memory.data(offsetof<FlowCounters>(), 16));

if (offsetof<Flow<u32>>() > 128) ERROR('a flow takes two cache lines');
if (offsetof<Flow<v128>>() % 8 != 0 || offsetof<Flow<u32>>() % 8 != 0) ERROR('a flow is copied by words');
