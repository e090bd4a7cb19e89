/** Why a packet passed or not: the policies and rules whose entries in the policymap decided. */
import { DropReason, MapId } from '../../assembly/abi.js';
import { PolicyEntry, PolicyKey } from '../../pkg/structs.js';
import type { ClusterPod } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import { locate } from '../manifests/place.js';
import type { Grant } from '../policy/mapstate.js';
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

/** What rules say behind every entry of a policy that matches a packet, the decisive entry's first. */
function grantsMatching(
  state: State,
  policyId: number,
  identity: number,
  egress: boolean,
  protocol: number,
  port: number,
): { grant: Grant; deny: boolean }[] {
  const found: { grant: Grant; deny: boolean }[] = [];
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
      for (const grant of entry.grants ?? []) found.push({ grant, deny });
    }
  }
  return found;
}

/** What the rules of a pod's policy that let a packet, or refuse it, say of it. */
export function grantsFor(
  state: State,
  pod: ClusterPod,
  outcome: Outcome,
  direction: Direction,
  effect: 'allows' | 'denies',
): Grant[] {
  const policy = policyOf(state, pod);
  if (!policy) return [];
  const egress = direction === 'egress';
  const identity = egress ? outcome.destinationIdentity : outcome.sourceIdentity;
  const { protocol, destinationPort } = outcome.tuple;
  return grantsMatching(state, policy.id, identity, egress, protocol, destinationPort)
    .filter(({ deny }) => deny === (effect === 'denies'))
    .map(({ grant }) => grant);
}

function ruleDeciders(
  state: State,
  pod: ClusterPod,
  outcome: Outcome,
  direction: Direction,
  effect: 'allows' | 'denies',
): Decider[] {
  const rules = new Set(grantsFor(state, pod, outcome, direction, effect).map(({ origin }) => origin));
  return [...rules].map((rule) => deciderOf(rule, effect));
}

function deciderOf({ kind, namespace, name, rule, at }: RuleOrigin, effect: Decider['effect']): Decider {
  const { file, range } = locate(at);
  return {
    kind,
    namespace,
    name,
    rule,
    effect,
    file,
    line: range.start.line,
    column: range.start.column,
  };
}

/** The policies that isolate a pod in a direction. */
export function isolating(state: State, pod: ClusterPod, direction: Direction): Decider[] {
  const policies = policyOf(state, pod)?.isolatedBy[direction] ?? [];
  // One object may hold several policies.
  return [...new Set(policies.map(({ source }) => source))]
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
 * 3. refused by a proxy: the rules that let the connection, and not this request
 * 4. let through: every rule that lets it, on either side; none where nothing isolates
 */
export function decidersOf(state: State, outcome: Outcome): Decider[] {
  const { probe, receiver } = outcome;
  const sender = probe.sender.kind === 'pod' ? probe.sender.pod : null;
  if (outcome.proxied.length > 0) return outcome.proxied.map((rule) => deciderOf(rule, 'denies'));
  if (!outcome.allowed) {
    const pod = outcome.direction === 'egress' ? sender : receiver;
    if (!pod || !outcome.direction) return [];
    if (outcome.reason?.code === DropReason.POLICY) return isolating(state, pod, outcome.direction);
    if (outcome.reason?.code === DropReason.POLICY_DENY)
      return ruleDeciders(state, pod, outcome, outcome.direction, 'denies');
    return [];
  }
  return [...allowing(state, outcome, 'egress'), ...allowing(state, outcome, 'ingress')];
}

/** The rules that let a packet at one of its ends. */
export function allowing(state: State, { probe, receiver, ...outcome }: Outcome, direction: Direction): Decider[] {
  const sender = probe.sender.kind === 'pod' ? probe.sender.pod : null;
  const pod = direction === 'egress' ? sender : receiver === sender ? null : receiver;
  return pod ? ruleDeciders(state, pod, { probe, receiver, ...outcome }, direction, 'allows') : [];
}
