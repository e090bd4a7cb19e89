/**
 * Flows whose answer is kept: what the programs made of one packet, for the next that is like it. An entry holds all that such a
 * packet needs: what becomes of its headers, where it ends, which connections count it; and under which state of the maps that was
 * so. An entry of another state is as good as none: the programs are asked again, for this one flow.
 *
 * The programs are the specification, one packet at a time (`run`): with and without this cache every byte and every map is the
 * same.
 */
import { CtLifetime, IpProto, TcpFlag } from '../abi';
import { finish, mix, start } from '../maps/hash';
import { TaggedCache } from '../maps/tagged';
import { copy } from '../wire/records';
import * as ct from './conntrack';
import { CtEntry } from './conntrack';
import * as nat from './nat';
import { NatEntry } from './nat';
import { entryOf, hopsOf, mixAddresses, Outcome, placeOf, portsOf, protocolOf, tcpFlagsOf } from './outcome';
import { Packet } from './packet';
import * as recording from './recording';

/** The outcome of a packet and what it depends on, besides what the control plane has put in the maps. */
@unmanaged
export class Flow<A> extends Outcome<A> {
  /** As many of the entries below are of conntrack, and as many all. */
  connections: u8;
  entries: u8;
  /** The tuples whose connections were asked for, each with its count. */
  tuple0: u32;
  tuple1: u32;
  count0: u32;
  count1: u32;
  /** Those of conntrack that count the packet, then the mappings of source NAT that it uses. */
  entry0: u32;
  entry1: u32;
  entry2: u32;
  entry3: u32;
  entry4: u32;

  /** Whether the maps are as they were. */
  @inline
  get isCurrent(): bool {
    const turned = (load<u32>(this.tuple0) ^ this.count0) | (load<u32>(this.tuple1) ^ this.count1);
    return (turned | (this.generation ^ recording.generation)) == 0;
  }

  /** Where the entries' places are. */
  @inline
  get first(): usize {
    return changetype<usize>(this) + offsetof<Flow<A>>('entry0');
  }

  /** Reads of what it names all that is far away, so that it is near: a load that nobody needs takes the place of one that somebody does. */
  @inline
  touch(): u32 {
    // A second tuple, which few have, is left where it is.
    let touched = load<u32>(this.tuple0);
    let at = this.first;
    for (let i = <u32>this.entries; i > 0; i--, at += 4) touched += load<u8>(load<u32>(at));
    return touched;
  }
}

export function flows<A>(): TaggedCache<Flow<A>> {
  return changetype<TaggedCache<Flow<A>>>(memory.data(offsetof<TaggedCache<Flow<A>>>(), 16));
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

/** The flow that is being recorded. */
function recorded<A>(): Flow<A> {
  return changetype<Flow<A>>(memory.data(offsetof<Flow<A>>(), 16));
}

/** Whether a packet opens or closes a connection: its flow's answer is not for it. */
export function isTurning<A>(ip: usize): bool {
  return (tcpFlagsOf<A>(ip) & (TcpFlag.SYN | TcpFlag.FIN | TcpFlag.RST)) != 0;
}

/** Hash of the flow of a packet. */
export function hashOf<A>(packet: Packet, ip: usize): u32 {
  const h = mixAddresses<A>(start(), ip);
  return finish(mix(h, (<u64>portsOf<A>(ip)) | ((<u64>entryOf<A>(packet, ip)) << 32)));
}

/** The flow of a packet; null for none. `first` is a guess at it. */
export function find<A>(packet: Packet, ip: usize, hash: u32, first: Flow<A>): Flow<A> {
  const ports = portsOf<A>(ip);
  const place = placeOf(packet, protocolOf<A>(ip));
  const endpoint = packet.endpoint;
  if (first !== null && first.matches(ip, ports, endpoint, place)) return first;
  for (let bits = flows<A>().candidates(hash); bits != 0; bits &= bits - 1) {
    const flow = flows<A>().at(hash, bits);
    if (flow.matches(ip, ports, endpoint, place)) return flow;
  }
  return changetype<Flow<A>>(0);
}

/**
 * Does to a packet, `total` bytes from its IP header on, what the programs would do, and to its connections. Whether that is
 * known: else nothing is done, and they must.
 */
export function follow<A>(packet: Packet, flow: Flow<A>, ip: usize, total: u32): bool {
  const hops = hopsOf<A>(ip);
  if (!flow.isCurrent || !flow.suits(hops, total)) return false;
  const counts = i64x2(1, packet.length);
  const seconds: u32 = flow.protocol == IpProto.TCP ? CtLifetime.TCP : CtLifetime.NONTCP;
  const connections = <u32>flow.connections;
  const entries = <u32>flow.entries;
  let at = flow.first;
  for (let i: u32 = 0; i < connections; i++, at += 4)
    ct.proceed<A>(changetype<CtEntry>(load<u32>(at)), counts, seconds);
  for (let i = connections; i < entries; i++, at += 4) nat.proceed<A>(changetype<NatEntry<A>>(<usize>load<u32>(at)));
  flow.apply(packet, ip, hops, flow.newPorts);
  return true;
}

/** Before the programs run: takes down the packet as it comes. */
export function record<A>(packet: Packet, ip: usize): void {
  recorded<A>().start(packet, ip, portsOf<A>(ip));
  recording.start(false);
}

/**
 * After they ran: keeps what became of the packet, which had `length` bytes, unless that depends on more than can be kept.
 * `known` is the flow as it was kept under another state of the maps, null for none.
 */
export function keep<A>(packet: Packet, ip: usize, hash: u32, length: u32, known: Flow<A>): void {
  if (!recording.isOn) return;
  recording.spoil();
  const flow = recorded<A>();
  if (!flow.finish(packet, ip, length, 0xffffffff)) return;
  state<A>(flow);
  counters.kept++;
  const kept = known !== null ? known : flows<A>().claim(hash);
  copy<Flow<A>>(changetype<usize>(kept), changetype<usize>(flow));
}

/** The state of the maps under which a flow was recorded. */
function state<A>(flow: Flow<A>): void {
  flow.tuple0 = placeIn(0);
  flow.tuple1 = placeIn(1);
  for (let i: u32 = 0; i < recording.tupleCount; i++) ct.connections<A>().watch(recording.tuple(i));
  flow.count0 = load<u32>(flow.tuple0);
  flow.count1 = load<u32>(flow.tuple1);
  flow.connections = <u8>recording.connections;
  flow.entries = <u8>(recording.connections + recording.mappings);
  let at = flow.first;
  for (let i: u32 = 0; i < recording.connections; i++, at += 4) store<u32>(at, recording.connection(i));
  for (let i: u32 = 0; i < recording.mappings; i++, at += 4) store<u32>(at, recording.mapping(i));
}

/** The place of a tuple's count; where there are fewer tuples, one that never changes. */
function placeIn(index: u32): u32 {
  return index < recording.tupleCount ? recording.tuple(index) : <u32>NEVER;
}

/** A count of nothing. */
const NEVER = memory.data(4, 16);

if (offsetof<Flow<u32>>() > 128) ERROR('a flow takes two cache lines');
if (offsetof<Flow<v128>>() % 8 != 0) ERROR('a flow is copied by words');
