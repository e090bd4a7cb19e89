/** Policies that the network plug-in does not enforce: whether they hold all the same, and how that is said. */
import { kindName, type PolicySource } from '../manifests/objects.js';
import { lineOf } from '../manifests/place.js';
import { enforces, isAnyEnforced, languageOf } from '../policy/enforced.js';
import { DIRECTIONS, type Policy } from '../policy/rules.js';
import { selects } from '../policy/selectors.js';
import { identityOf, type State } from '../state.js';
import { named } from '../words.js';
import { policyAt } from './decide.js';
import type { Outcome } from './probe.js';

/** Why a policy has no effect by itself; null where it has, and where no plug-in was chosen and the manifests show one. */
export function unenforced({ settings, cluster }: State, source: PolicySource): string | null {
  const { cni, unenforcedPolicies } = settings;
  const language = languageOf(source);
  if (enforces(cni, language)) return null;
  if (language === 'Kubernetes') {
    if (isAnyEnforced(cluster, settings) || unenforcedPolicies === 'hold') return null;
    return `${named(cni)} enforces no policies, and no manifest shows who else does`;
  }
  const isDefault = cni === 'cilium-vxlan' && !cluster.policies.some((other) => languageOf(other) === 'Cilium');
  return isDefault
    ? null
    : `${named(cni)} enforces no policies of ${language}. Verdicts take it that ${language} is there too`;
}

/** What verdicts take for granted of who enforces the policies that are about either end. */
export function enforcementAssumed(state: State, outcomes: readonly Outcome[]): string[] {
  const { settings, cluster } = state;
  const { cni, unenforcedPolicies } = settings;
  const applied = outcomes.flatMap((outcome) =>
    DIRECTIONS.flatMap((direction) => policyAt(state, outcome, direction)?.applied ?? []),
  );
  const languages = new Set(applied.map(({ source }) => languageOf(source)));
  const others = [...languages].filter((language) => language !== 'Kubernetes' && !enforces(cni, language)).sort();
  const lines = others.map((language) => `cni ${cni}: ${language} is there too, and enforces policies`);
  if (isAnyEnforced(cluster, settings)) return lines;
  if (unenforcedPolicies !== 'void')
    return applied.length > 0 ? [`cni ${cni} enforces no policies: another program does as Cilium does`] : [];
  return withoutEffect(state, outcomes);
}

/** Which policies would have a say, did anybody enforce them. */
function withoutEffect(state: State, outcomes: readonly Outcome[]): string[] {
  const ends = outcomes.flatMap(({ probe: { sender }, receiver }) => [
    ...(sender.kind === 'pod' ? [sender.pod] : []),
    ...(receiver ? [receiver] : []),
  ]);
  const about = (policy: Policy): boolean =>
    [...new Set(ends)].some((pod) => {
      const identity = identityOf(state, pod);
      return identity !== null && selects(policy.subject, identity);
    });
  return state.policies.all.filter(about).map(({ source }) => {
    return `${lineOf(source.metadata.name.at)}: ${kindName(source)} ${source.metadata.name.value} has no effect: cni ${state.settings.cni} enforces no policies`;
  });
}
