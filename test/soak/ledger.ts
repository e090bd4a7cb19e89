/** Whether a map's counters tell what it holds. */
import { MapId } from '../../assembly/abi.js';
import type { Counters } from '../../dataplane/wasm.js';
import type { SoakCluster } from './cluster.js';

export interface Ledger extends Counters {
  readonly name: string;
  readonly capacity: number;
  /** Entries that a dump of the map finds. */
  readonly dumped: number;
}

/** Of the connections and of the mappings of source NAT. */
export function ledgers({ datapath, maps, family }: SoakCluster): [Ledger, Ledger] {
  const { wasm, sizes } = datapath;
  const number = family === 'IPv6' ? 6 : 4;
  const of = (map: MapId, name: string): Ledger => ({
    name,
    capacity: wasm.mapCapacity(map),
    dumped: wasm.mapKeys(map, wasm.scratch(), sizes.scratch),
    ...datapath.counters(map),
  });
  return [
    of(maps.map(MapId.CT4), `cilium_ct${number}_global`),
    of(maps.map(MapId.SNAT4), `cilium_snat_v${number}_external`),
  ];
}

export const balances = ({ created, live, evicted, expired, deleted, dumped, capacity }: Ledger): boolean =>
  created === live + evicted + expired + deleted && live === dumped && live <= capacity;
