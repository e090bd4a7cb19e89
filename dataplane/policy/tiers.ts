/** The order in which policies are asked: tier by tier, and in each the policies by their order. */
import { compare } from '../hash.js';
import { languageOf } from './enforced.js';
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
export interface Stack {
  readonly levels: readonly Level[];
  /** Whether pods are reached from their own node whatever rules say, as in Calico: there such packets pass none. */
  readonly passesHost: boolean;
}

/** Whether policies are asked in an order, and not all at once. */
export const areOrdered = (policies: readonly Policy[]): boolean => policies.some(({ standing }) => standing);

/** The order that Calico gives NetworkPolicies. `libcalico-go/lib/backend/k8s/conversion`. */
const NETWORK_POLICY_ORDER = 1000;

const ofCalico = ({ source }: Policy): boolean => languageOf(source) === 'Calico';
const ofCilium = ({ source }: Policy): boolean => languageOf(source) === 'Cilium';

/**
 * The policies as the plug-ins ask them whose languages they are of: Cilium, unless there is one of Calico's; where both have policies,
 * either asks its own, and those of Kubernetes.
 */
export function stacksOf(policies: readonly Policy[]): readonly Stack[] {
  const calico = {
    levels: levelsOf(
      policies.filter((policy) => !ofCilium(policy)),
      NETWORK_POLICY_ORDER,
    ),
    passesHost: true,
  };
  const cilium = {
    levels: levelsOf(
      policies.filter((policy) => !ofCalico(policy)),
      0,
    ),
    passesHost: false,
  };
  if (!policies.some(ofCalico)) return [cilium];
  return policies.some(ofCilium) ? [cilium, calico] : [calico];
}

/** The levels of these policies, in the order of their tiers; `unordered` is the order of those that have none. */
function levelsOf(policies: readonly Policy[], unordered: number): Level[] {
  const tiers = new Map<string, { tier: Tier; policies: Policy[] }>();
  for (const policy of policies) {
    const tier = policy.standing?.tier ?? TIERS.network;
    const found = tiers.get(tier.name);
    if (found) found.policies.push(policy);
    else tiers.set(tier.name, { tier, policies: [policy] });
  }
  return [...tiers.values()]
    .sort(({ tier: a }, { tier: b }) => ascending(a.order, b.order) || compare(a.name, b.name))
    .map(({ policies }) => ({ policies, ranks: ranksOf(policies, unordered) }));
}

/** Orders may be infinite. */
const ascending = (a: number, b: number): number => (a === b ? 0 : a - b);

/** Policies of one order are asked at once, unless they go by their names, which those without an order have none of. */
function ranksOf(policies: readonly Policy[], unordered: number): Rank[] {
  const shared = areOrdered(policies) && policies.some(({ standing }) => !standing) ? unordered : null;
  const ranks = new Map<string, { order: number; name: string; policies: Policy[] }>();
  for (const policy of policies) {
    const order = policy.standing?.order ?? unordered;
    const name = order === shared ? '' : (policy.standing?.name ?? '');
    const key = `${order} ${name}`;
    const rank = ranks.get(key);
    if (rank) rank.policies.push(policy);
    else ranks.set(key, { order, name, policies: [policy] });
  }
  return [...ranks.values()]
    .sort((a, b) => ascending(a.order, b.order) || compare(a.name, b.name))
    .map(({ policies }) => ({ policies, denyFirst: !areOrdered(policies) }));
}

/** The policies of a level that refuse what none of its policies says anything of. */
export const isolatingIn = ({ policies }: Level, direction: Direction): readonly Policy[] =>
  policies.filter(({ isolates }) => isolates.includes(direction));
