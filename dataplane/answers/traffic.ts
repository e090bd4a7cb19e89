/** What a question asks for, in the terms of each address family. */
import { IpProto } from '../../assembly/abi.js';
import { FAMILIES, type Family } from '../addresses.js';
import type { Protocol } from '../manifests/objects.js';
import { PROTOCOL_NUMBERS } from '../policy/networkpolicy.js';

/** An IP protocol number and a port, or the type of an ICMP message; no entry for a family that has no such traffic. */
export type Traffic = Readonly<Partial<Record<Family, { readonly protocol: number; readonly port: number }>>>;

/** Echo request. RFC 792; RFC 4443, section 4.1. */
const ECHO = { ICMP: 8, ICMPV6: 128 } as const;

/** The ICMPv6 messages that stand for those of ICMP. RFC 7915, section 4.2. */
const COUNTERPARTS: ReadonlyMap<number, number> = new Map([
  [0, 129],
  [3, 1],
  [8, 128],
  [11, 3],
  [12, 4],
]);

export const hasPorts = (protocol: string): protocol is Protocol => protocol in PROTOCOL_NUMBERS;

export const isCarried = (protocol: string): boolean =>
  hasPorts(protocol) || protocol === 'ICMP' || protocol === 'ICMPV6';

/** Protocols over IP that policies have names for, and that the dataplane does not carry. Cilium `pkg/u8proto`; Calico's `protocol`. */
const OTHERS = ['IGMP', 'IPIP', 'GRE', 'ESP', 'AH', 'VRRP', 'UDPLITE'];

/** Whether there is a protocol over IP of that name, in capitals. */
export const isProtocol = (name: string): boolean => isCarried(name) || OTHERS.includes(name);

/** `protocol` is one that is known, in capitals. ICMP is asked of IPv6 too, where it has a message of that meaning. */
export function trafficOf(protocol: string, port: number, icmpType: number | null): Traffic {
  if (hasPorts(protocol)) {
    const traffic = { protocol: PROTOCOL_NUMBERS[protocol], port };
    return Object.fromEntries(FAMILIES.map((family) => [family, traffic]));
  }
  if (protocol === 'ICMPV6') return { IPv6: { protocol: IpProto.ICMPV6, port: icmpType ?? ECHO.ICMPV6 } };
  const type = icmpType ?? ECHO.ICMP;
  const counterpart = COUNTERPARTS.get(type);
  return {
    IPv4: { protocol: IpProto.ICMP, port: type },
    ...(counterpart === undefined ? {} : { IPv6: { protocol: IpProto.ICMPV6, port: counterpart } }),
  };
}
