/** The policies of Calico as policies and rules of identities, ordered in its tiers. `libcalico-go/lib/backend/syncersv1/updateprocessors`. */
import { IpProto } from '../../assembly/abi.js';
import { parsePrefix, type Prefix } from '../addresses.js';
import type { Cluster } from '../cluster/cluster.js';
import type {
  CalicoEntity,
  CalicoNetworkSet,
  CalicoPolicy,
  CalicoPort,
  CalicoRule,
  CalicoSelector,
  CalicoSelectors,
} from '../manifests/calico.js';
import { valuesOf, type Located, type Place } from '../manifests/place.js';
import { holds, keysOf, mapKeys, type Expression } from '../manifests/selector-expressions.js';
import { servicePeers } from './cilium.js';
import { PROTOCOL_NUMBERS } from './networkpolicy.js';
import { nodePeers, nodesWithin } from './nodes.js';
import {
  DIRECTIONS,
  EVERY_PORT,
  TIERS,
  type Direction,
  type Peer,
  type Policy,
  type PortMatch,
  type PortNumbers,
  type Rule,
  type Tier,
} from './rules.js';
import { DERIVED, requirement, type EndpointSelector } from './selectors.js';

/** What of the cluster these policies are read with. */
export type CalicoParts = Pick<Cluster, 'families' | 'namespaces' | 'networkSets' | 'nodes' | 'services' | 'tiers'>;

/** None for a policy about host endpoints alone, which no pod is. */
export const fromCalicoPolicy = (source: CalicoPolicy, cluster: CalicoParts): Policy[] =>
  source.aboutHosts ? [] : [new CalicoReader(source, cluster).policy()];

/** Labels that Calico gives pods, and those of their namespace, by our names for them. */
const OWN_KEYS: ReadonlyMap<string, string> = new Map([
  ['projectcalico.org/namespace', DERIVED.namespace],
  ['projectcalico.org/serviceaccount', DERIVED.serviceAccount],
]);
const NAMESPACE_PREFIX = 'pcns.';
const NAME_KEY = 'projectcalico.org/name';

const ownKey = (key: string): string =>
  key.startsWith(NAMESPACE_PREFIX) ? namespaceKey(key.slice(NAMESPACE_PREFIX.length)) : (OWN_KEYS.get(key) ?? key);
const namespaceKey = (key: string): string => (key === NAME_KEY ? DERIVED.namespace : DERIVED.namespaceLabels + key);
/** Labels of which the manifests that are read do not tell: those of service accounts, and of what is no Kubernetes. */
const isUnknownKey = (key: string): boolean => key.startsWith('pcsa.') || key === 'projectcalico.org/orchestrator';

class CalicoReader {
  private readonly namespace: string;
  private readonly unevaluated: Policy['unevaluated'][number][] = [];

  constructor(
    private readonly source: CalicoPolicy,
    private readonly cluster: CalicoParts,
  ) {
    this.namespace = source.metadata.namespace;
  }

  policy(): Policy {
    const { source, namespace } = this;
    const { actualKind: kind, metadata, order, types } = source;
    const name = metadata.name.value;
    const directions = DIRECTIONS.filter((direction) => types.includes(direction === 'ingress' ? 'Ingress' : 'Egress'));
    const { tier, isolates } = this.tier(directions);
    return {
      source,
      key: `Calico ${kind} ${namespace}/${name}`,
      standing: { tier, order, name: `${name}/${namespace}/${kind}` },
      aboutNodes: false,
      subject: this.subject(directions),
      isolates: isolates ? directions : [],
      rules: directions.flatMap((direction) =>
        (source[direction]?.rules ?? []).flatMap((rule, index) => this.rules(rule, direction, index)),
      ),
      unevaluated: this.unevaluated,
    };
  }

  /** A tier that the manifests do not hold may stand anywhere, and end in any way. */
  private tier(directions: readonly Direction[]): { readonly tier: Tier; readonly isolates: boolean } {
    const { value: name, at } = this.source.tier;
    const known = Object.values(TIERS).find((tier) => tier.name === name);
    if (known) return { tier: known, isolates: known === TIERS.network };
    const found = this.cluster.tiers.find(({ metadata }) => metadata.name.value === name);
    if (found) return { tier: { name, order: found.order }, isolates: found.defaultAction === 'Deny' };
    for (const direction of directions)
      this.unevaluated.push({ at, direction, what: `Tier ${name}, which is not in the manifests,` });
    return { tier: { name, order: Infinity }, isolates: true };
  }

  /** Pods, and of a policy with a namespace those there; of a selector that asks for what is not known, any. */
  private subject(directions: readonly Direction[]): EndpointSelector {
    const { namespace, source } = this;
    return {
      requirements: [
        namespace === '' ? requirement(DERIVED.namespace, 'Exists') : requirement(DERIVED.namespace, 'In', namespace),
      ],
      expression: { op: 'and', of: this.terms(source.selectors, directions) },
      ...placed(source.selectors),
      written: null,
    };
  }

  /**
   * What selectors ask for, by our names for labels; none that asks for a label that is not known. `all()` of namespaces is any, which
   * what has none is not of.
   */
  private terms(selectors: CalicoSelectors, directions: readonly Direction[]): Expression[] {
    const { own, namespace, serviceAccount } = selectors;
    return [
      ...this.known(own, isUnknownKey, directions).map((expression) => mapKeys(expression, ownKey)),
      ...(namespace ? [withinNamespaces(mapKeys(namespace.expression, namespaceKey))] : []),
      ...this.known(serviceAccount, (key) => key !== NAME_KEY, directions).map((expression) =>
        mapKeys(expression, () => DERIVED.serviceAccount),
      ),
    ];
  }

  private known(
    selector: CalicoSelector | null,
    isUnknown: (key: string) => boolean,
    directions: readonly Direction[],
  ): Expression[] {
    if (!selector) return [];
    const { at, expression } = selector;
    const unknown = keysOf(expression).find(isUnknown);
    if (unknown === undefined) return [expression];
    for (const direction of directions) this.unevaluated.push({ at, direction, what: `the label ${unknown}` });
    return [];
  }

  /** The rules that a written one makes: none where it only logs, or is about the other address family. */
  private rules(rule: CalicoRule, direction: Direction, index: number): Rule[] {
    const { at, action, ipVersion } = rule;
    if (action === 'Log') return [];
    for (const one of rule.unevaluated) this.unevaluated.push({ ...one, direction });
    const { families } = this.cluster;
    if (ipVersion && families.length > 1) this.unevaluated.push({ at: ipVersion.at, direction, what: 'ipVersion' });
    else if (ipVersion && !families.includes(ipVersion.value === 4 ? 'IPv4' : 'IPv6')) return [];
    const [self, other] = direction === 'ingress' ? [rule.destination, rule.source] : [rule.source, rule.destination];
    if (self.services)
      this.unevaluated.push({ at: self.services.at, direction, what: 'services of the policy’s own pods' });
    const own = this.among(self, direction, true);
    const { actualKind: kind, metadata } = this.source;
    const origin = {
      kind,
      namespace: this.namespace,
      name: metadata.name.value,
      direction,
      rule: `${direction}[${index}]`,
      at,
    };
    const made = {
      origin,
      deny: action === 'Deny',
      ...(action === 'Pass' ? { pass: true as const } : {}),
      ...(own ? { own } : {}),
      authentication: null,
    };
    if (other.services) return this.serviceRules(other.services, direction).map((one) => ({ ...made, ...one }));
    const peer = this.among(other, direction);
    return [{ ...made, peers: peer && [peer], ports: this.ports(rule, direction) }];
  }

  /** Whom an entity names; null for anyone. */
  private among(entity: CalicoEntity, direction: Direction, isPod = false): Peer | null {
    const { at, notSelector } = entity;
    const nodes = isPod ? null : direction;
    const all: Peer[][] = [];
    const none: Peer[] = [];
    const asked = this.asked(entity, direction);
    if (asked) all.push(this.matching(asked, entity.selectors, at, nodes));
    if (entity.nets.length > 0) all.push(this.within(entity.nets, at, nodes));
    if (entity.notNets.length > 0) none.push(...this.within(entity.notNets, at, nodes));
    if (notSelector) {
      const selectors = { own: notSelector, namespace: null, serviceAccount: null };
      none.push(...this.matching({ op: 'and', of: this.terms(selectors, [direction]) }, selectors, at, nodes));
    }
    return all.length + none.length > 0 ? { kind: 'where', at, all, none } : null;
  }

  /**
   * What the selectors of an entity ask for. Without a namespaceSelector, a policy with a namespace asks for its own, as soon as
   * anything is selected or not.
   */
  private asked(entity: CalicoEntity, direction: Direction): Expression | null {
    const { selectors, serviceAccounts, notSelector } = entity;
    const terms = this.terms(selectors, [direction]);
    if (serviceAccounts.length > 0) terms.push({ op: 'in', key: DERIVED.serviceAccount, values: serviceAccounts });
    if (!selectors.namespace && this.namespace !== '' && (terms.length > 0 || notSelector))
      terms.push({ op: 'in', key: DERIVED.namespace, values: [this.namespace] });
    return terms.length > 0 ? { op: 'and', of: terms } : null;
  }

  /** The pods, and the addresses of the sets, that an expression selects. */
  private matching(expression: Expression, selectors: CalicoSelectors, at: Place, nodes: Direction | null): Peer[] {
    const pods: EndpointSelector = {
      requirements: [requirement(DERIVED.namespace, 'Exists')],
      expression,
      ...placed(selectors),
      written: null,
    };
    const sets = this.cluster.networkSets.filter((set) =>
      holds(expression, this.labelsOf(set), set.kind === 'GlobalNetworkSet'),
    );
    return [
      { kind: 'endpoints', at, selector: pods },
      ...this.within(
        sets.flatMap(({ nets }) => nets),
        at,
        nodes,
      ),
    ];
  }

  private labelsOf({ kind, metadata }: CalicoNetworkSet): ReadonlyMap<string, string> {
    const labels = new Map(valuesOf(metadata.labels));
    if (kind === 'GlobalNetworkSet') return labels;
    for (const [key, value] of this.cluster.namespaces.get(metadata.namespace)?.labels ?? [])
      labels.set(DERIVED.namespaceLabels + key, value);
    return labels.set(DERIVED.namespace, metadata.namespace);
  }

  /** Who has an address in one of the blocks: pods too, and nodes, which matter in the direction `nodes`. */
  private within(nets: readonly Located<string>[], at: Place, nodes: Direction | null): Peer[] {
    const prefixes = nets.map(({ value }) => parsePrefix(value)).filter((prefix) => prefix !== null);
    const share = nodesWithin(this.cluster, prefixes);
    if (share === 'some' && nodes)
      this.unevaluated.push({ at, direction: nodes, nodes: true, what: 'which node has which address' });
    return [
      ...prefixes.map((cidr: Prefix): Peer => ({ kind: 'prefix', at, cidr, except: [], pods: 'always' })),
      ...nodePeers(share, at),
    ];
  }

  /** The pods behind a Service, on the ports that it leads to; for who comes from there, on any. */
  private serviceRules(
    { at, name, namespace }: NonNullable<CalicoEntity['services']>,
    direction: Direction,
  ): Pick<Rule, 'peers' | 'ports'>[] {
    const found = this.cluster.services.find(
      (service) => service.name === name && service.namespace === (namespace ?? this.namespace),
    );
    if (!found) {
      this.unevaluated.push({ at, direction, what: `Service ${name}, which is not in the manifests,` });
      return [];
    }
    const peers = servicePeers(found, at);
    if (direction === 'ingress') return [{ peers, ports: null }];
    return found.ports.map(({ source: { protocol, port, targetPort } }) => {
      const target = targetPort?.value ?? port.value;
      const numbers = typeof target === 'string' ? target : { first: target, last: target };
      return { peers, ports: [{ at, protocol: PROTOCOL_NUMBERS[protocol], port: numbers, l7: null }] };
    });
  }

  /** Null for any traffic. */
  private ports(
    { at, protocol, notProtocol, icmpType, notIcmpType, destination }: CalicoRule,
    direction: Direction,
  ): PortMatch[] | null {
    if (protocol === null && notProtocol === null) return null;
    const protocols = (protocol === null ? KNOWN : [protocol]).filter((number) => number !== notProtocol);
    const match = (port: PortNumbers | string, where = at): PortMatch[] =>
      protocols.map((number) => ({ at: where, protocol: number, port, l7: null }));
    if (icmpType !== null || notIcmpType !== null) {
      const asked = icmpType === null ? EVERY_PORT : { first: icmpType, last: icmpType };
      const not = notIcmpType === null ? [] : [{ first: notIcmpType, last: notIcmpType }];
      return less([asked], not).flatMap((range) => match(range));
    }
    const { ports, notPorts } = destination;
    const names = ports.filter(({ value }) => typeof value === 'string');
    const without = notPorts.filter(({ value }) => typeof value === 'string');
    // Which number a name stands for differs from pod to pod.
    const unclear = without[0] ?? (notPorts.length > 0 ? names[0] : undefined);
    if (unclear) this.unevaluated.push({ at: unclear.at, direction, what: 'a port by name, less others,' });
    const ranges = less(ports.length > 0 ? rangesOf(ports) : [EVERY_PORT], rangesOf(notPorts));
    return [
      ...ranges.flatMap((range) => match(range)),
      ...names.flatMap(({ value, at: where }) => match(value, where)),
    ];
  }
}

/** Where selectors stand: the pods' own, or else that of their namespaces. */
function placed({ own, namespace }: CalicoSelectors): { readonly at?: Place } {
  const selector = own ?? namespace;
  return selector ? { at: selector.at } : {};
}

/** The protocols that the datapath carries: it drops all others before any policy. */
const KNOWN: readonly number[] = [...Object.values(PROTOCOL_NUMBERS), IpProto.ICMP, IpProto.ICMPV6];

const rangesOf = (ports: readonly CalicoPort[]): PortNumbers[] =>
  ports.flatMap(({ value }) => (typeof value === 'string' ? [] : [value]));

/** The parts of ranges that are in none of the others. */
function less(ranges: readonly PortNumbers[], others: readonly PortNumbers[]): PortNumbers[] {
  const excluded = new Uint8Array(EVERY_PORT.last + 1);
  for (const { first, last } of others) excluded.fill(1, first, last + 1);
  return ranges.flatMap(({ first, last }) => {
    const left: PortNumbers[] = [];
    for (let next = excluded.indexOf(0, first); next >= 0 && next <= last;) {
      const end = excluded.indexOf(1, next);
      const until = end < 0 ? last : Math.min(last, end - 1);
      left.push({ first: next, last: until });
      next = excluded.indexOf(0, until + 1);
    }
    return left;
  });
}

/** What has no namespace is in none that `all()` stands for. */
function withinNamespaces(expression: Expression): Expression {
  switch (expression.op) {
    case 'all':
      return { op: 'not', of: { op: 'global' } };
    case 'not':
      return { op: 'not', of: withinNamespaces(expression.of) };
    case 'and':
    case 'or':
      return { op: expression.op, of: expression.of.map(withinNamespaces) };
    default:
      return expression;
  }
}
