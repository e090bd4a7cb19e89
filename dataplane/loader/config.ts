/** What Cilium's agent is configured with: its defaults, and what the settings say. */
import { ConfigFlag, MapId } from '../../assembly/abi.js';
import { IpMasq, RuntimeConfig } from '../../pkg/structs.js';
import { maskOf, parsePrefix } from '../addresses.js';
import { hasSocketLB, prefixesIn, type Settings } from '../settings.js';
import { encode } from '../wasm.js';
import { word, type MapEntry } from './entry.js';
import { mapsOf } from './families.js';
import { modesOf } from './modes.js';

/** `annotated`: some Service says how its packets are forwarded. */
export function configEntry(settings: Settings, annotated: boolean): MapEntry {
  const { flags, ...modes } = modesOf(settings, annotated);
  const native = prefixesIn(settings.nativeRoutingCIDR);
  const [strict] = prefixesIn(settings['encryption.strictCIDR']);
  const [native4] = native.flatMap((prefix) => (typeof prefix.address === 'number' ? [prefix] : []));
  const [native6] = native.flatMap((prefix) => (typeof prefix.address === 'bigint' ? [prefix] : []));
  return {
    map: MapId.RUNTIME_CONFIG,
    key: word(0),
    value: encode(RuntimeConfig, {
      ...modes,
      flags:
        flags |
        ConfigFlag.TRACK_FRAGMENTS |
        ConfigFlag.REJECT_NO_BACKEND |
        ConfigFlag.ALLOW_ICMP_FRAG_NEEDED |
        (hasSocketLB(settings) ? ConfigFlag.SOCKET_LB : 0) |
        (settings.socketLB === 'hostNamespaceOnly' ? ConfigFlag.SOCKET_LB_HOST_ONLY : 0) |
        (settings.policyAuditMode ? ConfigFlag.POLICY_AUDIT : 0) |
        (settings.hostFirewall ? ConfigFlag.HOST_FIREWALL : 0) |
        (settings.masquerade ? ConfigFlag.MASQUERADE : 0) |
        (settings.bandwidthManager ? ConfigFlag.BANDWIDTH_MANAGER : 0) |
        (strict ? ConfigFlag.ENCRYPTION_STRICT : 0) |
        (native4 ? ConfigFlag.NATIVE_CIDR4 : 0) |
        (native6 ? ConfigFlag.NATIVE_CIDR6 : 0) |
        (settings['ipMasqAgent.nonMasqueradeCIDRs'].length > 0 ? ConfigFlag.IP_MASQ_AGENT : 0),
      nativeCidr4: Number(native4?.address ?? 0),
      nativeMask4: native4 ? maskOf(native4.length, 2 ** 32 - 1) : 0,
      nativeCidr6: BigInt(native6?.address ?? 0),
      nativeMask6: native6 ? BigInt(maskOf(native6.length, (1n << 128n) - 1n)) : 0n,
      strictCidr4: Number(strict?.address ?? 0),
      strictMask4: strict ? maskOf(strict.length, 2 ** 32 - 1) : 0,
    }),
    origin: [],
  };
}

/** Where pods keep their addresses too while ip-masq-agent has any prefix: link-local ones. Cilium `pkg/ipmasq`, masqLinkLocal. */
const LINK_LOCAL = ['169.254.0.0/16', 'fe80::/10'];

/** ip-masq-agent's prefixes. */
export function ipMasqEntries(settings: Settings): MapEntry[] {
  const listed = settings['ipMasqAgent.nonMasqueradeCIDRs'];
  const texts = listed.length === 0 ? [] : [...listed, ...LINK_LOCAL];
  return texts
    .flatMap((text) => parsePrefix(text) ?? [])
    .map(({ address, length: prefixLength }) => ({
      map: mapsOf(address).map(MapId.IPMASQ4),
      key: encode(mapsOf(address).IpMasqKey, { address, prefixLength }),
      value: encode(IpMasq, { present: 1 }),
      origin: [],
    }));
}
