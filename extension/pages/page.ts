/** A page in a webview: nothing from outside, no script but ours, and text only as text. */
import * as vscode from 'vscode';
import { isRecord } from '../protocol.js';
import { element, type Make, type WebviewHost } from './dom.js';
import { STYLE } from './style.js';

/** Messages from the page that are taken in one second; more are dropped. */
const MAX_MESSAGES = 100;

export interface PageOptions {
  readonly viewType: string;
  readonly title: string;
  readonly style: string;
  /** Runs in the webview, so it may use nothing but its parameters: it is sent there as source text. */
  readonly script: (host: WebviewHost, make: Make) => void;
  /** A message of the page, of a type that it may send. It is checked further by who takes it. */
  readonly onMessage: (type: string, message: Readonly<Record<string, unknown>>) => void;
  readonly types: readonly string[];
}

export class Page {
  private panel: vscode.WebviewPanel | null = null;
  private state: unknown = null;
  private second = 0;
  private messages = 0;
  private readonly disposed = new vscode.EventEmitter<void>();
  readonly onDidDispose = this.disposed.event;

  constructor(private readonly options: PageOptions) {}

  /** Shows the state, in the panel that is there or a new one. */
  show(title: string, state: unknown, column: vscode.ViewColumn): void {
    if (this.panel) this.panel.reveal(undefined, true);
    else this.panel = this.open(column);
    this.update(title, state);
  }

  /** Replaces the state where the page is open. */
  update(title: string, state: unknown): void {
    if (!this.panel) return;
    this.panel.title = title;
    this.state = state;
    void this.panel.webview.postMessage(state);
  }

  dispose(): void {
    this.panel?.dispose();
    this.disposed.dispose();
  }

  private open(column: vscode.ViewColumn): vscode.WebviewPanel {
    const { viewType, title } = this.options;
    const showOptions = { viewColumn: column, preserveFocus: false };
    const panel = vscode.window.createWebviewPanel(viewType, title, showOptions, {
      enableScripts: true,
      localResourceRoots: [],
    });
    panel.webview.onDidReceiveMessage((message: unknown) => this.receive(message));
    panel.onDidDispose(() => {
      this.panel = null;
      this.disposed.fire();
    });
    panel.webview.html = this.html();
    return panel;
  }

  private receive(message: unknown): void {
    const second = Math.floor(Date.now() / 1000);
    if (second !== this.second) [this.second, this.messages] = [second, 0];
    if (++this.messages > MAX_MESSAGES || !this.panel || !isRecord(message) || typeof message['type'] !== 'string')
      return;
    // The page forgets everything while it is hidden, and asks when it is seen again.
    if (message['type'] === 'ready') void this.panel.webview.postMessage(this.state);
    else if (this.options.types.includes(message['type'])) this.options.onMessage(message['type'], message);
  }

  private html(): string {
    const nonce = nonceOf();
    const { style, script } = this.options;
    return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'nonce-${nonce}'; script-src 'nonce-${nonce}'">
<style nonce="${nonce}">${STYLE}${style}</style>
</head>
<body>
<main id="root"></main>
<script nonce="${nonce}">(${script.toString()})(acquireVsCodeApi(), ${element.toString()});</script>
</body>
</html>`;
  }
}

function nonceOf(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(18));
  return Buffer.from(bytes).toString('base64');
}
