/**
 * Flows whose answer is kept: what the programs made of one packet, for the next that is like it. An entry holds all that such a
 * packet needs: what becomes of its headers, where it ends, which connections count it; and under which state of the maps that was
 * so. An entry of another state is as good as none: the programs are asked again, for this one flow.
 *
 * The programs are the specification, one packet at a time (`run`): with and without this cache every byte and every map is the
 * same.
 */
import { CtLifetime, IpProto, Program, TcpFlag } from '../abi';
import { finish, mix, start } from '../maps/hash';
import { TaggedCache } from '../maps/tagged';
import * as checksum from '../wire/checksum';
import { ETHERNET_LENGTH } from '../wire/ethernet';
import { Ipv4, IPV4_LENGTH } from '../wire/ipv4';
import { Ipv6, IPV6_LENGTH } from '../wire/ipv6';
import * as l4 from '../wire/l4';
import { Ports, Tcp, Udp } from '../wire/l4';
import { copy } from '../wire/records';
import * as ct from './conntrack';
import { CtEntry } from './conntrack';
import * as metrics from './metrics';
import * as nat from './nat';
import { NatEntry } from './nat';
import { Packet } from './packet';
import * as recording from './recording';
import * as rewrite from './rewrite';

/** A packet and what becomes of it. Addresses, ports and hardware addresses stand as in the frame. */
@unmanaged
export class Flow<A> {
  saddr: A;
  daddr: A;
  newSaddr: A;
  newDaddr: A;
  ports: u32;
  newPorts: u32;
  /** Where the packet enters: see `placeOf`. */
  endpoint: u32;
  place: u32;
  /** State of the maps: `recording.generation`, and the tuples whose connections were asked for, each with its count. */
  generation: u32;
  tuple0: u32;
  tuple1: u32;
  count0: u32;
  count1: u32;
  /** Conntrack entries from the front, NAT entries from the end; what is left of the five names this flow. */
  entry0: u32;
  entry1: u32;
  entry2: u32;
  entry3: u32;
  entry4: u32;
  connections: u8;
  mappings: u8;
  /** Whether hardware addresses are written. */
  addressed: bool;
  /** What goes off the TTL or hop limit; of a flow that is being recorded, what that was. */
  hops: u8;
  /** What the rewriting adds to the checksums, folded; 0 where they stay. */
  ipChange: u16;
  l4Change: u16;
  /** Of the IP packet, in bytes: a longer one may fare otherwise. */
  longest: u16;
  metric: u16;
  mac0: u32;
  mac1: u32;
  mac2: u32;
  /** The rest is as in `Packet`. */
  toEndpoint: u32;
  sourceIdentity: u32;
  destinationIdentity: u32;
  backendId: u32;
  verdict: i16;
  revNatIndex: u16;
  node: u16;
  program: u16;

  /** Whether the packet whose IP header is at `ip` is of this flow. */
  @inline
  matches(ip: usize, endpoint: u32, place: u32): bool {
    return (
      this.saddr == saddrOf<A>(ip) &&
      this.daddr == daddrOf<A>(ip) &&
      ((this.ports ^ portsOf<A>(ip)) | (this.endpoint ^ endpoint) | (this.place ^ place)) == 0
    );
  }

  /** Whether the maps are as they were. */
  @inline
  get isCurrent(): bool {
    const turned = (load<u32>(this.tuple0) ^ this.count0) | (load<u32>(this.tuple1) ^ this.count1);
    return (turned | (this.generation ^ recording.generation)) == 0;
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
  /** Flows that were kept, of a packet that had to run through the programs. */
  kept: u64;
}

export const counters = changetype<FlowCounters>(memory.data(offsetof<FlowCounters>(), 16));

/** The flow that is being recorded. */
function recorded<A>(): Flow<A> {
  return changetype<Flow<A>>(memory.data(offsetof<Flow<A>>(), 16));
}

function headerLength<A>(): u32 {
  return isVector<A>() ? IPV6_LENGTH : IPV4_LENGTH;
}

function saddrOf<A>(ip: usize): A {
  return isVector<A>() ? load<A>(ip, offsetof<Ipv6>('saddrLow')) : load<A>(ip, offsetof<Ipv4>('saddr'));
}

function daddrOf<A>(ip: usize): A {
  return isVector<A>() ? load<A>(ip, offsetof<Ipv6>('daddrLow')) : load<A>(ip, offsetof<Ipv4>('daddr'));
}

function portsOf<A>(ip: usize): u32 {
  return changetype<Ports>(ip + headerLength<A>()).both;
}

function hopsOf<A>(ip: usize): u32 {
  return isVector<A>() ? changetype<Ipv6>(ip).hopLimit : changetype<Ipv4>(ip).ttl;
}

function protocolOf<A>(ip: usize): u32 {
  return isVector<A>() ? changetype<Ipv6>(ip).nextHeader : changetype<Ipv4>(ip).protocol;
}

/** Where a packet enters, but for its endpoint. */
function placeOf(packet: Packet, protocol: u32): u32 {
  return (<u32>packet.node) | ((<u32>packet.program) << 16) | (protocol << 24);
}

/**
 * Length of the IP packet at `ip`, of which there are `available` bytes, if it is of the kind whose flows are kept: whole, with
 * nothing between its headers, TCP, UDP or SCTP. 0 if not.
 */
export function lengthOf<A>(ip: usize, available: u32): u32 {
  if (available < headerLength<A>() + l4.UDP_LENGTH) return 0;
  let total: u32;
  if (isVector<A>()) {
    if (!changetype<Ipv6>(ip).check(available)) return 0;
    total = changetype<Ipv6>(ip).totalLength;
  } else {
    const header = changetype<Ipv4>(ip);
    if (header.versionIhl != 0x45 || header.isFragment) return 0;
    total = header.length;
    if (total < IPV4_LENGTH || total > available) return 0;
  }
  const protocol = protocolOf<A>(ip);
  if (protocol != IpProto.TCP && protocol != IpProto.UDP && protocol != IpProto.SCTP) return 0;
  const transport = ip + headerLength<A>();
  return l4.check(protocol, transport, total - headerLength<A>(), true) ? total : 0;
}

/** Whether a packet of that kind opens or closes a connection: its answer is not kept. */
export function isTurning<A>(ip: usize): bool {
  if (protocolOf<A>(ip) != IpProto.TCP) return false;
  return (changetype<Tcp>(ip + headerLength<A>()).flags & (TcpFlag.SYN | TcpFlag.FIN | TcpFlag.RST)) != 0;
}

/** Hash by which the connections of a packet of that kind are found. */
export function homeOf<A>(ip: usize): u32 {
  return ct.homeOf<A>(saddrOf<A>(ip), daddrOf<A>(ip), portsOf<A>(ip));
}

/** Whether packets that enter so are kept at all: from a pod, the network or a node, and no proxy. */
export function mayKeep(packet: Packet): bool {
  const program = <u32>packet.program;
  return (
    packet.mark == 0 &&
    (program == Program.FROM_CONTAINER || program == Program.FROM_NETDEV || program == Program.FROM_HOST)
  );
}

/** Hash of the flow of a packet. */
export function hashOf<A>(packet: Packet, ip: usize): u32 {
  const saddr = saddrOf<A>(ip);
  const daddr = daddrOf<A>(ip);
  let h = start();
  if (isVector<A>()) {
    h = mix(h, i64x2.extract_lane(saddr, 0));
    h = mix(h, i64x2.extract_lane(saddr, 1));
    h = mix(h, i64x2.extract_lane(daddr, 0));
    h = mix(h, i64x2.extract_lane(daddr, 1));
  } else h = mix(h, (<u64>(<u32>saddr)) | ((<u64>(<u32>daddr)) << 32));
  const entered = placeOf(packet, protocolOf<A>(ip)) ^ (packet.endpoint << 3);
  return finish(mix(h, (<u64>portsOf<A>(ip)) | ((<u64>entered) << 32)));
}

/** The flow of a packet; null for none. `first` is a guess at it. */
export function find<A>(packet: Packet, ip: usize, hash: u32, first: Flow<A>): Flow<A> {
  const place = placeOf(packet, protocolOf<A>(ip));
  const endpoint = packet.endpoint;
  if (first !== null && first.matches(ip, endpoint, place)) return first;
  for (let bits = flows<A>().candidates(hash); bits != 0; bits &= bits - 1) {
    const flow = flows<A>().at(hash, bits);
    if (flow.matches(ip, endpoint, place)) return flow;
  }
  return changetype<Flow<A>>(0);
}

/** A checksum's residue with as much added, in the one of its two forms that `checksum.update` gives. */
function add(residue: u32, change: u32): u32 {
  const sum = (~residue & 0xffff) + change;
  return ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
}

/**
 * Does to a packet, `total` bytes from its IP header on, what the programs would do, and to its connections. Whether that is
 * known: else nothing is done, and they must.
 */
export function follow<A>(packet: Packet, flow: Flow<A>, ip: usize, total: u32): bool {
  const hops = hopsOf<A>(ip);
  if (!flow.isCurrent || total > <u32>flow.longest || hops <= <u32>flow.hops) return false;

  const length = packet.length;
  const protocol = flow.place >>> 24;
  const seconds: u32 = protocol == IpProto.TCP ? CtLifetime.TCP : CtLifetime.NONTCP;
  const connections = <u32>flow.connections;
  let at = changetype<usize>(flow) + offsetof<Flow<A>>('entry0');
  for (let i: u32 = 0; i < connections; i++, at += 4)
    ct.proceed<A>(changetype<CtEntry>(load<u32>(at)), length, seconds);
  if (flow.mappings != 0) use<A>(flow);

  if (flow.addressed) {
    const frame = ip - ETHERNET_LENGTH;
    store<u32>(frame, flow.mac0);
    store<u32>(frame, flow.mac1, 4);
    store<u32>(frame, flow.mac2, 8);
  }
  if (isVector<A>()) {
    const header = changetype<Ipv6>(ip);
    header.hopLimit = <u8>(hops - flow.hops);
    store<A>(ip, flow.newSaddr, offsetof<Ipv6>('saddrLow'));
    store<A>(ip, flow.newDaddr, offsetof<Ipv6>('daddrLow'));
  } else {
    const header = changetype<Ipv4>(ip);
    header.ttl = <u8>(hops - flow.hops);
    header.checksum = <u16>add(header.checksum, flow.ipChange);
    store<A>(ip, flow.newSaddr, offsetof<Ipv4>('saddr'));
    store<A>(ip, flow.newDaddr, offsetof<Ipv4>('daddr'));
  }
  const transport = ip + headerLength<A>();
  changetype<Ports>(transport).both = flow.newPorts;
  if (protocol == IpProto.TCP) {
    const header = changetype<Tcp>(transport);
    header.checksum = <u16>add(header.checksum, flow.l4Change);
  } else if (protocol == IpProto.UDP) {
    const header = changetype<Udp>(transport);
    // Zero says that there is none, and one that comes out as zero is written as all ones (RFC 768).
    if (header.checksum != 0 && flow.l4Change != 0) {
      const sum = add(header.checksum, flow.l4Change);
      header.checksum = <u16>(sum == 0 ? 0xffff : sum);
    }
  }

  metrics.add(flow.metric, length);
  packet.node = flow.node;
  packet.program = flow.program;
  packet.endpoint = flow.toEndpoint;
  packet.verdict = flow.verdict;
  packet.answered = 0;
  packet.sourceIdentity = flow.sourceIdentity;
  packet.destinationIdentity = flow.destinationIdentity;
  packet.backendId = flow.backendId;
  packet.revNatIndex = flow.revNatIndex;
  packet.audited = 0;
  packet.delay = 0;
  return true;
}

/** The mappings of source NAT that a flow uses stay in use. */
function use<A>(flow: Flow<A>): void {
  let at = changetype<usize>(flow) + offsetof<Flow<A>>('entry4');
  for (let i: u32 = 0; i < <u32>flow.mappings; i++, at -= 4)
    nat.proceed<A>(changetype<NatEntry<A>>(<usize>load<u32>(at)));
}

/** Before the programs run: takes down the packet as it comes. */
export function record<A>(packet: Packet, ip: usize): void {
  const flow = recorded<A>();
  const frame = ip - ETHERNET_LENGTH;
  flow.saddr = saddrOf<A>(ip);
  flow.daddr = daddrOf<A>(ip);
  flow.ports = portsOf<A>(ip);
  flow.endpoint = packet.endpoint;
  flow.place = placeOf(packet, protocolOf<A>(ip));
  flow.hops = <u8>hopsOf<A>(ip);
  flow.mac0 = load<u32>(frame);
  flow.mac1 = load<u32>(frame, 4);
  flow.mac2 = load<u32>(frame, 8);
  recording.start();
}

/**
 * After they ran: keeps what became of the packet, which had `length` bytes, unless that depends on more than can be kept.
 * `known` is the flow as it was kept under another state of the maps, null for none.
 */
export function keep<A>(packet: Packet, ip: usize, hash: u32, length: u32, known: Flow<A>): void {
  if (!recording.isOn) return;
  recording.spoil();
  const frame = ip - ETHERNET_LENGTH;
  const program = <u32>packet.program;
  if (<usize>packet.data != frame || packet.length != length) return;
  if (packet.answered != 0 || packet.audited != 0 || packet.mark != 0 || packet.delay != 0) return;
  if (packet.verdict == 0 && program != Program.DELIVERED && program != Program.HOST && program != Program.WORLD)
    return;

  const flow = recorded<A>();
  const before = <u32>flow.hops;
  const after = hopsOf<A>(ip);
  flow.hops = <u8>(before - after);
  flow.newSaddr = saddrOf<A>(ip);
  flow.newDaddr = daddrOf<A>(ip);
  flow.newPorts = portsOf<A>(ip);
  flow.mac0 = load<u32>(frame);
  flow.mac1 = load<u32>(frame, 4);
  flow.mac2 = load<u32>(frame, 8);
  flow.addressed = recording.isAddressed;
  note<A>(flow, before != after);
  state<A>(flow);
  flow.longest = <u16>min<u32>(recording.longest, 0xffff);
  flow.metric = <u16>recording.metric;
  flow.toEndpoint = packet.endpoint;
  flow.sourceIdentity = packet.sourceIdentity;
  flow.destinationIdentity = packet.destinationIdentity;
  flow.backendId = packet.backendId;
  flow.verdict = <i16>packet.verdict;
  flow.revNatIndex = <u16>packet.revNatIndex;
  flow.node = packet.node;
  flow.program = <u16>program;

  counters.kept++;
  const kept = known !== null ? known : flows<A>().claim(hash);
  copy<Flow<A>>(changetype<usize>(kept), changetype<usize>(flow));
  for (let i = <u32>flow.connections; i < recording.MAX_ENTRIES - <u32>flow.mappings; i++)
    store<u32>(changetype<usize>(kept) + offsetof<Flow<A>>('entry0') + ((<usize>i) << 2), <u32>changetype<usize>(kept));
}

/** What the rewriting of a recorded flow adds to the checksums. */
function note<A>(flow: Flow<A>, isHop: bool): void {
  let change: u64 = 0;
  if (recording.isRewritten) {
    change = rewrite.difference<A>(flow.saddr, flow.newSaddr) + rewrite.difference<A>(flow.daddr, flow.newDaddr);
    flow.l4Change = <u16>checksum.fold(change + checksum.difference(flow.ports, flow.newPorts));
  } else flow.l4Change = 0;
  // The TTL stands in the lower byte of its word.
  if (isHop) change += checksum.difference(flow.hops, 0);
  flow.ipChange = <u16>checksum.fold(change);
}

/** The state of the maps under which a flow was recorded. */
function state<A>(flow: Flow<A>): void {
  flow.generation = recording.generation;
  flow.tuple0 = placeIn(0);
  flow.tuple1 = placeIn(1);
  flow.count0 = load<u32>(flow.tuple0);
  flow.count1 = load<u32>(flow.tuple1);
  flow.connections = <u8>recording.connections;
  flow.mappings = <u8>recording.mappings;
  flow.entry0 = recording.entry(0);
  flow.entry1 = recording.entry(1);
  flow.entry2 = recording.entry(2);
  flow.entry3 = recording.entry(3);
  flow.entry4 = recording.entry(4);
}

/** The place of a tuple's count; where there are fewer tuples, one that never changes. */
function placeIn(index: u32): u32 {
  return index < recording.tupleCount ? recording.tuple(index) : <u32>NEVER;
}

/** A count of nothing. */
const NEVER = memory.data(4, 16);

if (offsetof<Flow<u32>>() > 128) ERROR('a flow takes two cache lines');
if (offsetof<Flow<v128>>() % 8 != 0) ERROR('a flow is copied by words');
