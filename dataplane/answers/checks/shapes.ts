/** What checks compare selectors with: each kind of pod once, however many pods there are of it. */
import type { ClusterPod, ClusterWorkload } from '../../cluster/cluster.js';
import { onNode } from '../../cluster/drafts.js';
import type { ContainerPort, LabelSelector, PodSpec, Protocol } from '../../manifests/objects.js';
import { valuesOf, type Located, type Place } from '../../manifests/place.js';
import { nearest } from '../../nearest.js';
import type { Problem } from '../../problems.js';
import type { State } from '../../state.js';
import { list, named } from '../../words.js';
import { namespacesOfUnreadPods } from './unread.js';

/** Pods that were made from one template, or a pod on its own; also those of a workload scaled to none. */
export interface Shape {
  /** `ns/name[Kind]` of the workload. */
  readonly ref: string;
  readonly namespace: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly labelPlaces: ReadonlyMap<string, Located<string>>;
  readonly spec: PodSpec;
  /** Whether they are on the network of their node, where no policy holds for them. */
  readonly hostNetwork: boolean;
  readonly pods: readonly ClusterPod[];
}

/** All of them, and those of each namespace. */
export class Shapes {
  readonly all: readonly Shape[];
  private readonly byNamespace = new Map<string, Shape[]>();
  private readonly unread: ReadonlySet<string | null>;

  constructor(state: State) {
    this.unread = namespacesOfUnreadPods(state);
    this.all = listShapes(state);
    for (const shape of this.all) {
      const others = this.byNamespace.get(shape.namespace);
      if (others) others.push(shape);
      else this.byNamespace.set(shape.namespace, [shape]);
    }
  }

  /** Whether there may be more in a document that could not be read; without a namespace, in any. */
  mayLack(namespace: string | null): boolean {
    return namespace === null ? this.unread.size > 0 : this.unread.has(null) || this.unread.has(namespace);
  }

  in(...namespaces: readonly string[]): readonly Shape[] {
    if (namespaces.length === 1) return this.byNamespace.get(namespaces[0]!) ?? [];
    return namespaces.flatMap((namespace) => this.byNamespace.get(namespace) ?? []);
  }
}

function listShapes(state: State): Shape[] {
  // The pods of a template share the very map that its labels were read into.
  const byLabels = new Map<ReadonlyMap<string, Located<string>>, Shape & { pods: ClusterPod[] }>();
  for (const pod of state.cluster.pods) {
    if (state.cluster.assumed.has(pod)) continue;
    const { namespace, labels, labelPlaces, spec, hostNetwork, workload } = pod;
    const shape = byLabels.get(labelPlaces);
    if (shape) shape.pods.push(pod);
    else
      byLabels.set(labelPlaces, { ref: workload.ref, namespace, labels, labelPlaces, spec, hostNetwork, pods: [pod] });
  }
  return [...byLabels.values(), ...state.cluster.workloads.flatMap((workload) => scaledToNone(state, workload))];
}

function scaledToNone({ settings }: State, { ref, namespace, pods, source }: ClusterWorkload): Shape[] {
  if (pods.length > 0 || source.kind === 'Pod') return [];
  const { labels: labelPlaces, spec } = source.template;
  const labels = valuesOf(labelPlaces);
  return [{ ref, namespace, labels, labelPlaces, spec, hostNetwork: onNode(spec, settings), pods: [] }];
}

/** The workloads that shapes are of, as a message lists them. */
export function workloadsOf(shapes: readonly Shape[]): string {
  return list([...new Set(shapes.map(({ ref }) => ref))].map(named), 'and', 3);
}

/** The ports that containers of these pods declare, each number and name once. */
export function portsOf(shapes: readonly Shape[], protocol: Protocol): ContainerPort[] {
  const found = new Map<string, ContainerPort>();
  for (const { spec } of shapes) {
    for (const port of spec.containers.flatMap(({ ports }) => ports)) {
      const key = `${port.containerPort.value} ${port.name?.value ?? ''}`;
      if (port.protocol === protocol && !found.has(key)) found.set(key, port);
    }
  }
  return [...found.values()];
}

/** `80 (http)`, in the words of a message. */
export const portText = ({ containerPort, name }: ContainerPort): string =>
  name === null ? `${containerPort.value}` : `${containerPort.value} (${named(name.value)})`;

/** Places of container ports, for the editor to jump to. */
export const portPlaces = (ports: readonly ContainerPort[]): Problem['related'] =>
  ports
    .slice(0, 8)
    .map((port) => ({ at: port.containerPort.at, message: `The containers declare ${portText(port)}.` }));

/** Equalities that a selector asks for, by key. */
type Terms = ReadonlyMap<string, Located<string>>;

/** A value a slip away from one that would make the selector match. */
interface Slip {
  readonly key: string;
  readonly meant: Located<string>;
  readonly shape: Shape;
}

/** The value that is probably misspelled: the only one that keeps the selector from pods with one nearly like it. */
function slipIn(terms: Terms, shapes: readonly Shape[]): Slip | null {
  const slips = shapes.flatMap((shape): Slip[] => {
    const wrong = [...terms].filter(([key, { value }]) => shape.labels.get(key) !== value);
    if (wrong.length !== 1) return [];
    const [key, { value }] = wrong[0]!;
    const meant = shape.labelPlaces.get(key);
    return meant && nearest(value, [meant.value]) !== null ? [{ key, meant, shape }] : [];
  });
  const slip = slips[0];
  if (!slip) return null;
  const best = nearest(
    terms.get(slip.key)!.value,
    slips.filter(({ key }) => key === slip.key).map(({ meant }) => meant.value),
  );
  return slips.find(({ key, meant }) => key === slip.key && meant.value === best) ?? slip;
}

/** A place without the white space that ends a block of YAML. */
export function tidy({ source, start, end }: Place): Place {
  return { source, start, end: start + source.text.slice(start, end).trimEnd().length };
}

/** Where a selector says what it asks for: the value of its only label, else all of it. */
export function tellingPlace({ at, matchLabels, matchExpressions }: LabelSelector): Place {
  const [only, ...more] = matchLabels.values();
  return only && more.length === 0 && matchExpressions.length === 0 ? only.at : tidy(at);
}

/** What to add to the report of a selector that matches none of `shapes`; `slip` is where the misspelled value stands. */
export function slipHint(
  terms: Terms,
  shapes: readonly Shape[],
): Pick<Problem, 'related' | 'fixes'> & { readonly text: string; readonly slip: Place | null } {
  const slip = slipIn(terms, shapes);
  if (!slip) return { text: '', slip: null, related: [], fixes: [] };
  const { key, meant, shape } = slip;
  return {
    text: `; ${named(shape.ref)} has ${named(`${key}: ${meant.value}`)}`,
    related: [{ at: meant.at, message: `The label of the pods of ${named(shape.ref)}.` }],
    // Among several labels, a value alone would not say whose it is.
    fixes: [`change to ${named(terms.size > 1 ? `${key}: ${meant.value}` : meant.value)}`],
    slip: terms.get(key)!.at,
  };
}

/** A selector in words; expressions as kubectl takes them. */
export function selectorText({ matchLabels, matchExpressions }: LabelSelector): string {
  const expressions = matchExpressions.map(({ key, operator, values }) => {
    if (operator === 'Exists') return key;
    if (operator === 'DoesNotExist') return `!${key}`;
    return `${key} ${operator === 'In' ? 'in' : 'notin'} (${values.join(', ')})`;
  });
  return list([...[...matchLabels].map(([key, { value }]) => `${key}: ${value}`), ...expressions].map(named), 'and', 4);
}
