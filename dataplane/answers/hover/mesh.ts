/** Hovering a policy of the mesh: whom it is about, and of a rule, whose calls it lets or refuses today, told by packets. */
import type { ClusterWorkload } from '../../cluster/cluster.js';
import { firstLineOf } from '../../manifests/place.js';
import type { MeshPolicy } from '../../policy/mesh.js';
import type { State } from '../../state.js';
import { meshTitle, podsOfMesh } from '../mesh-pods.js';
import { query } from '../query.js';
import { clientOf, headAt, linksOf, MAX_LINES, refsLine, strong, text, traceLines, within, withLinks } from './card.js';
import type { Card, Line } from './card.js';

/** Workloads whose calls one card tries, at most. */
const MOST_CLIENTS = 64;

export function meshCard(state: State, policy: MeshPolicy, offset: number): Card | null {
  const rules = policy.kind === 'AuthorizationPolicy' ? policy.rules : [];
  const index = rules.findIndex(({ at }) => within(at, offset));
  const at = index < 0 ? headAt(policy, offset) : firstLineOf(rules[index]!.at);
  if (!at) return null;
  const pods = podsOfMesh(state, policy);
  const workloads = [...new Set(pods.map(({ workload }) => workload))];
  const [first] = workloads;
  const said: Line = [
    strong(index < 0 ? policy.metadata.name.value : `rules[${index}]`),
    text(`${'action' in policy ? ` ${policy.action}` : ''}: ${meshTitle(state, pods)}`),
  ];
  if (!first) return { at, lines: [said] };
  const port = first.pods[0]!.spec.containers.flatMap(({ ports }) => ports)[0]?.containerPort.value ?? null;
  const client = clientOf(state, new Set(workloads), null, first.namespace);
  const request = client && port !== null ? { from: client.ref, to: first.ref, protocol: 'TCP', port } : null;
  const lines = request ? traceLines(state, request, MAX_LINES - 6) : [];
  lines.push(said);
  if (index >= 0 && port !== null) lines.push(...todayLines(state, policy, `rules[${index}]`, first, port));
  lines.push(
    refsLine(
      'for',
      workloads.map(({ ref }) => ref),
    ),
  );
  return { at, lines: withLinks(lines, linksOf({ to: first.ref, protocol: 'TCP', port }, request)) };
}

/** Of every other workload's call, whether the rule decides about it, and how; or whether that depends on the request. */
function todayLines(state: State, { metadata }: MeshPolicy, rule: string, to: ClusterWorkload, port: number): Line[] {
  const name = `${metadata.namespace}/${metadata.name.value}`;
  const fates = { allows: [] as string[], denies: [] as string[], asks: [] as string[] };
  const clients = state.cluster.workloads.filter((one) => one !== to && one.pods.some((pod) => !pod.hostNetwork));
  for (const { ref } of clients.slice(0, MOST_CLIENTS)) {
    const question = { from: ref, to: to.ref, protocol: 'TCP', port, sourcePort: null, node: null, http: null };
    const answered = query(state, question);
    if ('error' in answered) continue;
    const { deciders, depends } = answered.answer;
    const own = deciders.find(
      (one) => one.kind === 'AuthorizationPolicy' && `${one.namespace}/${one.name}` === name && one.rule === rule,
    );
    if (own) fates[own.effect === 'denies' ? 'denies' : 'allows'].push(ref);
    else if (depends.some((line) => line.includes(`AuthorizationPolicy ${name} ${rule}:`))) fates.asks.push(ref);
  }
  return [
    ...(fates.denies.length > 0 ? [refsLine('refuses today', fates.denies)] : []),
    ...(fates.asks.length > 0 ? [refsLine('decides by the request of', fates.asks)] : []),
    ...(fates.denies.length + fates.asks.length === 0 ? [refsLine('lets in today', fates.allows)] : []),
    ...(clients.length > MOST_CLIENTS
      ? [[text(`${clients.length - MOST_CLIENTS} workloads more were not asked`)]]
      : []),
  ];
}
