/** Which room may look into which: held over the bundler's own account of who imports whom. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { build } from 'esbuild';

const ENTRIES = ['assembly/index.ts', 'dataplane/cli/main.ts', 'extension/main.ts', 'extension/worker.ts'];

interface Edge {
  readonly from: string;
  readonly to: string;
}

/** Every import of every source file, packages and Node's own modules by their name. */
async function edges(): Promise<Edge[]> {
  const { metafile } = await build({
    entryPoints: ENTRIES,
    bundle: true,
    write: false,
    metafile: true,
    outdir: 'unused',
    format: 'esm',
    platform: 'node',
    packages: 'external',
    external: ['vscode'],
    loader: { '.yaml': 'text' },
    tsconfigRaw: { compilerOptions: { experimentalDecorators: true, verbatimModuleSyntax: true } },
    logLevel: 'silent',
  });
  return Object.entries(metafile.inputs).flatMap(([from, { imports }]) =>
    imports.filter(({ path }) => path !== '<runtime>').map(({ path }) => ({ from, to: path })),
  );
}

const isSource = (path: string): boolean => /^(assembly|dataplane|extension|pkg)\//.test(path);

function breaking(all: readonly Edge[], from: RegExp, allowed: RegExp): string[] {
  return all
    .filter((edge) => from.test(edge.from) && !allowed.test(edge.to))
    .map((edge) => `${edge.from} → ${edge.to}`);
}

/** What each room may import: its own files, and what stands here. */
const RULES: readonly (readonly [from: RegExp, allowed: RegExp])[] = [
  [/^assembly\//, /^assembly\//],
  [/^assembly\/abi\.ts$/, /^$/],
  [/^assembly\/wire\//, /^assembly\/(abi\.ts|wire\/)/],
  [/^assembly\/maps\//, /^assembly\/(abi\.ts|wire\/|maps\/)/],
  [/^assembly\/lib\//, /^assembly\/(abi\.ts|wire\/|maps\/|lib\/)/],
  [/^assembly\/(lxc|netdev|overlay|sock|wireguard)\.ts$/, /^assembly\/(abi\.ts|wire\/|maps\/|lib\/)/],
  [/^assembly\/registry\.ts$/, /^assembly\/(abi\.ts|maps\/|lib\/)/],
  [/^assembly\/run\.ts$/, /^assembly\/(abi\.ts|wire\/|lib\/|lxc\.ts|netdev\.ts|overlay\.ts|sock\.ts|wireguard\.ts)/],
  [/^assembly\/batch\.ts$/, /^assembly\/(abi\.ts|wire\/|lib\/|run\.ts)/],
  // Within lib: endpoint, ipcache < conntrack < nat < lb; rewriting knows of no map.
  [/^assembly\/lib\/(endpoint|ipcache)\.ts$/, /^(?!assembly\/lib\/(conntrack|nat|lb|policy)\.ts)/],
  [/^assembly\/lib\/conntrack\.ts$/, /^(?!assembly\/lib\/(nat|lb|policy)\.ts)/],
  [/^assembly\/lib\/nat\.ts$/, /^(?!assembly\/lib\/(lb|policy)\.ts)/],
  [/^assembly\/lib\/rewrite\.ts$/, /^assembly\/(abi|wire\/\w+|lib\/(packet|recording))\.ts$/],
  [/^dataplane\//, /^(dataplane\/|pkg\/|assembly\/abi\.ts$|ipaddr\.js$|yaml$|node:|examples\/)/],
  // Only the command line is Node's; everything else runs in a browser's worker too.
  [/^dataplane\/(?!cli\/)/, /^(?!node:|dataplane\/cli\/)/],
  // Examples are data for the benchmark, and for nothing else.
  [/^dataplane\/(?!bench\/)/, /^(?!examples\/)/],
  [/^pkg\//, /^(pkg\/|@assemblyscript\/loader$)/],
  [/^extension\//, /^(extension\/|dataplane\/(?!cli\/)|vscode$|node:(worker_threads|os|path)$)/],
];

test('every import goes the right way', async () => {
  const all = await edges();
  assert.ok(all.length > 100, 'the bundler saw the sources');
  assert.deepEqual(
    RULES.flatMap(([from, allowed]) => breaking(all, from, allowed)),
    [],
  );
});

test('a wrong import would be found', () => {
  const wrong = [
    { from: 'dataplane/state.ts', to: 'vscode' },
    { from: 'dataplane/state.ts', to: 'assembly/lib/lb.ts' },
    { from: 'assembly/wire/ipv4.ts', to: 'assembly/lib/lb.ts' },
    { from: 'dataplane/answers/query.ts', to: 'node:fs' },
    { from: 'assembly/lib/ipcache.ts', to: 'assembly/lib/lb.ts' },
  ];
  for (const edge of wrong)
    assert.notDeepEqual(
      RULES.flatMap(([from, allowed]) => breaking([edge], from, allowed)),
      [],
      `${edge.from} → ${edge.to}`,
    );
});

test('no file imports itself, however far round', async () => {
  const next = new Map<string, string[]>();
  for (const { from, to } of await edges()) if (isSource(to)) next.set(from, [...(next.get(from) ?? []), to]);
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' → '));
    if (done.has(file) || path.includes(file)) return;
    for (const to of next.get(file) ?? []) visit(to, [...path, file]);
    done.add(file);
  };
  for (const file of next.keys()) visit(file, []);
  assert.deepEqual(cycles, []);
});
