/** Whom policies are about, and whom their rules name: asked again only where that may be others by now. */
import { difference, keptFor } from '../kept.js';
import type { Settings } from '../settings.js';
import { selectsPodsAlone, type PodIdentity } from './identities.js';
import type { Peers } from './peers.js';
import { isRepresentative } from './representatives.js';
import { peersIn, type Peer, type Policy } from './rules.js';
import { namespaceAskedFor } from './selectors.js';

/** A policy and the pods that it is about. */
export interface Subject {
  readonly policy: Policy;
  readonly pods: readonly PodIdentity[];
  /** Whether some of its rules are about a part of them. */
  readonly isPartly: boolean;
}

const subjectOf = keptFor((policy: Policy, pods: readonly PodIdentity[]): Subject => ({
  policy,
  pods: pods.filter(({ example }) => !isRepresentative(example)),
  isPartly: policy.rules.some(({ own }) => own !== undefined),
}));

/** The numbers of whom a peer selects. */
type Selection = readonly number[];

/** What whom a policy selects depends on besides the policy. */
interface Asks {
  readonly settings: Settings;
  readonly addresses: boolean;
  /** The namespaces whose pods alone can be among them, with null for any; null in place of the list where more has a part. */
  readonly namespaces: readonly (string | null)[] | null;
}

/** Of one policy what was found last. */
export class Selections {
  /** Whom the rules name, and of whom they are about a part. */
  private readonly peers: readonly Peer[];
  private asks: Asks | null = null;
  /** null for a policy about nodes. */
  subject: Subject | null = null;
  private numbers: readonly Selection[] = [];
  private generation = 0;
  private byAddresses: Peers['byAddresses'] | null = null;

  constructor(readonly policy: Policy) {
    this.peers = policy.rules.flatMap(peersIn);
  }

  /** Asks again; who came and went among those whom the rules name, which is nobody for the first time. */
  update(peers: Peers): readonly number[] {
    const isFirst = this.asks === null;
    if (this.isLeft(peers)) return [];
    const { selected } = peers.identities;
    this.generation = selected.generation;
    this.byAddresses = peers.byAddresses;
    if (this.asks?.settings !== peers.settings) this.asks = this.asksOf(peers);
    if (!this.policy.aboutNodes) this.subject = subjectOf(this.policy, selected.of(this.policy.subject));
    const before = this.numbers;
    if (!isFirst && this.peers.every((peer, i) => peers.of(peer) === before[i])) return [];
    this.numbers = this.peers.map((peer) => peers.of(peer));
    return isFirst ? [] : this.numbers.flatMap((numbers, i) => numbersUnlike(before[i]!, numbers));
  }

  /** Whether what was found is so still. */
  private isLeft({ identities, settings, byAddresses }: Peers): boolean {
    const { asks, generation } = this;
    if (!asks?.namespaces || asks.settings !== settings) return false;
    if (asks.addresses && byAddresses !== this.byAddresses) return false;
    return asks.namespaces.every((namespace) => identities.selected.holds(generation, namespace));
  }

  private asksOf(peers: Peers): Asks {
    const others = this.peers.filter((peer) => !peers.isByAddress(peer));
    const selectors = others.flatMap((peer) => (peer.kind === 'endpoints' ? peer.selector : []));
    const isPlain = selectors.length === others.length && selectors.every(selectsPodsAlone);
    return {
      settings: peers.settings,
      addresses: others.length < this.peers.length,
      namespaces: isPlain ? [...new Set([this.policy.subject, ...selectors].map(namespaceAskedFor))] : null,
    };
  }
}

/** The numbers that are only in one of two lists. */
function numbersUnlike(before: Selection, after: Selection): number[] {
  const { gone, come } = difference(before, after);
  const [olds, freshs] = [new Set(gone), new Set(come)];
  return [...gone.filter((number) => !freshs.has(number)), ...come.filter((number) => !olds.has(number))];
}
