/** Addresses that mean something else than one host outside. RFC 6890; RFC 4291, section 2. */
import { contains, parsePrefix, type Address } from '../addresses.js';
import type { Answer } from './query.js';
import type { Target } from './refs.js';
import { unknown } from './unknown.js';

/**
 * - `end`: the first and the last of a family, where ranges begin and end: they are answered as the rest of their range
 * - `itself`: whoever sends to it
 * - `many`: all hosts of a group
 * - `link`: a host on the same link, as the metadata services of clouds are to a node
 */
export type Scope = 'end' | 'itself' | 'many' | 'link';

const RANGES: readonly (readonly [prefix: string, scope: Scope])[] = [
  ['0.0.0.0/32', 'end'],
  ['255.255.255.255/32', 'end'],
  ['::/128', 'end'],
  ['ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128', 'end'],
  ['127.0.0.0/8', 'itself'],
  ['::1/128', 'itself'],
  ['224.0.0.0/4', 'many'],
  ['ff00::/8', 'many'],
  ['169.254.0.0/16', 'link'],
  ['fe80::/10', 'link'],
];

/** What an address means, by the first range that holds it; null for one of a single host, wherever that is. */
const scopeOf = (address: Address): Scope | null =>
  RANGES.find(([prefix]) => contains(parsePrefix(prefix)!, address))?.[1] ?? null;

const scopeOfTarget = (target: Target): Scope | null => (target.kind === 'address' ? scopeOf(target.address) : null);

/** The answer where no packet gets from one to the other through the network, if it is sent at all; null where one may. */
export function beyondNetwork(from: Target, to: Target): Answer | { readonly error: string } | null {
  const source = scopeOfTarget(from);
  if (source === 'itself' || source === 'many') return { error: `${from.label}: no packet comes from that address` };
  if (scopeOfTarget(to) !== 'itself') return null;
  if (from.kind === 'address' || from.kind === 'addresses' || from.kind === 'world')
    return { error: `${to.label} is whoever sends to it: nobody reaches another there` };
  return toItself(`${to.label} is ${from.label} itself: no packet leaves it, and no policy is asked`);
}

/** A pod or node that speaks to itself: nothing enters the dataplane, and Kubernetes has no policy about it. */
export const toItself = (assumed: string): Answer => ({ ...unknown([]), verdict: 'ALLOWED', assumes: [assumed] });

/** What is not known of a packet that policies let pass: who takes it. */
export const takenByMany = (to: Target): string[] =>
  scopeOfTarget(to) === 'many'
    ? [`who takes what is sent to ${to.label}: it is a group, and the manifests do not tell who is in it`]
    : [];

/** What an answer about such an address takes for granted. */
export function scopeAssumed(to: Target): string[] {
  switch (scopeOfTarget(to)) {
    case 'end':
      return [`${to.label} stands for the range that it ends: by itself it is no host's`];
    case 'link':
      return [`${to.label} is on the link of the node: the manifests do not tell who is there`];
    default:
      return [];
  }
}
