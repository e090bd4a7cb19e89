/** The containers: full means an error, a delete makes room, and a model with Maps agrees on everything else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MapError, MapId, Program } from '../../assembly/abi.js';
import { formatAddress, maskOf } from '../../dataplane/addresses.js';
import { MAP_NAMES } from '../../dataplane/reasons.js';
import { decode, encode, type Bytes, type Datapath } from '../../dataplane/wasm.js';
import {
  CtEntry,
  EndpointConfig,
  EndpointInfo,
  EndpointKey,
  IpcacheKey,
  Ipv4CtTuple,
  Ipv4NatEntry,
  Lb4Backend,
  Lb4BackendKey,
  Lb4Key,
  Lb4ReverseNat,
  Lb4ReverseNatKey,
  Lb4Service,
  Lb4SourceRange,
  Lb4SourceRangeKey,
  MaglevKey,
  MetricsValue,
  NodeConfig,
  NodeKey,
  NodeValue,
  PolicyEntry,
  PolicyKey,
  RemoteEndpointInfo,
} from '../../pkg/structs.js';
import { datapath, SMALL } from '../datapath.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 1);

/** A map as the host fills it: entry by entry, from 1 on. */
interface Container {
  readonly capacity: number;
  /** 0, or why there is no room. */
  readonly add: (dataplane: Datapath, i: number) => number;
  readonly remove: (dataplane: Datapath, i: number) => number;
  /** What one more than fits is answered: 0 from a map that makes room for itself. */
  readonly full: number;
  /** What a second removal is answered. */
  readonly gone: number;
  /** The entry that fits once the first is removed. */
  readonly next: number;
}

function keyed(map: MapId, capacity: number, key: (i: number) => Bytes, value: Bytes): Container {
  return {
    capacity,
    add: (dataplane, i) => dataplane.update(map, key(i), value),
    remove: (dataplane, i) => dataplane.delete(map, key(i)),
    full: MapError.E2BIG,
    gone: MapError.ENOENT,
    next: capacity + 1,
  };
}

/** Makes room by taking the entry that was not looked at for longest. */
const lru = (...of: Parameters<typeof keyed>): Container => ({ ...keyed(...of), full: 0 });

/** Has each index from the start, so that what is taken out leaves zeros, and only it fits in there again. */
function array(map: MapId, capacity: number, value: Bytes): Container {
  const index = (i: number): Bytes => String.fromCharCode((i - 1) & 255, (i - 1) >> 8, 0, 0);
  return { ...keyed(map, capacity, index, value), gone: 0, next: 1 };
}

/** Every map that the host fills; the compiler misses one that is not here. */
const CONTAINERS: Readonly<Record<Exclude<MapId, MapId.METRICS | MapId.EVENTS | MapId.COUNT>, Container>> = {
  [MapId.LB4_SERVICES]: keyed(
    MapId.LB4_SERVICES,
    SMALL.services,
    (i) => encode(Lb4Key, { address: i, dport: 80 }),
    encode(Lb4Service, { count: 1 }),
  ),
  [MapId.LB4_BACKENDS]: keyed(
    MapId.LB4_BACKENDS,
    SMALL.backends,
    (backendId) => encode(Lb4BackendKey, { backendId }),
    encode(Lb4Backend, { port: 80 }),
  ),
  [MapId.LB4_REVERSE_NAT]: keyed(
    MapId.LB4_REVERSE_NAT,
    SMALL.reverseNat,
    (revNatIndex) => encode(Lb4ReverseNatKey, { revNatIndex }),
    encode(Lb4ReverseNat, { port: 80 }),
  ),
  [MapId.LB4_MAGLEV]: {
    capacity: SMALL.maglev,
    add: (dataplane, i) =>
      dataplane.buildMaglev(i, [{ backendId: i, weight: 1, name: `[10.0.0.${i}:80/TCP,State:active]` }]),
    remove: (dataplane, revNatIndex) => dataplane.delete(MapId.LB4_MAGLEV, encode(MaglevKey, { revNatIndex })),
    full: MapError.E2BIG,
    gone: MapError.ENOENT,
    next: SMALL.maglev + 1,
  },
  [MapId.CT4]: lru(
    MapId.CT4,
    SMALL.conntrack,
    (daddr) => encode(Ipv4CtTuple, { daddr, sport: 1, dport: 2 }),
    encode(CtEntry, { packets: 1n }),
  ),
  [MapId.IPCACHE]: keyed(
    MapId.IPCACHE,
    SMALL.ipcache,
    (address) => encode(IpcacheKey, { prefixLength: 32, address }),
    encode(RemoteEndpointInfo, { secIdentity: 2 }),
  ),
  [MapId.POLICY]: keyed(
    MapId.POLICY,
    SMALL.policy,
    (secLabel) => encode(PolicyKey, { policyId: 1, secLabel }),
    encode(PolicyEntry, {}),
  ),
  [MapId.LXC]: keyed(
    MapId.LXC,
    SMALL.lxc,
    (address) => encode(EndpointKey, { address, node: 1 }),
    encode(EndpointInfo, { lxcId: 1 }),
  ),
  [MapId.ENDPOINT_CONFIG]: array(MapId.ENDPOINT_CONFIG, SMALL.endpointConfig, encode(EndpointConfig, { policyId: 1 })),
  [MapId.NODE_CONFIG]: array(MapId.NODE_CONFIG, SMALL.nodeConfig, encode(NodeConfig, { address: 1 })),
  [MapId.NODES]: keyed(
    MapId.NODES,
    SMALL.nodes,
    (address) => encode(NodeKey, { address }),
    encode(NodeValue, { node: 1 }),
  ),
  [MapId.SNAT]: lru(
    MapId.SNAT,
    SMALL.snat,
    (daddr) => encode(Ipv4CtTuple, { daddr, sport: 1, dport: 2 }),
    encode(Ipv4NatEntry, { port: 3 }),
  ),
  [MapId.SOURCE_RANGE]: keyed(
    MapId.SOURCE_RANGE,
    SMALL.sourceRange,
    (address) => encode(Lb4SourceRangeKey, { revNatIndex: 1, prefixLength: 32, address }),
    encode(Lb4SourceRange, { present: 1 }),
  ),
};

for (const [id, { capacity, add, remove, full, gone, next }] of Object.entries(CONTAINERS)) {
  const map = Number(id) as keyof typeof CONTAINERS;
  test(`${MAP_NAMES[map]}: at capacity, one beyond and at twice capacity, and again after a delete`, () => {
    const dataplane = datapath();
    for (let i = 1; i <= capacity; i++) assert.equal(add(dataplane, i), 0);
    assert.equal(dataplane.wasm.mapCount(map), capacity);
    assert.equal(dataplane.wasm.mapCapacity(map), capacity);
    for (let i = capacity + 1; i <= 2 * capacity; i++) assert.equal(add(dataplane, i), full);
    assert.equal(dataplane.wasm.mapCount(map), capacity);
    const [held, room] = full === 0 ? [2 * capacity, 2 * capacity + 1] : [1, next];
    assert.equal(add(dataplane, held), 0, 'an entry that is there can be updated');
    assert.equal(remove(dataplane, held), 0);
    assert.equal(remove(dataplane, held), gone);
    assert.equal(add(dataplane, room), 0);
    assert.equal(dataplane.wasm.mapCount(map), capacity);
  });
}

test('cilium_metrics is counted by packets alone', () => {
  const dataplane = datapath();
  assert.equal(dataplane.update(MapId.METRICS, '\0\0\0\0', encode(MetricsValue, { count: 1n })), MapError.EINVAL);
  assert.equal(dataplane.delete(MapId.METRICS, '\0\0\0\0'), MapError.EINVAL);
});

test('cilium_events: at capacity nothing is missed, beyond it is counted, and there is room again once it is read', () => {
  const packet = { frame: new Uint8Array(4), node: 1, program: Program.FROM_NETDEV, endpoint: 0 };
  const { events } = datapath().traced(packet);
  assert.ok(events.length > 1, 'the packet leaves more than one record');
  const fitting = datapath({ events: events.length }).traced(packet);
  assert.deepEqual([fitting.events, fitting.lost], [events, 0]);
  const small = datapath({ events: events.length - 1 });
  for (let again = 0; again < 3; again++) {
    const cut = small.traced(packet);
    assert.deepEqual([cut.events, cut.lost], [events.slice(0, -1), 1]);
  }
});

test('ct4 makes room for itself, and keeps what is looked up', () => {
  const dataplane = datapath({ conntrack: 64 });
  const key = (i: number): Bytes => encode(Ipv4CtTuple, { daddr: i, sport: 1, dport: 2 });
  for (let i = 1; i <= 64; i++) assert.equal(dataplane.update(MapId.CT4, key(i), encode(CtEntry, { backendId: i })), 0);
  for (let i = 65; i <= 96; i++) {
    assert.notEqual(dataplane.lookup(MapId.CT4, key(7), CtEntry.size), null);
    assert.equal(dataplane.update(MapId.CT4, key(i), encode(CtEntry, {})), 0);
  }
  assert.equal(dataplane.wasm.mapCount(MapId.CT4), 64);
  assert.equal(decode(CtEntry, dataplane.lookup(MapId.CT4, key(7), CtEntry.size)!).backendId, 7);
});

test('a hash map agrees with a Map over random updates, deletes and look-ups', () => {
  const step = fc.tuple(
    fc.constantFrom('update', 'delete', 'lookup'),
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: 0, max: 65535 }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const dataplane = datapath({ backends: 32 });
      const model = new Map<number, number>();
      for (const [what, id, port] of steps) {
        const key = encode(Lb4BackendKey, { backendId: id });
        if (what === 'update') {
          const full = !model.has(id) && model.size === 32;
          assert.equal(
            dataplane.update(MapId.LB4_BACKENDS, key, encode(Lb4Backend, { port })),
            full ? MapError.E2BIG : 0,
          );
          if (!full) model.set(id, port);
        } else if (what === 'delete')
          assert.equal(dataplane.delete(MapId.LB4_BACKENDS, key), model.delete(id) ? 0 : MapError.ENOENT);
        const value = dataplane.lookup(MapId.LB4_BACKENDS, key, Lb4Backend.size);
        assert.equal(value && decode(Lb4Backend, value).port, model.get(id) ?? null);
      }
      assert.deepEqual(
        dataplane
          .keys(MapId.LB4_BACKENDS, Lb4BackendKey.size)
          .map((key) => decode(Lb4BackendKey, key).backendId)
          .sort((a, b) => a - b),
        [...model.keys()].sort((a, b) => a - b),
      );
    }),
    { numRuns: 40, seed: SEED },
  );
});

test('the longest prefix wins, as in a linear search over random prefixes', () => {
  const prefix = fc.record({
    address: fc.integer({ min: 0, max: 0xffffffff }),
    length: fc.integer({ min: 0, max: 32 }),
  });
  fc.assert(
    fc.property(
      fc.array(prefix, { maxLength: 60 }),
      fc.array(fc.nat(), { minLength: 1, maxLength: 40 }),
      fc.array(fc.nat({ max: 59 }), { maxLength: 20 }),
      (prefixes, picks, removed) => {
        // The look-up is the datapath's own: an outside packet's identity is that of its source's longest prefix.
        const dataplane = datapath();
        const held = new Map<string, { address: number; length: number; identity: number }>();
        prefixes.forEach(({ address, length }, i) => {
          const masked = maskOf(length, address);
          held.set(`${masked}/${length}`, { address: masked, length, identity: 1000 + i });
          dataplane.update(
            MapId.IPCACHE,
            encode(IpcacheKey, { prefixLength: length, address: masked }),
            encode(RemoteEndpointInfo, { secIdentity: 1000 + i }),
          );
        });
        for (const index of removed) {
          const gone = prefixes[index];
          if (!gone) continue;
          const masked = maskOf(gone.length, gone.address);
          dataplane.delete(MapId.IPCACHE, encode(IpcacheKey, { prefixLength: gone.length, address: masked }));
          held.delete(`${masked}/${gone.length}`);
        }
        for (const pick of picks) {
          const near = prefixes[pick % Math.max(1, prefixes.length)]?.address ?? pick;
          const address = (near ^ (pick & 3)) >>> 0;
          const expected =
            [...held.values()]
              .filter((entry) => maskOf(entry.length, address) === entry.address)
              .sort((a, b) => b.length - a.length)[0]?.identity ?? 2;
          assert.equal(identityOf(dataplane, address), expected, formatAddress(address));
        }
      },
    ),
    { numRuns: 60, seed: SEED },
  );
});

/** The identity that `cil_from_netdev` finds for a source address. */
function identityOf(dataplane: ReturnType<typeof datapath>, source: number): number {
  const frame = new Uint8Array(34 + 20);
  const view = new DataView(frame.buffer);
  view.setUint16(12, 0x0800);
  view.setUint8(14, 0x45);
  view.setUint16(16, 40);
  view.setUint8(22, 64);
  view.setUint8(23, 6);
  view.setUint32(26, source);
  view.setUint32(30, 0x7f000001);
  view.setUint8(46, 0x50);
  return dataplane.process([{ frame, node: 1, program: 3, endpoint: 0 }])[0]!.sourceIdentity;
}
