/** Selectors of endpoints by the labels of their identities. Cilium `pkg/policy/api/selector.go`, `pkg/labels`. */
import { NAME_LABEL, type Cluster, type ClusterPod } from '../cluster/cluster.js';
import type { LabelSelector } from '../manifests/objects.js';
import type { Place } from '../manifests/place.js';
import { holds as isMatched, keysOf, type Expression } from '../manifests/selector-expressions.js';

/** Labels that Cilium gives pods besides their own. `pkg/k8s/apis/cilium.io/const.go`. */
export const DERIVED = {
  namespace: 'io.kubernetes.pod.namespace',
  namespaceLabels: 'io.cilium.k8s.namespace.labels.',
  serviceAccount: 'io.cilium.k8s.policy.serviceaccount',
  cluster: 'io.cilium.k8s.policy.cluster',
} as const;

/** The name of a cluster that is not told otherwise. */
export const CLUSTER_NAME = 'default';

/** Where a label comes from: Kubernetes, or Cilium itself. `any` in a selector is either. */
export type LabelSource = 'k8s' | 'reserved';

/** What selectors look at. */
export interface Labelled {
  readonly source: LabelSource;
  readonly labels: ReadonlyMap<string, string>;
}

interface Requirement {
  readonly source: string;
  readonly key: string;
  readonly operator: LabelSelector['matchExpressions'][number]['operator'];
  readonly values: readonly string[];
}

/** All requirements must hold. */
export interface EndpointSelector {
  readonly requirements: readonly Requirement[];
  /** What must hold besides, and where it stands. */
  readonly expression?: Expression;
  readonly at?: Place;
  /** As the manifest has it; null where it has none, but a word or a Service's name. */
  readonly written: LabelSelector | null;
}

/** A requirement of a key as Cilium writes it: `app`, `any:app`, `k8s:app`, `reserved:host`. */
export function requirement(key: string, operator: Requirement['operator'], ...values: string[]): Requirement {
  const colon = key.indexOf(':');
  return { source: colon < 0 ? 'any' : key.slice(0, colon), key: key.slice(colon + 1), operator, values };
}

/** The requirements that a selector's terms make, each key with `prefix` before it. */
export const requirementsOf = ({ matchLabels, matchExpressions }: LabelSelector, prefix = ''): Requirement[] => [
  ...[...matchLabels].map(([key, { value }]) => requirement(prefix + key, 'In', value)),
  ...matchExpressions.map(({ key, operator, values }) => requirement(prefix + key, operator, ...values)),
];

/** NotIn and DoesNotExist hold where the key is absent. */
function holds({ source, key, operator, values }: Requirement, subject: Labelled): boolean {
  const value = source === 'any' || source === subject.source ? subject.labels.get(key) : undefined;
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

export const selects = ({ requirements, expression }: EndpointSelector, subject: Labelled): boolean =>
  requirements.every((one) => holds(one, subject)) &&
  (expression === undefined || isMatched(expression, subject.labels, !subject.labels.has(DERIVED.namespace)));

/** Where a selector stands in its manifest; null for one that is a word there, or a Service's name. */
export const placeOf = ({ written, at }: EndpointSelector): Place | null => written?.at ?? at ?? null;

/** The keys of the labels that a selector asks for. */
export const keysAskedFor = ({ requirements, expression }: EndpointSelector): string[] => [
  ...requirements.map(({ key }) => key),
  ...(expression ? keysOf(expression) : []),
];

/** The label of namespaces that is their name, as a label of their pods. Kubernetes API: well-known labels. */
export const NAMESPACE_NAME = `${DERIVED.namespaceLabels}${NAME_LABEL}`;

/** The only namespace whose pods a selector can match; null where it names no single one. */
export function namespaceAskedFor({ requirements }: EndpointSelector): string | null {
  const named = requirements.find(
    ({ key, operator, values, source }) =>
      (key === DERIVED.namespace || key === NAMESPACE_NAME) &&
      operator === 'In' &&
      values.length === 1 &&
      source !== 'reserved',
  );
  return named ? named.values[0]! : null;
}

/** The labels of a pod's identity: its own, and what Cilium adds. */
export function labelsOf(
  cluster: Pick<Cluster, 'namespaces'>,
  pod: Pick<ClusterPod, 'namespace' | 'labels' | 'spec'>,
): Labelled {
  const labels = new Map(pod.labels);
  for (const [key, value] of cluster.namespaces.get(pod.namespace)?.labels ?? [])
    labels.set(DERIVED.namespaceLabels + key, value);
  labels.set(DERIVED.namespace, pod.namespace);
  labels.set(DERIVED.serviceAccount, pod.spec.serviceAccountName);
  labels.set(DERIVED.cluster, CLUSTER_NAME);
  return { source: 'k8s', labels };
}
