/** What a map must hold, and what in the manifests put it there. */
import type { MapId } from '../../assembly/abi.js';
import { difference, joined } from '../kept.js';
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

/** The entries that are only in one of two lists: what is the very same in both is not looked into. */
export function entriesBetween(
  before: Block,
  after: Block,
): { readonly gone: readonly MapEntry[]; readonly come: readonly MapEntry[] } {
  let { gone, come } = difference(before, after);
  for (;;) {
    const [olds, freshs] = [new Set(gone), new Set(come)];
    gone = gone.filter((one) => !freshs.has(one));
    come = come.filter((one) => !olds.has(one));
    if (gone.every(isEntry) && come.every(isEntry)) return { gone, come };
    gone = joined(gone.map((one) => (isEntry(one) ? [one] : one)));
    come = joined(come.map((one) => (isEntry(one) ? [one] : one)));
  }
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
