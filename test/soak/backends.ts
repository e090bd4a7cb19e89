/** The backends of a cluster's Services, written into the maps as an agent does when one comes, drains or goes. */
import { BackendState, LbScope, MapId } from '../../assembly/abi.js';
import { decode, encode, type Bytes } from '../../dataplane/wasm.js';
import { LbBackendKey, LbService } from '../../pkg/structs.js';
import { accepted, type Entrance, type SoakCluster } from './cluster.js';

export class Backends {
  /** Of those that there are. */
  readonly states = new Map<number, BackendState>();
  /** Maglev tables built. */
  tables = 0;
  /** What Maglev hashes of each, and its entry in the map. All Services have the same. */
  private readonly names: ReadonlyMap<number, string>;
  private readonly values: ReadonlyMap<number, Bytes>;

  constructor(private readonly cluster: SoakCluster) {
    const { desired, maps, inside } = cluster;
    const { backends } = desired.maglev.find(({ revNatIndex }) => revNatIndex === inside[0]!.frontend.revNatIndex)!;
    this.names = new Map(backends.map(({ backendId, name }) => [backendId, name]));
    const entries = desired.entries.filter(({ map }) => map === maps.map(MapId.LB4_BACKENDS));
    this.values = new Map(entries.map(({ key, value }) => [decode(LbBackendKey, key).backendId, value]));
    for (const id of this.names.keys()) this.states.set(id, BackendState.ACTIVE);
  }

  /** Those in a state; null: that are not there. */
  inState(state: BackendState | null): number[] {
    return [...this.names.keys()].filter((id) => (this.states.get(id) ?? null) === state);
  }

  /** Puts one into a state; null: takes it out. */
  set(backendId: number, state: BackendState | null): void {
    const { datapath, maps, inside, outside } = this.cluster;
    const map = maps.map(MapId.LB4_BACKENDS);
    const key = encode(LbBackendKey, { backendId });
    if (state === null) {
      accepted(datapath.delete(map, key));
      this.states.delete(backendId);
    } else {
      const value = { ...decode(maps.LbBackend, this.values.get(backendId)!), state };
      accepted(datapath.update(map, key, encode(maps.LbBackend, value)));
      this.states.set(backendId, state);
    }
    for (const entrance of [...inside, ...outside]) this.serve(entrance);
  }

  /** Slots, their number and the Maglev table: of those that take new flows. */
  private serve(entrance: Entrance): void {
    const { datapath, maps } = this.cluster;
    const map = maps.map(MapId.LB4_SERVICES);
    const { address, number: dport, protocol: proto, revNatIndex } = entrance.frontend;
    const key = (backendSlot: number): Bytes =>
      encode(maps.LbKey, { address, dport, backendSlot, proto, scope: LbScope.EXTERNAL });
    const master = decode(LbService, datapath.lookup(map, key(0), LbService.size)!);
    const active = this.inState(BackendState.ACTIVE);
    active.forEach((backendId, i) =>
      accepted(datapath.update(map, key(i + 1), encode(LbService, { backendId, revNatIndex }))),
    );
    for (let slot = active.length + 1; slot <= master.count; slot++) accepted(datapath.delete(map, key(slot)));
    accepted(datapath.update(map, key(0), encode(LbService, { ...master, count: active.length })));
    const named = active
      .map((backendId) => ({ backendId, weight: 1, name: this.names.get(backendId)! }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    accepted(datapath.buildMaglev(revNatIndex, named, maps.map(MapId.LB4_MAGLEV)));
    this.cluster.readTable(entrance);
    this.tables++;
  }
}
