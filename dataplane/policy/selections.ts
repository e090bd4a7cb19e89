/** Whom policies are about, and whom their rules name: asked again only where that may be others by now. */
import { difference, keptFor } from '../kept.js';
import { selectsPodsAlone, type PodIdentity } from './identities.js';
import type { Peers } from './peers.js';
import { isRepresentative } from './representatives.js';
import type { Peer, Policy } from './rules.js';
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
type Numbers = readonly number[];

/** Of one policy what was found last. */
export class Selections {
  /** Whom the rules name, and of whom they are about a part. */
  private readonly peers: readonly Peer[];
  /** The namespaces whose pods alone can be among all of these, null for any; of another one, null in place of the list. */
  private readonly namespaces: readonly (string | null)[] | null;
  private generation = 0;
  private found: { readonly subject: Subject | null; readonly numbers: readonly Numbers[] } | null = null;

  constructor(readonly policy: Policy) {
    const { subject, rules } = policy;
    this.peers = rules.flatMap(({ own, peers }) => [...(own ? [own] : []), ...(peers ?? [])]);
    const selectors = this.peers.flatMap((peer) => (peer.kind === 'endpoints' ? peer.selector : []));
    const isPlain = selectors.length === this.peers.length && selectors.every(selectsPodsAlone);
    this.namespaces = isPlain ? [...new Set([subject, ...selectors].map(namespaceAskedFor))] : null;
  }

  /** null for a policy about nodes. */
  get subject(): Subject | null {
    return this.found?.subject ?? null;
  }

  /** Asks again; who came and went among those whom the rules name, which is nobody for the first time. */
  update(peers: Peers): readonly number[] {
    const { selected } = peers.identities;
    const { found, generation, policy } = this;
    if (found && this.namespaces?.every((namespace) => selected.holds(generation, namespace))) return [];
    this.generation = selected.generation;
    const numbers = this.peers.map((peer) => peers.of(peer));
    const subject = policy.aboutNodes ? null : subjectOf(policy, selected.of(policy.subject));
    this.found = { subject, numbers };
    return found ? numbers.flatMap((some, i) => numbersUnlike(found.numbers[i]!, some)) : [];
  }
}

/** The numbers that are only in one of two lists. */
function numbersUnlike(before: Numbers, after: Numbers): number[] {
  const { gone, come } = difference(before, after);
  const [olds, freshs] = [new Set(gone), new Set(come)];
  return [...gone.filter((number) => !freshs.has(number)), ...come.filter((number) => !olds.has(number))];
}
