/** HS3005: pods that may talk to somebody, and cannot ask the cluster DNS for anybody's address. */
import { DropReason, IpProto } from '../../../assembly/abi.js';
import { covers } from '../../addresses.js';
import { NAME_LABEL, type ClusterPod } from '../../cluster/cluster.js';
import { compare } from '../../hash.js';
import type { Place } from '../../manifests/place.js';
import type { CompiledPolicy } from '../../policy/compile.js';
import { matchesPods } from '../../policy/identities.js';
import { partsOf, type Peer, type Policy, type PortMatch, type Rule } from '../../policy/rules.js';
import { CLUSTER_NAME, DERIVED, NAMESPACE_NAME, selects, type Labelled } from '../../policy/selectors.js';
import { problem, type Problem } from '../../problems.js';
import { ipBlocksMatchPods, prefixesIn } from '../../settings.js';
import type { State } from '../../state.js';
import { list, named } from '../../words.js';
import { askAt, clusterDns, DNS, DNS_PORT, type ClusterDns } from '../dns.js';
import { run } from '../probe.js';
import { unreadPolicies } from '../missing.js';
import { podsAmong, podsMatching } from '../policy-pods.js';
import { SOURCE_PORT } from '../query.js';

/** Listeners tried, at most: replicas of one Deployment answer alike. */
const MOST_LISTENERS = 8;

/** Pods with one policy that isolates them in egress and lets them reach somebody. */
interface Group {
  readonly isolating: readonly Policy[];
  readonly pods: readonly ClusterPod[];
}

export function checkDns(state: State): Problem[] {
  const dns = clusterDns(state);
  const groups = groupsOf(state, dns);
  const cut = dns
    ? refusedBy(state, dns, groups)
    : groups.filter(({ isolating }) => !egressRules(isolating).some((rule) => allowsUnseenDns(state, rule)));

  const reports = new Map<Policy, { pods: ClusterPod[]; others: Set<Policy> }>();
  for (const { isolating, pods } of cut) {
    // Of the policies that allow something, a rule in the one for the most pods mends most.
    const allowing = isolating.filter((policy) => egressRules([policy]).length > 0);
    const sizes = new Map(allowing.map((policy) => [policy, podsMatching(state, policy.subject).length]));
    const most = allowing.reduce((best, policy) => (sizes.get(policy)! > sizes.get(best)! ? policy : best));
    const report = reports.get(most) ?? { pods: [], others: new Set() };
    reports.set(most, report);
    report.pods.push(...pods);
    for (const policy of isolating) if (policy !== most) report.others.add(policy);
  }
  return [...reports].map(([policy, { pods, others }]) => describe(state, policy, pods, [...others], dns));
}

/**
 * Not among them:
 * 1. pods that may reach nobody at all: that is meant
 * 2. pods that are let to a DNS of their own
 * 3. pods for which a policy exists that is not read or not evaluated, and may let them
 * 4. the cluster DNS itself
 */
function groupsOf(state: State, dns: ClusterDns | null): Group[] {
  const members = new Map<CompiledPolicy, ClusterPod[]>();
  const readWhole = new Map<string, boolean>();
  const isReadWhole = (namespace: string): boolean => {
    const known = readWhole.get(namespace) ?? unreadPolicies(state, new Set([namespace])).length === 0;
    readWhole.set(namespace, known);
    return known;
  };
  for (const [identity, policy] of state.policies.ofIdentity) {
    const others = members.get(policy);
    if (others) others.push(identity.example);
    else members.set(policy, [identity.example]);
  }
  return [...members].flatMap(([policy, examples]): Group[] => {
    const isolating = policy.isolatedBy.egress;
    const rules = egressRules(isolating);
    if (rules.length === 0 || rules.some((rule) => namesOwnResolver(state, rule))) return [];
    const pods = examples.filter((pod) => !dns?.pods.has(pod) && isReadWhole(pod.namespace));
    return pods.length > 0 ? [{ isolating, pods }] : [];
  });
}

const egressRules = (policies: readonly Policy[]): Rule[] =>
  policies.flatMap(({ rules }) => rules).filter(({ origin, deny }) => origin.direction === 'egress' && !deny);

/** The groups of which no packet for the DNS leaves the pod. One policy decides for all its pods alike, so one is asked. */
function refusedBy(state: State, { listeners }: ClusterDns, groups: readonly Group[]): Group[] {
  const asked = listeners.slice(0, MOST_LISTENERS);
  return groups.filter(({ pods }) => {
    const probes = asked.flatMap((listener) => askAt(pods[0]!, listener, SOURCE_PORT));
    return run(state, probes).every(
      ({ direction, reason }) => direction === 'egress' && reason?.code === DropReason.POLICY,
    );
  });
}

function isDnsPort({ protocol, port }: PortMatch): boolean {
  if (protocol !== IpProto.UDP) return false;
  if (typeof port === 'string') return port.includes('dns');
  return port.first <= DNS_PORT && DNS_PORT <= port.last;
}

/**
 * A rule for UDP 53 to addresses that are neither pods' nor Services', or to what Cilium has words for (a DNS on the nodes, one
 * in the world): the pods have another DNS, and are let to it.
 */
function namesOwnResolver(state: State, { peers, ports }: Rule): boolean {
  if (!ports?.some(isDnsPort)) return false;
  const { podCIDR, serviceCIDR } = state.settings;
  const cluster = [...prefixesIn(podCIDR), ...prefixesIn(serviceCIDR)];
  return (peers ?? []).flatMap(partsOf).some((peer) => {
    if (peer.kind === 'endpoints') return peer.selector.requirements.some(({ source }) => source === 'reserved');
    return peer.kind === 'prefix' && !cluster.some((range) => covers(peer.cidr, range) || covers(range, peer.cidr));
  });
}

/** Whether a rule lets packets to a DNS that the manifests do not hold: also to peers that they do not hold, where it names the port. */
function allowsUnseenDns(state: State, { peers, ports }: Rule): boolean {
  if (ports && !ports.some(isDnsPort)) return false;
  if (peers === null) return true;
  const mayBe = (peer: Peer): boolean => {
    if (peer.kind === 'prefix') return matchesPods(peer, state.settings) && coversPods(state, peer);
    if (peer.kind === 'endpoints')
      return selects(peer.selector, unseenDns(state)) || (ports !== null && podsAmong(state, peer).length === 0);
    if (peer.kind === 'where') return peer.all.every((group) => group.some(mayBe)) && !peer.none.some(mayBe);
    return peer.kind === 'anyone';
  };
  return peers.some(mayBe);
}

/** The pods of the cluster DNS as they would be, did the manifests hold them. */
function unseenDns(state: State): Labelled {
  const { namespace, label } = DNS;
  const known = state.cluster.namespaces.get(namespace);
  // Before Kubernetes labelled namespaces itself, `name` was what people labelled them with.
  const labels = known?.declared ? known.labels : new Map([...(known?.labels ?? []), ['name', namespace]]);
  return {
    source: 'k8s',
    labels: new Map([
      label,
      [DERIVED.namespace, namespace],
      [DERIVED.cluster, CLUSTER_NAME],
      [NAMESPACE_NAME, namespace],
      ...[...labels].map(([key, value]): [string, string] => [DERIVED.namespaceLabels + key, value]),
    ]),
  };
}

const coversPods = (state: State, { cidr }: Peer & { kind: 'prefix' }): boolean =>
  prefixesIn(state.settings.podCIDR).some((range) => covers(cidr, range));

function describe(
  state: State,
  policy: Policy,
  pods: readonly ClusterPod[],
  others: readonly Policy[],
  dns: ClusterDns | null,
): Problem {
  const workloads = [...new Set(pods.map(({ workload }) => workload.ref))].sort(compare).map(named);
  const why = dns ? `UDP 53 of ${named(dns.name)} is refused` : 'no egress rule allows UDP 53 to it';
  const message = `${list(workloads, 'and', 3)} cannot ask the cluster DNS: ${why}, so no name can be looked up.${blockHint(state, policy)}`;
  const related = others
    .map(({ source: { metadata } }) => ({
      at: metadata.name.at,
      message: `Policy ${named(metadata.name.value)} isolates too.`,
    }))
    .sort((a, b) => compare(a.message, b.message))
    .slice(0, 8);
  if (dns) related.push({ at: dns.at, message: 'The cluster DNS.' });
  const namespace = named(`${NAME_LABEL}: ${dns?.namespace ?? DNS.namespace}`);
  const labels = named(dns?.labels ?? DNS.label.join(': '));
  const fix = `add an egress rule: to namespaceSelector ${namespace} with podSelector ${labels}, ports UDP 53 and TCP 53`;
  return problem('HS3005', egressOf(policy), message, { related, fixes: [fix] });
}

/** Who allows every address may think to have allowed pods. */
function blockHint(state: State, policy: Policy): string {
  if (ipBlocksMatchPods(state.settings) || policy.source.kind !== 'NetworkPolicy') return '';
  const peers = egressRules([policy]).flatMap((rule) => rule.peers ?? []);
  const wide = peers.some((peer) => peer.kind === 'prefix' && coversPods(state, peer));
  return wide ? ' An `ipBlock` is for addresses outside the cluster; it does not match pods.' : '';
}

/** How far above its list the key `egress` is looked for. */
const KEY_DISTANCE = 2000;

/** The key `egress` of the policy; between it and its list are a colon, white space and comments. */
function egressOf({ source: policy }: Policy): Place {
  const list =
    'specs' in policy
      ? policy.specs.flatMap(({ sections }) => sections).find(({ name }) => name === 'egress')
      : policy.egress;
  if (!list) return policy.metadata.name.at;
  const { source, start } = list.at;
  const from = Math.max(0, start - KEY_DISTANCE);
  const key = /egress(?=["']?\s*:\s*(?:#[^\n\r]*[\n\r]\s*)*$)/.exec(source.text.slice(from, start));
  if (!key) return { source, start, end: start + 1 };
  return { source, start: from + key.index, end: from + key.index + key[0].length };
}
