/** Problems as a Markdown table, for a comment on a pull request. */
import { PROBLEMS, type ProblemReport } from '../problems.js';
import { count, visible } from '../words.js';

/** Code hosts refuse comments over 65,536 characters. */
const MOST_CHARACTERS = 60_000;

export function checkMarkdown(problems: readonly ProblemReport[]): string {
  if (problems.length === 0) return 'Hopscope found no problems.\n';
  const lines = [
    `Hopscope found ${count(problems.length, 'problem')}.`,
    '',
    '| Where | | Problem |',
    '| --- | --- | --- |',
  ];
  let characters = 0;
  for (const [i, found] of problems.entries()) {
    const row = rowOf(found);
    characters += row.length + 1;
    if (characters > MOST_CHARACTERS) {
      lines.push('', `And ${problems.length - i} more.`);
      break;
    }
    lines.push(row);
  }
  return `${lines.join('\n')}\n`;
}

function rowOf({ code, severity, message, file, range, fixes }: ProblemReport): string {
  const { line, column } = range.start;
  const fix = fixes.length > 0 ? `<br>Fix: ${literal(fixes.join(', or '))}` : '';
  return `| ${literal(`${file}:${line}:${column}`)} | ${severity} ${code} | ${PROBLEMS[code][1]}<br>${literal(message)}${fix} |`;
}

/**
 * Text that may come from a manifest. As code it is no mention, issue, commit or address to a code host; with all that
 * Markdown and HTML know as entities it is no mark-up and does not end the cell.
 */
const literal = (text: string): string =>
  `<code>${visible(text)
    .replace(/[^\p{L}\p{N}\p{M} ,;()/=+.-]/gu, (character) => `&#${character.codePointAt(0)!};`)
    .replace(/(www)\./gi, '$1&#46;')}</code>`;
