/**
 * Openings whose answer is kept: what the programs made of the first packet of a connection, for the next that its client opens to the
 * same port, from whatever port of its own, and that its Service's Maglev table lends to the same backend. An entry holds what becomes
 * of such a packet, and which connections it opens.
 *
 * It holds as long as what the control plane has put in the maps; and for packets from whose end no connection is known, nor a mapping
 * of source NAT where these were looked for: then there is none to be found.
 */
import { TcpFlag } from '../abi';
import { finish, mix, start } from '../maps/hash';
import { TaggedCache } from '../maps/tagged';
import { copy } from '../wire/records';
import * as ct from './conntrack';
import * as nat from './nat';
import { entryOf, hopsOf, mixAddresses, Outcome, placeOf, portsOf, protocolOf, tcpFlagsOf } from './outcome';
import { Packet } from './packet';
import * as recording from './recording';
import { counters } from './flow';

/** Of both ports, the one that is not the client's. */
const DPORT: u32 = 0xffff0000;

@unmanaged
export class Opening<A> extends Outcome<A> {
  creations: u8;
  /** Whether mappings of source NAT were looked for, in vain. */
  asksMappings: bool;
  /** As in `recording.Creation`. */
  creation0: u64;
  creation1: u64;
  creation2: u64;
}

export function openings<A>(): TaggedCache<Opening<A>> {
  return changetype<TaggedCache<Opening<A>>>(memory.data(offsetof<TaggedCache<Opening<A>>>(), 16));
}

/** The opening that is being recorded. */
function recorded<A>(): Opening<A> {
  return changetype<Opening<A>>(memory.data(offsetof<Opening<A>>(), 16));
}

/** Whether a packet asks to open a connection, and does nothing else, from a port by which its client's connections are found. */
export function isOpening<A>(ip: usize): bool {
  const flags: u32 = TcpFlag.SYN | TcpFlag.FIN | TcpFlag.RST | TcpFlag.ACK;
  return (tcpFlagsOf<A>(ip) & flags) == TcpFlag.SYN && ct.isClients(portsOf<A>(ip));
}

/** Hash of the opening of a packet that goes to a backend, 0 for one to no Service. */
export function hashOf<A>(packet: Packet, ip: usize, backendId: u32): u32 {
  const h = mixAddresses<A>(mix(start(), (<u64>portsOf<A>(ip)) >>> 16), ip);
  return finish(mix(h, (<u64>backendId) | ((<u64>entryOf<A>(packet, ip)) << 32)));
}

/** The opening of a packet; null for none. `first` is a guess at it. */
export function find<A>(packet: Packet, ip: usize, hash: u32, backendId: u32, first: Opening<A>): Opening<A> {
  const ports = portsOf<A>(ip) & DPORT;
  const place = placeOf(packet, protocolOf<A>(ip));
  const endpoint = packet.endpoint;
  if (first !== null && first.backendId == backendId && first.matches(ip, ports, endpoint, place)) return first;
  for (let bits = openings<A>().candidates(hash); bits != 0; bits &= bits - 1) {
    const opening = openings<A>().at(hash, bits);
    if (opening.backendId == backendId && opening.matches(ip, ports, endpoint, place)) return opening;
  }
  return changetype<Opening<A>>(0);
}

/**
 * Opens the connections of a packet, `total` bytes from its IP header on, and does to it what the programs would do. Whether that is
 * known: else nothing is done, and they must. `home` is that of the packet's tuple.
 */
export function open<A>(packet: Packet, opening: Opening<A>, ip: usize, total: u32, home: u32): bool {
  const hops = hopsOf<A>(ip);
  const sport = portsOf<A>(ip) & ~DPORT;
  if (!opening.isCurrent || !opening.suits(hops, total) || !ct.isClients(opening.newPorts | sport)) return false;
  if (ct.connections<A>().mayKnow(home) || (opening.asksMappings && nat.mappings<A>().mayKnow(home))) return false;
  const creations = <u32>opening.creations;
  const group = ct.connections<A>().groupOf(home);
  let ways = group.empty;
  let at = changetype<usize>(opening) + offsetof<Opening<A>>('creation0');
  for (let i: u32 = 0; i < creations; i++, at += 8) {
    const creation = changetype<recording.Creation>(at);
    const isNew = creation.isRewritten;
    ct.open<A>(
      isNew ? opening.newDaddr : opening.daddr,
      opening.saddr,
      (isNew ? opening.newPorts : opening.ports) | sport,
      opening.protocol,
      creation,
      home,
      opening.sourceIdentity,
      creation.isLent ? opening.backendId : 0,
      packet.length,
      ways,
    );
    ways &= ways - 1;
    if (ways == 0) ways = group.empty;
  }
  opening.apply(packet, ip, hops, opening.newPorts | sport);
  return true;
}

/** Before the programs run: takes down the packet as it comes. Its source port. */
export function record<A>(packet: Packet, ip: usize): u32 {
  recorded<A>().start(packet, ip, portsOf<A>(ip) & DPORT);
  recording.start(true);
  return portsOf<A>(ip) & ~DPORT;
}

/**
 * After they ran: keeps what became of the packet, which had `length` bytes and was to go to `backendId`, unless that depends on more
 * than can be kept. `known` is the opening as it was kept under another state of the maps, null for none.
 */
export function keep<A>(
  packet: Packet,
  ip: usize,
  hash: u32,
  home: u32,
  backendId: u32,
  sport: u32,
  length: u32,
  known: Opening<A>,
): void {
  if (!recording.isOn) return;
  recording.spoil();
  const ports = portsOf<A>(ip);
  if (packet.backendId != backendId || (ports & ~DPORT) != sport || !ct.isClients(ports)) return;
  if (
    recording.groupCount > 1 ||
    (recording.groupCount == 1 && recording.group(0) != ct.connections<A>().groupNumber(home))
  )
    return;
  if (!recording.canOpen(packet.sourceIdentity, backendId, length)) return;
  const opening = recorded<A>();
  // A client that is sent back to itself has another address there, and its connections another home.
  if (!opening.finish(packet, ip, length, DPORT) || opening.newSaddr != opening.saddr) return;
  opening.asksMappings = recording.asksMappings;
  opening.creations = <u8>recording.creations;
  opening.creation0 = recording.creation(0);
  opening.creation1 = recording.creation(1);
  opening.creation2 = recording.creation(2);
  counters.kept++;
  const kept = known !== null ? known : openings<A>().claim(hash);
  copy<Opening<A>>(changetype<usize>(kept), changetype<usize>(opening));
}

if (offsetof<Opening<u32>>() > 128) ERROR('an opening takes two cache lines');
if (offsetof<Opening<u32>>() % 8 != 0 || offsetof<Opening<v128>>() % 8 != 0) ERROR('an opening is copied by words');
