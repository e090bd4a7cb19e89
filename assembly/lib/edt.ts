/**
 * The bandwidth manager: what pods send out of their node leaves at the pace of their annotation `kubernetes.io/egress-bandwidth`.
 * Cilium `bpf/lib/edt.h`, map cilium_throttle.
 */
import { ConfigFlag, CtDirection, DropReason, MapId, Step } from '../abi';
import { HashMap } from '../maps/hash';
import { has } from './config';
import * as ct from './conntrack';
import { Context } from './packet';
import * as recording from './recording';
import * as trace from './trace';

/** Cilium `struct edt_id`; `id` is the endpoint that sends. */
@unmanaged
export class EdtId {
  id: u64;
  /** A `CtDirection`. */
  direction: u64;
}

/** Cilium `struct edt_info`. */
@unmanaged
export class EdtInfo {
  /** Bytes a second; 0 for no limit. */
  bps: u64;
  /** When the last packet leaves, in nanoseconds. */
  tLast: u64;
  /** A packet that would wait as long, in nanoseconds, is dropped. */
  tHorizonDrop: u64;
}

export const throttles = changetype<HashMap<EdtId, EdtInfo>>(memory.data(offsetof<HashMap<EdtId, EdtInfo>>(), 16));

const scratch = changetype<EdtId>(memory.data(offsetof<EdtId>(), 16));

const NANOSECONDS: u64 = 1_000_000_000;

/**
 * Gives the packet in hand, about to leave the node, its time to leave (`edt_sched_departure`): after all that its pod has sent
 * before it, each for as long as its bytes take. In a tunnel that is before its headers are on, which know no pod; once is enough.
 * 0, or negated EDT_HORIZON for one that would wait too long.
 */
export function schedule<A>(ctx: Context<A>): i32 {
  if (ctx.aggregate == 0 || !has(ConfigFlag.BANDWIDTH_MANAGER)) return 0;
  scratch.id = ctx.aggregate;
  ctx.aggregate = 0;
  scratch.direction = CtDirection.EGRESS;
  const info = throttles.lookup(scratch);
  trace.lookup<EdtId, EdtInfo>(MapId.THROTTLE, scratch, info);
  if (info === null || info.bps == 0) return 0;
  recording.spoil();
  const now = max<u64>(ctx.time, <u64>ct.now * NANOSECONDS);
  const next = info.tLast + (<u64>(ctx.end - ctx.data) * NANOSECONDS) / info.bps;
  const departure = max<u64>(next, now);
  if (departure - now >= info.tHorizonDrop) return -DropReason.EDT_HORIZON;
  info.tLast = departure;
  ctx.delay = <u32>((departure - now) / 1000);
  trace.step<A>(ctx, Step.PACE, trace.NO_POINT, ctx.delay);
  return 0;
}
