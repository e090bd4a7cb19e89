/** Problems for people at a terminal: grouped by file, each with its line and what of it is meant. */
import type { Position, Range } from '../manifests/place.js';
import type { ProblemReport, Severity } from '../problems.js';
import { count, list, visible } from '../words.js';

/** Widest part of a source line that is shown. */
const WIDTH = 120;

/** `textOf` gives the text of a file; null where only its problems are known. */
export function checkText(problems: readonly ProblemReport[], textOf: (file: string) => string | null): string {
  if (problems.length === 0) return 'No problems found.\n';
  const lines: string[] = [];
  let file: string | null = null;
  let source: readonly string[] = [];
  for (const found of problems) {
    if (found.file !== file) {
      if (file !== null) lines.push('');
      file = found.file;
      source = textOf(file)?.split(/\r\n|\r|\n/) ?? [];
    }
    const line = source[found.range.start.line - 1];
    lines.push(`${at(found.file, found.range.start)} ${found.severity} ${found.code} ${visible(found.message)}`);
    if (line !== undefined) lines.push(...excerpt(line, found.range));
    for (const { file, range, message } of found.related)
      lines.push(`    see ${at(file, range.start)} ${visible(message)}`);
    if (found.fixes.length > 0) lines.push(`    fix: ${found.fixes.map(visible).join(', or ')}`);
  }
  return `${[...lines, '', summary(problems)].join('\n')}\n`;
}

const at = (file: string, { line, column }: Position): string => `${visible(file)}:${line}:${column}`;

/** The line with a caret under each character of the range, as far as it lies on this line. */
function excerpt(text: string, { start, end }: Range): string[] {
  const last =
    end.line === start.line ? Math.max(end.column, start.column + 1) : Math.max(text.length + 1, start.column + 1);
  // A long line is shown from a little before the range.
  const first = start.column > WIDTH - 40 ? start.column - 40 : 1;
  const shown = visible(text.slice(first - 1, first - 1 + WIDTH).replaceAll('\t', ' ')).trimEnd();
  const carets = '^'.repeat(Math.max(1, Math.min(last, first + WIDTH) - start.column));
  const number = `${start.line}`;
  const gutter = ' '.repeat(number.length);
  return [`    ${number} | ${shown}`, `    ${gutter} | ${' '.repeat(start.column - first)}${carets}`];
}

function summary(problems: readonly ProblemReport[]): string {
  const severities: readonly Severity[] = ['error', 'warning', 'info'];
  const counts = severities.flatMap((severity) => {
    const number = problems.filter((found) => found.severity === severity).length;
    return number === 0 ? [] : [severity === 'info' ? `${number} info` : count(number, severity)];
  });
  return `${list(counts)}.`;
}
