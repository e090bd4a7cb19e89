/** What all hover cards are made of: lines of spans, the verdict first, and the way of a real packet. */
import type { ClusterWorkload } from '../../cluster/cluster.js';
import { compare } from '../../hash.js';
import type { ManifestObject } from '../../manifests/objects.js';
import type { Location, Place } from '../../manifests/place.js';
import type { State } from '../../state.js';
import { statusText } from '../../words.js';
import type { Span, TraceRequest } from '../annotations.js';
import { announced } from '../announced.js';
import type { Decider } from '../decide.js';
import type { Verdict } from '../query.js';
import { trace, type Hop } from '../trace.js';

export const MAX_LINES = 15;

export type Line = readonly Span[];

export const text = (words: string): Span => ({ text: words });
export const code = (words: string): Span => ({ text: words, style: 'code' });
export const strong = (words: string): Span => ({ text: words, style: 'strong' });

export const VERDICT_STYLES: Readonly<Record<Verdict, NonNullable<Span['style']>>> = {
  ALLOWED: 'allowed',
  DENIED: 'denied',
  CONDITIONAL: 'conditional',
  UNKNOWN: 'unknown',
};

export const verdictSpan = (verdict: Verdict): Span => ({ text: verdict, style: VERDICT_STYLES[verdict] });

export const within = ({ start, end }: Place, offset: number): boolean => start <= offset && offset <= end;

export interface Card {
  readonly at: Place;
  readonly lines: readonly Line[];
}

/** The verdict, then what a click can do, so that it is in sight however long the way is, then the rest. */
export const withLinks = (lines: readonly Line[], links: Line): Line[] => [
  ...lines.slice(0, 1),
  links,
  ...lines.slice(1),
];

/** The links of a card: tracing from elsewhere, what else there is, and the whole of the trace shown. */
export function linksOf(
  to: { readonly to: string; readonly protocol: string; readonly port: number | null },
  request: TraceRequest | null,
  ...more: readonly Span[]
): Line {
  const links: Span[] = [{ text: 'Trace from…', action: { kind: 'traceFrom', ...to } }, ...more];
  if (request) links.push({ text: 'Whole trace', action: { kind: 'trace', request } });
  return links.flatMap((link, i) => (i > 0 ? [text(' · '), link] : [link]));
}

/** The word under the cursor in a name, kind or key of an object, where that is what the whole card is about. */
export const headAt = (object: ManifestObject, offset: number): Place | null =>
  [object.metadata.name.at, object.kindAt].find((place) => within(place, offset)) ?? null;

/** The hops worth a line: what changes the packet, decides about it, or carries it elsewhere. */
export function isTelling(hop: Hop): boolean {
  if (hop.action === 'policy') return !hop.text.endsWith('no policy isolates the pod');
  return (
    ['lb', 'encap', 'deliver', 'drop', 'http'].includes(hop.action) ||
    (hop.action === 'route' && hop.point === 'to-stack')
  );
}

export const revealing = (decider: Decider): Location => ({
  file: decider.file,
  range: { start: { line: decider.line, column: decider.column }, end: { line: decider.line, column: decider.column } },
});

export const deciderSpans = (decider: Decider): Span[] => [
  text(`${decider.effect === 'isolates' ? 'isolated by' : decider.effect === 'denies' ? 'denied by' : 'allowed by'} `),
  {
    text: `${decider.namespace && `${decider.namespace}/`}${decider.name}${decider.rule ? ` ${decider.rule}` : ''}`,
    style: 'code',
    action: { kind: 'reveal', location: revealing(decider) },
  },
  text(` (${decider.file}:${decider.line})`),
];

/** The lines of one trace: verdict, hops, deciders, the reply. `room` lines at most. */
export function traceLines(state: State, request: TraceRequest, room: number): Line[] {
  const result = trace(state, { ...request, sourcePort: null, node: null, http: request.http ?? null });
  const flow = [
    code(request.from),
    text(' → '),
    code(`${request.to}${request.port === null ? '' : `:${request.port}`}`),
    text(` ${request.protocol}`),
    ...(request.http ? [text(' '), code(request.http)] : []),
  ];
  if ('error' in result) return [[verdictSpan('UNKNOWN'), text(' '), ...flow, text(`: ${result.error}`)]];
  const reason = result.reason
    ? `: ${result.reason.text} (${result.reason.code})${result.direction ? ` at ${result.direction}` : ''}`
    : '';
  const status = result.http ? `: ${statusText(result.http)}` : '';
  const lines: Line[] = [[verdictSpan(result.verdict), text(' '), ...flow, text(status + reason)]];
  for (const hint of result.hints.slice(0, 2)) lines.push([text(hint)]);
  for (const depends of result.depends) lines.push([text(`depends: ${depends}`)]);
  const hops = result.forward
    .filter(isTelling)
    .map((hop, i): Line => [text(`${i + 1}. ${hop.node ?? ''} ${hop.point ?? hop.action}: ${hop.text}`)]);
  const deciders = result.deciders.slice(0, 4).map(deciderSpans);
  const back = result.reply?.find((hop) => hop.action === 'lb');
  const reply: Line[] = back ? [[text(`reply: ${back.text}`)]] : [];
  lines.push(
    ...hops.slice(0, Math.max(0, room - lines.length - deciders.length - reply.length)),
    ...deciders,
    ...reply,
  );
  return lines.slice(0, room);
}

/** The workload whose trace to a Service or workload tells most: one that announces the flow, else a neighbour. */
export function clientOf(
  state: State,
  targets: ReadonlySet<ClusterWorkload>,
  serviceName: string | null,
  namespace: string,
): ClusterWorkload | null {
  const clients = state.cluster.workloads.filter(
    (workload) => !targets.has(workload) && workload.pods.some((pod) => !pod.hostNetwork),
  );
  const announcing = announced(state).find(
    ({ workload, target }) =>
      clients.includes(workload) &&
      (target.kind === 'service'
        ? `${target.service.namespace}/${target.service.name}` === serviceName ||
          target.service.selected.some((pod) => targets.has(pod.workload))
        : false),
  );
  return announcing?.workload ?? clients.find((workload) => workload.namespace === namespace) ?? clients[0] ?? null;
}

export const refsLine = (title: string, refs: readonly string[] | null): Line => {
  if (refs === null) return [text(`${title}: UNKNOWN`)];
  const sorted = [...refs].sort(compare);
  const shown = sorted.slice(0, 5).flatMap((ref, i) => [...(i > 0 ? [text(', ')] : []), code(ref)]);
  return [
    text(`${title}: `),
    ...(shown.length > 0 ? shown : [text('nobody')]),
    ...(sorted.length > 5 ? [text(` and ${sorted.length - 5} more`)] : []),
  ];
};
