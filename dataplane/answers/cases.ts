/** The packets that a question stands for: for each kind of sender and of destination one, and for each kind of backend. */
import { LbScope } from '../../assembly/abi.js';
import { contains } from '../addresses.js';
import type { ClusterBackend, ClusterNode, ClusterPod, ClusterService } from '../cluster/cluster.js';
import { inPodRange, type Frontend } from '../loader/entries.js';
import { isExternal } from '../loader/scopes.js';
import { isKubeProxy } from '../settings.js';
import { identityOf, policyOf, type State } from '../state.js';
import { isUnallocated } from './kube-proxy.js';
import { externalClasses, outsideIn, podAt, run, type Outcome, type Probe, type Sender } from './probe.js';
import type { Target } from './refs.js';

/** Source ports tried, at most, until every kind of backend of a Service has been picked. */
const SOURCE_PORTS = 20000;

/** Pods of which any one answers for all: one identity and one policy, and one node where `byNode` says that it matters. */
export function classes(state: State, pods: readonly ClusterPod[], byNode = false): ClusterPod[] {
  const seen = new Map<string, ClusterPod>();
  for (const pod of pods) {
    const key = pod.hostNetwork
      ? `host ${pod.node.index}`
      : `${identityOf(state, pod)?.number} ${policyOf(state, pod)?.id} ${byNode ? pod.node.index : ''}`;
    if (!seen.has(key)) seen.set(key, pod);
  }
  return [...seen.values()];
}

/** One destination of a question. */
interface Destination {
  readonly address: number;
  readonly port: number;
  /** The pod it belongs to, where it is one's own address. */
  readonly pod: ClusterPod | null;
  readonly service: ClusterService | null;
}

/** Where clients outside find a port of a Service: its load balancer, else an external address, else each node's port. */
function outsideOf(state: State, service: ClusterService, port: number): Frontend[] {
  const open = state.desired.frontends.filter(
    (one) => one.service === service && one.node === 0 && one.address !== 0 && one.port.source.port.value === port,
  );
  for (const type of ['LoadBalancer', 'ExternalIP', 'NodePort'] as const) {
    const found = open.filter((one) => one.type === type);
    if (found.length > 0) return found;
  }
  return [];
}

function destinationsOf(
  state: State,
  to: Target,
  port: number,
  sender: ClusterNode | null,
  outside = false,
  byNode = false,
): Destination[] {
  const at = (address: number, service: ClusterService | null = null, own = port): Destination => ({
    address,
    port: own,
    pod: podAt(state, address),
    service,
  });
  switch (to.kind) {
    case 'pods':
      return classes(state, to.pods, byNode).map((pod) => ({
        address: pod.address,
        port,
        pod: pod.hostNetwork ? null : pod,
        service: null,
      }));
    case 'service': {
      const { service } = to;
      const open = outside ? outsideOf(state, service, port) : [];
      if (open.length > 0) return open.map(({ address, number }) => at(address, service, number));
      if (service.clusterIP !== null) return [at(service.clusterIP, service)];
      if (!service.source.headless) return [];
      // A headless Service is only a name: the client gets the pods' own addresses, and the port stays as asked.
      const backends = service.ports.flatMap((listed) => listed.backends);
      const pods = new Map(backends.map((backend) => [backend.address, backend]));
      return [...pods.values()].map((backend) => at(backend.address));
    }
    case 'address':
      return [at(to.address)];
    case 'addresses':
      return externalClasses(state)
        .filter(({ first, last }) => first <= to.last && to.first <= last)
        .flatMap(({ first, last }) =>
          outsideIn(state, Math.max(first, to.first), Math.min(last, to.last)).map((address) => at(address)),
        );
    case 'node':
      return [at(to.node.address)];
    case 'host':
      return sender ? [at(sender.address)] : [];
    case 'world':
      return externalClasses(state).map(({ example }) => at(example));
    case 'unanswerable':
      return [];
  }
}

/** The packets that a question stands for: one for each kind of sender and each kind of destination. */
export function casesOf(
  state: State,
  from: Target,
  to: Target,
  protocol: number,
  port: number,
  sourcePort: number,
  entry: ClusterNode | null,
): Probe[] {
  const probes: Probe[] = [];
  const add = (sender: Sender, source: number, destination: Destination): void => {
    if (source === destination.address && destination.service === null && !listens(state, destination)) return;
    probes.push({
      sender,
      tuple: { source, destination: destination.address, protocol, sourcePort, destinationPort: destination.port },
    });
  };
  const fallback = state.cluster.nodes[0]!;
  if (from.kind === 'pods') {
    const byNode = differsByNode(state, to);
    for (const pod of classes(state, from.pods, byNode)) {
      for (const destination of destinationsOf(state, to, port, pod.node, false, pod.hostNetwork)) {
        // A pod of a workload speaks to another of its pods, if there is one, and not to itself.
        const other =
          destination.pod === pod && to.kind === 'pods'
            ? to.pods.find((candidate) => candidate !== pod && identityOf(state, candidate) === identityOf(state, pod))
            : null;
        add(
          { kind: 'pod', pod },
          pod.address,
          other ? { ...destination, address: other.address, pod: other } : destination,
        );
      }
    }
    return probes;
  }
  const outside = from.kind === 'world' || from.kind === 'address' || from.kind === 'addresses';
  // A node's own packets are the host's to its own pods, and another node's to all others.
  const asNode = from.kind === 'host' || from.kind === 'node';
  for (const destination of destinationsOf(state, to, port, null, outside, asNode)) {
    const home = destination.pod?.node ?? firstBackend(destination.service)?.pod?.node ?? fallback;
    if (from.kind === 'host' || from.kind === 'node') {
      const node = from.kind === 'node' ? from.node : home;
      add({ kind: 'host', node }, node.address, destination);
      continue;
    }
    for (const address of sourcesOf(state, from)) {
      const pod = podAt(state, address);
      const node = nodeAt(state, address);
      const forwarder = from.kind === 'address' ? forwarderOf(state, address, destination) : null;
      if (pod) add({ kind: 'pod', pod }, address, destination);
      else if (node) add({ kind: 'host', node }, address, destination);
      else if (forwarder) add({ kind: 'unlisted', address, node: entry ?? forwarder }, address, destination);
      else
        for (const at of entriesOf(state, destination, entry, home))
          add({ kind: 'external', address, node: at }, address, destination);
    }
  }
  return probes;
}

/** Whether clients within the cluster find other backends at the destination from each node. */
function differsByNode({ desired }: State, to: Target): boolean {
  const address = to.kind === 'address' ? to.address : to.kind === 'node' ? to.node.address : null;
  return desired.frontends.some(
    (one) =>
      one.scope === LbScope.INTERNAL && (to.kind === 'service' ? one.service === to.service : one.address === address),
  );
}

/** Whether a Service, or a hostPort, has that address and port. */
const listens = (state: State, { address, port }: Destination): boolean =>
  state.desired.frontends.some((one) => one.address === address && one.number === port);

const nodeAt = (state: State, address: number): ClusterNode | undefined =>
  state.cluster.nodes.find((node) => node.address === address || node.others.includes(address));

/**
 * The node whose stack forwards what an address sends to a Service, where that is no client outside; else null:
 *
 * 1. a pod that the manifests do not hold, known by its range; with kube-proxy, where that has a local detector
 * 2. whoever asks for a ClusterIP of a kube-proxy without one: all are alike to it
 */
function forwarderOf(state: State, address: number, destination: Destination): ClusterNode | null {
  const { cluster, settings, desired } = state;
  const asked = desired.frontends.find((one) => one.address === destination.address);
  if (!asked && !isUnallocated(state, destination.address)) return null;
  const alike = isKubeProxy(settings) && !settings.localDetector;
  if (alike ? !asked || isExternal(asked.type) : !inPodRange(cluster, settings, address)) return null;
  const behind = desired.frontends.flatMap(({ backends }) => backends.map(({ backend }) => backend));
  const listed = behind.find((backend) => backend.address === address)?.node;
  return listed ?? cluster.nodes.find(({ podRange }) => contains(podRange, address)) ?? cluster.nodes[0]!;
}

/** Nodes at which packets from outside are tried to enter, at most. */
const MAX_ENTRIES = 16;

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

const firstBackend = (service: ClusterService | null): ClusterBackend | undefined =>
  service?.ports.flatMap((port) => port.backends)[0];

function sourcesOf(state: State, from: Target): number[] {
  if (from.kind === 'address') return [from.address];
  const all = externalClasses(state);
  if (from.kind === 'addresses')
    return all
      .filter(({ first, last }) => first <= from.last && from.first <= last)
      .flatMap(({ first, last }) => outsideIn(state, Math.max(first, from.first), Math.min(last, from.last)));
  return from.kind === 'world' ? all.map(({ example }) => example) : [];
}

/** What makes two backends of a Service answer differently. */
const backendClass = (state: State, { pod, address, port }: ClusterBackend, byNode: boolean): string =>
  pod
    ? `${identityOf(state, pod)?.number} ${policyOf(state, pod)?.id} ${port} ${byNode ? pod.node.index : ''}`
    : `${address} ${port}`;

/**
 * Runs the packets. Where a Service picks among backends that differ, other source ports are tried until each kind of
 * backend was picked once, unless the question names its source port. A kind that no port leads to (a Service with
 * sessionAffinity looks at the client's address alone) is asked without the Service: its policies answer the same.
 */
export function settle(state: State, cases: readonly Probe[], fixed: boolean): Outcome[] {
  const outcomes: Outcome[] = [];
  for (const outcome of run(state, cases)) {
    outcomes.push(outcome);
    const { probe, frontend, backend } = outcome;
    if (fixed || !frontend || !backend) continue;
    const byNode = probe.sender.kind === 'host' || (probe.sender.kind === 'pod' && probe.sender.pod.hostNetwork);
    const kinds = new Map(frontend.backends.map((one) => [backendClass(state, one.backend, byNode), one.backend]));
    kinds.delete(backendClass(state, backend, byNode));
    const tries = frontend.service?.source.affinitySeconds == null ? SOURCE_PORTS : 0;
    for (let tried = 1; tried < tries && kinds.size > 0; tried += 64) {
      const more = Array.from({ length: 64 }, (_, i) =>
        withSourcePort(probe, 20000 + ((probe.tuple.sourcePort + tried + i) % 40000)),
      );
      for (const other of run(state, more)) {
        if (other.backend && kinds.delete(backendClass(state, other.backend, byNode))) outcomes.push(other);
      }
    }
    const direct = [...kinds.values()].map(({ address, port }) => ({
      ...probe,
      tuple: { ...probe.tuple, destination: address, destinationPort: port },
    }));
    outcomes.push(...run(state, direct));
  }
  return outcomes;
}

const withSourcePort = (probe: Probe, sourcePort: number): Probe => ({
  ...probe,
  tuple: { ...probe.tuple, sourcePort },
});
