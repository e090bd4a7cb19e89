/** Our matcher against the engine's own, over the syntax that both have. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileRegex } from '../../dataplane/regex.js';

const SEED = Number(process.env['HOPSCOPE_SEED'] ?? 20261121);

/** Expressions over two letters, so that texts over the same match often. */
const expression: fc.Arbitrary<string> = fc.letrec<{ whole: string }>((tie) => ({
  whole: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', 'ab', '', '\\d', '[[:alpha:]]', 'a$', '^b'),
    fc.tuple(tie('whole'), tie('whole')).map(([a, b]) => a + b),
    fc.tuple(tie('whole'), tie('whole')).map(([a, b]) => `(${a}|${b})`),
    fc
      .tuple(tie('whole'), fc.constantFrom('*', '+', '?', '{2}', '{1,2}', '{0,}'))
      .map(([a, times]) => `(?:${a})${times}`),
  ),
})).whole;

test(`expressions match as the engine's do (HOPSCOPE_SEED=${SEED})`, () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '1'), maxLength: 6 });
  fc.assert(
    fc.property(expression, fc.array(text, { minLength: 5, maxLength: 5 }), (pattern, texts) => {
      const regex = compileRegex(pattern);
      const native = new RegExp(`^(?:${pattern.replaceAll('[[:alpha:]]', '[A-Za-z]')})$`);
      for (const one of texts) assert.equal(regex?.matches(one), native.test(one), `${pattern} on ${one}`);
    }),
    { numRuns: 5000, seed: SEED },
  );
});

test('the whole text must match, and what POSIX and RE2 have is understood', () => {
  const table: readonly (readonly [pattern: string, matching: string[], others: string[]])[] = [
    ['/public$', ['/public'], ['/public/', '/a/public']],
    ['/a.*', ['/a', '/a/b?c=d'], ['/b', 'x/a']],
    ['GET|PUT', ['GET', 'PUT'], ['GETPUT', 'POST']],
    ['[[:digit:]]+', ['12'], ['', '1a']],
    ['[[:punct:]]', ['[', '-', '`', '~'], ['a', ' ']],
    ['[]a]', [']', 'a'], ['b']],
    ['[a-c-]', ['b', '-'], ['d']],
    ['a{2,3}', ['aa', 'aaa'], ['a', 'aaaa']],
    ['a{,3}', ['a{,3}'], ['aaa']],
    ['\\.\\$\\(', ['.$('], ['a$(']],
    ['(?P<id>\\d+)', ['7'], ['x']],
    ['', [''], ['a']],
  ];
  for (const [pattern, matching, others] of table) {
    const regex = compileRegex(pattern);
    assert.ok(regex, pattern);
    for (const text of matching) assert.ok(regex.matches(text), `${pattern} on ${text}`);
    for (const text of others) assert.ok(!regex.matches(text), `${pattern} not on ${text}`);
  }
});

test('what is no expression, or only another engine has, is refused', () => {
  for (const pattern of [
    '(',
    ')',
    '[',
    'a**',
    '*a',
    '(?=a)',
    '(?!a)',
    '(?<=a)',
    '\\1',
    '\\p{L}',
    'a{2000}',
    '\\',
    'a{3,2}',
    '('.repeat(200),
  ])
    assert.equal(compileRegex(pattern), null, pattern);
});

test('no expression makes matching slow', () => {
  const start = Date.now();
  assert.equal(compileRegex('(a+)+b')!.matches('a'.repeat(5000)), false);
  assert.equal(compileRegex('(a|aa)*c')!.matches('a'.repeat(5000)), false);
  assert.equal(compileRegex('((a{30}){30}){30}'), null);
  assert.equal(compileRegex('((((){1000}){1000}){1000}){1000}'), null);
  assert.ok(Date.now() - start < 2000);
});
