/** Packs the extension as `hopscope.vsix`, after a build; refuses what should not be in it, or a package too large. */
import { readFileSync, rmSync } from 'node:fs';
import { createVSIX } from '@vscode/vsce';
import { buildBundles, buildDatapath } from './build.mjs';

const PACKAGE = 'hopscope.vsix';
const MAX_BYTES = 1_000_000;
/** `.vscodeignore` lets these in; the first two are the package's own. */
const ALLOWED = [
  '[Content_Types].xml',
  'extension.vsixmanifest',
  'extension/package.json',
  'extension/readme.md',
  'extension/LICENSE.txt',
  'extension/changelog.md',
  'extension/extension/icon.png',
  'extension/dist/extension.cjs',
  'extension/dist/worker.cjs',
  'extension/dist/dataplane.wasm',
  'extension/dist/dataplane.trace.wasm',
];
/** Without these it would not run. */
const REQUIRED = ALLOWED.filter((name) => /package\.json$|icon\.png$|dist\//.test(name));

/** The names in a zip archive, from its central directory. APPNOTE.TXT 4.3.12 and 4.3.16. */
function namesIn(zip) {
  const end = zip.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  const names = [];
  let at = zip.readUInt32LE(end + 16);
  for (let i = 0; i < zip.readUInt16LE(end + 10); i++) {
    const [name, extra, comment] = [28, 30, 32].map((field) => zip.readUInt16LE(at + field));
    names.push(zip.toString('utf8', at + 46, at + 46 + name));
    at += 46 + name + extra + comment;
  }
  return names;
}

await buildDatapath();
await buildBundles();
rmSync(PACKAGE, { force: true });
await createVSIX({
  packagePath: PACKAGE,
  dependencies: false,
  allowMissingRepository: true,
  skipLicense: true,
  rewriteRelativeLinks: false,
});
const zip = readFileSync(PACKAGE);
const names = namesIn(zip);
const faults = [
  ...names.filter((name) => !ALLOWED.includes(name)).map((name) => `${name} should not be in it`),
  ...REQUIRED.filter((name) => !names.includes(name)).map((name) => `${name} is missing`),
  ...(zip.length > MAX_BYTES ? [`${zip.length} bytes are more than ${MAX_BYTES}`] : []),
];
if (faults.length > 0) {
  rmSync(PACKAGE);
  throw new Error(`${PACKAGE}: ${faults.join('; ')}`);
}
console.log(`${PACKAGE}: ${names.length} files, ${Math.round(zip.length / 1024)} KiB`);
