/** Dataplanes of which one keeps outcomes and the other does not: whatever is sent to both, they must stay alike. */
import assert from 'node:assert/strict';
import { MapId, Program } from '../../assembly/abi.js';
import { DEFAULT_SETTINGS } from '../../dataplane/settings.js';
import { Engine } from '../../dataplane/state.js';
import { Datapath, type PacketIn, type PacketOut } from '../../dataplane/wasm.js';
import { CtEntry, CtTuple4, NatEntry4 } from '../../pkg/structs.js';
import { modules } from '../datapath.js';

type Traced = ReturnType<Datapath['traced']>;

/** Two dataplanes from the same manifests, of which the first keeps outcomes; and what each holds of connections. */
export class Twins {
  private readonly twins: readonly [kept: Datapath, plain: Datapath];
  private readonly endpoints: ReadonlyMap<string, number>;

  constructor(yaml: string, connections: number, module = modules.fast) {
    const engine = new Engine(modules.fast, { ...DEFAULT_SETTINGS, 'maglev.tableSize': 251 });
    engine.manifests.set('twins.yaml', yaml);
    const { desired, loader } = engine.current;
    this.endpoints = new Map([...desired.endpointIds].map(([{ name }, id]) => [name, id]));
    const twin = (kept: number): Datapath => {
      const sizes = { ...loader.current.sizes, conntrack4: connections, flows4: kept, openings4: kept };
      const datapath = Datapath.create(module, sizes);
      for (const { map, key, value } of desired.entries) assert.equal(datapath.update(map, key, value), 0);
      for (const { map, revNatIndex, backends } of desired.maglev)
        assert.equal(datapath.buildMaglev(revNatIndex, backends, map), 0);
      return datapath;
    };
    this.twins = [twin(256), twin(0)];
  }

  from(name: string, frame: Uint8Array): PacketIn {
    return { frame, node: 0, program: Program.FROM_CONTAINER, endpoint: this.endpoints.get(name)! };
  }

  /** What becomes of a packet on both sides, which is the same. */
  send(sent: PacketIn): PacketOut {
    const [kept, plain] = this.twins.map((twin) => twin.process([sent])[0]!) as [PacketOut, PacketOut];
    assert.deepEqual(kept, plain);
    assert.deepEqual(...(this.twins.map(connectionsOf) as [string[], string[]]));
    return plain;
  }

  /** The same, and what is recorded of it. Takes the build that records. */
  trace(sent: PacketIn): number {
    const [kept, plain] = this.twins.map((twin) => twin.traced(sent)) as [Traced, Traced];
    assert.deepEqual(kept, plain);
    return plain.events.length;
  }

  /** The same packets on both sides, one by one, of whose connections nobody asks. */
  process(sent: readonly PacketIn[]): void {
    for (const one of sent)
      assert.deepEqual(...(this.twins.map((twin) => twin.process([one])) as [PacketOut[], PacketOut[]]));
  }

  get followed(): number {
    return this.twins[0].flowCounters().followed;
  }

  get opened(): number {
    return this.twins[0].flowCounters().opened;
  }
}

/** Keys, and what is found under each. */
const connectionsOf = (datapath: Datapath): string[] => [
  ...datapath.keys(MapId.CT4, CtTuple4.size).map((key) => `${key} ${datapath.lookup(MapId.CT4, key, CtEntry.size)}`),
  ...datapath
    .keys(MapId.SNAT4, CtTuple4.size)
    .map((key) => `${key} ${datapath.lookup(MapId.SNAT4, key, NatEntry4.size)}`),
];
