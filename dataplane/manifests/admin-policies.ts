import { problem } from '../problems.js';
import { hasHostBits, parseCidr } from './addresses.js';
import type { AdminPeer, AdminPolicy, AdminPort, AdminRule, AdminRules, NamespacedPods } from './admin.js';
import type { FqdnSelector, Unevaluated } from './cilium.js';
import { isPortName, quote, type Fields } from './fields.js';
import type { Header } from './kinds.js';
import { readSelector, readSelectorOf } from './labels.js';
import type { LabelSelector, Protocol } from './objects.js';
import type { Located } from './place.js';
import { readProtocol } from './pods.js';

/** The policies of policy.networking.k8s.io. */
export function readAdminPolicy(kind: AdminPolicy['kind']) {
  return (object: Fields, header: Header): AdminPolicy | undefined => {
    const spec = object.required('spec', object.fields('spec'));
    const policy = spec && new AdminReader(kind, spec).read(header);
    if (kind === 'BaselineAdminNetworkPolicy' && header.metadata.name.value !== 'default')
      object.problems.push(
        problem('HS1010', header.metadata.name.at, 'A BaselineAdminNetworkPolicy is named default: there is one.'),
      );
    return policy;
  };
}

/** What rules may do, in the words of each kind. */
const ACTIONS = {
  ClusterNetworkPolicy: { Accept: 'allow', Deny: 'deny', Pass: 'pass' },
  AdminNetworkPolicy: { Allow: 'allow', Deny: 'deny', Pass: 'pass' },
  BaselineAdminNetworkPolicy: { Allow: 'allow', Deny: 'deny' },
} as const satisfies Record<AdminPolicy['kind'], Readonly<Record<string, AdminRule['action']>>>;

/** Most rules of a direction, and most peers and ports of a rule, that the API server takes. */
const MOST_RULES = { ClusterNetworkPolicy: 25, AdminNetworkPolicy: 100, BaselineAdminNetworkPolicy: 100 } as const;

class AdminReader {
  /** What of the rule that is being read is not evaluated. */
  private unevaluated: Unevaluated[] = [];

  constructor(
    private readonly kind: AdminPolicy['kind'],
    private readonly spec: Fields,
  ) {}

  read(header: Header): AdminPolicy | undefined {
    const { kind, spec } = this;
    const ofCluster = kind === 'ClusterNetworkPolicy';
    const baseline = kind === 'BaselineAdminNetworkPolicy';
    spec.only(...(ofCluster ? ['tier'] : []), ...(baseline ? [] : ['priority']), 'subject', 'ingress', 'egress');
    const named = ofCluster ? spec.required('tier', spec.oneOf('tier', ['Admin', 'Baseline']))?.value : null;
    const priority = baseline ? 0 : (spec.required('priority', spec.integer('priority', 0, 1000))?.value ?? 0);
    const subject = this.subject();
    const ingress = this.rules('ingress');
    const egress = this.rules('egress');
    if (!subject) return undefined;
    const tier = baseline || named === 'Baseline' ? 'baseline' : 'admin';
    return { ...header, kind, tier, priority, subject, ingress, egress };
  }

  private subject(): NamespacedPods | undefined {
    const subject = this.spec.required('subject', this.spec.fields('subject'));
    if (!subject) return undefined;
    this.one(subject, 'namespaces', 'pods');
    const pods = this.selected(subject);
    const [related] = this.unevaluated;
    if (related) subject.problems.push(problem('HS1010', related.at, `A subject has no ${related.what}.`));
    return pods;
  }

  /** `namespaces`, or `pods`. */
  private selected(fields: Fields): NamespacedPods | undefined {
    const pods = fields.fields('pods');
    if (!pods) {
      const namespaceSelector = this.namespaces(fields);
      return namespaceSelector ? { at: namespaceSelector.at, namespaceSelector, podSelector: null } : undefined;
    }
    const peers = pods.has('namespaces');
    pods.only(peers ? 'namespaces' : 'namespaceSelector', 'podSelector');
    const podSelector = pods.required('podSelector', readSelector(pods, 'podSelector'));
    const namespaceSelector =
      (peers ? this.namespaces(pods) : readSelector(pods, 'namespaceSelector')) ??
      (this.kind === 'ClusterNetworkPolicy' ? everything(pods) : pods.required('namespaceSelector', null));
    return podSelector && namespaceSelector ? { at: pods.at, namespaceSelector, podSelector } : undefined;
  }

  /** A selector of namespaces; until v0.1.1 of the API it stood in a field of its own, beside what is not evaluated. */
  private namespaces(fields: Fields): LabelSelector | null | undefined {
    const namespaces = fields.fields('namespaces');
    if (!namespaces) return namespaces;
    const related = ['sameLabels', 'notSameLabels'].filter((name) => namespaces.has(name));
    if (!namespaces.has('namespaceSelector') && related.length === 0) return readSelectorOf(namespaces);
    namespaces.only('namespaceSelector', 'sameLabels', 'notSameLabels');
    for (const name of related) this.unevaluated.push({ at: namespaces.placeOf(name), what: name });
    return readSelector(namespaces, 'namespaceSelector') ?? everything(namespaces);
  }

  /** Reports a mapping that has none of these fields, or several, or others. */
  private one(fields: Fields, ...names: readonly string[]): string | undefined {
    fields.only(...names);
    const [found, ...others] = names.filter((name) => fields.has(name));
    if (found === undefined)
      fields.problems.push(problem('HS1010', fields.at, `One of ${names.join(', ')} is needed.`));
    if (others[0] !== undefined)
      fields.refuse('HS1010', others[0], `${[found, ...others].join(' and ')} cannot stand together.`);
    return found;
  }

  private rules(direction: 'ingress' | 'egress'): AdminRules | null {
    const list = this.spec.mappings(direction);
    if (!list) return null;
    const most = MOST_RULES[this.kind];
    if (list.items.length > most)
      this.spec.refuse('HS1010', direction, `There can be ${most} rules of ${direction}, not ${list.items.length}.`);
    return { at: list.at, rules: list.items.flatMap((rule) => (rule && this.rule(rule, direction)) ?? []) };
  }

  private rule(rule: Fields, direction: 'ingress' | 'egress'): AdminRule | undefined {
    const peersName = direction === 'ingress' ? 'from' : 'to';
    // The first drafts of v1alpha2 had the ports of v1alpha1.
    const portsName = this.kind === 'ClusterNetworkPolicy' && !rule.has('ports') ? 'protocols' : 'ports';
    this.unevaluated = [];
    rule.only('name', 'action', peersName, portsName);
    const actions: Readonly<Record<string, AdminRule['action']>> = ACTIONS[this.kind];
    const written = rule.required('action', rule.oneOf('action', Object.keys(actions)))?.value;
    const action = written === undefined ? undefined : actions[written];
    const peers = this.needed(rule, peersName).flatMap((peer) => this.peers(peer, direction));
    const ports = rule.list(portsName)
      ? this.needed(rule, portsName).flatMap((port) => this.port(port, portsName) ?? [])
      : null;
    const outsider = peers.find(({ kind }) => kind !== 'pods');
    const name = ports?.find(({ port }) => typeof port === 'string');
    if (outsider && name)
      rule.problems.push(problem('HS1010', name.at, 'A port by name is a pod’s: nodes, networks and names have none.'));
    const domain = peers.find(({ kind }) => kind === 'domainName');
    if (domain && action !== 'allow')
      rule.problems.push(problem('HS1010', domain.at, 'domainNames can be accepted only, neither denied nor passed.'));
    for (const { at, what } of this.unevaluated)
      rule.problems.push(problem('HS1012', at, `${what} is not evaluated yet; verdicts it could change are UNKNOWN.`));
    return action && { at: rule.at, action, peers, ports, unevaluated: this.unevaluated };
  }

  /** The items of a list that must have some. */
  private needed(rule: Fields, name: string): readonly Fields[] {
    const list = rule.required(name, rule.list(name));
    if (list?.items.length === 0) rule.refuse('HS1010', name, `${name} needs an item.`);
    return rule.each(name);
  }

  private peers(peer: Fields, direction: 'ingress' | 'egress'): AdminPeer[] {
    const outside = ['nodes', 'networks', ...(this.kind === 'BaselineAdminNetworkPolicy' ? [] : ['domainNames'])];
    const found = this.one(peer, 'namespaces', 'pods', ...(direction === 'egress' ? outside : []));
    switch (found) {
      case 'nodes': {
        const nodes = peer.fields('nodes');
        const selector = nodes && readSelectorOf(nodes);
        return selector ? [{ kind: 'nodes', at: selector.at, selector }] : [];
      }
      case 'networks':
        return peer.strings('networks').map((cidr) => {
          checkBlock(peer, cidr);
          return { kind: 'network', at: cidr.at, cidr };
        });
      case 'domainNames':
        return peer.strings('domainNames').flatMap((name): AdminPeer[] => {
          const fqdn = readDomainName(peer, name);
          return fqdn ? [{ kind: 'domainName', at: name.at, fqdn }] : [];
        });
      case undefined:
        return [];
      default: {
        const pods = this.selected(peer);
        return pods ? [{ kind: 'pods', at: pods.at, pods }] : [];
      }
    }
  }

  private port(item: Fields, field: 'protocols' | 'ports'): AdminPort | undefined {
    return field === 'protocols' ? this.protocol(item) : this.numbered(item);
  }

  /** v1alpha2 ClusterNetworkPolicyProtocol. */
  private protocol(item: Fields): AdminPort | undefined {
    const found = this.one(item, 'tcp', 'udp', 'sctp', 'destinationNamedPort');
    if (found === undefined) return undefined;
    if (found === 'destinationNamedPort') return this.name(item, found);
    const match = item.fields(found);
    const port = match && match.fields('destinationPort');
    if (!match) return undefined;
    match.only('destinationPort');
    const protocol = found.toUpperCase() as Protocol;
    if (!port) {
      if (port === null) item.refuse('HS1010', found, `${found} needs a destinationPort.`);
      return undefined;
    }
    if (this.one(port, 'number', 'range') === 'range') return this.range(port, port.fields('range'), protocol);
    const number = port.port('number');
    return number ? { at: number.at, protocol, port: number.value, endPort: null } : undefined;
  }

  /** v1alpha1 AdminNetworkPolicyPort. */
  private numbered(item: Fields): AdminPort | undefined {
    const found = this.one(item, 'portNumber', 'namedPort', 'portRange');
    if (found === 'namedPort') return this.name(item, found);
    const numbers = found === undefined ? undefined : item.fields(found);
    const protocol = numbers ? readProtocol(numbers) : undefined;
    if (!numbers || !protocol) return undefined;
    if (found === 'portRange') return this.range(numbers, numbers, protocol);
    numbers.only('protocol', 'port');
    const number = numbers.required('port', numbers.port('port'));
    return number && { at: number.at, protocol, port: number.value, endPort: null };
  }

  private name(item: Fields, field: string): AdminPort | undefined {
    const name = item.string(field);
    if (!name) return undefined;
    if (isPortName(name.value)) return { at: name.at, protocol: null, port: name.value, endPort: null };
    return item.refuse('HS1010', field, `${quote(name.value)} is not the name of a port.`);
  }

  private range(item: Fields, range: Fields | null | undefined, protocol: Protocol): AdminPort | undefined {
    if (!range) return undefined;
    range.only('start', 'end', ...(range === item ? ['protocol'] : []));
    const start = range.required('start', range.port('start'));
    const end = range.required('end', range.port('end'));
    if (!start || !end) return undefined;
    if (end.value > start.value) return { at: range.at, protocol, port: start.value, endPort: end.value };
    item.problems.push(problem('HS1010', end.at, `end ${end.value} must be greater than start ${start.value}.`));
    return undefined;
  }
}

const everything = ({ at }: Fields): LabelSelector => ({
  at: { ...at, end: at.start },
  matchLabels: new Map<string, Located<string>>(),
  matchExpressions: [],
});

function checkBlock(fields: Fields, { value, at }: Located<string>): void {
  const cidr = parseCidr(value);
  if (!cidr) fields.problems.push(problem('HS1010', at, `${quote(value)} is not an address block.`));
  else if (hasHostBits(cidr))
    fields.problems.push(problem('HS3007', at, `${quote(value)} has bits set beyond its prefix; they are ignored.`));
}

const LABEL = '[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?';
const DOMAIN_NAME = new RegExp(`^(\\*\\.)?(${LABEL}\\.)+${LABEL}\\.?$`);

/** A name, or `*.` and a name, which is every name below it, however deep. */
function readDomainName(fields: Fields, { value, at }: Located<string>): FqdnSelector | undefined {
  if (value.length > 255 || !DOMAIN_NAME.test(value)) {
    fields.problems.push(problem('HS1010', at, `${quote(value)} is no DNS name.`));
    return undefined;
  }
  const name = value.toLowerCase();
  return name.startsWith('*')
    ? { at, matchName: null, matchPattern: `**${name.slice(1)}` }
    : { at, matchName: name, matchPattern: null };
}
