/** Carries a packet from program to program, as tail calls and devices do, until it is delivered, gone or dropped. */
import { DropReason, MAX_PROGRAMS, Program } from './abi';
import * as metrics from './lib/metrics';
import { Context, Packet, context } from './lib/packet';
import * as trace from './lib/trace';
import * as lxc from './lxc';
import * as netdev from './netdev';
import * as overlay from './overlay';
import { clear } from './wire/records';

/** One program: the next one, an end, or a negated drop reason. */
function enter(ctx: Context, program: u32): i32 {
  switch (program) {
    case Program.FROM_CONTAINER:
      return lxc.fromContainer(ctx);
    case Program.LXC_POLICY:
      return lxc.ingressPolicy(ctx);
    case Program.FROM_NETDEV:
      return netdev.fromNetdev(ctx);
    case Program.TO_NETDEV:
      return netdev.toNetdev(ctx);
    case Program.FROM_OVERLAY:
      return overlay.fromOverlay(ctx);
    case Program.FROM_HOST:
      return netdev.fromHost(ctx);
    case Program.WIRE:
      return netdev.wire(ctx);
  }
  return -DropReason.INVALID;
}

/** Runs one packet to its end and writes the result into its record. */
export function run(packet: Packet): void {
  const ctx = context;
  clear<Context>(changetype<usize>(ctx));
  ctx.data = packet.data;
  ctx.end = <usize>packet.data + packet.length;
  ctx.node = packet.node;
  ctx.endpoint = packet.endpoint;
  let program: u32 = packet.program;
  let next: i32 = program;
  for (let i = 0; i < MAX_PROGRAMS && next >= 0 && next < Program.DELIVERED; i++) {
    program = next;
    ctx.program = program;
    next = enter(ctx, program);
  }
  if (next >= 0 && next < Program.DELIVERED) next = -DropReason.UNROUTABLE;
  if (next < 0) trace.drop(ctx, -next);
  const length = <u32>(ctx.end - ctx.data);
  metrics.count(next < 0 ? -next : 0, program == Program.LXC_POLICY ? 0 : 1, length);
  packet.data = <u32>ctx.data;
  packet.length = length;
  packet.node = <u16>ctx.node;
  packet.program = <u16>(next < 0 ? program : next);
  packet.endpoint = next == Program.DELIVERED ? ctx.endpoint : 0;
  packet.verdict = next < 0 ? next : 0;
  packet.sourceIdentity = ctx.sourceIdentity;
  packet.destinationIdentity = ctx.destinationIdentity;
  packet.backendId = ctx.backendId;
  packet.revNatIndex = ctx.revNatIndex;
}
