import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matchesName } from '../../dataplane/policy/fqdn.js';
import { load } from '../manifests/reading.js';

const { at } = load('apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n').objects[0]!;

test('names and patterns match as the documentation of toFQDNs says', () => {
  const table: readonly (readonly [pattern: string, matching: string[], others: string[]])[] = [
    ['*', ['a', 'a.b', 'sub.cilium.io.'], []],
    [
      '*.cilium.io',
      ['sub.cilium.io', 'SUB.Cilium.io.', '.cilium.io'.slice(1) && 'x-1.cilium.io'],
      ['cilium.io', 'a.b.cilium.io'],
    ],
    ['**.cilium.io', ['sub.cilium.io', 'a.b.cilium.io'], ['cilium.io']],
    ['sub*.cilium.io', ['sub.cilium.io', 'subdomain.cilium.io'], ['www.cilium.io', 'sub.a.cilium.io']],
    ['cilium.io', ['cilium.io'], ['ciliumxio', 'sub.cilium.io']],
  ];
  for (const [matchPattern, matching, others] of table) {
    const selector = { at, matchName: null, matchPattern };
    for (const name of matching) assert.ok(matchesName(selector, name), `${matchPattern} on ${name}`);
    for (const name of others) assert.ok(!matchesName(selector, name), `${matchPattern} not on ${name}`);
  }
  const exact = { at, matchName: 'One.one.', matchPattern: null };
  assert.ok(matchesName(exact, 'one.ONE'));
  assert.ok(!matchesName(exact, 'a.one.one'));
});
