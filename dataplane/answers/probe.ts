/** Sends packets of a question through the dataplane, and says what became of each. */
import { CtDirection, DropReason, Program } from '../../assembly/abi.js';
import { familyOf, UNSPECIFIED, type Address } from '../addresses.js';
import { addressIn } from '../cluster/cluster.js';
import type { ClusterBackend, ClusterNode, ClusterPod } from '../cluster/cluster.js';
import { wildcardEntry } from '../loader/entries.js';
import type { Frontend } from '../loader/frontends.js';
import { frameOf, reversed, tupleOf, type Tuple } from '../packet.js';
import type { Direction } from '../policy/rules.js';
import { reasonOf, type Reason } from '../reasons.js';
import { hasSocketLB, isKubeProxy } from '../settings.js';
import type { State } from '../state.js';
import type { PacketIn, PacketOut } from '../wasm.js';
import { podAt } from './at.js';
import { isUnallocated, masquerades } from './kube-proxy.js';
import { takenOf } from './sidecar.js';
import { LETS, redirectOf, upstreamOf, type Decision, type Ruled } from './proxy.js';

/**
 * Who sends: a pod, a client that is no pod of the manifests and that its node forwards like one, a node's own processes, or
 * an address outside, whose packet enters at a node.
 */
export type Sender =
  | { readonly kind: 'pod'; readonly pod: ClusterPod }
  | { readonly kind: 'unlisted'; readonly address: Address; readonly node: ClusterNode }
  | { readonly kind: 'host'; readonly node: ClusterNode }
  | { readonly kind: 'external'; readonly address: Address; readonly node: ClusterNode };

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
  /** Where and why a policy would have refused it, were policies not only tried out; null where none would. */
  readonly audited: { readonly direction: Direction; readonly reason: Reason } | null;
  /** The proxies that it passed, or was refused by. */
  readonly redirects: readonly Ruled[];
  /** The last of them, where that one refused the request. */
  readonly refusedBy: Ruled | null;
  readonly out: PacketOut;
  /** The packet as kube-proxy sent it on in its node's name; null where it did not. */
  readonly masqueraded: Outcome | null;
}

/** The packet as it goes into the dataplane. A pod on the host's network sends as its node does. */
export function packetOf(state: State, { sender, tuple }: Probe, reply = false): PacketIn {
  const frame = frameOf(tuple, reply);
  if (sender.kind === 'pod' && !sender.pod.hostNetwork) {
    return {
      frame,
      node: sender.pod.node.index,
      program: socketOf(state, tuple, reply) ? Program.SOCK_CONNECT : Program.FROM_CONTAINER,
      endpoint: state.desired.endpointIds.get(sender.pod)!,
    };
  }
  const node = sender.kind === 'pod' ? sender.pod.node : sender.node;
  return {
    frame,
    node: node.index,
    program:
      sender.kind === 'external'
        ? Program.FROM_NETDEV
        : sender.kind !== 'unlisted' && socketOf(state, tuple, reply)
          ? Program.SOCK_CONNECT
          : Program.FROM_HOST,
    endpoint: 0,
  };
}

/** Whether what is sent passes the programs on sockets. A reply is sent by a socket that is connected, unless all is between two of one pod. */
const socketOf = ({ settings }: State, { source, destination }: Tuple, reply: boolean): boolean =>
  hasSocketLB(settings) && (!reply || source === destination);

/** Reads the record that came back, and what became of it at proxies before. */
export function outcomeOf(state: State, probe: Probe, out: PacketOut, redirects: readonly Ruled[] = []): Outcome {
  const refusedBy = redirects.find(({ fate }) => fate === 'refused') ?? null;
  // What a sender is told in an ICMP error tells nothing of where its packet would have gone.
  const tuple = out.answered !== 0 ? probe.tuple : (tupleOf(out.frame) ?? probe.tuple);
  const allowed = out.verdict === 0 && refusedBy === null;
  const receiver = state.desired.endpointIds.podOf(out.endpoint) ?? podAt(state, tuple.destination);
  return {
    probe,
    allowed,
    direction: allowed ? null : (refusedBy?.direction ?? directionOf(out.program)),
    reason: allowed ? null : reasonOf(refusedBy ? DropReason.POLICY : -out.verdict),
    receiver,
    tuple,
    sourceIdentity: out.sourceIdentity,
    destinationIdentity: out.destinationIdentity,
    frontend: out.backendId === 0 ? null : (state.desired.frontendsByIndex.get(out.revNatIndex) ?? null),
    backend: state.desired.backendsById.get(out.backendId) ?? null,
    audited:
      out.audited === 0
        ? null
        : {
            direction: out.audited >>> 8 === (CtDirection.EGRESS as number) ? 'egress' : 'ingress',
            reason: reasonOf(out.audited & 0xff),
          },
    redirects,
    refusedBy,
    out,
    masqueraded: null,
  };
}

const directionOf = (program: number): Direction => (EGRESS_PROGRAMS.has(program) ? 'egress' : 'ingress');

const EGRESS_PROGRAMS: ReadonlySet<number> = new Set([
  Program.SOCK_CONNECT,
  Program.FROM_CONTAINER,
  Program.FROM_HOST,
  Program.FROM_PROXY,
  Program.TO_NETDEV,
]);

/** Proxies that one packet passes at most: that of the sender, and that of the receiver. */
const MAX_PROXIES = 2;

/**
 * A packet from proxy to proxy, each of which goes on with one of its own, unless it refuses; what is delivered, the mesh's proxy in
 * the pod takes last. `send` runs one packet.
 */
function follow(
  state: State,
  { sender }: Probe,
  first: PacketOut,
  proxy: Decision,
  send: (packet: PacketIn) => PacketOut,
): { readonly out: PacketOut; readonly redirects: readonly Ruled[] } {
  const redirects: Ruled[] = [];
  let out = first;
  while (redirects.length < MAX_PROXIES) {
    const redirect = redirectOf(state, out);
    if (!redirect) break;
    const ruled = { ...redirect, ...proxy(redirect) };
    redirects.push(ruled);
    if (ruled.fate === 'refused') break;
    out = goneOn(out, send(upstreamOf(redirect)));
  }
  const taken = takenOf(state, sender.kind === 'pod' ? sender.pod : null, out);
  if (taken) redirects.push({ ...taken, ...proxy(taken) });
  return { out, redirects };
}

/** What became of a packet before it met the proxy is part of its way; the mark that it goes on with has no room for all of an identity. */
const goneOn = (before: PacketOut, out: PacketOut): PacketOut => ({
  ...out,
  sourceIdentity: before.sourceIdentity,
  destinationIdentity: out.destinationIdentity || before.destinationIdentity,
  ...(out.backendId === 0 ? { backendId: before.backendId, revNatIndex: before.revNatIndex } : {}),
  audited: out.audited || before.audited,
});

/**
 * Each packet as if it were alone. As many as can go in one call: a batch has one source address, so that no packet in it can be
 * taken for the reply to another, and connections of other batches are forgotten first.
 */
function send(state: State, probes: readonly Probe[], proxy: Decision): Outcome[] {
  const datapath = state.loader.current;
  const outcomes: Outcome[] = [];
  for (let first = 0; first < probes.length;) {
    const { source } = probes[first]!.tuple;
    let last = first + 1;
    while (last < probes.length && last - first < BATCH && probes[last]!.tuple.source === source) last++;
    const batch = probes.slice(first, last);
    first = last;
    const packets = batch.map((probe) => packetOf(state, probe));
    let outs: PacketOut[];
    do {
      datapath.flushConnections();
      outs = datapath.process(packets);
    } while (state.loader.provide());
    outs.forEach((first, i) => {
      const { out, redirects } = follow(state, batch[i]!, first, proxy, (packet) =>
        provided(state, () => datapath.process([packet])[0]!),
      );
      outcomes.push(outcomeOf(state, batch[i]!, out, redirects));
    });
  }
  return outcomes;
}

/** What sending gives, again where a table was missing: a packet that finds none is dropped and leaves nothing behind. */
function provided<Result>({ loader }: State, send: () => Result): Result {
  let result: Result;
  do result = send();
  while (loader.provide());
  return result;
}

/** Packets of a question, as the engine treats them: Cilium's dataplane alone, or with what kube-proxy does besides. */
export function run(state: State, probes: readonly Probe[], proxy: Decision = LETS): Outcome[] {
  if (!isKubeProxy(state.settings)) return send(state, probes, proxy);
  return reserved(state, probes, () => send(state, probes, proxy)).map((outcome) => {
    const refused = firewalled(state, outcome);
    if (refused) return refused;
    return masquerades(state, outcome) ? sentOn(state, outcome, proxy) : outcome;
  });
}

/** The whole range of ClusterIPs is kube-proxy's; the map takes single addresses, so those asked for stand in it meanwhile. */
function reserved<Result>(state: State, probes: readonly Probe[], sendAll: () => Result): Result {
  const datapath = state.loader.current;
  const asked = new Set(probes.map(({ tuple }) => tuple.destination).filter((one) => isUnallocated(state, one)));
  const entries = [...asked].map((address) => wildcardEntry(address));
  for (const { map, key, value } of entries) datapath.update(map, key, value);
  const result = sendAll();
  for (const { map, key } of entries) datapath.delete(map, key);
  return result;
}

/** kube-proxy asks for source ranges before it translates, of pods and nodes too: the packet as one that comes in, where that is refused. */
function firewalled(state: State, { probe, frontend }: Outcome): Outcome | null {
  const { sender, tuple } = probe;
  if (sender.kind === 'external' || !frontend?.service?.source.loadBalancerSourceRanges.length) return null;
  const node = sender.kind === 'pod' ? sender.pod.node : sender.node;
  const [asked] = send(state, [{ sender: { kind: 'external', address: tuple.source, node }, tuple }], LETS);
  return asked!.reason?.code === DropReason.NOT_IN_SRC_RANGE ? asked! : null;
}

/** The packet in its node's name to the backend that was picked; it passes where both pass. */
function sentOn(state: State, outcome: Outcome, proxy: Decision): Outcome {
  const { probe, backend, direction } = outcome;
  if (!backend || direction === 'egress') return outcome;
  const { sender, tuple } = probe;
  const node = sender.kind === 'pod' ? sender.pod.node : sender.node;
  const source = addressIn(node, familyOf(backend.address)) ?? UNSPECIFIED[familyOf(backend.address)];
  const ends = { source, destination: backend.address, destinationPort: backend.port };
  const [masqueraded] = send(state, [{ sender: { kind: 'host', node }, tuple: { ...tuple, ...ends } }], proxy);
  return { ...outcome, masqueraded: masqueraded! };
}

/** Small enough that a batch's connections fit many times over. */
const BATCH = 256;

/** All that the datapath recorded of one packet. */
export interface Recording {
  readonly outcome: Outcome;
  readonly events: readonly Uint8Array[];
  /** Records for which the events ring had no more room. */
  readonly lost: number;
}

/** Runs one packet with recording on. Connections stay, so that a reply can follow. */
export function runTraced(state: State, probe: Probe, reply = false, proxy: Decision = LETS): Recording {
  const recorded: Uint8Array[] = [];
  let missed = 0;
  const pass = (packet: PacketIn): PacketOut => {
    const { out, events, lost } = provided(state, () => state.loader.current.traced(packet));
    recorded.push(...events);
    missed += lost;
    return out;
  };
  const { out, redirects } = reserved(state, [probe], () =>
    follow(state, probe, pass(packetOf(state, probe, reply)), proxy, pass),
  );
  return { outcome: outcomeOf(state, probe, out, redirects), events: recorded, lost: missed };
}

/** The packet back from wherever the first one arrived; null when it was dropped, or is one that nothing answers. */
export function replyTo(state: State, { allowed, probe, receiver, tuple, out }: Outcome): Probe | null {
  const back = reversed(tuple);
  if (!allowed || back === null) return null;
  const node = state.cluster.nodes.find(({ index }) => index === out.node)!;
  if (out.program === Program.DELIVERED && receiver) return { sender: { kind: 'pod', pod: receiver }, tuple: back };
  if (out.program === Program.HOST) return { sender: { kind: 'host', node }, tuple: back };
  const entry = probe.sender.kind === 'pod' ? probe.sender.pod.node : node;
  return { sender: { kind: 'external', address: back.source, node: entry }, tuple: back };
}
