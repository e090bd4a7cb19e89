/** What a click does: an action becomes a command with arguments, and arguments are checked when they come back. */
import * as vscode from 'vscode';
import type { Action, TraceRequest } from '../dataplane/answers/annotations.js';
import type { Location } from '../dataplane/manifests/place.js';
import type { CommandId } from './meta.js';
import { isRecord } from './protocol.js';
import { toRange } from './positions.js';
import type { ManifestSet } from './manifest-set.js';

/** The commands that a hover may run. */
export const LINKED_COMMANDS: readonly CommandId[] = [
  'hopscope.trace',
  'hopscope.traceFrom',
  'hopscope.traceTo',
  'hopscope.showEndpoints',
  'hopscope.reveal',
];

/** A command with the set of manifests it is about, named by number, and the rest of what it needs. */
export function commandOf(set: ManifestSet, title: string, action: Action): vscode.Command & { command: CommandId } {
  const run = (command: CommandId, argument: unknown): vscode.Command & { command: CommandId } => ({
    title,
    command,
    arguments: [set.id, argument],
  });
  switch (action.kind) {
    case 'trace':
      return run('hopscope.trace', action.request);
    case 'traceFrom':
      return run('hopscope.traceFrom', { from: '', to: action.to, protocol: action.protocol, port: action.port });
    case 'traceTo':
      return run('hopscope.traceTo', { from: action.from, to: '', protocol: 'TCP', port: null });
    case 'endpoints':
      return run('hopscope.showEndpoints', action.service);
    case 'reveal':
      return run('hopscope.reveal', action.location);
  }
}

/** As the target of a Markdown link. */
export function linkOf(set: ManifestSet, action: Action): string {
  const { command, arguments: args } = commandOf(set, '', action);
  const encoded = encodeURIComponent(JSON.stringify(args)).replace(
    /[()'!*]/g,
    (mark) => `%${mark.charCodeAt(0).toString(16)}`,
  );
  return `command:${command}?${encoded}`;
}

const isPort = (value: unknown): value is number | null =>
  value === null || (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 65535);
const isRef = (value: unknown): value is string => typeof value === 'string' && value.length <= 600;

/** A trace request from outside; null when it is none. */
export function readTraceRequest(value: unknown): TraceRequest | null {
  if (!isRecord(value)) return null;
  const { from, to, protocol, port, http } = value;
  const valid =
    isRef(from) && isRef(to) && typeof protocol === 'string' && /^[A-Za-z]{1,8}$/.test(protocol) && isPort(port);
  if (!valid) return null;
  return isRef(http) ? { from, to, protocol, port, http } : { from, to, protocol, port };
}

function readLocation(value: unknown): Location | null {
  if (!isRecord(value) || typeof value['file'] !== 'string' || !isRecord(value['range'])) return null;
  const [start, end] = [value['range']['start'], value['range']['end']].map((position) => {
    const { line, column } = isRecord(position) ? position : {};
    const valid = Number.isInteger(line) && Number.isInteger(column) && Number(line) >= 1 && Number(column) >= 1;
    return valid ? { line: Number(line), column: Number(column) } : null;
  });
  return start && end ? { file: value['file'], range: { start, end } } : null;
}

/** Opens a manifest of the set at the start of a place; any other file is refused. */
export async function reveal(set: ManifestSet, argument: unknown, column?: vscode.ViewColumn): Promise<void> {
  const location = readLocation(argument);
  const uri = location && set.uriOf(location.file);
  if (!uri) return;
  const { start } = toRange(location.range);
  await vscode.window.showTextDocument(uri, {
    selection: new vscode.Range(start, start),
    ...(column === undefined ? {} : { viewColumn: column }),
  });
}
