/** Runs inside the extension host, on copies of the examples: the shop with its three mistakes, and echo. */
import assert from 'node:assert/strict';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import * as vscode from 'vscode';
import { runBenchmark } from '../../extension/bench-client.js';
import { Client } from '../../extension/client.js';
import { inCode, inLabel, inMarkdown } from '../../extension/literal.js';
import { readFromWorker, readToWorker } from '../../extension/protocol.js';
import { HOSTILE_FILE } from './hostile.js';

const tests: (readonly [name: string, run: () => Promise<void>])[] = [];
const test = (name: string, run: () => Promise<void>): unknown => tests.push([name, run]);

const extension = vscode.extensions.getExtension('hopscope.hopscope')!;
const root = vscode.workspace.workspaceFolders![0]!.uri;
const uriOf = (file: string): vscode.Uri => vscode.Uri.joinPath(root, ...file.split('/'));

/** Waits until `read` gives something. */
async function until<T>(
  what: string,
  read: () => T | null | undefined | false | Promise<T | null | undefined | false>,
): Promise<T> {
  const deadline = Date.now() + 15_000;
  while (Date.now() < deadline) {
    const found = await read();
    if (found !== null && found !== undefined && found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`waited in vain: ${what}`);
}

const codeOf = ({ code }: vscode.Diagnostic): unknown => code;
const diagnosticsOf = (file: string): vscode.Diagnostic[] =>
  vscode.languages.getDiagnostics(uriOf(file)).filter(({ source }) => source === 'hopscope');
const found = (file: string, code: string): Promise<vscode.Diagnostic> =>
  until(`${code} in ${file}`, () => diagnosticsOf(file).find((one) => codeOf(one) === code));
const gone = (file: string, code: string): Promise<true> =>
  until(`${code} gone from ${file}`, () => !diagnosticsOf(file).some((one) => codeOf(one) === code));

const open = (file: string): Thenable<vscode.TextDocument> => vscode.workspace.openTextDocument(uriOf(file));

/** Types over the first occurrence of a text; nothing is saved. Returns what takes it back. */
async function type(document: vscode.TextDocument, text: string, replacement: string): Promise<() => Promise<void>> {
  const at = document.getText().indexOf(text);
  assert.ok(at >= 0, `${text} is in ${document.fileName}`);
  const put = async (length: number, with_: string): Promise<void> => {
    const edit = new vscode.WorkspaceEdit();
    edit.replace(document.uri, new vscode.Range(document.positionAt(at), document.positionAt(at + length)), with_);
    assert.ok(await vscode.workspace.applyEdit(edit));
  };
  await put(text.length, replacement);
  return () => put(replacement.length, text);
}

/** The hover on a text's first occurrence at or after `after`: its Markdown. */
async function hoverOn(document: vscode.TextDocument, text: string, after = ''): Promise<vscode.MarkdownString> {
  const from = document.getText().indexOf(after);
  const position = document.positionAt(document.getText().indexOf(text, from) + 1);
  return until(`a hover on ${text}`, async () => {
    const hovers = await vscode.commands.executeCommand<vscode.Hover[]>(
      'vscode.executeHoverProvider',
      document.uri,
      position,
    );
    return hovers
      .flatMap(({ contents }) => contents)
      .find((content) => content instanceof vscode.MarkdownString && content.isTrusted) as
      vscode.MarkdownString | undefined;
  });
}

const lensesOf = async (document: vscode.TextDocument): Promise<string[]> => {
  const lenses = await vscode.commands.executeCommand<vscode.CodeLens[]>(
    'vscode.executeCodeLensProvider',
    document.uri,
    100,
  );
  return lenses.flatMap(({ command }) => (command ? [command.title] : []));
};

async function inlaysOf(document: vscode.TextDocument): Promise<vscode.InlayHint[]> {
  const all = new vscode.Range(0, 0, document.lineCount, 0);
  return vscode.commands.executeCommand<vscode.InlayHint[]>('vscode.executeInlayHintProvider', document.uri, all);
}

test('it activates by itself where there are manifests', () =>
  until('activation', () => extension.isActive).then(() => undefined));

test('it says that it works in untrusted and virtual workspaces', () => {
  const { capabilities } = extension.packageJSON as {
    capabilities: { untrustedWorkspaces: { supported: boolean }; virtualWorkspaces: boolean };
  };
  assert.equal(capabilities.untrustedWorkspaces.supported, true);
  assert.equal(capabilities.virtualWorkspaces, true);
  return Promise.resolve();
});

test('each of the three mistakes is shown at its value', async () => {
  for (const [file, code, line, value] of [
    ['policies/email.yaml', 'HS3004', 18, '5000'],
    ['ads.yaml', 'HS2001', 51, 'app: adds'],
    ['policies/prometheus.yaml', 'HS3005', null, null],
  ] as const) {
    const diagnostic = await found(file, code);
    const document = await open(file);
    if (line !== null) assert.equal(diagnostic.range.start.line + 1, line, `${code}: line`);
    if (value !== null) assert.equal(document.getText(diagnostic.range), value, `${code}: value`);
    assert.ok(!diagnostic.range.isEmpty);
  }
});

test('there are no other errors in the shop', () => {
  const errors = vscode.languages
    .getDiagnostics()
    .flatMap(([uri, list]) =>
      list
        .filter(({ source, severity }) => source === 'hopscope' && severity === vscode.DiagnosticSeverity.Error)
        .map(({ message }) => `${uri.path}: ${message}`),
    );
  assert.deepEqual(errors, []);
  return Promise.resolve();
});

test('a mistake goes with its cause, unsaved, and comes back with it', async () => {
  for (const [file, code, wrong, right] of [
    ['policies/email.yaml', 'HS3004', 'port: 5000', 'port: 8080'],
    ['ads.yaml', 'HS2001', 'app: adds', 'app: ads'],
  ] as const) {
    await found(file, code);
    const undo = await type(await open(file), wrong, right);
    await gone(file, code);
    await undo();
    await found(file, code);
  }
});

test('a hover on a Service says the verdict first, in at most fifteen lines', async () => {
  const document = await open('cart.yaml');
  const { value } = await hoverOn(document, 'cart', 'kind: Service');
  assert.match(value.split('\n')[0]!, /^\*\*✓ ALLOWED\*\*/);
  assert.ok(value.split('\n').length <= 15, value);
});

test('a hover may run our commands and no others, and has no HTML and no icons', async () => {
  const hover = await hoverOn(await open('cart.yaml'), 'cart', 'kind: Service');
  assert.ok(typeof hover.isTrusted === 'object');
  assert.ok(hover.isTrusted.enabledCommands.every((command) => command.startsWith('hopscope.')));
  assert.equal(hover.supportHtml ?? false, false);
  assert.equal(hover.supportThemeIcons ?? false, false);
  const commands = [...hover.value.matchAll(/\]\(([^)]*)\)/g)].map(([, target]) => target!);
  assert.ok(commands.length > 0);
  for (const command of commands) assert.match(command, /^command:hopscope\.\w+\?[\w%.~-]*$/);
});

test('a hover on a rule says whom it lets in, and leads to the line that decides', async () => {
  const policy = await open('policies/cart.yaml');
  const { value } = await hoverOn(policy, 'from:');
  assert.match(value, /passing today\\: `shop\/\w+\[Deployment\]`/);
  const [, encoded] = /\]\(command:hopscope\.reveal\?([^)]*)\)/.exec(value)!;
  const [set, location] = JSON.parse(decodeURIComponent(encoded!)) as [unknown, { range: { start: { line: number } } }];
  await vscode.commands.executeCommand('hopscope.reveal', set, location);
  const editor = vscode.window.activeTextEditor!;
  assert.match(editor.document.uri.path, /\/policies\/\w+\.yaml$/);
  assert.equal(editor.selection.active.line, location.range.start.line - 1);
});

test('a changed label in a policy turns hover, lens and diagnostics, while it is typed', async () => {
  const policy = await open('policies/cart.yaml');
  const frontend = await open('frontend.yaml');
  const cart = await open('cart.yaml');
  const before = await until('lenses', async () =>
    (await lensesOf(cart)).find((title) => title.includes('reached by')),
  );
  assert.match((await hoverOn(frontend, 'cart:7070')).value, /ALLOWED/);
  const undo = await type(policy, 'app: frontend', 'app: frontent');
  // The very next answer is about the new text: no waiting here.
  assert.match((await hoverOn(frontend, 'cart:7070')).value, /DENIED/);
  await until('the lens to turn', async () => {
    const now = (await lensesOf(cart)).find((title) => title.includes('reached by'));
    return now !== undefined && now !== before;
  });
  await found('policies/cart.yaml', 'HS3002');
  await undo();
  assert.match((await hoverOn(frontend, 'cart:7070')).value, /ALLOWED/);
  await gone('policies/cart.yaml', 'HS3002');
});

test('inlay hints stand behind values', async () => {
  const hints = await until('inlay hints', async () => {
    const all = await inlaysOf(await open('cart.yaml'));
    return all.length > 0 && all;
  });
  for (const { label, tooltip } of hints) {
    assert.ok(typeof label === 'string' && label.length > 0);
    assert.ok(tooltip);
  }
});

test('editor settings switch each feature off and on', async () => {
  const settings = vscode.workspace.getConfiguration('hopscope');
  const cart = await open('cart.yaml');
  const set = (key: string, value: unknown): Thenable<void> =>
    settings.update(key, value, vscode.ConfigurationTarget.Workspace);
  await set('codeLens.enabled', false);
  await set('inlayHints.enabled', false);
  await set('diagnostics.minimumSeverity', 'error');
  await until('no lenses', async () => (await lensesOf(cart)).length === 0);
  await until('no inlay hints', async () => (await inlaysOf(cart)).length === 0);
  await gone('ads.yaml', 'HS2001');
  for (const key of ['codeLens.enabled', 'inlayHints.enabled', 'diagnostics.minimumSeverity'])
    await set(key, undefined);
  await until('lenses again', async () => (await lensesOf(cart)).length > 0);
  await found('ads.yaml', 'HS2001');
});

test('an engine setting counts, and a value that is not allowed does not', async () => {
  const settings = vscode.workspace.getConfiguration('hopscope');
  const cart = await open('cart.yaml');
  await settings.update('serviceCIDR', '10.200.0.0/16', vscode.ConfigurationTarget.Workspace);
  await until('an address of the new range', async () =>
    (await hoverOn(cart, 'cart', 'kind: Service')).value.includes('10\\.200\\.'),
  );
  await settings.update('serviceCIDR', 'nonsense', vscode.ConfigurationTarget.Workspace);
  await until(
    'an address of the usual range',
    async () => !(await hoverOn(cart, 'cart', 'kind: Service')).value.includes('10\\.200\\.'),
  );
  await settings.update('serviceCIDR', undefined, vscode.ConfigurationTarget.Workspace);
});

test('files that come, change and go on disk are followed', async () => {
  const file = join(root.fsPath, 'late.yaml');
  const service = (app: string): string =>
    `apiVersion: v1\nkind: Service\nmetadata: { name: late, namespace: shop }\nspec: { selector: { app: ${app} }, ports: [{ port: 1 }] }\n`;
  await writeFile(file, service('nobody'));
  await found('late.yaml', 'HS2001');
  await writeFile(file, service('cart'));
  await gone('late.yaml', 'HS2001');
  await writeFile(file, service('nobody'));
  await found('late.yaml', 'HS2001');
  await rename(file, join(root.fsPath, 'later.yaml'));
  await gone('late.yaml', 'HS2001');
  await found('later.yaml', 'HS2001');
  await rm(join(root.fsPath, 'later.yaml'));
  await gone('later.yaml', 'HS2001');
});

test('a half-typed document keeps its last good state, and every prefix of a manifest is survived', async () => {
  const document = await open('policies/cart.yaml');
  const whole = document.getText();
  const set = async (text: string): Promise<void> => {
    const edit = new vscode.WorkspaceEdit();
    edit.replace(document.uri, new vscode.Range(0, 0, document.lineCount, 0), text);
    await vscode.workspace.applyEdit(edit);
  };
  for (let length = 0; length < whole.length; length += 37) {
    await set(whole.slice(0, length));
    await lensesOf(document);
  }
  await set(whole);
  assert.match((await hoverOn(await open('frontend.yaml'), 'cart:7070')).value, /ALLOWED/);
});

test('links are not followed, and node_modules is not looked into', async () => {
  await found('ads.yaml', 'HS2001');
  const paths = vscode.languages.getDiagnostics().flatMap(([uri, list]) => (list.length > 0 ? [uri.path] : []));
  assert.deepEqual(
    paths.filter((path) => /forbidden|link/.test(path)),
    [],
  );
});

test('each workspace folder is a cluster of its own', async () => {
  const echo = vscode.workspace.workspaceFolders![1]!.uri;
  const document = await vscode.workspace.openTextDocument(vscode.Uri.joinPath(echo, 'echo.yaml'));
  const { value } = await hoverOn(document, 'echo', 'kind: Service');
  assert.match(value.split('\n')[0]!, /ALLOWED/);
  assert.match(value, /default\/busybox/);
  assert.doesNotMatch(value, /shop\//);
});

test('a document outside of the folders has a session of its own', async () => {
  const content = 'apiVersion: v1\nkind: Service\nmetadata: { name: alone }\nspec: { ports: [{ port: 99999 }] }\n';
  const document = await vscode.workspace.openTextDocument({ language: 'yaml', content });
  const diagnostics = (): vscode.Diagnostic[] => vscode.languages.getDiagnostics(document.uri);
  await until('HS1010 in the new document', () => diagnostics().some((one) => codeOf(one) === 'HS1010'));
  await vscode.window.showTextDocument(document);
  await vscode.commands.executeCommand('workbench.action.revertAndCloseActiveEditor');
  await until('its problems to go', () => diagnostics().length === 0);
});

test('text of a manifest, or a name of a file, is shown and does nothing', async () => {
  const { value } = await hoverOn(await open(HOSTILE_FILE), 'server', 'kind: Service');
  const targets = [...value.matchAll(/\]\(([^)]*)\)/g)]
    .map(([, target]) => target!)
    .filter((target) => !value.includes(`\\](${target}`));
  for (const target of targets.filter((one) => one.startsWith('command:'))) assert.match(target, /^command:hopscope\./);
  assert.ok(value.includes('\\[x\\]\\(command\\:workbench\\.action\\.quit\\) \\<img src\\=x\\>'), value);
  assert.equal(
    inMarkdown('http://a.b www.c.d e@f.g &amp; <b>'),
    'http\\:\\/\\/a\\.b www\\.c\\.d e\\@f\\.g \\&amp\\; \\<b\\>',
  );
  assert.equal(inMarkdown('a\u202eb\nc'), 'a⟨U\\+202E⟩b⏎c');
  assert.equal(inCode('a``b'), '```a``b```');
  assert.equal(inCode('`'), '`` ` ``');
  assert.equal(inLabel('$(trash)'), '\\$(trash)');
  assert.ok(inMarkdown('x'.repeat(10_000)).length < 300);
});

test('a search finds a packet and traces it, or says that there is none', async () => {
  const [, encoded] = /\]\(command:hopscope\.trace\?([^)]*)\)/.exec(
    (await hoverOn(await open('cart.yaml'), 'cart', 'kind: Service')).value,
  )!;
  const [set] = JSON.parse(decodeURIComponent(encoded!)) as [unknown];
  const search = (
    from: string,
    to: string,
  ): Thenable<{ witnesses: { from: string; port: number }[]; error?: string }> =>
    vscode.commands.executeCommand('hopscope.search', set, {
      from,
      to,
      protocol: null,
      port: null,
      verdict: 'ALLOWED',
      limit: 1,
    });
  const { witnesses } = await search('labels:app=checkout', 'labels:app=cart');
  assert.deepEqual(
    witnesses.map(({ from, port }) => `${from} ${port}`),
    ['shop/checkout[Deployment] 7070'],
  );
  await until('a tab with the trace', () =>
    vscode.window.tabGroups.all
      .flatMap(({ tabs }) => tabs)
      .find(({ label }) => label.includes('shop/checkout[Deployment]')),
  );
  assert.deepEqual((await search('world', 'labels:app=orders-db')).witnesses, []);
  assert.equal((await search('world', 'labels:app=nobody')).error, 'no pod matches labels:app=nobody');
});

test('a trace opens as a page, and only for a request that is one', async () => {
  const tabs = (): readonly vscode.Tab[] =>
    vscode.window.tabGroups.all
      .flatMap((group) => group.tabs)
      .filter(({ input }) => input instanceof vscode.TabInputWebview);
  await vscode.window.showTextDocument(await open('cart.yaml'));
  const lens = await until('a lens with a trace', async () => {
    const lenses = await vscode.commands.executeCommand<vscode.CodeLens[]>(
      'vscode.executeCodeLensProvider',
      uriOf('cart.yaml'),
      100,
    );
    return lenses.find(({ command }) => command?.command === 'hopscope.traceFrom');
  });
  const [set, request] = lens.command!.arguments as [number, object];
  await vscode.commands.executeCommand('hopscope.trace', set, { ...request, from: 'shop/frontend', port: 7070 });
  await until('the page', () => tabs().some(({ label }) => label.startsWith('Trace shop/frontend')));
  await vscode.commands.executeCommand('hopscope.reveal', set, {
    file: '../../etc/passwd',
    range: { start: { line: 1, column: 1 }, end: { line: 1, column: 1 } },
  });
  assert.ok(!vscode.window.visibleTextEditors.some(({ document }) => document.fileName.includes('passwd')));
  await vscode.window.tabGroups.close(tabs());
});

test('messages that are none are not read', () => {
  for (const message of [
    null,
    1,
    'ask',
    [],
    {},
    { type: 'ask' },
    { type: 'ask', id: 1, method: '__proto__', params: null },
    { type: 'ask', id: -1, method: 'ends', params: null },
    { type: 'setFiles', files: [['a']] },
  ]) {
    assert.equal(readToWorker(message), null, JSON.stringify(message));
    assert.equal(readFromWorker(message), null, JSON.stringify(message));
  }
  return Promise.resolve();
});

const inDist = (name: string): string => join(extension.extensionPath, 'dist', name);
const bytesOf = (name: string): Thenable<Uint8Array> => vscode.workspace.fs.readFile(vscode.Uri.file(inDist(name)));

test('a lost worker is replaced, with all its files', async () => {
  const log = { debug: () => undefined, warn: () => undefined, error: () => undefined };
  const client = new Client(
    'test',
    { script: inDist('worker.cjs'), datapath: await bytesOf('dataplane.trace.wasm') },
    log,
    () => undefined,
  );
  // There is none after one is lost that owed no answer.
  const workerOf = (): Worker | null => (client as unknown as { worker: Worker | null }).worker;
  client.setFile(
    'a.yaml',
    'apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec: { containers: [{ name: a, image: a }] }\n',
  );
  const pods = async (): Promise<readonly string[]> =>
    (await client.ask('ends', null)).map(({ ref }) => ref).filter((ref) => ref.endsWith('[Pod]'));
  assert.deepEqual(await pods(), ['default/a[Pod]']);
  const asked = pods();
  await workerOf()?.terminate();
  assert.deepEqual(await asked, ['default/a[Pod]']);
  await workerOf()?.terminate();
  assert.deepEqual(await pods(), ['default/a[Pod]']);
  client.dispose();
  await assert.rejects(pods());
});

test('the benchmark runs', async () => {
  const report = await vscode.commands.executeCommand<{
    schema: string;
    results: { profile: string; nsPerPacket: { median: number } }[];
  }>('hopscope.runBenchmark', 'established-1k');
  assert.equal(report.schema, 'hopscope.bench/1');
  assert.deepEqual(
    report.results.map(({ profile }) => profile),
    ['established-1k'],
  );
  assert.ok(report.results[0]!.nsPerPacket.median > 0);
});

test('the benchmark can be cancelled at any time', async () => {
  const cancel = new vscode.CancellationTokenSource();
  const engine = {
    script: inDist('worker.cjs'),
    fast: await bytesOf('dataplane.wasm'),
    trace: await bytesOf('dataplane.trace.wasm'),
  };
  const start = Date.now();
  const running = runBenchmark(engine, ['established-1m', 'new-flows'], cancel.token, () => cancel.cancel());
  assert.equal(await running, null);
  assert.ok(Date.now() - start < 5000);
});

test('Reload starts over', async () => {
  await vscode.commands.executeCommand('hopscope.reload');
  await found('ads.yaml', 'HS2001');
});

export async function run(): Promise<void> {
  let failed = 0;
  for (const [name, body] of tests) {
    const start = Date.now();
    try {
      await body();
      console.log(`  ok    ${name} (${Date.now() - start} ms)`);
    } catch (error) {
      failed++;
      console.log(`  FAIL  ${name}\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    }
  }
  console.log(`${tests.length - failed} passed, ${failed} failed`);
  if (failed > 0) throw new Error(`${failed} failed`);
}
