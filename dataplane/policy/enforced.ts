/** Who enforces policies: the network plug-in those that it knows, and a program beside it those of its own language. */
import type { Cluster } from '../cluster/cluster.js';
import type { PolicySource } from '../manifests/objects.js';
import type { Cni, Settings } from '../settings.js';

/** Whose policies there are: every plug-in that enforces any knows those of Kubernetes. */
export type Language = 'Kubernetes' | 'Cilium' | 'Calico';

export const languageOf = (source: PolicySource): Language =>
  source.kind === 'CalicoPolicy' ? 'Calico' : 'specs' in source ? 'Cilium' : 'Kubernetes';

/** Whose engine a plug-in brings along; null for one that only connects pods. */
const engineOf = (cni: Cni): Language | null =>
  cni.startsWith('cilium') ? 'Cilium' : cni.startsWith('calico') ? 'Calico' : null;

/** Whether a plug-in enforces policies of a language by itself. */
export function enforces(cni: Cni, language: Language): boolean {
  const engine = engineOf(cni);
  return engine !== null && (language === 'Kubernetes' || language === engine);
}

/** Whether anybody enforces policies: the plug-in, or one that policies in its own language show to be there. */
export const isAnyEnforced = ({ policies }: Cluster, { cni }: Settings): boolean =>
  engineOf(cni) !== null || policies.some((source) => languageOf(source) !== 'Kubernetes');
