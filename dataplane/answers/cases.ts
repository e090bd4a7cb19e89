/** The packets that a question stands for: for each kind of sender and of destination one, and for each kind of backend. */
import { LbScope } from '../../assembly/abi.js';
import { contains, familyOf, UNSPECIFIED, type Address } from '../addresses.js';
import {
  addressIn,
  allAddresses,
  podBehind,
  type ClusterBackend,
  type ClusterNode,
  type ClusterPod,
  type ClusterService,
} from '../cluster/cluster.js';
import { inPodRange } from '../loader/endpoints.js';
import type { Frontend } from '../loader/frontends.js';
import { isExternal } from '../loader/scopes.js';
import { isIcmp } from '../packet.js';
import { meshClass } from '../policy/mesh.js';
import { isKubeProxy } from '../settings.js';
import { identityOf, policyOf, type State } from '../state.js';
import { isUnallocated } from './kube-proxy.js';
import { nodeAt, podAt } from './at.js';
import { externalClasses, outsideIn, overlap } from './outside.js';
import { run, type Outcome, type Probe, type Sender } from './probe.js';
import type { Decision } from './proxy.js';
import type { Target } from './refs.js';
import type { Traffic } from './traffic.js';

/** Source ports tried, at most, until every kind of backend of a Service has been picked. */
const SOURCE_PORTS = 20000;

/**
 * What pods have in common of which any one answers for all: one identity, one policy, the same families and the same place in the
 * mesh, and one node where `byNode` says that it matters.
 */
export const classOf = (state: State, pod: ClusterPod, byNode = false): string =>
  pod.hostNetwork
    ? `host ${pod.node.index}`
    : `${identityOf(state, pod)?.number} ${policyOf(state, pod)?.id} ${pod.addresses.map(familyOf).join(' ')} ${byNode ? pod.node.index : ''} ${meshClass(state.cluster, pod)}`;

/** One pod of each class. */
export function classes(state: State, pods: readonly ClusterPod[], byNode = false): ClusterPod[] {
  const seen = new Map<string, ClusterPod>();
  for (const pod of pods) {
    const key = classOf(state, pod, byNode);
    if (!seen.has(key)) seen.set(key, pod);
  }
  return [...seen.values()];
}

/** One destination of a question. */
interface Destination {
  readonly address: Address;
  readonly protocol: number;
  readonly port: number;
  /** The pod it belongs to, where it is one's own address. */
  readonly pod: ClusterPod | null;
  readonly service: ClusterService | null;
}

/** Where clients outside find a port of a Service: its load balancer, else an external address, else each node's port. */
function outsideOf(state: State, service: ClusterService, traffic: Traffic): Frontend[] {
  const open = state.desired.frontends.filter((one) => {
    const asked = traffic[familyOf(one.address)];
    const isFrontend = one.service === service && one.node === 0 && one.address !== UNSPECIFIED[familyOf(one.address)];
    return isFrontend && asked && (isIcmp(asked.protocol) || one.port.source.port.value === asked.port);
  });
  for (const type of ['LoadBalancer', 'ExternalIP', 'NodePort'] as const) {
    const found = open.filter((one) => one.type === type);
    if (found.length > 0) return found;
  }
  return [];
}

/** What a question is for, each thing with its addresses: whoever sends takes those of the families that it has itself. */
function destinationsOf(
  state: State,
  to: Target,
  traffic: Traffic,
  sender: ClusterNode | null,
  outside = false,
  byNode = false,
): Destination[][] {
  const at = (address: Address, service: ClusterService | null = null, own: number | null = null): Destination[] => {
    const asked = traffic[familyOf(address)];
    if (!asked) return [];
    const port = own === null || isIcmp(asked.protocol) ? asked.port : own;
    return [{ address, protocol: asked.protocol, port, pod: podAt(state, address), service }];
  };
  const all = (addresses: readonly Address[]): Destination[] => addresses.flatMap((address) => at(address));
  switch (to.kind) {
    case 'pods':
      return classes(state, to.pods, byNode).map((pod) =>
        all(pod.addresses).map((destination) => ({ ...destination, pod: pod.hostNetwork ? null : pod })),
      );
    case 'service': {
      const { service } = to;
      const open = outside ? outsideOf(state, service, traffic) : [];
      if (open.length > 0) return [open.flatMap(({ address, number }) => at(address, service, number))];
      if (!service.source.headless) return [service.clusterIPs.flatMap((address) => at(address, service))];
      // A headless Service is only a name: the client gets the pods' own addresses, and the port stays as asked.
      const addresses = new Map<ClusterPod | Address, Set<Address>>();
      for (const backend of service.ports.flatMap((listed) => listed.backends)) {
        const who = podBehind(state.cluster, backend) ?? backend.address;
        addresses.set(who, (addresses.get(who) ?? new Set()).add(backend.address));
      }
      return [...addresses.values()].map((own) => all([...own]));
    }
    case 'address':
      return [at(to.address)];
    case 'addresses':
      return [all(outsideWithin(state, to))];
    case 'node':
      return [all(to.node.addresses)];
    case 'host':
      return sender ? [all(sender.addresses)] : [];
    case 'world':
      return [all(externalClasses(state).map(({ example }) => example))];
    case 'ingress':
    case 'unanswerable':
      return [];
  }
}

/** One address of each class outside that a range has a part in. */
const outsideWithin = (state: State, range: { readonly first: Address; readonly last: Address }): Address[] =>
  externalClasses(state).flatMap((known) => {
    const part = overlap(known, range);
    return part ? outsideIn(state, part.first, part.last) : [];
  });

/** The packets that a question stands for: one for each kind of sender, each kind of destination and each family that both have. */
export function casesOf(
  state: State,
  from: Target,
  to: Target,
  traffic: Traffic,
  sourcePort: number,
  entry: ClusterNode | null,
): Probe[] {
  const probes: Probe[] = [];
  const add = (sender: Sender, source: Address, destination: Destination): void => {
    const { address, protocol, port, service } = destination;
    if (source === address && service === null && !listens(state, destination)) return;
    probes.push({ sender, tuple: { source, destination: address, protocol, sourcePort, destinationPort: port } });
  };
  /** A sender without an address of any family of the destination's sends all the same, from no address. */
  const addFrom = (sender: Sender, own: readonly Address[], destinations: readonly Destination[]): void => {
    const sourceOf = ({ address }: Destination): Address | null => addressIn({ addresses: own }, familyOf(address));
    const shared = destinations.filter((destination) => sourceOf(destination) !== null);
    for (const destination of shared.length > 0 ? shared : destinations)
      add(sender, sourceOf(destination) ?? UNSPECIFIED[familyOf(destination.address)], destination);
  };
  const fallback = state.cluster.nodes[0]!;
  if (from.kind === 'pods') {
    const byNode = differsByNode(state, to);
    for (const pod of classes(state, from.pods, byNode)) {
      const others = to.kind === 'pods' ? to.pods.filter((other) => other !== pod && isLike(state, other, pod)) : [];
      for (const destinations of destinationsOf(state, to, traffic, pod.node, false, pod.hostNetwork)) {
        // A pod of a workload speaks to another of its pods, if there is one, and not to itself.
        const asked = destinations.map((destination) =>
          destination.pod === pod && others[0] ? { ...destination, ...inPlaceOf(destination, others[0]) } : destination,
        );
        addFrom({ kind: 'pod', pod }, pod.addresses, asked);
      }
    }
    return probes;
  }
  const outside = from.kind === 'world' || from.kind === 'address' || from.kind === 'addresses';
  // A node's own packets are the host's to its own pods, and another node's to all others.
  const asNode = from.kind === 'host' || from.kind === 'node';
  for (const destinations of destinationsOf(state, to, traffic, null, outside, asNode)) {
    const [first] = destinations;
    if (!first) continue;
    const home = first.pod?.node ?? podBehind(state.cluster, firstBackend(first.service))?.node ?? fallback;
    if (from.kind === 'host' || from.kind === 'node') {
      const node = from.kind === 'node' ? from.node : home;
      addFrom({ kind: 'host', node }, node.addresses, destinations);
      continue;
    }
    for (const address of sourcesOf(state, from)) {
      const pod = podAt(state, address);
      const node = nodeAt(state, address);
      for (const destination of destinations) {
        if (familyOf(destination.address) !== familyOf(address)) continue;
        const forwarder = from.kind === 'address' ? forwarderOf(state, address, destination) : null;
        if (pod) add({ kind: 'pod', pod }, address, destination);
        else if (node) add({ kind: 'host', node }, address, destination);
        else if (forwarder) add({ kind: 'unlisted', address, node: entry ?? forwarder }, address, destination);
        else
          for (const at of entriesOf(state, destination, entry, home))
            add({ kind: 'external', address, node: at }, address, destination);
      }
    }
  }
  return probes;
}

/** Whether no policy tells two pods apart, and they have the same families. */
const isLike = (state: State, a: ClusterPod, b: ClusterPod): boolean =>
  identityOf(state, a) === identityOf(state, b) &&
  meshClass(state.cluster, a) === meshClass(state.cluster, b) &&
  a.addresses.map(familyOf).join() === b.addresses.map(familyOf).join();

/** The address of the same family that another pod has. */
const inPlaceOf = ({ address }: Destination, pod: ClusterPod): Pick<Destination, 'address' | 'pod'> => ({
  address: addressIn(pod, familyOf(address)) ?? address,
  pod,
});

/** Whether clients within the cluster find other backends at the destination from each node. */
export function differsByNode({ cluster, desired }: State, to: Target): boolean {
  const addresses: readonly Address[] =
    to.kind === 'address'
      ? [to.address]
      : to.kind === 'node'
        ? allAddresses(to.node)
        : to.kind === 'host'
          ? cluster.nodes.flatMap(allAddresses)
          : [];
  const isAsked = ({ service, address }: Frontend): boolean =>
    to.kind === 'service' ? service === to.service : addresses.includes(address);
  return desired.frontends.some((one) => one.scope === LbScope.INTERNAL && isAsked(one));
}

/** Whether a Service, or a hostPort, has that address and port. */
const listens = (state: State, { address, port }: Destination): boolean =>
  state.desired.frontends.some((one) => one.address === address && one.number === port);

/**
 * The node whose stack forwards what an address sends to a Service, where that is no client outside; else null:
 *
 * 1. a pod that the manifests do not hold, known by its range; with kube-proxy, where that has a local detector
 * 2. whoever asks for a ClusterIP of a kube-proxy without one: all are alike to it
 */
function forwarderOf(state: State, address: Address, destination: Destination): ClusterNode | null {
  const { cluster, settings, desired } = state;
  const asked = desired.frontends.find((one) => one.address === destination.address);
  if (!asked && !isUnallocated(state, destination.address)) return null;
  const alike = isKubeProxy(settings) && !settings.localDetector;
  if (alike ? !asked || isExternal(asked.type) : !inPodRange(cluster, settings, address)) return null;
  const behind = desired.frontends.flatMap(({ backends }) => backends.map(({ backend }) => backend));
  const listed = behind.find((backend) => backend.address === address)?.node;
  const isHome = ({ podRanges }: ClusterNode): boolean => podRanges.some((range) => contains(range, address));
  return listed ?? cluster.nodes.find(isHome) ?? cluster.nodes[0]!;
}

/** Nodes at which packets from outside are tried to enter, at most. */
export const MAX_ENTRIES = 16;

/**
 * Where a packet from outside enters: at the node asked for, else at the node that it is addressed to, else, for an address
 * of a Service, at any node there is; a pod's own address is only known at the pod's node.
 */
function entriesOf(
  state: State,
  { address }: Destination,
  entry: ClusterNode | null,
  home: ClusterNode,
): readonly ClusterNode[] {
  if (entry) return [entry];
  const own = nodeAt(state, address);
  if (own) return [own];
  const isFrontend = state.desired.frontends.some(
    (frontend) => frontend.address === address && (frontend.type !== 'ClusterIP' || isKubeProxy(state.settings)),
  );
  return isFrontend ? state.cluster.nodes.slice(0, MAX_ENTRIES) : [home];
}

const firstBackend = (service: ClusterService | null): ClusterBackend | null =>
  service?.ports.flatMap((port) => port.backends)[0] ?? null;

function sourcesOf(state: State, from: Target): Address[] {
  if (from.kind === 'address') return [from.address];
  if (from.kind === 'addresses') return outsideWithin(state, from);
  return from.kind === 'world' ? externalClasses(state).map(({ example }) => example) : [];
}

/** What makes two backends of a Service answer differently. */
function backendClass(state: State, backend: ClusterBackend, byNode: boolean): string {
  const pod = podBehind(state.cluster, backend);
  const { address, port } = backend;
  return pod
    ? `${identityOf(state, pod)?.number} ${policyOf(state, pod)?.id} ${port} ${byNode ? pod.node.index : ''} ${meshClass(state.cluster, pod)}`
    : `${address} ${port}`;
}

/**
 * Runs the packets. Where a Service picks among backends that differ, other source ports are tried until each kind of
 * backend was picked once, unless the question names its source port. A kind that no port leads to (a Service with
 * sessionAffinity looks at the client's address alone) is asked without the Service: its policies answer the same.
 */
export function settle(state: State, cases: readonly Probe[], fixed: boolean, proxy: Decision): Outcome[] {
  const outcomes: Outcome[] = [];
  for (const outcome of run(state, cases, proxy)) {
    outcomes.push(outcome);
    const { probe, frontend, backend } = outcome;
    if (fixed || !frontend || !backend) continue;
    // To those that are on another node, whoever is no pod comes under another name.
    const byNode = probe.sender.kind !== 'pod' || probe.sender.pod.hostNetwork;
    const kinds = new Map(frontend.backends.map((one) => [backendClass(state, one.backend, byNode), one.backend]));
    kinds.delete(backendClass(state, backend, byNode));
    const tries = frontend.service?.source.affinitySeconds == null ? SOURCE_PORTS : 0;
    for (let tried = 1; tried < tries && kinds.size > 0; tried += 64) {
      const more = Array.from({ length: 64 }, (_, i) =>
        withSourcePort(probe, 20000 + ((probe.tuple.sourcePort + tried + i) % 40000)),
      );
      for (const other of run(state, more, proxy)) {
        if (other.backend && kinds.delete(backendClass(state, other.backend, byNode))) outcomes.push(other);
      }
    }
    const direct = [...kinds.values()].map(({ address, port }) => ({
      ...probe,
      tuple: { ...probe.tuple, destination: address, destinationPort: port },
    }));
    outcomes.push(...run(state, direct, proxy));
  }
  return outcomes;
}

const withSourcePort = (probe: Probe, sourcePort: number): Probe => ({
  ...probe,
  tuple: { ...probe.tuple, sourcePort },
});
