/** VXLAN or Geneve around a frame, and off it again. Cilium `bpf/lib/encap.h`, `overloadable_skb.h`; RFC 7348, RFC 8926. */
import {
  DropReason,
  GENEVE_PORT,
  IpProto,
  ReservedIdentity,
  TUNNEL_OVERHEAD,
  TunnelProtocol,
  VXLAN_PORT,
} from '../abi';
import { folded } from '../wire/address';
import { ntohs } from '../wire/bytes';
import * as checksum from '../wire/checksum';
import { ETHERNET_LENGTH, Ethernet, EtherType } from '../wire/ethernet';
import {
  Geneve,
  GENEVE_CRITICAL,
  GENEVE_ETHERNET,
  GENEVE_LENGTH,
  GENEVE_OPTION_CRITICAL,
  GENEVE_OPTION_LENGTH,
  GeneveOption,
} from '../wire/geneve';
import { IPV4_LENGTH, Ipv4 } from '../wire/ipv4';
import { Udp, UDP_LENGTH } from '../wire/l4';
import { VXLAN_FLAGS, VXLAN_LENGTH, Vxlan } from '../wire/vxlan';
import { config } from './config';
import * as endpoint from './endpoint';
import * as frontend from './frontend';
import { jhash3words } from './jhash';
import { Context } from './packet';
import * as recording from './recording';

if (ETHERNET_LENGTH + IPV4_LENGTH + UDP_LENGTH + VXLAN_LENGTH != TUNNEL_OVERHEAD) ERROR('the outer headers add up');
if (GENEVE_LENGTH != VXLAN_LENGTH) ERROR('Geneve without options is as long as VXLAN');

const TTL: u8 = 64;

/** Source ports of tunnels, so that paths of equal cost are used: Linux takes them from the local port range. */
const SOURCE_PORT_MIN: u32 = 32768;
const SOURCE_PORT_MASK: u32 = 0x3fff;

/** Beyond every port: that of no tunnel. */
const NO_PORT: u32 = 0x10000;

/** The tunnel's UDP port, network order. */
function port(): u32 {
  const protocol = <u32>config.tunnel;
  if (protocol == TunnelProtocol.VXLAN) return ntohs(VXLAN_PORT);
  return protocol == TunnelProtocol.GENEVE ? ntohs(GENEVE_PORT) : NO_PORT;
}

/**
 * Puts the outer headers in front of the frame, from this node to `tunnelEndpoint` (network order), with `identity` as the VNI,
 * which it returns. Between them and the frame stay `options` bytes, to be filled in.
 */
export function wrap<A>(ctx: Context<A>, tunnelEndpoint: u32, identity: u32, options: u32): u32 {
  const inner = <u32>(ctx.end - ctx.data) + options;
  ctx.data -= TUNNEL_OVERHEAD + options;
  const flow = jhash3words(folded<A>(ctx.saddr), folded<A>(ctx.daddr), ctx.ports, ctx.protocol);
  const sport = ntohs(SOURCE_PORT_MIN + (flow & SOURCE_PORT_MASK));
  const header = putOuter<A>(ctx, tunnelEndpoint, sport, port(), VXLAN_LENGTH + inner);
  if (<u32>config.tunnel == TunnelProtocol.GENEVE) writeGeneve(changetype<Geneve>(header), options);
  else changetype<Vxlan>(header).flags = VXLAN_FLAGS;
  // The host of another node is REMOTE_NODE to its peer. The VNI lies at the same place in both.
  const vni: u32 = identity == ReservedIdentity.HOST ? ReservedIdentity.REMOTE_NODE : identity;
  changetype<Vxlan>(header).vni = vni;
  return vni;
}

/**
 * Writes Ethernet, IPv4 and UDP headers at the frame's first byte, from this node to `daddr`, around `length` bytes; addresses and
 * ports are in network order. Returns where those bytes begin.
 */
export function putOuter<A>(ctx: Context<A>, daddr: u32, sport: u32, dport: u32, length: u32): usize {
  const node = endpoint.nodeConfigs.lookup(ctx.node);
  const ethernet = changetype<Ethernet>(ctx.data);
  ethernet.setAddresses(0, node.mac);
  ethernet.type = <u16>EtherType.IPV4;
  const ip = changetype<Ipv4>(ctx.data + ETHERNET_LENGTH);
  ip.versionIhl = 0x45;
  ip.tos = 0;
  ip.totalLength = <u16>ntohs(IPV4_LENGTH + UDP_LENGTH + length);
  ip.id = 0;
  ip.fragment = 0x40; // don't fragment
  ip.ttl = TTL;
  ip.protocol = <u8>IpProto.UDP;
  ip.checksum = 0;
  ip.saddr = node.ipv4;
  ip.daddr = daddr;
  ip.checksum = checksum.compute(changetype<usize>(ip), IPV4_LENGTH);
  const udp = changetype<Udp>(changetype<usize>(ip) + IPV4_LENGTH);
  udp.sport = <u16>sport;
  udp.dport = <u16>dport;
  udp.length = <u16>ntohs(UDP_LENGTH + length);
  udp.checksum = 0;
  ctx.outerSaddr = node.ipv4;
  ctx.outerDaddr = daddr;
  ctx.outerSport = sport;
  return changetype<usize>(udp) + UDP_LENGTH;
}

/** All but the VNI. The only options that there are, those of `frontend`, are critical. */
function writeGeneve(header: Geneve, options: u32): void {
  header.versionLength = <u8>(options >>> 2);
  header.flags = options == 0 ? 0 : GENEVE_CRITICAL;
  header.protocol = GENEVE_ETHERNET;
}

/** Whether the packet in hand, parsed, is a tunnel's. */
export function isTunnel<A>(ctx: Context<A>): bool {
  return ctx.protocol == IpProto.UDP && ctx.dport == port();
}

/**
 * Takes the outer headers off the packet in hand, parsed, and takes the sender's identity from the VNI.
 * 0, or negated NO_TUNNEL_KEY for a header that is cut off or has no VNI, INVALID_IDENTITY for one that claims to be HOST,
 * NO_TUNNEL_OPTION for options that are cut off, INVALID_GENEVE for one that contradicts itself or must be known and is not.
 */
export function unwrap(ctx: Context<u32>): i32 {
  // What no program here has wrapped may hold another packet each time.
  if (ctx.outerDaddr == 0) recording.spoil();
  if (ctx.l4 == 0) return -DropReason.NO_TUNNEL_KEY;
  const header = ctx.l4 + UDP_LENGTH;
  if (header + VXLAN_LENGTH > ctx.ipEnd) return -DropReason.NO_TUNNEL_KEY;
  let inner = header + VXLAN_LENGTH;
  if (<u32>config.tunnel == TunnelProtocol.GENEVE) {
    const geneve = changetype<Geneve>(header);
    if (geneve.version != 0 || geneve.protocol != GENEVE_ETHERNET) return -DropReason.NO_TUNNEL_KEY;
    inner += geneve.optionsLength;
    if (inner > ctx.ipEnd) return -DropReason.NO_TUNNEL_OPTION;
    const result = readOptions(header + GENEVE_LENGTH, inner);
    if (result < 0) return result;
  } else if ((changetype<Vxlan>(header).flags & VXLAN_FLAGS) == 0) return -DropReason.NO_TUNNEL_KEY;
  const vni = changetype<Vxlan>(header).vni;
  if (vni == ReservedIdentity.HOST) return -DropReason.INVALID_IDENTITY;
  ctx.sourceIdentity = vni;
  ctx.data = inner;
  // What the outer header does not claim is Ethernet's padding.
  ctx.end = ctx.ipEnd;
  ctx.outerSaddr = 0;
  ctx.outerDaddr = 0;
  return 0;
}

/** Reads the options from `at` to `end`. RFC 8926 section 3.5: one that is critical and not known drops the packet. */
function readOptions(at: usize, end: usize): i32 {
  frontend.forget();
  while (at < end) {
    const option = changetype<GeneveOption>(at);
    const data = at + GENEVE_OPTION_LENGTH;
    if (data > end || data + option.dataLength > end) return -DropReason.INVALID_GENEVE;
    if (!frontend.readOption(at) && (option.type & GENEVE_OPTION_CRITICAL) != 0) return -DropReason.INVALID_GENEVE;
    at = data + option.dataLength;
  }
  return 0;
}
