/** A packet on its way: the record the host fills in and reads back, and what the steps learn about it. */
import { CtStatus, IpProto } from '../abi';

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
  /** The endpoint that sent it (FROM_CONTAINER); afterwards the one it was delivered to, or whose policy names a proxy (PROXY), or 0. */
  endpoint: u32;
  /** 0, or a negated `DropReason`. */
  verdict: i32;
  sourceIdentity: u32;
  destinationIdentity: u32;
  /** The backend a Service lent it to, 0 for none. */
  backendId: u32;
  /** The Service that did. */
  revNatIndex: u32;
  /** Where the ICMP error ended that told the sender of the drop, a `Program`; the frame then is that error. 0 for none. */
  answered: u32;
  /** A `Mark`: of what a proxy sends (FROM_PROXY); afterwards of what goes to one (PROXY). */
  mark: u32;
  /** The `DropReason` in spite of which it passed a policy, and above it the `CtDirection` of that; 0 for none. */
  audited: u32;
  /** Microseconds that it waited for its time to leave a node (`edt.schedule`). */
  delay: u32;
  /** When it comes, in nanoseconds; before the datapath's clock it stands for that (`skb->tstamp`). */
  time: u64;
}

/**
 * What the steps learn about the packet in hand. There is one, at a constant address: a view, never a copy. `A` is its
 * family's address (`wire/address.ts`): the fields in front lie the same for both families.
 * Addresses and ports are in network order throughout; `ports` holds the source port in its lower half.
 */
@unmanaged
export class Context<A> {
  /** The frame: first byte and one past the last. */
  data: usize;
  end: usize;
  /** The IP header, and the transport header behind it: 0 for a fragment without one. */
  ip: usize;
  l4: usize;
  /** One past the last byte that the IP header claims. */
  ipEnd: usize;
  /** A `Family`. */
  family: u32;
  node: u32;
  program: u32;
  /** The endpoint whose program runs. */
  endpoint: u32;
  /** Of an ICMP echo, its id is the port of the side that asks; other ICMP has none. */
  ports: u32;
  protocol: u32;
  tcpFlags: u32;
  /** Type (low byte) and code of ICMP. */
  icmp: u32;
  /** A `Fragmented`, and the id that the pieces share. */
  fragmented: u32;
  fragmentId: u32;
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
  /** The conntrack entry of the Service's flow, 0 for none. */
  service: usize;
  /** That of the connection with which the packet goes on, 0 where it does not. */
  connection: usize;
  /** The packet goes on with a connection that was answered. */
  assured: bool;
  /** The connection came by another node's direct server return (`dsr_internal`): likewise, but from a NAT entry. */
  dsr: bool;
  /** The Service asked for sends on in the node's name, as kube-proxy does. */
  masquerade: bool;
  /** It did: its source is not looked at again (`ctx_snat_done`). */
  snatDone: bool;
  /** A proxy stands in the connection (`proxy_redirect`). */
  proxied: bool;
  /** WireGuard has it: it leaves as it is. */
  encrypted: bool;
  /** Scope and node of the Service's entries that hold for this packet, as they lie in `LbKey`. */
  scope: u32;
  /** The addresses around it while it is encapsulated. */
  outerSaddr: u32;
  outerDaddr: u32;
  outerSport: u32;
  /** The reason of which the sender is told by the ICMP error that took the packet's place, and the program that sent it; 0 for none. */
  answered: u32;
  answeredBy: u32;
  /** As in `Packet`. */
  mark: u32;
  audited: u32;
  /** The endpoint at whose pace it leaves the node; 0 for none (`edt_set_aggregate`). */
  aggregate: u32;
  /** As in `Packet`. */
  delay: u32;
  time: u64;
  /** The backend that its socket was connected to, and the Service that lent it; 0 for none. */
  sockBackendId: u32;
  sockRevNatIndex: u32;
  /** Of an ICMP error, the packet that it quotes: its IP and transport headers, and its tuple. 0 for any other packet. */
  quoted: usize;
  quotedL4: usize;
  quotedPorts: u32;
  quotedProtocol: u32;
  saddr: A;
  daddr: A;
  quotedSaddr: A;
  quotedDaddr: A;

  /** Source port, network order. */
  get sport(): u32 {
    return this.ports & 0xffff;
  }

  /** Destination port, network order. */
  get dport(): u32 {
    return this.ports >>> 16;
  }

  /** Type of an ICMP message. */
  get icmpType(): u32 {
    return this.icmp & 0xff;
  }
}

/** Which piece of a packet the one in hand is. */
export const enum Fragmented {
  NOT = 0,
  FIRST = 1,
  /** Without the transport header. */
  LATER = 2,
}

/** ICMP's protocol number in a family. */
export function icmpOf<A>(): u32 {
  return isVector<A>() ? IpProto.ICMPV6 : IpProto.ICMP;
}

/** Room for the packet in hand: IPv6's view is the larger. */
export const context = memory.data(offsetof<Context<v128>>(), 16);
