import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import { datapath } from '../datapath.js';

interface Backend {
  id: number;
  address: string;
  weight?: number;
}

/** The table that the datapath builds, as backend ids, one a slot. */
function tableOf(maglevTableSize: number, backends: Backend[]): Uint32Array {
  const dataplane = datapath({ maglevTableSize });
  const named = backends
    .map(({ id, address, weight = 1 }) => ({ backendId: id, weight, name: `[${address}/TCP,State:active]` }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  assert.equal(dataplane.buildMaglev(7, named), 0);
  return dataplane.maglevTable(7)!;
}

const countsOf = (table: Uint32Array): Record<number, number> => {
  const counts: Record<number, number> = {};
  for (const id of table) counts[id] = (counts[id] ?? 0) + 1;
  return counts;
};

const sha256 = (table: Uint32Array): string => createHash('sha256').update(Buffer.from(table.buffer)).digest('hex');

const ECHO: Backend[] = [
  { id: 1, address: '10.4.0.14:5678' },
  { id: 2, address: '10.5.0.25:5678' },
  { id: 3, address: '10.6.0.18:5678' },
];

const ECHO_TABLES: [number, string, Record<number, number>][] = [
  [251, '33c4a51a8ff88bef7746172ef51f310e7a9fabab4071f2ad314030a7de564f6c', { 1: 84, 2: 84, 3: 83 }],
  [509, '26d8877b13ea9c15645bb740e419b9bff9733de0e973babd38d88fee088f6b9a', { 1: 170, 2: 170, 3: 169 }],
  [1021, '8b2bf6b8cb236d10b356e5969fbf8f3c3942598d15f569cff48ff52720e377a8', { 1: 341, 2: 340, 3: 340 }],
  [16381, '966c3958c2a475d4756e52ff47f7789b526739a4fe1127a4904301bc3f4a29cf', { 1: 5461, 2: 5460, 3: 5460 }],
];

for (const [size, digest, counts] of ECHO_TABLES) {
  test(`echo's three backends in ${size} slots are Cilium's table`, () => {
    const table = tableOf(size, ECHO);
    assert.equal(sha256(table), digest);
    assert.deepEqual(countsOf(table), counts);
  });
}

test("the first slots of echo's table of 16381", () => {
  assert.deepEqual([...tableOf(16381, ECHO).subarray(0, 16)], [3, 2, 3, 3, 2, 2, 1, 3, 3, 2, 3, 3, 2, 2, 2, 3]);
});

const WEIGHTED: Backend[] = [
  { id: 0, address: '0.0.0.1:1', weight: 2 },
  { id: 1, address: '0.0.0.3:3', weight: 13 },
  { id: 2, address: '0.0.0.4:4', weight: 111 },
  { id: 3, address: '0.0.0.5:5', weight: 10 },
];

test("weights give Cilium's published table of 251", () => {
  const runs = [];
  const table = tableOf(251, WEIGHTED);
  for (let i = 0, start = 0; i < table.length; i++) {
    if (table[i + 1] !== table[i]) {
      runs.push(`${table[i]}(${i + 1 - start})`);
      start = i + 1;
    }
  }
  assert.equal(
    runs.join(','),
    '2(5),3(1),2(3),1(1),2(2),0(1),2(1),3(1),2(1),3(1),2(1),1(1),2(7),1(1),2(14),3(1),2(1),' +
      '1(2),2(12),3(1),2(3),1(1),2(4),3(1),2(8),3(1),2(2),1(1),2(16),1(2),2(3),3(1),2(11),1(2),2(4),3(1),2(3),' +
      '1(1),2(4),3(1),2(1),0(1),1(1),2(8),1(1),2(7),1(1),2(4),3(1),2(1),3(1),2(9),1(2),2(5),1(1),2(7),3(1),2(1),' +
      '3(1),1(1),2(8),1(1),2(4),0(1),2(1),1(1),2(5),3(1),2(3),1(1),2(4),3(1),2(3),1(1),2(12),0(1),3(1),2(3),3(1),' +
      '2(4),3(1),2(2),1(1),2(7)',
  );
});

test("weights 2, 13, 111 and 10 in 1021 slots take Cilium's counts", () => {
  const backends = WEIGHTED.map(({ weight = 1 }, i) => ({ id: i + 1, address: `0.0.0.${i + 1}:${i + 1}`, weight }));
  assert.deepEqual(countsOf(tableOf(1021, backends)), { 1: 16, 2: 98, 3: 832, 4: 75 });
});

const movedWithout = (size: number, removed: number): number => {
  const before = tableOf(size, ECHO);
  const after = tableOf(
    size,
    ECHO.filter((backend) => backend.id !== removed),
  );
  return before.reduce((moved, id, slot) => moved + (id !== removed && after[slot] !== id ? 1 : 0), 0);
};

test('slots of the survivors that move when one backend leaves', () => {
  assert.deepEqual(
    [1, 2, 3].map((id) => movedWithout(251, id)),
    [0, 10, 11],
  );
  assert.deepEqual(
    [1, 2, 3].map((id) => movedWithout(16381, id)),
    [5, 4, 2],
  );
});

const HUNDRED: Backend[] = Array.from({ length: 100 }, (_, i) => ({
  id: i + 1,
  address: `10.244.${1 + (i >> 6)}.${1 + (i & 63)}:8080`,
}));

test('a hundred backends share 16381 slots evenly', () => {
  const counts = Object.values(countsOf(tableOf(16381, HUNDRED)));
  assert.deepEqual([Math.min(...counts), Math.max(...counts)], [163, 164]);
});

test('a removal among a hundred backends moves less than 2 % of the others', () => {
  const before = tableOf(16381, HUNDRED);
  const after = tableOf(16381, HUNDRED.slice(1));
  const moved = before.reduce((count, id, slot) => count + (id !== 1 && after[slot] !== id ? 1 : 0), 0);
  assert.ok(moved / 16381 < 0.02, `${moved} slots moved`);
});
