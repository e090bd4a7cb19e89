/** The containers: full means an error, a delete makes room, and a model with Maps agrees on everything else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MapError, MapId, Program } from '../../assembly/abi.js';
import { formatAddress, maskOf, type Address } from '../../dataplane/addresses.js';
import { ofBoth, type FamilyMaps } from '../../dataplane/loader/families.js';
import { MAP_NAMES } from '../../dataplane/reasons.js';
import { decode, encode, type Bytes, type Datapath } from '../../dataplane/wasm.js';
import {
  AuthInfo,
  AuthKey,
  CtEntry,
  EdtId,
  EdtInfo,
  CtTuple4,
  EndpointConfig,
  EndpointInfo,
  IpMasq,
  FragmentPorts,
  IpcacheKey4,
  LbAffinityMatch,
  LbAffinityMatched,
  LbAffinityValue,
  LbBackend4,
  LbBackendKey,
  LbReverseNatKey,
  LbService,
  LbSourceRange,
  MaglevKey,
  MetricsValue,
  NodeConfig,
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

/** The maps of one family, numbered as IPv4's. `at` makes addresses. */
const ofFamily = (name: '4' | '6', maps: FamilyMaps, at: (i: number) => Address) => ({
  [MapId.LB4_SERVICES]: keyed(
    maps.map(MapId.LB4_SERVICES),
    SMALL[`services${name}`],
    (i) => encode(maps.LbKey, { address: at(i), dport: 80 }),
    encode(LbService, { count: 1 }),
  ),
  [MapId.LB4_BACKENDS]: keyed(
    maps.map(MapId.LB4_BACKENDS),
    SMALL[`backends${name}`],
    (backendId) => encode(LbBackendKey, { backendId }),
    encode(maps.LbBackend, { port: 80 }),
  ),
  [MapId.LB4_REVERSE_NAT]: keyed(
    maps.map(MapId.LB4_REVERSE_NAT),
    SMALL[`reverseNat${name}`],
    (revNatIndex) => encode(LbReverseNatKey, { revNatIndex }),
    encode(maps.LbReverseNat, { port: 80 }),
  ),
  [MapId.LB4_MAGLEV]: {
    capacity: SMALL[`maglev${name}`],
    add: (dataplane: Datapath, i: number) =>
      dataplane.buildMaglev(
        i,
        [{ backendId: i, weight: 1, name: `[10.0.0.${i}:80/TCP,State:active]` }],
        maps.map(MapId.LB4_MAGLEV),
      ),
    remove: (dataplane: Datapath, revNatIndex: number) =>
      dataplane.delete(maps.map(MapId.LB4_MAGLEV), encode(MaglevKey, { revNatIndex })),
    full: MapError.E2BIG,
    gone: MapError.ENOENT,
    next: SMALL[`maglev${name}`] + 1,
  },
  [MapId.LB4_AFFINITY]: lru(
    maps.map(MapId.LB4_AFFINITY),
    SMALL[`affinity${name}`],
    (i) => encode(maps.LbAffinityKey, { address: at(i), revNatIndex: 1 }),
    encode(LbAffinityValue, { backendId: 1 }),
  ),
  [MapId.LB4_SOURCE_RANGE]: keyed(
    maps.map(MapId.LB4_SOURCE_RANGE),
    SMALL[`sourceRange${name}`],
    (i) => encode(maps.LbSourceRangeKey, { revNatIndex: 1, prefixLength: 32, address: at(i) }),
    encode(LbSourceRange, { present: 1 }),
  ),
  [MapId.CT4]: lru(
    maps.map(MapId.CT4),
    SMALL[`conntrack${name}`],
    (i) => encode(maps.CtTuple, { daddr: at(i), sport: 1, dport: 2 }),
    encode(CtEntry, { packets: 1n }),
  ),
  [MapId.SNAT4]: lru(
    maps.map(MapId.SNAT4),
    SMALL[`snat${name}`],
    (i) => encode(maps.CtTuple, { daddr: at(i), sport: 1, dport: 2 }),
    encode(maps.NatEntry, { port: 3 }),
  ),
  [MapId.FRAGMENTS4]: lru(
    maps.map(MapId.FRAGMENTS4),
    SMALL[`fragments${name}`],
    (i) => encode(maps.FragmentKey, { daddr: at(i), id: 1 }),
    encode(FragmentPorts, { sport: 1 }),
  ),
  [MapId.IPCACHE4]: keyed(
    maps.map(MapId.IPCACHE4),
    SMALL[`ipcache${name}`],
    (i) => encode(maps.IpcacheKey, { prefixLength: 32, address: at(i) }),
    encode(RemoteEndpointInfo, { secIdentity: 2 }),
  ),
  [MapId.LB4_REVERSE_SK]: lru(
    maps.map(MapId.LB4_REVERSE_SK),
    SMALL[`reverseSk${name}`],
    (i) => encode(maps.ReverseSkKey, { address: at(i), cookie: 1n, port: 2 }),
    encode(maps.ReverseSkEntry, { port: 3 }),
  ),
  [MapId.LXC4]: keyed(
    maps.map(MapId.LXC4),
    SMALL[`lxc${name}`],
    (i) => encode(maps.EndpointKey, { address: at(i), node: 1 }),
    encode(EndpointInfo, { lxcId: 1 }),
  ),
  [MapId.NODES4]: keyed(
    maps.map(MapId.NODES4),
    SMALL[`nodes${name}`],
    (i) => encode(maps.NodeKey, { address: at(i) }),
    encode(NodeValue, { node: 1 }),
  ),
  [MapId.IPMASQ4]: keyed(
    maps.map(MapId.IPMASQ4),
    SMALL[`ipmasq${name}`],
    (i) => encode(maps.IpMasqKey, { address: at(i), prefixLength: 32 }),
    encode(IpMasq, { present: 1 }),
  ),
});

/** What no test of this kind fits: counters, records, and the one configuration. */
type Other = MapId.METRICS | MapId.EVENTS | MapId.RUNTIME_CONFIG | MapId.COUNT;

/** Every map that the host fills; the compiler misses one that is not here. */
const CONTAINERS: Readonly<Record<Exclude<MapId, Other>, Container>> = {
  ...ofBoth<Container>((maps, family) =>
    family === 'IPv4' ? ofFamily('4', maps, (i) => i) : ofFamily('6', maps, (i) => BigInt(i) << 96n),
  ),
  [MapId.AFFINITY_MATCH]: keyed(
    MapId.AFFINITY_MATCH,
    SMALL.affinityMatch,
    (backendId) => encode(LbAffinityMatch, { backendId, revNatIndex: 1 }),
    encode(LbAffinityMatched, { present: 1 }),
  ),
  [MapId.POLICY]: keyed(
    MapId.POLICY,
    SMALL.policy,
    (secLabel) => encode(PolicyKey, { policyId: 1, secLabel }),
    encode(PolicyEntry, {}),
  ),
  [MapId.AUTH]: keyed(
    MapId.AUTH,
    SMALL.auth,
    (remoteSecLabel) => encode(AuthKey, { remoteSecLabel, authType: 1 }),
    encode(AuthInfo, { expiration: 1n }),
  ),
  [MapId.THROTTLE]: keyed(
    MapId.THROTTLE,
    SMALL.throttle,
    (id) => encode(EdtId, { id: BigInt(id) }),
    encode(EdtInfo, { bps: 1n }),
  ),
  [MapId.ENDPOINT_CONFIG]: array(MapId.ENDPOINT_CONFIG, SMALL.endpointConfig, encode(EndpointConfig, { policyId: 1 })),
  [MapId.NODE_CONFIG]: array(MapId.NODE_CONFIG, SMALL.nodeConfig, encode(NodeConfig, { ipv4: 1 })),
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

test('ct4 makes room for itself', () => {
  const dataplane = datapath({ conntrack4: 64 });
  const key = (i: number): Bytes => encode(CtTuple4, { daddr: i, sport: 1, dport: 2 });
  for (let i = 1; i <= 64; i++) assert.equal(dataplane.update(MapId.CT4, key(i), encode(CtEntry, { backendId: i })), 0);
  for (let i = 65; i <= 96; i++) assert.equal(dataplane.update(MapId.CT4, key(i), encode(CtEntry, {})), 0);
  assert.equal(dataplane.wasm.mapCount(MapId.CT4), 64);
  assert.equal(decode(CtEntry, dataplane.lookup(MapId.CT4, key(96), CtEntry.size)!).backendId, 0);
});

test('a hash map agrees with a Map over random updates, deletes and look-ups', () => {
  const step = fc.tuple(
    fc.constantFrom('update', 'delete', 'lookup'),
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: 0, max: 65535 }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const dataplane = datapath({ backends4: 32 });
      const model = new Map<number, number>();
      for (const [what, id, port] of steps) {
        const key = encode(LbBackendKey, { backendId: id });
        if (what === 'update') {
          const full = !model.has(id) && model.size === 32;
          assert.equal(
            dataplane.update(MapId.LB4_BACKENDS, key, encode(LbBackend4, { port })),
            full ? MapError.E2BIG : 0,
          );
          if (!full) model.set(id, port);
        } else if (what === 'delete')
          assert.equal(dataplane.delete(MapId.LB4_BACKENDS, key), model.delete(id) ? 0 : MapError.ENOENT);
        const value = dataplane.lookup(MapId.LB4_BACKENDS, key, LbBackend4.size);
        assert.equal(value && decode(LbBackend4, value).port, model.get(id) ?? null);
      }
      assert.deepEqual(
        dataplane
          .keys(MapId.LB4_BACKENDS, LbBackendKey.size)
          .map((key) => decode(LbBackendKey, key).backendId)
          .sort((a, b) => a - b),
        [...model.keys()].sort((a, b) => a - b),
      );
    }),
    { numRuns: 40, seed: SEED },
  );
});

test('ct4 holds and finds all connections of one port, more than its group has room for', () => {
  // One client's port to many peers, and other clients among them: a few each, which nobody crowds out.
  const step = fc.tuple(fc.constantFrom('update', 'update', 'delete'), fc.integer({ min: 1, max: 90 }));
  const crowd = (peer: number): Bytes => encode(CtTuple4, { saddr: 7, daddr: peer, sport: 40000, dport: 80 });
  const other = (client: number): Bytes => encode(CtTuple4, { saddr: 100 + client, daddr: 7, sport: 50000, dport: 80 });
  fc.assert(
    fc.property(fc.array(step, { minLength: 60, maxLength: 300 }), (steps) => {
      const dataplane = datapath({ conntrack4: 128 });
      const model = new Map<Bytes, number>();
      for (const [i, [what, peer]] of steps.entries()) {
        const key = peer > 70 ? other(peer) : crowd(peer);
        if (what === 'update') {
          assert.equal(dataplane.update(MapId.CT4, key, encode(CtEntry, { backendId: i })), 0);
          model.set(key, i);
        } else assert.equal(dataplane.delete(MapId.CT4, key), model.delete(key) ? 0 : MapError.ENOENT);
      }
      for (const peer of Array.from({ length: 90 }, (_, at) => at + 1))
        for (const key of [crowd(peer), other(peer)]) {
          const found = dataplane.lookup(MapId.CT4, key, CtEntry.size);
          assert.equal(found && decode(CtEntry, found).backendId, model.get(key) ?? null);
        }
      assert.deepEqual(dataplane.keys(MapId.CT4, CtTuple4.size), [...model.keys()].sort());
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
            MapId.IPCACHE4,
            encode(IpcacheKey4, { prefixLength: length, address: masked }),
            encode(RemoteEndpointInfo, { secIdentity: 1000 + i }),
          );
        });
        for (const index of removed) {
          const gone = prefixes[index];
          if (!gone) continue;
          const masked = maskOf(gone.length, gone.address);
          dataplane.delete(MapId.IPCACHE4, encode(IpcacheKey4, { prefixLength: gone.length, address: masked }));
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

test('a group in which more entries found no room than it counts still finds them all', () => {
  const entries = 70_000;
  const dataplane = datapath({ conntrack4: entries }, 'fast');
  // Whatever a client asks from one port is in one group.
  const keys = Array.from({ length: entries }, (_, i) =>
    encode(CtTuple4, { saddr: 0x0a010005, daddr: 0x0a020000 + i, sport: 40_255, dport: 80, nexthdr: 6 }),
  );
  for (const key of keys) assert.equal(dataplane.update(MapId.CT4, key, encode(CtEntry, {})), 0);
  for (const key of keys.splice(0, 5_000)) assert.equal(dataplane.delete(MapId.CT4, key), 0);
  assert.ok(keys.every((key) => dataplane.lookup(MapId.CT4, key, CtEntry.size) !== null));
});
