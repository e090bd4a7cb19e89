/** What is read from the manifests of Cilium: `CiliumNetworkPolicy`, `CiliumClusterwideNetworkPolicy`, `CiliumCIDRGroup`. */
import type { LabelSelector, ObjectOf, Protocol } from './objects.js';
import type { Located, Place } from './place.js';

/** cilium.io/v2. What is clusterwide has no namespace. */
export interface CiliumPolicy extends ObjectOf<'CiliumNetworkPolicy' | 'CiliumClusterwideNetworkPolicy'> {
  /** `spec`, then `specs`. */
  readonly specs: readonly CiliumSpec[];
}

/** cilium.io/v2 and v2alpha1. */
export interface CiliumCIDRGroup extends ObjectOf<'CiliumCIDRGroup'> {
  readonly externalCIDRs: readonly Located<string>[];
}

/** Cilium `api.Rule`. */
export interface CiliumSpec {
  readonly at: Place;
  /** Where it stands in its policy, for the names of its rules: nothing for `spec`, else `specs[1].`. */
  readonly path: string;
  /** `endpointSelector`, or `nodeSelector`, with which it is about nodes. */
  readonly selector: LabelSelector;
  readonly aboutNodes: boolean;
  readonly sections: readonly CiliumSection[];
  /** Whether what the rules do not let is refused; null where the manifest leaves it open. */
  readonly enableDefaultDeny: { readonly ingress: boolean | null; readonly egress: boolean | null };
}

export const SECTIONS = ['ingress', 'ingressDeny', 'egress', 'egressDeny'] as const;

/** One of the four lists of rules. */
export interface CiliumSection {
  readonly name: (typeof SECTIONS)[number];
  readonly at: Place;
  readonly rules: readonly CiliumRule[];
}

/** Cilium `api.IngressRule`, `api.EgressRule` and their deny counterparts. */
export interface CiliumRule {
  readonly at: Place;
  /** Everyone named; null where nobody is, which is anyone for a rule with ports, and nobody for one without. */
  readonly peers: readonly CiliumPeer[] | null;
  /** `toPorts` and `icmps`; null for any traffic. */
  readonly ports: readonly CiliumPort[] | null;
  /** How both ends must have authenticated; null where that is left open. */
  readonly authentication: AuthMode | null;
  /** What in it is not evaluated. */
  readonly unevaluated: readonly Unevaluated[];
}

/** Cilium `api.AuthenticationMode`. */
export const AUTH_MODES = ['disabled', 'required', 'test-always-fail'] as const;
export type AuthMode = (typeof AUTH_MODES)[number];

/** Something that decides about traffic, where it stands, and what it is. */
export interface Unevaluated {
  readonly at: Place;
  readonly what: string;
}

export const ENTITIES = [
  'all',
  'world',
  'world-ipv4',
  'world-ipv6',
  'cluster',
  'host',
  'remote-node',
  'kube-apiserver',
  'ingress',
  'init',
  'health',
  'unmanaged',
  'none',
] as const;
export type Entity = (typeof ENTITIES)[number];

export type CiliumPeer =
  | { readonly kind: 'endpoints'; readonly at: Place; readonly selector: LabelSelector }
  | { readonly kind: 'entity'; readonly at: Place; readonly entity: Entity }
  | {
      readonly kind: 'cidr';
      readonly at: Place;
      readonly cidr: Located<string>;
      readonly except: readonly Located<string>[];
    }
  | {
      readonly kind: 'cidrGroup';
      readonly at: Place;
      /** The name of one group, or the selector of many. */
      readonly group: Located<string> | LabelSelector;
      readonly except: readonly Located<string>[];
    }
  | {
      readonly kind: 'service';
      readonly at: Place;
      /** The name of one Service, or the selector of many. */
      readonly service: Located<string> | LabelSelector;
      /** null for the policy's own; for many, for any. */
      readonly namespace: string | null;
    }
  | { readonly kind: 'fqdn'; readonly at: Place; readonly fqdn: FqdnSelector };

/** Cilium `api.FQDNSelector`, and `api.PortRuleDNS`, which is the same. */
export interface FqdnSelector {
  readonly at: Place;
  readonly matchName: string | null;
  readonly matchPattern: string | null;
}

/** Cilium `api.PortProtocol`, and `api.ICMPField`, whose type stands where the port does. */
export interface CiliumPort {
  readonly at: Place;
  readonly protocol: Protocol | 'ANY' | 'ICMP' | 'ICMPV6' | 'VRRP' | 'IGMP';
  /** A number, or the name of a container port; null for every port. */
  readonly port: Located<number | string> | null;
  readonly endPort: number | null;
  readonly l7: L7Rules | null;
}

/** What the proxy lets of a connection. Cilium `api.L7Rules`. */
export type L7Rules =
  | { readonly kind: 'http'; readonly rules: readonly HttpRule[] }
  | { readonly kind: 'dns'; readonly rules: readonly FqdnSelector[] };

/** Cilium `api.PortRuleHTTP`; null for what does not matter. */
export interface HttpRule {
  readonly at: Place;
  readonly method: string | null;
  readonly path: string | null;
  readonly host: string | null;
  /** From `headers` and `headerMatches`: what must be there, with this value unless it is null. */
  readonly headers: readonly { readonly name: string; readonly value: string | null }[];
}
