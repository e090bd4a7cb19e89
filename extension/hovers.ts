/** Hovers: the verdict first, then what decided it. */
import * as vscode from 'vscode';
import type { HoverCard, Span } from '../dataplane/answers/annotations.js';
import { LINKED_COMMANDS, linkOf } from './actions.js';
import type { Configuration } from './configuration.js';
import { inCode, inMarkdown } from './literal.js';
import type { ManifestSet } from './manifest-set.js';
import { fromPosition, toRange } from './positions.js';
import { LANGUAGES, type Workspace } from './workspace.js';

export function provideHovers(workspace: Workspace, configuration: Configuration): vscode.Disposable {
  return vscode.languages.registerHoverProvider(LANGUAGES, {
    async provideHover(document, position, token) {
      if (!configuration.editor('hover.enabled', document.uri)) return null;
      const asked = await workspace.ask(document, token, 'hover', (file) => ({
        file,
        position: fromPosition(position),
      }));
      return asked?.result ? new vscode.Hover(toMarkdown(asked.set, asked.result), toRange(asked.result.range)) : null;
    },
  });
}

/** A hover has colours for nothing but code and links, so a verdict has a mark. */
const MARKS: Readonly<Partial<Record<NonNullable<Span['style']>, string>>> = {
  allowed: '✓',
  denied: '✗',
  conditional: '◐',
  unknown: '?',
};

export function toMarkdown(set: ManifestSet, { lines }: HoverCard): vscode.MarkdownString {
  const shown = lines.map((line) => line.map((span) => inSpan(set, span)).join(''));
  // Two spaces and a line feed are a line break within a paragraph.
  const markdown = new vscode.MarkdownString(shown.join('  \n'));
  markdown.supportHtml = false;
  markdown.supportThemeIcons = false;
  markdown.isTrusted = { enabledCommands: LINKED_COMMANDS };
  return markdown;
}

function inSpan(set: ManifestSet, { text, style, action }: Span): string {
  const mark = style && MARKS[style];
  const shown =
    style === 'code'
      ? inCode(text)
      : mark
        ? `**${mark} ${inMarkdown(text)}**`
        : style === 'strong'
          ? emphasized(text)
          : inMarkdown(text);
  return action ? `[${shown}](${linkOf(set, action)})` : shown;
}

/** Markdown takes `**` next to a space for two asterisks. */
function emphasized(text: string): string {
  const [, before = '', core = '', after = ''] = /^(\s*)(.*?)(\s*)$/s.exec(text) ?? [];
  return core === '' ? inMarkdown(text) : `${before}**${inMarkdown(core)}**${after}`;
}
