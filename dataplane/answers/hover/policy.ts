/** Hovering a policy: whom it is about, proved by a packet. */
import type { PolicySource } from '../../manifests/objects.js';
import type { Place } from '../../manifests/place.js';
import { DIRECTIONS, type Policy } from '../../policy/rules.js';
import { placeOf } from '../../policy/selectors.js';
import type { State } from '../../state.js';
import { plural } from '../annotate.js';
import { reachedBy } from '../reach-counts.js';
import { podsOf, policiesIn } from '../policy-pods.js';
import {
  clientOf,
  headAt,
  linksOf,
  MAX_LINES,
  refsLine,
  strong,
  text,
  traceLines,
  within,
  withLinks,
  type Card,
  type Line,
} from './card.js';
import { ruleCard } from './rule.js';

export function policyCard(state: State, source: PolicySource, offset: number): Card | null {
  const policies = policiesIn(state, source);
  for (const policy of policies) {
    const rule = policy.rules.find(({ origin }) => within(origin.at, offset));
    if (rule) return ruleCard(state, policy, rule);
  }
  const places = policies.flatMap(({ subject }) => placeOf(subject) ?? []);
  if (source.kind === 'NetworkPolicy' && source.policyTypesAt) places.push(source.policyTypesAt);
  const head = headAt(source, offset) ?? places.find((place) => within(place, offset));
  return head ? headCard(state, source, policies, head) : null;
}

function headCard(state: State, { metadata }: PolicySource, policies: readonly Policy[], head: Place): Card {
  const pods = podsOf(state, policies);
  const workloads = [...new Set(pods.map((pod) => pod.workload))];
  const name = `${metadata.namespace && `${metadata.namespace}/`}${metadata.name.value}`;
  const first = workloads[0];
  if (!first) return { at: head, lines: [[strong(metadata.name.value), text(': applies to no pod')]] };
  const client = clientOf(state, new Set(workloads), null, metadata.namespace);
  const port = first.pods[0]!.spec.containers.flatMap((container) => container.ports)[0] ?? null;
  const request = client &&
    port && { from: client.ref, to: first.ref, protocol: port.protocol, port: port.containerPort.value };
  const isolated = DIRECTIONS.filter((direction) => policies.some(({ isolates }) => isolates.includes(direction)));
  const lines: Line[] = request ? traceLines(state, request, MAX_LINES - 5) : [];
  lines.push([
    strong(name),
    text(
      `: ${isolated.length > 0 ? `isolates ${isolated.join(' and ')}` : 'isolates nothing'} of ${plural(pods.length, 'pod')}`,
    ),
  ]);
  lines.push(
    refsLine(
      'applies to',
      workloads.map(({ ref }) => ref),
    ),
  );
  if (isolated.includes('ingress')) lines.push(refsLine(`${first.ref} is reached by`, reachedBy(state, first.ref)));
  const links = linksOf(
    { to: first.ref, protocol: port?.protocol ?? 'TCP', port: port?.containerPort.value ?? null },
    request,
  );
  return { at: head, lines: withLinks(lines, links) };
}
