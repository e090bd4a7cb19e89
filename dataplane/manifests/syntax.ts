import { Composer, Lexer, Parser, Schema, type CST, type ParsedNode } from 'yaml';
import { problem, type Problem } from '../problems.js';
import type { SourceText } from './place.js';
import { plainTreeOf } from './plain.js';
import { treeOf, Unreadable, type Tree } from './tree.js';

export const MAX_DEPTH = 256;

/** `${{ }}` belongs to other tools and is text to Helm's users and Kubernetes alike. */
const PLAIN_TEMPLATE = /(?<!\$)\{\{/;

/** The lexer's sign that a scalar follows. */
const SCALAR = '\u001f';

const OPTIONS = {
  /** Every scalar stays text; scalars.ts knows what Kubernetes takes it for. */
  schema: new Schema({ schema: 'failsafe', resolveKnownTags: false }),
  /** Checked in tree.ts; the parser's own check takes quadratic time. */
  uniqueKeys: false,
  prettyErrors: false,
  logLevel: 'silent',
} as const;

/** Line ends that Kubernetes knows and the parser does not; each is one UTF-16 unit, so offsets stay. */
const OTHER_LINE_ENDS = /\r(?!\n)|[\u0085\u2028\u2029]/g;

/** What a document says, or null where it says nothing. Throws Unreadable. */
export const parse = (source: SourceText, problems: Problem[]): Tree | null =>
  plainTreeOf(source) ?? parseAny(source, problems);

/** The same of YAML of any kind. */
export function parseAny(source: SourceText, problems: Problem[]): Tree | null {
  const text = source.text.replace(OTHER_LINE_ENDS, '\n');
  if (text.startsWith('\ufeff')) {
    const at = { source, start: 0, end: 1 };
    problems.push(problem('HS1014', at, 'A byte order mark stands inside the file; some tools lose this document.'));
  }
  const { tokens, quotedTemplate } = tokensOf(text, source);
  const root = compose(tokens, text, source, quotedTemplate);
  return root && treeOf(root, source, problems);
}

/**
 * Feeds the parser lexeme by lexeme. Lexer and Parser keep their own stack, so any depth is safe here; the Composer
 * recurses, and some hundred levels abort the whole process inside it. Hence the depth is refused before it runs.
 */
function tokensOf(text: string, source: SourceText): { tokens: CST.Token[]; quotedTemplate: number } {
  const parser = new Parser();
  const tokens: CST.Token[] = [];
  const template = new TemplateWatch(source);
  for (const lexeme of new Lexer().lex(text)) {
    const start = parser.offset;
    template.see(lexeme, start);
    for (const token of parser.next(lexeme)) tokens.push(token);
    if (parser.stack.length > MAX_DEPTH && levels(parser.stack) > MAX_DEPTH) {
      const at = { source, start, end: start + lexeme.length };
      throw new Unreadable('limits', problem('HS1002', at, `The document is nested deeper than ${MAX_DEPTH} levels.`));
    }
  }
  for (const token of parser.end()) tokens.push(token);
  return { tokens, quotedTemplate: template.quoted };
}

/** Collections open at this point: all of the stack but the document, and a scalar or key at its top. */
function levels(stack: readonly CST.Token[]): number {
  const top = stack.at(-1)?.type;
  return stack.length - (top === 'block-map' || top === 'block-seq' || top === 'flow-collection' ? 1 : 2);
}

/**
 * Looks for `{{` as the document is read. Where it makes the structure or stands in a plain value, the document is a
 * Helm template. In a comment or a block scalar it is text. In a quoted string it is text too, as long as the
 * document can be read: `"{{ include "name" . }}"` cannot.
 */
class TemplateWatch {
  /** Offset of the first `{{` in a quoted string, or -1. */
  quoted = -1;
  private brace = -2;
  private scalarFollows = false;
  private blockFollows = false;

  constructor(private readonly source: SourceText) {}

  see(lexeme: string, start: number): void {
    const first = lexeme[0];
    if (lexeme === SCALAR) this.scalarFollows = true;
    else if (this.scalarFollows) {
      if (!this.blockFollows) this.refuse(start, lexeme.search(PLAIN_TEMPLATE));
      this.scalarFollows = this.blockFollows = false;
    } else if (first === '"' || first === "'") {
      const found = lexeme.indexOf('{{');
      if (found >= 0 && this.quoted < 0) this.quoted = start + found;
    } else if (first === '|' || first === '>') this.blockFollows = true;
    else if (lexeme === '{') {
      if (this.brace === start - 1) this.refuse(this.brace, 0);
      this.brace = start;
    }
  }

  private refuse(start: number, found: number): void {
    if (found >= 0) throw templateAt(this.source, start + found);
  }
}

function templateAt(source: SourceText, start: number): Unreadable {
  const message = 'This is a Helm template; render it (helm template) to have it analysed.';
  return new Unreadable('template', problem('HS1004', { source, start, end: start + 2 }, message));
}

function compose(tokens: CST.Token[], text: string, source: SourceText, quotedTemplate: number): ParsedNode | null {
  const [document, another] = new Composer(OPTIONS).compose(tokens, true, text.length);
  const errors = [...(document?.errors ?? []), ...(another?.errors ?? [])];
  const error = errors.sort((one, other) => one.pos[0] - other.pos[0])[0];
  if (error) {
    if (quotedTemplate >= 0) throw templateAt(source, quotedTemplate);
    const start = Math.min(error.pos[0], text.length);
    const end = Math.min(Math.max(error.pos[1], start), text.length);
    throw new Unreadable('syntax', problem('HS1001', { source, start, end }, sentence(error.message)));
  }
  if (another) {
    const at = { source, start: another.range[0], end: another.range[1] };
    throw new Unreadable('syntax', problem('HS1001', at, 'A second document starts here.'));
  }
  return document?.contents ?? null;
}

const sentence = (message: string): string => `${message.slice(0, 200).replace(/[.:]?$/, '')}.`;
