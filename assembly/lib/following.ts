/**
 * Packets that go on with a flow: they fare as the one did for which the programs were asked (`flow.ts`).
 *
 * The programs are the specification, one packet at a time (`run`): with and without flows every byte is the same, and every map as the
 * host sees it.
 */
import { CtLifetime, IpProto, TcpFlag } from '../abi';
import { finish, mix, start } from '../maps/hash';
import { turn } from '../maps/turn';
import { copy } from '../wire/records';
import * as ct from './conntrack';
import { CtEntry } from './conntrack';
import { counters, Flow, flows, release, watch } from './flow';
import * as nat from './nat';
import { NatEntry } from './nat';
import { entryOf, hopsOf, mixAddresses, placeOf, portsOf, protocolOf, tcpFlagsOf } from './outcome';
import { Packet } from './packet';
import * as recording from './recording';

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
 * Does to a packet, `total` bytes from its IP header on, what the programs would do, and counts it for its connections. Whether that is
 * known: else nothing is done, and they must.
 */
export function follow<A>(packet: Packet, flow: Flow<A>, ip: usize, total: u32): bool {
  const hops = hopsOf<A>(ip);
  if (!flow.suits(hops, total)) return false;
  if (flow.turn != turn && !proceed<A>(flow)) return false;
  flow.count(packet.length);
  flow.apply(packet, ip, hops, flow.newPorts);
  return true;
}

/** A flow goes on in another turn: so do the entries that it names. Whether it is current. */
function proceed<A>(flow: Flow<A>): bool {
  if (!flow.isCurrent) return false;
  flow.turn = turn;
  const seconds: u32 = flow.protocol == IpProto.TCP ? CtLifetime.TCP : CtLifetime.NONTCP;
  const connections = <u32>flow.connections;
  const entries = <u32>flow.entries;
  for (let i: u32 = 0; i < connections; i++) ct.proceed<A>(changetype<CtEntry>(flow.entry(i)), seconds);
  for (let i = connections; i < entries; i++) nat.proceed<A>(changetype<NatEntry<A>>(flow.entry(i)));
  return true;
}

/** Before the programs run: takes down the packet as it comes. */
export function record<A>(packet: Packet, ip: usize): void {
  recorded<A>().start(packet, ip, portsOf<A>(ip));
  recording.start(false);
}

/**
 * After they ran: keeps what became of the packet, which had `length` bytes, unless that depends on more than can be kept.
 * `known` is the flow as it was kept, under another state of the maps or for packets unlike this one; null for none.
 */
export function keep<A>(packet: Packet, ip: usize, hash: u32, length: u32, known: Flow<A>): void {
  if (!recording.isOn) return;
  recording.spoil();
  const flow = recorded<A>();
  if (!flow.finish(packet, ip, length, 0xffffffff)) return;
  flow.depend();
  counters.kept++;
  const kept = known !== null ? known : flows<A>().claim(hash);
  release<A>(kept);
  copy<Flow<A>>(changetype<usize>(kept), changetype<usize>(flow));
  for (let i: u32 = 0; i < recording.groupCount; i++) {
    ct.connections<A>().watch(recording.group(i));
    watch<A>(kept, i, recording.group(i));
  }
}
