/** Policies that the network plug-in does not enforce: verdicts take it that another program does, and say so. */
import { enforces } from '../loader/modes.js';
import { kindName, type PolicySource } from '../manifests/objects.js';
import { languageOf } from '../policy/tiers.js';
import { DEFAULT_SETTINGS } from '../settings.js';
import type { State } from '../state.js';
import { named } from '../words.js';

/** Why a policy has no effect by itself; null where it has, and where no plug-in was chosen and the manifests show one. */
export function unenforced({ settings: { cni }, cluster }: State, source: PolicySource): string | null {
  const language = languageOf(source);
  if (enforces(cni, language)) return null;
  const shown = cni === DEFAULT_SETTINGS.cni && !cluster.policies.some((other) => languageOf(other) === 'Cilium');
  if (shown) return null;
  return enforces(cni, 'Kubernetes')
    ? `${named(cni)} enforces no ${kindName(source)} of ${language}`
    : `${named(cni)} enforces none`;
}

/** What a verdict takes for granted where policies of a language decide that the plug-in does not know. */
export function beside({ settings: { cni } }: State, sources: readonly PolicySource[]): string[] {
  if (!enforces(cni, 'Kubernetes')) return [];
  const languages = new Set(sources.map(languageOf).filter((language) => !enforces(cni, language)));
  return [...languages].sort().map((language) => `cni ${cni}: ${language} is there too and enforces its own policies`);
}
