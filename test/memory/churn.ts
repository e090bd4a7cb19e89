/** The maps as their host uses them: filled beyond what fits, looked up, dumped into rooms of every size, emptied. */
import { MapId } from '../../assembly/abi.js';
import { encode, type Bytes, type StructType } from '../../dataplane/wasm.js';
import {
  IpcacheKey4,
  IpcacheKey6,
  IpMasqKey4,
  IpMasqKey6,
  LbSourceRangeKey4,
  LbSourceRangeKey6,
  MaglevKey,
  PolicyKey,
} from '../../pkg/structs.js';
import type { Guarded } from './guarded.js';

/** Leaves in the maps what was in them. `below` draws a number. */
export function churn(guarded: Guarded, below: (end: number) => number): void {
  const { datapath, cluster } = guarded;
  const { wasm, sizes } = datapath;
  const { entries } = cluster.desired;
  const loaded = new Set(entries.map(({ map, key }) => `${map} ${key}`));
  for (const map of new Set(entries.map((entry) => entry.map))) {
    const own = entries.filter((entry) => entry.map === map);
    const added: Bytes[] = [];
    guarded.host(() => {
      // Where the keys are indices, the first one beyond the end.
      const beyond = String.fromCharCode(...new Uint8Array(Uint32Array.of(wasm.mapCapacity(map)).buffer));
      if (own[0]!.key.length === 4 && datapath.update(map, beyond, own[0]!.value) === 0) added.push(beyond);
      for (let i = 2 * wasm.mapCapacity(map); i > 0; i--) {
        const { key, value } = own[below(own.length)]!;
        const other = changed(map, key, below);
        if (!loaded.has(`${map} ${other}`) && datapath.update(map, other, value) === 0) added.push(other);
      }
      const scratch = wasm.scratch();
      for (const room of [0, 1, below(200), sizes.scratch]) wasm.mapKeys(map, scratch + sizes.scratch - room, room);
      for (const key of added) {
        datapath.lookup(map, key, 1);
        datapath.delete(map, key);
      }
    });
  }
  guarded.host(() => buildTables(guarded));
}

/** Keys that hold a prefix's length, which the datapath trusts. */
const PREFIXES: Readonly<Partial<Record<MapId, StructType<{ prefixLength: number }>>>> = {
  [MapId.LB4_SOURCE_RANGE]: LbSourceRangeKey4,
  [MapId.LB6_SOURCE_RANGE]: LbSourceRangeKey6,
  [MapId.IPCACHE4]: IpcacheKey4,
  [MapId.IPCACHE6]: IpcacheKey6,
  [MapId.IPMASQ4]: IpMasqKey4,
  [MapId.IPMASQ6]: IpMasqKey6,
  [MapId.POLICY]: PolicyKey,
};

/** A key with one byte changed, which is none of a prefix's length. */
function changed(map: MapId, key: Bytes, below: (end: number) => number): Bytes {
  const type = PREFIXES[map];
  const length = type ? encode(type, { prefixLength: 0xff }).indexOf('\xff') : key.length;
  const drawn = below(type ? key.length - 4 : key.length);
  const at = drawn < length ? drawn : drawn + 4;
  return key.slice(0, at) + String.fromCharCode(below(256)) + key.slice(at + 1);
}

/** Maglev tables until there are no more, from as many backends as may be and from one more. */
function buildTables({ datapath }: Guarded): void {
  const { maglev4, maglev6, maglevBackends } = datapath.sizes;
  const backends = (count: number): { backendId: number; weight: number; name: string }[] =>
    Array.from({ length: count }, (_, i) => ({
      backendId: i + 1,
      weight: 1 + (i & 1),
      name: `[10.0.0.${i}:80/TCP,State:active]`,
    }));
  const built: (readonly [map: MapId, key: Bytes])[] = [];
  for (let i = 0; i <= Math.max(maglev4, maglev6); i++) {
    const revNatIndex = 60000 + i;
    const count = i < 2 ? maglevBackends + 1 - i : 1 + (i & 3);
    for (const map of [MapId.LB4_MAGLEV, MapId.LB6_MAGLEV])
      if (datapath.buildMaglev(revNatIndex, backends(count), map) === 0)
        built.push([map, encode(MaglevKey, { revNatIndex })]);
  }
  for (const [map, key] of built) datapath.delete(map, key);
}
