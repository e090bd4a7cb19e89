/** The nodes: those of the manifests, else those of the settings, else two assumed ones. */
import { parseAddress, parsePrefix, type Prefix } from '../addresses.js';
import { compare } from '../hash.js';
import type { Node } from '../manifests/objects.js';
import type { Settings } from '../settings.js';
import type { ClusterNode } from './cluster.js';

const ASSUMED: Settings['nodes'] = [
  { name: 'worker-1', address: '10.0.0.1' },
  { name: 'worker-2', address: '10.0.0.2' },
];

/** Nodes without an address get one here, after the assumed nodes'. */
const ASSUMED_NETWORK = 0x0a000000;

/**
 * Names that pods or slices give as their node are nodes too, also without a Node object. Each node's pods live in its
 * podCIDR; without one, the pod range is cut into equal parts.
 */
export function buildNodes(
  declared: readonly Node[],
  mentioned: Iterable<string>,
  taken: ReadonlySet<number>,
  settings: Settings,
): ClusterNode[] {
  interface Given {
    readonly address: number | null;
    readonly others: readonly number[];
    readonly zone: string | null;
    readonly range: Prefix | null;
    readonly source: Node['at'] | null;
  }
  const plain = { others: [], zone: null, range: null, source: null };
  const given = new Map<string, Given>();
  for (const node of declared) {
    const ranges = node.podCIDRs.map((cidr) => parsePrefix(cidr.value)).filter((prefix) => prefix !== null);
    const addresses = node.internalIPs.map((ip) => parseAddress(ip.value)).filter((address) => address !== null);
    const [address = null, ...others] = addresses;
    given.set(node.metadata.name.value, {
      address,
      others,
      zone: node.zone,
      range: ranges[0] ?? null,
      source: node.at,
    });
  }
  const others = settings.nodes.length > 0 ? settings.nodes : given.size === 0 ? ASSUMED : [];
  for (const { name, address, addresses } of others) {
    const own = parseAddress(address);
    // An assumed node makes way for what the manifests say.
    const free = others === ASSUMED && own !== null && taken.has(own) ? null : own;
    const more = (addresses ?? []).flatMap((text) => parseAddress(text) ?? []);
    if (!given.has(name)) given.set(name, { ...plain, address: free, others: more });
  }
  for (const name of mentioned) if (!given.has(name)) given.set(name, { ...plain, address: null });

  const names = [...given.keys()].sort(compare);
  const used = new Set([...taken, ...[...given.values()].map((node) => node.address)]);
  const pods = parsePrefix(settings.podCIDR)!;
  // Equal parts, and as large as can be: the more addresses there are, the fewer pods' names ask for the same one.
  const length = Math.min(pods.length + Math.ceil(Math.log2(Math.max(1, names.length))), 30);
  let next = ASSUMED_NETWORK;
  return names.map((name, i) => {
    const { address, others, zone, range, source } = given.get(name)!;
    let chosen = address;
    if (chosen === null) {
      do next++;
      while (used.has(next));
      chosen = next;
    }
    const part = { address: pods.address + (i % 2 ** (length - pods.length)) * 2 ** (32 - length), length };
    return { index: i + 1, name, address: chosen, others, zone, podRange: range ?? part, source };
  });
}
