/** HS3001, HS3002: whether a policy and its peers are about any pod. */
import { matches, matchesAll } from '../../cluster/selectors.js';
import type { LabelSelector, NetworkPolicy, NetworkPolicyPeer } from '../../manifests/objects.js';
import type { Located } from '../../manifests/place.js';
import { nearest } from '../../nearest.js';
import { problem, type Problem } from '../../problems.js';
import type { State } from '../../state.js';
import { list, named } from '../../words.js';
import { namesOutsider, namespacesOf, rulesOf, selectedBy, shapesOfPeer, wouldMatchDns } from './peers.js';
import { selectorText, slipHint, workloadsOf, type Shape } from './shapes.js';
import { mayHideNamespaces, mayHidePods } from './unread.js';

export function checkPolicies(state: State, shapes: readonly Shape[]): Problem[] {
  // Something unread may be what a selector is for.
  if (mayHidePods(state)) return [];
  return state.cluster.policies.flatMap((policy) => [
    ...checkSelected(policy, shapes),
    ...rulesOf(policy).flatMap(({ rule }) => (rule.peers ?? []).flatMap((peer) => checkPeer(state, policy, peer, shapes))),
  ]);
}

const HOST_NETWORK = 'only pods on the network of their node, and policies do not know these';

/** Where the manifests hold no pod of the namespace, they are not all there is, unless such pods stand in another. */
function checkSelected(policy: NetworkPolicy, shapes: readonly Shape[]): Problem[] {
  const { podSelector, metadata } = policy;
  const { name, namespace } = metadata;
  const selected = selectedBy(policy, shapes);
  if (matchesAll(podSelector) || selected.some(({ spec }) => !spec.hostNetwork)) return [];
  const subject = `Policy ${named(name.value)} selects`;
  if (selected.length > 0) {
    return [problem('HS3001', podSelector.at, `${subject} ${HOST_NETWORK}: ${workloadsOf(selected)}.`)];
  }
  const local = shapes.filter((shape) => shape.namespace === namespace);
  const elsewhere = shapes.filter(({ labels }) => matches(podSelector, labels));
  if (local.length === 0 && (elsewhere.length === 0 || asksForAbsence(podSelector))) return [];
  const hint = slipHint(termsOf(podSelector), local);
  const other =
    hint.text === '' && elsewhere.length > 0 && !asksForAbsence(podSelector)
      ? `; ${workloadsOf(elsewhere)} would match, but in another namespace`
      : '';
  const message = `${subject} no pod: none in namespace ${named(namespace)} matches ${selectorText(podSelector)}${hint.text}${other}.`;
  return [problem('HS3001', podSelector.at, message, hint)];
}

/** The equalities of a selector; nothing where it has other terms, which a slip would not explain. */
const termsOf = ({ matchLabels, matchExpressions }: LabelSelector): ReadonlyMap<string, Located<string>> =>
  matchExpressions.length === 0 ? matchLabels : new Map<string, Located<string>>();

/** Whether pods match by what they lack; then matching ones elsewhere say nothing. */
const asksForAbsence = ({ matchLabels, matchExpressions }: LabelSelector): boolean =>
  matchLabels.size === 0 && matchExpressions.every(({ operator }) => operator === 'NotIn' || operator === 'DoesNotExist');

function checkPeer(state: State, policy: NetworkPolicy, peer: NetworkPolicyPeer, shapes: readonly Shape[]): Problem[] {
  const { podSelector, namespaceSelector } = peer;
  if (peer.ipBlock || wouldMatchDns(state, policy, peer)) return [];
  const namespaces = namespacesOf(state, policy, peer);
  if (namespaces.length === 0) return namespaceSelector ? checkNamespaces(state, namespaceSelector) : [];
  if (podSelector === null || matchesAll(podSelector)) return [];
  const found = shapesOfPeer(state, policy, peer, shapes);
  if (found.some(({ spec }) => !spec.hostNetwork)) return [];
  if (found.length > 0) {
    return [problem('HS3002', podSelector.at, `The peer is ${HOST_NETWORK}: ${workloadsOf(found)}.`)];
  }
  const there = shapes.filter(({ namespace }) => namespaces.includes(namespace));
  // Nothing is known of namespaces without any pod.
  if (there.length === 0) return [];
  const hint = slipHint(termsOf(podSelector), there);
  const where = namespaceSelector && matchesAll(namespaceSelector) ? 'any namespace' : `namespace ${list(namespaces.map(named), 'or', 3)}`;
  const message = `No such pod: none in ${where} matches ${selectorText(podSelector)}${hint.text}.`;
  return [problem('HS3002', podSelector.at, message, hint)];
}

/**
 * A selector that no namespace matches. Manifests without any Namespace object say nothing about labels, and those with
 * some are not expected to hold the namespaces that clusters bring along; a slip in a name shows all the same.
 */
function checkNamespaces(state: State, selector: LabelSelector): Problem[] {
  if (matchesAll(selector) || mayHideNamespaces(state)) return [];
  const known = [...state.cluster.namespaces.values()];
  const slip = known.flatMap(({ name, labels }) => {
    const wrong = [...termsOf(selector)].filter(([key, { value }]) => labels.get(key) !== value);
    const [key, term] = wrong[0] ?? [];
    const meant = key === undefined ? undefined : labels.get(key);
    return wrong.length === 1 && term && meant !== undefined && nearest(term.value, [meant]) !== null ? [{ name, meant }] : [];
  })[0];
  if (!slip && (!known.some(({ declared }) => declared) || namesOutsider(state, selector))) return [];
  const names = list(known.map(({ name }) => named(name)), 'and', 6);
  const hint = slip ? `${named(slip.name)} comes near` : `there are ${names}`;
  const message = `No such namespace: none has ${selectorText(selector)}; ${hint}.`;
  return [problem('HS3002', selector.at, message, { fixes: slip ? [`change to ${named(slip.meant)}`] : [] })];
}
