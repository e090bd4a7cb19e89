/** From policies to policymap entries. */
import type { Cluster, ClusterNode } from '../cluster/cluster.js';
import { Numbers } from '../hash.js';
import { indexed } from '../indexed.js';
import { difference, joined, kept, keptEach, keptFor, sameItems } from '../kept.js';
import type { AdminPolicy } from '../manifests/admin.js';
import type { CalicoPolicy } from '../manifests/calico.js';
import type { CiliumPolicy } from '../manifests/cilium.js';
import type { PolicySource } from '../manifests/objects.js';
import type { Settings } from '../settings.js';
import { fromAdminPolicy, type AdminParts } from './admin.js';
import { fromCalicoPolicy, type CalicoParts } from './calico.js';
import { fromCiliumPolicy, type CiliumParts } from './cilium.js';
import type { Identities, PodIdentity } from './identities.js';
import { fromNetworkPolicy } from './networkpolicy.js';
import { among, identitiesOf, Peers } from './peers.js';
import {
  asksPeers,
  compilePolicymap,
  numbersOf,
  only,
  recompilePolicymap,
  type CompiledPolicy,
  type Subjects,
} from './policymap.js';
import type { Policy, Rule } from './rules.js';
import { Selections, type Subject } from './selections.js';
import { selects } from './selectors.js';
import { areOrdered } from './tiers.js';

export type { CompiledPolicy } from './policymap.js';

/** The policies of all languages, in the order of their manifests; those about nodes hold only where these have a firewall. */
export class PolicyReader {
  /** Those of Kubernetes, which look at nothing besides. */
  private readonly plain = keptEach((source: PolicySource) =>
    source.kind === 'NetworkPolicy' ? [fromNetworkPolicy(source)] : null,
  );
  private readonly all = kept((lists: readonly (readonly Policy[])[]) => joined(lists));

  read(cluster: Cluster, { hostFirewall }: Settings): readonly Policy[] {
    const { policies } = cluster;
    return this.all(
      this.plain(policies).map(
        (plain, i) =>
          plain ?? fromSource(policies[i]!, cluster).filter(({ aboutNodes }) => hostFirewall || !aboutNodes),
      ),
    );
  }
}

function fromSource(
  source: PolicySource,
  { nodes, namespaces, services, families, cidrGroups, tiers, networkSets }: Cluster,
): readonly Policy[] {
  switch (source.kind) {
    case 'NetworkPolicy':
      return [fromNetworkPolicy(source)];
    case 'CiliumNetworkPolicy':
    case 'CiliumClusterwideNetworkPolicy':
      return fromCilium(source, cidrGroups, services);
    case 'ClusterNetworkPolicy':
    case 'AdminNetworkPolicy':
    case 'BaselineAdminNetworkPolicy':
      return fromAdmin(source, nodes);
    case 'CalicoPolicy':
      return fromCalico(source, families, namespaces, networkSets, nodes, services, tiers);
  }
}

const fromCilium = keptFor(
  (source: CiliumPolicy, cidrGroups: CiliumParts['cidrGroups'], services: CiliumParts['services']) =>
    fromCiliumPolicy(source, { cidrGroups, services }),
);
const fromAdmin = keptFor((source: AdminPolicy, nodes: AdminParts['nodes']) => [fromAdminPolicy(source, { nodes })]);
const fromCalico = keptFor(
  (
    source: CalicoPolicy,
    families: CalicoParts['families'],
    namespaces: CalicoParts['namespaces'],
    networkSets: CalicoParts['networkSets'],
    nodes: CalicoParts['nodes'],
    services: CalicoParts['services'],
    tiers: CalicoParts['tiers'],
  ) => fromCalicoPolicy(source, { families, namespaces, networkSets, nodes, services, tiers }),
);

export interface CompiledPolicies {
  readonly all: readonly Policy[];
  readonly policies: readonly CompiledPolicy[];
  readonly ofIdentity: ReadonlyMap<PodIdentity, CompiledPolicy>;
  /** The policies of the nodes themselves; none without a firewall there. */
  readonly ofNode: ReadonlyMap<ClusterNode, CompiledPolicy>;
}

/** Compiles again what pods have, as it would be had they other policies: what an edit to a rule changes. */
export class Recompiler {
  private readonly peers: Peers;
  private readonly localhost: boolean;

  constructor(identities: Identities, settings: Settings) {
    this.peers = new Peers(identities, settings);
    this.localhost = settings.allowLocalhost !== 'policy';
  }

  /** Whom a rule is about; 0 for anyone. */
  identitiesOf(rule: Rule): readonly number[] {
    return identitiesOf(rule, this.peers);
  }

  /** What pods of an identity would have, did these policies apply to them. */
  compile(applied: readonly Policy[], example: PodIdentity): CompiledPolicy {
    return compilePolicymap({ id: 0, applied, example, localhost: this.localhost }, this.peers);
  }

  /** Of that, what is about a peer and about any. */
  between(applied: readonly Policy[], example: PodIdentity, peer: number): CompiledPolicy {
    const subjects = { id: 0, applied, example, localhost: this.localhost };
    return only(compilePolicymap(subjects, among(this.peers, new Set([peer]))), new Set([0, peer]));
  }
}

/** What a policymap was compiled from. */
interface Compiled extends Subjects {
  readonly policymap: CompiledPolicy;
  /** Whether it was made of more identities than those that its rules name. */
  readonly asksPeers: boolean;
}

/** A policymap, which stays the very same while it would come out the same, and so do its rows. */
function compiledFrom(subjects: Subjects, peers: Peers, before: Compiled | undefined, changes: Changes): Compiled {
  const { applied } = subjects;
  const isLike =
    before?.localhost === subjects.localhost &&
    before.example === subjects.example &&
    sameItems(before.applied, applied);
  const made = (policymap: CompiledPolicy): Compiled => ({ ...subjects, policymap, asksPeers: asksPeers(applied) });
  if (!isLike || (before.asksPeers && changes.areOthers)) return made(compilePolicymap(subjects, peers));
  if (!applied.some((policy) => changes.inPeers.has(policy))) return before;
  const changed = new Set(applied.flatMap((policy) => changes.inPeers.get(policy) ?? []));
  return made(
    changed.has(0) || areOrdered(applied)
      ? compilePolicymap(subjects, peers)
      : recompilePolicymap(before.policymap, subjects, peers, changed),
  );
}

/** What has changed since policies were compiled last. */
interface Changes {
  /** Whether there are other identities. */
  readonly areOthers: boolean;
  /** Of each policy whose rules name others than before, those that came and went. */
  readonly inPeers: ReadonlyMap<Policy, readonly number[]>;
}

/** Numbers of policies stay while the policies they stand for do, and what was compiled while it would come out the same. */
export class PolicyCompiler {
  private readonly numbers = new Numbers();
  private keys: readonly string[] = [];
  private readonly compiled = new Map<string, Compiled>();
  private last: Peers | null = null;
  private readonly selections = keptEach((policy: Policy) => new Selections(policy));
  private readonly peers = kept(
    (identities: Identities, settings: Settings) => (this.last = new Peers(identities, settings, this.last)),
  );
  private readonly subjects = indexed(({ pods }: Subject) => pods);
  private readonly groupOf = keptFor((identity: PodIdentity, about: readonly Subject[], peers: Peers | null) => {
    const applied = about.map(({ policy }) => policy);
    return { key: groupKey(applied, identity, peers), applied };
  });

  compile(
    all: readonly Policy[],
    nodes: readonly ClusterNode[],
    identities: Identities,
    settings: Settings,
  ): CompiledPolicies {
    const areOthers = this.last?.identities !== identities;
    const peers = this.peers(identities, settings);
    const inPeers = new Map<Policy, readonly number[]>();
    const aboutPods: Subject[] = [];
    for (const one of this.selections(all)) {
      const changed = one.update(peers);
      if (changed.length > 0) inPeers.set(one.policy, changed);
      if (one.subject) aboutPods.push(one.subject);
    }
    const subjects = this.subjects(aboutPods);
    const groups = grouped(identities.pods, (identity) => {
      const about = subjects.all(identity);
      return this.groupOf(identity, about, about.some(({ isPartly }) => isPartly) ? peers : null);
    });
    const ofHosts = all.filter(({ aboutNodes }) => aboutNodes);
    const hosts = grouped(settings.hostFirewall ? nodes : [], ({ labels }) => {
      const applied = ofHosts.filter(({ subject }) => selects(subject, { source: 'k8s', labels }));
      return { key: ['nodes', ...applied.map(({ key }) => key)].join('\n'), applied };
    });
    const localhost = settings.allowLocalhost !== 'policy';
    const keys = [...groups.keys(), ...hosts.keys()];
    const { gone, come } = difference(this.keys, keys);
    this.numbers.change(gone, come);
    this.keys = keys;
    for (const key of gone) if (this.numbers.get(key) === undefined) this.compiled.delete(key);
    const ofIdentity = new Map<PodIdentity, CompiledPolicy>();
    const byId: CompiledPolicy[] = [];
    const compile = (key: string, applied: readonly Policy[], example: PodIdentity | null): CompiledPolicy => {
      const before = this.compiled.get(key);
      const id = before?.id ?? this.numbers.get(key)!;
      const made = compiledFrom({ id, applied, example, localhost }, peers, before, { areOthers, inPeers });
      if (made !== before) this.compiled.set(key, made);
      return (byId[id] = made.policymap);
    };
    for (const [key, { applied, members }] of groups) {
      const policy = compile(key, applied, members[0]!);
      for (const member of members) ofIdentity.set(member, policy);
    }
    const ofNode = new Map<ClusterNode, CompiledPolicy>();
    for (const [key, { applied, members }] of hosts) {
      const policy = compile(key, applied, null);
      for (const member of members) ofNode.set(member, policy);
    }
    return { all, policies: byId.filter((policy) => policy !== undefined), ofIdentity, ofNode };
  }
}

interface Group<Member> {
  readonly applied: readonly Policy[];
  readonly members: Member[];
}

/** Those to which the same policies apply in the same way. */
function grouped<Member>(
  members: readonly Member[],
  groupOf: (member: Member) => { readonly key: string; readonly applied: readonly Policy[] },
): ReadonlyMap<string, Group<Member>> {
  const groups = new Map<string, Group<Member>>();
  for (const member of members) {
    const { key, applied } = groupOf(member);
    const group = groups.get(key);
    if (group) group.members.push(member);
    else groups.set(key, { applied, members: [member] });
  }
  return groups;
}

/** Pods share a policy when the same policies and rules apply and the ports these ask for by name are the same. */
function groupKey(applied: readonly Policy[], identity: PodIdentity, peers: Peers | null): string {
  const ports: string[] = [];
  for (const { rules } of applied) {
    for (const { origin, own, ports: asked } of rules) {
      if (own) ports.push(peers!.has(own, identity) ? '+' : '-');
      if (origin.direction === 'egress') continue;
      for (const { port, protocol } of asked ?? []) {
        if (typeof port !== 'string') continue;
        ports.push(`${port}/${protocol}=${numbersOf(port, protocol, identity)?.first ?? '-'}`);
      }
    }
  }
  return [...applied.map(({ key }) => key), ...ports].join(' ');
}
