/** Quantities, and the one annotation that holds such. Kubernetes `k8s.io/apimachinery/pkg/api/resource`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Manifests } from '../../dataplane/manifests/manifests.js';
import { parseQuantity } from '../../dataplane/manifests/quantity.js';

test('quantities', () => {
  const table: Readonly<Record<string, number | null>> = {
    '10M': 10e6,
    '1.5Gi': 1.5 * 2 ** 30,
    '1e3': 1000,
    '2E': 2e18,
    '.5k': 500,
    '100m': 0.1,
    '+7': 7,
    '12': 12,
    '': null,
    M: null,
    '10 M': null,
    '1e': null,
    '10MB': null,
    NaN: null,
    '0x10': null,
  };
  for (const [text, value] of Object.entries(table)) assert.equal(parseQuantity(text), value, text);
});

test('kubernetes.io/egress-bandwidth is bits a second, from 1k to 1P; what is not is reported where it stands', () => {
  const table: readonly (readonly [text: string, bits: number | null, problem: string | null])[] = [
    ['10M', 10e6, null],
    ['1k', 1000, null],
    ['999', null, 'HS1010 "999" is not a quantity of bits a second from 1k to 1P.'],
    ['fast', null, 'HS1010 "fast" is not a quantity of bits a second from 1k to 1P.'],
  ];
  for (const [text, bits, problem] of table) {
    const manifests = new Manifests();
    manifests.set(
      'm.yaml',
      `apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations: {kubernetes.io/egress-bandwidth: "${text}"}\nspec: {containers: [{name: c}]}\n`,
    );
    const [pod] = manifests.objects;
    const found = pod?.kind === 'Pod' ? (pod.spec.egressBandwidth?.value ?? null) : null;
    assert.equal(found, bits, text);
    assert.deepEqual(
      manifests.problems.map(({ code, message }) => `${code} ${message}`),
      problem === null ? [] : [problem],
    );
  }
});
