/** Who reaches an end, and what it reaches: by name alone, as annotations tell. */
import { compare } from '../hash.js';
import type { State } from '../state.js';
import { unreadIngresses } from './ingress/through.js';
import { classesOf, type Classes, type OpenClass } from './reach-matrix.js';
import { choose, type End, type OpenPort } from './reach-ends.js';
import type { Found, Open } from './reach-open.js';
import { pairsOf } from './reach-pairs.js';
import { reach, type Reach } from './reach.js';

/** Who reaches an end, by workload. null where what decides could not be read. */
export function reachedBy(state: State, ref: string): readonly string[] | null {
  if (!pairsOf(state).isPlain) return connected(state, { from: null, to: ref }, ({ from }) => from);
  const found = senders(state, ref);
  return (
    found &&
    [...new Set(found.flatMap(({ ends, but }) => ends.filter((end) => end !== but).map((end) => end.ref)))].sort(
      compare,
    )
  );
}

/** How many do. */
export function countReachedBy(state: State, ref: string): number | null {
  if (!pairsOf(state).isPlain) return reachedBy(state, ref)?.length ?? null;
  const found = senders(state, ref);
  return found && countOf(found);
}

/** How many, by workload, an end reaches. */
export function countReaches(state: State, ref: string): number | null {
  if (!pairsOf(state).isPlain) return connected(state, { from: ref, to: null }, ({ to }) => to)?.length ?? null;
  const classes = classesOf(state);
  const sources = choose(state, classes.ends, ref);
  if ('error' in sources || isUnread(classes, ref)) return null;
  const reached = union(
    classes,
    sources.ends.map((from) => ({ end: from, open: classes.unread.has(from) ? [] : classes.openFrom(from) })),
  );
  return countOf(reached);
}

/** From what connections there are. */
function connected(
  state: State,
  ends: { from: string | null; to: string | null },
  pick: (connection: Reach['connections'][number]) => string,
): readonly string[] | null {
  const found = reach(state, { ...ends, protocol: null });
  if ('error' in found) return null;
  const own = ends.from ?? ends.to;
  const named = own?.startsWith('svc:') ? found.unknown.length > 0 : found.unknown.some(({ ref }) => ref === own);
  if (named) return null;
  return [...new Set(found.connections.map(pick))].filter((ref) => !/^(ip|ingress):/.test(ref) && ref !== own);
}

/** Ends of a class that reach, or are reached, but for one. */
interface Part {
  readonly ends: readonly End[];
  readonly but: End | null;
}

const countOf = (parts: readonly Part[]): number =>
  parts.reduce((sum, { ends, but }) => sum + ends.length - (but ? 1 : 0), 0);

/** Those that have something open with any of some ends, class by class. An end has nothing with itself; of several, it may with another. */
function union(
  classes: Classes,
  found: readonly { readonly end: End; readonly open: readonly OpenClass[] }[],
): readonly Part[] {
  const parts = new Map<number, Part>();
  for (const { end, open } of found)
    for (const { number } of open) {
      const ends = classes.all[number]!;
      if (ends[0]!.external) continue;
      const known = parts.get(number);
      if (known?.but === null) continue;
      const isOwn = !known && classes.numberOf(end) === number;
      parts.set(number, { ends, but: isOwn ? end : null });
    }
  return [...parts.values()];
}

/** Who reaches an end, by classes: nothing of it is left open by what packets met. */
function senders(state: State, ref: string): readonly Part[] | null {
  const classes = classesOf(state);
  const targets = choose(state, classes.ends, ref);
  if ('error' in targets) return null;
  const isService = ref.startsWith('svc:');
  if (isService ? classes.unread.size > 0 || unreadIngresses(state).length > 0 : isUnread(classes, ref)) return null;
  const { ends, ports } = targets;
  // Ends that are alike have the very same list.
  const known = new Map<readonly OpenClass[], readonly OpenClass[]>();
  const openTo = (to: End): readonly OpenClass[] => {
    const open = classes.openTo(to);
    const at = known.get(open) ?? (ports === null ? open : openAt(open, ports));
    known.set(open, at);
    return at;
  };
  return union(
    classes,
    ends.map((end) => ({ end, open: classes.unread.has(end) ? [] : openTo(end) })),
  );
}

/** Classes of which some of these ports are open; many have the same open. */
function openAt(classes: readonly OpenClass[], ports: readonly OpenPort[]): readonly OpenClass[] {
  const known = new Map<Found, boolean>();
  return classes.filter(({ found }) => {
    let isOpen = known.get(found);
    if (isOpen === undefined) known.set(found, (isOpen = isOpenAt(found.open, ports)));
    return isOpen;
  });
}

const isOpenAt = ({ ports: open }: Open, ports: readonly OpenPort[]): boolean =>
  open.some((one) =>
    ports.some(
      ({ protocol, port }) =>
        protocol === one.protocol && one.ranges.some(([first, last]) => first <= port && port <= last),
    ),
  );

const isUnread = ({ unread }: Classes, ref: string): boolean => [...unread.keys()].some((end) => end.ref === ref);
