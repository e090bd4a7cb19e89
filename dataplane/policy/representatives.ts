/** Pods that are not there yet: for each kind of pod that policies tell apart, one that stands for all to come. */
import type { Cluster, ClusterPod } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import type { Policy } from './rules.js';
import { CLUSTER_NAME, DERIVED, NAMESPACE_NAME, type EndpointSelector } from './selectors.js';

/** The file that they are read from; no path is such a name. */
export const REPRESENTATIVES_FILE = '//representatives';

/** Whether a pod stands for others to come. Policies do not hold for it: which would is not known yet. */
export const isRepresentative = ({ source }: Pick<ClusterPod, 'source'>): boolean =>
  source.source.file === REPRESENTATIVES_FILE;

/** Any pod, whatever its namespace and its labels. */
export const ANY_POD = 'pods:*/*';

/** A kind of pod, and one that stands for it, with no more labels than the kind asks for: of several, what holds for the kind holds for each. */
export interface Representative {
  /** `pods:shop/{app=web}`; in place of the namespace `*`, or its labels. */
  readonly ref: string;
  /** null for a new one. */
  readonly namespace: string | null;
  /** Labels of a namespace that is not there yet either; null where it is. */
  readonly namespaceLabels: ReadonlyMap<string, string> | null;
  readonly labels: ReadonlyMap<string, string>;
  readonly serviceAccount: string;
}

type Requirement = EndpointSelector['requirements'][number];

/** Values of the keys that somebody asks for; a key that must be absent, or about which nobody cares, is not in it. */
type Values = ReadonlyMap<string, string>;

/** A value that no selector names. */
const OTHER = 'not-there-yet';

/** Values that meet all requirements, as few as can be; null where there are none. */
function meet(requirements: readonly Requirement[]): Values | null {
  const values = new Map<string, string>();
  const byKey = new Map<string, Requirement[]>();
  for (const one of requirements) byKey.set(one.key, [...(byKey.get(one.key) ?? []), one]);
  for (const [key, asked] of byKey) {
    const named = asked.find(({ operator }) => operator === 'In');
    const isOptional = asked.every(({ operator }) => operator === 'NotIn' || operator === 'DoesNotExist');
    if (isOptional) continue;
    const meets = (value: string): boolean =>
      asked.every(({ operator, values: listed }) =>
        operator === 'In'
          ? listed.includes(value)
          : operator === 'NotIn'
            ? !listed.includes(value)
            : operator === 'Exists',
      );
    const found = (named?.values ?? [OTHER]).find(meets);
    if (found === undefined) return null;
    values.set(key, found);
  }
  return values;
}

/** Kinds that the values of one selector make, and pods of which the contrary is asked for: combined, at most so many. */
export const MOST_KINDS = 64;

/** Where one of several values is asked for, one kind for each. null where they are too many. */
function single(requirements: readonly Requirement[]): (readonly Requirement[])[] | null {
  let made: (readonly Requirement[])[] = [[]];
  for (const one of requirements) {
    const values = one.operator === 'In' ? one.values.map((value) => ({ ...one, values: [value] })) : [one];
    made = made.flatMap((before) => values.map((value) => [...before, value]));
    if (made.length > MOST_KINDS) return null;
  }
  return made;
}

/** The pod that some values make. One without a namespace is in a new one. null where there can be none. */
function podOf(cluster: Cluster, ref: string, values: Values): Representative | null {
  const labels = new Map<string, string>();
  const namespaceLabels = new Map<string, string>();
  for (const [key, value] of values) {
    if (key === NAMESPACE_NAME) continue;
    if (key.startsWith(DERIVED.namespaceLabels)) namespaceLabels.set(key.slice(DERIVED.namespaceLabels.length), value);
    else if (!(Object.values(DERIVED) as string[]).includes(key)) labels.set(key, value);
  }
  const given = values.get(DERIVED.namespace);
  const name = (given === OTHER ? undefined : given) ?? values.get(NAMESPACE_NAME);
  const known = name === undefined ? undefined : cluster.namespaces.get(name);
  if ((values.get(DERIVED.cluster) ?? CLUSTER_NAME) !== CLUSTER_NAME) return null;
  // The labels of a namespace that is there are what they are.
  if (known && [...namespaceLabels].some(([key, value]) => known.labels.get(key) !== value)) return null;
  return {
    ref,
    namespace: name ?? null,
    namespaceLabels: known ? null : namespaceLabels,
    labels,
    serviceAccount: values.get(DERIVED.serviceAccount) ?? 'default',
  };
}

/** As `kubectl` writes selectors. */
function requirementText(key: string, { operator, values }: Requirement): string {
  if (operator === 'Exists') return key;
  if (operator === 'DoesNotExist') return `!${key}`;
  const isOne = values.length === 1;
  if (operator === 'In') return isOne ? `${key}=${values[0]}` : `${key} in (${values.join(',')})`;
  return isOne ? `${key}!=${values[0]}` : `${key} notin (${values.join(',')})`;
}

/** How a kind of pod is named after its selector. */
function refOf(requirements: readonly Requirement[]): string {
  const namespaces: string[] = [];
  const labels: string[] = [];
  for (const one of requirements) {
    const { key, operator, values } = one;
    if (key === DERIVED.cluster) continue;
    const isName = key === DERIVED.namespace || key === NAMESPACE_NAME;
    if (isName && operator === 'In' && values.length === 1) namespaces.unshift(values[0]!);
    else if (isName) {
      if (operator !== 'Exists') namespaces.push(requirementText('namespace', one));
    } else if (key.startsWith(DERIVED.namespaceLabels))
      namespaces.push(requirementText(key.slice(DERIVED.namespaceLabels.length), one));
    else labels.push(requirementText(key === DERIVED.serviceAccount ? 'serviceAccount' : key, one));
  }
  const isNamed = namespaces.length === 1 && /^[a-z0-9-]+$/.test(namespaces[0]!);
  const where = namespaces.length === 0 ? '*' : isNamed ? namespaces[0]! : `{${namespaces.join(',')}}`;
  return `pods:${where}/${labels.length === 0 ? '*' : `{${labels.join(',')}}`}`;
}

/** Pods that selectors with NotIn and DoesNotExist do not match: with those very labels. null where they are too many. */
function contrary(requirements: readonly Requirement[]): Values[] | null {
  const refused = new Map<string, Set<string>>();
  for (const { key, operator, values } of requirements) {
    if (operator !== 'NotIn' && operator !== 'DoesNotExist') continue;
    const known = refused.get(key) ?? new Set<string>();
    refused.set(key, known);
    for (const value of operator === 'NotIn' ? values : [OTHER]) known.add(value);
  }
  let made: Values[] = [new Map()];
  for (const [key, values] of refused) {
    made = made.flatMap((before) => [before, ...[...values].map((value) => new Map(before).set(key, value))]);
    if (made.length > MOST_KINDS) return null;
  }
  return made;
}

export interface Representatives {
  readonly pods: readonly Representative[];
  /** Whether these are all kinds that policies tell apart: else nothing can be said of any pod. */
  readonly isEvery: boolean;
}

/** A pod for each selector of a peer, and those that no selector may match. */
export function representativesOf(cluster: Cluster, policies: readonly Policy[]): Representatives {
  const selectors = policies
    .filter(({ aboutNodes }) => !aboutNodes)
    .flatMap(({ rules }) => rules.flatMap(({ peers }) => peers ?? []))
    .flatMap((peer) => (peer.kind === 'endpoints' ? [peer.selector.requirements] : []))
    .filter((requirements) => requirements.every(({ source }) => source === 'any' || source === 'k8s'))
    .map(single);
  const kinds = selectors.flatMap((split) => split ?? []);
  const others = contrary(kinds.flat());
  const found = new Map<string, Representative>();
  for (const values of others ?? []) {
    const pod = podOf(cluster, ANY_POD, values);
    if (pod) found.set(`${ANY_POD} ${JSON.stringify([...values])}`, pod);
  }
  for (const requirements of kinds) {
    const values = meet(requirements);
    const ref = refOf(requirements);
    const pod = values && ref !== ANY_POD ? podOf(cluster, ref, values) : null;
    if (pod && !found.has(ref)) found.set(ref, pod);
  }
  const isEvery = others !== null && !selectors.includes(null);
  const pods = [...found].sort(([a], [b]) => compare(a, b)).map(([, pod]) => pod);
  return { pods, isEvery };
}

/** Of a representative, its number: no two of them, and no real pod, share an identity. */
const LABEL = 'hopscope.representative';

/** Their manifests, and their pods' names in the order that they are in. */
export function manifestsOf(pods: readonly Representative[]): {
  readonly text: string;
  readonly names: readonly string[];
} {
  const names = pods.map((_, i) => `${OTHER}-${i}`);
  const documents = pods.flatMap(({ namespace, namespaceLabels, labels, serviceAccount }, i) => {
    const own = namespace ?? `${OTHER}-${i}`;
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: names[i], namespace: own, labels: { ...Object.fromEntries(labels), [LABEL]: `${i}` } },
      spec: { serviceAccountName: serviceAccount, containers: [{ name: 'any', image: 'any' }] },
    };
    const metadata = { name: own, labels: Object.fromEntries(namespaceLabels ?? []) };
    return namespaceLabels === null ? [pod] : [{ apiVersion: 'v1', kind: 'Namespace', metadata }, pod];
  });
  return { text: documents.map((document) => JSON.stringify(document)).join('\n---\n'), names };
}
