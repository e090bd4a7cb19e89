/** The nodes: those of the manifests, else those of the settings, else two assumed ones. */
import {
  BITS,
  familyOf,
  parseAddress,
  parsePrefix,
  plus,
  type Address,
  type Family,
  type Prefix,
} from '../addresses.js';
import { compare } from '../hash.js';
import { sameItems } from '../kept.js';
import type { Node } from '../manifests/objects.js';
import { valuesOf } from '../manifests/place.js';
import type { Settings } from '../settings.js';
import type { ClusterNode } from './cluster.js';
import { rangeOf } from './families.js';

const ASSUMED = ['worker-1', 'worker-2'];

/** Nodes without an address get one here, 10.0.0.1 and fd00:10::1 on, after the assumed nodes'. */
const NETWORK: Readonly<Record<Family, Address>> = { IPv4: 0x0a000000, IPv6: 0xfd00_0010n << 96n };

/** Prefix lengths of a node's part of the pod range: Kubernetes has a /64 of IPv6 unless the range itself is as small. */
const PART: Readonly<Record<Family, { readonly least: number; readonly most: number }>> = {
  IPv4: { least: 0, most: 30 },
  IPv6: { least: 64, most: 126 },
};

/** What is known of a node by its name. */
interface Given {
  readonly addresses: readonly Address[];
  readonly labels: ReadonlyMap<string, string>;
  readonly zone: string | null;
  readonly ranges: readonly Prefix[];
  readonly source: Node['at'] | null;
}

/**
 * Names that pods or slices give as their node are nodes too, also without a Node object. Each node's pods live in its
 * podCIDRs; without one, the pod range of the family is cut into equal parts.
 */
export function buildNodes(
  declared: readonly Node[],
  mentioned: readonly string[],
  reported: readonly Address[],
  families: readonly Family[],
  settings: Settings,
): ClusterNode[] {
  const taken = new Set(reported);
  const plain: Given = { addresses: [], labels: new Map(), zone: null, ranges: [], source: null };
  const given = new Map<string, Given>();
  for (const { metadata, podCIDRs, internalIPs, externalIPs, zone, at } of declared) {
    const ranges = podCIDRs.map((cidr) => parsePrefix(cidr.value)!);
    const addresses = [...internalIPs, ...externalIPs].flatMap((ip) => parseAddress(ip.value) ?? []);
    const labels = valuesOf(metadata.labels);
    given.set(metadata.name.value, { addresses, labels, zone, ranges, source: at });
  }
  for (const { name, address, addresses = [] } of settings.nodes) {
    const own = [address, ...addresses].flatMap((text) => parseAddress(text) ?? []);
    if (!given.has(name)) given.set(name, { ...plain, addresses: own });
  }
  if (given.size === 0) {
    ASSUMED.forEach((name, i) => {
      // An assumed node makes way for what the manifests say.
      const addresses = families.map((family) => plus(NETWORK[family], i + 1)).filter((address) => !taken.has(address));
      given.set(name, { ...plain, addresses });
    });
  }
  for (const name of mentioned) if (!given.has(name)) given.set(name, plain);

  const names = [...given.keys()].sort(compare);
  const used = new Set([...taken, ...[...given.values()].flatMap(({ addresses }) => addresses)]);
  const last = new Map<Family, Address>();
  /** The next address that nobody has. */
  const free = (family: Family): Address => {
    let next = last.get(family) ?? NETWORK[family];
    do next = plus(next, 1);
    while (used.has(next));
    last.set(family, next);
    return next;
  };
  return names.map((name, i) => {
    const { addresses, labels, zone, ranges, source } = given.get(name)!;
    const own = families.map((family) => addresses.find((address) => familyOf(address) === family) ?? free(family));
    const others = addresses.filter((address) => families.includes(familyOf(address)) && !own.includes(address));
    const podRanges = families.map(
      (family) =>
        ranges.find(({ address }) => familyOf(address) === family) ??
        partOf(rangeOf(settings, 'podCIDR', family), i, names.length),
    );
    return { index: i + 1, name, addresses: own, address: own[0]!, others, labels, zone, podRanges, source };
  });
}

/** One of `count` equal parts, as large as can be: the more addresses there are, the fewer pods' names ask for the same one. */
function partOf({ address, length: whole }: Prefix, index: number, count: number): Prefix {
  const family = familyOf(address);
  const { least, most } = PART[family];
  const length = Math.min(Math.max(whole + Math.ceil(Math.log2(Math.max(1, count))), least), most);
  return { address: plus(address, (index % 2 ** (length - whole)) * 2 ** (BITS[family] - length)), length };
}

/** Whether two nodes are the same: what else there is of them comes from the same manifest. */
export const sameNode = (a: ClusterNode, b: ClusterNode): boolean =>
  a.index === b.index &&
  a.name === b.name &&
  a.source === b.source &&
  sameItems(a.addresses, b.addresses) &&
  sameItems(a.others, b.others) &&
  a.podRanges.length === b.podRanges.length &&
  a.podRanges.every(
    ({ address, length }, i) => address === b.podRanges[i]!.address && length === b.podRanges[i]!.length,
  );
