/**
 * Keeps `package.json` and the code of one mind. Commands and the editor's settings are declared in `package.json`, the
 * engine's settings in `dataplane/settings.ts`; from both come the engine's settings in `package.json` and the typed
 * `extension/meta.ts`. With `--check` nothing is written: a difference is an error.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';
import { format, resolveConfig } from 'prettier';

const check = process.argv.includes('--check');

async function engineSettings() {
  const { outputFiles } = await build({
    entryPoints: ['dataplane/settings.ts'],
    bundle: true,
    format: 'esm',
    write: false,
    logLevel: 'warning',
  });
  const { SETTINGS } = await import(
    `data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`
  );
  return SETTINGS;
}

/** A setting of the engine as VS Code declares it. */
function contribution({ schema, default: unset, description }) {
  const type = schema.type ?? typeof schema.enum[0];
  return { type, ...schema, default: unset, markdownDescription: description, scope: 'resource' };
}

/** Puts the engine's settings where `package.json` lists them. Which group each is in is declared there. */
function fillIn(groups, settings) {
  const missing = new Set(Object.keys(settings));
  for (const { properties } of groups) {
    for (const id of Object.keys(properties)) {
      const key = id.replace(/^hopscope\./, '');
      if (missing.delete(key)) properties[id] = contribution(settings[key]);
    }
  }
  if (missing.size > 0)
    throw new Error(
      `package.json: contributes.configuration has no ${[...missing].map((key) => `hopscope.${key}`).join(', ')}`,
    );
}

const quoted = (text) => `'${text}'`;

function metaOf({ contributes }, settings) {
  const editor = contributes.configuration
    .flatMap(({ properties }) => Object.entries(properties))
    .map(([id, property]) => [id.replace(/^hopscope\./, ''), property])
    .filter(([key]) => !(key in settings));
  const commands = contributes.commands.map(({ command }) => command);
  return `/** Generated from package.json by scripts/meta.mjs. */

export type CommandId = ${commands.map(quoted).join(' | ')};

/** Settings that are the editor's alone; those of the engine are in dataplane/settings.ts. */
export interface EditorSettings {
${editor.map(([key, { type, enum: values }]) => `  readonly ${quoted(key)}: ${values ? values.map(quoted).join(' | ') : type};`).join('\n')}
}

export const EDITOR_SETTINGS: { readonly [Key in keyof EditorSettings]: { readonly default: EditorSettings[Key]; readonly allowed: readonly EditorSettings[Key][] } } = {
${editor.map(([key, { default: unset, enum: values }]) => `  ${quoted(key)}: { default: ${JSON.stringify(unset)}, allowed: ${JSON.stringify(values ?? [true, false])} },`).join('\n')}
};
`;
}

const source = readFileSync('package.json', 'utf8');
const manifest = JSON.parse(source);
const settings = await engineSettings();
fillIn(manifest.contributes.configuration, settings);
const style = { ...(await resolveConfig('extension/meta.ts')), printWidth: 120, singleQuote: true };
const files = {
  'package.json': `${JSON.stringify(manifest, null, 2)}\n`,
  'extension/meta.ts': await format(metaOf(manifest, settings), { ...style, parser: 'typescript' }),
};
const same = {
  // Layout is the formatter's business.
  'package.json': (text) => JSON.stringify(JSON.parse(source)) === JSON.stringify(JSON.parse(text)),
  'extension/meta.ts': (text) => existsSync('extension/meta.ts') && readFileSync('extension/meta.ts', 'utf8') === text,
};
for (const [file, text] of Object.entries(files)) {
  if (same[file](text)) continue;
  if (check) {
    console.error(`${file} is not what scripts/meta.mjs makes of the declarations: run "node scripts/meta.mjs"`);
    process.exitCode = 1;
  } else writeFileSync(file, text);
}
