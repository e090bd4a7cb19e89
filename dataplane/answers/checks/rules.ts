/** HS3010–HS3013: rules and peers that cannot matter, told by packets that fare the same without them. */
import { DropReason } from '../../../assembly/abi.js';
import { BITS, familyOf, formatAddress, type Address } from '../../addresses.js';
import { firstLineOf, type Place } from '../../manifests/place.js';
import { trafficName } from '../../packet.js';
import type { Policy, RuleOrigin } from '../../policy/rules.js';
import { problem, type Problem } from '../../problems.js';
import { ipBlocksMatchPods } from '../../settings.js';
import type { State } from '../../state.js';
import { count, list, named } from '../../words.js';
import { grantsFor, policyAt } from '../decide.js';
import { Effects, type Effect } from '../effects.js';
import { isInside, nodeAt, podAt } from '../at.js';
import { type Outcome, type Sender } from '../probe.js';
import type { Shapes } from './shapes.js';

/** Of a rule in which something is wrong already, `found`, nothing is said: that is why it does nothing. */
export function checkRules(state: State, shapes: Shapes, found: readonly Problem[]): Problem[] {
  const policies = state.policies.all.filter(({ aboutNodes }) => !aboutNodes);
  const inside = policies.flatMap((policy) => checkAddresses(state, policy));
  // A pod in a document that could not be read may be the one that a rule is for.
  if (shapes.mayLack(null)) return inside;
  const effects = new Effects(state);
  const untried: RuleOrigin[] = [];
  const idle = policies.flatMap((policy) => {
    const origins = new Set(policy.rules.map(({ origin }) => origin));
    const whole = [...origins].filter(({ at }) => !found.some((known) => isWithin(known.at, at)));
    return whole.flatMap((origin) => {
      const effect = effects.of(policy, origin);
      if (effect.kind === 'untried') untried.push(origin);
      return checkRule(state, effect, policy, origin);
    });
  });
  return [...inside, ...idle, ...checkUntried(untried)];
}

/** Rules that are named, at most, where they were not looked at. */
const MOST_UNTRIED = 100;

/** That rules were left out, told once, at the first of them. */
function checkUntried(untried: readonly RuleOrigin[]): Problem[] {
  const [first] = untried;
  if (!first) return [];
  const message = `Not every rule was looked at: whether anything fares otherwise without ${count(untried.length, 'rule')} would take too long to find out. Left out: ${list(untried.map(nameOf), 'and', MOST_UNTRIED)}.`;
  return [problem('HS3014', firstLineOf(first.at), message)];
}

const isWithin = (inner: Place, outer: Place): boolean =>
  inner.source === outer.source && outer.start <= inner.start && inner.end <= outer.end;

/** Whose address a policy can never know it by: who is known by labels, or is another by the time that policies are asked. */
function checkAddresses(state: State, { rules }: Policy): Problem[] {
  return rules.flatMap(({ peers }) =>
    (peers ?? []).flatMap((peer) => {
      if (peer.kind !== 'prefix' || peer.cidr.length < BITS[familyOf(peer.cidr.address)]) return [];
      const { address } = peer.cidr;
      const pod = podAt(state, address);
      if (!isInside(state, address) || (pod && peer.pods && ipBlocksMatchPods(state.settings))) return [];
      const whose = pod
        ? `that of pod ${named(`${pod.namespace}/${pod.name}`)}, which policies know by its labels and never by its address`
        : nodeAt(state, address)
          ? 'that of a node, which policies do not know by its address'
          : 'that of a Service, whose packets have the address of a pod by the time that policies see them';
      return [problem('HS3013', peer.at, `No packet matches ${named(formatAddress(address))}: it is ${whose}.`)];
    }),
  );
}

function checkRule(state: State, effect: Effect, policy: Policy, origin: RuleOrigin): Problem[] {
  if (effect.kind !== 'idle' || effect.outcomes.length === 0) return [];
  const denies = policy.rules.some((rule) => rule.origin === origin && rule.deny);
  // Packets of pods make better examples than those of nodes.
  const outcomes = [...effect.outcomes].sort((a, b) => rankOf(a) - rankOf(b));
  return [denies ? idleDenial(state, origin, outcomes) : idleRule(state, origin, outcomes)];
}

const SENDERS: readonly Sender['kind'][] = ['pod', 'external', 'unlisted', 'host'];
const rankOf = ({ probe }: Outcome): number => SENDERS.indexOf(probe.sender.kind);

/**
 * Of a rule that lets, the first that holds:
 *
 * 1. some of what it is for passes, and does so by others: redundant
 * 2. rules that deny refuse some of it: shadowed
 * 3. the other end refuses some of it
 * 4. all that it is for is the pods' own node, which they always let in: redundant
 */
function idleRule(state: State, origin: RuleOrigin, outcomes: readonly Outcome[]): Problem {
  const { direction } = origin;
  const name = nameOf(origin);
  const passed = outcomes.filter((outcome) => outcome.allowed && isLetByOthers(state, origin, outcome));
  if (passed[0]) {
    const allowing = others(state, origin, passed, 'allows');
    const why = allowing.length > 0 ? `${say(allowing, 'let')} what it lets` : 'nothing isolates these pods';
    const message = `${name} is redundant: ${why}, such as ${example(state, passed[0])}.`;
    return idle('HS3011', origin, message, becauseOf(allowing, 'This lets it too.'));
  }
  const denied = outcomes.filter((outcome) => outcome.direction === direction);
  if (denied[0]) {
    const denying = others(state, origin, denied, 'denies');
    const message = `${name} lets nothing: ${say(denying, 'refuse')} what it lets, such as ${example(state, denied[0])}.`;
    return idle('HS3010', origin, message, becauseOf(denying, 'This refuses it.'));
  }
  const elsewhere = outcomes.filter(({ allowed }) => !allowed);
  if (elsewhere[0]) {
    const who = direction === 'ingress' ? 'nobody may send what it lets in' : 'nobody takes in what it lets out';
    const message = `${name} lets nothing: ${who}, such as ${example(state, elsewhere[0])}.`;
    return idle('HS3012', origin, message, refusals(state, elsewhere));
  }
  const message = `${name} is redundant: pods let their own node in anyway, such as ${example(state, outcomes[0]!)}.`;
  return idle('HS3011', origin, message, []);
}

/** Whether a packet passes by another rule, or because nothing isolates its end: not merely as one of the pods' own node. */
function isLetByOthers(state: State, origin: RuleOrigin, outcome: Outcome): boolean {
  const isolating = policyAt(state, outcome, origin.direction)?.isolatedBy[origin.direction] ?? [];
  return isolating.length === 0 || others(state, origin, [outcome], 'allows').length > 0;
}

/** What a rule denies is denied by others too, or let by none. */
function idleDenial(state: State, origin: RuleOrigin, outcomes: readonly Outcome[]): Problem {
  const denying = others(state, origin, outcomes, 'denies');
  const why = denying.length > 0 ? `${say(denying, 'refuse')} what it refuses` : 'no rule lets what it refuses';
  const message = `${nameOf(origin)} is redundant: ${why}, such as ${example(state, outcomes[0]!)}.`;
  return idle('HS3011', origin, message, becauseOf(denying, 'This refuses it too.'));
}

const nameOf = ({ namespace, name, rule }: RuleOrigin): string =>
  named(`${namespace && `${namespace}/`}${name} ${rule}`);

/** `a lets`, `a and b let`. */
const say = (rules: readonly RuleOrigin[], verb: string): string =>
  `${list(rules.map(nameOf), 'and', 3)} ${verb}${rules.length === 1 ? 's' : ''}`;

/** `TCP 7070 from shop/web[Deployment] to shop/cart[Deployment]`. */
function example(state: State, { probe: { sender, tuple } }: Outcome): string {
  const { protocol, destinationPort, destination } = tuple;
  return `${trafficName(protocol, destinationPort)} from ${named(senderName(sender))} to ${named(addressName(state, destination))}`;
}

function senderName(sender: Sender): string {
  if (sender.kind === 'pod') return sender.pod.workload.ref;
  return sender.kind === 'host' ? `node:${sender.node.name}` : `ip:${formatAddress(sender.address)}`;
}

function addressName(state: State, address: Address): string {
  const node = nodeAt(state, address);
  return podAt(state, address)?.workload.ref ?? (node ? `node:${node.name}` : `ip:${formatAddress(address)}`);
}

const MOST_RELATED = 8;

const idle = (
  code: 'HS3010' | 'HS3011' | 'HS3012',
  origin: RuleOrigin,
  message: string,
  related: Problem['related'],
): Problem => problem(code, firstLineOf(origin.at), message, { related: related.slice(0, MOST_RELATED) });

const becauseOf = (rules: readonly RuleOrigin[], message: string): Problem['related'] =>
  rules.map(({ at }) => ({ at: firstLineOf(at), message }));

/** The other rules that say something of these packets. */
function others(
  state: State,
  origin: RuleOrigin,
  outcomes: readonly Outcome[],
  effect: 'allows' | 'denies',
): RuleOrigin[] {
  const found = outcomes.flatMap((outcome) => {
    const { direction } = origin;
    return grantsFor(state, policyAt(state, outcome, direction), outcome, direction, effect);
  });
  return [...new Set(found.map((grant) => grant.origin))].filter((other) => other !== origin);
}

/** What refuses packets where they are refused: rules that deny, else the policies that isolate; each once. */
function refusals(state: State, outcomes: readonly Outcome[]): Problem['related'] {
  const denying = new Set<RuleOrigin>();
  const isolating = new Map<Place, string>();
  for (const outcome of outcomes) {
    const { direction, reason } = outcome;
    if (!direction) continue;
    const policy = policyAt(state, outcome, direction);
    if (reason?.code === (DropReason.POLICY_DENY as number))
      for (const { origin } of grantsFor(state, policy, outcome, direction, 'denies')) denying.add(origin);
    else
      for (const { source } of policy?.isolatedBy[direction] ?? [])
        isolating.set(source.metadata.name.at, `This isolates the other end at ${direction}.`);
  }
  return [...becauseOf([...denying], 'This refuses it.'), ...[...isolating].map(([at, message]) => ({ at, message }))];
}
