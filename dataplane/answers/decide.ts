/** Why a packet passed or not: the policies and rules whose entries in the policymap decided. */
import { DropReason, MapId } from '../../assembly/abi.js';
import { PolicyEntry, PolicyKey } from '../../pkg/structs.js';
import type { ClusterNode } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import { kindName } from '../manifests/objects.js';
import type { CompiledPolicy } from '../policy/compile.js';
import type { Grant } from '../policy/mapstate.js';
import type { Direction, Policy } from '../policy/rules.js';
import { holds } from '../policy/tierstate.js';
import { policyOf, type State } from '../state.js';
import { decode, encode } from '../wasm.js';
import { deciderAt } from './decider.js';
import { nodeAt } from './at.js';
import { type Outcome } from './probe.js';

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

/**
 * What rules say behind every entry of a policy that matches a packet, the decisive entry's first; behind that one alone where
 * policies are asked in an order, since it names all that have a say.
 */
function grantsMatching(
  state: State,
  { id: policyId, refusals }: CompiledPolicy,
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
        protocol: protocol & (0xff << Math.max(0, 8 - length)) & 0xff,
        dport: length > 8 ? port & (0xffff << (FULL_LENGTH - length)) & 0xffff : 0,
      });
      const entry = state.loader.entry(MapId.POLICY, key);
      if (!entry) continue;
      const deny = decode(PolicyEntry, entry.value).deny !== 0;
      for (const grant of entry.grants ?? []) found.push({ grant, deny });
      if (refusals) return found;
    }
  }
  return found;
}

/** The policy that is asked at one end of a packet, of a pod or of a node; null where none is. */
export function policyAt(
  state: State,
  { probe: { sender }, receiver, tuple }: Outcome,
  direction: Direction,
): CompiledPolicy | null {
  const ofNode = (node: ClusterNode | null): CompiledPolicy | null => (node && state.policies.ofNode.get(node)) ?? null;
  const pod = sender.kind === 'pod' ? sender.pod : null;
  if (direction === 'ingress') {
    if (receiver) return receiver === pod ? null : policyOf(state, receiver);
    return ofNode(nodeAt(state, tuple.destination));
  }
  if (pod) return pod.hostNetwork ? ofNode(pod.node) : policyOf(state, pod);
  return sender.kind === 'host' ? ofNode(sender.node) : null;
}

/** What the rules of a policy that let a packet, or refuse it, say of it. */
export function grantsFor(
  state: State,
  policy: CompiledPolicy | null,
  packet: Pick<Outcome, 'tuple' | 'sourceIdentity' | 'destinationIdentity'>,
  direction: Direction,
  effect: 'allows' | 'denies',
): Grant[] {
  if (!policy) return [];
  const egress = direction === 'egress';
  const identity = egress ? packet.destinationIdentity : packet.sourceIdentity;
  const { protocol, destinationPort } = packet.tuple;
  return grantsMatching(state, policy, identity, egress, protocol, destinationPort)
    .filter(({ deny }) => deny === (effect === 'denies'))
    .map(({ grant }) => grant);
}

function ruleDeciders(state: State, outcome: Outcome, direction: Direction, effect: 'allows' | 'denies'): Decider[] {
  // Of rules that contradict one another, none can be said to decide.
  const grants = grantsFor(state, policyAt(state, outcome, direction), outcome, direction, effect).filter(
    ({ tied }) => !tied,
  );
  return [...new Set(grants.map(({ origin }) => origin))].map((rule) => deciderAt(rule, effect));
}

/** The policies that isolate one end of a packet: of several tiers, those of the tier that refused it. */
export function isolating(state: State, outcome: Outcome, direction: Direction): Decider[] {
  const policy = policyAt(state, outcome, direction);
  const policies = (policy && refusing(policy, outcome, direction)) ?? policy?.isolatedBy[direction] ?? [];
  // One object may hold several policies.
  return [...new Set(policies.map(({ source }) => source))]
    .map((source) => {
      const { namespace, name } = source.metadata;
      return deciderAt({ kind: kindName(source), namespace, name: name.value, rule: null, at: name.at }, 'isolates');
    })
    .sort(byName);
}

/** Who isolates from a packet that no entry of ordered policies holds; null where that is not so. */
function refusing(
  { refusals }: CompiledPolicy,
  { tuple, sourceIdentity, destinationIdentity }: Outcome,
  direction: Direction,
): readonly Policy[] | null {
  if (!refusals) return null;
  const ofIdentity = refusals[direction];
  const traffic = { protocol: tuple.protocol, port: tuple.destinationPort, length: FULL_LENGTH };
  const found = ofIdentity.get(direction === 'egress' ? destinationIdentity : sourceIdentity) ?? ofIdentity.get(0);
  return found?.findLast((refusal) => holds(refusal.traffic, traffic))?.by ?? null;
}

const byName = (a: Decider, b: Decider): number =>
  compare(a.namespace, b.namespace) || compare(a.name, b.name) || compare(a.rule ?? '', b.rule ?? '');

/**
 * 1. refused because no rule matches: every policy that isolates the pod in that direction
 * 2. refused by a rule that denies: that rule
 * 3. refused because the ends have not authenticated: the rules that ask for it
 * 4. refused by a proxy: the rules that let the connection, and not this request
 * 5. refused by a proxy of the mesh: its rules, or the policies of which none lets it
 * 6. let through: every rule that lets it, on either side; none where nothing isolates
 */
export function decidersOf(state: State, outcome: Outcome): Decider[] {
  const { allowed, direction, reason, refusedBy } = outcome;
  const byMesh = outcome.redirects.flatMap(({ mesh }) => mesh?.deciders ?? []);
  if (allowed) return [...allowing(state, outcome, 'egress'), ...allowing(state, outcome, 'ingress'), ...byMesh];
  if (refusedBy?.mesh) return byMesh;
  if (refusedBy)
    return [...new Set(refusedBy.grants.map(({ origin }) => origin))].map((rule) => deciderAt(rule, 'denies'));
  if (!direction) return [];
  switch (reason?.code) {
    case DropReason.POLICY:
      return isolating(state, outcome, direction);
    case DropReason.POLICY_DENY:
      return denying(state, outcome, direction);
    case DropReason.POLICY_AUTH_REQUIRED:
      return asking(state, outcome, direction);
    default:
      return [];
  }
}

/** The rules that let a packet at one of its ends. */
export const allowing = (state: State, outcome: Outcome, direction: Direction): Decider[] =>
  ruleDeciders(state, outcome, direction, 'allows');

/** The rules that deny it there. */
export const denying = (state: State, outcome: Outcome, direction: Direction): Decider[] =>
  ruleDeciders(state, outcome, direction, 'denies');

/** The rules that ask both ends to have authenticated. */
function asking(state: State, outcome: Outcome, direction: Direction): Decider[] {
  const asks = grantsFor(state, policyAt(state, outcome, direction), outcome, direction, 'allows').filter(
    ({ authentication }) => authentication !== null && authentication !== 'disabled',
  );
  return [...new Set(asks.map(({ origin }) => origin))].map((rule) => deciderAt(rule, 'denies'));
}
