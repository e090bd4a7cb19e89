/** What selectors match in lists of identities that follow each other is what they match in each alone. */
import fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PodIdentity } from '../../dataplane/policy/identities.js';
import { Selected } from '../../dataplane/policy/selected.js';
import { DERIVED, requirement, type EndpointSelector } from '../../dataplane/policy/selectors.js';

const RUNS = Number(process.env['HOPSCOPE_RUNS'] ?? 40) * 20;
const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 1);

/** Pods of three namespaces, with one of two labels each; their numbers are in no order. */
const IDENTITIES = ['x', 'y', 'z'].flatMap((namespace, i) =>
  ['a', 'b'].flatMap((app, j) =>
    ['1', '2'].map((tier, k): PodIdentity => {
      const labels = new Map([...Object.entries({ app, tier }), [DERIVED.namespace, namespace] as const]);
      const example = { namespace } as PodIdentity['example'];
      const number = 256 + (((i * 4 + j * 2 + k) * 7) % 12);
      return {
        number,
        key: `${namespace} ${app} ${tier}`,
        pods: [],
        namespace: undefined,
        example,
        source: 'k8s',
        labels,
      };
    }),
  ),
);
const selector = (labels: Readonly<Record<string, string>>): EndpointSelector => ({
  requirements: Object.entries(labels).map(([key, value]) => requirement(key, 'In', value)),
  written: null,
});
const SELECTORS = [
  selector({}),
  selector({ app: 'a' }),
  selector({ tier: '2' }),
  ...['x', 'y'].flatMap((namespace) => [
    selector({ [DERIVED.namespace]: namespace }),
    selector({ [DERIVED.namespace]: namespace, app: 'b' }),
  ]),
];

/** A list, and which selectors are asked about it. */
const step = fc.record({
  pods: fc.subarray(IDENTITIES),
  asked: fc.subarray(SELECTORS),
});

const keysOf = (found: readonly PodIdentity[]): string[] => found.map(({ key }) => key);

test('selectors match in a list what they match in it alone', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => {
      let last: Selected | null = null;
      for (const { pods, asked } of steps) {
        last = new Selected(pods, last);
        for (const one of asked) {
          const now = last.of(one);
          assert.deepEqual(keysOf(now), keysOf(new Selected(pods).of(one)));
          assert.deepEqual(
            last.numbersOf(one),
            now.map(({ number }) => number),
          );
        }
      }
    }),
    { numRuns: RUNS, seed: SEED },
  );
});

test('what a list still holds is so in it', () => {
  fc.assert(
    fc.property(fc.array(fc.subarray(IDENTITIES), { minLength: 2, maxLength: 8 }), (lists) => {
      const all: Selected[] = [];
      for (const pods of lists) all.push(new Selected(pods, all.at(-1) ?? null));
      const last = all.at(-1)!;
      all.forEach(({ generation }, i) => {
        for (const namespace of ['x', 'y', 'z']) {
          const inNamespace = (pods: readonly PodIdentity[]): string[] =>
            keysOf(pods.filter(({ example }) => example.namespace === namespace));
          if (last.holds(generation, namespace)) assert.deepEqual(inNamespace(lists[i]!), inNamespace(lists.at(-1)!));
        }
        if (last.holds(generation, null)) assert.deepEqual(keysOf(lists[i]!), keysOf(lists.at(-1)!));
      });
    }),
    { numRuns: RUNS, seed: SEED },
  );
});
