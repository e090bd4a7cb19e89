/** The manifests of the workspace, kept as they are: on disk, or in an editor that is ahead of the disk. */
import * as vscode from 'vscode';
import { Client, type Engine } from './client.js';
import { type Configuration, onDidChangeSettings } from './configuration.js';
import { find, isCandidate, isFolder, isIncluded, JSON_FILES, MAX_FILES, read, YAML } from './files.js';
import { isManifest, ManifestSet } from './manifest-set.js';
import type { Method, Params, Result } from './protocol.js';

/** Milliseconds from the last keystroke or change on disk until what is shown is renewed. */
const SETTLE = 60;
/** Files read at once. */
const READERS = 32;
/** New files up to this many are looked at one by one, more by reading the folder again. */
const MAX_SINGLE_LOOKS = 20;
/** Bytes of all manifests of a folder. */
const MAX_TOTAL = 256 * 1024 * 1024;
/** Schemes of documents that stand for a file of their own; a diff's left side, an output channel and the like do not. */
const SINGLE_FILE_SCHEMES = ['file', 'untitled', 'vscode-remote', 'vscode-vfs', 'vscode-userdata'];

export const LANGUAGES: vscode.DocumentSelector = [
  { language: 'yaml' },
  { language: 'json' },
  { pattern: '**/*.{yaml,yml,json}' },
];
const isOfLanguage = (document: vscode.TextDocument): boolean => vscode.languages.match(LANGUAGES, document) > 0;

export class Workspace implements vscode.Disposable {
  private readonly folders = new Map<string, ManifestSet>();
  private readonly singles = new Map<string, ManifestSet>();
  private readonly timers = new Map<ManifestSet, NodeJS.Timeout>();
  /** What the watchers saw since the last time it was looked at. */
  private readonly seen = new Map<string, vscode.Uri>();
  private seenTimer: NodeJS.Timeout | null = null;
  /** Folders that are being read for the first time, or again. */
  private readonly scans = new Map<ManifestSet, Promise<void>>();
  private readonly changed = new vscode.EventEmitter<ManifestSet>();
  private readonly closed = new vscode.EventEmitter<ManifestSet>();
  private readonly busyChanged = new vscode.EventEmitter<boolean>();
  private readonly subscriptions: { dispose(): unknown }[] = [this.changed, this.closed, this.busyChanged];
  private watchers: vscode.Disposable[] = [];

  /** Manifests or settings of the set are no longer as they were. */
  readonly onDidChange = this.changed.event;
  readonly onDidClose = this.closed.event;
  /** Whether manifests are being looked for. */
  readonly onDidChangeBusy = this.busyChanged.event;

  constructor(
    private readonly engine: Engine,
    private readonly configuration: Configuration,
    private readonly output: vscode.LogOutputChannel,
  ) {
    const { workspace } = vscode;
    this.subscriptions.push(
      workspace.onDidOpenTextDocument((document) => this.opened(document)),
      workspace.onDidChangeTextDocument(({ document }) => this.edited(document)),
      workspace.onDidCloseTextDocument((document) => void this.documentClosed(document)),
      workspace.onDidChangeWorkspaceFolders(() => void this.openFolders()),
      workspace.onDidChangeConfiguration((event) => event.affectsConfiguration('files.exclude') && void this.reload()),
      onDidChangeSettings(() => this.sets.forEach((set) => this.configure(set))),
    );
  }

  get sets(): readonly ManifestSet[] {
    return [...this.folders.values(), ...this.singles.values()].filter(({ size }) => size > 0);
  }

  setOf(uri: vscode.Uri): ManifestSet | null {
    const folder = vscode.workspace.getWorkspaceFolder(uri);
    const set = folder ? this.folders.get(folder.uri.toString()) : this.singles.get(uri.toString());
    return set ?? null;
  }

  /** The set of that number; for the arguments of commands. */
  setById(id: unknown): ManifestSet | null {
    return this.sets.find((set) => set.id === id) ?? null;
  }

  /**
   * Asks about a document. The answer is about the text that the document has when it is handed over: one about an
   * older text is thrown away and asked for again. null: the document is no manifest, or nobody waits any more.
   */
  async ask<M extends Method>(
    document: vscode.TextDocument,
    token: vscode.CancellationToken,
    method: M,
    params: (file: string) => Params<M>,
  ): Promise<{ readonly set: ManifestSet; readonly result: Result<M> } | null> {
    while (!document.isClosed && !token.isCancellationRequested) {
      const set = this.setOf(document.uri);
      if (!set) return null;
      await this.scans.get(set);
      this.flush(set);
      if (!set.has(document.uri)) return null;
      const { version } = document;
      const result = await set.client.ask(method, params(set.fileOf(document.uri)));
      if (document.version === version && !token.isCancellationRequested) return { set, result };
    }
    return null;
  }

  /** Asks about the whole set as it is in the editors now; `isCurrent` tells of a file whether it still is so. */
  async askSet<M extends Method>(
    set: ManifestSet,
    method: M,
    params: Params<M>,
  ): Promise<{ readonly result: Result<M>; readonly isCurrent: (uri: vscode.Uri) => boolean }> {
    await this.scans.get(set);
    this.flush(set);
    const versions = new Map(
      vscode.workspace.textDocuments.map((document) => [document.uri.toString(), document.version]),
    );
    const result = await set.client.ask(method, params);
    const isCurrent = (uri: vscode.Uri): boolean => {
      const document = vscode.workspace.textDocuments.find((one) => one.uri.toString() === uri.toString());
      return document === undefined || document.version === versions.get(uri.toString());
    };
    return { result, isCurrent };
  }

  /** Sends what the open documents say that the session does not know yet: another one may decide about the one asked about. */
  private flush(set: ManifestSet): void {
    for (const document of vscode.workspace.textDocuments) {
      if (document.isClosed || !isOfLanguage(document) || this.setOf(document.uri) !== set) continue;
      if (set.update(document)) this.settle(set);
    }
  }

  /** Opens the folders of the workspace and the documents outside of them. */
  async openFolders(): Promise<void> {
    const present = new Map((vscode.workspace.workspaceFolders ?? []).map((folder) => [folder.uri.toString(), folder]));
    for (const [key, set] of this.folders) if (!present.has(key)) this.close(this.folders, key, set);
    const added = [...present].filter(([key]) => !this.folders.has(key));
    for (const [key, { name, uri }] of added) this.folders.set(key, this.createSet(name, uri, uri));
    this.watch([...present.values()]);
    vscode.workspace.textDocuments.forEach((document) => this.opened(document));
    await Promise.all(added.map(([key]) => this.scan(this.folders.get(key)!)));
  }

  /** Starts over: everything is read again, by fresh workers. */
  async reload(): Promise<void> {
    for (const [key, set] of this.folders) this.close(this.folders, key, set);
    for (const [key, set] of this.singles) this.close(this.singles, key, set);
    await this.openFolders();
  }

  dispose(): void {
    for (const timer of [...this.timers.values(), this.seenTimer]) if (timer) clearTimeout(timer);
    for (const set of [...this.folders.values(), ...this.singles.values()]) set.dispose();
    vscode.Disposable.from(...this.watchers, ...this.subscriptions).dispose();
  }

  private createSet(name: string, scope: vscode.Uri, root: vscode.Uri | null): ManifestSet {
    const set = new ManifestSet(
      name,
      root,
      new Client(name, this.engine, this.output, () => void this.offerReload(name)),
    );
    set.client.configure(this.configuration.engine(scope));
    return set;
  }

  private async offerReload(name: string): Promise<void> {
    const message = `Hopscope: the engine stopped too often; what is shown of ${name} is not kept up to date.`;
    if ((await vscode.window.showErrorMessage(message, 'Reload')) === 'Reload') await this.reload();
  }

  private configure(set: ManifestSet): void {
    set.client.configure(this.configuration.engine(set.root));
    this.settle(set);
  }

  private close(sets: Map<string, ManifestSet>, key: string, set: ManifestSet): void {
    sets.delete(key);
    clearTimeout(this.timers.get(set));
    this.timers.delete(set);
    set.dispose();
    this.closed.fire(set);
  }

  /** Says that a set changed, once it does so no more. */
  private settle(set: ManifestSet): void {
    clearTimeout(this.timers.get(set));
    this.timers.set(
      set,
      setTimeout(() => {
        this.flush(set);
        clearTimeout(this.timers.get(set));
        this.timers.delete(set);
        this.changed.fire(set);
      }, SETTLE),
    );
  }

  // Documents: an editor's text counts, saved or not.

  private opened(document: vscode.TextDocument): void {
    if (!isOfLanguage(document)) return;
    const { uri } = document;
    if (vscode.workspace.getWorkspaceFolder(uri)) this.edited(document);
    else if (SINGLE_FILE_SCHEMES.includes(uri.scheme) && isManifest(document.getText())) {
      const key = uri.toString();
      if (!this.singles.has(key))
        this.singles.set(key, this.createSet(uri.path.slice(uri.path.lastIndexOf('/') + 1), uri, null));
      this.edited(document);
    }
  }

  private edited(document: vscode.TextDocument): void {
    if (!isOfLanguage(document)) return;
    const set = this.setOf(document.uri);
    if (!set) {
      // A new document becomes a manifest while it is written.
      if (!vscode.workspace.getWorkspaceFolder(document.uri) && isManifest(document.getText())) this.opened(document);
      return;
    }
    const known = set.has(document.uri);
    if (known) {
      // Its text is sent when it is asked about, or has settled.
      if (set.versionOf(document.uri) !== document.version) this.settle(set);
    } else if (set.update(document)) {
      this.settle(set);
      // In a folder without YAML manifests JSON files are read from the first that is opened on.
      if (document.uri.path.endsWith('.json')) void this.scan(set);
    }
  }

  private async documentClosed({ uri }: vscode.TextDocument): Promise<void> {
    const single = this.singles.get(uri.toString());
    if (single) return this.close(this.singles, uri.toString(), single);
    const set = this.setOf(uri);
    if (!set?.has(uri)) return;
    set.forgetVersion(uri);
    const changed =
      set.root && (await isIncluded(uri, set.root)) ? (await this.readFile(set, uri)) > 0 : set.remove(uri);
    if (changed) this.settle(set);
  }

  // The disk.

  private async scan(set: ManifestSet): Promise<void> {
    const { root } = set;
    if (!root) return;
    const scan = (this.scans.get(set) ?? Promise.resolve()).then(() => this.readFolder(set, root));
    this.scans.set(set, scan);
    this.busyChanged.fire(true);
    await scan.catch((error: unknown) => this.output.error(`${set.name}: ${String(error)}`));
    if (this.scans.get(set) === scan) this.scans.delete(set);
    this.busyChanged.fire(this.scans.size > 0);
    if (set.size > 0) this.settle(set);
  }

  private async readFolder(set: ManifestSet, root: vscode.Uri): Promise<void> {
    const start = Date.now();
    let room = MAX_FILES + 1;
    // YAML first, so that data in JSON takes no manifest's place; without any manifest JSON is not even read.
    for (const glob of [YAML, JSON_FILES]) {
      if (room <= 0 || (glob === JSON_FILES && set.size === 0)) continue;
      const uris = await find(root, glob, room);
      room -= uris.length;
      await this.readAll(set, uris.slice(0, MAX_FILES));
    }
    if (room <= 0) this.warnOfLimit(set, `more than ${MAX_FILES} YAML and JSON files`);
    this.output.info(`${set.name}: ${set.size} manifest files, read in ${Date.now() - start} ms`);
  }

  private async readAll(set: ManifestSet, uris: readonly vscode.Uri[]): Promise<void> {
    let total = 0;
    const links = new Map<string, boolean>();
    for (let i = 0; i < uris.length && total <= MAX_TOTAL; i += READERS) {
      const sizes = await Promise.all(
        uris.slice(i, i + READERS).map((uri) => (set.has(uri) ? Promise.resolve(0) : this.readFile(set, uri, links))),
      );
      total = sizes.reduce((sum, size) => sum + size, total);
    }
    if (total > MAX_TOTAL) this.warnOfLimit(set, 'more than 256 MB of manifests');
  }

  private warnOfLimit(set: ManifestSet, what: string): void {
    const message = `${set.name} has ${what}; the rest is left out, and verdicts hold without it. "files.exclude" narrows what is read.`;
    this.output.warn(message);
    void vscode.window.showWarningMessage(`Hopscope: ${message}`);
  }

  /** Sends a file's bytes, unless it is open: then its text counts. Returns how many were sent. */
  private async readFile(set: ManifestSet, uri: vscode.Uri, links = new Map<string, boolean>()): Promise<number> {
    const content = set.root && (await read(uri, set.root, links).catch(() => null));
    const document = vscode.workspace.textDocuments.find(
      (one) => !one.isClosed && one.uri.toString() === uri.toString(),
    );
    if (document && isOfLanguage(document)) {
      set.update(document);
      return document.getText().length;
    }
    if (content instanceof Uint8Array) return set.put(uri, content, null) ? content.length : 0;
    if (content) this.output.warn(`${set.name}: ${set.fileOf(uri)} is not read: ${content.refused}`);
    return set.remove(uri) ? 1 : 0;
  }

  private watch(folders: readonly vscode.WorkspaceFolder[]): void {
    vscode.Disposable.from(...this.watchers).dispose();
    this.watchers = folders.map((folder) => {
      const watcher = vscode.workspace.createFileSystemWatcher(new vscode.RelativePattern(folder, '**'));
      const seen = (uri: vscode.Uri): void => {
        this.seen.set(uri.toString(), uri);
        this.seenTimer ??= setTimeout(() => void this.lookAtSeen(), SETTLE);
      };
      return vscode.Disposable.from(
        watcher,
        watcher.onDidCreate(seen),
        watcher.onDidChange(seen),
        watcher.onDidDelete(seen),
      );
    });
  }

  /** Files known before are read again or go; new ones, and all that is in new folders, are taken in. */
  private async lookAtSeen(): Promise<void> {
    const uris = [...this.seen.values()];
    this.seen.clear();
    this.seenTimer = null;
    const rescan = new Set<ManifestSet>();
    for (const uri of uris) {
      const set = this.setOf(uri);
      if (!set?.root || rescan.has(set)) continue;
      const known = set.below(uri);
      for (const one of known) if ((await this.readFile(set, one)) > 0) this.settle(set);
      if (known.length > 0) continue;
      if (uris.length > MAX_SINGLE_LOOKS || (!isCandidate(uri.path) && (await isFolder(uri)))) rescan.add(set);
      else if (isCandidate(uri.path) && (await isIncluded(uri, set.root)) && (await this.readFile(set, uri)) > 0)
        this.settle(set);
    }
    await Promise.all([...rescan].map((set) => this.scan(set)));
  }
}
