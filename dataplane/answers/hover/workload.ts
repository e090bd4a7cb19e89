/** Hovering a workload, one of its ports or labels, or a host name in its configuration. */
import type { ManifestObject } from '../../manifests/objects.js';
import type { State } from '../../state.js';
import { plural, workloadOf } from '../annotate.js';
import { reachedBy } from '../reach-counts.js';
import { announced, hostsIn } from '../announced.js';
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
import { hostCard } from './host.js';

export function workloadCard(state: State, object: ManifestObject, offset: number): Card | null {
  const workload = workloadOf(state, object);
  const pod = workload?.pods[0];
  if (!workload || !pod) return null;
  for (const container of pod.spec.containers) {
    for (const { name, value } of container.env) {
      const host = hostsIn(value, name).find(({ at }) => within(at, offset));
      if (host) return hostCard(state, host, workload);
    }
    for (const value of container.args) {
      const host = hostsIn(value, '').find(({ at }) => within(at, offset));
      if (host) return hostCard(state, host, workload);
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
    ? traceLines(state, request, MAX_LINES - 5)
    : [[strong(workload.ref), text(first ? ': no workload that could call it' : ': declares no port')]];
  lines.push([
    strong(workload.ref),
    text(`: ${plural(workload.pods.length, 'pod')}, identity ${state.identities.ofPod.get(pod)?.number ?? 'host'}`),
  ]);
  const out = announced(state).find((flow) => flow.workload === workload);
  if (out) {
    lines.push(
      ...traceLines(state, { from: workload.ref, to: `dns:${out.host.name}`, protocol: 'TCP', port: out.host.port }, 1),
    );
  }
  lines.push(refsLine('reached by', reachedBy(state, workload.ref)));
  const links = linksOf(
    { to: workload.ref, protocol: first?.protocol ?? 'TCP', port: first?.containerPort.value ?? null },
    request,
    { text: 'Trace to…', action: { kind: 'traceTo', from: workload.ref } },
  );
  return { at, lines: withLinks(lines, links) };
}
