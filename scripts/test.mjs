/**
 * Builds, then runs every test: those of Node's runner (`test/**\/*.test.ts`), then those inside a real VS Code
 * (`test/vscode`). Ends with a line `N passed, N failed`. Words on the command line pick test files by their path.
 *
 * HOPSCOPE_SHARED    folder with the acceptance corpus; tests that need it skip loudly without it
 * VSCODE_EXECUTABLE  a VS Code to test in; without it one is downloaded, or the tests in VS Code skip loudly
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { buildBundles, buildDatapath } from './build.mjs';
import { FOR_NODE } from './harness.mjs';

const OUT = 'dist/test';
const picked = process.argv.slice(2);

function* testFiles(folder) {
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* testFiles(path);
    else if (name.endsWith('.test.ts') && (picked.length === 0 || picked.some((word) => path.includes(word))))
      yield path;
  }
}

/** Runs a program, shows what it prints, and hands it over too. */
function run(command, args, env = {}) {
  return new Promise((done) => {
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
      process.stdout.write(chunk);
    });
    child.on('close', (code) => done({ code: code ?? 1, output }));
  });
}

const count = (output, pattern) => [...output.matchAll(pattern)].reduce((sum, match) => sum + Number(match[1]), 0);

const shared = process.env.HOPSCOPE_SHARED;
if (!shared) console.log('SKIP: HOPSCOPE_SHARED is not set, so the acceptance corpus is not tested.');

await buildDatapath();
await buildBundles();
rmSync(OUT, { recursive: true, force: true });
mkdirSync(OUT, { recursive: true });
const files = [...testFiles('test')];
const inEditor = picked.length === 0 || picked.some((word) => word.includes('vscode'));
if (files.length === 0 && !inEditor) throw new Error(`no test has ${picked.join(' or ')} in its path`);
await build({
  entryPoints: files,
  outdir: OUT,
  outbase: 'test',
  outExtension: { '.js': '.mjs' },
  ...FOR_NODE,
});
const bundles = files.map((file) => join(OUT, file.replace(/^test[\\/]/, '').replace(/\.ts$/, '.mjs')));
// Without files, Node's runner would look for some itself.
const unit =
  bundles.length === 0
    ? { code: 0, output: '' }
    : await run(
        process.execPath,
        ['--test', '--test-reporter=spec', ...bundles],
        shared ? { HOPSCOPE_SHARED: resolve(shared) } : {},
      );
let passed = count(unit.output, /^ℹ pass (\d+)$/gm);
let failed = count(unit.output, /^ℹ fail (\d+)$/gm);
const skipped = count(unit.output, /^ℹ skipped (\d+)$/gm);
if (unit.code !== 0 && failed === 0) failed = 1;

if (inEditor) {
  const { runInVsCode } = await import('../test/vscode/in-vscode.mjs');
  const editor = await runInVsCode(run);
  passed += editor.passed;
  failed += editor.failed;
}
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 ? 1 : 0;
