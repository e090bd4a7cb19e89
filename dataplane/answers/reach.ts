/** Who can talk to whom: exact, by one packet of each class of traffic through the dataplane. */
import { ReservedIdentity } from '../../assembly/abi.js';
import type { Protocol } from '../manifests/objects.js';
import { identityOf, policyOf, type State } from '../state.js';
import { unreadIngresses } from './ingress/through.js';
import { choose, endsOf, MOST_DEPENDS, onNodes, unreadOf, type End, type OpenPort } from './reach-ends.js';
import { ingressEnd, portsBehind } from './reach-ingress.js';
import { matrixOf, type Opening } from './reach-matrix.js';
import type { Found, Open, Range, ReachIcmp, ReachPorts } from './reach-open.js';
import { pairsOf } from './reach-pairs.js';

export interface ReachEndpoint {
  readonly ref: string;
  /** `class`: a kind of pods that are not there yet. */
  readonly kind: End['kind'] | 'class';
  readonly pods?: number;
  readonly identity: number;
  readonly isolated?: { readonly ingress: boolean; readonly egress: boolean };
}

export interface Connection {
  readonly from: string;
  readonly to: string;
  readonly ports: readonly ReachPorts[];
  /** Messages of ICMP; the field is left out where none is let. */
  readonly icmp?: readonly ReachIcmp[];
}

export interface Reach {
  readonly schema: 'hopscope.reach/1';
  readonly endpoints: readonly ReachEndpoint[];
  readonly connections: readonly Connection[];
  /** Ends whose policies could not all be read: their connections are not listed, and not denied either. */
  readonly unknown: readonly { readonly ref: string; readonly depends: readonly string[] }[];
  /** Workloads on their nodes' networks, which are their nodes to policies: their connections are not listed either. */
  readonly onNodes: readonly string[];
  /** Where asked for: connections with pods that are not there yet, which have no policies of their own. */
  readonly exposure?: readonly Connection[];
}

export interface ReachOptions {
  readonly from: string | null;
  readonly to: string | null;
  /** ICMP is ICMPv6 too. */
  readonly protocol: Protocol | 'ICMP' | null;
  /** Also what pods of one workload may say to each other, where it has several. */
  readonly itself?: boolean;
}

export function reach(state: State, options: ReachOptions): Reach | { readonly error: string } {
  const ends = endsOf(state);
  const sources = choose(state, ends, options.from);
  const targets = choose(state, ends, options.to);
  if ('error' in sources) return sources;
  if ('error' in targets) return targets;
  const used = [...new Set([...sources.ends, ...targets.ends])];
  const unread = unreadOf(state, used);
  const connections: Connection[] = [];
  const inMesh = new Map<End, Set<string>>();
  const note = (to: End, { depends }: Found): void => {
    for (const line of depends) inMesh.set(to, (inMesh.get(to) ?? new Set()).add(line));
  };
  const others = targets.ends.filter((to) => !unread.has(to));
  const isAll = options.from === null && options.to === null;
  for (const from of sources.ends) {
    if (unread.has(from)) continue;
    const own = options.itself && targets.ends.includes(from) ? openFrom(state, from, anotherOf(from)) : [];
    const open = isAll ? matrixOf(state).openFrom(from) : openFrom(state, from, others);
    for (const { to, found } of [...open, ...own]) {
      if (to === from) continue;
      connections.push(...connectionOf(from.ref, to.ref, narrowed(found.open, options.protocol, targets.ports)));
      note(to, found);
    }
  }
  const ingresses = sources.ingresses.map((ingress) => ({ ingress, from: ingressEnd(state, ingress) }));
  const pods = others.filter((to) => to.pods.length > 0);
  for (const { ingress, from } of ingresses) {
    const behind = pods.filter((to) => portsBehind(state, ingress, to).length > 0);
    pairsOf(state)
      .from(from, behind)
      .forEach((found, i) => {
        const to = behind[i]!;
        const exposed = narrowed(found!.open, options.protocol, portsBehind(state, ingress, to));
        const { ports } = narrowed(exposed, options.protocol, targets.ports);
        if (ports.length > 0) connections.push({ from: from.ref, to: to.ref, ports });
        note(to, found!);
      });
  }
  const unreadable = options.from === null ? unreadIngresses(state) : [];
  return {
    schema: 'hopscope.reach/1',
    endpoints: [...used, ...ingresses.map(({ from }) => from)].map((end) => endpointOf(state, end)),
    connections,
    unknown: [
      ...[...unread].map(([end, depends]) => ({ ref: end.ref, depends })),
      ...[...inMesh].map(([end, depends]) => ({ ref: end.ref, depends: [...depends].slice(0, MOST_DEPENDS) })),
      ...(unreadable.length > 0 ? [{ ref: 'ingress:*', depends: unreadable }] : []),
    ],
    onNodes: onNodes(state),
  };
}

/** A workload as its own peer: without the pod that stands for it as the sender. */
const anotherOf = (end: End): End[] => (end.pods.length > 1 ? [{ ...end, pods: end.pods.slice(1) }] : []);

/** What is open from an end to some. */
const openFrom = (state: State, from: End, targets: readonly End[]): Opening[] => {
  const others = targets.filter((to) => to !== from && (from.external === null || to.external === null));
  return pairsOf(state)
    .from(from, others)
    .flatMap((found, i) => (found ? { to: others[i]!, found } : []));
};

const NOTHING: readonly never[] = [];

/** What is open between two ends as a connection; none where nothing is. */
export function connectionOf(from: string, to: string, { ports, icmp }: Open): Connection[] {
  return ports.length + icmp.length > 0 ? [{ from, to, ports, ...(icmp.length > 0 ? { icmp } : {}) }] : [];
}

/** Of what is open, one protocol, and of a Service's pods the ports that it leads to. */
export function narrowed(
  { ports, icmp }: Open,
  only: ReachOptions['protocol'],
  service: readonly OpenPort[] | null,
): Open {
  if (only === null && service === null) return { ports, icmp };
  const chosen = ports.filter(({ protocol }) => only === null || protocol === only);
  return {
    ports: service === null ? chosen : chosen.flatMap((open) => atService(open, service)),
    icmp: service === null && (only === null || only === 'ICMP') ? icmp : NOTHING,
  };
}

/** Of open ports, those that a Service leads to. */
function atService({ protocol, ranges, layer7 }: ReachPorts, service: readonly OpenPort[]): ReachPorts[] {
  const asked = new Set(service.filter((one) => one.protocol === protocol).map(({ port }) => port));
  const among = (all: readonly Range[]): Range[] =>
    [...asked]
      .filter((port) => all.some(([first, last]) => first <= port && port <= last))
      .sort((a, b) => a - b)
      .map((port) => [port, port]);
  const open = among(ranges);
  if (open.length === 0) return [];
  const asks = (layer7 ?? []).map((ask) => ({ ...ask, ranges: among(ask.ranges) })).filter((ask) => ask.ranges.length);
  return [{ protocol, ranges: open, ...(asks.length > 0 ? { layer7: asks } : {}) }];
}

function endpointOf(state: State, { ref, kind, pods, external }: End): ReachEndpoint {
  if (external) return { ref, kind, identity: external.identity };
  // An Ingress's controller that the manifests do not hold has no identity of its own.
  if (kind === 'ingress') return { ref, kind, identity: identityOf(state, pods[0]!)?.number ?? ReservedIdentity.HOST };
  const policy = policyOf(state, pods[0]!);
  const isolated = {
    ingress: (policy?.isolatedBy.ingress.length ?? 0) > 0,
    egress: (policy?.isolatedBy.egress.length ?? 0) > 0,
  };
  return { ref, kind, pods: pods.length, identity: identityOf(state, pods[0]!)!.number, isolated };
}
