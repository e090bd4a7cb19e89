/** Traces: two ends are picked, and a page shows the packet's way from one to the other and back, as long as it is open. */
import * as vscode from 'vscode';
import type { TraceRequest } from '../dataplane/answers/annotations.js';
import type { TupleText } from '../dataplane/answers/records.js';
import type { Hop, Trace } from '../dataplane/answers/trace.js';
import { traceText } from '../dataplane/format/trace-text.js';
import { statusText } from '../dataplane/words.js';
import { readTraceRequest, reveal } from './actions.js';
import { registerCommand } from './commands.js';
import type { ManifestSet } from './manifest-set.js';
import { Page } from './pages/page.js';
import {
  TRACE_STYLE,
  tracePage,
  type HopView,
  type LinkView,
  type PartView,
  type TraceView,
} from './pages/trace-page.js';
import { pickFrom, pickPort, pickSet, pickTo } from './pick.js';
import { isRecord } from './protocol.js';
import type { Workspace } from './workspace.js';

interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** What the page shows. */
interface Shown {
  readonly set: ManifestSet;
  readonly request: TraceRequest;
  readonly generation: number;
  readonly trace: Trace | null;
  /** Where the view's links lead. */
  readonly places: readonly Place[];
}

export function registerTrace(workspace: Workspace, output: vscode.LogOutputChannel): vscode.Disposable {
  const panel = new TracePanel(workspace, output);
  const from = (id: unknown, request: unknown): Promise<void> =>
    panel.complete(workspace.setById(id), readTraceRequest(request));
  return vscode.Disposable.from(
    panel,
    registerCommand('hopscope.trace', output, from),
    registerCommand('hopscope.traceFrom', output, from),
    registerCommand('hopscope.traceTo', output, from),
  );
}

class TracePanel {
  private shown: Shown | null = null;
  private generation = 0;
  private readonly page: Page;
  private readonly subscriptions: vscode.Disposable;

  constructor(
    private readonly workspace: Workspace,
    private readonly output: vscode.LogOutputChannel,
  ) {
    this.page = new Page({
      viewType: 'hopscope.trace',
      title: 'Trace',
      style: TRACE_STYLE,
      script: tracePage,
      types: ['reveal', 'another', 'copyText', 'copyJson'],
      onMessage: (type, message) => void this.receive(type, message),
    });
    this.subscriptions = vscode.Disposable.from(
      this.page,
      this.page.onDidDispose(() => (this.shown = null)),
      workspace.onDidChange((set) => this.shown?.set === set && void this.renew(this.shown)),
    );
  }

  dispose(): void {
    this.subscriptions.dispose();
  }

  /** Asks for what the request leaves open, then shows the trace. */
  async complete(given: ManifestSet | null, request: TraceRequest | null): Promise<void> {
    const set = given ?? (await pickSet(this.workspace));
    if (!set) return;
    const { result: ends } = await this.workspace.askSet(set, 'ends', null);
    const from = request?.from || (await pickFrom(ends, request?.to));
    const to = from && (request?.to || (await pickTo(ends, from)));
    if (!from || !to) return;
    const asked = request && { protocol: request.protocol, port: request.port };
    const http = request?.http === undefined ? {} : { http: request.http };
    // What is asked of an Ingress comes to the port that its scheme has.
    const isAsked = asked !== null && (asked.port !== null || request?.http !== undefined);
    const port = isAsked ? asked : await pickPort(ends, to);
    if (port) await this.show(set, { from, to, protocol: port.protocol, port: port.port, ...http });
  }

  private async show(set: ManifestSet, request: TraceRequest): Promise<void> {
    const { shown, view } = await this.ask(set, request);
    this.shown = shown;
    this.page.show(titleOf(request), view, vscode.ViewColumn.Beside);
  }

  /** The manifests changed while the page is open. */
  private async renew({ set, request }: Shown): Promise<void> {
    try {
      const { shown, view } = await this.ask(set, request);
      if (this.shown?.request !== request || this.shown.generation > shown.generation) return;
      this.shown = shown;
      this.page.update(titleOf(request), view);
    } catch (error) {
      this.output.debug(`trace: ${String(error)}`);
    }
  }

  private async ask(set: ManifestSet, request: TraceRequest): Promise<{ shown: Shown; view: TraceView }> {
    const generation = ++this.generation;
    const question = { ...request, sourcePort: null, node: null, http: request.http ?? null };
    const { result } = await this.workspace.askSet(set, 'trace', question);
    const places: Place[] = [];
    const view =
      'error' in result ? failedView(generation, request, result.error) : viewOf(generation, request, result, places);
    return { shown: { set, request, generation, trace: 'error' in result ? null : result, places }, view };
  }

  private async receive(type: string, message: Readonly<Record<string, unknown>>): Promise<void> {
    const { shown } = this;
    // A click on what is no longer shown does nothing.
    if (!shown || !isRecord(message) || message['generation'] !== shown.generation) return;
    if (type === 'another') return void vscode.commands.executeCommand('hopscope.trace', shown.set.id);
    if (type === 'reveal') {
      const place = Number.isInteger(message['link']) ? shown.places[Number(message['link'])] : undefined;
      if (!place) return;
      const start = { line: place.line, column: place.column };
      await reveal(shown.set, { file: place.file, range: { start, end: start } }, editorColumn());
    } else if (shown.trace) {
      const text = type === 'copyText' ? traceText(shown.trace) : `${JSON.stringify(shown.trace, null, 2)}\n`;
      await vscode.env.clipboard.writeText(text);
      vscode.window.setStatusBarMessage('Hopscope: trace copied', 3000);
    }
  }
}

/** Where manifests are open, so that they do not cover the page. */
const editorColumn = (): vscode.ViewColumn =>
  vscode.window.visibleTextEditors.find(({ viewColumn }) => viewColumn)?.viewColumn ?? vscode.ViewColumn.One;

const flowOf = ({ from, to, port, protocol, http }: TraceRequest): string =>
  `${from} → ${to}${port === null ? '' : `:${port}`} ${protocol}${http === undefined ? '' : ` ${http}`}`;
const titleOf = (request: TraceRequest): string => `Trace ${request.from} → ${request.to}`;

const failedView = (generation: number, request: TraceRequest, error: string): TraceView => ({
  generation,
  title: flowOf(request),
  verdict: 'UNKNOWN',
  summary: error,
  deciders: [],
  notes: [],
  ways: [],
});

/** The trace as the page shows it; `places` takes what its links stand for. */
function viewOf(generation: number, request: TraceRequest, trace: Trace, places: Place[]): TraceView {
  const linkTo = ({ file, line, column }: Place): LinkView => ({
    text: `${file}:${line}`,
    link: places.push({ file, line, column }) - 1,
  });
  const { verdict, reason, direction, deciders, service, backend, http, depends, assumes, hints, forward, reply } =
    trace;
  const why = reason ? `${reason.text} (${reason.code})${direction ? ` at ${direction}` : ''}` : '';
  const where = backend ? `${backend.pod ?? backend.ip} ${backend.ip}:${backend.port}` : '';
  const via = service && where ? `Service ${service.namespace}/${service.name}:${service.port} picks ${where}` : where;
  const hopsOf = (hops: readonly Hop[]): HopView[] =>
    hops.map((hop, i) => hopView(hop, hops[i - 1] ?? null, hops[i + 1] ?? null, linkTo));
  return {
    generation,
    title: flowOf(request),
    verdict,
    summary: why || via,
    deciders: deciders.map((decider) => ({
      effect: decider.effect,
      rule: `${decider.kind} ${decider.namespace && `${decider.namespace}/`}${decider.name}${decider.rule ? ` ${decider.rule}` : ''}`,
      ...linkTo(decider),
    })),
    notes: [
      ...(http ? [{ label: 'answer', text: statusText(http) }] : []),
      ...hints.map((text) => ({ label: 'because', text })),
      ...(why && via ? [{ label: 'backend', text: via }] : []),
      ...depends.map((text) => ({ label: 'depends on', text })),
      ...assumes.map((text) => ({ label: 'assumes', text })),
    ],
    ways: [
      ...(forward.length > 0 ? [{ title: 'Forward', hops: hopsOf(forward) }] : []),
      ...(reply ? [{ title: 'Reply', hops: hopsOf(reply) }] : []),
    ],
  };
}

/** Hops whose manifest lines decided something; the others' would only repeat them. */
const TELLING = ['policy', 'lb', 'drop', 'http'];

function hopView(hop: Hop, previous: Hop | null, next: Hop | null, linkTo: (place: Place) => LinkView): HopView {
  const { before, after, outer, identity, lookups, origin } = hop;
  const changed = JSON.stringify(before) !== JSON.stringify(after);
  const isNews = TELLING.includes(hop.action) && JSON.stringify(origin) !== JSON.stringify(previous?.origin);
  return {
    node: hop.node ?? 'outside the cluster',
    isNewNode: previous === null || previous.node !== hop.node,
    place: hop.point ?? hop.program,
    action: hop.action,
    refuses: hop.action === 'drop' || next?.action === 'drop',
    text: hop.text,
    before: partsOf(before, after),
    after: changed ? partsOf(after, before) : null,
    outer: outer && `outer ${tupleParts(outer).join('')}`,
    identities: `identity ${identity.source} → ${identity.destination}`,
    lookups: lookups.map(({ map, key, value }) => ({ map, key: fieldsOf(key), value: value && fieldsOf(value) })),
    origins: isNews ? origin.map(linkTo) : [],
  };
}

/** A Maglev table has thousands of slots. */
const MAX_FIELDS = 400;

function fieldsOf(record: Readonly<Record<string, unknown>>): string {
  const text = Object.entries(record)
    .map(([field, value]) => `${field}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');
  return text.length > MAX_FIELDS ? `${text.slice(0, MAX_FIELDS)}…` : text;
}

const tupleParts = ({ source, sourcePort, destination, destinationPort, protocol }: TupleText): string[] => [
  source,
  `:${sourcePort}`,
  ' → ',
  destination,
  `:${destinationPort}`,
  ` ${protocol}`,
];

function partsOf(tuple: TupleText, other: TupleText): PartView[] {
  const others = tupleParts(other);
  return tupleParts(tuple).map((text, i) => ({ text, changed: text !== others[i] }));
}
