/** Manifests that hold together: those of a workspace folder, or one open file outside of all. A session answers for each. */
import * as vscode from 'vscode';
import { SETTINGS_FILE } from '../dataplane/settings.js';
import type { Client } from './client.js';
import type { Content } from './protocol.js';

/** Bytes that cannot be a manifest are never sent. UTF-16 is found too: its NULs are left out. */
export function isManifest(content: Content): boolean {
  const text =
    typeof content === 'string'
      ? content
      : Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString('latin1').replaceAll('\0', '');
  return text.includes('apiVersion') && text.includes('kind');
}

const isSettingsFile = (uri: vscode.Uri): boolean => uri.path.endsWith(`/${SETTINGS_FILE}`);

export class ManifestSet {
  private static lastId = 0;
  /** Names the set in the arguments of commands. */
  readonly id = ++ManifestSet.lastId;
  /** What was sent, by URI; `version` is that of the open document whose text it was. */
  private readonly sent = new Map<
    string,
    { readonly file: string; readonly uri: vscode.Uri; version: number | null }
  >();
  private readonly uris = new Map<string, vscode.Uri>();

  constructor(
    readonly name: string,
    /** null for a single file. */
    readonly root: vscode.Uri | null,
    readonly client: Client,
  ) {}

  /** The session's name of a file of this set: its path below the folder. */
  fileOf(uri: vscode.Uri): string {
    const { root } = this;
    if (!root) return uri.path.slice(uri.path.lastIndexOf('/') + 1);
    return uri.path.slice(root.path.endsWith('/') ? root.path.length : root.path.length + 1);
  }

  /** Where a file of the session is; null for one that it does not have. */
  uriOf(file: string): vscode.Uri | null {
    return this.uris.get(file) ?? null;
  }

  get size(): number {
    return this.sent.size;
  }

  has(uri: vscode.Uri): boolean {
    return this.sent.has(uri.toString());
  }

  /** URIs sent that are `uri` or below it. */
  below(uri: vscode.Uri): vscode.Uri[] {
    return [...this.sent.values()]
      .map((one) => one.uri)
      .filter((one) => one.path === uri.path || one.path.startsWith(`${uri.path}/`));
  }

  /**
   * Takes the content of a file: a manifest, or what was one before. `version` is the open document's.
   * Says whether anything was sent.
   */
  put(uri: vscode.Uri, content: Content, version: number | null): boolean {
    const key = uri.toString();
    const known = this.sent.get(key);
    if (known && version !== null && known.version === version) return false;
    if (!known && !isSettingsFile(uri) && !isManifest(content)) return false;
    const file = known?.file ?? this.fileOf(uri);
    this.sent.set(key, { file, uri, version });
    this.uris.set(file, uri);
    this.client.setFile(file, content);
    return true;
  }

  remove(uri: vscode.Uri): boolean {
    const known = this.sent.get(uri.toString());
    if (!known) return false;
    this.sent.delete(uri.toString());
    this.uris.delete(known.file);
    this.client.setFile(known.file, null);
    return true;
  }

  /** Makes sure that the session has a document's present text. */
  update(document: vscode.TextDocument): boolean {
    const known = this.sent.get(document.uri.toString());
    return known?.version !== document.version && this.put(document.uri, document.getText(), document.version);
  }

  /** The document was closed: its text was only the editor's, and its versions start over when it is opened again. */
  forgetVersion(uri: vscode.Uri): void {
    const known = this.sent.get(uri.toString());
    if (known) known.version = null;
  }

  /** The version of the open document that was sent last; null for a file sent from disk. */
  versionOf(uri: vscode.Uri): number | null {
    return this.sent.get(uri.toString())?.version ?? null;
  }

  dispose(): void {
    this.client.dispose();
  }
}
