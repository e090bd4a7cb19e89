/** A packet that satisfies a condition: looked for by packets of every class, and told by a question about the one that was found. */
import { familyOf } from '../addresses.js';
import { addressIn, type ClusterPod } from '../cluster/cluster.js';
import type { Protocol } from '../manifests/objects.js';
import { meshPorts } from '../policy/mesh.js';
import { PROTOCOL_NUMBERS } from '../policy/networkpolicy.js';
import { policyOf, type State } from '../state.js';
import { probeOf } from './carriers.js';
import { deciding, UNTOLD } from './layer7.js';
import { missingFor } from './missing.js';
import { run, type Outcome, type Probe } from './probe.js';
import { query, type Answer } from './query.js';
import { stretches } from './reach-open.js';
import { endsOf, entrances, type End } from './sides.js';

export interface SearchOptions {
  /** null for anyone. */
  readonly from: string | null;
  readonly to: string | null;
  /** null for each that has ports. */
  readonly protocol: Protocol | null;
  /** null for any. */
  readonly port: number | null;
  readonly verdict: 'ALLOWED' | 'DENIED';
  /** Pairs of ends for which a packet is told, at most. */
  readonly limit: number;
}

/** A question, and its answer: that which was searched for, or one that depends on what is named. */
export interface Witness extends Answer {
  readonly from: string;
  readonly to: string;
  readonly protocol: Protocol;
  readonly port: number;
}

export interface Search {
  readonly schema: 'hopscope.search/1';
  readonly from: string | null;
  readonly to: string | null;
  readonly protocol: Protocol | null;
  readonly port: number | null;
  readonly verdict: SearchOptions['verdict'];
  /** Of each pair of ends one, up to the limit; none where there is no such packet. */
  readonly witnesses: readonly Witness[];
  /** Pairs of ends about which not everything could be read, so that there may be one. */
  readonly unknown: readonly { readonly from: string; readonly to: string; readonly depends: readonly string[] }[];
}

export function search(state: State, options: SearchOptions): Search | { readonly error: string } {
  const from = endsOf(state, options.from, 'default');
  if ('error' in from) return from;
  if (from.some(({ service }) => service))
    return { error: `${options.from} cannot send: a Service is only ever addressed` };
  const searcher = new Searcher(state, options);
  const namespaces = new Map<string, ReturnType<typeof endsOf>>();
  for (const sender of from) {
    // A name may be another's to whoever looks it up elsewhere.
    const namespace = sender.pods[0]?.namespace ?? 'default';
    const to = namespaces.get(namespace) ?? endsOf(state, options.to, namespace);
    namespaces.set(namespace, to);
    if (!('error' in to)) searcher.among(sender, to);
    if (searcher.isDone) break;
  }
  const targets = [...namespaces.values()];
  const [failure] = targets.flatMap((to) => ('error' in to ? to : []));
  if (failure && targets.every((to) => 'error' in to)) return failure;
  const { protocol, port, verdict } = options;
  return {
    schema: 'hopscope.search/1',
    from: options.from,
    to: options.to,
    protocol,
    port,
    verdict,
    witnesses: searcher.witnesses,
    unknown: searcher.unknown,
  };
}

const PROTOCOLS = Object.keys(PROTOCOL_NUMBERS) as Protocol[];

/** A packet that may be one. */
interface Candidate {
  readonly protocol: Protocol;
  readonly port: number;
}

class Searcher {
  readonly witnesses: Witness[] = [];
  readonly unknown: Search['unknown'][number][] = [];

  constructor(
    private readonly state: State,
    private readonly options: SearchOptions,
  ) {}

  get isDone(): boolean {
    return this.witnesses.length >= this.options.limit;
  }

  /** Looks at all that one end may send to others. */
  among(from: End, to: readonly End[]): void {
    const sendable = to.filter((end) => end.ref !== from.ref || from.pods.length > 1);
    const inside = from.outside === null ? sendable : sendable.filter(({ outside }) => outside === null);
    const seen = this.outcomes(from, inside);
    for (const end of inside) {
      if (this.isDone) return;
      const outcomes = seen.get(end);
      const candidates = outcomes
        ? outcomes.filter(([, outcome]) => this.mayBe(outcome)).map(([candidate]) => candidate)
        : this.candidates(from, end);
      const depends = outcomes
        ? missingFor(
            this.state,
            outcomes.map(([, outcome]) => outcome),
          )
        : [];
      if (depends.length > 0) this.unknown.push({ from: from.ref, to: end.ref, depends });
      else this.ask(from, end, candidates, null);
    }
    // Clients outside find pods by other addresses too.
    const pods = new Set(inside.flatMap((end) => end.pods));
    if (from.outside === null || pods.size === 0) return;
    for (const entrance of entrances(this.state, pods))
      if (!this.isDone) this.ask(from, entrance, this.candidates(from, entrance), pods);
  }

  /** Whether a packet fared as is searched for, or would for some request. */
  private mayBe({ allowed, redirects }: Outcome): boolean {
    return allowed === (this.options.verdict === 'ALLOWED') || redirects.some(({ fate }) => fate === 'untold');
  }

  /** Asks until an answer is what is searched for. `behind`: the backends that count; null for any. */
  private ask(from: End, to: End, candidates: readonly Candidate[], behind: ReadonlySet<ClusterPod> | null): void {
    for (const { protocol, port } of candidates) {
      const question = { from: from.ref, to: to.ref, protocol, port };
      const answered = query(this.state, { ...question, sourcePort: null, node: null, http: null });
      if ('error' in answered) continue;
      const { answer, outcomes } = answered;
      if (answer.verdict === 'UNKNOWN') {
        this.unknown.push({ from: from.ref, to: to.ref, depends: answer.depends });
        return;
      }
      const isFound = answer.verdict === this.options.verdict || answer.verdict === 'CONDITIONAL';
      // Without a packet there is nothing to show.
      if (!isFound || outcomes.length === 0) continue;
      if (behind && !outcomes.some(({ receiver }) => receiver && behind.has(receiver))) continue;
      this.witnesses.push({ ...question, ...answer });
      return;
    }
  }

  /** What becomes of packets of each class to those ends that packets can be sent to as they are. */
  private outcomes(from: End, to: readonly End[]): Map<End, (readonly [Candidate, Outcome])[]> {
    const asked: { end: End; candidate: Candidate; probe: Probe }[] = [];
    for (const end of to) {
      for (const candidate of this.candidates(from, end)) {
        for (const probe of probesBetween(from, end, candidate)) asked.push({ end, candidate, probe });
      }
    }
    const found = new Map<End, (readonly [Candidate, Outcome])[]>();
    run(
      this.state,
      asked.map(({ probe }) => probe),
      deciding(this.state, UNTOLD),
    ).forEach((outcome, i) => {
      const { end, candidate } = asked[i]!;
      const others = found.get(end) ?? [];
      others.push([candidate, outcome]);
      found.set(end, others);
    });
    return found;
  }

  /** Of each stretch of ports within which answers are alike the first, after those that somebody is known to listen on. */
  private candidates(from: End, to: End): Candidate[] {
    const { protocol: only, port: asked } = this.options;
    const protocols = only === null ? PROTOCOLS : [only];
    if (to.service) {
      return to.service.ports
        .filter(({ source, backends }) => {
          const isAsked = asked === null || source.port.value === asked || backends.some(({ port }) => port === asked);
          return isAsked && protocols.includes(source.protocol);
        })
        .map(({ source }) => ({ protocol: source.protocol, port: source.port.value }));
    }
    if (asked !== null) return protocols.map((protocol) => ({ protocol, port: asked }));
    const declared = (to.pods[0]?.spec.containers ?? [])
      .flatMap(({ ports }) => ports)
      .map(({ protocol, containerPort }) => ({ protocol, port: containerPort.value }));
    const policies = [...from.pods.slice(0, 1), ...to.pods.slice(0, 1)].map((pod) => policyOf(this.state, pod));
    const single = to.pods[0] ? meshPorts(this.state.cluster, to.pods[0]) : [];
    const starts = protocols.flatMap((protocol) =>
      stretches(policies, single, PROTOCOL_NUMBERS[protocol]).map(({ first }): Candidate => ({
        protocol,
        port: first,
      })),
    );
    const all = [...declared.filter(({ protocol }) => protocols.includes(protocol)), ...starts];
    return [...new Map(all.map((one) => [`${one.protocol} ${one.port}`, one])).values()];
  }
}

/** One packet for each family that both ends have; none where only a question can tell what is sent, or where. */
function probesBetween(from: End, to: End, { protocol, port }: Candidate): Probe[] {
  const [sender] = from.pods;
  const receiver = to.pods.find((pod) => pod !== sender) ?? null;
  if ([sender, receiver].some((pod) => pod?.hostNetwork)) return [];
  const own = from.outside === null ? (sender?.addresses ?? []) : [from.outside];
  const theirs = to.outside === null ? (receiver?.addresses ?? []) : [to.outside];
  return theirs.flatMap((destination) => {
    const source = addressIn({ addresses: own }, familyOf(destination));
    if (source === null) return [];
    const path = { source, destination, isStandIn: false };
    const number = PROTOCOL_NUMBERS[protocol];
    if (sender) return [probeOf({ ...path, sender: { kind: 'pod', pod: sender } }, number, port)];
    return receiver
      ? [probeOf({ ...path, sender: { kind: 'external', address: source, node: receiver.node } }, number, port)]
      : [];
  });
}
