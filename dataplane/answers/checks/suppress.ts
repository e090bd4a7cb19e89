/** `# hopscope-ignore: HS2003, HS2004 reason`, on a problem's line or above it, silences these codes there. HS1015: without a code. */
import { locate, SourceText } from '../../manifests/place.js';
import { problem, PROBLEMS, type Problem } from '../../problems.js';
import type { State } from '../../state.js';

const IGNORE = /(?:^|\s)#\s*hopscope-ignore:\s*(HS\d{4}(?:\s*,\s*HS\d{4})*)(?![\w])/;
const COMMENT = /^\s*#/;
/** The comment, whatever follows. */
const MENTION = /(?<=^|\s)#\s*hopscope-ignore(?![\w-]).*/;

/** The problems that no comment silences. */
export function withoutIgnored(state: State, problems: readonly Problem[]): Problem[] {
  const lines = new Map<string, readonly string[]>();
  return problems.filter(({ code, at }) => {
    const { file, range } = locate(at);
    let text = lines.get(file);
    // The settings file is none of the manifests.
    if (!text) lines.set(file, (text = linesOf(state.manifests.text(file) ?? at.source.text)));
    return !isIgnored(text, range.start.line - 1, code);
  });
}

/** The comments of the manifests that would silence something, and do not say what. */
export function checkComments(state: State): Problem[] {
  return state.manifests.files.flatMap((file) => {
    const text = state.manifests.text(file);
    if (!text?.includes('hopscope-ignore')) return [];
    const source = new SourceText(file, text);
    return linesOf(text).flatMap((line, i) => {
      const found = MENTION.exec(line);
      if (!found || codesIn(line).length > 0) return [];
      const start = source.lineStarts[i]! + found.index;
      const at = { source, start, end: start + found[0].trimEnd().length };
      return [
        problem('HS1015', at, PROBLEMS.HS1015[1], { fixes: ['name the code: `# hopscope-ignore: HS2001 reason`'] }),
      ];
    });
  });
}

const linesOf = (text: string): string[] => (text.includes('hopscope-ignore') ? text.split(/\r\n|\r|\n/) : []);

/** The line itself, the line above, and above that the lines of the same comment. */
function isIgnored(lines: readonly string[], index: number, code: string): boolean {
  if (codesIn(lines[index]).includes(code)) return true;
  for (let above = index - 1; above === index - 1 || COMMENT.test(lines[above] ?? ''); above--) {
    if (codesIn(lines[above]).includes(code)) return true;
    if (!COMMENT.test(lines[above] ?? '')) return false;
  }
  return false;
}

const codesIn = (line: string | undefined): string[] => IGNORE.exec(line ?? '')?.[1]?.split(/\s*,\s*/) ?? [];
