/** What a map must hold, and what in the manifests put it there. */
import type { MapId } from '../../assembly/abi.js';
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

/** Entries that come and go together: as long as nothing of them changes, it is the very same list. */
export type Block = readonly MapEntry[];

/** A Maglev table that must be there: its backends in Cilium's order. */
export interface MaglevEntry {
  /** LB4_MAGLEV or LB6_MAGLEV. */
  readonly map: MapId;
  readonly revNatIndex: number;
  readonly backends: readonly { readonly backendId: number; readonly weight: number; readonly name: string }[];
  readonly origin: readonly Place[];
}

/** The index of an array map as bytes. */
export const word = (index: number): Bytes =>
  String.fromCharCode(index & 255, (index >>> 8) & 255, (index >>> 16) & 255, index >>> 24);
