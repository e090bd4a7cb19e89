/**
 * Between which ends packets fare alike, so that those between two of them answer for all: the datapath's way from an end to
 * another differs by what the policymaps say, of the sender's policy about the receiver's identity and of the receiver's about the
 * sender's, and by what the ends are. What policymaps say is a row: the entries for one identity and for any. So there are as many
 * questions as there are pairs of rows, and an edit asks those that were not there before.
 */
import { TunnelProtocol } from '../../assembly/abi.js';
import { familyOf, UNSPECIFIED } from '../addresses.js';
import { kept, keptFor } from '../kept.js';
import { isLoopback } from '../loader/host-ports.js';
import { modesOf } from '../loader/modes.js';
import type { ClusterPod } from '../cluster/cluster.js';
import type { CompiledPolicy } from '../policy/compile.js';
import type { PodIdentity } from '../policy/identities.js';
import type { PolicymapEntry } from '../policy/mapstate.js';
import { hasMesh } from '../policy/mesh.js';
import type { PortRange, TrafficPrefix } from '../policy/rules.js';
import { isKubeProxy } from '../settings.js';
import { identityOf, overStates, policyOf, type State } from '../state.js';
import type { End } from './reach-ends.js';
import { findOpen, type Asked, type Found } from './reach-open.js';
import { listenedAt } from './unaddressed.js';

/** What a policymap says of one identity: the same number for the same entries. */
export interface Row {
  readonly number: number;
  readonly boundaries: readonly PortRange[];
}

type RowOf = (own: readonly PolicymapEntry[], ofAnyone: readonly PolicymapEntry[]) => Row;

/** What a policymap says in one direction: of the identities that it names, and of all others. */
class Rows {
  readonly rest: Row;
  private readonly ofAnyone: readonly PolicymapEntry[];
  private all: ReadonlyMap<number, Row> | null = null;

  constructor(
    private readonly rows: CompiledPolicy['rows'],
    private readonly rowOf: RowOf,
  ) {
    this.ofAnyone = rows.get(0) ?? NO_ENTRIES;
    this.rest = rowOf(NO_ENTRIES, this.ofAnyone);
  }

  of(identity: number): Row {
    if (this.all) return this.all.get(identity) ?? this.rest;
    const own = this.rows.get(identity);
    return own ? this.rowOf(own, this.ofAnyone) : this.rest;
  }

  /** Those of the identities of which it says something else than of the rest. */
  get named(): ReadonlyMap<number, Row> {
    if (this.all) return this.all;
    const named = new Map<number, Row>();
    for (const [identity, own] of this.rows) {
      const row = identity === 0 ? this.rest : this.rowOf(own, this.ofAnyone);
      if (row !== this.rest) named.set(identity, row);
    }
    return (this.all = named);
  }
}

/** An end as the datapath knows it. */
export interface Side {
  /** What it is: a pod or an address outside, and its families; numbered. */
  readonly kind: number;
  readonly identity: number;
  readonly egress: Rows;
  readonly ingress: Rows;
}

/** Numbers in place of texts; the same for the same text. */
class Numbered {
  private readonly numbers = new Map<string, number>();

  of(text: string): number {
    let number = this.numbers.get(text);
    if (number === undefined) this.numbers.set(text, (number = this.numbers.size));
    return number;
  }
}

/** More than there are ever rows, and kinds of ends, so that the numbers of two of each make one. */
const ROWS = 2 ** 22;
export const KINDS = 2 ** 4;
/** Entries of one prefix of 24 bits, the protocol's eight first. */
const WHOLE_LENGTH = 24;
const PROTOCOL_LENGTH = 8;

const NO_ENTRIES: readonly PolicymapEntry[] = [];

/** What is open between two sides, by what decides it. Numbers that are small in both places are found many times as fast as large ones. */
class Answers {
  private readonly bySender = new Map<number, Map<number, Found>>();

  get(from: Side, to: Side): Found | undefined {
    return this.bySender.get(senderKey(from, to))?.get(to.ingress.of(from.identity).number);
  }

  set(from: Side, to: Side, found: Found): void {
    const sender = senderKey(from, to);
    const known = this.bySender.get(sender) ?? new Map<number, Found>();
    this.bySender.set(sender, known.set(to.ingress.of(from.identity).number, found));
  }
}

const senderKey = (from: Side, to: Side): number =>
  (from.kind * KINDS + to.kind) * ROWS + from.egress.of(to.identity).number;

/** What is known of rows and of pairs of them, from one state of an engine to the next. */
class Known {
  private readonly shapes = new Numbered();
  private readonly kinds = new Numbered();
  private readonly rows = new Map<string, Row>();
  private readonly l7 = new WeakMap<object, number>();
  private l7Count = 0;
  private readonly egress = keptFor((own: readonly PolicymapEntry[], ofAnyone: readonly PolicymapEntry[]) =>
    this.row(own, ofAnyone, true),
  );
  private readonly ingress = keptFor((own: readonly PolicymapEntry[], ofAnyone: readonly PolicymapEntry[]) =>
    this.row(own, ofAnyone, false),
  );
  /** Outside, nobody asks a policy. */
  readonly outside = new Rows(new Map(), this.egress);
  private readonly rowsOf = keptFor(({ rows }: CompiledPolicy) => ({
    egress: new Rows(rows, this.egress),
    ingress: new Rows(rows, this.ingress),
  }));
  readonly sideOf = keptFor((pod: ClusterPod, { number }: PodIdentity, policy: CompiledPolicy): Side | null => {
    const kind = this.kind(`pod ${pod.addresses.map(familyOf).join(' ')}`);
    return kind >= KINDS ? null : { kind, identity: number, ...this.rowsOf(policy) };
  });
  /** The answers, for as long as nothing else changes that the datapath looks at. */
  readonly answers = kept((...of: readonly unknown[]) => ({ of, found: new Answers() }));

  kind(text: string): number {
    return this.kinds.of(text);
  }

  private row(own: readonly PolicymapEntry[], ofAnyone: readonly PolicymapEntry[], egress: boolean): Row {
    const [mine, others] = [own, ofAnyone].map((entries) => entries.filter((entry) => entry.egress === egress)) as [
      PolicymapEntry[],
      PolicymapEntry[],
    ];
    const signature = [mine, others]
      .map((entries) =>
        entries
          .map((entry) => this.shapeOf(entry))
          .sort()
          .join(),
      )
      .join('|');
    let row = this.rows.get(signature);
    if (!row) {
      const boundaries = [...mine, ...others].flatMap(boundaryOf);
      this.rows.set(signature, (row = { number: this.rows.size, boundaries }));
    }
    return row;
  }

  /** All that the datapath, and a proxy behind it, take from an entry. */
  private shapeOf({
    protocol,
    port,
    length,
    deny,
    proxyPort,
    proxyPortPriority,
    authType,
    grants,
  }: PolicymapEntry): number {
    const rules = proxyPort === 0 ? '' : grants.map(({ l7 }) => (l7 ? this.numberOf(l7) : '')).join();
    return this.shapes.of(
      `${protocol} ${port} ${length} ${deny} ${proxyPort} ${proxyPortPriority} ${authType} ${rules}`,
    );
  }

  private numberOf(l7: object): number {
    let number = this.l7.get(l7);
    if (number === undefined) this.l7.set(l7, (number = this.l7Count++));
    return number;
  }
}

/** The ports of an entry's prefix; none for one of all ports. */
const boundaryOf = ({ protocol, port, length }: TrafficPrefix): PortRange[] =>
  length <= PROTOCOL_LENGTH ? [] : [{ protocol, first: port, last: port + 2 ** (WHOLE_LENGTH - length) - 1 }];

const knownOf = overStates(() => new Known());

/** What is open between the ends of one state. */
export class Pairs {
  private readonly known: Known;
  private readonly answers: Answers;
  /** Whether addresses and nodes have no part in what becomes of packets, as they have where some are masqueraded or encrypted. */
  readonly isPlain: boolean;
  /** Whether addresses outside are told apart by more than policies: pods keep their own to some of them. */
  private readonly isAddressed: boolean;
  private readonly listened: ReadonlySet<ClusterPod>;
  private readonly sides = new Map<End, Side | null>();
  /** Of two of which one is not known by rows, by what each is alike in. */
  private readonly others = new Map<string, Found>();

  constructor(private readonly state: State) {
    const { settings, cluster } = state;
    this.known = knownOf(state);
    this.answers = this.known.answers(settings, cluster.nodes, cluster.families).found;
    this.isPlain =
      !isKubeProxy(settings) &&
      !hasMesh(cluster) &&
      settings['encryption.type'] === 'none' &&
      modesOf(settings, false).tunnel !== TunnelProtocol.NONE;
    this.isAddressed = settings.nativeRoutingCIDR !== '' || settings['ipMasqAgent.nonMasqueradeCIDRs'].length > 0;
    this.listened = listenedAt(state);
  }

  /** What is open from an end to each other; ends that are alike are asked about once, and so are pairs of them. null for itself. */
  from(from: End, targets: readonly End[]): (Found | null)[] {
    const byLike = new Map<string, End>();
    for (const to of targets) if (to !== from && !byLike.has(to.like)) byLike.set(to.like, to);
    this.ask([...byLike.values()].map((to) => [from, to]));
    const found = new Map([...byLike].map(([like, to]) => [like, this.between(from, to)]));
    return targets.map((to) => (to === from ? null : found.get(to.like)!));
  }

  /** What is known between two ends; null where it has not been asked. */
  between(from: End, to: End): Found | null {
    const [sender, receiver] = [this.sideOf(from), this.sideOf(to)];
    return sender && receiver ? this.ofSides(sender, receiver) : (this.others.get(likeness(from, to)) ?? null);
  }

  /** Asks what is not known yet, all in as few calls as the batch allows. */
  ask(pairs: Iterable<readonly [End, End]>): void {
    const asked = new Map<string, Asked>();
    for (const [from, to] of pairs) {
      if (this.between(from, to)) continue;
      const [sender, receiver] = [this.sideOf(from), this.sideOf(to)];
      const rows = sender && receiver && [sender.egress.of(receiver.identity), receiver.ingress.of(sender.identity)];
      const key = rows
        ? [sender.kind, receiver.kind, ...rows.map(({ number }) => number)].join(' ')
        : likeness(from, to);
      const boundaries = rows && rows.flatMap((row) => row.boundaries);
      if (!asked.has(key)) asked.set(key, { from, to, boundaries });
    }
    const all = [...asked.values()];
    findOpen(this.state, all).forEach((found, i) => {
      const { from, to } = all[i]!;
      const [sender, receiver] = [this.sideOf(from), this.sideOf(to)];
      if (sender && receiver) this.answers.set(sender, receiver, found);
      else this.others.set(likeness(from, to), found);
    });
  }

  /** What is open between each two, asked where it is not known; null for none. */
  openBetween(pairs: readonly (readonly [End, End] | null)[]): (Found | null)[] {
    const found = pairs.map((pair) => pair && this.between(...pair));
    const unknown = pairs.filter((pair, i) => pair !== null && found[i] === null) as (readonly [End, End])[];
    if (unknown.length === 0) return found;
    this.ask(unknown);
    return pairs.map((pair, i) => found[i] ?? (pair && this.between(...pair)));
  }

  /** What is known between two sides; null where it has not been asked. */
  ofSides(from: Side, to: Side): Found | null {
    return this.answers.get(from, to) ?? null;
  }

  /** null for an end of which more matters than rows say. */
  sideOf(end: End): Side | null {
    let side = this.sides.get(end);
    if (side === undefined) this.sides.set(end, (side = this.isPlain ? this.readSide(end) : null));
    return side;
  }

  private readSide({ pods, external }: End): Side | null {
    const { known, state } = this;
    if (external) {
      const { example, identity } = external;
      if (this.isAddressed || example === UNSPECIFIED[familyOf(example)] || isLoopback(example)) return null;
      const kind = known.kind(`outside ${familyOf(example)}`);
      return { kind, identity, egress: known.outside, ingress: known.outside };
    }
    const [pod] = pods;
    const identity = pod && identityOf(state, pod);
    const policy = pod && policyOf(state, pod);
    if (!pod || !identity || !policy) return null;
    if (this.listened.size > 0 && pods.some((one) => this.listened.has(one))) return null;
    return known.sideOf(pod, identity, policy);
  }
}

/** What decides between two ends of which one is not known by rows. */
const likeness = (from: End, to: End): string => `${from.like}\n${to.like}`;

/** What is open between the ends of a state. */
export const pairsOf = keptFor((state: State) => new Pairs(state));
