/** How answers name what decided: a policy or a rule of it, at its line. */
import { locate, type Place } from '../manifests/place.js';
import type { Decider } from './decide.js';

/** `rule` is null for an object as a whole. */
export function deciderAt(
  { kind, namespace, name, rule, at }: Pick<Decider, 'kind' | 'namespace' | 'name' | 'rule'> & { readonly at: Place },
  effect: Decider['effect'],
): Decider {
  const { file, range } = locate(at);
  const { line, column } = range.start;
  return { kind, namespace, name, rule, effect, file, line, column };
}
