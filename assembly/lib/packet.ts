/** A packet on its way: the record the host fills in and reads back, and what the steps learn about it. */
import { CtStatus, DropReason, IpProto } from '../abi';
import { ETHERNET_LENGTH, Ethernet, EtherType } from '../wire/ethernet';
import { Ipv4 } from '../wire/ipv4';
import * as l4 from '../wire/l4';

/** One packet of a batch. The host sets the first half; the second half is the result. */
@unmanaged
export class Packet {
  /** Address of the frame's first byte. At least `PACKET_HEADROOM` bytes in front of it are ours. */
  data: u32;
  /** Bytes of the frame. */
  length: u32;
  /** Number of the node on which the packet is. */
  node: u16;
  /** Where it enters: a `Program`. Afterwards where it ended: a `Program` from DELIVERED on, or the one that dropped it. */
  program: u16;
  /** The endpoint that sent it (FROM_CONTAINER); afterwards the one it was delivered to, or 0. */
  endpoint: u32;
  /** 0, or a negated `DropReason`. */
  verdict: i32;
  sourceIdentity: u32;
  destinationIdentity: u32;
  /** The backend a Service lent it to, 0 for none. */
  backendId: u32;
  /** The Service that did. */
  revNatIndex: u32;
  /** Where the frame is received from when a batch is replayed; 0 for none. */
  template: u32;
}

/**
 * What the steps learn about the packet in hand. There is one, at a constant address: a view, never a copy.
 * Addresses and ports are in network order throughout; `ports` holds the source port in its lower half.
 */
@unmanaged
export class Context {
  /** The frame: first byte and one past the last. */
  data: usize;
  end: usize;
  /** The IPv4 header and the transport header, once parsed. */
  ip: Ipv4;
  l4: usize;
  node: u32;
  program: u32;
  /** The endpoint whose program runs. */
  endpoint: u32;
  saddr: u32;
  daddr: u32;
  ports: u32;
  protocol: u32;
  tcpFlags: u32;
  sourceIdentity: u32;
  destinationIdentity: u32;
  ctStatus: CtStatus;
  /** Of the connection: the Service whose translation a reply undoes. */
  revNatIndex: u32;
  backendId: u32;
  /** The packet goes back to its sender through a Service (`lb_loopback`). */
  loopback: bool;
  /** The connection came through a Service from outside (`node_port`): its reply's source is turned back on the way out. */
  nodePort: bool;
  /** Scope and node of the Service's entries that hold for this packet, as they lie in `Lb4Key`. */
  scope: u32;
  /** The addresses around it while it is encapsulated. */
  outerSaddr: u32;
  outerDaddr: u32;
  outerSport: u32;

  /** Source port, network order. */
  get sport(): u32 {
    return this.ports & 0xffff;
  }

  /** Destination port, network order. */
  get dport(): u32 {
    return this.ports >>> 16;
  }
}

/**
 * The door: checks that an Ethernet, IPv4 and transport header, and all the bytes they claim, lie within the frame,
 * and takes down the tuple. 0, or the negated reason in the order in which `cil_from_container` finds it:
 *
 * 1. shorter than an Ethernet header, or an EtherType below 0x600: UNSUPPORTED_L2; a VLAN tag: VLAN_FILTERED
 * 2. neither IPv4 nor ARP: UNKNOWN_L3
 * 3. an IPv4 header that is cut off or contradicts itself: INVALID
 * 4. a fragment: FRAG_NOSUPPORT
 * 5. neither TCP, UDP nor SCTP: CT_UNKNOWN_PROTO
 * 6. a transport header that is cut off or contradicts itself: CT_INVALID_HDR
 */
export function parse(ctx: Context): i32 {
  const length = <u32>(ctx.end - ctx.data);
  if (length < ETHERNET_LENGTH) return -DropReason.UNSUPPORTED_L2;
  const type = <u32>changetype<Ethernet>(ctx.data).type;
  if (type != EtherType.IPV4) {
    if (type == EtherType.VLAN || type == EtherType.QINQ) return -DropReason.VLAN_FILTERED;
    // An IEEE 802.3 length instead of a type (network order: its high byte comes first).
    return (type & 0xff) < 6 ? -DropReason.UNSUPPORTED_L2 : -DropReason.UNKNOWN_L3;
  }
  const ip = changetype<Ipv4>(ctx.data + ETHERNET_LENGTH);
  if (!ip.check(length - ETHERNET_LENGTH)) return -DropReason.INVALID;
  ctx.ip = ip;
  ctx.saddr = ip.saddr;
  ctx.daddr = ip.daddr;
  ctx.ports = 0;
  ctx.tcpFlags = 0;
  const protocol = <u32>ip.protocol;
  ctx.protocol = protocol;
  if (ip.isFragment) return -DropReason.FRAG_NOSUPPORT;
  if (protocol != IpProto.TCP && protocol != IpProto.UDP && protocol != IpProto.SCTP)
    return -DropReason.CT_UNKNOWN_PROTO;
  const start = changetype<usize>(ip) + ip.headerLength;
  ctx.l4 = start;
  if (!l4.check(protocol, start, <u32>(ctx.end - start))) return -DropReason.CT_INVALID_HDR;
  ctx.ports = changetype<l4.Ports>(start).both;
  if (protocol == IpProto.TCP) ctx.tcpFlags = changetype<l4.Tcp>(start).flags;
  return 0;
}

/** The packet in hand. */
export const context = changetype<Context>(memory.data(offsetof<Context>(), 16));
