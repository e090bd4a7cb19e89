/** Hovering a policy, or one of its rules: whom it lets through today, proved by a packet. */
import type { ClusterPod, ClusterWorkload } from '../../cluster/cluster.js';
import type { NetworkPolicy, NetworkPolicyRule } from '../../manifests/objects.js';
import type { Place } from '../../manifests/place.js';
import { selects } from '../../policy/compile.js';
import type { State } from '../../state.js';
import { peerPods, plural, reachedBy } from '../annotate.js';
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

export function policyCard(state: State, policy: NetworkPolicy, offset: number): Card | null {
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
  const lines: Line[] = request ? traceLines(state, request, MAX_LINES - 5) : [];
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
  const links = linksOf(
    { to: first.ref, protocol: port?.protocol ?? 'TCP', port: port?.containerPort.value ?? null },
    request,
  );
  return { at: head, lines: withLinks(lines, links) };
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
      ),
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
