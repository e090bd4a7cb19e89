/** Why a packet passed or not: the policies and rules whose entries in the policymap decided. */
import { DropReason, MapId } from '../../assembly/abi.js';
import { PolicyEntry, PolicyKey } from '../../pkg/structs.js';
import type { ClusterPod } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import { locate } from '../manifests/place.js';
import type { Direction, RuleOrigin } from '../policy/rules.js';
import { policyOf, type State } from '../state.js';
import { decode, encode } from '../wasm.js';
import type { Outcome } from './probe.js';

export interface Decider {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** `ingress[0]`; null for a policy as a whole. */
  readonly rule: string | null;
  readonly effect: 'allows' | 'denies' | 'isolates';
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** Length in bits of protocol and port; see `PolicyKey`. */
const FULL_LENGTH = 24;

/** The rules behind every entry of a policy that matches a packet, the decisive entry's first. */
function rulesMatching(
  state: State,
  policyId: number,
  identity: number,
  egress: boolean,
  protocol: number,
  port: number,
): { rule: RuleOrigin; deny: boolean }[] {
  const found: { rule: RuleOrigin; deny: boolean }[] = [];
  for (const secLabel of identity === 0 ? [0] : [identity, 0]) {
    for (let length = FULL_LENGTH; length >= 0; length--) {
      const key = encode(PolicyKey, {
        prefixLength: length,
        policyId,
        secLabel,
        egress: egress ? 1 : 0,
        protocol: length >= 8 ? protocol : 0,
        dport: length > 8 ? port & (0xffff << (FULL_LENGTH - length)) & 0xffff : 0,
      });
      const entry = length >= 8 || length === 0 ? state.loader.entry(MapId.POLICY, key) : null;
      if (!entry) continue;
      const deny = decode(PolicyEntry, entry.value).deny !== 0;
      for (const rule of entry.rules ?? []) if (!found.some((known) => known.rule === rule)) found.push({ rule, deny });
    }
  }
  return found;
}

function ruleDeciders(
  state: State,
  pod: ClusterPod,
  outcome: Outcome,
  direction: Direction,
  effect: 'allows' | 'denies',
): Decider[] {
  const policy = policyOf(state, pod);
  if (!policy) return [];
  const egress = direction === 'egress';
  const identity = egress ? outcome.destinationIdentity : outcome.sourceIdentity;
  const { protocol, destinationPort } = outcome.tuple;
  return rulesMatching(state, policy.id, identity, egress, protocol, destinationPort)
    .filter(({ deny }) => deny === (effect === 'denies'))
    .map(({ rule }) => deciderOf(rule, effect));
}

function deciderOf({ kind, namespace, name, direction, index, at }: RuleOrigin, effect: Decider['effect']): Decider {
  const { file, range } = locate(at);
  return {
    kind,
    namespace,
    name,
    rule: `${direction}[${index}]`,
    effect,
    file,
    line: range.start.line,
    column: range.start.column,
  };
}

/** The policies that isolate a pod in a direction. */
export function isolating(state: State, pod: ClusterPod, direction: Direction): Decider[] {
  const policies = policyOf(state, pod)?.isolatedBy[direction] ?? [];
  return policies
    .map(({ kind, metadata }): Decider => {
      const { file, range } = locate(metadata.name.at);
      return {
        kind,
        namespace: metadata.namespace,
        name: metadata.name.value,
        rule: null,
        effect: 'isolates',
        file,
        line: range.start.line,
        column: range.start.column,
      };
    })
    .sort(byName);
}

const byName = (a: Decider, b: Decider): number =>
  compare(a.namespace, b.namespace) || compare(a.name, b.name) || compare(a.rule ?? '', b.rule ?? '');

/**
 * 1. refused because no rule matches: every policy that isolates the pod in that direction
 * 2. refused by a rule that denies: that rule
 * 3. let through: every rule that lets it, on either side; none where nothing isolates
 */
export function decidersOf(state: State, outcome: Outcome): Decider[] {
  const { probe, receiver } = outcome;
  const sender = probe.sender.kind === 'pod' ? probe.sender.pod : null;
  if (!outcome.allowed) {
    const pod = outcome.direction === 'egress' ? sender : receiver;
    if (!pod || !outcome.direction) return [];
    if (outcome.reason?.code === DropReason.POLICY) return isolating(state, pod, outcome.direction);
    if (outcome.reason?.code === DropReason.POLICY_DENY)
      return ruleDeciders(state, pod, outcome, outcome.direction, 'denies');
    return [];
  }
  const egress = sender ? ruleDeciders(state, sender, outcome, 'egress', 'allows') : [];
  const ingress = receiver && receiver !== sender ? ruleDeciders(state, receiver, outcome, 'ingress', 'allows') : [];
  return [...egress, ...ingress];
}
