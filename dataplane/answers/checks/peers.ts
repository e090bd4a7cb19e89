/** Which pods of the manifests the parts of a policy are about. */
import { NAME_LABEL } from '../../cluster/cluster.js';
import { matches } from '../../cluster/selectors.js';
import type { LabelSelector, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyRule } from '../../manifests/objects.js';
import type { Direction } from '../../policy/rules.js';
import type { State } from '../../state.js';
import { DNS } from '../dns.js';
import type { Shape, Shapes } from './shapes.js';

/** A rule that has an effect: the policy is for its direction. */
export interface Rule {
  readonly policy: NetworkPolicy;
  readonly direction: Direction;
  readonly rule: NetworkPolicyRule;
}

/** The NetworkPolicies; those of Cilium are checked by themselves. */
export const networkPolicies = (state: State): NetworkPolicy[] =>
  state.cluster.policies.filter((policy) => policy.kind === 'NetworkPolicy');

export function rulesOf(policy: NetworkPolicy): Rule[] {
  const directions = policy.policyTypes.map((type) => (type === 'Ingress' ? 'ingress' : 'egress'));
  return directions.flatMap((direction) =>
    (policy[direction]?.rules ?? []).map((rule) => ({ policy, direction, rule })),
  );
}

/** The pods whose labels a policy selects; to those on the host's network it does not apply all the same. */
export const selectedBy = ({ metadata, podSelector }: NetworkPolicy, shapes: Shapes): Shape[] =>
  shapes.in(metadata.namespace).filter(({ labels }) => matches(podSelector, labels));

const labelsOf = (state: State, namespace: string): ReadonlyMap<string, string> =>
  state.cluster.namespaces.get(namespace)?.labels ?? new Map([[NAME_LABEL, namespace]]);

/** The namespaces of the manifests that a peer looks for pods in. */
export function namespacesOf(
  state: State,
  { metadata }: NetworkPolicy,
  { namespaceSelector }: NetworkPolicyPeer,
): string[] {
  if (namespaceSelector === null) return [metadata.namespace];
  return [...state.cluster.namespaces.values()]
    .filter(({ labels }) => matches(namespaceSelector, labels))
    .map(({ name }) => name);
}

/** The pods that a peer means; none for an `ipBlock`. */
export function shapesOfPeer(state: State, policy: NetworkPolicy, peer: NetworkPolicyPeer, shapes: Shapes): Shape[] {
  if (peer.ipBlock) return [];
  return shapes
    .in(...namespacesOf(state, policy, peer))
    .filter(({ labels }) => peer.podSelector === null || matches(peer.podSelector, labels));
}

/** Whether a peer would mean the pods of the cluster DNS, did the manifests hold them. */
export function meansDns(state: State, { metadata }: NetworkPolicy, peer: NetworkPolicyPeer): boolean {
  const { podSelector, namespaceSelector, ipBlock } = peer;
  if (ipBlock || (podSelector !== null && !matches(podSelector, new Map([DNS.label])))) return false;
  if (namespaceSelector === null) return metadata.namespace === DNS.namespace;
  // Before Kubernetes labelled namespaces itself, `name` was what people labelled them with.
  const labels = new Map(labelsOf(state, DNS.namespace));
  if (!state.cluster.namespaces.get(DNS.namespace)?.declared) labels.set('name', DNS.namespace);
  return matches(namespaceSelector, labels);
}

/** Whether pods match by what they lack alone: whoever writes that means others than those at hand. */
export const asksForAbsence = ({ matchLabels, matchExpressions }: LabelSelector): boolean =>
  matchLabels.size === 0 &&
  matchExpressions.every(({ operator }) => operator === 'NotIn' || operator === 'DoesNotExist');

/** Namespaces that clusters and their usual add-ons bring along: seldom among the manifests of those who use them. */
const BROUGHT_ALONG =
  /^(default|kube-.+|.+-system|openshift-.+|ingress.*|cert-manager|linkerd.*|istio.*|traefik.*|monitoring|observability|prometheus|logging)$/;

/** Whether a namespace selector asks by name for a namespace that other manifests will hold. */
export function namesOutsider(state: State, { matchLabels, matchExpressions }: LabelSelector): boolean {
  const values = [
    ...[...matchLabels.values()].map(({ value }) => value),
    ...matchExpressions.flatMap(({ operator, values }) => (operator === 'In' ? values : [])),
  ];
  return values.some((value) => BROUGHT_ALONG.test(value) && !state.cluster.namespaces.get(value)?.declared);
}
