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

/** Tells of all entries, in their order. */
export function eachEntry(block: Block, tell: (entry: MapEntry) => void): void {
  for (const one of block)
    if (isEntry(one)) tell(one);
    else eachEntry(one, tell);
}

/** Entries that only the one of two lists has, and those that only the other has. */
export interface Between {
  readonly gone: MapEntry[];
  readonly come: MapEntry[];
}

/**
 * What is the very same list in both is not looked into, nor, where lists became others, what is the very same in these. Either has
 * each entry once.
 */
export function entriesBetween(before: Block, after: Block, found: Between = { gone: [], come: [] }): Between {
  const { gone, come } = difference(before, after);
  const [olds, freshs] = [new Set(gone), new Set(come)];
  const left = gone.filter((one) => !freshs.has(one));
  const fresh = come.filter((one) => !olds.has(one));
  for (let i = 0; i < left.length || i < fresh.length; i++) {
    const [one = [], other = []] = [left[i], fresh[i]];
    if (!isEntry(one) && !isEntry(other) && one.length > 0 && other.length > 0) entriesBetween(one, other, found);
    else {
      eachEntry([one], (entry) => found.gone.push(entry));
      eachEntry([other], (entry) => found.come.push(entry));
    }
  }
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
