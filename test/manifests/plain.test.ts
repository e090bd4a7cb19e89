/** Plain documents are read without the parser; what is read must be what the parser reads, to the last place. */
import fc from 'fast-check';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { clusterFiles, scaled } from '../../dataplane/bench/scale.js';
import { SourceText } from '../../dataplane/manifests/place.js';
import { plainTreeOf } from '../../dataplane/manifests/plain.js';
import { split } from '../../dataplane/manifests/split.js';
import { parseAny } from '../../dataplane/manifests/syntax.js';
import type { Tree } from '../../dataplane/manifests/tree.js';
import type { Problem } from '../../dataplane/problems.js';

const RUNS = Number(process.env['HOPSCOPE_RUNS'] ?? 30_000);
const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 1);

const sourceOf = (text: string): SourceText => new SourceText('a', text);

/** A tree as JSON: kinds, values, texts and the place of each. */
const drawn = (tree: Tree | null): unknown => {
  if (!tree) return null;
  const at = `${tree.at.start}-${tree.at.end}`;
  if (tree.type === 'scalar') return { at, value: Object.is(tree.value, NaN) ? 'NaN' : tree.value, text: tree.text };
  if (tree.type === 'sequence') return { at, items: tree.items.map(drawn) };
  return {
    at,
    entries: [...tree.entries].map(([name, { keyAt, value }]) => [name, keyAt.start, keyAt.end, drawn(value)]),
  };
};

/** Whether a text is plain; then it must be read as the parser reads it, and without a problem. */
function agree(text: string): boolean {
  const source = sourceOf(text);
  const plain = plainTreeOf(source);
  if (!plain) return false;
  const problems: Problem[] = [];
  let parsed: Tree | null;
  try {
    parsed = parseAny(source, problems);
  } catch (error) {
    assert.fail(`read as plain, though it cannot be read (${String(error)}):\n${text}`);
  }
  assert.deepEqual(drawn(plain), drawn(parsed), text);
  assert.deepEqual(problems, [], text);
  return true;
}

function* yamlFiles(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* yamlFiles(path);
    else if (/\.ya?ml$/.test(entry.name)) yield path;
  }
}

test('what programs write is plain', () => {
  for (const text of clusterFiles(scaled(0.005)).values())
    for (const piece of split(text)!) assert.ok(agree(piece.text), piece.text);
});

test('the manifests of the examples, the tests and the corpus are read as the parser reads them', () => {
  const shared = process.env['HOPSCOPE_SHARED'];
  let plain = 0;
  let all = 0;
  for (const folder of ['examples', 'test', ...(shared ? [join(shared, 'corpus')] : [])])
    for (const path of yamlFiles(folder))
      for (const piece of split(readFileSync(path, 'utf8')) ?? []) {
        all++;
        if (agree(piece.text)) plain++;
      }
  assert.ok(plain > all / 2, `${plain} of ${all} documents are plain`);
});

const VALUES = [
  ...[
    'x',
    'a b',
    '1',
    '-1',
    '0x1f',
    '--flag',
    'yes',
    '~',
    '1.5',
    '10.0.0.1',
    'a:b',
    'http://x/y',
    'x, y',
    '"q"',
    "'q'",
  ],
  ...['""', '"#"', '[]', '{}', '[a, b]', '{a: b}', '[ {a: 1}, "z" ]', '{a: [b, {c: "d"}]}', 'x # c', 'x  ', '""  # c'],
];
/** What also stands behind a key or a dash: of another style, or not well-formed. */
const OTHERS = [
  ...[
    "'it''s'",
    '"a\\n"',
    '"{{ x }}"',
    '"a" b',
    '[a',
    '{a}',
    '{{ x }}',
    '|\n      x',
    '>-\n      x',
    '&x y',
    '*x',
    '!t y',
    '%a',
  ],
  ...[
    '@a',
    '`a',
    '# c',
    'a#c',
    'a: b',
    '-',
    '',
    'x\t',
    '\tx',
    'x\r',
    '\u2028',
    'é',
    '[a, ]',
    '{a: }',
    '{a:b}',
    '[a:b, c]',
    '=',
    ',',
  ],
];
const KEYS = ['a', 'key', 'b-c', 'd.e/f', 'g1'];
const OTHER_KEYS = ['y', '1', '"q"', '<<', 'k k', '-', '? z', '--', '...'];

/** Lines of a collection, from which each of them stands as far in as it is. */
type Lines = (indent: number) => string[];
const pad = (indent: number): string => ' '.repeat(indent);
const { node } = fc.letrec<{ node: Lines; map: Lines; list: Lines; value: string }>((tie) => ({
  value: fc.oneof({ weight: 20, arbitrary: fc.constantFrom(...VALUES) }, fc.constantFrom(...OTHERS)),
  map: fc
    .uniqueArray(
      fc.tuple(
        fc.oneof({ weight: 30, arbitrary: fc.constantFrom(...KEYS) }, fc.constantFrom(...OTHER_KEYS)),
        fc.oneof(tie('value'), tie('node')),
        fc.constantFrom(2, 2, 2, 0, 1, 4),
        fc.constantFrom([], [], [], [], [''], ['# c'], ['  '], ['  # c'], ['# c', '', '# d']),
      ),
      { selector: ([key]) => key, minLength: 1, maxLength: 3 },
    )
    .map(
      (entries): Lines =>
        (indent) =>
          entries.flatMap(([key, value, further, before]) => [
            ...before.map((line) => (line === '' ? '' : pad(indent) + line)),
            ...(typeof value === 'string'
              ? [`${pad(indent)}${key}: ${value}`]
              : [`${pad(indent)}${key}:`, ...value(indent + further)]),
          ]),
    ),
  list: fc
    .array(fc.tuple(fc.oneof(tie('value'), tie('node')), fc.constantFrom(2, 2, 3)), {
      minLength: 1,
      maxLength: 3,
    })
    .map(
      (items): Lines =>
        (indent) =>
          items.flatMap(([item, further]) => {
            const dash = `${pad(indent)}-${pad(further - 1)}`;
            if (typeof item === 'string') return [dash + item];
            const [first = '', ...others] = item(indent + further);
            return [dash + first.trimStart(), ...others];
          }),
    ),
  node: fc.oneof({ maxDepth: 3 }, tie('map'), tie('list')),
}));

test('any document in block style', () => {
  const end = fc.constantFrom('\n', '\n', '', '\n\n', '\n  \n', '\n# c', '\n# c\n', '\n  # c\n');
  let plain = 0;
  fc.assert(
    fc.property(node, end, (lines, last) => {
      for (const { text } of split(lines(0).join('\n') + last) ?? []) if (agree(text)) plain++;
    }),
    { numRuns: RUNS, seed: SEED },
  );
  assert.ok(plain > RUNS / 10, `${plain} of ${RUNS} texts were plain`);
});

test('a manifest with one place changed', () => {
  const texts = [...clusterFiles(scaled(0.005)).values()].flatMap((text) => split(text)!.map((piece) => piece.text));
  const piece = fc.constantFrom(
    '',
    ' ',
    '  ',
    '\n',
    '-',
    '- ',
    ':',
    ': ',
    '#',
    ' # x',
    '"',
    "'",
    '[',
    '{}',
    'x',
    '\t',
    ',',
  );
  fc.assert(
    fc.property(fc.constantFrom(...texts), fc.nat(), fc.nat(4), piece, (text, at, cut, put) => {
      const start = at % text.length;
      agree(text.slice(0, start) + put + text.slice(start + cut));
    }),
    { numRuns: RUNS / 10, seed: SEED },
  );
});
