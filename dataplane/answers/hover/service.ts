/** Hovering a Service: a call from the client that tells most, its endpoints, and who reaches it. */
import { formatAddress, formatEndpoint } from '../../addresses.js';
import { countEndpoints } from '../../cluster/cluster.js';
import type { Service } from '../../manifests/objects.js';
import type { State } from '../../state.js';
import { plural, serviceOf } from '../annotate.js';
import { reachedBy } from '../reach-counts.js';
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

export function serviceCard(state: State, source: Service, offset: number): Card | null {
  const service = serviceOf(state, source);
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
    ? traceLines(state, request, MAX_LINES - 4)
    : [[strong(ref), text(': no workload that could call it')]];
  const frontend = service.ports.find((candidate) => candidate.source === asked);
  const where =
    service.clusterIPs
      .map((address) => (asked ? formatEndpoint(address, asked.port.value) : formatAddress(address)))
      .join(' and ') || 'no address of its own';
  lines.push([
    text(
      `${where} → ${plural(countEndpoints(frontend?.backends ?? []), 'endpoint')}${frontend?.backends[0] ? ` on port ${[...new Set(frontend.backends.map((backend) => backend.port))].join(', ')}` : ''}`,
    ),
  ]);
  lines.push(refsLine('reached by', reachedBy(state, ref)));
  const links = linksOf({ to: ref, protocol: asked?.protocol ?? 'TCP', port: asked?.port.value ?? null }, request, {
    text: 'Endpoints',
    action: { kind: 'endpoints', service: `${service.namespace}/${service.name}` },
  });
  return { at, lines: withLinks(lines, links) };
}
