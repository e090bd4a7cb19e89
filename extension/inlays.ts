/** Remarks behind values. */
import * as vscode from 'vscode';
import type { AnnotationSource } from './annotations.js';
import type { Configuration } from './configuration.js';
import { inMarkdown, visible } from './literal.js';
import { toPosition } from './positions.js';
import { LANGUAGES } from './workspace.js';

export function provideInlays(annotations: AnnotationSource, configuration: Configuration): vscode.Disposable {
  return vscode.languages.registerInlayHintsProvider(LANGUAGES, {
    onDidChangeInlayHints: annotations.onDidChange,
    async provideInlayHints(document, range, token) {
      if (!configuration.editor('inlayHints.enabled', document.uri)) return [];
      const annotated = await annotations.of(document, token);
      return (annotated?.result.inlays ?? [])
        .map(({ position, text, tooltip }) => {
          const hint = new vscode.InlayHint(toPosition(position), visible(text));
          hint.tooltip = new vscode.MarkdownString(tooltip.split('\n').map(inMarkdown).join('  \n'));
          hint.paddingLeft = true;
          return hint;
        })
        .filter((hint) => range.contains(hint.position));
    },
  });
}
