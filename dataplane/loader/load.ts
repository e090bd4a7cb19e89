/** Brings the datapath's maps to what is desired: only what differs is touched, and all of it or nothing. */
import { MapId } from '../../assembly/abi.js';
import { MaglevKey } from '../../pkg/structs.js';
import { Datapath, encode, type Bytes, type Sizes } from '../wasm.js';
import type { Desired } from './entries.js';
import type { MaglevEntry, MapEntry } from './entry.js';

interface Change {
  readonly map: MapId;
  readonly key: Bytes;
  /** null takes the entry out. */
  readonly value: Bytes | null;
  readonly before: Bytes | null;
}

/** What an edit did to the maps. */
export interface LoadReport {
  readonly updated: number;
  readonly deleted: number;
  readonly tables: number;
  /** Whether a new, larger dataplane had to be made. */
  readonly rebuilt: boolean;
}

/** Connections that the answers' own dataplane keeps at once. */
const CONNECTIONS = 4096;
/** Records that one packet may leave. */
const EVENTS = 1024;
/** A count for each drop reason and direction. */
const METRICS = 512;
/** Bytes of the longest key. */
const KEY_ROOM = 40;

const keyOf = (entry: { readonly map: MapId; readonly key: Bytes }): string =>
  String.fromCharCode(entry.map) + entry.key;

export class Loader {
  private datapath: Datapath | null = null;
  private loaded = new Map<string, MapEntry>();
  private tables = new Map<number, { signature: string; entry: MaglevEntry }>();

  constructor(
    private readonly module: WebAssembly.Module,
    private readonly events = EVENTS,
  ) {}

  /** The dataplane with what was loaded last. */
  get current(): Datapath {
    if (!this.datapath) throw new Error('nothing has been loaded yet');
    return this.datapath;
  }

  /** The entry that was loaded under a key, with where it came from. */
  entry(map: MapId, key: Bytes): MapEntry | null {
    return this.loaded.get(keyOf({ map, key })) ?? null;
  }

  table(revNatIndex: number): MaglevEntry | null {
    return this.tables.get(revNatIndex)?.entry ?? null;
  }

  /**
   * Between two packets, everything changes: the datapath runs no packet while this runs, and when a map refuses an
   * entry all changes so far are undone before the larger dataplane is made.
   */
  load(desired: Desired, maglevTableSize: number): LoadReport {
    const wanted = new Map(desired.entries.map((entry) => [keyOf(entry), entry]));
    const rebuilt = !this.datapath || !fits(this.datapath.sizes, desired, maglevTableSize);
    if (rebuilt) {
      this.datapath = Datapath.create(this.module, { ...sizesFor(desired, maglevTableSize), events: this.events });
      this.loaded = new Map();
      this.tables = new Map();
    }
    const changes: Change[] = [];
    for (const [key, { map, key: bytes, value }] of this.loaded)
      if (!wanted.has(key)) changes.push({ map, key: bytes, value: null, before: value });
    for (const [key, { map, key: bytes, value }] of wanted) {
      const before = this.loaded.get(key)?.value ?? null;
      if (before !== value) changes.push({ map, key: bytes, value, before });
    }
    this.apply(changes);
    this.loaded = wanted;
    const tables = this.loadTables(desired.maglev);
    this.current.flushConnections();
    const deleted = changes.filter((change) => change.value === null).length;
    return { updated: changes.length - deleted, deleted, tables, rebuilt };
  }

  private apply(changes: readonly Change[]): void {
    const datapath = this.current;
    for (let i = 0; i < changes.length; i++) {
      const { map, key, value } = changes[i]!;
      const error = value === null ? datapath.delete(map, key) : datapath.update(map, key, value);
      if (error === 0) continue;
      for (const { map, key, before } of changes.slice(0, i).reverse()) {
        if (before === null) datapath.delete(map, key);
        else datapath.update(map, key, before);
      }
      throw new Error(`map ${map} refused an entry: ${error}`);
    }
  }

  private loadTables(entries: readonly MaglevEntry[]): number {
    const next = new Map(
      entries.map((entry) => [
        entry.revNatIndex,
        { signature: entry.backends.map((b) => `${b.backendId} ${b.weight} ${b.name}`).join('\n'), entry },
      ]),
    );
    for (const [revNatIndex, { entry }] of this.tables)
      if (!next.has(revNatIndex)) this.current.delete(entry.map, encode(MaglevKey, { revNatIndex }));
    let built = 0;
    for (const [revNatIndex, { signature, entry }] of next) {
      if (this.tables.get(revNatIndex)?.signature === signature) continue;
      const error = this.current.buildMaglev(revNatIndex, entry.backends, entry.map);
      if (error !== 0) throw new Error(`Maglev table ${revNatIndex} refused: ${error}`);
      built++;
    }
    this.tables = next;
    return built;
  }
}

/** Maps that hold as many entries as are desired. */
const COUNTED = {
  services4: MapId.LB4_SERVICES,
  services6: MapId.LB6_SERVICES,
  backends4: MapId.LB4_BACKENDS,
  backends6: MapId.LB6_BACKENDS,
  reverseNat4: MapId.LB4_REVERSE_NAT,
  reverseNat6: MapId.LB6_REVERSE_NAT,
  sourceRange4: MapId.LB4_SOURCE_RANGE,
  sourceRange6: MapId.LB6_SOURCE_RANGE,
  ipcache4: MapId.IPCACHE4,
  ipcache6: MapId.IPCACHE6,
  lxc4: MapId.LXC4,
  lxc6: MapId.LXC6,
  nodes4: MapId.NODES4,
  nodes6: MapId.NODES6,
  ipmasq4: MapId.IPMASQ4,
  ipmasq6: MapId.IPMASQ6,
  affinityMatch: MapId.AFFINITY_MATCH,
  policy: MapId.POLICY,
  auth: MapId.AUTH,
  throttle: MapId.THROTTLE,
} as const satisfies Partial<Record<keyof Sizes, MapId>>;

/** Maps that the datapath fills: connections, and what is remembered along with them. Each answer starts with none. */
const FLOWS = [
  'conntrack4',
  'conntrack6',
  'snat4',
  'snat6',
  'affinity4',
  'affinity6',
  'fragments4',
  'fragments6',
  'reverseSk4',
  'reverseSk6',
] as const satisfies readonly (keyof Sizes)[];

type Needs = Record<
  keyof typeof COUNTED | 'maglev4' | 'maglev6' | 'maglevBackends' | 'endpointConfig' | 'nodeConfig',
  number
>;

/** What each map must hold at least. An array holds as many as its highest index says. */
function needs(desired: Desired): Needs {
  const counts = new Map<MapId, number>();
  for (const { map } of desired.entries) counts.set(map, (counts.get(map) ?? 0) + 1);
  const counted = Object.entries(COUNTED).map(([name, map]) => [name, counts.get(map) ?? 0]);
  return {
    ...(Object.fromEntries(counted) as Record<keyof typeof COUNTED, number>),
    maglev4: desired.maglev.filter(({ map }) => map === MapId.LB4_MAGLEV).length,
    maglev6: desired.maglev.filter(({ map }) => map === MapId.LB6_MAGLEV).length,
    maglevBackends: desired.maglev.reduce((most, { backends }) => Math.max(most, backends.length), 0),
    endpointConfig: [...desired.endpointIds.values()].reduce((most, id) => Math.max(most, id), 0) + 1,
    nodeConfig: (counts.get(MapId.NODE_CONFIG) ?? 0) + 1,
  };
}

function fits(sizes: Readonly<Sizes>, desired: Desired, maglevTableSize: number): boolean {
  if (sizes.maglevTableSize !== maglevTableSize) return false;
  return Object.entries(needs(desired)).every(([name, count]) => sizes[name as keyof Sizes] >= count);
}

/** Half as much again as is needed, so that the edits to come find room. */
function sizesFor(desired: Desired, maglevTableSize: number): Omit<Sizes, 'events'> {
  const roomy = Object.fromEntries(
    Object.entries(needs(desired)).map(([name, count]) => [name, 64 + Math.ceil(count * 1.5)]),
  ) as Needs;
  // Tables are large: none is made in store for a family without any.
  for (const [name, map] of [
    ['maglev4', MapId.LB4_MAGLEV],
    ['maglev6', MapId.LB6_MAGLEV],
  ] as const) {
    const tables = desired.maglev.filter((entry) => entry.map === map).length;
    roomy[name] = tables === 0 ? 0 : 16 + Math.ceil(tables * 1.25);
  }
  const flows = Object.fromEntries(FLOWS.map((name) => [name, CONNECTIONS])) as Record<(typeof FLOWS)[number], number>;
  const widest = Math.max(...Object.values(roomy), CONNECTIONS);
  return {
    ...roomy,
    ...flows,
    // Answers ask about new flows, each a few times.
    flows4: 0,
    flows6: 0,
    runtimeConfig: 1,
    metrics: METRICS,
    maglevTableSize,
    scratch: Math.max(widest * KEY_ROOM, roomy.maglevBackends * 128) + 1024,
    templates: 64,
  };
}
