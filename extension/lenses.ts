/** A line above each object: what it comes to. */
import * as vscode from 'vscode';
import { commandOf } from './actions.js';
import type { AnnotationSource } from './annotations.js';
import type { Configuration } from './configuration.js';
import { inLabel } from './literal.js';
import { toRange } from './positions.js';
import { LANGUAGES } from './workspace.js';

export function provideLenses(annotations: AnnotationSource, configuration: Configuration): vscode.Disposable {
  return vscode.languages.registerCodeLensProvider(LANGUAGES, {
    onDidChangeCodeLenses: annotations.onDidChange,
    async provideCodeLenses(document, token) {
      if (!configuration.editor('codeLens.enabled', document.uri)) return [];
      const annotated = await annotations.of(document, token);
      return (annotated?.result.lenses ?? []).map(({ range, title, action }) => {
        const label = inLabel(title);
        return new vscode.CodeLens(
          toRange(range),
          action ? commandOf(annotated!.set, label, action) : { title: label, command: '' },
        );
      });
    },
  });
}
