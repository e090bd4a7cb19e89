/** CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy as policies and rules of identities. Cilium `pkg/k8s/apis/cilium.io/utils`. */
import { IpProto } from '../../assembly/abi.js';
import { parsePrefix } from '../addresses.js';
import type { Cluster, ClusterService } from '../cluster/cluster.js';
import type { CiliumCIDRGroup, CiliumPeer, CiliumPolicy, CiliumPort, CiliumSpec, Entity } from '../manifests/cilium.js';
import type { LabelSelector, Metadata } from '../manifests/objects.js';
import { valuesOf, type Located, type Place } from '../manifests/place.js';
import { PROTOCOL_NUMBERS } from './networkpolicy.js';
import { reserved } from './nodes.js';
import { DIRECTIONS, EVERY_PORT, type Direction, type Peer, type Policy, type PortMatch, type Rule } from './rules.js';
import { CLUSTER_NAME, DERIVED, requirement, requirementsOf, selects, type EndpointSelector } from './selectors.js';

/** Cilium's protocols as numbers; `ANY` is each that has ports. */
const PROTOCOLS: Readonly<Record<CiliumPort['protocol'], readonly number[]>> = {
  TCP: [PROTOCOL_NUMBERS.TCP],
  UDP: [PROTOCOL_NUMBERS.UDP],
  SCTP: [PROTOCOL_NUMBERS.SCTP],
  ANY: [PROTOCOL_NUMBERS.TCP, PROTOCOL_NUMBERS.UDP, PROTOCOL_NUMBERS.SCTP],
  ICMP: [IpProto.ICMP],
  ICMPV6: [IpProto.ICMPV6],
  // IANA protocol-numbers.
  VRRP: [112],
  IGMP: [2],
};

/** What of the cluster these policies are read with. */
export type CiliumParts = Pick<Cluster, 'cidrGroups' | 'services'>;

/** The policies that a manifest holds: one for each of its parts. */
export const fromCiliumPolicy = (source: CiliumPolicy, cluster: CiliumParts): Policy[] =>
  source.specs.map((spec) => new SpecReader(source, spec, cluster).policy());

class SpecReader {
  private readonly namespace: string;
  private readonly unevaluated: Policy['unevaluated'][number][] = [];

  constructor(
    private readonly source: CiliumPolicy,
    private readonly spec: CiliumSpec,
    private readonly cluster: CiliumParts,
  ) {
    this.namespace = source.metadata.namespace;
  }

  policy(): Policy {
    const { kind, metadata } = this.source;
    const { path, sections } = this.spec;
    const name = metadata.name.value;
    const rules = sections.flatMap((section) => {
      const direction: Direction = section.name.startsWith('egress') ? 'egress' : 'ingress';
      const deny = section.name.endsWith('Deny');
      return section.rules.flatMap((rule, index): Rule[] => {
        const origin = {
          kind,
          namespace: this.namespace,
          name,
          direction,
          rule: `${path}${section.name}[${index}]`,
          at: rule.at,
        };
        for (const one of rule.unevaluated) this.unevaluated.push({ ...one, direction });
        const peers = rule.peers && rule.peers.flatMap((peer) => this.peersOf(peer, direction));
        const ports = rule.ports && rule.ports.flatMap(portsOf);
        if (direction === 'egress') this.checkNamedPorts(ports, peers);
        // A rule that names neither anybody nor a port lets nothing, but isolates.
        return peers === null && ports === null
          ? []
          : [{ origin, deny, peers, ports, authentication: rule.authentication }];
      });
    });
    return {
      source: this.source,
      key: `${kind} ${this.namespace}/${name} ${path}`,
      aboutNodes: this.spec.aboutNodes,
      subject: this.subject(),
      isolates: DIRECTIONS.filter((direction) => this.isolates(direction)),
      rules,
      unevaluated: this.unevaluated,
    };
  }

  /** Unless the manifest says, a direction with a rule is isolated. */
  private isolates(direction: Direction): boolean {
    const hasRules = this.spec.sections.some(({ name, rules }) => name.startsWith(direction) && rules.length > 0);
    return this.spec.enableDefaultDeny[direction] ?? hasRules;
  }

  /** A policy with a namespace is about that namespace alone, whatever its selector asks for. */
  private subject(): EndpointSelector {
    const { selector } = this.spec;
    const written = requirementsOf(selector);
    if (this.namespace === '' || written.some(({ source, key }) => source === 'reserved' && key === 'init'))
      return { requirements: written, written: selector };
    const others = written.filter(({ key }) => key !== DERIVED.namespace);
    return {
      requirements: [requirement(`k8s:${DERIVED.namespace}`, 'In', this.namespace), ...others],
      written: selector,
    };
  }

  /**
   * Without a label of namespaces, peers are of the policy's namespace, or, where it has none, pods of any; without one of clusters,
   * of this one (`policy-default-local-cluster`), which nodes and addresses are not labelled with.
   */
  private endpoints(selector: LabelSelector): EndpointSelector {
    const requirements = requirementsOf(selector);
    if (requirements.some(({ source }) => source === 'reserved')) return { requirements, written: selector };
    const asks = (wanted: (key: string) => boolean): boolean =>
      requirements.some(({ source, key }) => (source === 'any' || source === 'k8s') && wanted(key));
    if (!asks((key) => key === DERIVED.namespace)) {
      if (this.namespace === '') requirements.push(requirement(`k8s:${DERIVED.namespace}`, 'Exists'));
      else if (!asks((key) => key.startsWith(DERIVED.namespaceLabels)))
        requirements.push(requirement(`k8s:${DERIVED.namespace}`, 'In', this.namespace));
    }
    if (!asks((key) => key === DERIVED.cluster))
      requirements.push(requirement(`k8s:${DERIVED.cluster}`, 'In', CLUSTER_NAME));
    return { requirements, written: selector };
  }

  private peersOf(peer: CiliumPeer, direction: Direction): Peer[] {
    const { at } = peer;
    switch (peer.kind) {
      case 'endpoints': {
        this.checkSources(peer.selector, at, direction);
        return [{ kind: 'endpoints', at, selector: this.endpoints(peer.selector) }];
      }
      case 'entity':
        // Any node may run the API server.
        if (peer.entity === 'kube-apiserver')
          this.unevaluated.push({ at, direction, nodes: true, what: 'which node runs the kube-apiserver' });
        return entityPeers(peer.entity, at);
      case 'cidr':
        return prefixPeers(at, [peer.cidr], peer.except);
      case 'cidrGroup':
        return this.groupsOf(peer.group, at, direction).flatMap(({ externalCIDRs }) =>
          prefixPeers(at, externalCIDRs, peer.except),
        );
      case 'service':
        return this.servicesOf(peer.service, peer.namespace, at, direction).flatMap((service) =>
          servicePeers(service, at),
        );
      case 'fqdn':
        return [{ kind: 'fqdn', at, fqdn: peer.fqdn }];
    }
  }

  /** Labels of other sources are those of addresses and nodes. */
  private checkSources(selector: LabelSelector, at: Place, direction: Direction): void {
    const other = requirementsOf(selector).find(({ source }) => !['any', 'k8s', 'reserved'].includes(source));
    if (other) this.unevaluated.push({ at, direction, what: `the label ${other.source}:${other.key}` });
  }

  private groupsOf(
    group: Located<string> | LabelSelector,
    at: Place,
    direction: Direction,
  ): readonly CiliumCIDRGroup[] {
    const found = this.cluster.cidrGroups.filter(({ metadata }) =>
      'value' in group ? metadata.name.value === group.value : selectsObject(group, metadata),
    );
    if (found.length === 0) this.lacks('CiliumCIDRGroup', group, at, direction);
    return found;
  }

  private servicesOf(
    service: Located<string> | LabelSelector,
    namespace: string | null,
    at: Place,
    direction: Direction,
  ): readonly ClusterService[] {
    const found = this.cluster.services.filter((one) =>
      'value' in service
        ? one.name === service.value && one.namespace === (namespace ?? this.namespace)
        : (namespace === null || one.namespace === namespace) && selectsObject(service, one.source.metadata),
    );
    if (found.length === 0) this.lacks('Service', service, at, direction);
    return found;
  }

  /** What the manifests do not hold may still be in the cluster. */
  private lacks(kind: string, asked: Located<string> | LabelSelector, at: Place, direction: Direction): void {
    const which = 'value' in asked ? asked.value : 'with these labels';
    this.unevaluated.push({ at, direction, what: `${kind} ${which}, which is not in the manifests,` });
  }

  /** Cilium gives a name one number for the whole cluster; we ask each pod for its own, and have none for what is no pod. */
  private checkNamedPorts(ports: readonly PortMatch[] | null, peers: readonly Peer[] | null): void {
    const named = ports?.find(({ port }) => typeof port === 'string');
    const onlyPods = peers?.every(
      (peer) => peer.kind === 'endpoints' && !peer.selector.requirements.some(({ source }) => source === 'reserved'),
    );
    if (named && !onlyPods)
      this.unevaluated.push({ at: named.at, direction: 'egress', what: 'a port by name of what may be no pod' });
  }
}

/** Whether a selector matches an object's own labels. */
const selectsObject = (selector: LabelSelector, { labels }: Metadata): boolean =>
  selects({ requirements: requirementsOf(selector), written: selector }, { source: 'k8s', labels: valuesOf(labels) });

/** Cilium `pkg/policy/api/entity.go`, `EntitySelectorMapping`. */
function entityPeers(entity: Entity, at: Place): Peer[] {
  if (entity === 'all') return [{ kind: 'anyone', at }];
  if (entity !== 'cluster') return [reserved(entity, at)];
  const others = ['host', 'remote-node', 'init', 'ingress', 'health', 'unmanaged', 'kube-apiserver'];
  const pods = { requirements: [requirement(`k8s:${DERIVED.cluster}`, 'Exists')], written: null };
  return [...others.map((name) => reserved(name, at)), { kind: 'endpoints', at, selector: pods }];
}

function prefixPeers(at: Place, blocks: readonly Located<string>[], except: readonly Located<string>[]): Peer[] {
  const holes = except.map((hole) => parsePrefix(hole.value)).filter((hole) => hole !== null);
  return blocks.flatMap((block): Peer[] => {
    const cidr = parsePrefix(block.value);
    return cidr ? [{ kind: 'prefix', at, cidr, except: holes, pods: false }] : [];
  });
}

/** The pods that a Service selects; the addresses that Endpoints list for one without a selector. */
export function servicePeers({ source, namespace, ports }: ClusterService, at: Place): Peer[] {
  if (source.selector) {
    const requirements = [
      requirement(`k8s:${DERIVED.namespace}`, 'In', namespace),
      ...[...source.selector.labels].map(([key, { value }]) => requirement(`k8s:${key}`, 'In', value)),
    ];
    return [{ kind: 'endpoints', at, selector: { requirements, written: null } }];
  }
  const addresses = new Set(ports.flatMap(({ backends }) => backends.map(({ address }) => address)));
  return [...addresses].map((address) => ({
    kind: 'prefix',
    at,
    cidr: { address, length: 32 },
    except: [],
    pods: false,
  }));
}

function portsOf({ at, protocol, port, endPort, l7 }: CiliumPort): PortMatch[] {
  const place = port?.at ?? at;
  const numbers =
    port === null
      ? EVERY_PORT
      : typeof port.value === 'string'
        ? port.value
        : { first: port.value, last: endPort ?? port.value };
  return PROTOCOLS[protocol].map((number) => ({ at: place, protocol: number, port: numbers, l7 }));
}
