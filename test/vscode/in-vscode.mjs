/** Bundles the tests in VS Code into `dist/test-vscode` and runs them: those inside its extension host, then those of its window. */
import { spawn } from 'node:child_process';
import { build } from 'esbuild';

const OUT = 'dist/test-vscode';

export const bundleTests = () =>
  build({
    entryPoints: ['run', 'suite', 'ui'].map((name) => `test/vscode/${name}.ts`),
    outdir: OUT,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    external: ['vscode', '@vscode/test-electron'],
    logLevel: 'warning',
  });

/** `run` starts a program and resolves to its exit code and what it printed. Needs a build in `dist/`. */
export async function runInVsCode(run) {
  await bundleTests();
  if (process.env.VSCODE_BOOT) await run(process.execPath, ['scripts/package.mjs']);
  const total = { passed: 0, failed: 0 };
  for (const name of ['run', 'ui']) {
    const { code, output } = await run(process.execPath, [`${OUT}/${name}.cjs`]);
    const [, passed = 0, failed = 0] = /^(\d+) passed, (\d+) failed/m.exec(output) ?? [];
    total.passed += Number(passed);
    total.failed += Number(failed) || (code === 0 ? 0 : 1);
  }
  return total;
}

if (process.argv[1]?.endsWith('in-vscode.mjs')) {
  const run = (command, args) =>
    new Promise((done) => {
      const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      let output = '';
      child.stdout.on('data', (chunk) => {
        output += chunk;
        process.stdout.write(chunk);
      });
      child.on('close', (code) => done({ code: code ?? 1, output }));
    });
  const { failed } = await runInVsCode(run);
  process.exitCode = failed > 0 ? 1 : 0;
}
