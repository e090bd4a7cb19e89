/** Hovering a rule: whom it lets through today, told by packets, and which of its ports nobody listens on. */
import { IpProto } from '../../../assembly/abi.js';
import type { ClusterPod, ClusterWorkload } from '../../cluster/cluster.js';
import { firstLineOf, type Place } from '../../manifests/place.js';
import { PROTOCOL_NAMES } from '../../packet.js';
import type { PodIdentity } from '../../policy/identities.js';
import { protocolOf } from '../../policy/networkpolicy.js';
import type { Policy, PortMatch, Rule } from '../../policy/rules.js';
import { identityOf, type State } from '../../state.js';
import { plural } from '../annotate.js';
import { Carriers, probeOf } from '../carriers.js';
import { decidersOf } from '../decide.js';
import { outsidersOf, podsAmong, podsMatching, portAt, portText } from '../policy-pods.js';
import { run, type Outcome, type Probe } from '../probe.js';
import { code, deciderSpans, MAX_LINES, refsLine, strong, text, traceLines, type Card, type Line } from './card.js';

/** Packets that one card sends, at most: whoever is left is named without a verdict. */
const MOST_PROBES = 512;

export function ruleCard(state: State, { subject }: Policy, rule: Rule): Card {
  const { origin, deny, pass, peers: named, ports } = rule;
  const ingress = origin.direction === 'ingress';
  const own = podsMatching(state, subject);
  const peers = named
    ? [...new Set(named.flatMap((peer) => podsAmong(state, peer)))]
    : state.cluster.pods.filter((pod) => !pod.hostNetwork && !state.cluster.assumed.has(pod));
  const outsiders = [...new Set((named ?? []).flatMap(outsidersOf))];
  const lines: Line[] = packetLines(state, rule, own, peers);
  const isAnyone = named === null || named.some(({ kind }) => kind === 'anyone');
  const what = ports?.length ? [...new Set(ports.map(portText))].join(', ') : 'every port';
  lines.push([
    strong(origin.rule),
    text(
      ` ${pass ? 'leaves to the next tier' : deny ? 'refuses' : 'lets'} ${ingress ? 'in' : 'out'} ${what} ${ingress ? 'from' : 'to'} ${isAnyone ? 'anyone' : plural(peers.length, 'pod')}`,
    ),
  ]);
  lines.push(...todayLines(state, rule, own, peers));
  if (outsiders.length > 0) lines.push([text('and '), code(outsiders.join('; '))]);
  // Who is outside may listen on anything.
  const receivers = ingress ? own : isAnyone || outsiders.length > 0 ? [] : peers;
  const unused = deny ? [] : unusedPorts(ports ?? [], receivers);
  if (unused.length > 0) lines.push([text('nobody listens on '), code(unused.join(', '))]);
  lines.push(refsLine('for', refsOf(own)));
  return { at: firstLineOf(origin.at), lines };
}

const workloadsOf = (pods: readonly ClusterPod[]): ClusterWorkload[] => [
  ...new Set(pods.map(({ workload }) => workload)),
];
const refsOf = (pods: readonly ClusterPod[]): string[] => workloadsOf(pods).map(({ ref }) => ref);

const declaredBy = (pod: ClusterPod | undefined): ClusterPod['spec']['containers'][number]['ports'] =>
  pod?.spec.containers.flatMap((container) => container.ports) ?? [];

/** The way of one packet that the rule is about. */
function packetLines(
  state: State,
  { origin, ports }: Rule,
  own: readonly ClusterPod[],
  peers: readonly ClusterPod[],
): Line[] {
  const ingress = origin.direction === 'ingress';
  const self = workloadsOf(own)[0];
  const peer = workloadsOf(peers).find((candidate) => !own.some((pod) => pod.workload === candidate));
  const receiver = (ingress ? self : peer)?.pods[0];
  const port = ports?.[0] ?? null;
  const number = (port && receiver && portAt(port, receiver)) || (declaredBy(receiver)[0]?.containerPort.value ?? null);
  if (!self || !peer || number === null) return [];
  const [from, to] = ingress ? [peer, self] : [self, peer];
  const protocol = (port && PROTOCOL_NAMES[port.protocol]) ?? 'TCP';
  return traceLines(state, { from: from.ref, to: to.ref, protocol, port: number }, MAX_LINES - 6);
}

/** Whose packets pass today and whose do not, and for these who decides. */
function todayLines(state: State, rule: Rule, own: readonly ClusterPod[], peers: readonly ClusterPod[]): Line[] {
  if (peers.length === 0) return [];
  const asked = probesOf(state, rule, own, peers);
  if (asked.length === 0 || asked.length > MOST_PROBES) return [refsLine('peers', refsOf(peers))];
  const passing = new Set<PodIdentity>();
  const refused = new Map<PodIdentity, Outcome>();
  run(
    state,
    asked.map(({ probe }) => probe),
  ).forEach((outcome, i) => {
    const { peer } = asked[i]!;
    if (outcome.allowed) passing.add(peer);
    else if (!refused.has(peer)) refused.set(peer, outcome);
  });
  const podsOf = (wanted: (peer: PodIdentity) => boolean): ClusterPod[] =>
    peers.filter((pod) => wanted(identityOf(state, pod)!));
  const lines = [refsLine('passing today', refsOf(podsOf((peer) => passing.has(peer))))];
  const others = podsOf((peer) => refused.has(peer) && !passing.has(peer));
  if (!others[0]) return lines;
  const outcome = refused.get(identityOf(state, others[0])!)!;
  const [decider] = decidersOf(state, outcome);
  const why = decider ? [text(` at ${outcome.direction}, `), ...deciderSpans(decider)] : [];
  return [...lines, [...refsLine('refused today', refsOf(others)), ...why]];
}

/** Packets between the pods and each kind of peer, at each of the rule's ports, or one that is declared where it has none. */
function probesOf(
  state: State,
  { origin: { direction }, ports }: Rule,
  own: readonly ClusterPod[],
  peers: readonly ClusterPod[],
): { readonly peer: PodIdentity; readonly probe: Probe }[] {
  const carriers = new Carriers(state);
  const kindsOf = (pods: readonly ClusterPod[]): PodIdentity[] => [
    ...new Set(pods.flatMap((pod) => identityOf(state, pod) ?? [])),
  ];
  return kindsOf(peers).flatMap((peer) =>
    kindsOf(own).flatMap((subject) => {
      const paths = carriers.paths(subject, peer.number, direction).filter(({ isStandIn }) => !isStandIn);
      const open = portsFor(ports, direction === 'ingress' ? subject.example : peer.example);
      return paths.flatMap((path) => open.map(([protocol, port]) => ({ peer, probe: probeOf(path, protocol, port) })));
    }),
  );
}

function portsFor(ports: readonly PortMatch[] | null, receiver: ClusterPod): (readonly [number, number])[] {
  if (ports === null) return [[IpProto.TCP, declaredBy(receiver)[0]?.containerPort.value ?? 1]];
  return ports.flatMap((port): [number, number][] => {
    const number = portAt(port, receiver);
    return number === null ? [] : [[port.protocol, Math.max(number, 1)]];
  });
}

/**
 * Ports that none of the receivers declares. One that declares none may well listen on any; what is written once may stand for
 * several protocols, of which one is enough.
 */
function unusedPorts(ports: readonly PortMatch[], receivers: readonly ClusterPod[]): string[] {
  if (receivers.length === 0 || receivers.some((pod) => declaredBy(pod).length === 0)) return [];
  const written = new Map<Place, PortMatch[]>();
  for (const port of ports) written.set(port.at, [...(written.get(port.at) ?? []), port]);
  const unused = [...written.values()].filter(
    (all) => !all.some((port) => receivers.some((pod) => declares(pod, port))),
  );
  return unused.flatMap((all) => all.map(portText));
}

const declares = (pod: ClusterPod, { port, protocol }: PortMatch): boolean =>
  declaredBy(pod).some(
    (declared) =>
      declared.protocol === protocolOf(protocol) &&
      (typeof port === 'string'
        ? declared.name?.value === port
        : port.first <= declared.containerPort.value && declared.containerPort.value <= port.last),
  );
