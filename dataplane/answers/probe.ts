/** Sends packets of a question through the dataplane, and says what became of each. */
import { Program, ReservedIdentity } from '../../assembly/abi.js';
import { contains } from '../addresses.js';
import type { ClusterBackend, ClusterNode, ClusterPod } from '../cluster/cluster.js';
import type { Frontend } from '../loader/entries.js';
import { frameOf, reversed, tupleOf, type Tuple } from '../packet.js';
import type { Direction, RuleOrigin } from '../policy/rules.js';
import { reasonOf, type Reason } from '../reasons.js';
import type { State } from '../state.js';
import type { PacketIn, PacketOut } from '../wasm.js';

/** Who sends: a pod, a node's own processes, or an address outside, whose packet enters at a node. */
export type Sender =
  | { readonly kind: 'pod'; readonly pod: ClusterPod }
  | { readonly kind: 'host'; readonly node: ClusterNode }
  | { readonly kind: 'external'; readonly address: number; readonly node: ClusterNode };

/** One packet of a question. */
export interface Probe {
  readonly sender: Sender;
  readonly tuple: Tuple;
}

/** What became of it. */
export interface Outcome {
  readonly probe: Probe;
  readonly allowed: boolean;
  /** Where and why it was refused; null when it was not. */
  readonly direction: Direction | null;
  readonly reason: Reason | null;
  /** The pod that it reached, or whose ingress refused it; null elsewhere. */
  readonly receiver: ClusterPod | null;
  /** As it arrived, or was when dropped. */
  readonly tuple: Tuple;
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
  readonly frontend: Frontend | null;
  readonly backend: ClusterBackend | null;
  /** The rules whose proxy refused the request that the connection was for. */
  readonly proxied: readonly RuleOrigin[];
  readonly out: PacketOut;
}

export const addressOf = (sender: Sender): number =>
  sender.kind === 'pod' ? sender.pod.address : sender.kind === 'host' ? sender.node.address : sender.address;

/** The packet as it goes into the dataplane. A pod on the host's network sends as its node does. */
export function packetOf(state: State, { sender, tuple }: Probe, reply = false): PacketIn {
  const frame = frameOf(tuple, reply);
  if (sender.kind === 'pod' && !sender.pod.hostNetwork) {
    return {
      frame,
      node: sender.pod.node.index,
      program: Program.FROM_CONTAINER,
      endpoint: state.desired.endpointIds.get(sender.pod)!,
    };
  }
  const node = sender.kind === 'pod' ? sender.pod.node : sender.node;
  return {
    frame,
    node: node.index,
    program: sender.kind === 'external' ? Program.FROM_NETDEV : Program.FROM_HOST,
    endpoint: 0,
  };
}

/** Reads the record that came back. */
export function outcomeOf(state: State, probe: Probe, out: PacketOut): Outcome {
  const tuple = tupleOf(out.frame) ?? probe.tuple;
  const allowed = out.verdict === 0;
  const receiver = state.podsByEndpoint.get(out.endpoint) ?? podAt(state, tuple.destination);
  return {
    probe,
    allowed,
    direction: allowed ? null : directionOf(out.program),
    reason: allowed ? null : reasonOf(-out.verdict),
    receiver,
    tuple,
    sourceIdentity: out.sourceIdentity,
    destinationIdentity: out.destinationIdentity,
    frontend: out.backendId === 0 ? null : (state.desired.frontendsByIndex.get(out.revNatIndex) ?? null),
    backend: state.desired.backendsById.get(out.backendId) ?? null,
    proxied: [],
    out,
  };
}

const directionOf = (program: number): Direction =>
  program === Program.FROM_CONTAINER || program === Program.FROM_HOST || program === Program.TO_NETDEV
    ? 'egress'
    : 'ingress';

const podsByAddress = new WeakMap<State, Map<number, ClusterPod>>();

/** The pod with an address of its own; null for none. */
export function podAt(state: State, address: number): ClusterPod | null {
  let pods = podsByAddress.get(state);
  if (!pods) {
    pods = new Map(state.cluster.pods.filter((pod) => !pod.hostNetwork).map((pod) => [pod.address, pod]));
    podsByAddress.set(state, pods);
  }
  return pods.get(address) ?? null;
}

/**
 * Each packet as if it were alone. As many as can go in one call: a batch has one source address, so that no packet in it can be
 * taken for the reply to another, and connections of other batches are forgotten first.
 */
export function run(state: State, probes: readonly Probe[]): Outcome[] {
  const datapath = state.loader.current;
  const outcomes: Outcome[] = [];
  for (let first = 0; first < probes.length;) {
    const { source } = probes[first]!.tuple;
    let last = first + 1;
    while (last < probes.length && last - first < BATCH && probes[last]!.tuple.source === source) last++;
    const batch = probes.slice(first, last);
    first = last;
    datapath.flushConnections();
    const outs = datapath.process(batch.map((probe) => packetOf(state, probe)));
    outs.forEach((out, i) => outcomes.push(outcomeOf(state, batch[i]!, out)));
  }
  return outcomes;
}

/** Small enough that a batch's connections fit many times over. */
const BATCH = 256;

/** Runs one packet and returns all that the dataplane recorded of it. Connections stay, so that a reply can follow. */
export function runTraced(state: State, probe: Probe, reply = false): { outcome: Outcome; events: Uint8Array[] } {
  const { out, events } = state.loader.current.traced(packetOf(state, probe, reply));
  return { outcome: outcomeOf(state, probe, out), events };
}

/** The packet back from wherever the first one arrived; null when it was dropped. */
export function replyTo(state: State, { allowed, probe, receiver, tuple, out }: Outcome): Probe | null {
  if (!allowed) return null;
  const back = reversed(tuple);
  const node = state.cluster.nodes.find(({ index }) => index === out.node)!;
  if (out.program === Program.DELIVERED && receiver) return { sender: { kind: 'pod', pod: receiver }, tuple: back };
  if (out.program === Program.HOST) return { sender: { kind: 'host', node }, tuple: back };
  const entry = probe.sender.kind === 'pod' ? probe.sender.pod.node : node;
  return { sender: { kind: 'external', address: back.source, node: entry }, tuple: back };
}

/** Addresses outside the cluster that no policy tells apart: from `first` to `last`, all with one identity. */
export interface ExternalClass {
  readonly first: number;
  readonly last: number;
  readonly identity: number;
  /** One of them that is no pod's, node's or Service's. */
  readonly example: number;
}

const insides = new WeakMap<State, ReadonlySet<number>>();

/** Addresses of the cluster's own: pods', nodes' and Services'. */
function insideOf(state: State): ReadonlySet<number> {
  let inside = insides.get(state);
  if (!inside) {
    const own = [...state.cluster.pods, ...state.cluster.nodes].map(({ address }) => address);
    inside = new Set([...own, ...state.desired.frontends.map(({ address }) => address)]);
    insides.set(state, inside);
  }
  return inside;
}

/** The first address of a range that is not the cluster's own; none where all are. 0.0.0.0 is nobody's. */
export function outsideIn(state: State, first: number, last: number): number[] {
  const inside = insideOf(state);
  let address = first === 0 && last > 0 ? 1 : first;
  while (address <= last && inside.has(address)) address++;
  return address <= last ? [address] : [];
}

const classesOf = new WeakMap<State, ExternalClass[]>();

/**
 * The whole IPv4 space, cut where the policies' prefixes begin and end. Addresses of the cluster's own lie in these ranges
 * too, and are never the example of one.
 */
export function externalClasses(state: State): ExternalClass[] {
  const known = classesOf.get(state);
  if (known) return known;
  const cuts = new Set<number>([0, 2 ** 32]);
  for (const { prefix } of state.identities.prefixes)
    cuts.add(prefix.address).add(prefix.address + 2 ** (32 - prefix.length));
  const sorted = [...cuts].sort((a, b) => a - b);
  const classes: ExternalClass[] = [];
  for (let i = 0; i + 1 < sorted.length; i++) {
    const first = sorted[i]!;
    const last = sorted[i + 1]! - 1;
    const [example] = outsideIn(state, first, last);
    if (example === undefined) continue;
    const identity = identityAt(state, first);
    const before = classes.at(-1);
    if (before && before.identity === identity && before.last + 1 === first)
      classes[classes.length - 1] = { ...before, last };
    else classes.push({ first, last, identity, example });
  }
  classesOf.set(state, classes);
  return classes;
}

/** The identity of the longest prefix that holds an address: what the ipcache would say of an outside address. */
export function identityAt(state: State, address: number): number {
  let identity: number = ReservedIdentity.WORLD;
  let longest = -1;
  for (const { number, prefix } of state.identities.prefixes) {
    if (prefix.length > longest && contains(prefix, address)) {
      identity = number;
      longest = prefix.length;
    }
  }
  return identity;
}
