/** `hopscope query`: JSON Lines in, JSON Lines out, in the same order. */
import type { Question } from '../answers/query.js';
import { meantKey } from '../nearest.js';
import type { Session } from '../session.js';
import { CallError, Exit, type Output } from './call.js';
import { readText } from './files.js';

type Asked = { readonly id: unknown; readonly question: Question } | { readonly id: unknown; readonly error: string };

const FIELDS = ['id', 'from', 'to', 'protocol', 'port', 'sourcePort', 'icmpType', 'node', 'http'];

/** A key that was meant for another is an error; those that are the caller's own are let be. */
function slipIn(fields: Readonly<Record<string, unknown>>): string | null {
  for (const key of Object.keys(fields)) {
    const meant = FIELDS.includes(key) ? null : meantKey(key, FIELDS);
    if (meant !== null) return `there is no "${key}": did you mean "${meant}"?`;
  }
  return null;
}

const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);

/** A line as a question; an error where it is none. */
export function readQuestion(line: string): Asked {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { id: null, error: 'the line is not JSON' };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { id: null, error: 'the line is not a JSON object' };
  const fields = value as Readonly<Record<string, unknown>>;
  const id = fields['id'] ?? null;
  const slip = slipIn(fields);
  if (slip !== null) return { id, error: slip };
  for (const name of ['protocol', 'node'])
    if (text(fields[name] ?? '') === null) return { id, error: `"${name}" is not a text` };
  const from = text(fields['from']);
  const to = text(fields['to']);
  if (from === null || to === null) return { id, error: '"from" and "to" are needed, each a reference' };
  const port = fields['port'] ?? null;
  const sourcePort = fields['sourcePort'] ?? null;
  const icmpType = fields['icmpType'] ?? null;
  for (const [name, number, last, what] of [
    ['port', port, 65535, 'a port'],
    ['sourcePort', sourcePort, 65535, 'a port'],
    ['icmpType', icmpType, 255, 'an ICMP type'],
  ] as const) {
    if (number !== null && (typeof number !== 'number' || !Number.isInteger(number) || number < 0 || number > last))
      return { id, error: `"${name}" is not ${what}` };
  }
  const question = {
    from,
    to,
    protocol: text(fields['protocol']) ?? 'TCP',
    port: port as number | null,
    sourcePort: sourcePort as number | null,
    icmpType: icmpType as number | null,
    node: text(fields['node']),
    http: fields['http'] ?? null,
  };
  return { id, question };
}

export function runQueries(session: Session, source: string | undefined): Output {
  let exit = Exit.DONE;
  const lines = readLines(source).map((line) => {
    const asked = readQuestion(line);
    const answered = 'error' in asked ? asked : session.query(asked.question);
    if (!('error' in answered)) return JSON.stringify({ id: asked.id, ...answered.answer });
    exit = Exit.WRONG;
    return JSON.stringify({ id: asked.id, error: answered.error });
  });
  return { text: lines.map((line) => `${line}\n`).join(''), exit };
}

function readLines(source: string | undefined): string[] {
  if (source === undefined) throw new CallError('--queries is needed: a file of JSON Lines, or - for standard input');
  return readText(source)
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '');
}
