/** What the editor shows on a file, for a terminal: its text with lenses above, hints behind and problems below the lines. */
import type { Annotations } from '../answers/annotations.js';
import type { ProblemReport } from '../problems.js';

export function annotationsText(
  file: string,
  text: string,
  { lenses, inlays }: Annotations,
  problems: readonly ProblemReport[],
): string {
  const lines = text.replace(/\n$/, '').split(/\r\n|\r|\n/);
  const shown = lines.flatMap((line, i) => {
    const number = i + 1;
    const own = lenses.filter(({ range }) => range.start.line === number);
    const indent = /^\s*/.exec(line)![0];
    const above = own.length > 0 ? [`      | ${indent}» ${own.map(({ title }) => title).join(' | ')}`] : [];
    const hints = inlays.filter(({ position }) => position.line === number).map((inlay) => inlay.text);
    const below = problems
      .filter(({ range }) => range.start.line === number)
      .map(
        ({ range, severity, code, message }) =>
          `      | ${' '.repeat(range.start.column - 1)}^ ${severity} ${code} ${message}`,
      );
    return [
      ...above,
      `${String(number).padStart(5)} | ${line}${hints.length > 0 ? `   ${hints.join('  ')}` : ''}`,
      ...below,
    ];
  });
  return `${[file, ...shown].join('\n')}\n`;
}
