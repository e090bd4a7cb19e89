/** VXLAN around a frame, and off it again. Cilium `bpf/lib/encap.h`, `overloadable_skb.h`; RFC 7348. */
import { DropReason, IpProto, PACKET_HEADROOM, ReservedIdentity, VXLAN_OVERHEAD, VXLAN_PORT } from '../abi';
import { folded } from '../wire/address';
import { ntohs } from '../wire/bytes';
import * as checksum from '../wire/checksum';
import { ETHERNET_LENGTH, Ethernet, EtherType } from '../wire/ethernet';
import { ICMP_LENGTH } from '../wire/icmp';
import { IPV4_LENGTH, Ipv4 } from '../wire/ipv4';
import { IPV6_LENGTH } from '../wire/ipv6';
import { Udp, UDP_LENGTH } from '../wire/l4';
import { VXLAN_FLAGS, VXLAN_LENGTH, Vxlan } from '../wire/vxlan';
import * as endpoint from './endpoint';
import { jhash3words } from './jhash';
import { Context } from './packet';

if (ETHERNET_LENGTH + IPV4_LENGTH + UDP_LENGTH + VXLAN_LENGTH != VXLAN_OVERHEAD) ERROR('the outer headers add up');
if (<i32>(IPV6_LENGTH + ICMP_LENGTH) + VXLAN_OVERHEAD > PACKET_HEADROOM)
  ERROR('the outer headers fit in the headroom, around an error too');

const TTL: u8 = 64;

/** Source ports of tunnels, so that paths of equal cost are used: Linux takes them from the local port range. */
const SOURCE_PORT_MIN: u32 = 32768;
const SOURCE_PORT_MASK: u32 = 0x3fff;

/** Puts the outer headers in front of the frame, from this node to `tunnelEndpoint` (network order), with `identity` as the VNI, which it returns. */
export function wrap<A>(ctx: Context<A>, tunnelEndpoint: u32, identity: u32): u32 {
  const inner = <u32>(ctx.end - ctx.data);
  ctx.data -= VXLAN_OVERHEAD;
  const config = endpoint.nodeConfigs.lookup(ctx.node);
  const ethernet = changetype<Ethernet>(ctx.data);
  ethernet.setAddresses(0, config.mac);
  ethernet.type = <u16>EtherType.IPV4;
  const ip = changetype<Ipv4>(ctx.data + ETHERNET_LENGTH);
  ip.versionIhl = 0x45;
  ip.tos = 0;
  ip.totalLength = <u16>ntohs(inner + VXLAN_OVERHEAD - ETHERNET_LENGTH);
  ip.id = 0;
  ip.fragment = 0x40; // don't fragment
  ip.ttl = TTL;
  ip.protocol = <u8>IpProto.UDP;
  ip.checksum = 0;
  ip.saddr = config.ipv4;
  ip.daddr = tunnelEndpoint;
  ip.checksum = checksum.compute(changetype<usize>(ip), IPV4_LENGTH);
  const udp = changetype<Udp>(changetype<usize>(ip) + IPV4_LENGTH);
  const flow = jhash3words(folded<A>(ctx.saddr), folded<A>(ctx.daddr), ctx.ports, ctx.protocol);
  udp.sport = <u16>ntohs(SOURCE_PORT_MIN + (flow & SOURCE_PORT_MASK));
  udp.dport = <u16>ntohs(VXLAN_PORT);
  udp.length = <u16>ntohs(inner + UDP_LENGTH + VXLAN_LENGTH);
  udp.checksum = 0;
  const vxlan = changetype<Vxlan>(changetype<usize>(udp) + UDP_LENGTH);
  vxlan.flags = VXLAN_FLAGS;
  // The host of another node is REMOTE_NODE to its peer.
  const vni: u32 = identity == ReservedIdentity.HOST ? ReservedIdentity.REMOTE_NODE : identity;
  vxlan.vni = vni;
  ctx.outerSaddr = config.ipv4;
  ctx.outerDaddr = tunnelEndpoint;
  ctx.outerSport = udp.sport;
  return vni;
}

/** Whether the packet in hand, parsed, is a tunnel's. */
export function isTunnel<A>(ctx: Context<A>): bool {
  return ctx.protocol == IpProto.UDP && ctx.dport == ntohs(VXLAN_PORT);
}

/**
 * Takes the outer headers off the packet in hand, parsed, and takes the sender's identity from the VNI.
 * 0, or negated NO_TUNNEL_KEY for a VXLAN header that is cut off or has no VNI, INVALID_IDENTITY for one that claims to be HOST.
 */
export function unwrap(ctx: Context<u32>): i32 {
  if (ctx.l4 == 0) return -DropReason.NO_TUNNEL_KEY;
  const vxlan = changetype<Vxlan>(ctx.l4 + UDP_LENGTH);
  if (changetype<usize>(vxlan) + VXLAN_LENGTH > ctx.ipEnd || (vxlan.flags & VXLAN_FLAGS) == 0)
    return -DropReason.NO_TUNNEL_KEY;
  if (vxlan.vni == ReservedIdentity.HOST) return -DropReason.INVALID_IDENTITY;
  ctx.sourceIdentity = vxlan.vni;
  ctx.data = changetype<usize>(vxlan) + VXLAN_LENGTH;
  // What the outer header does not claim is Ethernet's padding.
  ctx.end = ctx.ipEnd;
  ctx.outerSaddr = 0;
  ctx.outerDaddr = 0;
  return 0;
}
