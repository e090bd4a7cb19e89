/** The order in which policies are asked: tier by tier, and in each the policies by their order. */
import { compare } from '../hash.js';
import { TIERS, type Direction, type Policy, type Tier } from './rules.js';

/** Policies that are asked at once. */
export interface Rank {
  readonly policies: readonly Policy[];
  /** Whether one that denies goes before one that allows; else it is not defined which of them decides. */
  readonly denyFirst: boolean;
}

/** The policies of one tier that apply to the same pods. */
export interface Level {
  readonly policies: readonly Policy[];
  readonly ranks: readonly Rank[];
}

/** What one plug-in asks, tier by tier. */
export type Stack = readonly Level[];

/** Whether policies are asked in an order, and not all at once. */
export const areOrdered = (policies: readonly Policy[]): boolean => policies.some(({ standing }) => standing);

/** The levels of these policies, in the order of their tiers. */
export function levelsOf(policies: readonly Policy[]): Stack {
  const tiers = new Map<string, { tier: Tier; policies: Policy[] }>();
  for (const policy of policies) {
    const tier = policy.standing?.tier ?? TIERS.network;
    const found = tiers.get(tier.name);
    if (found) found.policies.push(policy);
    else tiers.set(tier.name, { tier, policies: [policy] });
  }
  return [...tiers.values()]
    .sort(({ tier: a }, { tier: b }) => a.order - b.order || compare(a.name, b.name))
    .map(({ policies }) => ({ policies, ranks: ranksOf(policies) }));
}

/** Policies of one order are asked at once, unless they go by their names. */
function ranksOf(policies: readonly Policy[]): Rank[] {
  const ranks = new Map<string, { order: number; name: string; policies: Policy[] }>();
  for (const policy of policies) {
    const order = policy.standing?.order ?? 0;
    const name = policy.standing?.name ?? '';
    const key = `${order} ${name}`;
    const rank = ranks.get(key);
    if (rank) rank.policies.push(policy);
    else ranks.set(key, { order, name, policies: [policy] });
  }
  return [...ranks.values()]
    .sort((a, b) => (a.order === b.order ? compare(a.name, b.name) : a.order - b.order))
    .map(({ policies }) => ({ policies, denyFirst: !areOrdered(policies) }));
}

/** The policies of a level that refuse what none of its policies says anything of. */
export const isolatingIn = ({ policies }: Level, direction: Direction): readonly Policy[] =>
  policies.filter(({ isolates }) => isolates.includes(direction));
