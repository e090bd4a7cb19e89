/** The containers: full means an error, a delete makes room, and a model with Maps agrees on everything else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MapError, MapId } from '../../assembly/abi.js';
import { formatAddress, maskOf } from '../../dataplane/addresses.js';
import { decode, encode, type Bytes } from '../../dataplane/wasm.js';
import {
  CtEntry,
  EndpointInfo,
  EndpointKey4,
  IpcacheKey4,
  CtTuple4,
  LbBackend4,
  LbBackendKey,
  LbKey4,
  LbReverseNat4,
  LbReverseNatKey,
  LbService,
  NodeKey4,
  NodeValue,
  PolicyEntry,
  PolicyKey,
  RemoteEndpointInfo,
} from '../../pkg/structs.js';
import { datapath, SMALL } from '../datapath.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 1);

interface Filled {
  readonly name: string;
  readonly map: MapId;
  readonly capacity: number;
  readonly key: (i: number) => Bytes;
  readonly value: Bytes;
}

const FILLED: readonly Filled[] = [
  {
    name: 'lb4_services',
    map: MapId.LB4_SERVICES,
    capacity: SMALL.services4,
    key: (i) => encode(LbKey4, { address: i, dport: 80 }),
    value: encode(LbService, { count: 1 }),
  },
  {
    name: 'lb4_backends',
    map: MapId.LB4_BACKENDS,
    capacity: SMALL.backends4,
    key: (backendId) => encode(LbBackendKey, { backendId }),
    value: encode(LbBackend4, { port: 80 }),
  },
  {
    name: 'lb4_reverse_nat',
    map: MapId.LB4_REVERSE_NAT,
    capacity: SMALL.reverseNat4,
    key: (revNatIndex) => encode(LbReverseNatKey, { revNatIndex }),
    value: encode(LbReverseNat4, { port: 80 }),
  },
  {
    name: 'ipcache',
    map: MapId.IPCACHE4,
    capacity: SMALL.ipcache4,
    key: (address) => encode(IpcacheKey4, { prefixLength: 32, address }),
    value: encode(RemoteEndpointInfo, { secIdentity: 2 }),
  },
  {
    name: 'policy',
    map: MapId.POLICY,
    capacity: SMALL.policy,
    key: (secLabel) => encode(PolicyKey, { policyId: 1, secLabel }),
    value: encode(PolicyEntry, {}),
  },
  {
    name: 'lxc',
    map: MapId.LXC4,
    capacity: SMALL.lxc4,
    key: (address) => encode(EndpointKey4, { address, node: 1 }),
    value: encode(EndpointInfo, { lxcId: 1 }),
  },
  {
    name: 'nodes',
    map: MapId.NODES4,
    capacity: SMALL.nodes4,
    key: (address) => encode(NodeKey4, { address }),
    value: encode(NodeValue, { node: 1 }),
  },
];

for (const { name, map, capacity, key, value } of FILLED) {
  test(`${name}: refuses at capacity + 1 and at twice capacity, and works again after a delete`, () => {
    const dataplane = datapath();
    for (let i = 1; i <= capacity; i++) assert.equal(dataplane.update(map, key(i), value), 0);
    assert.equal(dataplane.wasm.mapCount(map), dataplane.wasm.mapCapacity(map));
    for (let i = capacity + 1; i <= 2 * capacity; i++)
      assert.equal(dataplane.update(map, key(i), value), MapError.E2BIG);
    assert.equal(dataplane.update(map, key(1), value), 0, 'an entry that is there can be updated');
    assert.equal(dataplane.delete(map, key(1)), 0);
    assert.equal(dataplane.delete(map, key(1)), MapError.ENOENT);
    assert.equal(dataplane.update(map, key(capacity + 1), value), 0);
    assert.equal(dataplane.wasm.mapCount(map), capacity);
  });
}

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
