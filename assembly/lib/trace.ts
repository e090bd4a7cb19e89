/**
 * What the datapath tells about a packet: a record for each step, each drop and each look-up, in the events ring.
 * Only the tracing build (`--use TRACE=1`) holds any of this; in the other the calls compile to nothing.
 */
import { EVENT_SIZE, EventType, MapId, Step } from '../abi';
import { RingBuffer } from '../maps/ring';
import { be128, be16, be32 } from '../wire/bytes';
import { Context } from './packet';

/** Cilium `struct trace_notify`, `struct drop_notify` and `struct trace_sock_notify` in one, with the tuple in place of captured bytes. */
@unmanaged
export class TraceNotify {
  /** An `EventType`: TRACE, DROP or TRACE_SOCK. */
  type: u8;
  /** A `Step`. */
  step: u8;
  /** A `TracePoint`, or 255 where Cilium observes nothing; of TRACE_SOCK, an `XlatePoint`. */
  point: u8;
  /** A `Program`. */
  program: u8;
  node: u16;
  /** A `CtStatus`. */
  ctStatus: u8;
  protocol: u8;
  /**
   * What the step says beside: a `DropReason` (DROP), a decision (POLICY), a VNI (ENCAP, DECAP), a backend (LB), a port (PROXY), a
   * node or a `KeptSource` (ROUTE), a `DsrDispatch` (DSR).
   */
  info: u32;
  sourceIdentity: u32;
  destinationIdentity: u32;
  endpoint: u32;
  /** A `Family`: of an IPv4 address the first four bytes count. */
  family: u8;
  /** Of ICMP. */
  icmpType: u8;
  icmpCode: u8;
  tcpFlags: u8;
  saddr: be128;
  daddr: be128;
  sport: be16;
  dport: be16;
  /** Zero unless encapsulated. */
  outerSaddr: be32;
  outerDaddr: be32;
  outerSport: be16;
  /** Bytes of the frame that follow this record. */
  captured: u16;
  /** Bytes of the frame. */
  length: u32;
}

/** One question to a map. The key follows, then the value when there was one. */
@unmanaged
export class LookupNotify {
  /** `EventType.LOOKUP`. */
  type: u8;
  /** A `MapId`. */
  map: u8;
  keyLength: u8;
  /** 0 when the map had no such entry. */
  valueLength: u8;
}

/** Where Cilium observes nothing. */
export const NO_POINT: u32 = 255;

export const events = changetype<RingBuffer>(memory.data(offsetof<RingBuffer>(), 16));

let enabled: bool = false;

/** Records the coming packets, or stops recording them. */
export function enable(on: bool): void {
  enabled = on;
}

/** Whether anything is recorded. */
export function isEnabled(): bool {
  return isDefined(TRACE) && enabled;
}

/** Records that a step is done. */
export function step<A>(ctx: Context<A>, step: Step, point: u32, info: u32): void {
  if (!isDefined(TRACE)) return;
  if (enabled) record<A>(ctx, EventType.TRACE, step, point, info);
}

/** Records where a socket's address is looked at. `point` is an `XlatePoint`. */
export function sock<A>(ctx: Context<A>, point: u32): void {
  if (!isDefined(TRACE)) return;
  if (enabled) record<A>(ctx, EventType.TRACE_SOCK, Step.SOCK, point, 0);
}

/** Records that the packet was dropped. `reason` is a `DropReason`. */
export function drop<A>(ctx: Context<A>, reason: u32): void {
  if (!isDefined(TRACE)) return;
  if (enabled) record<A>(ctx, EventType.DROP, Step.DROP, NO_POINT, reason);
}

/** Records a question to a map and its answer. */
export function lookup<K, V>(map: MapId, key: K, value: V): void {
  if (!isDefined(TRACE)) return;
  if (!enabled) return;
  const at = events.reserve();
  if (at == 0) return;
  const event = changetype<LookupNotify>(at);
  event.type = <u8>EventType.LOOKUP;
  event.map = <u8>map;
  event.keyLength = <u8>offsetof<K>();
  memory.copy(at + offsetof<LookupNotify>(), changetype<usize>(key), offsetof<K>());
  if (changetype<usize>(value) == 0) return;
  event.valueLength = <u8>offsetof<V>();
  memory.copy(at + offsetof<LookupNotify>() + offsetof<K>(), changetype<usize>(value), offsetof<V>());
}

function record<A>(ctx: Context<A>, type: EventType, step: Step, point: u32, info: u32): void {
  const at = events.reserve();
  if (at == 0) return;
  const event = changetype<TraceNotify>(at);
  event.type = <u8>type;
  event.step = <u8>step;
  event.point = <u8>point;
  event.program = <u8>ctx.program;
  event.node = <u16>ctx.node;
  event.ctStatus = <u8>ctx.ctStatus;
  event.protocol = <u8>ctx.protocol;
  event.info = info;
  event.sourceIdentity = ctx.sourceIdentity;
  event.destinationIdentity = ctx.destinationIdentity;
  event.endpoint = ctx.endpoint;
  event.family = <u8>ctx.family;
  event.icmpType = <u8>ctx.icmp;
  event.icmpCode = <u8>(ctx.icmp >>> 8);
  event.tcpFlags = <u8>ctx.tcpFlags;
  store<A>(at + offsetof<TraceNotify>('saddr'), ctx.saddr);
  store<A>(at + offsetof<TraceNotify>('daddr'), ctx.daddr);
  event.sport = <u16>ctx.sport;
  event.dport = <u16>ctx.dport;
  event.outerSaddr = ctx.outerSaddr;
  event.outerDaddr = ctx.outerDaddr;
  event.outerSport = <u16>ctx.outerSport;
  const length = <u32>(ctx.end - ctx.data);
  event.length = length;
  event.captured = <u16>min<u32>(length, EVENT_SIZE - <u32>offsetof<TraceNotify>());
  memory.copy(at + offsetof<TraceNotify>(), ctx.data, event.captured);
}

if (offsetof<TraceNotify>() > <usize>EVENT_SIZE) ERROR('a trace record must fit in the ring');
