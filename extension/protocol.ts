/** What the editor's side asks a worker, and what comes back: declared once, for both sides. */
import type { Annotations, HoverCard } from '../dataplane/answers/annotations.js';
import type { EndChoice } from '../dataplane/answers/ends.js';
import type { Question } from '../dataplane/answers/query.js';
import type { Search, SearchOptions } from '../dataplane/answers/search.js';
import type { Trace } from '../dataplane/answers/trace.js';
import type { BenchReport } from '../dataplane/bench/bench.js';
import type { LaneStart } from '../dataplane/bench/subject.js';
import type { Position } from '../dataplane/manifests/place.js';
import type { ProblemReport } from '../dataplane/problems.js';
import type { ServiceBackends } from './backends.js';

export interface Requests {
  problems: { params: null; result: readonly ProblemReport[] };
  annotations: { params: { readonly file: string }; result: Annotations };
  hover: { params: { readonly file: string; readonly position: Position }; result: HoverCard | null };
  trace: { params: Question; result: Trace | { readonly error: string } };
  search: { params: SearchOptions; result: Search | { readonly error: string } };
  ends: { params: null; result: readonly EndChoice[] };
  services: { params: null; result: readonly ServiceBackends[] };
}

export type Method = keyof Requests;
export type Params<M extends Method> = Requests[M]['params'];
export type Result<M extends Method> = Requests[M]['result'];

/** A file's text while it is open in an editor, else its bytes. */
export type Content = string | Uint8Array;
export type EngineOverrides = Readonly<Record<string, unknown>>;

/** What a worker is started for. */
export type Start =
  | { readonly role: 'session'; readonly datapath: Uint8Array }
  | {
      readonly role: 'bench';
      readonly fast: Uint8Array;
      readonly trace: Uint8Array;
      readonly profiles: readonly string[];
    }
  | LaneStart;

/** To a worker that holds a session. It takes them in order, so a question is about the files sent before it. */
export type ToWorker =
  | { readonly type: 'setFiles'; readonly files: readonly (readonly [file: string, content: Content | null])[] }
  | { readonly type: 'configure'; readonly settings: EngineOverrides }
  | { readonly type: 'ask'; readonly id: number; readonly method: Method; readonly params: unknown };

export type FromWorker =
  | { readonly type: 'answer'; readonly id: number; readonly result: unknown }
  | { readonly type: 'fault'; readonly id: number; readonly message: string };

export type FromBench =
  | { readonly type: 'progress'; readonly done: number; readonly total: number; readonly what: string }
  | { readonly type: 'report'; readonly report: BenchReport }
  | { readonly type: 'fault'; readonly message: string };

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isText = (value: unknown): value is string => typeof value === 'string';
const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isInteger(value) && value >= 0;
const isContent = (value: unknown): value is Content => isText(value) || value instanceof Uint8Array;

/** A message for the worker, checked; null for anything else. */
export function readToWorker(value: unknown): ToWorker | null {
  if (!isRecord(value)) return null;
  switch (value['type']) {
    case 'setFiles': {
      const files = value['files'];
      const valid =
        Array.isArray(files) &&
        files.every((one) => Array.isArray(one) && isText(one[0]) && (one[1] === null || isContent(one[1])));
      return valid ? { type: 'setFiles', files: files as [string, Content | null][] } : null;
    }
    case 'configure':
      return isRecord(value['settings']) ? { type: 'configure', settings: value['settings'] } : null;
    case 'ask': {
      const { id, method, params } = value;
      return isCount(id) && isText(method) && Object.hasOwn(PARAMS, method) && PARAMS[method as Method](params)
        ? { type: 'ask', id, method: method as Method, params }
        : null;
    }
    default:
      return null;
  }
}

const isSide = (value: unknown): value is string | null => value === null || (isText(value) && value.length <= 600);

/** A search from outside; null when it is none. */
export function readSearch(value: unknown): SearchOptions | null {
  if (!isRecord(value)) return null;
  const { from, to, protocol, port, verdict, limit } = value;
  const valid =
    isSide(from) &&
    isSide(to) &&
    (protocol === null || protocol === 'TCP' || protocol === 'UDP' || protocol === 'SCTP') &&
    (port === null || (isCount(port) && port >= 1 && port <= 65535)) &&
    (verdict === 'ALLOWED' || verdict === 'DENIED') &&
    isCount(limit);
  return valid ? { from, to, protocol, port, verdict, limit } : null;
}

const nothing = (params: unknown): boolean => params === null;
const PARAMS: { readonly [M in Method]: (params: unknown) => boolean } = {
  problems: nothing,
  ends: nothing,
  services: nothing,
  annotations: (params) => isRecord(params) && isText(params['file']),
  hover: (params) =>
    isRecord(params) &&
    isText(params['file']) &&
    isRecord(params['position']) &&
    isCount(params['position']['line']) &&
    isCount(params['position']['column']),
  search: (params) => readSearch(params) !== null,
  trace: (params) =>
    isRecord(params) &&
    isText(params['from']) &&
    isText(params['to']) &&
    isText(params['protocol']) &&
    (params['port'] === null || isCount(params['port'])),
};

/** An answer's envelope, checked. What is in it comes from our own worker and has the type of its request. */
export function readFromWorker(value: unknown): FromWorker | null {
  if (!isRecord(value) || !isCount(value['id'])) return null;
  const { type, id, result, message } = value;
  if (type === 'answer') return { type, id, result };
  return type === 'fault' && isText(message) ? { type, id, message } : null;
}

export function readFromBench(value: unknown): FromBench | null {
  if (!isRecord(value)) return null;
  const { type, done, total, what, report, message } = value;
  if (type === 'progress') return isCount(done) && isCount(total) && isText(what) ? { type, done, total, what } : null;
  if (type === 'report') return isRecord(report) ? { type, report: report as unknown as BenchReport } : null;
  return type === 'fault' && isText(message) ? { type, message } : null;
}
