/** Hovering a host name that a value announces. */
import { formatAddress } from '../../addresses.js';
import type { ClusterWorkload } from '../../cluster/cluster.js';
import type { State } from '../../state.js';
import type { Host } from '../announced.js';
import { resolveName } from '../refs.js';
import { code, linksOf, MAX_LINES, text, traceLines, verdictSpan, withLinks, type Card } from './card.js';

/** `workload` is whom the value configures; for a ConfigMap that is not known, and a workload of its namespace stands in. */
export function hostCard(state: State, host: Host, namespace: string, workload: ClusterWorkload | null): Card | null {
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
  const lines = traceLines(state, request, MAX_LINES - 3);
  if (target.kind === 'service')
    lines.push([
      text(
        `${host.name} is Service ${target.service.namespace}/${target.service.name}${target.service.clusterIP === null ? ', headless' : ` at ${formatAddress(target.service.clusterIP)}`}`,
      ),
    ]);
  if (!workload) lines.push([text(`asked for ${from.ref}; whom this ConfigMap configures is not known`)]);
  return {
    at: host.at,
    lines: withLinks(lines, linksOf({ to: request.to, protocol: 'TCP', port: host.port }, request)),
  };
}
