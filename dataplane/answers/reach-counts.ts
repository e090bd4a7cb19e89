/** Who reaches an end, and what it reaches: by name alone, as annotations tell. */
import { compare } from '../hash.js';
import type { State } from '../state.js';
import { unreadIngresses } from './ingress/through.js';
import { matrixOf, type Matrix } from './reach-matrix.js';
import { choose } from './reach-ends.js';
import type { Found } from './reach-open.js';
import { pairsOf } from './reach-pairs.js';
import { narrowed, reach, type Reach } from './reach.js';

/** Who reaches an end, by workload. null where what decides could not be read. */
export const reachedBy = (state: State, ref: string): readonly string[] | null => inOrder(senders(state, ref));

/** How many do. */
export const countReachedBy = (state: State, ref: string): number | null => senders(state, ref)?.size ?? null;

/** How many, by workload, an end reaches. */
export const countReaches = (state: State, ref: string): number | null => receivers(state, ref)?.size ?? null;

const inOrder = (refs: ReadonlySet<string> | null): readonly string[] | null => refs && [...refs].sort(compare);

const senders = (state: State, ref: string): ReadonlySet<string> | null =>
  pairsOf(state).isPlain ? sendersTo(state, ref) : connected(state, { from: null, to: ref }, ({ from }) => from);

const receivers = (state: State, ref: string): ReadonlySet<string> | null =>
  pairsOf(state).isPlain ? receiversFrom(state, ref) : connected(state, { from: ref, to: null }, ({ to }) => to);

/** From what connections there are. */
function connected(
  state: State,
  ends: { from: string | null; to: string | null },
  pick: (connection: Reach['connections'][number]) => string,
): ReadonlySet<string> | null {
  const found = reach(state, { ...ends, protocol: null });
  if ('error' in found) return null;
  const own = ends.from ?? ends.to;
  const named = own?.startsWith('svc:') ? found.unknown.length > 0 : found.unknown.some(({ ref }) => ref === own);
  if (named) return null;
  return new Set(found.connections.map(pick).filter((ref) => !/^(ip|ingress):/.test(ref) && ref !== own));
}

/** The same out of the matrix of all pairs: nothing in it is left open by what packets met. */
function sendersTo(state: State, ref: string): ReadonlySet<string> | null {
  const matrix = matrixOf(state);
  const targets = choose(state, matrix.ends, ref);
  if ('error' in targets) return null;
  const isService = ref.startsWith('svc:');
  if (isService ? matrix.unread.size > 0 || unreadIngresses(state).length > 0 : isUnread(matrix, ref)) return null;
  const isOpen = new Map<Found, boolean>();
  const opens = (found: Found): boolean => {
    let known = isOpen.get(found);
    if (known === undefined) {
      const { ports, icmp } = narrowed(found.open, null, targets.ports);
      isOpen.set(found, (known = ports.length + icmp.length > 0));
    }
    return known;
  };
  const refs = new Set<string>();
  for (const to of targets.ends) {
    if (matrix.unread.has(to)) continue;
    matrix.to(to).forEach((found, i) => {
      if (!found || !opens(found)) return;
      for (const from of matrix.classes[i]!)
        if (from !== to && from.external === null && from.ref !== ref) refs.add(from.ref);
    });
  }
  return refs;
}

function receiversFrom(state: State, ref: string): ReadonlySet<string> | null {
  const matrix = matrixOf(state);
  const sources = choose(state, matrix.ends, ref);
  if ('error' in sources || isUnread(matrix, ref)) return null;
  const refs = new Set<string>();
  for (const from of sources.ends.filter((end) => !matrix.unread.has(end)))
    for (const { to } of matrix.openFrom(from))
      if (to !== from && to.external === null && to.ref !== ref) refs.add(to.ref);
  return refs;
}

const isUnread = ({ unread }: Matrix, ref: string): boolean => [...unread.keys()].some((end) => end.ref === ref);
