/**
 * Every drop reason of Cilium's: the packet that brings it about here, or why none can. `docs/drop-reasons.md` is written
 * from this table (HOPSCOPE_UPDATE=1).
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { CASES, type Case } from './cases.js';
import { CILIUM_REASONS } from './cilium.js';

const PAGE = 'docs/drop-reasons.md';

const isNever = (row: Case): row is { readonly never: string } => 'never' in row;

for (const [code, text] of CILIUM_REASONS) {
  const row = CASES.get(code);
  test(`${code} ${text}: ${row && (isNever(row) ? 'cannot be' : row.packet)}`, () => {
    assert.ok(row, 'each of Cilium’s reasons stands in the table');
    if (!isNever(row)) assert.equal(row.run(), -code);
  });
}

test('no row stands for a reason that Cilium has not', () => {
  const known = new Set(CILIUM_REASONS.map(([code]) => code));
  assert.deepEqual(
    [...CASES.keys()].filter((code) => !known.has(code)),
    [],
  );
});

function page(): string {
  const rows = CILIUM_REASONS.map(([code, text]) => {
    const row = CASES.get(code)!;
    return isNever(row) ? `| ${code} | ${text} | | ${row.never} |` : `| ${code} | ${text} | ${row.packet} | |`;
  });
  return `# Drop reasons

What Cilium 1.19 drops packets for (\`pkg/monitor/api/drop.go\`), what brings each about in Hopscope's dataplane, and why some
cannot be. \`test/reasons\` sends each of these packets.

| code | reason | brought about by | cannot be, since |
|---|---|---|---|
${rows.join('\n')}
`;
}

test('the page on drop reasons is this table', () => {
  if (process.env['HOPSCOPE_UPDATE']) writeFileSync(PAGE, page());
  assert.ok(existsSync(PAGE), 'HOPSCOPE_UPDATE=1 writes it');
  assert.equal(readFileSync(PAGE, 'utf8'), page());
});
