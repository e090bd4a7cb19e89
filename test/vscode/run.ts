/**
 * Runs suite.ts inside a real VS Code, on copies of the examples.
 *
 * VSCODE_EXECUTABLE  the VS Code to use; without it one is downloaded, and where that fails the tests skip loudly
 */
import { rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { downloadAndUnzipVSCode, runTests } from '@vscode/test-electron';
import { shopCopy } from './shop.js';

async function executable(): Promise<string | null> {
  if (process.env['VSCODE_EXECUTABLE']) return process.env['VSCODE_EXECUTABLE'];
  try {
    return await downloadAndUnzipVSCode();
  } catch (error) {
    console.log(
      `SKIP: no VS Code to test in: VSCODE_EXECUTABLE is not set, and the download failed (${String(error)})`,
    );
    return null;
  }
}

async function main(): Promise<void> {
  const vscodeExecutablePath = await executable();
  if (!vscodeExecutablePath) return;
  const { root, workspace } = shopCopy();
  try {
    await runTests({
      vscodeExecutablePath,
      extensionDevelopmentPath: resolve('.'),
      extensionTestsPath: resolve('dist/test-vscode/suite.cjs'),
      launchArgs: [workspace, '--disable-extensions', '--disable-workspace-trust'],
    });
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  console.error(String(error));
  process.exitCode = 1;
});
