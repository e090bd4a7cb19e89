/** Addresses that mean something else than one host outside. RFC 6890; RFC 4291, section 2. */
import { contains, parsePrefix, type Address } from '../addresses.js';
import type { Answer } from './query.js';
import type { Target } from './refs.js';
import { unknown } from './unknown.js';

/**
 * - `itself`: whoever sends to it. Linux takes the unspecified address for that too
 * - `many`: all hosts of a group, or of the network
 * - `link`: a host on the same link, as the metadata services of clouds are to a node
 */
export type Scope = 'itself' | 'many' | 'link';

const RANGES: readonly (readonly [prefix: string, scope: Scope])[] = [
  ['0.0.0.0/32', 'itself'],
  ['127.0.0.0/8', 'itself'],
  ['169.254.0.0/16', 'link'],
  ['224.0.0.0/4', 'many'],
  ['255.255.255.255/32', 'many'],
  ['::/128', 'itself'],
  ['::1/128', 'itself'],
  ['fe80::/10', 'link'],
  ['ff00::/8', 'many'],
];

/** What an address means; null for one of a single host, wherever that is. */
export const scopeOf = (address: Address): Scope | null =>
  RANGES.find(([prefix]) => contains(parsePrefix(prefix)!, address))?.[1] ?? null;

const scopeOfTarget = (target: Target): Scope | null => (target.kind === 'address' ? scopeOf(target.address) : null);

/** The answer where no packet gets from one to the other through the network, if it is sent at all; null where one may. */
export function beyondNetwork(from: Target, to: Target): Answer | { readonly error: string } | null {
  const [source, destination] = [scopeOfTarget(from), scopeOfTarget(to)];
  if (source === 'itself' || source === 'many') return { error: `${from.label}: no packet comes from that address` };
  if (destination === 'many')
    return unknown([`${to.label} is an address of many: the manifests do not tell who takes what is sent to it`]);
  if (destination !== 'itself') return null;
  if (from.kind === 'address' || from.kind === 'addresses' || from.kind === 'world')
    return { error: `${to.label} is whoever sends to it: nobody reaches another there` };
  return toItself(`${to.label} is ${from.label} itself: no packet leaves it, and no policy is asked`);
}

/** A pod or node that speaks to itself: nothing enters the dataplane, and Kubernetes has no policy about it. */
export const toItself = (assumed: string): Answer => ({ ...unknown([]), verdict: 'ALLOWED', assumes: [assumed] });
