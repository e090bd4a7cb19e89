/** What is read from the policies of administrators, policy.networking.k8s.io: `ClusterNetworkPolicy`, and what came before it. */
import type { FqdnSelector, Unevaluated } from './cilium.js';
import type { LabelSelector, ObjectOf, Protocol } from './objects.js';
import type { Located, Place } from './place.js';

/** v1alpha2 and v1beta1 ClusterNetworkPolicy; v1alpha1 AdminNetworkPolicy and BaselineAdminNetworkPolicy. */
export interface AdminPolicy extends ObjectOf<
  'ClusterNetworkPolicy' | 'AdminNetworkPolicy' | 'BaselineAdminNetworkPolicy'
> {
  readonly tier: 'admin' | 'baseline';
  /** From 0 to 1000, lower first. A BaselineAdminNetworkPolicy is alone in its tier. */
  readonly priority: number;
  readonly subject: NamespacedPods;
  readonly ingress: AdminRules | null;
  readonly egress: AdminRules | null;
}

export interface AdminRules {
  readonly at: Place;
  readonly rules: readonly AdminRule[];
}

export const ACTIONS = ['allow', 'deny', 'pass'] as const;

export interface AdminRule {
  readonly at: Place;
  readonly action: (typeof ACTIONS)[number];
  readonly peers: readonly AdminPeer[];
  /** null for any traffic. */
  readonly ports: readonly AdminPort[] | null;
  /** What in it is not evaluated. */
  readonly unevaluated: readonly Unevaluated[];
}

/** All pods of the namespaces, or those that `podSelector` matches there. */
export interface NamespacedPods {
  readonly at: Place;
  readonly namespaceSelector: LabelSelector;
  readonly podSelector: LabelSelector | null;
}

export type AdminPeer =
  | { readonly kind: 'pods'; readonly at: Place; readonly pods: NamespacedPods }
  | { readonly kind: 'nodes'; readonly at: Place; readonly selector: LabelSelector }
  | { readonly kind: 'network'; readonly at: Place; readonly cidr: Located<string> }
  | { readonly kind: 'domainName'; readonly at: Place; readonly fqdn: FqdnSelector };

export interface AdminPort {
  readonly at: Place;
  /** null for any that has ports, as where the port is a name alone. */
  readonly protocol: Protocol | null;
  /** A number, or the name of a container port; null for every port. */
  readonly port: number | string | null;
  readonly endPort: number | null;
}
