/** Which address families the cluster has. Kubernetes documentation, "IPv4/IPv6 dual-stack". */
import { FAMILIES, familyOf, parseAddress, parsePrefix, type Family, type Prefix } from '../addresses.js';
import type { ManifestObject, Service } from '../manifests/objects.js';
import { DEFAULT_SETTINGS, prefixesIn, type Settings } from '../settings.js';

/** Ranges that nodes, pods and Services get addresses from, of a family for which neither the settings nor the manifests have one. */
const UNLESS_SET = {
  podCIDR: { IPv4: DEFAULT_SETTINGS.podCIDR, IPv6: 'fd00:10:244::/56' },
  serviceCIDR: { IPv4: DEFAULT_SETTINGS.serviceCIDR, IPv6: 'fd00:10:96::/112' },
} as const;

/** The range of a family that a setting names, else the one that is assumed. */
export const rangeOf = (settings: Settings, key: keyof typeof UNLESS_SET, family: Family): Prefix =>
  prefixesIn(settings[key]).find(({ address }) => familyOf(address) === family) ??
  parsePrefix(UNLESS_SET[key][family])!;

/** The families of texts that are addresses or prefixes. */
const inTexts = (texts: readonly { readonly value: string }[]): Family[] =>
  texts.flatMap(({ value }) => {
    const address = parseAddress(value) ?? parsePrefix(value)?.address;
    return address === undefined ? [] : familyOf(address);
  });

const inSetting = (settings: Settings, key: keyof typeof UNLESS_SET): Family[] =>
  settings[key] === DEFAULT_SETTINGS[key] ? [] : prefixesIn(settings[key]).map(({ address }) => familyOf(address));

const ofService = ({ clusterIPs, ipFamilies, ipFamilyPolicy }: Service): Family[] => [
  ...inTexts(clusterIPs),
  ...ipFamilies,
  ...(ipFamilyPolicy === 'RequireDualStack' || ipFamilyPolicy === 'PreferDualStack' ? FAMILIES : []),
];

/** The families that some objects show, each once, in their order. */
export interface ShownFamilies {
  /** By the podCIDRs of nodes. */
  readonly ranges: readonly Family[];
  /** By the addresses of pods that have several. */
  readonly several: readonly Family[];
  /** By any address of a node or a pod. */
  readonly hosts: readonly Family[];
  readonly services: readonly Family[];
}

export function familiesShown(objects: readonly ManifestObject[]): ShownFamilies {
  const [ranges, several, hosts, services] = [0, 1, 2, 3].map(() => new Set<Family>()) as [
    Set<Family>,
    Set<Family>,
    Set<Family>,
    Set<Family>,
  ];
  const add = (to: Set<Family>, families: readonly Family[]): void => families.forEach((family) => to.add(family));
  for (const object of objects) {
    if (object.kind === 'Node') {
      add(ranges, inTexts(object.podCIDRs));
      add(hosts, inTexts(object.internalIPs));
    } else if (object.kind === 'Pod') {
      const families = inTexts(object.podIPs);
      add(hosts, families);
      if (object.podIPs.length > 1) add(several, families);
    } else if (object.kind === 'Service') add(services, ofService(object));
  }
  return { ranges: [...ranges], several: [...several], hosts: [...hosts], services: [...services] };
}

/**
 * The families that something shows, IPv4 where nothing does; the primary one first, which is the first of:
 * 1. the setting `podCIDR`, where it is set
 * 2. the podCIDRs of nodes
 * 3. the addresses of a pod that has two
 * 4. IPv4, where any node or pod has it
 * A Service can only show that there is another family: it cannot do without the pods'.
 */
export function familiesOf(shown: readonly ShownFamilies[], settings: Settings): Family[] {
  const given = settings.nodes.flatMap(({ address, addresses = [] }) => [address, ...addresses]);
  const ofHosts = new Set([...shown.flatMap(({ hosts }) => hosts), ...inTexts(given.map((value) => ({ value })))]);
  const hosts = [
    ...inSetting(settings, 'podCIDR'),
    ...shown.flatMap(({ ranges }) => ranges),
    ...shown.flatMap(({ several }) => several),
    ...FAMILIES.filter((family) => ofHosts.has(family)),
  ];
  const families = hosts.length > 0 ? hosts : (['IPv4'] as const);
  return [
    ...new Set([...families, ...inSetting(settings, 'serviceCIDR'), ...shown.flatMap(({ services }) => services)]),
  ];
}
