/** Which identities the peers of rules select. */
import type { Settings } from '../settings.js';
import { fqdnName } from './fqdn.js';
import {
  everyIdentity,
  matchesPods,
  selectEndpoints,
  selectPrefix,
  type Identities,
  type PodIdentity,
} from './identities.js';
import type { Peer, Rule } from './rules.js';

/** Which identities a peer selects: computed once for each peer. */
export class Peers {
  /** What is selected by addresses alone, and otherwise, but for what labels select: that is kept with the identities. */
  readonly byAddresses = new WeakMap<Peer, readonly number[]>();
  private readonly others = new WeakMap<Peer, readonly number[]>();
  readonly byNumber: ReadonlyMap<number, PodIdentity>;
  private all: readonly number[] | null = null;

  constructor(
    readonly identities: Identities,
    readonly settings: Settings,
    before: Peers | null = null,
  ) {
    const { prefixes, fqdns, world } = identities;
    const isLike =
      before?.settings === settings &&
      before.identities.prefixes === prefixes &&
      before.identities.fqdns === fqdns &&
      before.identities.world === world;
    if (isLike) this.byAddresses = before.byAddresses;
    this.byNumber = new Map(identities.pods.map((identity) => [identity.number, identity]));
  }

  get everyone(): readonly number[] {
    return (this.all ??= everyIdentity(this.identities));
  }

  of(peer: Peer): readonly number[] {
    if (peer.kind === 'endpoints') return selectEndpoints(this.identities, peer.selector);
    const known = this.isByAddress(peer) ? this.byAddresses : this.others;
    let numbers = known.get(peer);
    if (!numbers) known.set(peer, (numbers = this.select(peer)));
    return numbers;
  }

  /** Whether no pod's labels have a part in whom a peer selects. */
  isByAddress(peer: Peer): boolean {
    return (
      peer.kind === 'fqdn' || peer.kind === 'anyone' || (peer.kind === 'prefix' && !matchesPods(peer, this.settings))
    );
  }

  /** Whether the pods of an identity are among a peer. */
  has(peer: Peer, { number }: PodIdentity): boolean {
    const numbers = this.of(peer);
    return numbers.includes(number) || numbers.includes(0);
  }

  private meet({ all, none }: Peer & { readonly kind: 'where' }): number[] {
    const among = (peers: readonly Peer[]): Set<number> => new Set(peers.flatMap((peer) => this.of(peer)));
    const groups = all.map(among);
    const without = among(none);
    return this.everyone.filter((number) => groups.every((group) => group.has(number)) && !without.has(number));
  }

  /** 0 is anyone. */
  private select(peer: Exclude<Peer, { readonly kind: 'endpoints' }>): readonly number[] {
    const { identities, settings } = this;
    switch (peer.kind) {
      case 'anyone':
        return [0];
      case 'prefix':
        return selectPrefix(identities, peer.cidr, peer.except, matchesPods(peer, settings));
      case 'fqdn':
        return identities.fqdns
          .filter(({ fqdn }) => fqdnName(fqdn) === fqdnName(peer.fqdn))
          .map(({ number }) => number);
      case 'where':
        return this.meet(peer);
    }
  }
}

/** What compiling asks of the peers of rules. */
export type PeerNumbers = Pick<Peers, 'of' | 'has' | 'byNumber' | 'everyone'>;

/** Of peers, these identities alone, and anyone. */
export const among = (peers: PeerNumbers, numbers: ReadonlySet<number>): PeerNumbers => ({
  of: (asked) => peers.of(asked).filter((number) => number === 0 || numbers.has(number)),
  has: (asked, identity) => peers.has(asked, identity),
  byNumber: new Map(
    [...numbers].flatMap((number): [number, PodIdentity][] => {
      const identity = peers.byNumber.get(number);
      return identity ? [[number, identity]] : [];
    }),
  ),
  get everyone() {
    return peers.everyone.filter((number) => numbers.has(number));
  },
});

/** Whom a rule is about: 0 for anyone. */
export function identitiesOf({ peers: named }: Rule, peers: PeerNumbers): readonly number[] {
  if (named === null) return [0];
  if (named.length === 1) return peers.of(named[0]!);
  const found = new Set(named.flatMap((peer) => peers.of(peer)));
  return found.has(0) ? [0] : [...found];
}
