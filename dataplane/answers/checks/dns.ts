/** HS3005: pods that may talk to somebody, and cannot ask the cluster DNS for anybody's address. */
import { DropReason, IpProto } from '../../../assembly/abi.js';
import { covers, parsePrefix } from '../../addresses.js';
import type { ClusterPod, ClusterService } from '../../cluster/cluster.js';
import { compare } from '../../hash.js';
import type { NetworkPolicy, NetworkPolicyPort } from '../../manifests/objects.js';
import type { Place } from '../../manifests/place.js';
import { problem, type Problem } from '../../problems.js';
import type { State } from '../../state.js';
import { list, named } from '../../words.js';
import { run } from '../probe.js';
import { SOURCE_PORT, unreadPolicies } from '../query.js';
import { rulesOf, selectedBy, shapesOfPeer, wouldMatchDns, type Rule } from './peers.js';
import type { Shape } from './shapes.js';

const DNS_PORT = 53;
const DNS_LABEL = ['k8s-app', 'kube-dns'] as const;

/** The cluster DNS as the manifests have it: where its pods listen. */
interface Dns {
  readonly name: string;
  readonly namespace: string;
  readonly place: Place | null;
  readonly pods: ReadonlySet<ClusterPod>;
  readonly listeners: readonly { readonly address: number; readonly port: number }[];
  /** `k8s-app: kube-dns`, what a rule is to select. */
  readonly labels: string;
}

export function checkDns(state: State, shapes: readonly Shape[]): Problem[] {
  const dns = dnsOf(state);
  const found = new Map<NetworkPolicy, { pods: ClusterPod[]; others: Set<NetworkPolicy> }>();
  for (const group of state.policies.policies) {
    const isolating = group.isolatedBy.egress;
    const allowing = isolating.filter((policy) => policy.egress?.rules.length);
    // Isolation that allows nothing at all is meant to.
    if (allowing.length === 0) continue;
    const members = state.identities.pods.filter((identity) => state.policies.ofIdentity.get(identity) === group);
    const asking = members.map(({ example }) => example).filter((pod) => !dns?.pods.has(pod));
    const cut = asking.filter(
      (pod) =>
        unreadPolicies(state, new Set([pod.namespace])).length === 0 && isCutOff(state, dns, pod, isolating, shapes),
    );
    if (cut.length === 0) continue;
    // A rule in the policy for the most pods mends most.
    const place = allowing
      .map((policy) => ({ policy, size: selectedBy(policy, shapes).length }))
      .reduce((most, next) => (next.size > most.size ? next : most)).policy;
    const report = found.get(place) ?? { pods: [], others: new Set() };
    found.set(place, report);
    report.pods.push(...cut);
    for (const policy of isolating) if (policy !== place) report.others.add(policy);
  }
  return [...found].map(([policy, { pods, others }]) => describe(state, policy, pods, [...others], dns));
}

/**
 * In order of preference:
 * 1. Service `kube-dns` in `kube-system`
 * 2. a Service with the label `k8s-app: kube-dns`, or named `coredns` in `kube-system`
 * 3. pods with that label
 * null where the manifests hold none with pods behind it: the cluster brings its own.
 */
function dnsOf(state: State): Dns | null {
  const services = state.cluster.services
    .map((service) => ({ service, rank: rankOf(service) }))
    .filter(({ rank }) => rank > 0);
  for (const { service } of services.sort((a, b) => b.rank - a.rank)) {
    const port = service.ports.find(({ source }) => source.protocol === 'UDP' && source.port.value === DNS_PORT);
    if (!port || port.backends.length === 0) continue;
    const { metadata, selector } = service.source;
    return {
      name: `${service.namespace}/${service.name}`,
      namespace: service.namespace,
      place: metadata.name.at,
      pods: new Set([...service.selected, ...port.backends.flatMap(({ pod }) => pod ?? [])]),
      listeners: port.backends,
      labels:
        [...(selector?.labels ?? [])].map(([key, { value }]) => `${key}: ${value}`).join(', ') || DNS_LABEL.join(': '),
    };
  }
  const [key, value] = DNS_LABEL;
  const pods = state.cluster.pods.filter((pod) => pod.labels.get(key) === value);
  if (!pods[0]) return null;
  const { namespace, workload, source } = pods[0];
  const listeners = pods.map(({ address }) => ({ address, port: DNS_PORT }));
  return { name: workload.ref, namespace, place: source, pods: new Set(pods), listeners, labels: DNS_LABEL.join(': ') };
}

function rankOf({ namespace, name, source }: ClusterService): number {
  if (namespace === 'kube-system' && name === 'kube-dns') return 3;
  if (source.metadata.labels.get(DNS_LABEL[0])?.value === DNS_LABEL[1]) return 2;
  return namespace === 'kube-system' && name === 'coredns' ? 1 : 0;
}

function isCutOff(
  state: State,
  dns: Dns | null,
  pod: ClusterPod,
  isolating: readonly NetworkPolicy[],
  shapes: readonly Shape[],
): boolean {
  const rules = isolating.flatMap(rulesOf).filter(({ direction }) => direction === 'egress');
  if (rules.some((rule) => namesOwnResolver(state, rule))) return false;
  if (dns === null) return !rules.some((rule) => allowsUnseenDns(state, rule, shapes));
  const outcomes = run(
    state,
    dns.listeners.slice(0, MOST_LISTENERS).map(({ address, port }) => ({
      sender: { kind: 'pod', pod },
      tuple: {
        source: pod.address,
        destination: address,
        protocol: IpProto.UDP,
        sourcePort: SOURCE_PORT,
        destinationPort: port,
      },
    })),
  );
  return outcomes.every(({ direction, reason }) => direction === 'egress' && reason?.code === DropReason.POLICY);
}

/** Replicas of one Deployment answer alike. */
const MOST_LISTENERS = 16;

const isDnsPort = ({ protocol, port, endPort }: NetworkPolicyPort): boolean => {
  if (protocol !== 'UDP') return false;
  if (port === null) return true;
  if (typeof port.value === 'string') return port.value.includes('dns');
  return port.value <= DNS_PORT && DNS_PORT <= (endPort?.value ?? port.value);
};

/** A rule for UDP 53 to addresses that are neither pods' nor Services': the pods have another DNS, and are let to it. */
function namesOwnResolver(state: State, { rule }: Rule): boolean {
  if (!rule.ports?.some(isDnsPort)) return false;
  const cluster = [state.settings.podCIDR, state.settings.serviceCIDR].map((cidr) => parsePrefix(cidr)!);
  return (rule.peers ?? []).some(({ ipBlock }) => {
    if (!ipBlock) return false;
    const block = parsePrefix(ipBlock.cidr.value);
    return block === null || !cluster.some((range) => covers(block, range) || covers(range, block));
  });
}

/** Whether a rule would let packets to a DNS that the manifests do not hold: also one under labels that nobody here has. */
function allowsUnseenDns(state: State, { policy, rule }: Rule, shapes: readonly Shape[]): boolean {
  if (rule.ports?.length && !rule.ports.some(isDnsPort)) return false;
  if (!rule.peers?.length) return true;
  return rule.peers.some((peer) => {
    if (peer.ipBlock) return state.settings.ipBlockMatchesPods && coversPods(state, peer.ipBlock.cidr.value);
    if (wouldMatchDns(state, policy, peer)) return true;
    return Boolean(rule.ports?.length) && shapesOfPeer(state, policy, peer, shapes).length === 0;
  });
}

function coversPods(state: State, cidr: string): boolean {
  const block = parsePrefix(cidr);
  return block !== null && covers(block, parsePrefix(state.settings.podCIDR)!);
}

function describe(
  state: State,
  policy: NetworkPolicy,
  pods: readonly ClusterPod[],
  others: readonly NetworkPolicy[],
  dns: Dns | null,
): Problem {
  const workloads = list([...new Set(pods.map(({ workload }) => workload.ref))].sort(compare).map(named), 'and', 3);
  const where = dns ? `UDP 53 of ${named(dns.name)} is refused` : 'no egress rule lets UDP 53 to it';
  const blocks = (policy.egress?.rules ?? [])
    .flatMap(({ peers }) => peers ?? [])
    .some(({ ipBlock }) => ipBlock && coversPods(state, ipBlock.cidr.value));
  const hint =
    blocks && !state.settings.ipBlockMatchesPods
      ? ' An `ipBlock` is for addresses outside the cluster; it does not match pods.'
      : '';
  const message = `${workloads} cannot ask the cluster DNS: ${where}, so no name can be looked up.${hint}`;
  const related = others.map((other) => ({
    at: other.metadata.name.at,
    message: `Policy ${named(other.metadata.name.value)} isolates them too.`,
  }));
  if (dns?.place) related.push({ at: dns.place, message: 'The cluster DNS.' });
  const namespace = dns?.namespace ?? 'kube-system';
  const fixes = [
    `add an egress rule: to namespaceSelector \`kubernetes.io/metadata.name: ${namespace}\` with podSelector ${named(dns?.labels ?? DNS_LABEL.join(': '))}, ports UDP 53 and TCP 53`,
  ];
  return problem('HS3005', egressOf(policy), message, { related, fixes });
}

/** The word `egress` above the policy's egress rules. */
function egressOf({ egress, policyTypesAt, metadata }: NetworkPolicy): Place {
  if (!egress) return policyTypesAt ?? metadata.name.at;
  const { source, start } = egress.at;
  // Between the key and the list: its colon, comments and white space.
  const before = /(egress)["']?\s*:\s*(?:#[^\n\r]*[\n\r]\s*)*$/.exec(source.text.slice(Math.max(0, start - 2000), start));
  if (!before) return policyTypesAt ?? egress.at;
  const key = Math.max(0, start - 2000) + before.index;
  return { source, start: key, end: key + 'egress'.length };
}
