/** HS3005: pods that may talk to somebody, and cannot ask the cluster DNS for anybody's address. */
import { DropReason } from '../../../assembly/abi.js';
import { covers, parsePrefix } from '../../addresses.js';
import type { ClusterPod } from '../../cluster/cluster.js';
import { compare } from '../../hash.js';
import type { NetworkPolicy, NetworkPolicyPort } from '../../manifests/objects.js';
import type { Place } from '../../manifests/place.js';
import type { CompiledPolicy } from '../../policy/compile.js';
import { problem, type Problem } from '../../problems.js';
import { prefixesIn } from '../../settings.js';
import type { State } from '../../state.js';
import { list, named } from '../../words.js';
import { askAt, clusterDns, DNS, DNS_PORT, type ClusterDns } from '../dns.js';
import { run } from '../probe.js';
import { unreadPolicies } from '../missing.js';
import { SOURCE_PORT } from '../query.js';
import { meansDns, NAME_LABEL, rulesOf, selectedBy, shapesOfPeer, type Rule } from './peers.js';
import type { Shapes } from './shapes.js';

/** Listeners tried, at most: replicas of one Deployment answer alike. */
const MOST_LISTENERS = 8;

/** Pods with one policy that isolates them in egress and lets them reach somebody. */
interface Group {
  readonly isolating: readonly NetworkPolicy[];
  readonly pods: readonly ClusterPod[];
}

export function checkDns(state: State, shapes: Shapes): Problem[] {
  const dns = clusterDns(state);
  const groups = groupsOf(state, dns);
  const cut = dns
    ? refusedBy(state, dns, groups)
    : groups.filter(({ isolating }) => !egressRules(isolating).some((rule) => allowsUnseenDns(state, rule, shapes)));

  const reports = new Map<NetworkPolicy, { pods: ClusterPod[]; others: Set<NetworkPolicy> }>();
  for (const { isolating, pods } of cut) {
    // Of the policies that allow something, a rule in the one for the most pods mends most.
    const allowing = isolating.filter((policy) => policy.egress?.rules.length);
    const sizes = new Map(allowing.map((policy) => [policy, selectedBy(policy, shapes).length]));
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

const egressRules = (policies: readonly NetworkPolicy[]): Rule[] =>
  policies.flatMap(rulesOf).filter(({ direction }) => direction === 'egress');

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

function isDnsPort({ protocol, port, endPort }: NetworkPolicyPort): boolean {
  if (protocol !== 'UDP') return false;
  if (port === null) return true;
  if (typeof port.value === 'string') return port.value.includes('dns');
  return port.value <= DNS_PORT && DNS_PORT <= (endPort?.value ?? port.value);
}

/** A rule for UDP 53 to addresses that are neither pods' nor Services': the pods have another DNS, and are let to it. */
function namesOwnResolver(state: State, { rule }: Rule): boolean {
  if (!rule.ports?.some(isDnsPort)) return false;
  const { podCIDR, serviceCIDR } = state.settings;
  const cluster = [...prefixesIn(podCIDR), ...prefixesIn(serviceCIDR)];
  return (rule.peers ?? []).some(({ ipBlock }) => {
    if (!ipBlock) return false;
    const block = parsePrefix(ipBlock.cidr.value);
    return block === null || !cluster.some((range) => covers(block, range) || covers(range, block));
  });
}

/** Whether a rule lets packets to a DNS that the manifests do not hold: also to peers that they do not hold, where it names the port. */
function allowsUnseenDns(state: State, { policy, rule }: Rule, shapes: Shapes): boolean {
  const namesPort = Boolean(rule.ports?.length);
  if (namesPort && !rule.ports!.some(isDnsPort)) return false;
  if (!rule.peers?.length) return true;
  return rule.peers.some((peer) => {
    if (peer.ipBlock) return state.settings.ipBlockMatchesPods && coversPods(state, peer.ipBlock.cidr.value);
    return meansDns(state, policy, peer) || (namesPort && shapesOfPeer(state, policy, peer, shapes).length === 0);
  });
}

function coversPods(state: State, cidr: string): boolean {
  const block = parsePrefix(cidr);
  return block !== null && prefixesIn(state.settings.podCIDR).some((range) => covers(block, range));
}

function describe(
  state: State,
  policy: NetworkPolicy,
  pods: readonly ClusterPod[],
  others: readonly NetworkPolicy[],
  dns: ClusterDns | null,
): Problem {
  const workloads = [...new Set(pods.map(({ workload }) => workload.ref))].sort(compare).map(named);
  const why = dns ? `UDP 53 of ${named(dns.name)} is refused` : 'no egress rule allows UDP 53 to it';
  const message = `${list(workloads, 'and', 3)} cannot ask the cluster DNS: ${why}, so no name can be looked up.${blockHint(state, policy)}`;
  const related = others
    .map(({ metadata }) => ({ at: metadata.name.at, message: `Policy ${named(metadata.name.value)} isolates too.` }))
    .sort((a, b) => compare(a.message, b.message))
    .slice(0, 8);
  if (dns) related.push({ at: dns.at, message: 'The cluster DNS.' });
  const namespace = named(`${NAME_LABEL}: ${dns?.namespace ?? DNS.namespace}`);
  const labels = named(dns?.labels ?? DNS.label.join(': '));
  const fix = `add an egress rule: to namespaceSelector ${namespace} with podSelector ${labels}, ports UDP 53 and TCP 53`;
  return problem('HS3005', egressOf(policy), message, { related, fixes: [fix] });
}

/** Who allows every address may think to have allowed pods. */
function blockHint(state: State, { egress }: NetworkPolicy): string {
  if (state.settings.ipBlockMatchesPods) return '';
  const peers = (egress?.rules ?? []).flatMap((rule) => rule.peers ?? []);
  const wide = peers.some(({ ipBlock }) => ipBlock && coversPods(state, ipBlock.cidr.value));
  return wide ? ' An `ipBlock` is for addresses outside the cluster; it does not match pods.' : '';
}

/** How far above its list the key `egress` is looked for. */
const KEY_DISTANCE = 2000;

/** The key `egress` of the policy; between it and its list are a colon, white space and comments. */
function egressOf({ egress, metadata }: NetworkPolicy): Place {
  if (!egress) return metadata.name.at;
  const { source, start } = egress.at;
  const from = Math.max(0, start - KEY_DISTANCE);
  const key = /egress(?=["']?\s*:\s*(?:#[^\n\r]*[\n\r]\s*)*$)/.exec(source.text.slice(from, start));
  if (!key) return { source, start, end: start + 1 };
  return { source, start: from + key.index, end: from + key.index + key[0].length };
}
