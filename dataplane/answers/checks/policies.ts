/** HS3001, HS3002, HS3008: whether a policy and its peers are about any pod, and whether anything enforces it. */
import { NAME_LABEL } from '../../cluster/cluster.js';
import { matches, matchesAll } from '../../cluster/selectors.js';
import type { LabelSelector, NetworkPolicy, NetworkPolicyPeer } from '../../manifests/objects.js';
import type { Located } from '../../manifests/place.js';
import { nearest } from '../../nearest.js';
import { problem, type Problem } from '../../problems.js';
import type { State } from '../../state.js';
import { list, named } from '../../words.js';
import { unenforced } from '../enforced.js';
import {
  asksForAbsence,
  meansDns,
  namesOutsider,
  namespacesOf,
  networkPolicies,
  rulesOf,
  selectedBy,
  shapesOfPeer,
} from './peers.js';
import { selectorText, slipHint, tellingPlace, workloadsOf, type Shape, type Shapes } from './shapes.js';
import { mayHideNamespaces } from './unread.js';

export function checkPolicies(state: State, shapes: Shapes): Problem[] {
  return [
    ...checkEnforced(state),
    ...networkPolicies(state).flatMap((policy) => [
      ...checkSelected(policy, shapes),
      ...rulesOf(policy).flatMap(({ rule }) =>
        (rule.peers ?? []).flatMap((peer) => checkPeer(state, policy, peer, shapes)),
      ),
    ]),
  ];
}

/** Where the manifests hold no pod of the namespace, they are not all there is, unless such pods stand in another. */
function checkSelected(policy: NetworkPolicy, shapes: Shapes): Problem[] {
  const { podSelector, metadata } = policy;
  const selected = selectedBy(policy, shapes);
  if (asksForAbsence(podSelector) || selected.some(({ hostNetwork }) => !hostNetwork)) return [];
  if (shapes.mayLack(metadata.namespace)) return [];
  const at = tellingPlace(podSelector);
  const subject = `Policy ${named(metadata.name.value)} selects`;
  if (selected.length > 0) {
    const why = 'these are on the network of their node, where no NetworkPolicy applies';
    return [problem('HS3001', at, `${subject} only pods of ${workloadsOf(selected)}, and ${why}.`)];
  }
  const local = shapes.in(metadata.namespace);
  const elsewhere = shapes.all.filter(({ labels }) => matches(podSelector, labels));
  // Policies kept apart from what they are about, with no pod in sight, say nothing of a mistake.
  if (shapes.all.length === 0) return [];
  const hint = slipHint(termsOf(podSelector), local);
  const other = elsewhere.length > 0 ? `; ${workloadsOf(elsewhere)} would match, but in another namespace` : '';
  const message = `${subject} no pod: none in namespace ${named(metadata.namespace)} matches ${selectorText(podSelector)}${hint.text || other}.`;
  return [problem('HS3001', at, message, hint)];
}

/** A plug-in leaves the policies of others to a program beside it, if there is one. */
function checkEnforced(state: State): Problem[] {
  return state.cluster.policies.flatMap((source) => {
    const why = unenforced(state, source);
    if (why === null) return [];
    const { name } = source.metadata;
    const message = `Policy ${named(name.value)} has no effect by itself: ${why}.`;
    return [problem('HS3008', name.at, message)];
  });
}

/** The equalities of a selector; nothing where it has other terms, which a slip would not explain. */
const termsOf = ({ matchLabels, matchExpressions }: LabelSelector): ReadonlyMap<string, Located<string>> =>
  matchExpressions.length === 0 ? matchLabels : new Map<string, Located<string>>();

function checkPeer(state: State, policy: NetworkPolicy, peer: NetworkPolicyPeer, shapes: Shapes): Problem[] {
  const { podSelector, namespaceSelector } = peer;
  if (peer.ipBlock || meansDns(state, policy, peer)) return [];
  const namespaces = namespacesOf(state, policy, peer);
  if (namespaceSelector && namespaces.length === 0) return checkNamespaces(state, namespaceSelector);
  if (podSelector === null || asksForAbsence(podSelector)) return [];
  if (shapes.mayLack(namespaceSelector ? null : policy.metadata.namespace)) return [];
  const found = shapesOfPeer(state, policy, peer, shapes);
  if (found.some(({ hostNetwork }) => !hostNetwork)) return [];
  const at = tellingPlace(podSelector);
  if (found.length > 0) {
    const why = 'these are on the network of their node and are not known by their labels';
    return [problem('HS3002', at, `The peer is only pods of ${workloadsOf(found)}, and ${why}.`)];
  }
  const there = shapes.in(...namespaces);
  // Manifests without any pod of these namespaces say nothing about what runs there.
  if (there.length === 0) return [];
  const hint = slipHint(termsOf(podSelector), there);
  const elsewhere =
    namespaceSelector || hint.text ? [] : shapes.all.filter(({ labels }) => matches(podSelector, labels));
  const where =
    namespaceSelector && matchesAll(namespaceSelector)
      ? 'any namespace'
      : `namespace ${list(namespaces.map(named), 'or', 3)}`;
  const message = `No such pod: none in ${where} matches ${selectorText(podSelector)}${hint.text}${forgotten(elsewhere)}.`;
  const fixes = [...new Set(elsewhere.map(({ namespace }) => namespace))].map(
    (namespace) => `add a namespaceSelector to this peer: ${named(`${NAME_LABEL}: ${namespace}`)}`,
  );
  return [problem('HS3002', at, message, { related: hint.related, fixes: [...hint.fixes, ...fixes.slice(0, 3)] })];
}

/** Pods of other namespaces that a peer without a namespaceSelector leaves out. */
function forgotten(elsewhere: readonly Shape[]): string {
  if (elsewhere.length === 0) return '';
  return `; ${workloadsOf(elsewhere)} would match, but without a namespaceSelector only the policy's own namespace counts`;
}

/**
 * A selector that no namespace matches. Manifests without any Namespace object say nothing about labels, and those with
 * some need not hold the namespaces that clusters bring along; a slip in a name shows all the same.
 */
function checkNamespaces(state: State, selector: LabelSelector): Problem[] {
  if (asksForAbsence(selector) || mayHideNamespaces(state)) return [];
  const known = [...state.cluster.namespaces.values()];
  if (state.settings.undeclaredNamespaces === 'unknown' && known.some(({ declared }) => !declared)) return [];
  const [slip] = known.flatMap(({ name, labels }) => {
    const wrong = [...termsOf(selector)].filter(([key, { value }]) => labels.get(key) !== value);
    const meant = wrong[0] && labels.get(wrong[0][0]);
    if (wrong.length !== 1 || meant === undefined) return [];
    return nearest(wrong[0]![1].value, [meant]) === null ? [] : [{ name, meant }];
  });
  if (!slip && (!known.some(({ declared }) => declared) || namesOutsider(state, selector))) return [];
  const names = known.map(({ name }) => named(name));
  const hint = slip ? `${named(slip.name)} comes near` : `there are ${list(names, 'and', 6)}`;
  const message = `No such namespace: none has ${selectorText(selector)}; ${hint}.`;
  const fixes = slip ? [`change to ${named(slip.meant)}`] : [];
  return [problem('HS3002', tellingPlace(selector), message, { fixes })];
}
