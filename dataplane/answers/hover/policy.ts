/** Hovering a policy, or one of its rules: whom it lets through today, proved by a packet. */
import type { ClusterPod, ClusterWorkload } from '../../cluster/cluster.js';
import type { PolicySource } from '../../manifests/objects.js';
import { firstLineOf, type Place } from '../../manifests/place.js';
import { PROTOCOL_NAMES } from '../../packet.js';
import { DIRECTIONS, type Policy, type Rule } from '../../policy/rules.js';
import { placeOf } from '../../policy/selectors.js';
import type { State } from '../../state.js';
import { plural, reachedBy } from '../annotate.js';
import { outsidersOf, podsAmong, podsMatching, podsOf, policiesIn, portAt, portText } from '../policy-pods.js';
import {
  clientOf,
  code,
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

/** Whom a rule lets through today, or refuses, proved by a packet of one of them. */
function ruleCard(state: State, { subject }: Policy, { origin, deny, pass, peers: named, ports }: Rule): Card {
  const ingress = origin.direction === 'ingress';
  const own = podsMatching(state, subject);
  const peers = named
    ? [...new Set(named.flatMap((peer) => podsAmong(state, peer)))]
    : state.cluster.pods.filter((pod) => !pod.hostNetwork);
  const outsiders = [...new Set((named ?? []).flatMap(outsidersOf))];
  const workloads = (pods: readonly ClusterPod[]): ClusterWorkload[] => [...new Set(pods.map((pod) => pod.workload))];
  const [self, peer] = [
    workloads(own)[0],
    workloads(peers).find((candidate) => !own.some((pod) => pod.workload === candidate)),
  ];
  const port = ports?.[0] ?? null;
  const receiver = (ingress ? self : peer)?.pods[0];
  const declared = receiver?.spec.containers.flatMap((container) => container.ports)[0]?.containerPort.value ?? null;
  const number = (port && receiver && portAt(port, receiver)) || declared;
  const protocol = (port && PROTOCOL_NAMES[port.protocol]) ?? 'TCP';
  const lines: Line[] = [];
  if (self && peer && number !== null) {
    const [from, to] = ingress ? [peer, self] : [self, peer];
    lines.push(...traceLines(state, { from: from.ref, to: to.ref, protocol, port: number }, MAX_LINES - 4));
  }
  const who = named && !named.some(({ kind }) => kind === 'anyone') ? plural(peers.length, 'pod') : 'anyone';
  const what = ports?.length ? [...new Set(ports.map(portText))].join(', ') : 'every port';
  lines.push([
    strong(origin.rule),
    text(
      ` ${pass ? 'leaves to the next tier' : deny ? 'refuses' : 'lets'} ${ingress ? 'in' : 'out'} ${what} ${ingress ? 'from' : 'to'} ${who}`,
    ),
  ]);
  if (peers.length > 0)
    lines.push(
      refsLine(
        'today',
        workloads(peers).map(({ ref }) => ref),
      ),
    );
  if (outsiders.length > 0) lines.push([text('and '), code(outsiders.join('; '))]);
  lines.push(
    refsLine(
      'for',
      workloads(own).map(({ ref }) => ref),
    ),
  );
  return { at: firstLineOf(origin.at), lines };
}
