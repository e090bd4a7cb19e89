/** Hovering a host name that a value announces. */
import { formatAddress } from '../../addresses.js';
import type { ClusterWorkload } from '../../cluster/cluster.js';
import type { ConfigMap } from '../../manifests/objects.js';
import type { State } from '../../state.js';
import { usersOf, type Host } from '../announced.js';
import { resolveName, type Resolved } from '../refs.js';
import { code, linksOf, MAX_LINES, text, traceLines, verdictSpan, withLinks, type Card, type Line } from './card.js';

/** `workload` is whom the value configures; `note` says how that is known, where it is not plain to see. */
export function hostCard(state: State, host: Host, workload: ClusterWorkload, note: Line | null = null): Card {
  const target = resolveName(state, host.name, workload.namespace);
  if ('error' in target)
    return { at: host.at, lines: [[verdictSpan('UNKNOWN'), text(' '), code(host.name), text(`: ${target.error}`)]] };
  const request = { from: workload.ref, to: `dns:${host.name}`, protocol: 'TCP', port: host.port };
  const lines = [
    ...traceLines(state, request, MAX_LINES - 3),
    ...serviceLine(host, target),
    ...(note === null ? [] : [note]),
  ];
  return {
    at: host.at,
    lines: withLinks(lines, linksOf({ to: request.to, protocol: 'TCP', port: host.port }, request)),
  };
}

/** Asked for the first workload that uses the ConfigMap; where none does there is nobody to ask for, and no verdict. */
export function configMapHostCard(state: State, configMap: ConfigMap, host: Host): Card {
  const users = usersOf(state, configMap);
  const first = users.find(({ pods }) => pods.length > 0) ?? users[0];
  if (first) {
    const many =
      users.length > 1
        ? [text('asked for '), code(first.ref), text(`; ${users.length} workloads use this ConfigMap`)]
        : null;
    return hostCard(state, host, first, many);
  }
  const target = resolveName(state, host.name, configMap.metadata.namespace);
  const unused = [code(host.name), text(': no workload of the manifests uses this ConfigMap')];
  return { at: host.at, lines: [unused, ...serviceLine(host, target)] };
}

function serviceLine({ name }: Host, target: Resolved): Line[] {
  if ('error' in target || target.kind !== 'service') return [];
  const { service } = target;
  const addresses = service.clusterIPs.map(formatAddress).join(' and ');
  const where = addresses === '' ? ', headless' : ` at ${addresses}`;
  return [[text(`${name} is Service ${service.namespace}/${service.name}${where}`)]];
}
