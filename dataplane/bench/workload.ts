/** Everything that a dataplane needs to run a profile, and a dataplane that has it. */
import { MapId } from '../../assembly/abi.js';
import { Capacities } from '../../pkg/structs.js';
import { MAPS } from '../loader/families.js';
import { Datapath, type Sizes } from '../wasm.js';
import { BACKENDS_PER_SERVICE, CLIENTS, entriesOf, maglevOf, type Entry, type MaglevOf } from './cluster.js';
import { shuffled } from './draws.js';
import { countOf, strideOf, writeTemplates } from './templates.js';
import type { Traffic } from './traffic.js';

export interface Workload {
  readonly sizes: Sizes;
  readonly entries: readonly Entry[];
  readonly maglev: readonly MaglevOf[];
  readonly templates: number;
  /** Bytes from one template to the next. */
  readonly stride: number;
  /** The order in which the flows are opened, unlike that in which they are used: neighbours in memory are no help later. */
  readonly order: Uint32Array;
}

/** Room for nothing. */
export const NOTHING = Object.fromEntries(Capacities.fields.map((field) => [field, 0])) as Sizes;
/** Arrays have a place for the number 0, which is nobody's. */
const ARRAYS: ReadonlySet<MapId> = new Set([MapId.ENDPOINT_CONFIG, MapId.NODE_CONFIG]);

/**
 * Room for what is kept: the outcome of each flow; where packets open flows, of each client's opening of one to each backend, and of
 * the flows that go on beside them.
 */
function keptBy({ family, opening, services, survivor }: Traffic, templates: number): Partial<Sizes> {
  const flows = !opening ? templates : survivor > 0 ? Math.ceil(templates / survivor) : 0;
  const openings = opening ? Math.min(templates, CLIENTS * services * BACKENDS_PER_SERVICE) : 0;
  return family === 'IPv4' ? { flows4: flows, openings4: openings } : { flows6: flows, openings6: openings };
}

export function workloadOf(traffic: Traffic): Workload {
  const { family, clients, mode, services, connections, maglevTableSize } = traffic;
  const { map } = MAPS[family];
  const entries = entriesOf(traffic);
  const templates = countOf(traffic);
  const sizes: Sizes = {
    ...NOTHING,
    metrics: 512,
    events: 16,
    maglevTableSize,
    maglevBackends: BACKENDS_PER_SERVICE,
    scratch: 1 << 16,
    ...keptBy(traffic, templates),
    templates: templates * strideOf(traffic),
  };
  const size = (id: MapId, count: number): void => {
    sizes[Capacities.fields[id]] += count;
  };
  for (const id of ARRAYS) size(id, 1);
  for (const entry of entries) size(entry.map, 1);
  size(map(MapId.LB4_MAGLEV), services);
  size(map(MapId.CT4), connections);
  if (clients === 'world') size(map(MapId.SNAT4), mode === 'snat' ? 2 * templates : templates);
  return {
    sizes,
    entries,
    maglev: maglevOf(traffic),
    templates,
    stride: strideOf(traffic),
    order: shuffled(templates),
  };
}

/** A fresh dataplane with all that a workload says. */
export function load(module: WebAssembly.Module, traffic: Traffic, workload: Workload): Datapath {
  const datapath = Datapath.create(module, workload.sizes);
  for (const { map, key, value } of workload.entries) {
    const error = datapath.update(map, key, value);
    if (error !== 0) throw new Error(`map ${map} refused an entry of the benchmark: ${error}`);
  }
  const maglev = MAPS[traffic.family].map(MapId.LB4_MAGLEV);
  for (const { revNatIndex, backends } of workload.maglev) {
    const error = datapath.buildMaglev(revNatIndex, backends, maglev);
    if (error !== 0) throw new Error(`Maglev table ${revNatIndex} of the benchmark refused: ${error}`);
  }
  writeTemplates(traffic, new DataView(datapath.wasm.memory.buffer), datapath.wasm.templates());
  return datapath;
}
