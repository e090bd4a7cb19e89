/** The policies of administrators as policies and rules of identities: ordered, in the tier before or after NetworkPolicies. */
import { parsePrefix } from '../addresses.js';
import type { Cluster } from '../cluster/cluster.js';
import { matches } from '../cluster/selectors.js';
import type { AdminPeer, AdminPolicy, AdminPort, NamespacedPods } from '../manifests/admin.js';
import type { Place } from '../manifests/place.js';
import { PROTOCOL_NUMBERS } from './networkpolicy.js';
import { nodePeers, nodesIn, nodesWithin, type NodeShare } from './nodes.js';
import { DIRECTIONS, EVERY_PORT, TIERS, type Direction, type Peer, type Policy, type PortMatch } from './rules.js';
import { DERIVED, requirement, requirementsOf, type EndpointSelector } from './selectors.js';

const ACTIONS = { allow: { deny: false }, deny: { deny: true }, pass: { deny: false, pass: true } } as const;

/** What of the cluster these policies are read with. */
export type AdminParts = Pick<Cluster, 'nodes'>;

export function fromAdminPolicy(source: AdminPolicy, cluster: AdminParts): Policy {
  const { kind, metadata, tier, priority } = source;
  const name = metadata.name.value;
  const unevaluated: Policy['unevaluated'][number][] = [];
  const among = (share: NodeShare, at: Place, direction: Direction): Peer[] => {
    if (share === 'some') unevaluated.push({ at, direction, nodes: true, what: 'which node it is that this is about' });
    return nodePeers(share, at);
  };
  const peersOf = (peer: AdminPeer, direction: Direction): Peer[] => {
    const { at } = peer;
    switch (peer.kind) {
      case 'pods':
        return [{ kind: 'endpoints', at, selector: podsOf(peer.pods) }];
      case 'nodes':
        return among(
          nodesIn(cluster, ({ labels }) => [matches(peer.selector, labels)]),
          at,
          direction,
        );
      case 'network': {
        const cidr = parsePrefix(peer.cidr.value);
        if (!cidr) return [];
        return [
          { kind: 'prefix', at, cidr, except: [], pods: 'always' },
          ...among(nodesWithin(cluster, [cidr]), at, direction),
        ];
      }
      case 'domainName':
        return [{ kind: 'fqdn', at, fqdn: peer.fqdn }];
    }
  };
  return {
    source,
    key: `${kind} ${name}`,
    standing: { tier: TIERS[tier], order: priority, name: null },
    aboutNodes: false,
    subject: podsOf(source.subject),
    isolates: [],
    rules: DIRECTIONS.flatMap((direction) =>
      (source[direction]?.rules ?? []).map((rule, index) => {
        const { at, action, peers, ports } = rule;
        for (const one of rule.unevaluated) unevaluated.push({ ...one, direction });
        return {
          origin: { kind, namespace: '', name, direction, rule: `${direction}[${index}]`, at },
          ...ACTIONS[action],
          peers: peers.flatMap((peer) => peersOf(peer, direction)),
          ports: ports && ports.flatMap(portsOf),
          authentication: null,
        };
      }),
    ),
    unevaluated,
  };
}

/** Pods by the labels of their namespace, and their own. */
function podsOf({ namespaceSelector, podSelector }: NamespacedPods): EndpointSelector {
  return {
    requirements: [
      requirement(DERIVED.namespace, 'Exists'),
      ...requirementsOf(namespaceSelector, DERIVED.namespaceLabels),
      ...(podSelector ? requirementsOf(podSelector) : []),
    ],
    written: podSelector && podSelector.at.end > namespaceSelector.at.end ? podSelector : namespaceSelector,
  };
}

/** A name without a protocol is one of any. */
function portsOf({ at, protocol, port, endPort }: AdminPort): PortMatch[] {
  const numbers = protocol === null ? Object.values(PROTOCOL_NUMBERS) : [PROTOCOL_NUMBERS[protocol]];
  const match = port === null ? EVERY_PORT : typeof port === 'string' ? port : { first: port, last: endPort ?? port };
  return numbers.map((number) => ({ at, protocol: number, port: match, l7: null }));
}
