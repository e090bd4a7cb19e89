/** Carries a packet from program to program, as tail calls and devices do, until it is delivered, gone or dropped. */
import { DropReason, Family, MAX_PROGRAMS, Program } from './abi';
import { nodeConfigs } from './lib/endpoint';
import * as metrics from './lib/metrics';
import { Context, context, Packet } from './lib/packet';
import { familyOf } from './lib/parse';
import * as trace from './lib/trace';
import * as lxc from './lxc';
import * as netdev from './netdev';
import * as overlay from './overlay';
import * as sock from './sock';
import * as wireguard from './wireguard';
import { clear } from './wire/records';

/** One program: the next one, an end, or a negated drop reason. */
function enter<A>(ctx: Context<A>, program: u32): i32 {
  switch (program) {
    case Program.FROM_CONTAINER:
      return lxc.fromContainer<A>(ctx);
    case Program.LXC_POLICY:
      return lxc.ingressPolicy<A>(ctx);
    case Program.FROM_NETDEV:
      return netdev.fromNetdev<A>(ctx);
    case Program.TO_NETDEV:
      return netdev.toNetdev<A>(ctx);
    case Program.FROM_OVERLAY:
      return overlay.fromOverlay(changetype<Context<u32>>(ctx));
    case Program.FROM_HOST:
      return netdev.fromHost<A>(ctx);
    case Program.WIRE:
      return netdev.wire<A>(ctx);
    case Program.SOCK_CONNECT:
      return sock.connect<A>(ctx);
    case Program.SOCK_RECVMSG:
      return sock.receive<A>(ctx);
    case Program.FROM_PROXY:
      return netdev.fromProxy<A>(ctx);
    case Program.TO_HOST:
      return netdev.toHost<A>(ctx);
    case Program.TO_WIREGUARD:
      return wireguard.toWireguard<A>(ctx);
    case Program.FROM_WIREGUARD:
      return wireguard.fromWireguard(changetype<Context<u32>>(ctx));
  }
  return -DropReason.INVALID;
}

/** Whether a program starts with a frame of which nothing is known yet. */
function isEntry(program: u32): bool {
  switch (program) {
    case Program.FROM_CONTAINER:
    case Program.FROM_NETDEV:
    case Program.FROM_HOST:
    case Program.SOCK_CONNECT:
    case Program.FROM_PROXY:
      return true;
  }
  return false;
}

/** Whether a node of that number is there: its programs read its configuration without asking. */
function isNode(node: u32): bool {
  return nodeConfigs.lookup(node) !== null;
}

/** Runs one packet to its end and writes the result into its record. INVALID where the record names no entry or no node. */
export function run(packet: Packet): void {
  const ctx = changetype<Context<u32>>(context);
  clear<Context<v128>>(context);
  ctx.data = packet.data;
  ctx.end = <usize>packet.data + packet.length;
  ctx.family = Family.IPV4;
  ctx.node = packet.node;
  ctx.endpoint = packet.endpoint;
  ctx.mark = packet.mark;
  ctx.time = packet.time;
  let program: u32 = packet.program;
  let next: i32 = isEntry(program) && isNode(ctx.node) ? program : -DropReason.INVALID;
  for (let i = 0; i < MAX_PROGRAMS && next >= 0 && next < Program.DELIVERED; i++) {
    program = next;
    ctx.program = program;
    if (isEntry(program)) ctx.family = familyOf<u32>(ctx);
    next =
      ctx.family == Family.IPV6 ? enter<v128>(changetype<Context<v128>>(context), program) : enter<u32>(ctx, program);
  }
  if (next >= 0 && next < Program.DELIVERED) next = -DropReason.UNROUTABLE;
  if (next < 0) drop(ctx, -next);
  const answered = <i32>ctx.answered;
  const reason = next < 0 ? -next : answered;
  const length = <u32>(ctx.end - ctx.data);
  const received = program == Program.LXC_POLICY || (program == Program.SOCK_RECVMSG && next == Program.DELIVERED);
  metrics.count(reason, received ? 0 : 1, length);
  packet.data = <u32>ctx.data;
  packet.length = length;
  packet.node = <u16>ctx.node;
  packet.program = <u16>(next < 0 ? program : answered != 0 ? ctx.answeredBy : next);
  packet.endpoint = next == Program.DELIVERED || next == Program.PROXY ? ctx.endpoint : 0;
  packet.verdict = -reason;
  packet.answered = answered != 0 && next >= 0 ? next : 0;
  packet.sourceIdentity = ctx.sourceIdentity;
  packet.destinationIdentity = ctx.destinationIdentity;
  packet.backendId = ctx.sockBackendId != 0 ? ctx.sockBackendId : ctx.backendId;
  packet.revNatIndex = ctx.sockRevNatIndex != 0 ? ctx.sockRevNatIndex : ctx.revNatIndex;
  packet.mark = next == Program.PROXY ? ctx.mark : 0;
  packet.audited = ctx.audited;
  packet.delay = ctx.delay;
}

function drop(ctx: Context<u32>, reason: u32): void {
  if (ctx.family == Family.IPV6) trace.drop<v128>(changetype<Context<v128>>(context), reason);
  else trace.drop<u32>(ctx, reason);
}
