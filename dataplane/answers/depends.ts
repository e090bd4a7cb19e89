/** What a CONDITIONAL answer depends on: each kind of packet with its fate. */
import { compareAddresses, familyOf, formatAddress, formatEndpoint, plus, type Address } from '../addresses.js';
import { podBehind, type ClusterPod } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import type { State } from '../state.js';
import { isInside, podAt } from './at.js';
import { externalClasses, overlap, type ExternalClass } from './outside.js';
import { type Outcome } from './probe.js';

const sentence = ({ allowed, reason, direction }: Outcome): string =>
  allowed ? 'ALLOWED' : `DENIED (${reason?.text}, ${direction})`;

const podName = ({ namespace, name }: ClusterPod): string => `pod ${namespace}/${name}`;

/** An address outside stands for all that no policy tells from it, and is named with them. */
function externalOf(state: State, address: Address): ExternalClass | null {
  if (isInside(state, address)) return null;
  return externalClasses(state).find((known) => overlap(known, { first: address, last: address })) ?? null;
}

const rangeText = (first: Address, last: Address): string =>
  first === last ? `address ${formatAddress(first)}` : `addresses ${formatAddress(first)}-${formatAddress(last)}`;

/** What sets a packet apart from the question's others: its words, with a range of addresses where it stands for one. */
interface Distinction {
  readonly before: string;
  readonly range: ExternalClass | null;
  readonly after: string;
}

function distinction(state: State, outcome: Outcome, outcomes: readonly Outcome[]): Distinction {
  const differ = (of: (outcome: Outcome) => unknown): boolean => new Set(outcomes.map(of)).size > 1;
  const { sender, tuple } = outcome.probe;
  const parts: string[] = [];
  if (outcome.backend && differ(({ backend }) => backend?.podKey ?? backend?.address)) {
    const { address, port } = outcome.backend;
    const pod = podBehind(state.cluster, outcome.backend);
    parts.push(`on backend ${pod ? `${podName(pod)}:${port}` : formatEndpoint(address, port)}`);
  }
  if (
    sender.kind === 'external' &&
    differ(({ probe }) => (probe.sender.kind === 'external' ? probe.sender.node : null))
  ) {
    parts.push(`entering at node ${sender.node.name}`);
  }
  const destination = podAt(state, tuple.destination);
  const receiverOf = ({ probe }: Outcome): unknown => podAt(state, probe.tuple.destination) ?? probe.tuple.destination;
  if (destination && parts.length === 0 && differ(receiverOf)) parts.push(`to ${podName(destination)}`);
  if (sender.kind !== 'external' && differ(senderOf)) {
    parts.unshift(
      `from ${sender.kind === 'pod' ? podName(sender.pod) : sender.kind === 'host' ? `node ${sender.node.name}` : formatAddress(sender.address)}`,
    );
  }
  const source = sender.kind === 'external' && differ(senderOf) ? externalOf(state, tuple.source) : null;
  if (source) return { before: 'from ', range: source, after: parts.map((part) => ` ${part}`).join('') };
  const target = !outcome.backend && differ(receiverOf) ? externalOf(state, tuple.destination) : null;
  if (target) return { before: [...parts, 'to '].join(' '), range: target, after: '' };
  if (differ(({ probe }) => familyOf(probe.tuple.destination))) parts.push(`over ${familyOf(tuple.destination)}`);
  return { before: parts.join(' '), range: null, after: '' };
}

/** Who sends: a pod or node is one whichever of its addresses it takes. */
const senderOf = ({ probe: { sender } }: Outcome): unknown =>
  sender.kind === 'pod' ? sender.pod : sender.kind === 'host' ? sender.node : sender.address;

/** One line for each kind of packet; ranges of addresses that touch and fare alike are one. */
export function dependsOn(state: State, outcomes: readonly Outcome[]): string[] {
  const plain = new Set<string>();
  const ranges: { before: string; after: string; result: string; first: Address; last: Address }[] = [];
  for (const outcome of outcomes) {
    const { before, range, after } = distinction(state, outcome, outcomes);
    const result = sentence(outcome);
    if (!range) plain.add(`${before}${after}: ${result}`);
    else ranges.push({ before, after, result, first: range.first, last: range.last });
  }
  ranges.sort((a, b) => compare(a.before + a.after, b.before + b.after) || compareAddresses(a.first, b.first));
  const merged: typeof ranges = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    const touches =
      last &&
      last.before === range.before &&
      last.after === range.after &&
      last.result === range.result &&
      familyOf(last.last) === familyOf(range.first) &&
      plus(last.last, 1) >= range.first;
    if (touches) last.last = last.last > range.last ? last.last : range.last;
    else merged.push({ ...range });
  }
  return [
    ...[...plain].sort(compare),
    ...merged.map(({ before, after, result, first, last }) => `${before}${rangeText(first, last)}${after}: ${result}`),
  ];
}
