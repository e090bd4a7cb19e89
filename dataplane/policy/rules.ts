/** What every policy language compiles to: policies that isolate, and rules that pick peers by identity and traffic by port. */
import type { Prefix } from '../addresses.js';
import type { AuthMode, FqdnSelector, L7Rules, Unevaluated } from '../manifests/cilium.js';
import type { PolicySource } from '../manifests/objects.js';
import type { Place } from '../manifests/place.js';
import type { EndpointSelector } from './selectors.js';

export type Direction = 'ingress' | 'egress';
export const DIRECTIONS = ['ingress', 'egress'] as const;

/** Which rule of which policy, and where it stands. */
export interface RuleOrigin {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly direction: Direction;
  /** As answers name it: `ingress[0]`, `specs[1].egressDeny[2]`. */
  readonly rule: string;
  /** The rule; and in it the peers and ports that matter, most telling first. */
  readonly at: Place;
}

/**
 * Policies of which the first that has something to say decides, or passes on to the next tier. What the last tier leaves open is
 * let. Tiers come in their order, and those of one order by name.
 */
export interface Tier {
  readonly name: string;
  readonly order: number;
}

/** The tiers of Kubernetes, with the orders that Calico gives them. `pkg/apis/projectcalico/v3/tier.go`. */
export const TIERS = {
  admin: { name: 'kube-admin', order: 1_000 },
  network: { name: 'default', order: 1_000_000 },
  baseline: { name: 'kube-baseline', order: 10_000_000 },
} as const satisfies Record<string, Tier>;

/** The place of a policy whose rules hold in their order: of those that match, the first. */
export interface Standing {
  readonly tier: Tier;
  /** Within the tier, lower first; of policies of one order it is not defined which is first, unless their names say. */
  readonly order: number;
  readonly name: string | null;
}

/** A policy of any language, or one of the parts of a policy that has several. */
export interface Policy {
  readonly source: PolicySource;
  /** Tells it from all others. */
  readonly key: string;
  /** Where it stands among tiers; without, beside all others of the tier of NetworkPolicies. */
  readonly standing?: Standing;
  /** Whether it is about nodes: Cilium's host firewall. */
  readonly aboutNodes: boolean;
  /** The endpoints, or nodes, that it is about. */
  readonly subject: EndpointSelector;
  /** The directions in which what no rule lets is refused. */
  readonly isolates: readonly Direction[];
  readonly rules: readonly Rule[];
  /** What of it is not evaluated, by direction; `nodes` where that matters only when the peer is a node. */
  readonly unevaluated: readonly (Unevaluated & { readonly direction: Direction; readonly nodes?: true })[];
}

export interface Rule {
  readonly origin: RuleOrigin;
  readonly deny: boolean;
  /** Whether it leaves what it matches to the next tier, and so neither lets nor denies it. */
  readonly pass?: true;
  /** Which of the pods that the policy is about the rule is about; without, all of them. */
  readonly own?: Peer;
  /** null for anyone. */
  readonly peers: readonly Peer[] | null;
  /** null for any traffic. */
  readonly ports: readonly PortMatch[] | null;
  /** How both ends must have authenticated; null where the rule leaves that to others. */
  readonly authentication: AuthMode | null;
}

export type Peer =
  | { readonly kind: 'anyone'; readonly at: Place }
  | { readonly kind: 'endpoints'; readonly at: Place; readonly selector: EndpointSelector }
  | {
      readonly kind: 'prefix';
      readonly at: Place;
      readonly cidr: Prefix;
      readonly except: readonly Prefix[];
      /** Whether it may match pods: where the setting says so, or always. */
      readonly pods: boolean | 'always';
    }
  | { readonly kind: 'fqdn'; readonly at: Place; readonly fqdn: FqdnSelector }
  | {
      /** Those that one peer of each of these groups is, and that no peer of `none` is. */
      readonly kind: 'where';
      readonly at: Place;
      readonly all: readonly (readonly Peer[])[];
      readonly none: readonly Peer[];
    };

/** A peer, and those that it is put together of. */
export const partsOf = (peer: Peer): Peer[] =>
  peer.kind === 'where' ? [peer, ...[...peer.all.flat(), ...peer.none].flatMap(partsOf)] : [peer];

/** Whom a rule names: on its own side, where that is narrower than its policy's, and on the other. */
export const peersIn = ({ own, peers }: Pick<Rule, 'own' | 'peers'>): Peer[] => [
  ...(own ? [own] : []),
  ...(peers ?? []),
];

/** Ports of one protocol: a number, a range, or those of a name; and what the proxy lets of them. */
export interface PortMatch {
  /** The number or the name; the whole entry where it has neither. */
  readonly at: Place;
  /** An IP protocol number. */
  readonly protocol: number;
  readonly port: PortNumbers | string;
  readonly l7: L7Rules | null;
}

/** `first` to `last`; the types of ICMP stand where ports do. */
export interface PortNumbers {
  readonly first: number;
  readonly last: number;
}

export const EVERY_PORT: PortNumbers = { first: 0, last: 65535 };

/** Ports of one protocol. */
export interface PortRange extends PortNumbers {
  readonly protocol: number;
}

/** A prefix over protocol and port as the policymap knows it: 24 bits, the protocol's eight first. */
export interface TrafficPrefix {
  readonly protocol: number;
  readonly port: number;
  readonly length: number;
}

/** Prefixes that together cover exactly the ports of a range, as Cilium compiles `endPort`. `pkg/policy/mapstate.go`. */
export function prefixesOf(first: number, last: number): { port: number; length: number }[] {
  const prefixes: { port: number; length: number }[] = [];
  for (let port = first; port <= last;) {
    let size = port === 0 ? 65536 : port & -port;
    while (size > last - port + 1) size >>= 1;
    prefixes.push({ port, length: 24 - Math.log2(size) });
    port += size;
  }
  return prefixes;
}
