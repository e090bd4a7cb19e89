/** Answers without a packet that tells them. */
import type { DropReason } from '../../assembly/abi.js';
import type { Direction } from '../policy/rules.js';
import { reasonOf } from '../reasons.js';
import type { Answer } from './query.js';

/** The answer where nothing is known but why. */
export function unknown(depends: readonly string[]): Answer {
  return {
    verdict: 'UNKNOWN',
    direction: null,
    reason: null,
    deciders: [],
    backend: null,
    service: null,
    snat: null,
    http: null,
    depends,
    assumes: [],
    hints: [],
  };
}

/** The answer where it is refused other than by the datapath: with the reason that is nearest of those that Cilium has. */
export const refused = (code: DropReason, direction: Direction, more: Partial<Answer>): Answer => ({
  ...unknown([]),
  verdict: 'DENIED',
  direction,
  reason: reasonOf(code),
  ...more,
});
