/** Which pods of the manifests the parts of a policy are about. */
import { matches } from '../../cluster/selectors.js';
import type { LabelSelector, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyRule } from '../../manifests/objects.js';
import type { Direction } from '../../policy/rules.js';
import type { State } from '../../state.js';
import type { Shape } from './shapes.js';

/** The label that every namespace has. Kubernetes API: well-known labels. */
const NAME_LABEL = 'kubernetes.io/metadata.name';

/** Where clusters run their DNS, under either name: what kubeadm, k3s, kind, EKS, GKE and AKS all call its pods. */
const DNS_NAMESPACE = 'kube-system';
const DNS_LABELS: ReadonlyMap<string, string> = new Map([['k8s-app', 'kube-dns']]);

export interface Rule {
  readonly policy: NetworkPolicy;
  readonly direction: Direction;
  readonly rule: NetworkPolicyRule;
}

/** The rules that have an effect: those of the directions that the policy is for. */
export function rulesOf(policy: NetworkPolicy): Rule[] {
  const of = (direction: Direction): Rule[] =>
    (policy[direction]?.rules ?? []).map((rule) => ({ policy, direction, rule }));
  return [...(policy.policyTypes.includes('Ingress') ? of('ingress') : []), ...(policy.policyTypes.includes('Egress') ? of('egress') : [])];
}

/** The pods that a policy is for. A pod on the host's network is none of them, but see HS3001. */
export const selectedBy = (policy: NetworkPolicy, shapes: readonly Shape[]): Shape[] =>
  shapes.filter(({ namespace, labels }) => namespace === policy.metadata.namespace && matches(policy.podSelector, labels));

const labelsOf = (state: State, namespace: string): ReadonlyMap<string, string> =>
  state.cluster.namespaces.get(namespace)?.labels ?? new Map([[NAME_LABEL, namespace]]);

/** The namespaces of the manifests that a peer looks for pods in. */
export function namespacesOf(state: State, { metadata }: NetworkPolicy, { namespaceSelector }: NetworkPolicyPeer): string[] {
  if (namespaceSelector === null) return [metadata.namespace];
  return [...state.cluster.namespaces.keys()].filter((name) => matches(namespaceSelector, labelsOf(state, name)));
}

/** The pods that a peer means; none for an `ipBlock`. */
export function shapesOfPeer(state: State, policy: NetworkPolicy, peer: NetworkPolicyPeer, shapes: readonly Shape[]): Shape[] {
  if (peer.ipBlock) return [];
  const namespaces = new Set(namespacesOf(state, policy, peer));
  return shapes.filter(({ namespace, labels }) => namespaces.has(namespace) && (peer.podSelector === null || matches(peer.podSelector, labels)));
}

/** Whether a peer would let the cluster's DNS through, did the manifests hold it. */
export function wouldMatchDns(state: State, { metadata }: NetworkPolicy, { podSelector, namespaceSelector, ipBlock }: NetworkPolicyPeer): boolean {
  if (ipBlock || (podSelector !== null && !matches(podSelector, DNS_LABELS))) return false;
  if (namespaceSelector === null) return metadata.namespace === DNS_NAMESPACE;
  // Before Kubernetes labelled namespaces itself, `name` was what people gave them.
  const labels = state.cluster.namespaces.get(DNS_NAMESPACE)?.declared
    ? labelsOf(state, DNS_NAMESPACE)
    : new Map([...labelsOf(state, DNS_NAMESPACE), ['name', DNS_NAMESPACE]]);
  return matches(namespaceSelector, labels);
}

/** Namespaces that clusters and their usual add-ons bring along: seldom among the manifests of those who use them. */
const BROUGHT_ALONG =
  /^(default|kube-.+|.+-system|openshift-.+|ingress.*|cert-manager|linkerd.*|istio.*|traefik.*|monitoring|observability|prometheus|logging)$/;

/** A value that a namespace selector asks for and that names a namespace which other manifests will hold. */
export function namesOutsider(state: State, { matchLabels, matchExpressions }: LabelSelector): boolean {
  const values = [
    ...[...matchLabels.values()].map(({ value }) => value),
    ...matchExpressions.flatMap(({ operator, values }) => (operator === 'In' ? values : [])),
  ];
  return values.some((value) => BROUGHT_ALONG.test(value) && !state.cluster.namespaces.get(value)?.declared);
}
