/** The answer where nothing is known but why. */
import type { Answer } from './query.js';

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
