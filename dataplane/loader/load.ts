/** Brings the datapath's maps to what is desired: only what differs is touched, and all of it or nothing. */
import { MapId } from '../../assembly/abi.js';
import { MaglevKey } from '../../pkg/structs.js';
import { indexed } from '../indexed.js';
import { keptFor } from '../kept.js';
import { Datapath, encode, type Bytes, type Sizes } from '../wasm.js';
import type { Desired } from './entries.js';
import { eachEntry, entriesBetween, type Block, type MaglevEntry, type MapEntry } from './entry.js';

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

type Done = Omit<LoadReport, 'tables'>;

/** Connections that the answers' own dataplane keeps at once. */
const CONNECTIONS = 4096;
/** Records that one packet may leave. */
const EVENTS = 1024;
/** A count for each drop reason and direction. */
const METRICS = 512;
/** Bytes of the longest key. */
const KEY_ROOM = 40;

/** Slots of all Maglev tables, of a byte or two each; where there would be more, only those tables are there that packets asked for of late. */
const SLOTS = 16 * 2 ** 20;
/** More than the packets of one batch ask for. */
const LEAST_TABLES = 512;

/** Tables that are there at once, at most. */
const mostTables = (tableSize: number): number => Math.max(LEAST_TABLES, Math.floor(SLOTS / tableSize));

/** Entries by map and key. */
type Loaded = Map<MapId, Map<Bytes, MapEntry>>;

/** What an edit does: entries that go, and entries that come, some of them under the same keys. */
interface Edit {
  readonly come: readonly MapEntry[];
  readonly changes: readonly Change[];
  /** Entries of each map afterwards. */
  readonly counts: ReadonlyMap<MapId, number>;
}

export class Loader {
  private datapath: Datapath | null = null;
  private loaded: Loaded = new Map();
  private sections: Block = [];
  /** Whether no two blocks have an entry of one key: only then does a key go when its block does. */
  private isDistinct = false;
  private maglev: readonly MaglevEntry[] = [];
  private readonly byIndex = indexed(({ revNatIndex }: MaglevEntry) => [revNatIndex]);
  /** Of the tables, those that the dataplane has, oldest first. */
  private readonly built = new Map<number, MaglevEntry>();

  constructor(
    private readonly module: WebAssembly.Module,
    private readonly events = EVENTS,
    private readonly connections = CONNECTIONS,
  ) {}

  /** The dataplane with what was loaded last. */
  get current(): Datapath {
    if (!this.datapath) throw new Error('nothing has been loaded yet');
    return this.datapath;
  }

  /** The entry that was loaded under a key, with where it came from. */
  entry(map: MapId, key: Bytes): MapEntry | null {
    return this.loaded.get(map)?.get(key) ?? null;
  }

  table(revNatIndex: number): MaglevEntry | null {
    return this.byIndex(this.maglev).get(revNatIndex) ?? null;
  }

  /** Every Maglev table of a map, whether the dataplane has it or not. */
  tablesIn(map: MapId): readonly MaglevEntry[] {
    return this.maglev.filter((entry) => entry.map === map);
  }

  /**
   * Between two packets, everything changes: the datapath runs no packet while this runs, and when a map refuses an
   * entry all changes so far are undone before the larger dataplane is made.
   */
  load(desired: Desired, maglevTableSize: number): LoadReport {
    const edit = this.isDistinct ? this.editTo(desired.sections) : null;
    const done =
      edit && this.fits(edit.counts, desired, maglevTableSize)
        ? this.edit(edit)
        : this.loadAll(desired, maglevTableSize);
    this.sections = desired.sections;
    const tables = this.loadTables(desired.maglev, mostTables(maglevTableSize));
    this.current.flushConnections();
    return { ...done, tables };
  }

  /** Builds a Maglev table, the one that a packet looked for in vain, which then is to be sent again; false where there is none to build. */
  provide(revNatIndex = this.current.wasm.maglevMissing()): boolean {
    const entry = this.table(revNatIndex);
    if (!entry || this.built.has(entry.revNatIndex)) return false;
    this.build(entry, mostTables(this.current.sizes.maglevTableSize));
    return true;
  }

  private fits(counts: ReadonlyMap<MapId, number>, desired: Desired, maglevTableSize: number): boolean {
    return this.datapath !== null && fits(this.datapath.sizes, counts, desired, maglevTableSize);
  }

  /** What must come and go; null where two blocks would have an entry of one key. */
  private editTo(sections: Block): Edit | null {
    const { gone, come } = entriesBetween(this.sections, sections);
    const counts = new Map([...this.loaded].map(([map, entries]) => [map, entries.size]));
    const leaving = new Map<string, MapEntry>();
    for (const entry of gone) {
      leaving.set(keyOf(entry), entry);
      counts.set(entry.map, counts.get(entry.map)! - 1);
    }
    const entering = new Set<string>();
    const changes: Change[] = [];
    for (const { map, key, value } of come) {
      const name = keyOf({ map, key });
      const before = leaving.get(name);
      if (entering.has(name) || (!before && this.entry(map, key))) return null;
      entering.add(name);
      counts.set(map, (counts.get(map) ?? 0) + 1);
      if (before?.value !== value) changes.push({ map, key, value, before: before?.value ?? null });
    }
    const deleted = gone
      .filter((entry) => !entering.has(keyOf(entry)))
      .map(({ map, key, value }): Change => ({ map, key, value: null, before: value }));
    return { come, changes: [...deleted, ...changes], counts };
  }

  private edit({ come, changes }: Edit): Done {
    const done = this.apply(changes);
    for (const { map, key, value } of changes) if (value === null) this.loaded.get(map)!.delete(key);
    for (const entry of come) put(this.loaded, entry);
    return done;
  }

  private loadAll(desired: Desired, maglevTableSize: number): Done {
    const wanted: Loaded = new Map();
    let entries = 0;
    eachEntry(desired.sections, (entry) => {
      put(wanted, entry);
      entries++;
    });
    const counts = new Map([...wanted].map(([map, entries]) => [map, entries.size]));
    const done = this.fits(counts, desired, maglevTableSize)
      ? this.apply(changesTo(this.loaded, wanted))
      : this.fill(wanted, sizesFor(counts, desired, maglevTableSize, this.connections));
    this.loaded = wanted;
    this.isDistinct = [...counts.values()].reduce((sum, count) => sum + count, 0) === entries;
    return done;
  }

  /** Makes a dataplane and writes all entries into it. */
  private fill(wanted: Loaded, sizes: Omit<Sizes, 'events'>): Done {
    this.datapath = Datapath.create(this.module, { ...sizes, events: this.events });
    this.built.clear();
    let updated = 0;
    for (const entries of wanted.values())
      for (const { map, key, value } of entries.values()) {
        const error = this.current.update(map, key, value);
        if (error !== 0) throw new Error(`map ${map} refused an entry: ${error}`);
        updated++;
      }
    return { updated, deleted: 0, rebuilt: true };
  }

  private apply(changes: readonly Change[]): Done {
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
    const deleted = changes.filter(({ value }) => value === null).length;
    return { updated: changes.length - deleted, deleted, rebuilt: false };
  }

  private loadTables(entries: readonly MaglevEntry[], most: number): number {
    this.maglev = entries;
    let built = 0;
    for (const [revNatIndex, entry] of [...this.built]) {
      const wanted = this.table(revNatIndex);
      if (wanted === entry) continue;
      if (wanted && isSameTable(wanted, entry)) this.built.set(revNatIndex, wanted);
      else this.drop(entry);
    }
    if (entries.length <= most)
      for (const entry of entries)
        if (!this.built.has(entry.revNatIndex)) {
          this.build(entry, most);
          built++;
        }
    return built;
  }

  private build(entry: MaglevEntry, most: number): void {
    const { revNatIndex, backends, map } = entry;
    if (!this.built.has(revNatIndex) && this.built.size >= most) this.drop(this.built.values().next().value!);
    const error = this.current.buildMaglev(revNatIndex, backends, map);
    if (error !== 0) throw new Error(`Maglev table ${revNatIndex} refused: ${error}`);
    this.built.set(revNatIndex, entry);
  }

  private drop({ map, revNatIndex }: MaglevEntry): void {
    this.current.delete(map, encode(MaglevKey, { revNatIndex }));
    this.built.delete(revNatIndex);
  }
}

/** What makes of some entries others. */
function changesTo(before: Loaded, wanted: Loaded): Change[] {
  const changes: Change[] = [];
  for (const [map, entries] of before)
    for (const [key, { value }] of entries)
      if (!wanted.get(map)?.has(key)) changes.push({ map, key, value: null, before: value });
  for (const [map, entries] of wanted)
    for (const [key, { value }] of entries) {
      const former = before.get(map)?.get(key)?.value ?? null;
      if (former !== value) changes.push({ map, key, value, before: former });
    }
  return changes;
}

/** A key beside those of other maps. */
const keyOf = ({ map, key }: Pick<MapEntry, 'map' | 'key'>): string => String.fromCharCode(map) + key;

function put(loaded: Loaded, entry: MapEntry): void {
  const entries = loaded.get(entry.map);
  if (entries) entries.set(entry.key, entry);
  else loaded.set(entry.map, new Map([[entry.key, entry]]));
}

function isSameTable(a: MaglevEntry, b: MaglevEntry): boolean {
  if (a.map !== b.map || a.count !== b.count) return false;
  const others = b.backends;
  return a.backends.every(({ backendId, weight, name }, i) => {
    const other = others[i]!;
    return backendId === other.backendId && weight === other.weight && name === other.name;
  });
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

/** What each map must hold at least, of the entries that each will have. An array holds as many as its highest index says. */
function needs(counts: ReadonlyMap<MapId, number>, desired: Desired, maglevTableSize: number): Needs {
  const counted = Object.entries(COUNTED).map(([name, map]) => [name, counts.get(map) ?? 0]);
  const { tables, maglevBackends } = tablesNeeded(desired.maglev);
  return {
    ...(Object.fromEntries(counted) as Record<keyof typeof COUNTED, number>),
    maglev4: Math.min(tables.get(MapId.LB4_MAGLEV) ?? 0, mostTables(maglevTableSize)),
    maglev6: Math.min(tables.get(MapId.LB6_MAGLEV) ?? 0, mostTables(maglevTableSize)),
    maglevBackends,
    endpointConfig: desired.endpointIds.highest + 1,
    nodeConfig: (counts.get(MapId.NODE_CONFIG) ?? 0) + 1,
  };
}

/** Tables of each family, and the most backends that one has. */
const tablesNeeded = keptFor((maglev: readonly MaglevEntry[]) => {
  const tables = new Map<MapId, number>();
  let maglevBackends = 0;
  for (const { map, count } of maglev) {
    tables.set(map, (tables.get(map) ?? 0) + 1);
    maglevBackends = Math.max(maglevBackends, count);
  }
  return { tables, maglevBackends };
});

function fits(
  sizes: Readonly<Sizes>,
  counts: ReadonlyMap<MapId, number>,
  desired: Desired,
  maglevTableSize: number,
): boolean {
  if (sizes.maglevTableSize !== maglevTableSize) return false;
  return Object.entries(needs(counts, desired, maglevTableSize)).every(
    ([name, count]) => sizes[name as keyof Sizes] >= count,
  );
}

/** Half as much again as is needed, so that the edits to come find room. */
function sizesFor(
  counts: ReadonlyMap<MapId, number>,
  desired: Desired,
  maglevTableSize: number,
  connections: number,
): Omit<Sizes, 'events'> {
  const needed = needs(counts, desired, maglevTableSize);
  const roomy = Object.fromEntries(
    Object.entries(needed).map(([name, count]) => [name, 64 + Math.ceil(count * 1.5)]),
  ) as Needs;
  // Tables are large: none is made in store for a family without any.
  for (const name of ['maglev4', 'maglev6'] as const) {
    const tables = needed[name];
    roomy[name] = tables === 0 ? 0 : Math.min(16 + Math.ceil(tables * 1.25), mostTables(maglevTableSize));
  }
  const flows = Object.fromEntries(FLOWS.map((name) => [name, CONNECTIONS])) as Record<(typeof FLOWS)[number], number>;
  const widest = Math.max(...Object.values(roomy), CONNECTIONS);
  return {
    ...roomy,
    ...flows,
    // Answers ask about new flows, each a few times.
    flows4: 0,
    flows6: 0,
    openings4: 0,
    openings6: 0,
    conntrack4: connections,
    runtimeConfig: 1,
    metrics: METRICS,
    maglevTableSize,
    scratch: Math.max(widest * KEY_ROOM, roomy.maglevBackends * 128) + 1024,
    templates: 64,
  };
}
