/** What is brought from one list to the next is what the next one alone would give. */
import fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { indexed } from '../dataplane/indexed.js';
import { difference, groupedBy, joined, keptEach, keptGroups, keptJoined } from '../dataplane/kept.js';

const RUNS = Number(process.env['HOPSCOPE_RUNS'] ?? 40) * 20;
const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 1);

interface Thing {
  readonly name: string;
  readonly keys: readonly number[];
}

/** Things, some of which have keys in common. */
const THINGS: readonly Thing[] = [...'abcdefgh'].map((name, i) => ({ name, keys: [i, i >> 1, (i * 3) % 4] }));
const KEYS = [...new Set(joined(THINGS.map(({ keys }) => keys)))];

/** Lists that follow each other. */
const LISTS = fc.array(fc.uniqueArray(fc.constantFrom(...THINGS)), { minLength: 1, maxLength: 8 });

/** Holds for each list, with all that was asked of those before. */
function holdsFor(check: (list: readonly Thing[]) => void, lists = LISTS): void {
  fc.assert(
    fc.property(lists, (all) => all.forEach(check)),
    { numRuns: RUNS, seed: SEED },
  );
}

const found = (index: ReturnType<ReturnType<typeof indexed<number, Thing>>>): unknown =>
  KEYS.map((key) => [key, index.get(key)?.name, index.has(key), index.all(key).map(({ name }) => name)]);

test('an index has the things of its list by their keys, in their order', () => {
  const index = indexed(({ keys }: Thing) => keys);
  holdsFor((list) => assert.deepEqual(found(index(list)), found(indexed(({ keys }: Thing) => keys)(list))));
});

test('an index that was left behind still has the things of its own list', () => {
  fc.assert(
    fc.property(LISTS, (lists) => {
      const index = indexed(({ keys }: Thing) => keys);
      const told = lists.map((list) => {
        const one = index(list);
        return { one, was: found(one) };
      });
      for (const { one, was } of told) assert.deepEqual(found(one), was);
    }),
    { numRuns: RUNS, seed: SEED },
  );
});

test('a result for each thing is made once while the thing stays in the list', () => {
  let made: string[] = [];
  const each = keptEach(({ name }: Thing, suffix: string) => {
    made.push(name);
    return { text: name + suffix };
  });
  let before: readonly Thing[] = [];
  holdsFor((list) => {
    made = [];
    const results = each(list, '!');
    assert.deepEqual(
      results.map(({ text }) => text),
      list.map(({ name }) => `${name}!`),
    );
    assert.deepEqual(
      made,
      list.filter((thing) => !before.includes(thing)).map(({ name }) => name),
    );
    assert.equal(each([...list], '!'), results);
    before = list;
  });
  assert.deepEqual(each([THINGS[0]!], '?'), [{ text: 'a?' }]);
});

test('a group with the same in it is the very same list', () => {
  const keyOf = ({ keys }: Thing): number => keys[1]!;
  const groups = keptGroups(keyOf);
  let before: ReadonlyMap<number, readonly Thing[]> = new Map();
  holdsFor((list) => {
    const now = groups(list);
    assert.deepEqual([...now], [...groupedBy(list, keyOf)]);
    for (const [key, group] of now)
      if (JSON.stringify(group) === JSON.stringify(before.get(key))) assert.equal(group, before.get(key));
    before = now;
  });
});

test('lists are joined to the very same list while each has the same in it', () => {
  const all = keptJoined<Thing>();
  let before: { readonly lists: readonly (readonly Thing[])[]; readonly list: readonly Thing[] } | null = null;
  fc.assert(
    fc.property(LISTS, (lists) => {
      const list = all(lists);
      assert.deepEqual(list, joined(lists));
      assert.equal(all(lists.map((one) => [...one])), list);
      if (JSON.stringify(lists) === JSON.stringify(before?.lists)) assert.equal(list, before!.list);
      before = { lists, list };
    }),
    { numRuns: RUNS, seed: SEED },
  );
});

test('without what is gone and with what came, a list is the next', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.constantFrom(...THINGS)), fc.uniqueArray(fc.constantFrom(...THINGS)), (a, b) => {
      const { gone, come } = difference(a, b);
      const names = (list: readonly Thing[]): string[] => list.map(({ name }) => name).sort();
      assert.deepEqual(names([...a.filter((thing) => !gone.includes(thing)), ...come]), names(b));
    }),
    { numRuns: RUNS, seed: SEED },
  );
});
