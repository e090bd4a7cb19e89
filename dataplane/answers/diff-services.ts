/** What clients of a Service get at each of its frontends, as flows to it: by packets to every port of it, from every end. */
import { familyOf, formatAddress, formatEndpoint, UNSPECIFIED } from '../addresses.js';
import { podBehind, type ClusterBackend, type ClusterService } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import type { Frontend } from '../loader/frontends.js';
import type { State } from '../state.js';
import { casesOf, differsByNode, settle } from './cases.js';
import { deciding, UNTOLD } from './layer7.js';
import { missingFor } from './missing.js';
import { run, type Outcome } from './probe.js';
import { SOURCE_PORT } from './query.js';
import { endsOf, type End } from './reach-ends.js';
import type { ReachPorts, Via } from './reach-open.js';
import type { Connection, Reach } from './reach.js';
import type { Target } from './refs.js';
import { trafficOf } from './traffic.js';

const refOf = ({ namespace, name }: ClusterService): string => `svc:${namespace}/${name}`;

/** Services that are not on both sides, or have other frontends, or others behind them: for them alone flows are compared. */
export function changedServices(before: State, after: State): ReadonlySet<string> {
  const [old, now] = [before, after].map(
    (state) => new Map(state.cluster.services.map((one) => [refOf(one), shapeOf(state, one)])),
  );
  return new Set([...old!.keys(), ...now!.keys()].filter((ref) => old!.get(ref) !== now!.get(ref)));
}

/** All that decides where a Service leads to. A ClusterIP's own address is nobody's business: clients ask for the name. */
function shapeOf({ desired, cluster }: State, service: ClusterService): string {
  const { type, headless, loadBalancerSourceRanges, cilium } = service.source;
  const backend = (one: ClusterBackend): string =>
    [podBehind(cluster, one)?.workload.ref ?? one.address, one.node?.name, one.port].join(' ');
  const frontends = desired.frontends
    .filter((one) => one.service === service)
    .map(({ type, address, number, protocol, scope, node, backends }) => [
      ...[type, type === 'ClusterIP' ? '' : formatAddress(address), number, protocol, scope],
      ...[cluster.nodes[node - 1]?.name ?? '', backends.map((one) => backend(one.backend))],
    ]);
  const names = headless ? service.ports.map(({ source, backends }) => [source.port.value, backends.map(backend)]) : [];
  const ranges = [loadBalancerSourceRanges.map(({ value }) => value), cilium.sourceRangesPolicy];
  return JSON.stringify([type, frontends, names, ranges]);
}

/** Where clients of one kind find a port of a Service. */
interface Door {
  readonly at: Via['at'];
  readonly to: Target;
  readonly protocol: ReachPorts['protocol'];
  readonly port: number;
}

/** Inside, by its name; outside, at the addresses and node ports that it has there. */
function doorsOf({ desired }: State, service: ClusterService, isOutside: boolean): Door[] {
  if (service.source.type === 'ExternalName') return [];
  const to: Target = { kind: 'service', label: refOf(service), service, viaName: null };
  if (!isOutside)
    return service.source.ports.map(({ protocol, port }) => ({ at: 'ClusterIP', to, protocol, port: port.value }));
  const isOpen = ({ service: own, node, address, type }: Frontend): boolean =>
    own === service && node === 0 && type !== 'ClusterIP' && address !== UNSPECIFIED[familyOf(address)];
  return desired.frontends.filter(isOpen).map(({ type, address, number, port }) => ({
    at: type === 'NodePort' ? 'NodePort' : formatAddress(address),
    to: { kind: 'address', label: refOf(service), address },
    protocol: port.source.protocol,
    port: number,
  }));
}

/** A Service that clients outside should find, and nothing in the manifests tells where. */
const isUnallotted = (state: State, service: ClusterService): boolean =>
  ['NodePort', 'LoadBalancer'].includes(service.source.type) && doorsOf(state, service, true).length === 0;

/** The nodes on which a client may be, or by which it is tried to come in. */
export const nodesOf = ({ cluster }: State, { pods, external }: Pick<End, 'pods' | 'external'>): string[] =>
  external ? cluster.nodes.map(({ name }) => name) : [...new Set(pods.map(({ node }) => node.name))].sort(compare);

/** What some Services let each end have: as connections, and the pairs of which it cannot be told. */
export function servicesIn(
  state: State,
  refs: ReadonlySet<string>,
  unread: ReadonlySet<string>,
): Pick<Reach, 'connections' | 'unknown'> {
  const connections: Connection[] = [];
  const unknown: { ref: string; depends: readonly string[] }[] = [];
  const ends = refs.size > 0 ? endsOf(state) : [];
  for (const service of state.cluster.services.filter((one) => refs.has(refOf(one)))) {
    const to = refOf(service);
    if (isUnallotted(state, service)) unknown.push({ ref: `world → ${to}`, depends: [] });
    const known = new Map<string, Got>();
    const untold: typeof unknown = [];
    const clients = ends.filter(({ ref }) => !unread.has(ref));
    for (const end of clients) {
      const key = `${end.like} ${nodesOf(state, end).join()}`;
      const got = known.get(key) ?? gotBy(state, service, end);
      known.set(key, got);
      if (got.depends.length > 0) untold.push({ ref: `${end.ref} → ${to}`, depends: got.depends });
      else if (got.ports.length > 0) connections.push({ from: end.ref, to, ports: got.ports });
    }
    // What nobody can be told of is the Service's.
    const isWhole = untold.length > 0 && untold.length === clients.length;
    unknown.push(...(isWhole ? [{ ref: to, depends: untold[0]!.depends }] : untold));
  }
  return { connections, unknown };
}

/** What one client gets of a Service, and what that depends on. */
interface Got {
  readonly ports: readonly ReachPorts[];
  readonly depends: readonly string[];
}

function gotBy(state: State, service: ClusterService, end: End): Got {
  const { external, pods, ref } = end;
  const client: Target = external
    ? { kind: 'addresses', label: ref, first: external.first, last: external.last }
    : { kind: 'pods', label: ref, pods };
  const ports: ReachPorts[] = [];
  const depends = new Set<string>();
  for (const { at, to, protocol, port } of doorsOf(state, service, external !== null)) {
    const cases = casesOf(state, client, to, trafficOf(protocol, port, null), SOURCE_PORT, null);
    const outcomes = settle(state, cases, false, deciding(state, UNTOLD)).map((one) => notItself(state, end, one));
    for (const line of missingFor(state, outcomes)) depends.add(line);
    // Where the node does not matter, one pod answers for those on every other.
    const alike = external || differsByNode(state, to) ? null : nodesOf(state, end);
    const isLetBy = new Map<string, boolean>();
    for (const outcome of outcomes) {
      for (const node of alike ?? [senderNode(outcome)]) {
        const via: Via = { at, backend: backendOf(state, outcome), nodes: [node] };
        const key = JSON.stringify(via);
        isLetBy.set(key, outcome.allowed && (isLetBy.get(key) ?? true));
      }
    }
    for (const [key, isLet] of isLetBy)
      if (isLet) ports.push({ protocol, ranges: [[port, port]], via: JSON.parse(key) as Via });
  }
  return { ports, depends: [...depends] };
}

/** Source ports tried until a pod that is behind the Service itself gets another of its workload. */
const TRIES = 64;

/** What a pod gets that was led back to itself, which no policy is about: another pod of its workload, where there is one. */
function notItself(state: State, { pods }: End, outcome: Outcome): Outcome {
  const { probe, receiver } = outcome;
  if (probe.sender.kind !== 'pod' || receiver !== probe.sender.pod || pods.length < 2) return outcome;
  const others = Array.from({ length: TRIES }, (_, i) => ({
    ...probe,
    tuple: { ...probe.tuple, sourcePort: probe.tuple.sourcePort + 1 + i },
  }));
  const found = run(state, others, deciding(state, UNTOLD)).find(({ backend }) => {
    const pod = podBehind(state.cluster, backend);
    return pod !== null && pod !== receiver && pods.includes(pod);
  });
  return found ?? outcome;
}

const senderNode = ({ probe: { sender } }: Outcome): string =>
  sender.kind === 'pod' ? sender.pod.node.name : sender.node.name;

/** Who answers, and at which port of it. */
function backendOf({ cluster }: State, { backend, receiver, tuple }: Outcome): string {
  const pod = backend ? podBehind(cluster, backend) : receiver;
  const { address, port } = backend ?? { address: tuple.destination, port: tuple.destinationPort };
  return pod ? `${pod.workload.ref}:${port}` : formatEndpoint(address, port);
}
