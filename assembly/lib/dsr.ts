/**
 * Direct server return: a backend on another node answers its client itself. The node that was asked tells the backend's node
 * which Service it was, and that one remembers it. Cilium `bpf/lib/nodeport.h`, `nat.h`.
 */
import {
  ConfigFlag,
  CtDirection,
  CtFlag,
  DropReason,
  DsrDispatch,
  IpProto,
  NodePortMode,
  Program,
  Step,
  SvcFlag2,
  TcpFlag,
  TracePoint,
  TUNNEL_OVERHEAD,
} from '../abi';
import { ntohs } from '../wire/bytes';
import * as checksum from '../wire/checksum';
import { ETHERNET_LENGTH } from '../wire/ethernet';
import { IPV4_LENGTH, IPV4_MAX_LENGTH, Ipv4 } from '../wire/ipv4';
import { Ipv6, IPV6_LENGTH, NextHeader } from '../wire/ipv6';
import * as config from './config';
import * as ct from './conntrack';
import { CtEntry } from './conntrack';
import * as delivery from './delivery';
import * as encap from './encap';
import * as endpoint from './endpoint';
import * as frontend from './frontend';
import * as ipcache from './ipcache';
import { LbService } from './lb';
import * as lb from './lb';
import * as nat from './nat';
import { Context } from './packet';
import { parse } from './parse';
import * as recording from './recording';
import * as rewrite from './rewrite';
import * as trace from './trace';

const TTL: u8 = 64;

/** Whether the packet in hand, for a Service, goes to a backend on another node this way (`nodeport_uses_dsr4`). */
export function uses<A>(ctx: Context<A>, service: LbService): bool {
  const mode = <u32>config.config.nodePortMode;
  if (mode == NodePortMode.DSR || (service.flags2 & SvcFlag2.FWD_MODE_DSR) != 0) return true;
  return mode == NodePortMode.HYBRID && ctx.protocol == IpProto.TCP;
}

/** Of a TCP connection only the packet that opens it tells the Service; of all else each packet does. */
function tells<A>(ctx: Context<A>): bool {
  return ctx.protocol != IpProto.TCP || (ctx.tcpFlags & TcpFlag.SYN) != 0;
}

/**
 * Sends the packet in hand, lent to a backend on another node, to it with the client's address, and the Service's `address` and
 * `port` with it (`tail_nodeport_ipv4_dsr`). It is the world's. The next program, or a negated drop reason: FRAG_NEEDED where it
 * grows too long, after the client was told so.
 */
export function dispatch<A>(ctx: Context<A>, address: A, port: u32): i32 {
  ctx.sourceIdentity = ipcache.worldOf<A>();
  const remote = ipcache.lookup<A>(ctx.daddr);
  ctx.destinationIdentity = ipcache.identityOf(remote);
  switch (<u32>config.config.dsrDispatch) {
    case DsrDispatch.GENEVE: {
      if (remote === null || remote.tunnelEndpoint == 0) return -DropReason.NO_TUNNEL_ENDPOINT;
      return inGeneve<A>(ctx, remote.tunnelEndpoint, address, port);
    }
    case DsrDispatch.IPIP: {
      const result = inIp<A>(ctx, address, port);
      return result < 0 || result == Program.FROM_HOST ? result : delivery.onward<A>(ctx, remote);
    }
    default: {
      const result = tells<A>(ctx) ? inHeader<A>(ctx, address, port, !delivery.isTunnelled(remote)) : 0;
      return result < 0 || result == Program.FROM_HOST ? result : delivery.onward<A>(ctx, remote);
    }
  }
}

/** Whether the packet in hand fits with `overhead` bytes more. In Cilium it need not ask to stay whole for that (`dsr_is_too_big`). */
function fits<A>(ctx: Context<A>, overhead: u32): bool {
  const mtu = config.config.mtu;
  if (mtu == 0) return true;
  if (<u32>(ctx.ipEnd - ctx.ip) + overhead > mtu) {
    recording.spoil();
    return false;
  }
  recording.fits(mtu - overhead);
  return true;
}

/** Tells the client what fits (`dsr_reply_icmp4`), about the packet as it came. */
function tooBig<A>(ctx: Context<A>, overhead: u32, address: A, port: u32): i32 {
  rewrite.destination<A>(ctx, address, port);
  return delivery.fragmentationNeeded<A>(ctx, config.config.mtu - overhead);
}

/** The Service in an option of the packet's own header (`dsr_set_opt4`, `dsr_set_ext6`). 0 to go on. */
function inHeader<A>(ctx: Context<A>, address: A, port: u32, direct: bool): i32 {
  const length = frontend.headerLength<A>();
  const fixed: u32 = isVector<A>() ? IPV6_LENGTH : IPV4_LENGTH;
  if (!isVector<A>() && changetype<Ipv4>(ctx.ip).headerLength + length > IPV4_MAX_LENGTH)
    return -DropReason.CT_INVALID_HDR;
  const overhead = length + (direct ? 0 : TUNNEL_OVERHEAD);
  if (!fits<A>(ctx, overhead)) return tooBig<A>(ctx, overhead, address, port);
  memory.copy(ctx.data - length, ctx.data, ETHERNET_LENGTH + fixed);
  ctx.data -= length;
  ctx.ip -= length;
  if (isVector<A>()) {
    const ip = changetype<Ipv6>(ctx.ip);
    frontend.writeHeader<A>(ctx.ip + fixed, ip.nextHeader, address, port);
    ip.nextHeader = <u8>NextHeader.DESTINATION;
    ip.payloadLength = <u16>ntohs(ntohs(ip.payloadLength) + length);
  } else {
    const ip = changetype<Ipv4>(ctx.ip);
    const before = load<u32>(ctx.ip);
    ip.versionIhl += <u8>(length >>> 2);
    ip.totalLength = <u16>ntohs(ip.length + length);
    frontend.writeHeader<A>(ctx.ip + fixed, 0, address, port);
    const change = checksum.difference(before, load<u32>(ctx.ip)) + checksum.sum(ctx.ip + fixed, length);
    ip.checksum = checksum.update(ip.checksum, change);
  }
  trace.step<A>(ctx, Step.DSR, trace.NO_POINT, DsrDispatch.OPT);
  return 0;
}

/** The Service in an option of Geneve's header around the frame (`encap_geneve_dsr_opt4`), whether or not other packets take a tunnel. */
function inGeneve<A>(ctx: Context<A>, tunnelEndpoint: u32, address: A, port: u32): i32 {
  const length = tells<A>(ctx) ? frontend.optionLength<A>() : 0;
  if (!fits<A>(ctx, TUNNEL_OVERHEAD + length)) return tooBig<A>(ctx, TUNNEL_OVERHEAD + length, address, port);
  const result = delivery.decrementTtl<A>(ctx);
  if (result < 0) return result;
  if (length != 0) trace.step<A>(ctx, Step.DSR, trace.NO_POINT, DsrDispatch.GENEVE);
  const vni = encap.wrap<A>(ctx, tunnelEndpoint, ctx.sourceIdentity, length);
  if (length != 0) frontend.writeOption<A>(ctx.data + TUNNEL_OVERHEAD, address, port);
  trace.step<A>(ctx, Step.ENCAP, TracePoint.TO_OVERLAY, vni);
  return Program.TO_NETDEV;
}

/**
 * The packet as it came, in an IP header of this node's to the backend (`dsr_set_ipip4`). Nothing in it says which port the
 * backend has: where that is another than the Service's, negated DSR_ENCAP_UNSUPP_PROTO. 0 to go on.
 */
function inIp<A>(ctx: Context<A>, address: A, port: u32): i32 {
  if (ctx.dport != port) return -DropReason.DSR_ENCAP_UNSUPP_PROTO;
  const length: u32 = isVector<A>() ? IPV6_LENGTH : IPV4_LENGTH;
  const backend = ctx.daddr;
  if (!fits<A>(ctx, length)) return tooBig<A>(ctx, length, address, port);
  rewrite.destination<A>(ctx, address, port);
  const inner = <u32>(ctx.ipEnd - ctx.ip);
  memory.copy(ctx.data - length, ctx.data, ETHERNET_LENGTH);
  ctx.data -= length;
  ctx.ip -= length;
  ctx.saddr = endpoint.nodeConfigs.lookup(ctx.node).address<A>();
  ctx.daddr = backend;
  ctx.ports = 0;
  ctx.tcpFlags = 0;
  ctx.l4 = 0;
  ctx.protocol = outerProtocol<A>();
  if (isVector<A>()) {
    const ip = changetype<Ipv6>(ctx.ip);
    ip.versionClassFlow = 0x60;
    ip.payloadLength = <u16>ntohs(inner);
    ip.nextHeader = <u8>ctx.protocol;
    ip.hopLimit = TTL;
    ip.saddr = ctx.saddr;
    ip.daddr = backend;
  } else {
    const ip = changetype<Ipv4>(ctx.ip);
    ip.versionIhl = 0x45;
    ip.tos = 0;
    ip.totalLength = <u16>ntohs(inner + length);
    ip.id = 0;
    ip.fragment = 0;
    ip.ttl = TTL;
    ip.protocol = <u8>ctx.protocol;
    ip.saddr = <u32>ctx.saddr;
    ip.daddr = <u32>backend;
    ip.checksum = 0;
    ip.checksum = checksum.compute(ctx.ip, IPV4_LENGTH);
  }
  trace.step<A>(ctx, Step.IPIP, trace.NO_POINT, DsrDispatch.IPIP);
  return 0;
}

/** The protocol number of a packet in a packet of the same family. RFC 2003, RFC 2473. */
function outerProtocol<A>(): u32 {
  return isVector<A>() ? IpProto.IPV6 : IpProto.IPIP;
}

/** Whether the packet in hand, of which `parse` says `result`, is one in an IP header of another node's. */
export function isInIp<A>(ctx: Context<A>, result: i32): bool {
  return (
    result == -DropReason.CT_UNKNOWN_PROTO &&
    config.has(ConfigFlag.DSR) &&
    <u32>config.config.dsrDispatch == DsrDispatch.IPIP &&
    ctx.protocol == outerProtocol<A>()
  );
}

/**
 * Takes the outer IP header off the packet in hand, and lends it to the backend that the header named: its flow is remembered as
 * if this node had been asked. 0, or a negated drop reason: what `parse` finds, UNROUTABLE where that backend is not on this node
 * or has no part in the Service.
 */
export function fromIp<A>(ctx: Context<A>): i32 {
  // The outer header claims no padding, which so is left behind: the length of the frame is not that of the next.
  recording.spoil();
  const backend = ctx.daddr;
  const info = endpoint.lookup<A>(backend, ctx.node);
  if (info === null || endpoint.isHost(info)) return -DropReason.UNROUTABLE;
  const inner = ctx.l4 - ETHERNET_LENGTH;
  memory.copy(inner, ctx.data, ETHERNET_LENGTH);
  ctx.data = inner;
  ctx.end = ctx.ipEnd;
  const result = parse<A>(ctx);
  if (result == 0) ctx.sourceIdentity = ipcache.identityOf(ipcache.lookup<A>(ctx.saddr));
  trace.step<A>(ctx, Step.IPIP, trace.NO_POINT, RECEIVED | DsrDispatch.IPIP);
  if (result < 0) return result;
  const found = lb.lookupService<A>(ctx, false);
  return found !== null && lb.localTo<A>(ctx, found, backend) ? 0 : -DropReason.UNROUTABLE;
}

/** In what a step tells: the Service was learnt here, not told. */
const RECEIVED: u32 = 256;

/**
 * Remembers the Service that another node told of with the packet in hand, or that its connection is such a one
 * (`nodeport_extract_dsr_v4`, `nodeport_dsr_ingress_ipv4`). 0, or negated CT_CREATE_FAILED.
 */
export function learn<A>(ctx: Context<A>): i32 {
  if (!hasPorts(ctx.protocol) || !isRead<A>(ctx)) return 0;
  const opened = ct.peek<A>(ctx, CtDirection.EGRESS);
  const known = opened !== null && (opened.flags & CtFlag.DSR_INTERNAL) != 0;
  if (!tells<A>(ctx)) {
    if (known) ct.countOpener<A>(ctx, opened);
    return 0;
  }
  const port = frontend.port<A>();
  const isTcp = ctx.protocol == IpProto.TCP;
  if (port == 0) {
    // The same ports again, and nobody told of a Service: it is no longer one.
    if (known && isTcp) forget<A>(ctx);
    return 0;
  }
  if (known && !isTcp) {
    ct.countOpener<A>(ctx, opened);
    return 0;
  }
  const result = ct.create<A>(ctx, CtDirection.EGRESS, 0, 0, CtFlag.DSR_INTERNAL);
  if (result < 0) return result;
  nat.rememberFrontend<A>(ctx, frontend.address<A>(), port);
  trace.step<A>(ctx, Step.DSR, trace.NO_POINT, RECEIVED | (<u32>config.config.dsrDispatch));
  return 0;
}

/** Services have ports. */
function hasPorts(protocol: u32): bool {
  return protocol == IpProto.TCP || protocol == IpProto.UDP || protocol == IpProto.SCTP;
}

/** Whether it is known what the packet in hand tells: its own header is looked at, Geneve's was when it was taken off. */
function isRead<A>(ctx: Context<A>): bool {
  const dispatch = <u32>config.config.dsrDispatch;
  if (dispatch == DsrDispatch.OPT) frontend.readHeader<A>(ctx);
  return dispatch == DsrDispatch.OPT || (dispatch == DsrDispatch.GENEVE && ctx.program == Program.FROM_OVERLAY);
}

function forget<A>(ctx: Context<A>): void {
  const opened = ct.peek<A>(ctx, CtDirection.EGRESS);
  if (opened !== null) disown<A>(opened);
  const arrived = ct.peek<A>(ctx, CtDirection.INGRESS);
  if (arrived !== null) disown<A>(arrived);
}

function disown<A>(entry: CtEntry): void {
  entry.flags &= ~(<u16>CtFlag.DSR_INTERNAL);
  ct.connections<A>().keyOf(entry).changed();
}

/** Gives a backend's reply, or its error about a request, the Service's address as its source (`xlate_dsr_v4`). */
export function reverse<A>(ctx: Context<A>): void {
  const entry = nat.frontendOf<A>(ctx);
  if (entry !== null) lb.restore<A>(ctx, entry.address, entry.port);
}

if (<u32>DsrDispatch.GENEVE >= RECEIVED) ERROR('a dispatch and whether it was received fit together');
