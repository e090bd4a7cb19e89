/** Lenses and inlay hints of one file. */
import { matchesAll } from '../cluster/selectors.js';
import { countEndpoints, type ClusterPod, type ClusterService, type ClusterWorkload } from '../cluster/cluster.js';
import { targetPortOf } from '../cluster/backends.js';
import { indexed } from '../indexed.js';
import { keptFor } from '../kept.js';
import type { CiliumPolicy } from '../manifests/cilium.js';
import {
  POLICY_KINDS,
  WORKLOAD_KINDS,
  type ManifestObject,
  type NetworkPolicy,
  type PolicySource,
  type Service,
} from '../manifests/objects.js';
import { endOf, locate, type Place } from '../manifests/place.js';
import { isMeshPolicy } from '../policy/mesh.js';
import { DIRECTIONS, partsOf, type Direction, type Policy, type PortMatch } from '../policy/rules.js';
import { placeOf } from '../policy/selectors.js';
import { overStates, policyOf, type State } from '../state.js';
import type { Action, Annotations, Inlay, Lens } from './annotations.js';
import { announcedIn } from './announced.js';
import { backendRemarks } from './ingress/inlays.js';
import { meshTitle, podsOfMesh } from './mesh-pods.js';
import { isEveryPod, podsAmong, podsMatching, podsOf, policiesIn, portAt } from './policy-pods.js';
import { query, type Verdict } from './query.js';
import { countReachedBy, countReaches } from './reach-counts.js';

export function annotate(state: State, file: string): Annotations {
  const lenses: Lens[] = [];
  const inlays: Inlay[] = [];
  for (const object of state.manifests.objectsIn(file)) {
    lenses.push(...lensesOf(state, object));
    inlays.push(...inlaysOf(state, object));
  }
  return { lenses, inlays: [...inlays, ...hostInlays(state, file)] };
}

/** Behind each host that a value of the file names: whether whom it configures reaches it. */
function hostInlays(state: State, file: string): Inlay[] {
  const flows = new Map<string, { at: Place; verdicts: Set<Verdict>; told: string[] }>();
  for (const { workload, host } of announcedIn(state, file)) {
    const to = `dns:${host.name}`;
    const answered = query(state, {
      from: workload.ref,
      to,
      protocol: 'TCP',
      port: host.port,
      sourcePort: null,
      node: null,
      http: null,
    });
    if ('error' in answered) continue;
    const { verdict, reason, hints } = answered.answer;
    const flow = flows.get(JSON.stringify(locate(host.at))) ?? { at: host.at, verdicts: new Set(), told: [] };
    flows.set(JSON.stringify(locate(host.at)), flow);
    flow.verdicts.add(verdict);
    flow.told.push(
      [`${workload.ref} → ${host.name}: ${verdict}`, ...(reason ? [reason.text] : []), ...hints].join('; '),
    );
  }
  return [...flows.values()].map(({ at, verdicts, told }) =>
    inlay(at, `→ ${verdicts.size === 1 ? [...verdicts][0]! : 'CONDITIONAL'}`, told.join('\n')),
  );
}

/** `1 policy`, `2 policies`. */
export const plural = (count: number, noun: string): string =>
  `${count} ${count === 1 ? noun : noun.endsWith('y') ? `${noun.slice(0, -1)}ies` : `${noun}s`}`;

const sources = overStates(() => ({
  workloads: indexed(({ source, pods }: ClusterWorkload): readonly (ManifestObject | Place)[] => [
    source,
    ...new Set(pods.map((pod) => pod.source)),
  ]),
  services: indexed(({ source }: ClusterService) => [source]),
}));

/** The workload that a manifest object is. */
export function workloadOf(state: State, object: ManifestObject): ClusterWorkload | null {
  const bySource = sources(state).workloads(state.cluster.workloads);
  return bySource.all(object)[0] ?? bySource.all(object.at)[0] ?? null;
}

export const serviceOf = (state: State, source: Service): ClusterService | null =>
  sources(state).services(state.cluster.services).get(source) ?? null;

export const isWorkload = (object: ManifestObject): boolean =>
  object.kind === 'Pod' || (WORKLOAD_KINDS as readonly string[]).includes(object.kind);

/** How much is said of isolation: which policies, in words. */
function isolation(state: State, pod: ClusterPod): string {
  const policy = policyOf(state, pod);
  if (pod.hostNetwork || !policy) return 'host network: no policy applies';
  const parts = (['ingress', 'egress'] as const).map((direction) => {
    const count = policy.isolatedBy[direction].length;
    return count === 0 ? `${direction} open` : `${direction} isolated by ${plural(count, 'policy')}`;
  });
  return parts.join(', ');
}

const stale = (state: State, object: ManifestObject): string =>
  state.manifests.stale.has(object) ? ' (last good state)' : '';

function lensesOf(state: State, object: ManifestObject): Lens[] {
  const { range } = locate(object.metadata.name.at);
  const lens = (title: string, action: Action | null): Lens => ({ range, title: title + stale(state, object), action });
  if (object.kind === 'Service') {
    const service = serviceOf(state, object);
    return service ? serviceLenses(state, service, lens) : [];
  }
  if (isPolicy(object)) return policyLenses(state, policiesIn(state, object), lens);
  if (isMeshPolicy(object)) return [meshLens(state, podsOfMesh(state, object), lens)];
  if (!isWorkload(object)) return [];
  const workload = workloadOf(state, object);
  const pod = workload?.pods[0];
  if (!workload || !pod) return [lens('no pods', null)];
  const by = countReachedBy(state, workload.ref);
  const reached = by === null ? 'who reaches it is UNKNOWN' : `reached by ${plural(by, 'workload')}`;
  return [
    lens(`${plural(workload.pods.length, 'pod')} · ${isolation(state, pod)} · ${reached}`, {
      kind: 'traceFrom',
      to: workload.ref,
      protocol: 'TCP',
      port: null,
    }),
    lens('Trace to…', { kind: 'traceTo', from: workload.ref }),
  ];
}

type MakeLens = (title: string, action: Action | null) => Lens;

function serviceLenses(state: State, service: ClusterService, lens: MakeLens): Lens[] {
  const ref = `${service.namespace}/${service.name}`;
  if (service.source.type === 'ExternalName')
    return [lens(`a name for ${service.source.externalName?.value ?? 'nothing'}: no endpoints`, null)];
  const backends = countEndpoints(service.ports.flatMap((port) => port.backends));
  const by = countReachedBy(state, `svc:${ref}`);
  const reached =
    by === null
      ? 'who reaches it is UNKNOWN'
      : backends === 0
        ? 'nobody gets an answer'
        : `reached by ${plural(by, 'workload')}`;
  return [
    lens(`${plural(backends, 'endpoint')} · ${reached}`, { kind: 'endpoints', service: ref }),
    lens('Trace from…', {
      kind: 'traceFrom',
      to: `svc:${ref}`,
      protocol: service.source.ports[0]?.protocol ?? 'TCP',
      port: service.source.ports[0]?.port.value ?? null,
    }),
  ];
}

/** What a policy blocks: the workloads that do not reach, or are not reached by, the pods it isolates. */
function policyLenses(state: State, policies: readonly Policy[], lens: MakeLens): Lens[] {
  const pods = podsOf(state, policies);
  if (pods.length === 0) return [lens('applies to no pod', null)];
  const workloads = [...new Set(pods.map((pod) => pod.workload))];
  const all = [...state.cluster.inNamespace.values()].reduce((sum, own) => sum + countEnds(own.workloads), 0);
  const title = [`applies to ${plural(pods.length, 'pod')} of ${plural(workloads.length, 'workload')}`];
  const directions: [Direction, (ref: string) => number | null, string][] = [
    ['ingress', (ref) => countReachedBy(state, ref), 'in'],
    ['egress', (ref) => countReaches(state, ref), 'out'],
  ];
  for (const [direction, ask, word] of directions) {
    if (!policies.some(({ isolates }) => isolates.includes(direction))) continue;
    const counts = workloads.slice(0, MAX_ASKED).map(({ ref }) => ask(ref));
    if (counts.includes(null)) title.push(`${direction} UNKNOWN`);
    else {
      const most = Math.max(...(counts as number[]));
      title.push(
        most === 0 ? `nothing gets ${word}` : `${word}: ${plural(all - 1 - most, 'workload')} blocked, ${most} allowed`,
      );
    }
  }
  const first = workloads[0]!;
  return [lens(title.join(' · '), { kind: 'traceFrom', to: first.ref, protocol: 'TCP', port: null })];
}

/** How many workloads have pods of their own addresses. */
const countEnds = keptFor(
  (workloads: readonly ClusterWorkload[]) =>
    workloads.filter(({ pods }) => pods.some((pod) => !pod.hostNetwork)).length,
);

/** Whom a policy of the mesh is about, and from where that may be traced. */
function meshLens(state: State, pods: readonly ClusterPod[], lens: MakeLens): Lens {
  const [first] = pods;
  const to = first?.workload.ref;
  return lens(meshTitle(state, pods), to === undefined ? null : { kind: 'traceFrom', to, protocol: 'TCP', port: null });
}

/** A policy over a whole cluster is described by some of its workloads. */
const MAX_ASKED = 8;

const inlay = (place: Place, text: string, tooltip = ''): Inlay => ({
  position: locate(endOf(place)).range.start,
  text,
  tooltip,
});

const inOrder = (inlays: readonly Inlay[]): Inlay[] =>
  [...inlays].sort(({ position: a }, { position: b }) => a.line - b.line || a.column - b.column);

const listed = keptFor((pods: readonly ClusterPod[]): string => {
  const names = [...new Set(pods.map((pod) => pod.workload.ref))];
  return names.slice(0, 12).join(', ') + (names.length > 12 ? ` and ${names.length - 12} more` : '');
});

function podsInlay(place: Place, pods: readonly ClusterPod[], all: boolean): Inlay {
  return inlay(place, `→ ${all ? 'all ' : ''}${plural(pods.length, 'pod')}`, listed(pods));
}

function inlaysOf(state: State, object: ManifestObject): Inlay[] {
  if (object.kind === 'Service') {
    const service = serviceOf(state, object);
    if (!service) return [];
    const inlays = object.selector ? [podsInlay(object.selector.at, service.selected, false)] : [];
    for (const port of object.ports) {
      if (typeof port.targetPort?.value !== 'string') continue;
      const numbers = [
        ...new Set(service.selected.map((pod) => targetPortOf(port, pod)).filter((number) => number !== null)),
      ];
      inlays.push(inlay(port.targetPort.at, numbers.length > 0 ? `→ ${numbers.join(' or ')}` : '→ no such port'));
    }
    return inlays;
  }
  if (object.kind === 'Ingress')
    return inOrder(backendRemarks(state, object).map(({ at, text, tooltip }) => inlay(at, text, tooltip)));
  if (!isPolicy(object)) return [];
  const own =
    object.kind === 'NetworkPolicy' ? networkPolicyInlays(object) : 'specs' in object ? ciliumInlays(object) : [];
  return inOrder([...policiesIn(state, object).flatMap((policy) => policyInlays(state, policy)), ...own]);
}

export const isPolicy = (object: ManifestObject): object is PolicySource =>
  (POLICY_KINDS as readonly string[]).includes(object.kind);

/** What only shows in how a NetworkPolicy is written: a list without a rule, and directions that are not named. */
function networkPolicyInlays({ policyTypes, policyTypesAt, podSelector, ...policy }: NetworkPolicy): Inlay[] {
  const inlays = DIRECTIONS.flatMap((direction) => {
    const list = policy[direction];
    const isolated = policyTypes.includes(direction === 'ingress' ? 'Ingress' : 'Egress');
    return list && isolated && list.rules.length === 0 ? [inlay(list.at, 'denies all')] : [];
  });
  if (policyTypesAt !== null) return inlays;
  const text = `isolates ${policyTypes.join(' and ').toLowerCase()}`;
  const why = 'policyTypes is not set: Ingress, and Egress where there are egress rules';
  return [...inlays, inlay(podSelector.at, text, why)];
}

/** A rule without fields isolates like any other, where a NetworkPolicy's lets everything. */
const ciliumInlays = ({ specs }: CiliumPolicy): Inlay[] =>
  specs
    .flatMap(({ sections }) => sections.flatMap(({ rules }) => rules))
    .filter(({ peers, ports }) => peers === null && ports === null)
    .map(({ at }) => inlay(at, 'lets nothing', 'a rule that names neither peers nor ports matches nothing'));

function policyInlays(state: State, { subject, rules }: Policy): Inlay[] {
  const pods = podsMatching(state, subject);
  const at = placeOf(subject);
  const inlays = at ? [podsInlay(at, pods, subject.written !== null && matchesAll(subject.written))] : [];
  for (const { origin, deny, pass, peers, ports } of rules) {
    const anyone = peers === null || peers.some(({ kind }) => kind === 'anyone');
    if (anyone && ports === null)
      inlays.push(inlay(origin.at, pass ? 'passes all on' : deny ? 'denies all' : 'allows all'));
    for (const peer of (peers ?? []).flatMap(partsOf)) {
      const place = peer.kind === 'endpoints' ? placeOf(peer.selector) : null;
      if (place && peer.kind === 'endpoints')
        inlays.push(podsInlay(place, podsAmong(state, peer), isEveryPod(peer.selector)));
    }
    const asked =
      origin.direction === 'ingress'
        ? pods
        : anyone
          ? state.cluster.pods
          : peers.flatMap((peer) => podsAmong(state, peer));
    inlays.push(...namedPortInlays(ports ?? [], asked));
  }
  return inlays;
}

/** The numbers that each name stands for in these pods; one name may be asked for in several protocols. */
function namedPortInlays(ports: readonly PortMatch[], pods: readonly ClusterPod[]): Inlay[] {
  const numbers = new Map<Place, Set<number>>();
  for (const port of ports) {
    if (typeof port.port !== 'string') continue;
    const found = numbers.get(port.at) ?? new Set();
    numbers.set(port.at, found);
    for (const pod of pods) {
      const number = portAt(port, pod);
      if (number !== null) found.add(number);
    }
  }
  return [...numbers].map(([at, found]) =>
    inlay(at, found.size > 0 ? `→ ${[...found].join(' or ')}` : '→ no such port'),
  );
}
