/** Problems in the manifests, as they are now. */
import * as vscode from 'vscode';
import type { ProblemReport, Severity } from '../dataplane/problems.js';
import type { Configuration } from './configuration.js';
import { visible } from './literal.js';
import type { ManifestSet } from './manifest-set.js';
import { toRange } from './positions.js';
import type { Workspace } from './workspace.js';

const SEVERITIES: Readonly<Record<Severity, vscode.DiagnosticSeverity>> = {
  error: vscode.DiagnosticSeverity.Error,
  warning: vscode.DiagnosticSeverity.Warning,
  info: vscode.DiagnosticSeverity.Information,
};
/** Which severities a setting of `diagnostics.minimumSeverity` lets through. */
const SHOWN: Readonly<Record<'error' | 'warning' | 'info' | 'none', readonly Severity[]>> = {
  error: ['error'],
  warning: ['error', 'warning'],
  info: ['error', 'warning', 'info'],
  none: [],
};
/** A message may quote the manifest. */
const MAX_MESSAGE = 2000;

export interface Counts {
  readonly errors: number;
  readonly warnings: number;
}

export class Diagnostics implements vscode.Disposable {
  private readonly collection = vscode.languages.createDiagnosticCollection('hopscope');
  private readonly counts = new Map<ManifestSet, Counts>();
  /** URIs with problems, by set. */
  private readonly shown = new Map<ManifestSet, ReadonlyMap<string, vscode.Uri>>();
  /** Sets that are being asked; `true`: changed since, to be asked again. */
  private readonly asking = new Map<ManifestSet, boolean>();
  private readonly published = new vscode.EventEmitter<void>();
  private readonly subscriptions: vscode.Disposable;
  readonly onDidPublish = this.published.event;

  constructor(
    private readonly workspace: Workspace,
    private readonly configuration: Configuration,
    private readonly output: vscode.LogOutputChannel,
  ) {
    this.subscriptions = vscode.Disposable.from(
      this.collection,
      this.published,
      workspace.onDidChange((set) => void this.renew(set)),
      workspace.onDidClose((set) => this.clear(set)),
    );
  }

  /** Errors and warnings over all sets. */
  get total(): Counts {
    const all = [...this.counts.values()];
    const sum = (count: keyof Counts): number => all.reduce((total, counts) => total + counts[count], 0);
    return { errors: sum('errors'), warnings: sum('warnings') };
  }

  dispose(): void {
    this.subscriptions.dispose();
  }

  /** One question at a time for each set; a change meanwhile asks once more. */
  private async renew(set: ManifestSet): Promise<void> {
    if (this.asking.has(set)) return void this.asking.set(set, true);
    try {
      do {
        this.asking.set(set, false);
        const { result, isCurrent } = await this.workspace.askSet(set, 'problems', null);
        this.publish(set, result, isCurrent);
      } while (this.asking.get(set));
    } catch (error) {
      // What is shown stays; the client has written down why.
      this.output.debug(`${set.name}: problems: ${String(error)}`);
    } finally {
      this.asking.delete(set);
    }
  }

  private publish(set: ManifestSet, problems: readonly ProblemReport[], isCurrent: (uri: vscode.Uri) => boolean): void {
    if (!this.workspace.sets.includes(set)) return this.clear(set);
    const lowest = SHOWN[this.configuration.editor('diagnostics.minimumSeverity', set.root)];
    const byFile = new Map<string, ProblemReport[]>();
    for (const problem of problems) {
      if (lowest.includes(problem.severity)) byFile.set(problem.file, [...(byFile.get(problem.file) ?? []), problem]);
    }
    const before = this.shown.get(set) ?? new Map<string, vscode.Uri>();
    const now = new Map<string, vscode.Uri>();
    for (const [file, found] of byFile) {
      const uri = set.uriOf(file);
      if (!uri) continue;
      now.set(uri.toString(), uri);
      // A document that went on meanwhile gets its problems with the next answer, which is under way.
      if (isCurrent(uri))
        this.collection.set(
          uri,
          found.map((problem) => toDiagnostic(set, problem)),
        );
    }
    for (const [key, uri] of before) if (!now.has(key)) this.collection.delete(uri);
    this.shown.set(set, now);
    const count = (severity: Severity): number => problems.filter((problem) => problem.severity === severity).length;
    this.counts.set(set, { errors: count('error'), warnings: count('warning') });
    this.published.fire();
  }

  private clear(set: ManifestSet): void {
    for (const uri of this.shown.get(set)?.values() ?? []) this.collection.delete(uri);
    this.shown.delete(set);
    this.counts.delete(set);
    this.published.fire();
  }
}

function toDiagnostic(
  set: ManifestSet,
  { code, severity, message, range, related, fixes }: ProblemReport,
): vscode.Diagnostic {
  const advice = fixes.map((fix) => `\n→ ${visible(fix, MAX_MESSAGE)}`).join('');
  const diagnostic = new vscode.Diagnostic(
    toRange(range),
    visible(message, MAX_MESSAGE) + advice,
    SEVERITIES[severity],
  );
  diagnostic.code = code;
  diagnostic.source = 'hopscope';
  diagnostic.relatedInformation = related.flatMap((other) => {
    const uri = set.uriOf(other.file);
    return uri
      ? [
          new vscode.DiagnosticRelatedInformation(
            new vscode.Location(uri, toRange(other.range)),
            visible(other.message, MAX_MESSAGE),
          ),
        ]
      : [];
  });
  return diagnostic;
}
