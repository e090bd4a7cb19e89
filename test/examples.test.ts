/** The examples as `npm start` opens them. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

test('each example is a folder of the workspace, and so a cluster of its own', () => {
  const workspace = JSON.parse(readFileSync('examples/examples.code-workspace', 'utf8')) as {
    folders: { path: string }[];
  };
  const folders = readdirSync('examples', { withFileTypes: true }).filter((entry) => entry.isDirectory());
  assert.deepEqual(workspace.folders.map(({ path }) => path).sort(), folders.map(({ name }) => name).sort());
});

test('npm start opens files that there are, and no folder of several clusters', () => {
  const script = readFileSync('scripts/start.mjs', 'utf8');
  const opened = [...script.matchAll(/resolve\('(examples[^']*)'\)/g)].map(([, path]) => path!);
  assert.deepEqual(opened, ['examples/examples.code-workspace', 'examples/README.md']);
  for (const path of opened) assert.ok(existsSync(path), path);
});
