/** Types, ESLint, prettier and the generated files' freshness; each says what it found. */
import { spawnSync } from 'node:child_process';

const steps = [
  ['types', 'tsc', ['--noEmit', '-p', '.']],
  ['eslint', 'eslint', ['.', '--max-warnings', '0']],
  ['prettier', 'prettier', ['--check', '--log-level', 'warn', '.']],
  ['generated files', process.execPath, ['scripts/meta.mjs', '--check']],
];

let failed = 0;
for (const [name, command, args] of steps) {
  const path = command === process.execPath ? command : `node_modules/.bin/${command}`;
  const { status } = spawnSync(path, args, { stdio: 'inherit' });
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${name}`);
  if (status !== 0) failed++;
}
process.exitCode = failed > 0 ? 1 : 0;
