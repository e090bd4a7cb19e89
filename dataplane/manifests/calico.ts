/** What is read from the manifests of Calico: `NetworkPolicy`, `GlobalNetworkPolicy`, `Tier`, `NetworkSet`, `GlobalNetworkSet`. */
import type { Unevaluated } from './cilium.js';
import type { ObjectOf } from './objects.js';
import type { Located, Place } from './place.js';
import type { Expression } from './selector-expressions.js';

/** projectcalico.org/v3, and crd.projectcalico.org/v1, in which Calico keeps them. */
export interface CalicoPolicy extends ObjectOf<'CalicoPolicy'> {
  readonly actualKind: 'NetworkPolicy' | 'GlobalNetworkPolicy';
  /** The name of its tier. */
  readonly tier: Located<string>;
  /** Infinity without one: after all others. */
  readonly order: number;
  /** All of them must hold. */
  readonly selectors: CalicoSelectors;
  /** Whether it is about host endpoints alone: `doNotTrack` and `preDNAT`. */
  readonly aboutHosts: boolean;
  readonly types: readonly ('Ingress' | 'Egress')[];
  readonly ingress: CalicoRules | null;
  readonly egress: CalicoRules | null;
}

export interface CalicoRules {
  readonly at: Place;
  readonly rules: readonly CalicoRule[];
}

/** An expression, and where it stands. */
export interface CalicoSelector {
  readonly at: Place;
  readonly expression: Expression;
}

/** By its labels, those of its namespace, and of its service account; null for those that are not given. */
export interface CalicoSelectors {
  readonly own: CalicoSelector | null;
  readonly namespace: CalicoSelector | null;
  readonly serviceAccount: CalicoSelector | null;
}

export interface CalicoRule {
  readonly at: Place;
  readonly action: 'Allow' | 'Deny' | 'Log' | 'Pass';
  readonly ipVersion: Located<number> | null;
  /** IP protocol numbers; null for any. */
  readonly protocol: number | null;
  readonly notProtocol: number | null;
  /** Types of ICMP messages; null for any, and for none that are left out. */
  readonly icmpType: number | null;
  readonly notIcmpType: number | null;
  readonly source: CalicoEntity;
  readonly destination: CalicoEntity;
  readonly unevaluated: readonly Unevaluated[];
}

/** v3 EntityRule. All that it names must hold. */
export interface CalicoEntity {
  readonly at: Place;
  readonly selectors: CalicoSelectors;
  readonly serviceAccounts: readonly string[];
  readonly notSelector: CalicoSelector | null;
  readonly nets: readonly Located<string>[];
  readonly notNets: readonly Located<string>[];
  readonly services: { readonly at: Place; readonly name: string; readonly namespace: string | null } | null;
  readonly ports: readonly CalicoPort[];
  readonly notPorts: readonly CalicoPort[];
}

/** A number, a range, or the name of a container port. */
export type CalicoPort = Located<{ readonly first: number; readonly last: number } | string>;

export interface CalicoTier extends ObjectOf<'Tier'> {
  /** Infinity without one: after all others. */
  readonly order: number;
  readonly defaultAction: 'Deny' | 'Pass';
}

/** Addresses that selectors match by labels: in a namespace, or in none. */
export interface CalicoNetworkSet extends ObjectOf<'NetworkSet' | 'GlobalNetworkSet'> {
  readonly nets: readonly Located<string>[];
}
