/** What hovering a place of a manifest shows: the verdict of a real packet first, then its way, and why. */
import { formatAddress } from '../addresses.js';
import type { ClusterPod, ClusterWorkload } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import type { ManifestObject, NetworkPolicy, NetworkPolicyRule, Service } from '../manifests/objects.js';
import { locate, offsetIn, type Location, type Place, type Position } from '../manifests/place.js';
import { selects } from '../policy/compile.js';
import type { State } from '../state.js';
import { isWorkload, peerPods, plural, reachedBy, serviceOf, workloadOf } from './annotate.js';
import type { HoverCard, Span, TraceRequest } from './annotations.js';
import { announced, hostsIn, hostsOf, type Host } from './announced.js';
import type { Decider } from './decide.js';
import type { Verdict } from './query.js';
import { resolveName } from './refs.js';
import { trace, type Hop, type Trace } from './trace.js';

const MAX_LINES = 15;

type Line = readonly Span[];

const text = (words: string): Span => ({ text: words });
const code = (words: string): Span => ({ text: words, style: 'code' });
const strong = (words: string): Span => ({ text: words, style: 'strong' });

const VERDICT_STYLES: Readonly<Record<Verdict, NonNullable<Span['style']>>> = {
  ALLOWED: 'allowed',
  DENIED: 'denied',
  CONDITIONAL: 'conditional',
  UNKNOWN: 'unknown',
};

const verdictSpan = (verdict: Verdict): Span => ({ text: verdict, style: VERDICT_STYLES[verdict] });

/** The card for a position; null where there is nothing to say. */
export function hover(state: State, file: string, position: Position): HoverCard | null {
  for (const object of state.cluster.objects) {
    const { source } = object.at;
    if (source.file !== file) continue;
    const offset = offsetIn(source, position);
    if (offset === null || !within(object.at, offset)) continue;
    const card = cardOf(state, object, offset);
    if (!card) return null;
    const lines = state.manifests.stale.has(object)
      ? [...card.lines, [text('The document cannot be read now: this is its last good state.')]]
      : card.lines;
    return { range: locate(card.at).range, lines: lines.slice(0, MAX_LINES) };
  }
  return null;
}

const within = ({ start, end }: Place, offset: number): boolean => start <= offset && offset <= end;

interface Card {
  readonly at: Place;
  readonly lines: readonly Line[];
}

function cardOf(state: State, object: ManifestObject, offset: number): Card | null {
  if (object.kind === 'Service') return serviceCard(state, object, offset);
  if (object.kind === 'NetworkPolicy') return policyCard(state, object, offset);
  if (object.kind === 'ConfigMap') {
    const host = hostsOf(object).find(({ at }) => within(at, offset));
    return host ? hostCard(state, host, object.metadata.namespace, null) : null;
  }
  return isWorkload(object) ? workloadCard(state, object, offset) : null;
}

/** The word under the cursor in a name, kind or key of an object, where that is what the whole card is about. */
const headAt = (object: ManifestObject, offset: number): Place | null =>
  [object.metadata.name.at, object.kindAt].find((place) => within(place, offset)) ?? null;

/* ---- traces ---- */

/** The hops worth a line: what changes the packet, decides about it, or carries it elsewhere. */
function isTelling(hop: Hop): boolean {
  if (hop.action === 'policy') return !hop.text.endsWith('no policy isolates the pod');
  return (
    ['lb', 'encap', 'deliver', 'drop'].includes(hop.action) || (hop.action === 'route' && hop.point === 'to-stack')
  );
}

const revealing = (decider: Decider): Location => ({
  file: decider.file,
  range: { start: { line: decider.line, column: decider.column }, end: { line: decider.line, column: decider.column } },
});

const deciderSpans = (decider: Decider): Span[] => [
  text(`${decider.effect === 'isolates' ? 'isolated by' : decider.effect === 'denies' ? 'denied by' : 'allowed by'} `),
  {
    text: `${decider.namespace}/${decider.name}${decider.rule ? ` ${decider.rule}` : ''}`,
    style: 'code',
    action: { kind: 'reveal', location: revealing(decider) },
  },
  text(` (${decider.file}:${decider.line})`),
];

/** The lines of one trace: verdict, hops, deciders, the reply. `room` lines at most. */
function traceLines(
  state: State,
  request: TraceRequest,
  room: number,
): { readonly lines: Line[]; readonly trace: Trace | null } {
  const result = trace(state, { ...request, sourcePort: null, node: null, http: null });
  const flow = [
    code(request.from),
    text(' → '),
    code(`${request.to}${request.port === null ? '' : `:${request.port}`}`),
    text(` ${request.protocol}`),
  ];
  if ('error' in result)
    return { lines: [[verdictSpan('UNKNOWN'), text(' '), ...flow, text(`: ${result.error}`)]], trace: null };
  const reason = result.reason
    ? `: ${result.reason.text} (${result.reason.code})${result.direction ? ` at ${result.direction}` : ''}`
    : '';
  const lines: Line[] = [[verdictSpan(result.verdict), text(' '), ...flow, text(reason)]];
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
  return { lines: lines.slice(0, room), trace: result };
}

/** The workload whose trace to a Service or workload tells most: one that announces the flow, else a neighbour. */
function clientOf(
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

const refsLine = (title: string, refs: readonly string[] | null): Line => {
  if (refs === null) return [text(`${title}: UNKNOWN`)];
  const sorted = [...refs].sort(compare);
  const shown = sorted.slice(0, 5).flatMap((ref, i) => [...(i > 0 ? [text(', ')] : []), code(ref)]);
  return [
    text(`${title}: `),
    ...(shown.length > 0 ? shown : [text('nobody')]),
    ...(sorted.length > 5 ? [text(` and ${sorted.length - 5} more`)] : []),
  ];
};

/* ---- Services ---- */

function serviceCard(state: State, source: Service, offset: number): Card | null {
  const service = serviceOf(state.cluster, source);
  const port = source.ports.find(({ at }) => within(at, offset)) ?? null;
  const at =
    headAt(source, offset) ??
    (port
      ? port.targetPort && within(port.targetPort.at, offset)
        ? port.targetPort.at
        : port.port.at
      : source.selector && within(source.selector.at, offset)
        ? source.selector.at
        : null);
  if (!service || !at) return null;
  const ref = `svc:${service.namespace}/${service.name}`;
  const asked = port ?? source.ports[0] ?? null;
  const targets = new Set(service.selected.map((pod) => pod.workload));
  const client = clientOf(state, targets, `${service.namespace}/${service.name}`, service.namespace);
  const request = client && asked && { from: client.ref, to: ref, protocol: asked.protocol, port: asked.port.value };
  const lines: Line[] = request
    ? traceLines(state, request, MAX_LINES - 4).lines
    : [[strong(ref), text(': no workload that could call it')]];
  const frontend = service.ports.find((candidate) => candidate.source === asked);
  const where =
    service.clusterIP === null
      ? 'no address of its own'
      : `${formatAddress(service.clusterIP)}${asked ? `:${asked.port.value}` : ''}`;
  lines.push([
    text(
      `${where} → ${plural(frontend?.backends.length ?? 0, 'endpoint')}${frontend?.backends[0] ? ` on port ${[...new Set(frontend.backends.map((backend) => backend.port))].join(', ')}` : ''}`,
    ),
  ]);
  const by = [...targets].map((workload) => reachedBy(state, workload.ref));
  lines.push(refsLine('reached by', by.includes(null) ? null : [...new Set(by.flatMap((set) => set ?? []))]));
  lines.push([
    {
      text: 'Trace from…',
      action: { kind: 'traceFrom', to: ref, protocol: asked?.protocol ?? 'TCP', port: asked?.port.value ?? null },
    },
    text(' · '),
    { text: 'Endpoints', action: { kind: 'endpoints', service: `${service.namespace}/${service.name}` } },
    ...(request ? [text(' · '), { text: 'Whole trace', action: { kind: 'trace', request } } as Span] : []),
  ]);
  return { at, lines };
}

/* ---- workloads ---- */

function workloadCard(state: State, object: ManifestObject, offset: number): Card | null {
  const workload = workloadOf(state.cluster, object);
  const pod = workload?.pods[0];
  if (!workload || !pod) return null;
  for (const container of pod.spec.containers) {
    for (const { name, value } of container.env) {
      const host = hostsIn(value, name).find(({ at }) => within(at, offset));
      if (host) return hostCard(state, host, workload.namespace, workload);
    }
    for (const value of container.args) {
      const host = hostsIn(value, '').find(({ at }) => within(at, offset));
      if (host) return hostCard(state, host, workload.namespace, workload);
    }
  }
  const port =
    pod.spec.containers.flatMap((container) => container.ports).find((candidate) => within(candidate.at, offset)) ??
    null;
  const label = [...pod.labelPlaces.values()].find((value) => within(value.at, offset));
  const at = headAt(object, offset) ?? port?.containerPort.at ?? label?.at;
  if (!at) return null;
  const first = port ?? pod.spec.containers.flatMap((container) => container.ports)[0] ?? null;
  const client = clientOf(state, new Set([workload]), null, workload.namespace);
  const request = client &&
    first && { from: client.ref, to: workload.ref, protocol: first.protocol, port: first.containerPort.value };
  const lines: Line[] = request
    ? traceLines(state, request, MAX_LINES - 5).lines
    : [[strong(workload.ref), text(first ? ': no workload that could call it' : ': declares no port')]];
  lines.push([
    strong(workload.ref),
    text(`: ${plural(workload.pods.length, 'pod')}, identity ${state.identities.ofPod.get(pod)?.number ?? 'host'}`),
  ]);
  const out = announced(state).find((flow) => flow.workload === workload);
  if (out) {
    const going = traceLines(
      state,
      { from: workload.ref, to: `dns:${out.host.name}`, protocol: 'TCP', port: out.host.port },
      1,
    );
    lines.push(...going.lines);
  }
  lines.push(refsLine('reached by', reachedBy(state, workload.ref)));
  lines.push([
    {
      text: 'Trace from…',
      action: {
        kind: 'traceFrom',
        to: workload.ref,
        protocol: first?.protocol ?? 'TCP',
        port: first?.containerPort.value ?? null,
      },
    },
    text(' · '),
    { text: 'Trace to…', action: { kind: 'traceTo', from: workload.ref } },
    ...(request ? [text(' · '), { text: 'Whole trace', action: { kind: 'trace', request } } as Span] : []),
  ]);
  return { at, lines };
}

/* ---- host names ---- */

/** `workload` is whom the value configures; for a ConfigMap that is not known, and a workload of its namespace stands in. */
function hostCard(state: State, host: Host, namespace: string, workload: ClusterWorkload | null): Card | null {
  const target = resolveName(state, host.name, namespace);
  if ('error' in target)
    return { at: host.at, lines: [[verdictSpan('UNKNOWN'), text(' '), code(host.name), text(`: ${target.error}`)]] };
  const targets =
    target.kind === 'service'
      ? new Set(target.service.selected.map((pod) => pod.workload))
      : new Set<ClusterWorkload>();
  const neighbours = state.cluster.workloads.filter(
    (candidate) =>
      candidate.namespace === namespace && !targets.has(candidate) && candidate.pods.some((pod) => !pod.hostNetwork),
  );
  const from = workload ?? neighbours[0];
  if (!from) return null;
  const request = { from: from.ref, to: `dns:${host.name}`, protocol: 'TCP', port: host.port };
  const { lines } = traceLines(state, request, MAX_LINES - 3);
  if (target.kind === 'service')
    lines.push([
      text(
        `${host.name} is Service ${target.service.namespace}/${target.service.name}${target.service.clusterIP === null ? ', headless' : ` at ${formatAddress(target.service.clusterIP)}`}`,
      ),
    ]);
  if (!workload) lines.push([text(`asked for ${from.ref}; whom this ConfigMap configures is not known`)]);
  lines.push([
    { text: 'Whole trace', action: { kind: 'trace', request } },
    text(' · '),
    { text: 'Trace from…', action: { kind: 'traceFrom', to: request.to, protocol: 'TCP', port: host.port } },
  ]);
  return { at: host.at, lines };
}

/* ---- policies ---- */

function policyCard(state: State, policy: NetworkPolicy, offset: number): Card | null {
  for (const direction of ['ingress', 'egress'] as const) {
    const rules = policy[direction]?.rules ?? [];
    const index = rules.findIndex(({ at }) => within(at, offset));
    if (index >= 0) return ruleCard(state, policy, direction, rules[index]!, index);
  }
  const head =
    headAt(policy, offset) ??
    (within(policy.podSelector.at, offset) ? policy.podSelector.at : null) ??
    (policy.policyTypesAt && within(policy.policyTypesAt, offset) ? policy.policyTypesAt : null);
  if (!head) return null;
  const pods = state.cluster.pods.filter((pod) => !pod.hostNetwork && selects(policy, pod));
  const workloads = [...new Set(pods.map((pod) => pod.workload))];
  const first = workloads[0];
  if (!first) return { at: head, lines: [[strong(policy.metadata.name.value), text(': applies to no pod')]] };
  const client = clientOf(state, new Set(workloads), null, policy.metadata.namespace);
  const port = first.pods[0]!.spec.containers.flatMap((container) => container.ports)[0] ?? null;
  const request = client &&
    port && { from: client.ref, to: first.ref, protocol: port.protocol, port: port.containerPort.value };
  const lines: Line[] = request ? traceLines(state, request, MAX_LINES - 5).lines : [];
  lines.push([
    strong(`${policy.metadata.namespace}/${policy.metadata.name.value}`),
    text(`: isolates ${policy.policyTypes.join(' and ').toLowerCase()} of ${plural(pods.length, 'pod')}`),
  ]);
  lines.push(
    refsLine(
      'applies to',
      workloads.map(({ ref }) => ref),
    ),
  );
  if (policy.policyTypes.includes('Ingress'))
    lines.push(refsLine(`${first.ref} is reached by`, reachedBy(state, first.ref)));
  lines.push([
    {
      text: 'Trace from…',
      action: {
        kind: 'traceFrom',
        to: first.ref,
        protocol: port?.protocol ?? 'TCP',
        port: port?.containerPort.value ?? null,
      },
    },
    ...(request ? [text(' · '), { text: 'Whole trace', action: { kind: 'trace', request } } as Span] : []),
  ]);
  return { at: head, lines };
}

/** Whom a rule lets through today, proved by a packet of one of them. */
function ruleCard(
  state: State,
  policy: NetworkPolicy,
  direction: 'ingress' | 'egress',
  rule: NetworkPolicyRule,
  index: number,
): Card {
  const own = state.cluster.pods.filter((pod) => !pod.hostNetwork && selects(policy, pod));
  const peers = rule.peers?.length
    ? [...new Set(rule.peers.flatMap((peer) => peerPods(state, policy, peer)))]
    : state.cluster.pods.filter((pod) => !pod.hostNetwork);
  const blocks = (rule.peers ?? []).flatMap(({ ipBlock }) =>
    ipBlock
      ? [
          ipBlock.cidr.value +
            (ipBlock.except.length > 0 ? ` except ${ipBlock.except.map(({ value }) => value).join(', ')}` : ''),
        ]
      : [],
  );
  const workloads = (pods: readonly ClusterPod[]): ClusterWorkload[] => [...new Set(pods.map((pod) => pod.workload))];
  const [self, peer] = [
    workloads(own)[0],
    workloads(peers).find((candidate) => !own.some((pod) => pod.workload === candidate)),
  ];
  const port = rule.ports?.[0] ?? null;
  const target = direction === 'ingress' ? self : peer;
  const number =
    typeof port?.port?.value === 'number'
      ? port.port.value
      : (target?.pods[0]?.spec.containers
          .flatMap((container) => container.ports)
          .find((candidate) => typeof port?.port?.value !== 'string' || candidate.name?.value === port.port.value)
          ?.containerPort.value ?? null);
  const lines: Line[] = [];
  if (self && peer && number !== null) {
    const [from, to] = direction === 'ingress' ? [peer, self] : [self, peer];
    lines.push(
      ...traceLines(
        state,
        { from: from.ref, to: to.ref, protocol: port?.protocol ?? 'TCP', port: number },
        MAX_LINES - 4,
      ).lines,
    );
  }
  const ports = rule.ports?.length
    ? rule.ports
        .map(
          ({ protocol, port: asked, endPort }) =>
            `${protocol} ${asked?.value ?? 'all'}${endPort ? `-${endPort.value}` : ''}`,
        )
        .join(', ')
    : 'every port';
  lines.push([
    strong(`${direction}[${index}]`),
    text(
      ` lets ${direction === 'ingress' ? 'in' : 'out'} ${ports} ${direction === 'ingress' ? 'from' : 'to'} ${rule.peers?.length ? plural(peers.length, 'pod') : 'anyone'}`,
    ),
  ]);
  if (peers.length > 0)
    lines.push(
      refsLine(
        'today',
        workloads(peers).map(({ ref }) => ref),
      ),
    );
  if (blocks.length > 0) lines.push([text('and addresses '), code(blocks.join('; '))]);
  lines.push(
    refsLine(
      'for',
      workloads(own).map(({ ref }) => ref),
    ),
  );
  return { at: firstLineOf(rule.at), lines };
}

/** A rule spans lines; what is marked is where it begins. */
function firstLineOf({ source, start, end }: Place): Place {
  const newline = source.text.indexOf('\n', start);
  return { source, start, end: newline > start && newline < end ? newline : end };
}
