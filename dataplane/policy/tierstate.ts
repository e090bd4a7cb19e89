/**
 * The policymap of pods to which policies apply in an order. The datapath knows no order: it takes the longest prefix of an identity
 * and the longest of any, and of the two one that denies. So here it is decided for each identity what becomes of each prefix that a
 * rule names, with all the rules that hold it at hand, and entries say no more than that.
 */
import { AuthType, ReservedIdentity } from '../../assembly/abi.js';
import { AUTH_TYPES, EVERYTHING, redirectOf, type Grant, type PolicymapEntry } from './mapstate.js';
import type { Direction, Policy, TrafficPrefix } from './rules.js';
import { isolatingIn, type Level, type Stack } from './tiers.js';

/** What a rule says of one prefix of traffic. */
export interface Claim {
  readonly traffic: TrafficPrefix;
  readonly policy: Policy;
  /** Its rule's place among those of the policy. */
  readonly nth: number;
  readonly action: 'allow' | 'deny' | 'pass';
  readonly grant: Grant;
}

/** What becomes of traffic: rules let or deny it, or policies isolate and no rule lets it. */
type Decision =
  | { readonly effect: 'allow' | 'deny'; readonly grants: readonly Grant[]; readonly authType: number }
  | { readonly effect: 'refuse'; readonly by: readonly Policy[] };

interface Decided {
  readonly traffic: TrafficPrefix;
  readonly decision: Decision;
}

/** Traffic that no entry holds, and the policies that isolate from it. */
export interface Refusal {
  readonly traffic: TrafficPrefix;
  readonly by: readonly Policy[];
}

/** Entries, and what they leave out, by direction and identity; under 0, for every identity that is not there. */
export interface TieredPolicymap {
  readonly entries: readonly PolicymapEntry[];
  readonly refusals: Readonly<Record<Direction, ReadonlyMap<number, readonly Refusal[]>>>;
}

const LENGTH = 24;

const wordOf = ({ protocol, port }: TrafficPrefix): number => (protocol << 16) | port;
const prefixOf = (word: number, length: number): TrafficPrefix => ({
  protocol: word >>> 16,
  port: word & 0xffff,
  length,
});
const keyOf = (traffic: TrafficPrefix): number => wordOf(traffic) * 32 + traffic.length;

/** The prefixes that hold a prefix's traffic, itself and all, longest first. */
function* around(traffic: TrafficPrefix): Generator<number> {
  const word = wordOf(traffic);
  for (let { length } = traffic; length >= 0; length--) {
    const rest = LENGTH - length;
    yield keyOf(prefixOf((word >>> rest) << rest, length));
  }
}

/** Whether one prefix holds all of another's traffic. */
export function holds(outer: TrafficPrefix, inner: TrafficPrefix): boolean {
  const rest = LENGTH - outer.length;
  return outer.length <= inner.length && wordOf(outer) >>> rest === wordOf(inner) >>> rest;
}

export class TierState {
  private readonly claims: Readonly<Record<Direction, Map<number, Claim[]>>> = {
    ingress: new Map(),
    egress: new Map(),
  };

  /**
   * `stacks`: what each plug-in asks; a packet passes where all let it. `everyone`: the identities that there are. `localhost`:
   * whether the pods' own node reaches them though they are isolated.
   */
  constructor(
    private readonly stacks: readonly Stack[],
    private readonly everyone: readonly number[],
    private readonly localhost: boolean,
  ) {}

  add(direction: Direction, identity: number, claim: Claim): void {
    const claims = this.claims[direction].get(identity);
    if (claims) claims.push(claim);
    else this.claims[direction].set(identity, [claim]);
  }

  list(): TieredPolicymap {
    const ingress = this.tablesOf('ingress');
    const egress = this.tablesOf('egress');
    return {
      entries: [...entriesOf(egress, true), ...entriesOf(ingress, false)],
      refusals: { ingress: refusalsOf(ingress), egress: refusalsOf(egress) },
    };
  }

  /** What is decided for each identity that a rule names; under 0 for all others, where that cannot be misread. */
  private tablesOf(direction: Direction): ReadonlyMap<number, readonly Decided[]> {
    const named = new Map(this.claims[direction]);
    const ofAnyone = named.get(0) ?? [];
    named.delete(0);
    const host = direction === 'ingress' && this.localhost ? ReservedIdentity.HOST : null;
    if (host !== null && !named.has(host)) named.set(host, []);

    const made = new Map<string, readonly Decided[]>();
    const numbers = new Map<Claim, number>();
    const signature = (claims: readonly Claim[]): string =>
      claims.map((claim) => numbers.get(claim) ?? numbers.set(claim, numbers.size).size - 1).join(' ');
    const table = (identity: number): readonly Decided[] => {
      const claims = named.get(identity) ?? [];
      const key = `${identity === host} ${signature(claims)}`;
      let found = made.get(key);
      if (!found) made.set(key, (found = this.decideAll([...claims, ...ofAnyone], direction, identity === host)));
      return found;
    };
    const common = table(0);
    const tables = new Map([...named.keys()].map((identity) => [identity, table(identity)]));
    const misread = [...new Set(tables.values())].some((own) => hides(common, own));
    if (!misread) return tables.set(0, common);
    return new Map(this.everyone.map((identity) => [identity, tables.get(identity) ?? common]));
  }

  /** Each prefix that a claim is about with what becomes of it, shorter ones first; none that says what the one around it does. */
  private decideAll(claims: readonly Claim[], direction: Direction, isHost: boolean): readonly Decided[] {
    const prefixes = new Map([EVERYTHING, ...claims.map(({ traffic }) => traffic)].map((one) => [keyOf(one), one]));
    const claimed = new Map<number, number[]>();
    claims.forEach(({ traffic }, i) => {
      const key = keyOf(traffic);
      const others = claimed.get(key);
      if (others) others.push(i);
      else claimed.set(key, [i]);
    });
    const decided = new Map<number, Decided>();
    for (const traffic of [...prefixes.values()].sort((a, b) => a.length - b.length || wordOf(a) - wordOf(b))) {
      const about = [...around(traffic)].flatMap((key) => claimed.get(key) ?? []).sort((a, b) => a - b);
      const decision = this.decide(
        about.map((i) => claims[i]!),
        direction,
        isHost,
      );
      const outer = lookup(decided, traffic);
      if (!outer || !same(outer, decision)) decided.set(keyOf(traffic), { traffic, decision });
    }
    return [...decided.values()];
  }

  /** Of all stacks, one that denies, else one that refuses; else what they let. */
  private decide(claims: readonly Claim[], direction: Direction, isHost: boolean): Decision {
    const ofPolicy = new Map<Policy, Claim[]>();
    for (const claim of claims) {
      const others = ofPolicy.get(claim.policy);
      if (others) others.push(claim);
      else ofPolicy.set(claim.policy, [claim]);
    }
    const decisions = this.stacks.map((stack) => {
      if (isHost && stack.passesHost) return LET;
      const decision = decideIn(stack.levels, ofPolicy, direction);
      return isHost && decision.effect === 'refuse' ? LET : decision;
    });
    const [first = LET, ...others] = decisions;
    if (others.length === 0) return first;
    const against =
      decisions.find(({ effect }) => effect === 'deny') ?? decisions.find(({ effect }) => effect === 'refuse');
    if (against) return against;
    const letting = decisions.flatMap((decision) => (decision.effect === 'refuse' ? [] : [decision]));
    return {
      effect: 'allow',
      grants: letting.flatMap(({ grants }) => grants),
      authType: Math.max(...letting.map(({ authType }) => authType)),
    };
  }
}

/** Where no policy has anything to say. */
const LET: Decision = { effect: 'allow', grants: [], authType: 0 };

/**
 * 1. in each tier, of the first policies that say something: that it is denied, let, or left to the next tier
 * 2. where none does, and a policy of the tier isolates: refused
 * 3. after the last tier: let
 */
function decideIn(
  levels: readonly Level[],
  claims: ReadonlyMap<Policy, readonly Claim[]>,
  direction: Direction,
): Decision {
  for (const level of levels) {
    const said = firstOf(level, claims);
    if (said === null) {
      const by = isolatingIn(level, direction);
      if (by.length > 0) return { effect: 'refuse', by };
    } else if (said.tied) return { effect: 'deny', grants: grantsOf(said.claims, true), authType: 0 };
    else {
      const [{ action } = { action: 'pass' as const }] = said.claims;
      if (action !== 'pass') {
        const authType = action === 'allow' ? authTypeOf(said.claims) : 0;
        return { effect: action, grants: grantsOf(said.claims, false), authType };
      }
    }
  }
  return LET;
}

/** What the first policies that have something to say do say; `tied` where it is not defined which of them is heard. */
function firstOf(
  { ranks }: Level,
  claims: ReadonlyMap<Policy, readonly Claim[]>,
): { readonly claims: readonly Claim[]; readonly tied: boolean } | null {
  for (const { policies, denyFirst } of ranks) {
    const said = policies.flatMap((policy) => heard(policy, claims.get(policy) ?? []));
    if (said.length === 0) continue;
    const denials = said.filter(({ action }) => action === 'deny');
    if (denyFirst) return { claims: denials.length > 0 ? denials : said, tied: false };
    return { claims: said, tied: new Set(said.map(({ action }) => action)).size > 1 };
  }
  return null;
}

/** Rules that hold in their order: the first; else all. */
function heard({ standing }: Policy, claims: readonly Claim[]): readonly Claim[] {
  if (!standing || claims.length < 2) return claims;
  const first = claims.reduce((least, { nth }) => Math.min(least, nth), Infinity);
  return claims.filter(({ nth }) => nth === first);
}

/** Each rule once. */
function grantsOf(claims: readonly Claim[], tied: boolean): readonly Grant[] {
  const grants: Grant[] = [];
  for (const { grant } of claims)
    if (!grants.some(({ origin, l7 }) => origin === grant.origin && l7 === grant.l7))
      grants.push(tied ? { ...grant, tied } : grant);
  return grants;
}

/** As the narrowest of the rules that say how both ends must have authenticated; of two, the stricter. */
function authTypeOf(claims: readonly Claim[]): number {
  const asking = claims.flatMap(({ traffic, grant: { authentication } }) =>
    authentication === null ? [] : [{ length: traffic.length, type: AUTH_TYPES[authentication] }],
  );
  if (asking.length === 0) return 0;
  const longest = Math.max(...asking.map(({ length }) => length));
  return AuthType.EXPLICIT | Math.max(...asking.filter(({ length }) => length === longest).map(({ type }) => type));
}

/** What is decided of a prefix: by the longest one around it; null where there is none. */
function lookup(table: ReadonlyMap<number, Decided>, traffic: TrafficPrefix): Decision | null {
  for (const key of around(traffic)) {
    const found = table.get(key);
    if (found) return found.decision;
  }
  return null;
}

const byKey = (table: readonly Decided[]): ReadonlyMap<number, Decided> =>
  new Map(table.map((one) => [keyOf(one.traffic), one]));

function same(a: Decision, b: Decision): boolean {
  if (a.effect === 'refuse') return b.effect === 'refuse' && sameItems(a.by, b.by);
  if (b.effect === 'refuse') return false;
  return a.effect === b.effect && a.authType === b.authType && sameItems(a.grants, b.grants);
}

const sameItems = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((item, i) => item === b[i]);

/** Whether the entries for anyone would be taken where an identity's own say, or leave out, something else. */
function hides(common: readonly Decided[], own: readonly Decided[]): boolean {
  const [ofAll, ofOne] = [byKey(common), byKey(own)];
  // Each table has an entry for everything.
  return [...common, ...own].some(({ traffic }) => {
    const ofAnyone = lookup(ofAll, traffic)!;
    const ofIdentity = lookup(ofOne, traffic)!;
    if (ofAnyone.effect === 'refuse' || ofIdentity.effect === 'deny') return false;
    if (ofAnyone.effect === 'deny' || ofIdentity.effect === 'refuse') return true;
    return (
      ofAnyone.authType !== ofIdentity.authType ||
      redirectOf(ofAnyone.grants).proxyPort !== redirectOf(ofIdentity.grants).proxyPort
    );
  });
}

function entriesOf(tables: ReadonlyMap<number, readonly Decided[]>, egress: boolean): PolicymapEntry[] {
  const cut = new Map<readonly Decided[], readonly Decided[]>();
  return [...tables].flatMap(([identity, table]) => {
    let parts = cut.get(table);
    if (!parts) cut.set(table, (parts = withoutRefused(table[0]!, table.slice(1))));
    return parts.flatMap(({ traffic, decision }): PolicymapEntry[] => {
      if (decision.effect === 'refuse') return [];
      const { grants, authType, effect } = decision;
      const deny = effect === 'deny';
      const redirect = redirectOf(deny ? [] : grants);
      return [{ identity, egress, ...traffic, deny, ...redirect, authType, grants }];
    });
  });
}

/** What is refused is what no entry holds: where a part of a prefix is, the prefix stands as the halves around that part. */
function withoutRefused(one: Decided, within: readonly Decided[]): Decided[] {
  const { traffic, decision } = one;
  const inside = (part: TrafficPrefix): readonly Decided[] =>
    within.filter((other) => other.traffic.length > part.length && holds(part, other.traffic));
  if (decision.effect === 'refuse') return outermost(within).flatMap(([part, own]) => withoutRefused(part, own));
  if (!within.some((part) => part.decision.effect === 'refuse')) return [one, ...within];
  const length = traffic.length + 1;
  return [0, 1].flatMap((bit) => {
    const half = prefixOf(wordOf(traffic) | (bit << (LENGTH - length)), length);
    const own = within.find((part) => keyOf(part.traffic) === keyOf(half));
    return withoutRefused(own ?? { traffic: half, decision }, inside(half));
  });
}

/** The prefixes that lie in none of the others, each with those that lie in it. */
function outermost(all: readonly Decided[]): (readonly [Decided, readonly Decided[]])[] {
  const found = new Map<number, readonly [Decided, Decided[]]>();
  // Shorter ones come first.
  for (const one of all) {
    const outer = [...around(one.traffic)].findLast((key) => found.has(key));
    if (outer === undefined) found.set(keyOf(one.traffic), [one, []]);
    else found.get(outer)![1].push(one);
  }
  return [...found.values()];
}

const refusalsOf = (tables: ReadonlyMap<number, readonly Decided[]>): ReadonlyMap<number, readonly Refusal[]> =>
  new Map(
    [...tables].map(([identity, table]) => [
      identity,
      table.flatMap(({ traffic, decision }) => (decision.effect === 'refuse' ? [{ traffic, by: decision.by }] : [])),
    ]),
  );
