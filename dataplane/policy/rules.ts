/** What every policy language compiles to: rules that pick peers by identity and traffic by port. */
import type { Protocol } from '../manifests/objects.js';
import type { Place } from '../manifests/place.js';

export type Direction = 'ingress' | 'egress';

/** Which rule of which policy, and where it stands. */
export interface RuleOrigin {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly direction: Direction;
  /** Number of the rule in its list. */
  readonly index: number;
  /** The rule; and in it the peers and ports that matter, most telling first. */
  readonly at: Place;
}

/** Ports of one protocol, `first` to `last`. */
export interface PortRange {
  readonly protocol: Protocol;
  readonly first: number;
  readonly last: number;
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
