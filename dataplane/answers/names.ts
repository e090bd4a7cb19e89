/** Names of the world that policies know by `toFQDNs`: what the DNS proxy must have seen before their addresses are let. */
import type { ClusterPod } from '../cluster/cluster.js';
import { matchesName } from '../policy/fqdn.js';
import type { FqdnIdentity } from '../policy/identities.js';
import { policyOf, type State } from '../state.js';
import { askDns, clusterDns } from './dns.js';
import { run, type Outcome, type Probe } from './probe.js';

/**
 * Whether the DNS proxy sees a pod ask for a name: a rule with `rules.dns` must let the question. Where the manifests hold no
 * cluster DNS, any such rule is taken to be for it. Names in administrators' policies are learnt without such a rule.
 */
function isSeen(state: State, pod: ClusterPod, name: string): boolean {
  const learnt = isLearnt(state, pod, name);
  if (clusterDns(state)) {
    const asked = askDns(state, pod, name);
    const passed = asked?.allowed ? asked.redirects : [];
    return (learnt && asked?.allowed) || passed.some(({ direction, port }) => direction === 'egress' && port !== 0);
  }
  if (learnt) return true;
  return (policyOf(state, pod)?.applied ?? [])
    .flatMap(({ rules }) => rules)
    .filter(({ origin, deny }) => origin.direction === 'egress' && !deny)
    .flatMap(({ ports }) => ports ?? [])
    .some(({ l7 }) => l7?.kind === 'dns' && l7.rules.some((rule) => matchesName(rule, name)));
}

/** Whether a policy of an administrator names a name: `domainNames` say nothing of how it is looked up. */
const isLearnt = (state: State, pod: ClusterPod, name: string): boolean =>
  (policyOf(state, pod)?.applied ?? [])
    .filter(({ source }) => source.kind === 'ClusterNetworkPolicy' || source.kind === 'AdminNetworkPolicy')
    .flatMap(({ rules }) => rules.flatMap(({ peers }) => peers ?? []))
    .some((peer) => peer.kind === 'fqdn' && matchesName(peer.fqdn, name));

/** What a pod's policies know a name by. */
function knownBy(state: State, pod: ClusterPod, name: string): readonly FqdnIdentity[] {
  const known = state.identities.fqdns.filter(({ fqdn }) => matchesName(fqdn, name));
  return known.length > 0 && isSeen(state, pod, name) ? known : [];
}

/**
 * The packets to a name: an address that several selectors know is let where it is for any of them, so where one is let, that one
 * stands for them. Where none is, its address decides like any other of the world.
 */
export function towards(state: State, cases: readonly Probe[], name: string): readonly Probe[] {
  const bySender = new Map<ClusterPod, Probe[]>();
  for (const probe of cases) {
    if (probe.sender.kind !== 'pod') return cases;
    const { pod } = probe.sender;
    bySender.set(pod, [...(bySender.get(pod) ?? []), probe]);
  }
  return [...bySender].flatMap(([pod, probes]) => {
    const [first] = probes;
    const known = knownBy(state, pod, name).map(({ address }): Probe => ({
      ...first!,
      tuple: { ...first!.tuple, destination: address },
    }));
    const open = run(state, known).filter(({ allowed }) => allowed);
    return open.length > 0 ? open.map(({ probe }) => probe) : probes;
  });
}

/** Why a name that a rule knows is refused all the same; null where none of these pods asks for it in vain. */
export function unseen(state: State, pods: readonly ClusterPod[], name: string): string | null {
  if (!state.identities.fqdns.some(({ fqdn }) => matchesName(fqdn, name))) return null;
  if (pods.every((pod) => isSeen(state, pod, name))) return null;
  return `toFQDNs knows ${name} only once the DNS proxy sees it asked for: a rule for UDP 53 needs rules.dns that lets it`;
}

/** Whether a packet goes to an address that stands for those of a name. */
export const isNamed = (state: State, { probe }: Outcome): boolean =>
  state.identities.fqdns.some(({ address }) => address === probe.tuple.destination);
