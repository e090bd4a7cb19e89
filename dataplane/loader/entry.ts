/** What a map must hold, and what in the manifests put it there. */
import type { MapId } from '../../assembly/abi.js';
import { difference } from '../kept.js';
import type { Place } from '../manifests/place.js';
import type { Grant } from '../policy/mapstate.js';
import type { Bytes } from '../wasm.js';

/** One entry that a map must hold, and what in the manifests put it there. */
export interface MapEntry {
  readonly map: MapId;
  readonly key: Bytes;
  readonly value: Bytes;
  readonly origin: readonly Place[];
  /** For policymap entries, what the rules say in full. */
  readonly grants?: readonly Grant[];
}

/** Entries that come and go together, or lists of such: as long as nothing in it changes, a list is the very same. */
export type Block = readonly (MapEntry | Block)[];

/** All entries, in their order. */
export function* entriesIn(block: Block): Generator<MapEntry> {
  for (const one of block)
    if (isEntry(one)) yield one;
    else yield* entriesIn(one);
}

/** Entries that only the one of two lists has, and those that only the other has. */
export interface Between {
  readonly gone: MapEntry[];
  readonly come: MapEntry[];
}

/** What is the very same list in both is not looked into, nor, where lists became others, what is the very same in these. */
export function entriesBetween(before: Block, after: Block, found: Between = { gone: [], come: [] }): Between {
  const { gone, come } = difference(before, after);
  const [olds, freshs] = [new Set(gone), new Set(come)];
  const left = gone.filter((one) => !freshs.has(one));
  const fresh = come.filter((one) => !olds.has(one));
  const isPaired = left.length === fresh.length;
  left.forEach((one, i) => {
    const other = isPaired ? fresh[i]! : [];
    if (!isEntry(one) && !isEntry(other)) entriesBetween(one, other, found);
    else {
      for (const entry of entriesIn([one])) found.gone.push(entry);
      for (const entry of entriesIn([other])) found.come.push(entry);
    }
  });
  if (!isPaired) for (const entry of entriesIn(fresh)) found.come.push(entry);
  return found;
}

const isEntry = (one: MapEntry | Block): one is MapEntry => !Array.isArray(one);

/** A Maglev table that must be there: its backends in Cilium's order. */
export interface MaglevEntry {
  /** LB4_MAGLEV or LB6_MAGLEV. */
  readonly map: MapId;
  readonly revNatIndex: number;
  /** How many backends there are. */
  readonly count: number;
  readonly backends: readonly { readonly backendId: number; readonly weight: number; readonly name: string }[];
  readonly origin: readonly Place[];
}

/** The index of an array map as bytes. */
export const word = (index: number): Bytes =>
  String.fromCharCode(index & 255, (index >>> 8) & 255, (index >>> 16) & 255, index >>> 24);
