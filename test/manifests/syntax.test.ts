import assert from 'node:assert/strict';
import { test } from 'node:test';
import { locate } from '../../dataplane/manifests/place.js';
import { resolvePlain } from '../../dataplane/manifests/scalars.js';
import { load, namesOf, pod, problemsOf, shown } from './reading.js';

test('scalars are what Kubernetes takes them for', () => {
  const table: [string, string | number | boolean | null][] = [
    ...(['y', 'Y', 'yes', 'Yes', 'YES', 'on', 'true', 'TRUE'] as const).map((word): [string, boolean] => [word, true]),
    ...(['n', 'NO', 'off', 'False'] as const).map((word): [string, boolean] => [word, false]),
    ['yEs', 'yEs'],
    ['', null],
    ['~', null],
    ['Null', null],
    ['0777', 511],
    ['0o17', 15],
    ['0x1F', 31],
    ['-0b11', -3],
    ['08', 8],
    ['1_000', 1000],
    ['1e3', 1000],
    ['.5', 0.5],
    ['12:30:45', '12:30:45'],
    ['2001-01-01', '2001-01-01'],
    ['1.2.3', '1.2.3'],
    ['_1', '_1'],
    ['9'.repeat(400), '9'.repeat(400)],
  ];
  for (const [text, value] of table) assert.equal(resolvePlain(text), value, text);
});

test('depth is refused before the parser that would abort the process', () => {
  for (const [text, expected] of [
    [`a: ${'['.repeat(817)}1.5e3${']'.repeat(817)}`, 'HS1002 1:259 ['],
    [`a: ${'['.repeat(200_000)}`, 'HS1002 1:259 ['],
    ['- '.repeat(50_000), 'HS1002 1:513 -'],
    [Array.from({ length: 3000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n'), 'HS1002 257:258 :'],
    [`# ${'['.repeat(900)}\na: "${'{'.repeat(900)}"\nb: |\n  ${'['.repeat(900)}`, undefined],
    [`a: ${'['.repeat(255)}x${']'.repeat(255)}`, undefined],
  ] as const) {
    assert.equal(problemsOf(text)[0], expected, text.slice(0, 20));
  }
});

test('aliases: honest use is read, expansion and cycles are not', () => {
  const honest = `x: &v z\nlist: [${Array(150).fill('*v').join(', ')}]\n`;
  assert.deepEqual(problemsOf(pod('a') + honest), ['HS1016 5:1 x', 'HS1016 6:1 list']);
  const laughs = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
  for (let i = 1; i < 10; i++)
    laughs.push(
      `a${i}: &a${i} [${Array(10)
        .fill(`*a${i - 1}`)
        .join(', ')}]`,
    );
  assert.deepEqual(problemsOf(laughs.join('\n')), ['HS1003 5:45 *a3']);
  assert.deepEqual(problemsOf('a: &a [*a]'), ['HS1003 1:8 *a']);
  assert.deepEqual(problemsOf('a: *nowhere'), ['HS1003 1:4 *nowhere']);
});

test('merge keys are honoured, within the budget', () => {
  const merged = load(pod('a', '  labels:\n    <<: [{app: one, tier: x}, {app: two}]\n    tier: y\n')).objects[0]!
    .metadata;
  assert.deepEqual(
    [...merged.labels].map(([key, { value }]) => [key, value]),
    [
      ['app', 'one'],
      ['tier', 'y'],
    ],
  );
  assert.deepEqual(problemsOf('a: {<<: 1}'), ['HS1001 1:9 1']);
  const keys = Array.from({ length: 2000 }, (_, key) => `k${key}: 1`).join(', ');
  const merges = Array.from({ length: 2000 }, (_, key) => `m${key}: {<<: *big}`).join('\n');
  assert.equal(problemsOf(`big: &big {${keys}}\n${merges}`)[0]?.slice(0, 6), 'HS1003');
});

test('keys: the last of two counts, and names of Object.prototype are ordinary', () => {
  const { metadata } = load(pod('a', '  labels:\n    app: x\n    app: y\n    __proto__: p\n    constructor: c\n'))
    .objects[0]!;
  assert.equal(metadata.labels.get('app')?.value, 'y');
  assert.equal(metadata.labels.get('constructor')?.value, 'c');
  assert.equal(metadata.labels.get('toString'), undefined);
  assert.equal(({} as { p?: string }).p, undefined);
  assert.deepEqual(problemsOf('a: 1\nb: 2\na: 3'), ['HS1007 3:1 a']);
  assert.deepEqual(problemsOf('y: 1'), ['HS1014 1:1 y']);
  assert.deepEqual(problemsOf('? [a]\n: b'), ['HS1001 1:3 [a]']);
  assert.deepEqual(
    problemsOf(': b').map((text) => text.slice(0, 6)),
    ['HS1001'],
  );
});

test('20,000 keys take no quadratic time', () => {
  const data = Array.from({ length: 20_000 }, (_, key) => `  k${key}: v`).join('\n');
  const start = performance.now();
  const { objects } = load(`apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n${data}`);
  assert.equal(objects[0]?.kind === 'ConfigMap' && objects[0].data.size, 20_000);
  assert.ok(performance.now() - start < 2000);
});

test('templates are told apart from text with braces', () => {
  const template = (text: string): string[] => load(text).unread.map(({ kind, reason }) => `${kind} ${reason}`);
  assert.deepEqual(template(pod('{{ .Values.name }}')), ['Pod template']);
  assert.deepEqual(template(pod('x-{{ .Values.name }}')), ['Pod template']);
  assert.deepEqual(template(`{{- if .Values.on }}\n${pod('a')}{{- end }}`), ['Pod template']);
  assert.deepEqual(template(pod('"{{ include "name" . }}"')), ['Pod template']);
  for (const text of ['"{{ x }}"', "'{{ x }}'", '|\n      {{ x }}', 'x # {{ x }}', '${{ x }}', '{a: {b: c}}']) {
    assert.deepEqual(template(pod('a', `  annotations:\n    a: ${text}\n`)), [], text);
  }
  assert.deepEqual(problemsOf('{"a":{"b":1}}'), []);
  assert.deepEqual(problemsOf(`${pod('{{ a }}')}---\n${pod('{{ b }}')}`), ['HS1004 4:9 {{']);
});

test('text that cannot be decoded is refused at its place', () => {
  const bytes = (...numbers: number[]): Uint8Array => Uint8Array.from(numbers);
  assert.deepEqual(problemsOf('a: \0'), ['HS1005 1:4 \0']);
  assert.deepEqual(problemsOf('a: \ud800'), ['HS1005 1:4 \ud800']);
  assert.deepEqual(problemsOf(bytes(0x61, 0x3a, 0x0a, 0xff)), ['HS1005 2:1 \ufffd']);
  assert.deepEqual(problemsOf(new Uint8Array(20_000_001)), ['HS1006 1:1 ']);
  assert.deepEqual(problemsOf('a: b\n---\n'.repeat(100_001)), ['HS1006 1:1 a']);
  assert.equal(load('a: \0').unread[0]?.reason, 'syntax');
});

test('byte order marks choose the encoding, and vanish', () => {
  const text = pod('a');
  const utf16 = (little: boolean): Uint8Array => {
    const view = new DataView(new ArrayBuffer(2 + text.length * 2));
    view.setUint16(0, 0xfeff, little);
    [...text].forEach((unit, index) => view.setUint16(2 + index * 2, unit.charCodeAt(0), little));
    return new Uint8Array(view.buffer);
  };
  const utf8 = new TextEncoder().encode(`\ufeff${text}`);
  for (const content of [utf16(true), utf16(false), utf8, `\ufeff${text}`]) {
    assert.deepEqual(namesOf(load(content)), ['Pod default/a']);
    assert.equal(load(content).text('a.yaml'), text);
  }
  const inside = load(`---\n\ufeff${text}`);
  assert.deepEqual([namesOf(inside), inside.problems.map(({ code }) => code)], [['Pod default/a'], ['HS1014']]);
});

test('places count UTF-16 units under every kind of line end', () => {
  for (const end of ['\n', '\r\n', '\r']) {
    const text = `# 😀\n---\n${pod('a', '  labels: {"😀": x, app: 😀}\n')}`.replaceAll('\n', end);
    const [object] = load(text).objects;
    const { at } = object!.metadata.labels.get('app')!;
    assert.equal(shown(at), '😀');
    assert.deepEqual(locate(at).range, { start: { line: 7, column: 26 }, end: { line: 7, column: 28 } });
    assert.equal(text.slice(at.source.offset + at.start, at.source.offset + at.end), '😀');
  }
});

test('separators that only YAML 1.1 knows end lines; a no-break space does not', () => {
  assert.deepEqual(namesOf(load(`# x\u2028${pod('a')}`)), ['Pod default/a']);
  assert.deepEqual(namesOf(load(pod('a').replaceAll('\n', '\u0085'))), ['Pod default/a']);
  assert.equal(
    load(pod('a', '  annotations: {a: x\u00a0y}\n')).objects[0]?.metadata.annotations.get('a')?.value,
    'x\u00a0y',
  );
});

test('errors of syntax stand where they are', () => {
  assert.deepEqual(
    problemsOf('a: b\n\tc: d').map((text) => text.slice(0, 10)),
    ['HS1001 2:1'],
  );
  assert.deepEqual(
    problemsOf('a: [b').map((text) => text.slice(0, 10)),
    ['HS1001 1:6'],
  );
  assert.deepEqual(problemsOf('a: !!js/function f\nb: !x [c]\nd: !!str 1'), ['HS1014 1:18 f', 'HS1014 2:7 [c]']);
});

test('documents are split at markers, and empty ones are nothing', () => {
  for (const text of ['', '\n', '# c', '---\n---\n', '---\n'.repeat(60_000), '\ufeff']) {
    const manifests = load(text);
    assert.deepEqual([manifests.objects, manifests.problems, manifests.unread], [[], [], []]);
  }
  const file = `%YAML 1.1\n---\n${pod('a')}--- # c\n${pod('b')}...\n--- {apiVersion: v1, kind: Pod, metadata: {name: c}}\n`;
  assert.deepEqual(namesOf(load(file)), ['Pod default/a', 'Pod default/b', 'Pod default/c']);
  const third = load(file).objects[2]!.metadata.name.at;
  assert.deepEqual(locate(third).range.start, { line: 13, column: 50 });
});
