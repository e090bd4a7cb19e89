/** What a CONDITIONAL answer depends on: each kind of packet with its fate. */
import { formatAddress } from '../addresses.js';
import type { ClusterPod } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import type { State } from '../state.js';
import { externalClasses, podAt, type ExternalClass, type Outcome } from './probe.js';

const sentence = ({ allowed, reason, direction }: Outcome): string =>
  allowed ? 'ALLOWED' : `DENIED (${reason?.text}, ${direction})`;

const podName = ({ namespace, name }: ClusterPod): string => `pod ${namespace}/${name}`;

/** An address outside stands for all that no policy tells from it, and is named with them. */
function externalOf(state: State, address: number): ExternalClass | null {
  if (podAt(state, address) || state.cluster.nodes.some((node) => node.address === address)) return null;
  return externalClasses(state).find(({ first, last }) => first <= address && address <= last) ?? null;
}

const rangeText = (first: number, last: number): string =>
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
  if (outcome.backend && differ(({ backend }) => backend?.address)) {
    const { pod, address, port } = outcome.backend;
    parts.push(`on backend ${pod ? podName(pod) : formatAddress(address)}:${port}`);
  }
  if (
    sender.kind === 'external' &&
    differ(({ probe }) => (probe.sender.kind === 'external' ? probe.sender.node : null))
  ) {
    parts.push(`entering at node ${sender.node.name}`);
  }
  const destination = podAt(state, tuple.destination);
  if (destination && parts.length === 0 && differ(({ probe }) => probe.tuple.destination))
    parts.push(`to ${podName(destination)}`);
  if (sender.kind !== 'external' && differ(({ probe }) => probe.tuple.source)) {
    parts.unshift(
      `from ${sender.kind === 'pod' ? podName(sender.pod) : sender.kind === 'host' ? `node ${sender.node.name}` : formatAddress(sender.address)}`,
    );
  }
  if (sender.kind === 'external' && differ(({ probe }) => probe.tuple.source)) {
    return { before: 'from ', range: externalOf(state, tuple.source), after: parts.map((part) => ` ${part}`).join('') };
  }
  if (!destination && !outcome.backend && differ(({ probe }) => probe.tuple.destination)) {
    return { before: [...parts, 'to '].join(' '), range: externalOf(state, tuple.destination), after: '' };
  }
  return { before: parts.join(' '), range: null, after: '' };
}

/** One line for each kind of packet; ranges of addresses that touch and fare alike are one. */
export function dependsOn(state: State, outcomes: readonly Outcome[]): string[] {
  const plain = new Set<string>();
  const ranges: { before: string; after: string; result: string; first: number; last: number }[] = [];
  for (const outcome of outcomes) {
    const { before, range, after } = distinction(state, outcome, outcomes);
    const result = sentence(outcome);
    if (!range) plain.add(`${before}${after}: ${result}`);
    else ranges.push({ before, after, result, first: range.first, last: range.last });
  }
  ranges.sort((a, b) => compare(a.before + a.after, b.before + b.after) || a.first - b.first);
  const merged: typeof ranges = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    const touches =
      last &&
      last.before === range.before &&
      last.after === range.after &&
      last.result === range.result &&
      last.last + 1 >= range.first;
    if (touches) last.last = Math.max(last.last, range.last);
    else merged.push({ ...range });
  }
  return [
    ...[...plain].sort(compare),
    ...merged.map(({ before, after, result, first, last }) => `${before}${rangeText(first, last)}${after}: ${result}`),
  ];
}
