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
    const cut = asking.filter((pod) => unreadPolicies(state, new Set([pod.namespace])).length === 0 && isCutOff(state, dns, pod, isolating, shapes));
    if (cut.length === 0) continue;
    // A rule in the policy for the most pods mends most.
    const place = allowing.map((policy) => ({ policy, size: selectedBy(policy, shapes).length })).reduce((most, next) => (next.size > most.size ? next : most)).policy;
    const report = found.get(place) ?? { pods: [], others: new Set() };
    found.set(place, report);
    report.pods.push(...cut);
    for (const policy of isolating) if (policy !== place) report.others.add(policy);
  }
  return [...found].map(([policy, { pods, others }]) => describe(policy, pods, [...others], dns));
}
