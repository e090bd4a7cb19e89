/** Bundles the tests in VS Code into `dist/test-vscode`. */
import { build } from 'esbuild';

export const OUT = 'dist/test-vscode';

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

if (process.argv[1]?.endsWith('bundle.mjs')) await bundleTests();
