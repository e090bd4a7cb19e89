/** HS3001, HS3002, HS3006 in the policies of Cilium: selectors that match nothing, and names of ports that no pod has. */
import type { LabelSelector } from '../../manifests/objects.js';
import type { Located, Place } from '../../manifests/place.js';
import { protocolOf } from '../../policy/networkpolicy.js';
import { problem, type Problem } from '../../problems.js';
import type { Policy, Rule } from '../../policy/rules.js';
import { DERIVED, labelsOf, selects, type EndpointSelector, type Labelled } from '../../policy/selectors.js';
import type { State } from '../../state.js';
import { named } from '../../words.js';
import { portAt } from '../policy-pods.js';
import { namesOutsider } from './peers.js';
import {
  portPlaces,
  portsOf,
  selectorText,
  slipHint,
  tellingPlace,
  workloadsOf,
  type Shape,
  type Shapes,
} from './shapes.js';

export function checkCilium(state: State, shapes: Shapes): Problem[] {
  // What may be in a document that could not be read is not called absent.
  if (shapes.mayLack(null)) return [];
  return state.policies.all
    .filter((policy) => policy.source.kind !== 'NetworkPolicy')
    .flatMap((policy) => [
      ...(policy.aboutNodes ? [] : checkSubject(state, policy, shapes)),
      ...policy.rules.flatMap((rule) => [
        ...checkPeers(state, rule, shapes),
        ...checkNames(state, policy, rule, shapes),
      ]),
    ]);
}

const labelled = new WeakMap<Shape, Labelled>();

/** Shapes are made anew for each check, and with them the labels that their identities would have. */
function labelsOfShape(state: State, shape: Shape): Labelled {
  const known = labelled.get(shape) ?? labelsOf(state.cluster, shape);
  labelled.set(shape, known);
  return known;
}

const shapesOf = (state: State, selector: EndpointSelector, shapes: Shapes): Shape[] =>
  shapes.all.filter((shape) => selects(selector, labelsOfShape(state, shape)));

/** Whether the manifests could hold what a selector asks for: some pod of a namespace that it may mean. */
function isAbout(state: State, { requirements, written }: EndpointSelector, shapes: Shapes): boolean {
  if (written && namesOutsider(state, written)) return false;
  const ofNamespace = requirements.filter(
    ({ key }) => key === DERIVED.namespace || key.startsWith(DERIVED.namespaceLabels),
  );
  return shapesOf(state, { requirements: ofNamespace, written }, shapes).length > 0;
}

/** Whether a selector can be told to match nothing: it asks pods for a label that they should have. */
const asksPods = ({ requirements }: EndpointSelector): boolean =>
  requirements.every(({ source }) => source !== 'reserved') &&
  requirements.some(({ key, operator }) => operator !== 'NotIn' && operator !== 'DoesNotExist' && isOwnLabel(key));

const isOwnLabel = (key: string): boolean => !/^io\.(kubernetes\.pod|cilium\.k8s)\./.test(key);

/** The equalities of a selector by the bare key; nothing where it has other terms, which a slip would not explain. */
const termsOf = ({ matchLabels, matchExpressions }: LabelSelector): ReadonlyMap<string, Located<string>> =>
  new Map(
    matchExpressions.length > 0 ? [] : [...matchLabels].map(([key, value]) => [key.replace(/^(any|k8s):/, ''), value]),
  );

function checkSubject(state: State, { source, subject }: Policy, shapes: Shapes): Problem[] {
  const { written } = subject;
  if (!written || !asksPods(subject) || !isAbout(state, subject, shapes)) return [];
  const selected = shapesOf(state, subject, shapes);
  if (selected.some(({ hostNetwork }) => !hostNetwork)) return [];
  const where = `Policy ${named(source.metadata.name.value)} selects`;
  if (selected.length > 0) {
    const why = 'these are on the network of their node, where no policy of pods applies';
    return [problem('HS3001', tellingPlace(written), `${where} only pods of ${workloadsOf(selected)}, and ${why}.`)];
  }
  const hint = slipHint(termsOf(written), near(subject, shapes));
  const message = `${where} no pod: none${placeOf(subject)} matches ${selectorText(written)}${hint.text}.`;
  return [problem('HS3001', tellingPlace(written), message, hint)];
}

function checkPeers(state: State, { peers }: Rule, shapes: Shapes): Problem[] {
  return (peers ?? []).flatMap((peer) => {
    if (peer.kind !== 'endpoints' || !peer.selector.written) return [];
    const { selector } = peer;
    const { written } = peer.selector;
    if (!asksPods(selector) || !isAbout(state, selector, shapes)) return [];
    const found = shapesOf(state, selector, shapes);
    if (found.some(({ hostNetwork }) => !hostNetwork)) return [];
    if (found.length > 0) {
      const why = 'these are on the network of their node and are not known by their labels';
      return [problem('HS3002', tellingPlace(written), `The peer is only pods of ${workloadsOf(found)}, and ${why}.`)];
    }
    const hint = slipHint(termsOf(written), near(selector, shapes));
    const message = `No such pod: none${placeOf(selector)} matches ${selectorText(written)}${hint.text}.`;
    return [problem('HS3002', tellingPlace(written), message, hint)];
  });
}

/** The only namespace that a selector looks in; null where it looks in others. */
function namespaceOf({ requirements }: EndpointSelector): string | null {
  const namespaces = requirements.filter(({ key }) => key === DERIVED.namespace);
  const [only] = namespaces;
  return namespaces.length === 1 && only?.operator === 'In' && only.values.length === 1 ? only.values[0]! : null;
}

function placeOf(selector: EndpointSelector): string {
  const namespace = namespaceOf(selector);
  return namespace === null ? '' : ` in namespace ${named(namespace)}`;
}

function near(selector: EndpointSelector, shapes: Shapes): readonly Shape[] {
  const namespace = namespaceOf(selector);
  return namespace === null ? shapes.all : shapes.in(namespace);
}

/** Names of ports that none of the pods that a rule leads to has, in any of the protocols it is asked for. */
function checkNames(state: State, { subject }: Policy, { origin, peers, ports }: Rule, shapes: Shapes): Problem[] {
  const destinations =
    origin.direction === 'ingress'
      ? shapesOf(state, subject, shapes)
      : (peers ?? []).flatMap((peer) => (peer.kind === 'endpoints' ? shapesOf(state, peer.selector, shapes) : []));
  if (destinations.length === 0) return [];
  const asked = new Map<Place, { name: string; has: boolean; protocols: number[] }>();
  for (const port of ports ?? []) {
    if (typeof port.port !== 'string') continue;
    const one = asked.get(port.at) ?? { name: port.port, has: false, protocols: [] };
    asked.set(port.at, one);
    one.protocols.push(port.protocol);
    one.has ||= destinations.some((shape) => portAt(port, shape) !== null);
  }
  return [...asked].flatMap(([at, { name, has, protocols }]) => {
    if (has) return [];
    const words = protocols.flatMap((protocol) => protocolOf(protocol) ?? []);
    const declared = words.flatMap((word) => portsOf(destinations, word)).filter((port) => port.name !== null);
    const what = words.length === 1 ? `${words[0]} port` : 'port';
    const message = `No pod of ${workloadsOf(destinations)} has a ${what} named ${named(name)}, so this matches nothing.`;
    const names = [...new Set(declared.flatMap((port) => port.name?.value ?? []))].slice(0, 5);
    const fixes = names.map((other) => `change to ${named(other)}`);
    return [problem('HS3006', at, message, { related: portPlaces(declared), fixes })];
  });
}
