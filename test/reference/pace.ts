/** The pace at which pods send out of their node. Cilium `bpf/lib/edt.h`. */
import type { Journey } from './journey.js';
import { DROP, PACE_HORIZON } from './numbers.js';

const SECOND = 1_000_000_000n;

/** When what is about to leave does: after all that its pod sent before. 0, or negated for one that would wait too long. */
export function depart(journey: Journey): number {
  const { tables, state, paced } = journey;
  journey.paced = 0;
  const rate = paced === 0 || !tables.config.paced ? 0 : tables.rateOf(paced);
  if (rate === 0) return 0;
  const now = BigInt(state.clock) * SECOND;
  const next = (state.departures.get(paced) ?? 0n) + (BigInt(journey.bytes.length) * SECOND) / BigInt(rate);
  const departure = next > now ? next : now;
  if (departure - now >= PACE_HORIZON) return -DROP.departsTooLate;
  state.departures.set(paced, departure);
  journey.delay = Number((departure - now) / 1000n);
  return 0;
}
