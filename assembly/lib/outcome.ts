/**
 * What became of a packet, kept for those that are like it: what of its headers is written, and where it ends. Addresses, ports and
 * hardware addresses stand as in the frame.
 */
import { IpProto, Program } from '../abi';
import { mix } from '../maps/hash';
import * as checksum from '../wire/checksum';
import { ETHERNET_LENGTH } from '../wire/ethernet';
import { Ipv4, IPV4_LENGTH } from '../wire/ipv4';
import { Ipv6, IPV6_LENGTH } from '../wire/ipv6';
import * as l4 from '../wire/l4';
import { Ports, Tcp, Udp } from '../wire/l4';
import * as metrics from './metrics';
import { Packet } from './packet';
import * as recording from './recording';
import * as rewrite from './rewrite';

@unmanaged
export class Outcome<A> {
  saddr: A;
  daddr: A;
  newSaddr: A;
  newDaddr: A;
  ports: u32;
  newPorts: u32;
  /** Where the packet enters: see `placeOf`. */
  endpoint: u32;
  place: u32;
  /** From here to `answered` as in `Packet`, in the same places. */
  node: u16;
  program: u16;
  toEndpoint: u32;
  verdict: i32;
  sourceIdentity: u32;
  destinationIdentity: u32;
  backendId: u32;
  revNatIndex: u32;
  /** 0: what is answered is not kept. */
  answered: u32;
  /** State of the maps that the control plane fills: `recording.generation`. */
  generation: u32;
  mac0: u32;
  mac1: u32;
  mac2: u32;
  /** What the rewriting adds to the checksums, folded; 0 where they stay. */
  ipChange: u16;
  l4Change: u16;
  /** Of the IP packet, in bytes: a longer one may fare otherwise. */
  longest: u16;
  metric: u16;
  /** Always 0. */
  zero: u32;
  /** Whether hardware addresses are written. */
  addressed: bool;
  /** What goes off the TTL or hop limit; of a packet that is being recorded, what that was. */
  hops: u8;

  /**
   * Has its cache lines fetched. What is stored there, zeros that are there already, waits for them behind all that runs on; a load would
   * hold that up. The line that has no such place is read, and what was read is returned.
   */
  @inline
  fetch(): u32 {
    this.answered = 0;
    this.zero = 0;
    return isVector<A>() ? load<u32>(changetype<usize>(this)) : 0;
  }

  /** Whether the control plane has changed nothing since. */
  @inline
  get isCurrent(): bool {
    return this.generation == recording.generation;
  }

  /** Whether the packet whose IP header is at `ip` has these addresses, and `ports`, and enters there. */
  @inline
  matches(ip: usize, ports: u32, endpoint: u32, place: u32): bool {
    if (((this.ports ^ ports) | (this.endpoint ^ endpoint) | (this.place ^ place)) != 0) return false;
    // Two addresses of IPv4 are one word.
    if (!isVector<A>()) return load<u64>(changetype<usize>(this)) == load<u64>(ip, offsetof<Ipv4>('saddr'));
    return this.saddr == saddrOf<A>(ip) && this.daddr == daddrOf<A>(ip);
  }

  /** An `IpProto`. */
  @inline
  get protocol(): u32 {
    return this.place >>> 24;
  }

  /** Whether a packet of `total` bytes that is like it fares like it, as far as its length and its hops go. */
  @inline
  suits(hops: u32, total: u32): bool {
    return total <= <u32>this.longest && hops > <u32>this.hops;
  }

  /** Takes down the packet as it comes, `ports` as they are to be matched. */
  start(packet: Packet, ip: usize, ports: u32): void {
    this.saddr = saddrOf<A>(ip);
    this.daddr = daddrOf<A>(ip);
    this.ports = ports;
    this.endpoint = packet.endpoint;
    this.place = placeOf(packet, protocolOf<A>(ip));
    this.hops = <u8>hopsOf<A>(ip);
  }

  /**
   * Takes down what became of it, which had `length` bytes; of its ports those in `mask`. Whether all that did so can be kept.
   */
  finish(packet: Packet, ip: usize, length: u32, mask: u32): bool {
    const frame = ip - ETHERNET_LENGTH;
    const program = <u32>packet.program;
    if (<usize>packet.data != frame || packet.length != length) return false;
    if (packet.answered != 0 || packet.audited != 0 || packet.mark != 0 || packet.delay != 0) return false;
    if (packet.verdict == 0 && program != Program.DELIVERED && program != Program.HOST && program != Program.WORLD)
      return false;
    const before = <u32>this.hops;
    const after = hopsOf<A>(ip);
    this.hops = <u8>(before - after);
    this.newSaddr = saddrOf<A>(ip);
    this.newDaddr = daddrOf<A>(ip);
    this.newPorts = portsOf<A>(ip) & mask;
    this.mac0 = load<u32>(frame);
    this.mac1 = load<u32>(frame, 4);
    this.mac2 = load<u32>(frame, 8);
    this.addressed = recording.isAddressed;
    this.note(before != after);
    this.generation = recording.generation;
    this.longest = <u16>min<u32>(recording.longest, 0xffff);
    this.metric = <u16>recording.metric;
    this.toEndpoint = packet.endpoint;
    this.sourceIdentity = packet.sourceIdentity;
    this.destinationIdentity = packet.destinationIdentity;
    this.backendId = packet.backendId;
    this.verdict = packet.verdict;
    this.revNatIndex = packet.revNatIndex;
    this.answered = 0;
    this.node = packet.node;
    this.program = <u16>program;
    return true;
  }

  /** What the rewriting adds to the checksums. */
  private note(isHop: bool): void {
    let change: u64 = 0;
    if (recording.isRewritten()) {
      change = rewrite.difference<A>(this.saddr, this.newSaddr) + rewrite.difference<A>(this.daddr, this.newDaddr);
      this.l4Change = <u16>checksum.fold(change + checksum.difference(this.ports, this.newPorts));
    } else this.l4Change = 0;
    // The TTL stands in the lower byte of its word.
    if (isHop) change += checksum.difference(this.hops, 0);
    this.ipChange = <u16>checksum.fold(change);
  }

  /** Does the same to another packet of so many `hops`, which leaves with `ports`. */
  @inline
  apply(packet: Packet, ip: usize, hops: u32, ports: u32): void {
    const protocol = this.protocol;
    if (this.addressed) {
      const frame = ip - ETHERNET_LENGTH;
      store<u64>(frame, load<u64>(changetype<usize>(this), offsetof<Outcome<A>>('mac0')));
      store<u32>(frame, this.mac2, 8);
    }
    if (isVector<A>()) {
      const header = changetype<Ipv6>(ip);
      header.hopLimit = <u8>(hops - this.hops);
      store<A>(ip, this.newSaddr, offsetof<Ipv6>('saddrLow'));
      store<A>(ip, this.newDaddr, offsetof<Ipv6>('daddrLow'));
    } else {
      const header = changetype<Ipv4>(ip);
      header.ttl = <u8>(hops - this.hops);
      header.checksum = <u16>add(header.checksum, this.ipChange);
      store<u64>(ip, load<u64>(changetype<usize>(this), offsetof<Outcome<A>>('newSaddr')), offsetof<Ipv4>('saddr'));
    }
    const transport = ip + headerLength<A>();
    changetype<Ports>(transport).both = ports;
    if (protocol == IpProto.TCP) {
      const header = changetype<Tcp>(transport);
      header.checksum = <u16>add(header.checksum, this.l4Change);
    } else if (protocol == IpProto.UDP) {
      const header = changetype<Udp>(transport);
      // Zero says that there is none, and one that comes out as zero is written as all ones (RFC 768).
      if (header.checksum != 0 && this.l4Change != 0) {
        const sum = add(header.checksum, this.l4Change);
        header.checksum = <u16>(sum == 0 ? 0xffff : sum);
      }
    }
    metrics.add(this.metric, packet.length);
    const to = changetype<usize>(packet) + offsetof<Packet>('node');
    const from = changetype<usize>(this) + offsetof<Outcome<A>>('node');
    v128.store(to, v128.load(from));
    v128.store(to + 16, v128.load(from + 16));
    packet.audited = 0;
    packet.delay = 0;
  }
}

function headerLength<A>(): u32 {
  return isVector<A>() ? IPV6_LENGTH : IPV4_LENGTH;
}

export function saddrOf<A>(ip: usize): A {
  return isVector<A>() ? load<A>(ip, offsetof<Ipv6>('saddrLow')) : load<A>(ip, offsetof<Ipv4>('saddr'));
}

export function daddrOf<A>(ip: usize): A {
  return isVector<A>() ? load<A>(ip, offsetof<Ipv6>('daddrLow')) : load<A>(ip, offsetof<Ipv4>('daddr'));
}

/** The source port in the lower half. */
export function portsOf<A>(ip: usize): u32 {
  return changetype<Ports>(ip + headerLength<A>()).both;
}

export function hopsOf<A>(ip: usize): u32 {
  return isVector<A>() ? changetype<Ipv6>(ip).hopLimit : changetype<Ipv4>(ip).ttl;
}

export function protocolOf<A>(ip: usize): u32 {
  return isVector<A>() ? changetype<Ipv6>(ip).nextHeader : changetype<Ipv4>(ip).protocol;
}

/** The flags of TCP; 0 of another protocol. */
export function tcpFlagsOf<A>(ip: usize): u32 {
  return protocolOf<A>(ip) == IpProto.TCP ? changetype<Tcp>(ip + headerLength<A>()).flags : 0;
}

/** Where a packet enters, but for its endpoint: its node, its program, and its protocol above. */
export function placeOf(packet: Packet, protocol: u32): u32 {
  return load<u32>(changetype<usize>(packet), offsetof<Packet>('node')) | (protocol << 24);
}

/** Where a packet enters, as a word for its hash. */
export function entryOf<A>(packet: Packet, ip: usize): u32 {
  return placeOf(packet, protocolOf<A>(ip)) ^ (packet.endpoint << 3);
}

/** Takes the addresses of a packet into a hash. */
export function mixAddresses<A>(h: u64, ip: usize): u64 {
  const saddr = saddrOf<A>(ip);
  const daddr = daddrOf<A>(ip);
  if (!isVector<A>()) return mix(h, (<u64>(<u32>saddr)) | ((<u64>(<u32>daddr)) << 32));
  h = mix(mix(h, i64x2.extract_lane(saddr, 0)), i64x2.extract_lane(saddr, 1));
  return mix(mix(h, i64x2.extract_lane(daddr, 0)), i64x2.extract_lane(daddr, 1));
}

/**
 * Length of the IP packet at `ip`, of which there are `available` bytes, if it is of the kind whose outcome is kept: whole, with
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
  return l4.check(protocol, ip + headerLength<A>(), total - headerLength<A>(), true) ? total : 0;
}

/** Whether packets that enter so are kept at all: from a pod, the network or a node, and no proxy. */
export function mayKeep(packet: Packet): bool {
  const program = <u32>packet.program;
  return (
    packet.mark == 0 &&
    (program == Program.FROM_CONTAINER || program == Program.FROM_NETDEV || program == Program.FROM_HOST)
  );
}

/** A checksum's residue with as much added, in the one of its two forms that `checksum.update` gives. */
function add(residue: u32, change: u32): u32 {
  const sum = (~residue & 0xffff) + change;
  return ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
}

if (offsetof<Packet>('answered') - offsetof<Packet>('node') != 28) ERROR('a packet has its results in 32 bytes');
if (offsetof<Outcome<u32>>('answered') - offsetof<Outcome<u32>>('node') != 28) ERROR('an outcome has them likewise');
if (offsetof<Packet>('program') - offsetof<Packet>('node') != 2) ERROR('node and program are one word');
