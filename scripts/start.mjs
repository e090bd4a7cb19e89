/**
 * The main job: builds, and opens the examples in VS Code with the extension running, each folder a cluster of its own. VS Code
 * is the one installed (`code`, or VSCODE_EXECUTABLE), or one that @vscode/test-electron fetches. Where there is no display or
 * no VS Code to be had, the same annotations and traces are printed to the terminal.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buildBundles, buildDatapath } from './build.mjs';

await buildDatapath();
await buildBundles();

/** A VS Code and why there is none. */
async function findVsCode() {
  if (process.env.VSCODE_EXECUTABLE) return { code: process.env.VSCODE_EXECUTABLE };
  if (process.platform === 'linux' && !process.env.DISPLAY && !process.env.WAYLAND_DISPLAY)
    return { why: 'there is no display' };
  const installed = spawnSync('code', ['--version'], { encoding: 'utf8', shell: process.platform === 'win32' });
  if (installed.status === 0) return { code: 'code' };
  try {
    const { downloadAndUnzipVSCode } = await import('@vscode/test-electron');
    return { code: await downloadAndUnzipVSCode() };
  } catch (error) {
    return { why: `no VS Code is installed, and none could be fetched (${error.message})` };
  }
}

const { code, why } = await findVsCode();
if (code) {
  console.log(
    'Opening the clusters of examples/ in VS Code with Hopscope. Hover a Service name, or change a label in a policy.',
  );
  const profile = mkdtempSync(join(tmpdir(), 'hopscope-'));
  const args = [
    `--extensionDevelopmentPath=${resolve('.')}`,
    `--user-data-dir=${profile}`,
    '--disable-extensions',
    '--wait',
    resolve('examples/examples.code-workspace'),
    resolve('examples/README.md'),
  ];
  const child = spawn(code, args, { stdio: 'inherit', shell: process.platform === 'win32' && code === 'code' });
  child.on('close', (status) => (process.exitCode = status ?? 0));
} else {
  console.log(`VS Code is not opened: ${why}. The same annotations and traces, here:\n`);
  const hopscope = (...args) => {
    console.log(`$ hopscope ${args.join(' ')}`);
    const { status } = spawnSync(process.execPath, ['dist/hopscope.mjs', ...args], { stdio: 'inherit' });
    console.log();
    return status;
  };
  const results = [
    hopscope('show', 'examples/shop', '--file', 'frontend.yaml'),
    hopscope('show', 'examples/shop', '--file', 'policies/email.yaml'),
    hopscope('trace', 'examples/echo', '--from', 'default/busybox', '--to', 'dns:echo', '--port', '5678'),
    hopscope('trace', 'examples/shop', '--from', 'shop/checkout', '--to', 'dns:email', '--port', '5000'),
    hopscope('check', 'examples/shop', '--fail-on', 'never'),
  ];
  process.exitCode = results.every((status) => status === 0) ? 0 : 1;
}
