/** One question for both lenses and inlay hints of a document; the last answer stays where a new one fails. */
import * as vscode from 'vscode';
import type { Annotations } from '../dataplane/answers/annotations.js';
import { onDidChangeSettings } from './configuration.js';
import type { ManifestSet } from './manifest-set.js';
import type { Workspace } from './workspace.js';

export interface Annotated {
  readonly set: ManifestSet;
  readonly result: Annotations;
}

export class AnnotationSource implements vscode.Disposable {
  private readonly last = new WeakMap<vscode.TextDocument, Annotated>();
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly subscriptions: vscode.Disposable;
  readonly onDidChange = this.changed.event;

  constructor(private readonly workspace: Workspace) {
    this.subscriptions = vscode.Disposable.from(
      this.changed,
      workspace.onDidChange(() => this.changed.fire()),
      workspace.onDidClose(() => this.changed.fire()),
      onDidChangeSettings(() => this.changed.fire()),
    );
  }

  async of(document: vscode.TextDocument, token: vscode.CancellationToken): Promise<Annotated | null> {
    try {
      const asked = await this.workspace.ask(document, token, 'annotations', (file) => ({ file }));
      if (asked) this.last.set(document, asked);
      return asked;
    } catch {
      // The client has written down why.
      return this.last.get(document) ?? null;
    }
  }

  dispose(): void {
    this.subscriptions.dispose();
  }
}
