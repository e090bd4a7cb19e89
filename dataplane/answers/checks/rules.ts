/** HS3010–HS3013: rules and peers that cannot matter, told by packets that fare the same without them. */
import { DropReason } from '../../../assembly/abi.js';
import { BITS, familyOf, formatAddress, type Address } from '../../addresses.js';
import { firstLineOf, type Place } from '../../manifests/place.js';
import { trafficName } from '../../packet.js';
import type { Policy, RuleOrigin } from '../../policy/rules.js';
import { problem, type Problem } from '../../problems.js';
import type { State } from '../../state.js';
import { list, named } from '../../words.js';
import { grantsFor, policyAt } from '../decide.js';
import { Effects } from '../effects.js';
import { isInside, nodeAt, podAt, type Outcome, type Sender } from '../probe.js';
import type { Shapes } from './shapes.js';

/** Of a rule in which something is wrong already, `found`, nothing is said: that is why it does nothing. */
export function checkRules(state: State, shapes: Shapes, found: readonly Problem[]): Problem[] {
  const policies = state.policies.all.filter(({ aboutNodes }) => !aboutNodes);
  const inside = policies.flatMap((policy) => checkAddresses(state, policy));
  // A pod in a document that could not be read may be the one that a rule is for.
  if (shapes.mayLack(null)) return inside;
  const effects = new Effects(state);
  const idle = policies.flatMap((policy) => {
    const origins = new Set(policy.rules.map(({ origin }) => origin));
    const whole = [...origins].filter(({ at }) => !found.some((known) => isWithin(known.at, at)));
    return whole.flatMap((origin) => checkRule(state, effects, policy, origin));
  });
  return [...inside, ...idle];
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
      if (!isInside(state, address) || (pod && peer.pods && state.settings.ipBlockMatchesPods)) return [];
      const whose = pod
        ? `that of pod ${named(`${pod.namespace}/${pod.name}`)}, which policies know by its labels and never by its address`
        : nodeAt(state, address)
          ? 'that of a node, which policies do not know by its address'
          : 'that of a Service, whose packets have the address of a pod by the time that policies see them';
      return [problem('HS3013', peer.at, `No packet matches ${named(formatAddress(address))}: it is ${whose}.`)];
    }),
  );
}

function checkRule(state: State, effects: Effects, policy: Policy, origin: RuleOrigin): Problem[] {
  const effect = effects.of(policy, origin);
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
 * 1. some of what it is for passes, and does so without it: redundant
 * 2. rules that deny refuse some of it, and it makes nothing pass: shadowed
 * 3. all of it is refused at the other end
 */
function idleRule(state: State, origin: RuleOrigin, outcomes: readonly Outcome[]): Problem {
  const passed = outcomes.filter(({ allowed }) => allowed);
  if (passed[0]) {
    const allowing = others(state, origin, passed, 'allows');
    const why = allowing.length > 0 ? `${say(allowing, 'let')} what it lets` : 'nothing isolates these pods';
    const message = `${nameOf(origin)} is redundant: ${why}, such as ${example(state, passed[0])}.`;
    return idle('HS3011', origin, message, allowing, 'This lets it too.');
  }
  const denied = outcomes.filter(({ direction }) => direction === origin.direction);
  if (denied[0]) {
    const denying = others(state, origin, denied, 'denies');
    const message = `${nameOf(origin)} lets nothing: ${say(denying, 'refuse')} what it lets, such as ${example(state, denied[0])}.`;
    return idle('HS3010', origin, message, denying, 'This refuses it.');
  }
  const refusing = [...new Map(outcomes.flatMap((outcome) => refusingAt(state, outcome))).values()];
  const may = origin.direction === 'ingress' ? 'nobody may send what it lets in' : 'nobody takes in what it lets out';
  const message = `${nameOf(origin)} lets nothing: ${may}, such as ${example(state, outcomes[0]!)}.`;
  return { ...idle('HS3012', origin, message, [], ''), related: refusing.slice(0, MOST_RELATED) };
}

/** What a rule denies is denied by others too, or let by none. */
function idleDenial(state: State, origin: RuleOrigin, outcomes: readonly Outcome[]): Problem {
  const denying = others(state, origin, outcomes, 'denies');
  const why = denying.length > 0 ? `${say(denying, 'refuse')} what it refuses` : 'no rule lets what it refuses';
  const message = `${nameOf(origin)} is redundant: ${why}, such as ${example(state, outcomes[0]!)}.`;
  return idle('HS3011', origin, message, denying, 'This refuses it too.');
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
  because: readonly RuleOrigin[],
  what: string,
): Problem =>
  problem(code, firstLineOf(origin.at), message, {
    related: because.slice(0, MOST_RELATED).map((rule) => ({ at: firstLineOf(rule.at), message: what })),
  });

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

/** What refuses a packet where it was refused: rules that deny it, else the policies that isolate. */
function refusingAt(state: State, outcome: Outcome): [unknown, Problem['related'][number]][] {
  const { direction, reason } = outcome;
  if (!direction) return [];
  const policy = policyAt(state, outcome, direction);
  if (reason?.code === (DropReason.POLICY_DENY as number))
    return grantsFor(state, policy, outcome, direction, 'denies').map(({ origin }) => [
      origin,
      { at: firstLineOf(origin.at), message: 'This refuses it.' },
    ]);
  return (policy?.isolatedBy[direction] ?? []).map(({ source }) => [
    source,
    { at: source.metadata.name.at, message: `This isolates the other end at ${direction}.` },
  ]);
}
