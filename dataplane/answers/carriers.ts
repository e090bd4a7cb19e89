/** Packets between a pod and whoever has an identity, one for each way in which they may differ. */
import { ReservedIdentity } from '../../assembly/abi.js';
import { familyOf, type Address } from '../addresses.js';
import { addressIn, type ClusterPod } from '../cluster/cluster.js';
import type { PodIdentity } from '../policy/identities.js';
import type { Direction } from '../policy/rules.js';
import type { State } from '../state.js';
import { classes } from './cases.js';
import { externalClasses } from './outside.js';
import { type Probe, type Sender } from './probe.js';

/** A way from one end to another, for traffic of any kind. */
export interface Path {
  readonly sender: Sender;
  readonly source: Address;
  readonly destination: Address;
  /** From a pod to itself, in place of another like it that may be there one day. */
  readonly isStandIn: boolean;
}

/** The destination port of no probe that is ever asked about, so that no packet is taken for the reply to another. */
const SOURCE_PORT = 0;

export const probeOf = ({ sender, source, destination }: Path, protocol: number, destinationPort: number): Probe => ({
  sender,
  tuple: { source, destination, protocol, sourcePort: SOURCE_PORT, destinationPort },
});

/** Who of a cluster has which identity. */
export class Carriers {
  private readonly pods: ReadonlyMap<number, PodIdentity>;
  private readonly outside = new Map<number, Address[]>();
  private readonly kinds = new Map<PodIdentity, readonly ClusterPod[]>();

  constructor(private readonly state: State) {
    const { identities } = state;
    this.pods = new Map(identities.pods.map((identity) => [identity.number, identity]));
    for (const { identity, example } of externalClasses(state))
      this.outside.set(identity, [...(this.outside.get(identity) ?? []), example]);
  }

  /** Every identity that a packet of these manifests may have: pods', nodes' and of addresses outside; then names'. */
  get identities(): number[] {
    const names = this.state.identities.fqdns.map(({ number }) => number);
    const nodes = [ReservedIdentity.HOST, ReservedIdentity.REMOTE_NODE];
    return [...this.pods.keys(), ...nodes, ...this.outside.keys(), ...names];
  }

  /** The pods that have an identity; null where none may. */
  podsOf(identity: number): PodIdentity | null {
    return this.pods.get(identity) ?? null;
  }

  isOutside(identity: number): boolean {
    return this.outside.has(identity);
  }

  /** From a peer to pods of an identity, or from these to the peer. */
  paths(subject: PodIdentity, peer: number, direction: Direction): Path[] {
    const others = this.pods.get(peer);
    return this.kindsOf(subject).flatMap((pod) => {
      if (others) return this.kindsOf(others).flatMap((other) => this.betweenPods(pod, other, others, direction));
      if (direction === 'ingress') return this.sendersWith(peer, pod).flatMap((sender) => inward(sender, pod));
      return this.addressesWith(peer, pod).flatMap((destination) => outward(pod, destination));
    });
  }

  private kindsOf(identity: PodIdentity): readonly ClusterPod[] {
    let kinds = this.kinds.get(identity);
    if (!kinds) this.kinds.set(identity, (kinds = classes(this.state, identity.pods)));
    return kinds;
  }

  private betweenPods(pod: ClusterPod, kind: ClusterPod, { pods }: PodIdentity, direction: Direction): Path[] {
    const families = kind.addresses.map(familyOf).join();
    const isLike = (other: ClusterPod): boolean => other !== pod && other.addresses.map(familyOf).join() === families;
    const peer = kind === pod ? (pods.find(isLike) ?? pod) : kind;
    const [from, to] = direction === 'ingress' ? [peer, pod] : [pod, peer];
    return to.addresses.flatMap((destination) => outward(from, destination, peer === pod));
  }

  private sendersWith(identity: number, pod: ClusterPod): Sender[] {
    const { nodes } = this.state.cluster;
    if (identity === ReservedIdentity.HOST) return [{ kind: 'host', node: pod.node }];
    if (identity === ReservedIdentity.REMOTE_NODE)
      return nodes.filter((node) => node !== pod.node).map((node) => ({ kind: 'host', node }));
    const outside = this.outside.get(identity) ?? [];
    return outside.map((address) => ({ kind: 'external', address, node: pod.node }));
  }

  private addressesWith(identity: number, pod: ClusterPod): readonly Address[] {
    const { cluster, identities } = this.state;
    if (identity === ReservedIdentity.HOST) return pod.node.addresses;
    if (identity === ReservedIdentity.REMOTE_NODE)
      return cluster.nodes.filter((node) => node !== pod.node).flatMap(({ addresses }) => addresses);
    const names = identities.fqdns.filter(({ number }) => number === identity).map(({ address }) => address);
    return [...(this.outside.get(identity) ?? []), ...names];
  }
}

function outward(pod: ClusterPod, destination: Address, isStandIn = false): Path[] {
  const source = addressIn(pod, familyOf(destination));
  return source === null ? [] : [{ sender: { kind: 'pod', pod }, source, destination, isStandIn }];
}

function inward(sender: Sender, pod: ClusterPod): Path[] {
  const own = sender.kind === 'external' ? [sender.address] : sender.kind === 'host' ? sender.node.addresses : [];
  return pod.addresses.flatMap((destination) => {
    const source = addressIn({ addresses: own }, familyOf(destination));
    return source === null ? [] : [{ sender, source, destination, isStandIn: false }];
  });
}
