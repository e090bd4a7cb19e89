/** What a single rule changes: packets that fare otherwise while the policymap holds what all other rules put there. */
import { IpProto, MapId, ReservedIdentity } from '../../assembly/abi.js';
import { familyOf, type Family } from '../addresses.js';
import { policymapEntry } from '../loader/entries.js';
import { Recompiler, type CompiledPolicy } from '../policy/compile.js';
import type { PodIdentity } from '../policy/identities.js';
import type { PolicymapEntry } from '../policy/mapstate.js';
import { EVERY_PORT, type Policy, type PortNumbers, type PortRange, type RuleOrigin } from '../policy/rules.js';
import type { State } from '../state.js';
import { Carriers, probeOf, type Path } from './carriers.js';
import { deciding, UNTOLD } from './layer7.js';
import { missingFor } from './missing.js';
import { run, type Outcome, type Probe } from './probe.js';
import { LETS } from './proxy.js';

/** What becomes of all answers without a rule. */
export type Effect =
  /** That of this packet changes. */
  | { readonly kind: 'matters'; readonly witness: Outcome }
  /** None does; `outcomes` are those of all packets that the rule is about, of each class one. */
  | { readonly kind: 'idle'; readonly outcomes: readonly Outcome[] }
  /** Nothing is said: whom it is about, or what else decides there, is not in the manifests, or not all of it is read. */
  | { readonly kind: 'unknown' }
  /** It was not looked at, or not at all that it is about: that would take too long. */
  | { readonly kind: 'untried' };

/**
 * What is done for all rules together, at most: the rest are not tried. A pair of identities takes as long as the pods
 * have entries in the policymap, and much longer where policies are in an order.
 */
const MOST_WORK = 400_000;
const ORDERED = 8;

export class Effects {
  private readonly carriers: Carriers;
  private readonly recompiler: Recompiler;
  /** The pods that each policy applies to: what they have, and their identities. */
  private readonly subjects = new Map<Policy, Map<CompiledPolicy, PodIdentity[]>>();
  private work = 0;

  constructor(private readonly state: State) {
    this.carriers = new Carriers(state);
    this.recompiler = new Recompiler(state.identities, state.settings);
    for (const [identity, compiled] of state.policies.ofIdentity) {
      for (const policy of compiled.applied) {
        const groups = this.subjects.get(policy) ?? new Map<CompiledPolicy, PodIdentity[]>();
        this.subjects.set(policy, groups);
        const members = groups.get(compiled);
        if (members) members.push(identity);
        else groups.set(compiled, [identity]);
      }
    }
  }

  /** What a rule of a policy of pods changes. What DNS rules let be known, and who has authenticated, is not looked at. */
  of(policy: Policy, origin: RuleOrigin): Effect {
    const rules = policy.rules.filter((rule) => rule.origin === origin);
    const asksMore = rules.some(
      ({ authentication, ports }) => authentication !== null || ports?.some(({ l7 }) => l7?.kind === 'dns'),
    );
    if (asksMore || this.state.settings.policyAuditMode) return { kind: 'unknown' };
    const trials = [...(this.subjects.get(policy) ?? [])].map(
      ([compiled, members]) => new Trial(this.state, this.carriers, this.recompiler, compiled, members, policy, origin),
    );
    // Most rules matter to the first that they name.
    const [first] = trials;
    for (const pair of first?.pairs(first.named).slice(0, FIRST_PAIRS) ?? []) {
      if (!this.affords(first!, 1)) return { kind: 'untried' };
      const effect = first!.towards(pair);
      if (effect.kind === 'matters') return effect;
    }
    const outcomes: Outcome[] = [];
    let isSure = true;
    for (const trial of trials) {
      const pairs = trial.affected();
      if (!this.affords(trial, pairs.length)) return { kind: 'untried' };
      for (const pair of pairs) {
        const effect = trial.towards(pair);
        if (effect.kind === 'matters') return effect;
        if (effect.kind === 'idle') outcomes.push(...effect.outcomes);
        else isSure = false;
      }
    }
    return isSure && missingFor(this.state, oneOfEach(outcomes)).length === 0
      ? { kind: 'idle', outcomes }
      : { kind: 'unknown' };
  }

  private affords(trial: Trial, pairs: number): boolean {
    this.work += pairs * trial.cost;
    return this.work <= MOST_WORK;
  }
}

/** Pairs that are tried before anything else. */
const FIRST_PAIRS = 4;

/** Of the outcomes for each pod and direction one: what could not be read is the same for all of them. */
function oneOfEach(outcomes: readonly Outcome[]): Outcome[] {
  const found = new Map<unknown, Outcome>();
  for (const outcome of outcomes) {
    const { sender } = outcome.probe;
    found.set(sender.kind === 'pod' ? sender.pod : sender.kind, outcome);
    found.set(outcome.receiver, outcome);
  }
  return [...found.values()];
}

/** A packet, which may stand for those of pods that are not there. */
type Question = Probe & Pick<Path, 'isStandIn'>;

/** Pods of one identity, and the identity of a peer. */
interface Pair {
  readonly subject: PodIdentity;
  readonly peer: number;
}

/** Pods with the same policies, without one of their rules. */
class Trial {
  /** Whom the rule names; 0 for anyone. */
  readonly named: readonly number[];
  private readonly rules: Policy['rules'];
  private readonly without: readonly Policy[];
  /** Whether the rule alone isolates the pods. */
  private readonly opens: boolean;

  constructor(
    private readonly state: State,
    private readonly carriers: Carriers,
    private readonly recompiler: Recompiler,
    private readonly compiled: CompiledPolicy,
    private readonly members: readonly PodIdentity[],
    private readonly policy: Policy,
    private readonly origin: RuleOrigin,
  ) {
    const { direction } = origin;
    this.rules = policy.rules.filter((rule) => rule.origin === origin);
    this.named = [...new Set(this.rules.flatMap((rule) => recompiler.identitiesOf(rule)))];
    const rest = withoutRule(policy, origin);
    this.without = compiled.applied.map((one) => (one === policy ? rest : one));
    this.opens =
      compiled.isolatedBy[direction].length > 0 && !this.without.some(({ isolates }) => isolates.includes(direction));
  }

  /** Of one pair. */
  get cost(): number {
    const { entries, refusals } = this.compiled;
    return (entries.length + 1) * (refusals === null ? 1 : ORDERED);
  }

  /** Whoever asks differs at the other end alone, where there is one. */
  pairs(peers: readonly number[]): Pair[] {
    const { carriers, members } = this;
    const all = new Set(peers.flatMap((peer) => (peer === 0 ? carriers.identities : peer)));
    return [...all].flatMap((peer) =>
      (carriers.isOutside(peer) ? members.slice(0, 1) : members).map((subject) => ({ subject, peer })),
    );
  }

  /**
   * Those whom the rule names, and those whose entries in the policymap would change. Where entries for anyone would, all
   * whom no entry names are alike: an address outside, about which nobody else decides, stands for them, and two pods beside it.
   */
  affected(): Pair[] {
    const { origin, carriers, compiled } = this;
    const egress = origin.direction === 'egress';
    const before = compiled.entries.filter((entry) => entry.egress === egress);
    const after = this.recompiler
      .compile(this.without, this.members[0]!)
      .entries.filter((entry) => entry.egress === egress);
    const changed = identitiesIn(changesBetween(compiled.id, before, after));
    if (!changed.has(0) && !this.named.includes(0)) return this.pairs([...this.named, ...changed]);
    const entries = [...before, ...after].map(({ identity }) => identity);
    const known = new Set([...this.named, ...entries].filter((identity) => identity > 0));
    const other = carriers.identities.find((identity) => carriers.isOutside(identity) && !known.has(identity));
    return other === undefined
      ? this.pairs([0, ...known, ...ABSENT])
      : this.pairs([...known, other, ...carriers.identities.slice(0, 2)]);
  }

  towards({ subject, peer }: Pair): Effect {
    const { carriers, recompiler, origin, policy } = this;
    const before = recompiler.between(this.compiled.applied, subject, peer);
    const after = recompiler.between(this.without, subject, peer);
    const own = recompiler.between([{ ...policy, rules: this.rules }], subject, peer);
    const ranges = this.opens ? [EVERYTHING] : rangesOf(own.entries);
    const others = carriers.podsOf(peer);
    const theirs = others && this.state.policies.ofIdentity.get(others);
    const cuts = [
      ...before.boundaries,
      ...(theirs ? recompiler.between(theirs.applied, others, subject.number).boundaries : []),
    ];
    const probes = carriers.paths(subject, peer, origin.direction).flatMap((path) =>
      ranges.flatMap((range) =>
        pointsOf(range, cuts, familyOf(path.destination)).map(({ protocol, port }) => ({
          ...probeOf(path, protocol, port),
          isStandIn: path.isStandIn,
        })),
      ),
    );
    const changes = changesBetween(this.compiled.id, before.entries, after.entries);
    if (probes.length === 0) return changes.size === 0 ? { kind: 'idle', outcomes: [] } : { kind: 'unknown' };
    return this.compare(probes, changes);
  }

  /** Runs packets with the rule, and, where the policymap would differ, without. */
  private compare(probes: readonly Question[], changes: Changes): Effect {
    const { state } = this;
    const outcomes = run(state, probes, deciding(state, UNTOLD));
    const others = changes.size > 0 ? changed(state, changes, () => run(state, probes, LETS)) : outcomes;
    if (!others) return { kind: 'unknown' };
    const differ = outcomes.filter((outcome, i) => outcome.allowed !== others[i]!.allowed || this.asksProxy(outcome));
    const isStandIn = ({ probe }: Outcome): boolean => (probe as Question).isStandIn;
    const witness = differ.find((outcome) => !isStandIn(outcome));
    if (witness) return { kind: 'matters', witness };
    return differ.length > 0
      ? { kind: 'unknown' }
      : { kind: 'idle', outcomes: outcomes.filter((outcome) => !isStandIn(outcome)) };
  }

  /** Whether a proxy is asked about the packet's request, and no other rule lets all of them. */
  private asksProxy({ redirects }: Outcome): boolean {
    return redirects.some(
      ({ grants, port, direction }) =>
        port !== 0 &&
        direction === this.origin.direction &&
        !grants.some(({ origin, l7 }) => origin !== this.origin && l7 === null),
    );
  }
}

/** A policy as it is once a rule is deleted. One that isolates because it has rules for a direction does so no more without any. */
function withoutRule(policy: Policy, origin: RuleOrigin): Policy {
  const { direction } = origin;
  return {
    ...policy,
    rules: policy.rules.filter((rule) => rule.origin !== origin),
    isolates: policy.isolates.filter((one) => one !== direction || !isolatesBy(policy, origin)),
  };
}

/** Whether a rule is the only one of its direction, and the policy does not say itself what it isolates. */
function isolatesBy({ source }: Policy, { direction, at }: RuleOrigin): boolean {
  if (source.kind === 'NetworkPolicy')
    return direction === 'egress' && source.policyTypesAt === null && source.egress?.rules.length === 1;
  // Those of administrators isolate nobody.
  if (!('specs' in source)) return false;
  const spec = source.specs.find(({ sections }) => sections.some(({ rules }) => rules.some((rule) => rule.at === at)));
  const rules = spec?.sections.filter(({ name }) => name.startsWith(direction)).flatMap((section) => section.rules);
  return rules?.length === 1 && spec?.enableDefaultDeny[direction] === null;
}

/** Traffic of a protocol; 0 for any. */
const EVERYTHING: PortRange = { protocol: 0, ...EVERY_PORT };

/** What rules put into a policymap, as ports. */
const rangesOf = (entries: readonly PolicymapEntry[]): PortRange[] =>
  entries
    .filter(({ grants }) => grants.length > 0)
    .map(({ protocol, port, length }) =>
      length === 0 ? EVERYTHING : { protocol, first: port, last: port + 2 ** (24 - length) - 1 },
    );

const PORTS = [IpProto.TCP, IpProto.UDP, IpProto.SCTP];
const ICMP: Readonly<Record<Family, { readonly protocol: IpProto; readonly echo: number }>> = {
  IPv4: { protocol: IpProto.ICMP, echo: 8 },
  IPv6: { protocol: IpProto.ICMPV6, echo: 128 },
};

/** Of each stretch of a range within which ports are alike, the first; of ICMP the types that are named, and echo requests. */
function pointsOf(
  range: PortRange,
  cuts: readonly PortRange[],
  family: Family,
): { readonly protocol: number; readonly port: number }[] {
  const { protocol: icmp, echo } = ICMP[family];
  const protocols = range.protocol === 0 ? [...PORTS, icmp] : [range.protocol];
  return protocols.flatMap((protocol) => {
    const own = cuts.filter((cut) => cut.protocol === protocol);
    if (protocol !== icmp) {
      const ports = PORTS.includes(protocol) ? startsIn(range, own) : [];
      return ports.map((port) => ({ protocol, port }));
    }
    const types = new Set([echo, ...own.map(({ first }) => first)]);
    return [...types].filter((type) => range.first <= type && type <= range.last).map((port) => ({ protocol, port }));
  });
}

function startsIn({ first, last }: PortNumbers, cuts: readonly PortNumbers[]): number[] {
  // Nobody asks for port 0.
  const starts = [Math.max(first, 1), ...cuts.flatMap((cut) => [cut.first, cut.last + 1])];
  return [...new Set(starts)].filter((port) => first <= port && port <= last && port > 0);
}

/** Identities that packets in a cluster may have, and none of the manifests': nobody of whom can be asked. */
const ABSENT = [
  ReservedIdentity.UNMANAGED,
  ReservedIdentity.HEALTH,
  ReservedIdentity.INIT,
  ReservedIdentity.INGRESS,
  ReservedIdentity.KUBE_APISERVER,
];

type MapEntry = ReturnType<typeof policymapEntry>;

interface Change {
  /** The peer's; 0 for any. */
  readonly identity: number;
  /** null for no entry. */
  readonly before: MapEntry | null;
  readonly after: MapEntry | null;
}

/** By key of the policymap. */
type Changes = ReadonlyMap<string, Change>;

function changesBetween(
  policyId: number,
  before: readonly PolicymapEntry[],
  after: readonly PolicymapEntry[],
): Changes {
  const found = new Map<string, Change>();
  for (const one of before) {
    const entry = policymapEntry(policyId, one);
    found.set(entry.key, { identity: one.identity, before: entry, after: null });
  }
  for (const one of after) {
    const entry = policymapEntry(policyId, one);
    found.set(entry.key, { identity: one.identity, before: found.get(entry.key)?.before ?? null, after: entry });
  }
  return new Map([...found].filter(([, change]) => change.before?.value !== change.after?.value));
}

const identitiesIn = (changes: Changes): Set<number> => new Set([...changes.values()].map(({ identity }) => identity));

/** What is answered while the policymap is changed; null where it has no room for that. */
function changed<Result>({ loader }: State, changes: Changes, answer: () => Result): Result | null {
  const datapath = loader.current;
  const put = (key: string, entry: MapEntry | null): boolean =>
    (entry ? datapath.update(MapId.POLICY, key, entry.value) : datapath.delete(MapId.POLICY, key)) === 0;
  // What goes makes room for what comes.
  const inOrder = [...changes].sort(([, a], [, b]) => Number(a.after !== null) - Number(b.after !== null));
  const fits = inOrder.map(([key, { after }]) => put(key, after)).every((done) => done);
  try {
    return fits ? answer() : null;
  } finally {
    for (const [key, { before }] of inOrder.reverse()) put(key, before);
  }
}
