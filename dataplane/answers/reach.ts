/** Who can talk to whom: exact, by one packet of each class of traffic through the dataplane. */
import { ReservedIdentity } from '../../assembly/abi.js';
import { familyOf, formatAddress, type Address } from '../addresses.js';
import { addressIn, type ClusterPod } from '../cluster/cluster.js';
import { classOf, controllersOf } from '../cluster/ingress.js';
import { compare } from '../hash.js';
import type { Ingress } from '../manifests/ingress.js';
import type { Protocol } from '../manifests/objects.js';
import type { CompiledPolicy } from '../policy/compile.js';
import { PROTOCOL_NUMBERS } from '../policy/networkpolicy.js';
import { meshPorts } from '../policy/mesh.js';
import { DIRECTIONS } from '../policy/rules.js';
import { identityOf, policyOf, type State } from '../state.js';
import { externalClasses, overlap, podAt, run, type ExternalClass, type Probe, type Sender } from './probe.js';
import { classes } from './cases.js';
import { exposures } from './ingress/exposure.js';
import { unreadIngresses } from './ingress/through.js';
import { deciding, UNTOLD, unreadOf } from './layer7.js';
import { halfMatched, unevaluatedOf, unreadPolicies, withoutAddress } from './missing.js';
import { resolveRef } from './refs.js';

export interface ReachEndpoint {
  readonly ref: string;
  readonly kind: 'workload' | 'pod' | 'external' | 'ingress';
  readonly pods?: number;
  readonly identity: number;
  readonly isolated?: { readonly ingress: boolean; readonly egress: boolean };
}

export interface ReachPorts {
  readonly protocol: Protocol;
  /** First and last port of each stretch. */
  readonly ranges: readonly (readonly [number, number])[];
}

export interface Connection {
  readonly from: string;
  readonly to: string;
  readonly ports: readonly ReachPorts[];
}

export interface Reach {
  readonly schema: 'hopscope.reach/1';
  readonly endpoints: readonly ReachEndpoint[];
  readonly connections: readonly Connection[];
  /** Ends whose policies could not all be read: their connections are not listed, and not denied either. */
  readonly unknown: readonly { readonly ref: string; readonly depends: readonly string[] }[];
}

export interface ReachOptions {
  readonly from: string | null;
  readonly to: string | null;
  readonly protocol: Protocol | null;
}

const PROTOCOLS = Object.keys(PROTOCOL_NUMBERS) as Protocol[];
const LAST_PORT = 65535;

/** An end of connections: pods that answer alike, or addresses outside. */
interface End {
  readonly ref: string;
  readonly pods: readonly ClusterPod[];
  readonly external: ExternalClass | null;
}

/** Pods of one workload are one end while no policy tells them apart; else each is its own. Host-network pods are the node's. */
function endsOf(state: State): End[] {
  const ends: End[] = [];
  for (const { ref, pods } of state.cluster.workloads) {
    const own = pods.filter((pod) => !pod.hostNetwork);
    if (own.length === 0) continue;
    if (classes(state, own).length === 1) ends.push({ ref, pods: own, external: null });
    else for (const pod of own) ends.push({ ref: `${pod.namespace}/${pod.name}[Pod]`, pods: [pod], external: null });
  }
  ends.sort((a, b) => compare(a.ref, b.ref));
  for (const external of externalClasses(state)) {
    ends.push({ ref: `ip:${formatAddress(external.first)}-${formatAddress(external.last)}`, pods: [], external });
  }
  return ends;
}

/** Where ports stop being alike for two policies, and for the single ports that the mesh knows: the first port of each stretch. */
function stretches(
  policies: readonly (CompiledPolicy | null)[],
  single: readonly number[],
  protocol: Protocol,
): number[] {
  const starts = new Set([1]);
  for (const port of single) starts.add(port).add(port + 1);
  starts.delete(LAST_PORT + 1);
  for (const policy of policies) {
    for (const range of policy?.boundaries ?? []) {
      if (range.protocol !== PROTOCOL_NUMBERS[protocol]) continue;
      if (range.first > 1) starts.add(range.first);
      if (range.last < LAST_PORT) starts.add(range.last + 1);
    }
  }
  return [...starts].sort((a, b) => a - b);
}

/** Takes what a connection to an end depends on, where that cannot be read. */
type Undecided = (to: End, depends: readonly string[]) => void;

/** Lines about one end, at most. */
const MOST_DEPENDS = 16;

/** Ports of a question's probes never meet its source port, so that no packet is taken for a reply to another. */
const SOURCE_PORT = 0;

export function reach(state: State, options: ReachOptions): Reach | { readonly error: string } {
  const ends = endsOf(state);
  const sources = filter(state, ends, options.from);
  const targets = filter(state, ends, options.to);
  if ('error' in sources) return sources;
  if ('error' in targets) return targets;
  const unread = new Map<End, string[]>();
  for (const end of ends) {
    if (end.pods.length === 0) continue;
    const unaddressed = end.pods.flatMap((pod) => withoutAddress(state).get(pod) ?? []);
    const matched = end.pods.flatMap((pod) => halfMatched(state, pod));
    const depends = [
      ...unaddressed,
      ...matched,
      ...unreadPolicies(state, new Set(end.pods.map((pod) => pod.namespace))),
      // Pods of one end share their policies.
      ...unevaluatedOf(state, end.pods[0]!, DIRECTIONS),
    ].slice(0, MOST_DEPENDS);
    if (depends.length > 0) unread.set(end, depends);
  }
  const inMesh = new Map<End, Set<string>>();
  const undecided: Undecided = (to, depends) => {
    const lines = inMesh.get(to) ?? new Set();
    inMesh.set(to, lines);
    for (const line of depends) if (lines.size < MOST_DEPENDS) lines.add(line);
  };
  const connections: Connection[] = [];
  for (const from of sources.ends) {
    if (unread.has(from)) continue;
    const open = targets.ends.filter(
      (to) => to !== from && !unread.has(to) && (from.external === null || to.external === null),
    );
    connections.push(...withPorts(connectionsFrom(state, from, open, options.protocol, undecided), targets.ports));
  }
  const behind = options.protocol === null || options.protocol === 'TCP' ? sources.ingresses : [];
  for (const ingress of behind) {
    const open = targets.ends.filter((to) => to.pods.length > 0 && !unread.has(to));
    connections.push(...withPorts(exposedBy(state, ingress, open, undecided), targets.ports));
  }
  const unreadable = unreadIngresses(state);
  const used = new Set([...sources.ends, ...targets.ends]);
  return {
    schema: 'hopscope.reach/1',
    endpoints: [
      ...ends.filter((end) => used.has(end)).map((end) => endpointOf(state, end)),
      ...behind.map((ingress): ReachEndpoint => ({
        ref: ingressRef(ingress),
        kind: 'ingress',
        identity: identityOf(state, controllerOf(state, ingress))?.number ?? ReservedIdentity.HOST,
      })),
    ],
    connections,
    unknown: [
      ...[...unread].filter(([end]) => used.has(end)).map(([end, depends]) => ({ ref: end.ref, depends })),
      ...[...inMesh].map(([end, depends]) => ({ ref: end.ref, depends: [...depends] })),
      ...(options.from === null && unreadable.length > 0 ? [{ ref: 'ingress:*', depends: unreadable }] : []),
    ],
  };
}

/** A port, as a Service leads to it. */
interface OpenPort {
  readonly protocol: Protocol;
  readonly port: number;
}

/** Of connections to a Service, those of the ports that it leads to; all of any other. */
function withPorts(connections: readonly Connection[], ports: readonly OpenPort[] | null): readonly Connection[] {
  if (ports === null) return connections;
  return connections.flatMap((connection) => {
    const open = connection.ports.flatMap(({ protocol, ranges }): ReachPorts[] => {
      const asked = [...new Set(ports.filter((one) => one.protocol === protocol).map(({ port }) => port))].sort(
        (a, b) => a - b,
      );
      const single = asked
        .filter((port) => ranges.some(([first, last]) => first <= port && port <= last))
        .map((port) => [port, port] as const);
      return single.length > 0 ? [{ protocol, ranges: single }] : [];
    });
    return open.length > 0 ? [{ ...connection, ports: open }] : [];
  });
}

/** What a reference leaves of all ends; an Ingress is one that only sends. */
interface Chosen {
  readonly ends: readonly End[];
  readonly ports: readonly OpenPort[] | null;
  readonly ingresses: readonly Ingress[];
}

function filter(state: State, ends: readonly End[], ref: string | null): Chosen | { readonly error: string } {
  const all = (chosen: readonly End[]): Chosen => ({ ends: chosen, ports: null, ingresses: [] });
  if (ref === null) return { ...all(ends), ingresses: state.cluster.ingresses };
  const target = resolveRef(state, ref, 'default');
  if ('error' in target) return target;
  switch (target.kind) {
    case 'pods':
      return all(ends.filter((end) => end.pods.some((pod) => target.pods.includes(pod))));
    case 'service': {
      const backends = target.service.ports.flatMap((port) =>
        port.backends.map((backend) => ({ protocol: port.source.protocol, port: backend.port, pod: backend.pod })),
      );
      const behind = ends.filter((end) => end.pods.some((pod) => backends.some((backend) => backend.pod === pod)));
      return { ...all(behind), ports: backends };
    }
    case 'world':
      return all(ends.filter((end) => end.external !== null));
    case 'address': {
      const pod = podAt(state, target.address);
      const holds = ({ external, pods }: End): boolean =>
        pod
          ? pods.includes(pod)
          : external !== null && overlap(external, { first: target.address, last: target.address }) !== null;
      return all(ends.filter(holds));
    }
    case 'addresses':
      return all(ends.filter(({ external }) => external !== null && overlap(external, target) !== null));
    case 'ingress':
      return { ...all([]), ingresses: target.ingress ? [target.ingress] : state.cluster.ingresses };
    case 'unanswerable':
      return { error: target.why };
    default:
      return { error: `${ref}: reach is about workloads and addresses outside` };
  }
}

function endpointOf(state: State, { ref, pods, external }: End): ReachEndpoint {
  if (external) return { ref, kind: 'external', identity: external.identity };
  const policy = policyOf(state, pods[0]!);
  const isolated = {
    ingress: (policy?.isolatedBy.ingress.length ?? 0) > 0,
    egress: (policy?.isolatedBy.egress.length ?? 0) > 0,
  };
  const kind = ref.endsWith('[Pod]') ? 'pod' : 'workload';
  return {
    ref,
    kind: kind === 'pod' && pods.length > 1 ? 'workload' : kind,
    pods: pods.length,
    identity: identityOf(state, pods[0]!)!.number,
    isolated,
  };
}

/**
 * Runs one packet for each destination, protocol, stretch of ports and family that both ends have, all in as few calls as
 * the batch allows. What is open is so in each of these families.
 */
function connectionsFrom(
  state: State,
  from: End,
  targets: readonly End[],
  only: Protocol | null,
  undecided: Undecided,
): Connection[] {
  const questions: { to: End; protocol: Protocol; first: number; last: number; probes: readonly Probe[] }[] = [];
  for (const to of targets) {
    const policies = [from, to].map(({ pods }) => (pods[0] ? policyOf(state, pods[0]) : null));
    for (const protocol of PROTOCOLS) {
      if (only !== null && protocol !== only) continue;
      const starts = stretches(
        policies,
        to.pods[0] && protocol === 'TCP' ? meshPorts(state.cluster, to.pods[0]) : [],
        protocol,
      );
      starts.forEach((first, i) => {
        const last = (starts[i + 1] ?? LAST_PORT + 1) - 1;
        questions.push({ to, protocol, first, last, probes: probesOf(from, to, protocol, first) });
      });
    }
  }
  const asked = questions.flatMap(({ probes }) => probes);
  const outcomes = new Map(run(state, asked, deciding(state, UNTOLD)).map((outcome) => [outcome.probe, outcome]));
  const open = new Map<End, Map<Protocol, [number, number][]>>();
  for (const { to, protocol, first, last, probes } of questions) {
    const found = probes.map((probe) => outcomes.get(probe)!);
    if (probes.length === 0 || !found.every(({ allowed }) => allowed)) continue;
    const depends = found.flatMap(unreadOf);
    if (depends.length > 0) {
      undecided(to, depends);
      continue;
    }
    const protocols = open.get(to) ?? new Map<Protocol, [number, number][]>();
    open.set(to, protocols);
    const ranges = protocols.get(protocol) ?? [];
    protocols.set(protocol, ranges);
    const before = ranges.at(-1);
    if (before && before[1] + 1 === first) before[1] = last;
    else ranges.push([first, last]);
  }
  return [...open].map(([to, protocols]) => ({
    from: from.ref,
    to: to.ref,
    ports: [...protocols].map(([protocol, ranges]) => ({ protocol, ranges })),
  }));
}

const ingressRef = ({ metadata }: Ingress): string => `ingress:${metadata.namespace}/${metadata.name.value}`;

/** The pod that sends for an Ingress. */
const controllerOf = (state: State, ingress: Ingress): ClusterPod =>
  controllersOf(state.cluster, classOf(state.cluster, ingress))[0]!;

/** The ports of workloads that an Ingress leads to, and that its controller reaches. */
function exposedBy(state: State, ingress: Ingress, targets: readonly End[], undecided: Undecided): Connection[] {
  const pod = controllerOf(state, ingress);
  const from: End = { ref: ingressRef(ingress), pods: [pod], external: null };
  const backends = exposures(state)
    .filter(({ route }) => route.ingress === ingress)
    .flatMap(({ port }) => port.backends);
  return targets.flatMap((to): Connection[] => {
    const ports = new Set(backends.flatMap((one) => (one.pod && to.pods.includes(one.pod) ? one.port : [])));
    const open = [...ports]
      .filter((port) => {
        const outcomes = run(state, probesOf(from, to, 'TCP', port), deciding(state, UNTOLD));
        if (outcomes.length === 0 || !outcomes.every(({ allowed }) => allowed)) return false;
        const depends = outcomes.flatMap(unreadOf);
        if (depends.length > 0) undecided(to, depends);
        return depends.length === 0;
      })
      .sort((a, b) => a - b);
    const ranges = open.map((port) => [port, port] as const);
    return open.length > 0 ? [{ from: from.ref, to: to.ref, ports: [{ protocol: 'TCP', ranges }] }] : [];
  });
}

/** One packet for each family that both ends have. */
function probesOf(from: End, to: End, protocol: Protocol, destinationPort: number): Probe[] {
  const traffic = { protocol: PROTOCOL_NUMBERS[protocol], sourcePort: SOURCE_PORT, destinationPort };
  return addressesOf(to).flatMap((destination): Probe[] => {
    const source = addressIn({ addresses: addressesOf(from) }, familyOf(destination));
    if (source === null) return [];
    const [pod] = from.pods;
    const sender: Sender = pod ? { kind: 'pod', pod } : { kind: 'external', address: source, node: to.pods[0]!.node };
    return [{ sender, tuple: { source, destination, ...traffic } }];
  });
}

/** Addresses that stand for all of an end. */
const addressesOf = ({ pods, external }: End): readonly Address[] =>
  external ? [external.example] : pods[0]!.addresses;
