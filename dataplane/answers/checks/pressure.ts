/**
 * How full the manifests would make Cilium's maps: the datapath here takes as much memory as it needs, but a cluster's own
 * Cilium refuses what goes beyond its maps' capacities. Maps that packets fill (conntrack, NAT, affinity) make room for
 * themselves, and no manifest says how full they get.
 */
import { LbScope } from '../../../assembly/abi.js';
import { familyOf, formatPrefix, parsePrefix, type Family } from '../../addresses.js';
import { allAddresses } from '../../cluster/cluster.js';
import { algorithmOf, sourceRangesOf } from '../../loader/entries.js';
import type { Frontend } from '../../loader/frontends.js';
import type { Place } from '../../manifests/place.js';
import { problem, type Problem } from '../../problems.js';
import { isKubeProxy } from '../../settings.js';
import type { State } from '../../state.js';
import { named } from '../../words.js';
import { frontendName } from '../hints.js';

/** What a map of Services holds at most, of each family, and the option that raises it. */
const LB = {
  services_v2: { capacity: 65536, option: '--bpf-lb-service-map-max' },
  backends_v3: { capacity: 65536, option: '--bpf-lb-service-backend-map-max' },
  reverse_nat: { capacity: 65536, option: '--bpf-lb-rev-nat-map-max' },
  source_range: { capacity: 65536, option: '--bpf-lb-source-range-map-max' },
  maglev: { capacity: 65536, option: '--bpf-lb-maglev-map-max' },
} as const;

/** Capacities as Cilium's agent creates its maps, and the option that raises each. Cilium docs, "eBPF Maps"; `pkg/option`, `pkg/maps`. */
const MAPS = {
  cilium_lb4_services_v2: LB.services_v2,
  cilium_lb6_services_v2: LB.services_v2,
  cilium_lb4_backends_v3: LB.backends_v3,
  cilium_lb6_backends_v3: LB.backends_v3,
  cilium_lb4_reverse_nat: LB.reverse_nat,
  cilium_lb6_reverse_nat: LB.reverse_nat,
  cilium_lb4_source_range: LB.source_range,
  cilium_lb6_source_range: LB.source_range,
  cilium_lb4_maglev: LB.maglev,
  cilium_lb6_maglev: LB.maglev,
  /** The rest hold both families. */
  cilium_lb_affinity_match: { capacity: 65536, option: '--bpf-lb-affinity-map-max' },
  /** One an endpoint. */
  cilium_policy_v2: { capacity: 16384, option: '--bpf-policy-map-max' },
  cilium_ipcache_v2: { capacity: 512000, option: null },
  /** One a node. */
  cilium_lxc: { capacity: 65535, option: null },
} as const satisfies Record<string, { readonly capacity: number; readonly option: string | null }>;

export type MapName = keyof typeof MAPS;
export type Capacities = Readonly<Record<MapName, number>>;

export const CAPACITIES = Object.fromEntries(
  Object.entries(MAPS).map(([name, { capacity }]) => [name, capacity]),
) as Capacities;

/** From here on a map counts as nearly full. Cilium's own metric cilium_bpf_map_pressure is watched for this share. */
const NEARLY_FULL = 0.9;

/** What puts entries into a map, and how many. */
interface Share {
  /** With its kind: Service `shop/cart`. */
  readonly what: string;
  /** null for what no manifest names. */
  readonly at: Place | null;
  readonly entries: number;
}

interface Filling {
  readonly map: MapName;
  /** Whose map it is, where there are several: ` of node …`. */
  readonly whose: string;
  readonly shares: readonly Share[];
}

export function checkPressure(state: State, capacities: Capacities = CAPACITIES): Problem[] {
  return [
    ...serviceFillings(state),
    ipcacheFilling(state),
    ...endpointFillings(state),
    ...policyFillings(state),
  ].flatMap((filling) => pressure(filling, capacities[filling.map]));
}

/** Said where most of the entries come from. */
function pressure({ map, whose, shares }: Filling, capacity: number): Problem[] {
  const total = shares.reduce((sum, { entries }) => sum + entries, 0);
  if (total < capacity * NEARLY_FULL) return [];
  const placed = [...shares].sort((a, b) => b.entries - a.entries).filter(({ at }) => at !== null);
  const [most, ...others] = placed;
  if (!most) return [];
  const level =
    total > capacity
      ? `needs ${digits(total)} entries, and Cilium's has room for ${digits(capacity)}: what comes last would be refused`
      : `holds ${digits(total)} of at most ${digits(capacity)} entries`;
  const { option } = MAPS[map];
  return [
    problem(
      total > capacity ? 'HS5002' : 'HS5001',
      most.at!,
      `The map ${map}${whose} ${level}; ${most.what} puts ${digits(most.entries)} there.`,
      {
        related: others
          .slice(0, 3)
          .map(({ at, what, entries }) => ({ at: at!, message: `${what} puts ${digits(entries)} there.` })),
        fixes: option === null ? [] : [`start cilium-agent with a larger ${option}`],
      },
    ),
  ];
}

const digits = (number: number): string => `${number}`.replace(/\B(?=(\d{3})+$)/g, ',');

/** Shares with the same text become one. */
class Shares {
  private readonly byText = new Map<string, Share>();

  add(what: string, at: Place | null, entries = 1): void {
    const known = this.byText.get(what);
    this.byText.set(what, { what, at: known?.at ?? at, entries: (known?.entries ?? 0) + entries });
  }

  get list(): Share[] {
    return [...this.byText.values()];
  }
}

/** Who listens there, in words, and where that stands. */
function ownerOf(state: State, frontend: Frontend): Omit<Share, 'entries'> {
  const { service, port } = frontend;
  if (!service) return { what: frontendName(state, frontend), at: port.source.at };
  return { what: `Service ${named(`${service.namespace}/${service.name}`)}`, at: service.source.metadata.name.at };
}

/** kube-proxy keeps none of these maps. */
function serviceFillings(state: State): Filling[] {
  const { desired, settings } = state;
  if (isKubeProxy(settings)) return [];
  const filling = (map: MapName, some: readonly Frontend[], entriesOf: (frontend: Frontend) => number): Filling => {
    const shares = new Shares();
    for (const frontend of some) {
      const entries = entriesOf(frontend);
      const { what, at } = ownerOf(state, frontend);
      if (entries > 0) shares.add(what, at, entries);
    }
    return { map, whose: '', shares: shares.list };
  };
  const fillingsIn = (family: Family, lb: 'cilium_lb4' | 'cilium_lb6'): Filling[] => {
    const frontends = onFullestNode(desired.frontends.filter(({ address }) => familyOf(address) === family));
    const single = frontends.filter(({ node, type }) => node === 0 || type === 'HostPort');
    const known = new Set<number | string>();
    const first = (key: number | string): boolean => !known.has(key) && known.add(key).has(key);
    return [
      // A master and a slot a backend, and each address once more for its other ports.
      filling(`${lb}_services_v2`, frontends, ({ backends, type, address }) => {
        const isWhole = type !== 'NodePort' && type !== 'HostPort';
        return 1 + backends.length + (isWhole && first(`address ${address}`) ? 1 : 0);
      }),
      filling(
        `${lb}_backends_v3`,
        single,
        ({ backends, draining }) => [...backends, ...draining].filter(({ id }) => first(id)).length,
      ),
      filling(`${lb}_reverse_nat`, single, () => 1),
      filling(
        `${lb}_source_range`,
        single,
        (frontend) => sourceRangesOf(frontend, settings).filter(({ value }) => isOf(value, family)).length,
      ),
      // Cilium picks by Maglev only for clients outside.
      filling(`${lb}_maglev`, single, (frontend) =>
        algorithmOf(frontend, settings) === 'maglev' && frontend.type !== 'ClusterIP' && frontend.backends.length > 0
          ? 1
          : 0,
      ),
    ];
  };
  return [
    ...fillingsIn('IPv4', 'cilium_lb4'),
    ...fillingsIn('IPv6', 'cilium_lb6'),
    filling(
      'cilium_lb_affinity_match',
      desired.frontends.filter(({ node }) => node === 0),
      ({ service, backends }) => (service?.source.affinitySeconds == null ? 0 : backends.length),
    ),
  ];
}

/** Whether a text is a prefix of a family. */
function isOf(text: string, family: Family): boolean {
  const prefix = parsePrefix(text.trim());
  return prefix !== null && familyOf(prefix.address) === family;
}

/** Frontends that one node's map holds: all, of those that keep clients to their node its own, and its pods' hostPorts. */
function onFullestNode(frontends: readonly Frontend[]): Frontend[] {
  const held = frontends.filter(
    ({ type, node, scope }) => type !== 'HostPort' || (node !== 0 && scope === LbScope.EXTERNAL),
  );
  const entriesOn = new Map<number, number>([[0, 0]]);
  for (const { node, backends } of held)
    if (node !== 0) entriesOn.set(node, (entriesOn.get(node) ?? 0) + 1 + backends.length);
  const [fullest] = [...entriesOn].reduce((most, one) => (one[1] > most[1] ? one : most));
  return held.filter(({ node }) => node === 0 || node === fullest);
}

/** One of the whole cluster has no namespace. */
const policyName = (namespace: string, name: string): string => (namespace ? `${namespace}/${name}` : name);

function ipcacheFilling({ cluster, policies }: State): Filling {
  const shares = new Shares();
  shares.add('the whole world', null, cluster.families.length);
  for (const { workload, hostNetwork, addresses, source } of cluster.pods)
    if (!hostNetwork) shares.add(named(workload.ref), source, addresses.length);
  for (const node of cluster.nodes) shares.add('the nodes', node.source, allAddresses(node).length);
  const known = new Set<string>();
  for (const { source, rules } of policies.all) {
    const { metadata, kind } = source;
    for (const peer of rules.flatMap(({ peers }) => peers ?? [])) {
      if (peer.kind !== 'prefix') continue;
      for (const prefix of [peer.cidr, ...peer.except].map(formatPrefix)) {
        if (known.has(prefix)) continue;
        known.add(prefix);
        shares.add(`${kind} ${named(policyName(metadata.namespace, metadata.name.value))}`, metadata.name.at);
      }
    }
  }
  return { map: 'cilium_ipcache_v2', whose: '', shares: shares.list };
}

/** The addresses of each node's pods, and its own. */
function endpointFillings({ cluster }: State): Filling[] {
  const byNode = new Map(cluster.nodes.map((node) => [node, new Shares()]));
  for (const [node, shares] of byNode) shares.add('the node', node.source, allAddresses(node).length);
  for (const { node, workload, hostNetwork, addresses, source } of cluster.pods)
    if (!hostNetwork) byNode.get(node)?.add(named(workload.ref), source, addresses.length);
  return [...byNode].map(([node, shares]) => ({
    map: 'cilium_lxc',
    whose: ` of node ${named(node.name)}`,
    shares: shares.list,
  }));
}

/** Pods to which the same policies apply have maps alike: one of them is named. */
function policyFillings({ policies, identities }: State): Filling[] {
  return policies.policies.map(({ id, entries }): Filling => {
    const shares = new Shares();
    for (const { grants } of entries) {
      const rule = grants[0]?.origin;
      if (rule) shares.add(`${rule.kind} ${named(policyName(rule.namespace, rule.name))} ${rule.rule}`, rule.at);
      else shares.add('no policy', null);
    }
    const member = identities.pods.find((identity) => policies.ofIdentity.get(identity)?.id === id);
    const ref = member ? ` of ${named(member.example.workload.ref)}` : '';
    return { map: 'cilium_policy_v2', whose: ref, shares: shares.list };
  });
}
