/** Text of a manifest, made to be shown as it is: it never becomes a link, a command, an icon or markup. */

/** Kubernetes names end at 253; longer text says nothing more. */
const MAX_LENGTH = 253;

/** Controls, and the characters that reorder or hide others. */
const INVISIBLE =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** Where every character can be seen; for places that show plain text. */
export function visible(text: string, maxLength = MAX_LENGTH): string {
  const cut = text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
  return cut.replace(INVISIBLE, (character) =>
    character === '\n' ? '⏎' : `⟨U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`,
  );
}

/**
 * For Markdown. Every ASCII punctuation mark is escaped, which CommonMark allows for all of them: no markup can begin, and
 * neither `http://`, `www.` nor `a@b` is recognised as an address.
 */
export const inMarkdown = (text: string): string =>
  visible(text)
    .replace(/[!-/:-@[-`{-~]/g, '\\$&')
    .replace(/^ +/, (spaces) => '\u00a0'.repeat(spaces.length));

/** For a code span: its fence is longer than any run of backticks in it. */
export function inCode(text: string): string {
  const shown = visible(text);
  const runs = shown.match(/`+/g) ?? [];
  const fence = '`'.repeat(Math.max(0, ...runs.map((run) => run.length)) + 1);
  return /^[` ]|[` ]$/.test(shown) || shown === '' ? `${fence} ${shown} ${fence}` : `${fence}${shown}${fence}`;
}

/** For a message, in which VS Code makes links of `[label](target)`. */
export const inMessage = (text: string, maxLength = MAX_LENGTH): string =>
  visible(text, maxLength).replace(/\]\(/g, '] (');

/** For a label in which VS Code reads `$(name)` as an icon: lenses, pick lists, the status bar. */
export const inLabel = (text: string): string => visible(text).replace(/\$\(/g, '\\$(');
