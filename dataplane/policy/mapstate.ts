/** The policymap of one policy: what its rules put there, and which of them win. Cilium `pkg/policy/mapstate.go`. */
import { AuthType } from '../../assembly/abi.js';
import type { AuthMode, L7Rules } from '../manifests/cilium.js';
import type { RuleOrigin, TrafficPrefix } from './rules.js';

/** What a rule says of the traffic of one entry: no more than the entry, or what the proxy lets of it, and who must have authenticated. */
export interface Grant {
  readonly origin: RuleOrigin;
  readonly l7: L7Rules | null;
  readonly authentication: AuthMode | null;
  /** Whether a rule of the same order says otherwise, so that it is not defined which of them decides. */
  readonly tied?: true;
}

/** One entry of the policymap, and the rules that put it there; none for what holds without any policy. */
export interface PolicymapEntry extends TrafficPrefix {
  /** The peer; 0 for any. */
  readonly identity: number;
  readonly egress: boolean;
  readonly deny: boolean;
  /** 0 for no proxy. */
  readonly proxyPort: number;
  readonly proxyPortPriority: number;
  /** Bits of `AuthType`. */
  readonly authType: number;
  readonly grants: readonly Grant[];
}

export const EVERYTHING: TrafficPrefix = { protocol: 0, port: 0, length: 0 };

/** Bits of the protocol: no prefix ends within. */
const PROTOCOL_LENGTH = 8;

interface Redirect {
  readonly proxyPort: number;
  readonly proxyPortPriority: number;
}

const NO_REDIRECT: Redirect = { proxyPort: 0, proxyPortPriority: 0 };

/** Where the proxies listen, from Cilium's range for them; HTTP goes before DNS. `pkg/policy/l4.go`, listener priorities 101 and 121. */
const REDIRECTS: Readonly<Record<L7Rules['kind'], Redirect>> = {
  http: { proxyPort: 10000, proxyPortPriority: 127 - 101 },
  dns: { proxyPort: 10001, proxyPortPriority: 127 - 121 },
};

interface Held extends TrafficPrefix {
  readonly identity: number;
  readonly egress: boolean;
  allows: readonly Grant[];
  denies: readonly Grant[];
  denied: boolean;
}

const NONE: readonly Grant[] = [];

export class MapState {
  /** Of each identity, by direction and traffic. */
  private readonly held = new Map<number, Map<number, Held>>();
  /** Whether anything denies, leads to a proxy or asks for authentication: only then does an entry have a say in others. */
  private overlaps = false;

  /** `grants`: what a rule says, which its entries share; nothing for what holds without any rule. */
  add(identity: number, egress: boolean, traffic: TrafficPrefix, deny: boolean, grants: readonly Grant[]): void {
    let ofIdentity = this.held.get(identity);
    if (!ofIdentity) this.held.set(identity, (ofIdentity = new Map<number, Held>()));
    const key = keyOf(egress, traffic);
    let held = ofIdentity.get(key);
    if (!held) {
      const { protocol, port, length } = traffic;
      held = { identity, egress, protocol, port, length, allows: NONE, denies: NONE, denied: false };
      ofIdentity.set(key, held);
    }
    held.denied ||= deny;
    this.overlaps ||= deny || grants.some(({ l7, authentication }) => l7 !== null || authentication !== null);
    if (deny) held.denies = both(held.denies, grants);
    else held.allows = both(held.allows, grants);
  }

  /**
   * The entries as the datapath must find them. It takes the longest prefix of an identity and the longest of any, and of the two
   * one that denies, so here a longer one of the same identity must say nothing weaker than what it lies within:
   * 1. an entry that denies keeps no other: not what lets the same, and not what lets a part of it
   * 2. a part of what goes to a proxy goes there as well; of two proxies, to that with the higher priority
   * 3. a part of what asks for authentication asks for it as well, unless it says itself; of two ways, for the stricter
   */
  list(): PolicymapEntry[] {
    const entries: PolicymapEntry[] = [];
    for (const ofIdentity of this.held.values())
      for (const held of ofIdentity.values()) {
        if (!this.overlaps) entries.push(entryOf(held, NO_REDIRECT, 0));
        else {
          const around = held.denied ? [] : aroundOf(held, ofIdentity);
          if (!around.some(({ denied }) => denied))
            entries.push(
              entryOf(held, redirectOf([held, ...around].flatMap(({ allows }) => allows)), authTypeOf(held, around)),
            );
        }
      }
    return entries;
  }
}

/** What two rules say, each once. */
function both(grants: readonly Grant[], others: readonly Grant[]): readonly Grant[] {
  if (grants.length === 0) return others;
  const fresh = others.filter((other) => !grants.some(({ origin, l7 }) => origin === other.origin && l7 === other.l7));
  return fresh.length === 0 ? grants : [...grants, ...fresh];
}

/** The entries of the same identity that hold all of this one's traffic. */
function aroundOf({ egress, protocol, port, length }: Held, ofIdentity: ReadonlyMap<number, Held>): Held[] {
  const found: Held[] = [];
  for (let shorter = length - 1; shorter >= 0; shorter = shorter === PROTOCOL_LENGTH ? 0 : shorter - 1) {
    const traffic = {
      protocol: shorter >= PROTOCOL_LENGTH ? protocol : 0,
      port: shorter > PROTOCOL_LENGTH ? port & (0xffff << (24 - shorter)) & 0xffff : 0,
      length: shorter,
    };
    const other = ofIdentity.get(keyOf(egress, traffic));
    if (other) found.push(other);
    if (shorter === 0) break;
  }
  return found;
}

/** In one number: 8 bits of the protocol, 16 of the port, 5 of the length. */
const keyOf = (egress: boolean, { protocol, port, length }: TrafficPrefix): number =>
  (egress ? 1 << 29 : 0) | (protocol << 21) | (port << 5) | length;

const entryOf = (
  { identity, egress, protocol, port, length, denied, allows, denies }: Held,
  { proxyPort, proxyPortPriority }: Redirect,
  authType: number,
): PolicymapEntry => ({
  identity,
  egress,
  protocol,
  port,
  length,
  deny: denied,
  proxyPort: denied ? 0 : proxyPort,
  proxyPortPriority: denied ? 0 : proxyPortPriority,
  authType: denied ? 0 : authType,
  grants: denied ? denies : allows,
});

/** To which proxy rules lead: that with the highest priority. */
export function redirectOf(grants: readonly Grant[]): Redirect {
  let best = NO_REDIRECT;
  for (const { l7 } of grants) {
    const redirect = l7 ? REDIRECTS[l7.kind] : NO_REDIRECT;
    if (redirect.proxyPortPriority > best.proxyPortPriority) best = redirect;
  }
  return best;
}

/** Cilium `pkg/policy/types`, `AuthType`; from 0 on stricter and stricter. */
export const AUTH_TYPES: Readonly<Record<AuthMode, number>> = { disabled: 0, required: 1, 'test-always-fail': 2 };

function authTypeOf(held: Held, around: readonly Held[]): number {
  const asked = ({ allows }: Held): number[] =>
    allows.flatMap(({ authentication }) => (authentication === null ? [] : [AUTH_TYPES[authentication]]));
  const own = asked(held);
  return own.length > 0 ? AuthType.EXPLICIT | Math.max(...own) : Math.max(0, ...around.flatMap(asked));
}
