/** Packets and bytes by drop reason and direction. Cilium `bpf/lib/metrics.h`, map cilium_metrics. */
import { ArrayMap } from '../maps/array';
import * as recording from './recording';

@unmanaged
export class MetricsValue {
  count: u64;
  bytes: u64;
}

/** Index: reason * 2 + direction (0 ingress, 1 egress). */
export const metrics = changetype<ArrayMap<MetricsValue>>(memory.data(offsetof<ArrayMap<MetricsValue>>(), 16));

/** Counts a packet of `bytes` under `reason`, 0 for forwarded. */
export function count(reason: u32, egress: u32, bytes: u32): void {
  const index = ((reason & 0xff) << 1) | egress;
  recording.measured(index);
  add(index, bytes);
}

/** Counts another packet under a metric that `count` has counted one under. */
export function add(index: u32, bytes: u32): void {
  const at = changetype<usize>(metrics.lookup(index));
  v128.store(at, i64x2.add(v128.load(at), i64x2(1, bytes)));
}

if (offsetof<MetricsValue>('count') != 0 || offsetof<MetricsValue>('bytes') != 8) ERROR('both are counted at once');
