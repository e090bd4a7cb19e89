/** A small share of the long runs that `npm run soak` makes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAMILIES } from '../../dataplane/addresses.js';
import { churn, faults as churnFaults } from './churn.js';
import { faults as floodFaults, flood } from './flood.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 1);

for (const family of FAMILIES) {
  test(`a flood of 200,000 new flows of ${family} evicts none of 5,000 established ones (HOPSCOPE_SEED=${SEED})`, () => {
    const report = flood({ seed: SEED, family, flows: 5000, fresh: 200_000 });
    assert.deepEqual(floodFaults(report), []);
    assert.equal(report.kept, 50_000);
    const [connections, mappings] = report.ledgers;
    assert.ok(
      connections!.evicted > 0 && connections!.expired > 0,
      'the flood evicted its own, and some of it expired',
    );
    assert.ok(mappings!.created > 100_000, 'much of it went to the other node in the name of this one');
  });

  test(`200 changes of backends under 5,000 flows of ${family} move none (HOPSCOPE_SEED=${SEED})`, () => {
    const report = churn({ seed: SEED, family, flows: 5000, changes: 200 });
    assert.deepEqual(churnFaults(report), []);
    assert.ok(
      Object.values(report.changes).every((count) => count > 0),
      'backends came, drained, returned and went',
    );
    assert.ok(report.taken > 0, 'some lost their backend, and found another');
  });
}
