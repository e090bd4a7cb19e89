/** What two lists of entries differ in, list by list. */
import fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MapId } from '../../assembly/abi.js';
import { eachEntry, entriesBetween, type Block, type MapEntry } from '../../dataplane/loader/entry.js';

const RUNS = Number(process.env['HOPSCOPE_RUNS'] ?? 40) * 20;
const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 1);

const entry = (key: string): MapEntry => ({ map: MapId.POLICY, key, value: key, origin: [] });

/** Of some places, what may be there: each entry is at one place alone. */
const PLACES: readonly (readonly (MapEntry | Block)[])[] = [...'abcde'].map((name) => {
  const [one, two, three] = [entry(`${name}1`), entry(`${name}2`), entry(`${name}3`)];
  return [one, [one, two], [one, [two]], [[two, three], one], [three], []];
});
const list: fc.Arbitrary<Block> = fc
  .shuffledSubarray([...PLACES.keys()])
  .chain((places) => fc.tuple(...places.map((place) => fc.constantFrom(...PLACES[place]!))));

function keysOf(block: Block): string[] {
  const keys: string[] = [];
  eachEntry(block, ({ key }) => keys.push(key));
  return keys.sort();
}

test('without what is gone, and with what came, the entries are those of the other list', () => {
  fc.assert(
    fc.property(list, list, (before, after) => {
      const { gone, come } = entriesBetween(before, after);
      const left = keysOf(before).filter((key) => !gone.some((one) => one.key === key));
      assert.deepEqual([...left, ...keysOf(come)].sort(), keysOf(after));
    }),
    { numRuns: RUNS, seed: SEED },
  );
});

test('what is the very same in both is neither gone nor come', () => {
  const same = [entry('s'), entry('t')];
  const [a, b] = [entry('a'), entry('b')];
  assert.deepEqual(entriesBetween([[same, [a]]], [[same, [b]]]), { gone: [a], come: [b] });
  assert.deepEqual(entriesBetween([[same, [a]]], [[[b], same]]), { gone: [a], come: [b] });
});
