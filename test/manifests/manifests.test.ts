import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Manifests } from '../../dataplane/manifests/manifests.js';
import { locate } from '../../dataplane/manifests/place.js';
import { report } from '../../dataplane/problems.js';
import { line, load, namesOf, pod } from './reading.js';

const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: front
  namespace: shop
spec:
  podSelector: {matchLabels: {app: front}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    - namespaceSelector: {matchExpressions: [{key: a, operator: In, values: ["b", 'c']}]}
    ports: [{port: 80, endPort: 90}, {port: web, protocol: UDP}]
`;

const file = (...documents: string[]): string => documents.join('---\n');

test('files stand in name order, and leave with all their objects', () => {
  const manifests = new Manifests();
  manifests.set('b.yaml', pod('b'));
  manifests.set('a.yaml', file(pod('a1'), pod('a2')));
  assert.deepEqual(namesOf(manifests), ['Pod default/a1', 'Pod default/a2', 'Pod default/b']);
  assert.deepEqual([manifests.files, manifests.generation], [['a.yaml', 'b.yaml'], 2]);
  manifests.set('a.yaml', null);
  assert.deepEqual([namesOf(manifests), manifests.text('a.yaml')], [['Pod default/b'], null]);
});

test('setting the same text, or removing nothing, is no change', () => {
  const manifests = load(pod('a'));
  const { objects, problems } = manifests;
  manifests.set('a.yaml', pod('a'));
  manifests.set('a.yaml', new TextEncoder().encode(pod('a')));
  manifests.set('other.yaml', null);
  assert.equal(manifests.generation, 1);
  assert.ok(manifests.objects === objects && manifests.problems === problems);
});

test('an edit reads only its own document; the others stay the same objects and only move', () => {
  const manifests = load(file(pod('a'), pod('b'), pod('c')));
  const [a, , c] = manifests.objects;
  manifests.set('a.yaml', file(`# comment\n${pod('a')}`, pod('new'), pod('b2'), pod('c')));
  assert.deepEqual(
    namesOf(manifests),
    ['a', 'new', 'b2', 'c'].map((name) => `Pod default/${name}`),
  );
  assert.notEqual(manifests.objects[0], a);
  assert.equal(manifests.objects[3], c);
  assert.equal(locate(c!.at).range.start.line, 17);
});

test('documents that change places keep their objects', () => {
  const manifests = load(file(pod('a'), pod('b'), pod('c')));
  const [a, b, c] = manifests.objects;
  manifests.set('a.yaml', file(pod('c'), pod('a'), pod('b')));
  assert.deepEqual(manifests.objects, [c, a, b]);
  assert.deepEqual(
    [c, a, b].map((object) => locate(object!.at).range.start.line),
    [1, 6, 11],
  );
});

test('a document that breaks keeps its last good state until it is read again', () => {
  const manifests = load(file(pod('a'), POLICY));
  const [, policy] = manifests.objects;
  for (const [broken, problems] of [
    [POLICY.replace('[Ingress, Egress]', '[Ingress'), ['HS1001 14:1 ingress']],
    [POLICY.replace('kind: NetworkPolicy', 'kind: Netw'), []],
    [POLICY.replace('kind: NetworkPolicy\n', ''), ['HS1009 6:1 apiVersion']],
    [POLICY.replace('apiVersion: networking.k8s.io/v1', 'apiVersion: netw'), ['HS1012 7:7 NetworkPolicy']],
    [POLICY.replace('name: front', 'name: '), ['HS1009 9:3 name']],
    [POLICY.replace('[Ingress, Egress]', 'Ing'), ['HS1008 13:16 Ing']],
    [POLICY.replace('name: front', 'name: {{ x }}'), ['HS1004 9:9 {{']],
  ] as const) {
    manifests.set('a.yaml', file(pod('a'), broken));
    assert.equal(manifests.objects[1], policy, broken);
    assert.deepEqual([...manifests.stale], [policy]);
    assert.deepEqual(manifests.unread, []);
    const first = broken.slice(0, broken.indexOf('\n')).slice(0, 24);
    const shown = manifests.problems.map(line);
    assert.equal(shown.at(-1), `HS1011 6:1 ${first}`);
    assert.deepEqual(
      shown.slice(0, -1).map((text) => text.slice(0, 10)),
      problems.map((text) => text.slice(0, 10)),
    );
  }
  manifests.set('a.yaml', file(pod('a'), POLICY));
  assert.deepEqual([manifests.stale.size, manifests.problems.length, manifests.objects.length], [0, 0, 2]);
});

test('removing a document, or all its text, removes its objects at once', () => {
  const manifests = load(file(pod('a'), POLICY));
  manifests.set('a.yaml', file(pod('a'), '# nothing\n'));
  assert.deepEqual([namesOf(manifests), manifests.problems], [['Pod default/a'], []]);
});

test('a document that never was good is unread, as far as it is legible', () => {
  const { objects, unread } = load(POLICY.replace('[Ingress, Egress]', '[Ingress'));
  assert.deepEqual(objects, []);
  assert.deepEqual(
    unread.map(({ kind, namespace, reason }) => [kind, namespace, reason]),
    [['NetworkPolicy', 'shop', 'syntax']],
  );
});

test('a document inserted in front of others takes no state from them', () => {
  const manifests = load(file(pod('a'), pod('b')));
  manifests.set('a.yaml', file('kind: [\n', pod('a'), pod('b')));
  assert.deepEqual(
    [namesOf(manifests), manifests.stale.size, manifests.unread.length],
    [['Pod default/a', 'Pod default/b'], 0, 1],
  );
});

test('a file that is refused as a whole keeps its last good state, and the objects come back the same', () => {
  const manifests = load(file(pod('a'), pod('b')));
  const before = manifests.objects;
  manifests.set('a.yaml', `${file(pod('a'), pod('b'))}\0`);
  assert.deepEqual([...manifests.stale], before);
  assert.deepEqual(
    manifests.problems.map(({ code }) => code),
    ['HS1005', 'HS1011'],
  );
  manifests.set('a.yaml', file(pod('a'), pod('b')));
  assert.deepEqual([manifests.stale.size, manifests.objects[0] === before[0], manifests.problems.length], [0, true, 0]);
});

test('of two declarations of an object the last counts', () => {
  const manifests = load(file(pod('a', '  labels: {v: "1"}\n'), pod('b'), pod('a')));
  assert.deepEqual(namesOf(manifests), ['Pod default/b', 'Pod default/a']);
  const [twice] = manifests.problems.map(report);
  assert.deepEqual([twice?.code, twice?.range.start.line, twice?.related[0]?.range.start.line], ['HS1013', 15, 4]);
});

test('every prefix of a document is read without an exception, fresh and while typing', () => {
  const typed = new Manifests();
  const text = file(POLICY, pod('a', 'spec: {containers: [{name: "c", ports: [{containerPort: 80}]}]}\n'));
  for (let end = 0; end <= text.length; end++) {
    const prefix = text.slice(0, end);
    load(prefix);
    typed.set('a.yaml', prefix);
    for (const found of typed.problems) report(found);
    assert.ok(typed.objects.length <= 2);
  }
  assert.deepEqual(namesOf(typed), ['NetworkPolicy shop/front', 'Pod default/a']);
});

test('manifests after any edits equal manifests freshly loaded, where nothing is stale', () => {
  const document = fc.constantFrom(
    pod('a'),
    pod('b'),
    pod('b', '  labels: {v: yes}\n'),
    POLICY,
    POLICY.replace('80', '"80"'),
    'kind: [\n',
    '# nothing\n',
    'values: 1\n',
    pod('{{ x }}'),
  );
  const content = fc.oneof(
    fc.array(document, { maxLength: 6 }).map((documents) => file(...documents)),
    fc.constantFrom(null, 'a\0'),
  );
  const edit = fc.tuple(fc.constantFrom('a.yaml', 'b.yaml'), content);
  const seen = (manifests: Manifests): unknown =>
    JSON.stringify([manifests.objects, manifests.problems.map(report), manifests.unread, manifests.files]);
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 8 }), (edits) => {
      const edited = new Manifests();
      const last = new Map<string, string>();
      for (const [name, text] of edits) {
        edited.set(name, text);
        if (text === null) last.delete(name);
        else last.set(name, text);
      }
      fc.pre(edited.stale.size === 0 && !edited.problems.some(({ code }) => code === 'HS1011'));
      const fresh = new Manifests();
      for (const [name, text] of last) fresh.set(name, text);
      assert.equal(seen(edited), seen(fresh));
    }),
    { numRuns: 300 },
  );
});

test('one edit among 500 documents takes milliseconds, 2,000 documents less than a second', () => {
  const documents = Array.from({ length: 2000 }, (_, index) => POLICY.replace('front', `front-${index}`));
  const start = performance.now();
  assert.equal(load(file(...documents)).objects.length, 2000);
  assert.ok(performance.now() - start < 3000);
  const manifests = load(file(...documents.slice(0, 500)));
  documents[250] = pod('a');
  const edited = file(...documents.slice(0, 500));
  const before = performance.now();
  manifests.set('a.yaml', edited);
  assert.equal(manifests.objects[250]?.kind, 'Pod');
  assert.ok(performance.now() - before < 100);
});
