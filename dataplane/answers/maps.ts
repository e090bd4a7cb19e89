/** The dataplane's maps, read back from it entry by entry. */
import { MapId } from '../../assembly/abi.js';
import { MaglevKey } from '../../pkg/structs.js';
import { SCHEMAS, type Presented } from '../loader/present.js';
import { locate, type Place } from '../manifests/place.js';
import { MAP_NAMES } from '../reasons.js';
import type { State } from '../state.js';
import { decode, encode, type Bytes } from '../wasm.js';

export interface MapDump {
  readonly key: Presented;
  readonly value: Presented;
  readonly origin: readonly Origin[];
}

export interface Origin {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface Maps {
  readonly schema: 'hopscope.maps/1';
  readonly maps: Readonly<Record<string, readonly MapDump[]>>;
}

type Dumped = keyof typeof SCHEMAS;
const DUMPED = Object.keys(SCHEMAS).map(Number) as Dumped[];

/** All maps, or the one named `only`; with `node`, of maps that are one a node in Cilium only that node's entries. */
export function maps(state: State, only: string | null, node: string | null): Maps | { readonly error: string } {
  const chosen = DUMPED.filter((map) => only === null || MAP_NAMES[map] === only);
  if (chosen.length === 0)
    return {
      error: `there is no map ${only}; there are ${[...new Set(DUMPED.map((map) => MAP_NAMES[map]))].join(', ')}`,
    };
  const index = node === null ? null : state.cluster.nodes.find(({ name }) => name === node)?.index;
  if (index === undefined) return { error: `there is no node ${node}` };
  const dumps: Record<string, MapDump[]> = {};
  for (const map of chosen) {
    const entries = dump(state, map).filter(
      (entry) => index === null || nodeOf(map, entry) === null || nodeOf(map, entry) === index,
    );
    // What is two maps here, one a family, may be one of Cilium's.
    (dumps[MAP_NAMES[map]] ??= []).push(...entries);
  }
  return { schema: 'hopscope.maps/1', maps: dumps };
}

function nodeOf(map: Dumped, { key, value }: MapDump): unknown {
  return (map === MapId.ENDPOINT_CONFIG ? value['node'] : key['node']) ?? null;
}

function dump(state: State, map: Dumped): MapDump[] {
  const { key, keySize, value, valueSize } = SCHEMAS[map];
  const datapath = state.loader.current;
  const entries: MapDump[] = [];
  for (const bytes of keysOf(state, map, keySize)) {
    if (isMaglev(map)) state.loader.provide(indexOf(bytes));
    const found = datapath.lookup(map, bytes, valueSize);
    if (found === null || (isArray(map) && /^\0*$/.test(found))) continue;
    entries.push({
      key: key(bytes),
      value: isMaglev(map) ? tableOf(state, map, bytes) : value(found),
      origin: originOf(state, map, bytes),
    });
  }
  return entries;
}

const isMaglev = (map: MapId): boolean => map === MapId.LB4_MAGLEV || map === MapId.LB6_MAGLEV;

const isArray = (map: MapId): boolean =>
  map === MapId.ENDPOINT_CONFIG || map === MapId.NODE_CONFIG || map === MapId.RUNTIME_CONFIG || map === MapId.METRICS;

function keysOf(state: State, map: MapId, keySize: number): Bytes[] {
  const datapath = state.loader.current;
  if (isMaglev(map))
    return state.loader
      .tablesIn(map)
      .map(({ revNatIndex }) => encode(MaglevKey, { revNatIndex }))
      .sort();
  if (!isArray(map)) return datapath.keys(map, keySize);
  const capacity = datapath.wasm.mapCapacity(map);
  return Array.from({ length: capacity }, (_, i) =>
    String.fromCharCode(i & 255, (i >>> 8) & 255, (i >>> 16) & 255, i >>> 24),
  );
}

function tableOf(state: State, map: MapId, key: Bytes): Presented {
  return { backendIds: [...state.loader.current.maglevTable(indexOf(key), map)!] };
}

/** The frontend whose Maglev table is under a key. */
const indexOf = (key: Bytes): number => decode(MaglevKey, key).revNatIndex;

/** The manifest lines that put an entry there; for a connection, or what holds without a manifest, none. */
export function originOf(state: State, map: MapId, key: Bytes): Origin[] {
  const table = isMaglev(map) ? state.loader.table(indexOf(key)) : null;
  const places = table?.origin ?? state.loader.entry(map, key)?.origin ?? [];
  return places.map(originAt);
}

export function originAt(place: Place): Origin {
  const { file, range } = locate(place);
  return { file, line: range.start.line, column: range.start.column };
}
