/** What is open to and from pods that are not there yet: by packets of pods that stand for them, loaded beside the others. */
import {
  isRepresentative,
  ANY_POD,
  manifestsOf,
  MOST_KINDS,
  REPRESENTATIVES_FILE,
  representativesOf,
} from '../policy/representatives.js';
import { Engine, identityOf, type State } from '../state.js';
import { common } from './diff-flows.js';
import { connectionOf, narrowed, type Connection, type Reach, type ReachOptions } from './reach.js';
import { choose, endsOf, unreadOf, type End } from './reach-ends.js';
import type { Layer7, Open } from './reach-open.js';
import { pairsOf } from './reach-pairs.js';

/** A kind of pods, and those that stand for it. */
interface Kind {
  readonly ref: string;
  readonly ends: readonly End[];
}

/**
 * Adds the exposure to a reachability. Any pod may do what all that policies could tell apart may; other kinds of pods are
 * listed where they may do something else. `module` is the tracing build of the datapath.
 */
export function exposed(
  state: State,
  reach: Reach,
  options: ReachOptions,
  module: WebAssembly.Module,
): Reach | { readonly error: string } {
  const { pods, isEvery } = representativesOf(state.cluster, state.policies.all);
  const { text, names } = manifestsOf(pods);
  const engine = new Engine(module, state.settings);
  for (const file of state.manifests.files) engine.manifests.set(file, state.manifests.text(file));
  engine.manifests.set(REPRESENTATIVES_FILE, text);
  const beside = engine.current;
  const all = endsOf(beside).filter(({ external }) => external === null);
  const standsFor = ({ pods: [pod] }: End): boolean => pod !== undefined && isRepresentative(pod);
  const byName = new Map(all.filter(standsFor).map((end) => [end.pods[0]!.name, end]));
  const kinds = new Map<string, Kind>();
  const representatives = names.map((name) => byName.get(name)!);
  if (isEvery) kinds.set(ANY_POD, { ref: ANY_POD, ends: representatives });
  pods.forEach(({ ref }, i) => {
    if (ref !== ANY_POD) kinds.set(ref, { ref, ends: [representatives[i]!] });
  });
  const ends = all.filter((end) => !standsFor(end));
  const [sources, targets] = [choose(beside, ends, options.from), choose(beside, ends, options.to)];
  if ('error' in sources) return sources;
  if ('error' in targets) return targets;
  const unread = unreadOf(beside, ends);
  const listed: Connection[] = [];
  const add = (one: Kind, own: (kind: Kind) => Open, connect: (open: Open) => Connection[], any: Open): void => {
    const open = own(one);
    if (one.ref === ANY_POD || JSON.stringify(open) !== JSON.stringify(any)) listed.push(...connect(open));
  };
  for (const to of options.from === null ? targets.ends : []) {
    if (unread.has(to)) continue;
    const own = ({ ends: kind }: Kind): Open =>
      narrowed(shared(kind.map((from) => pairsOf(beside).from(from, [to])[0]!.open)), options.protocol, targets.ports);
    const any = kinds.has(ANY_POD) ? own(kinds.get(ANY_POD)!) : NOTHING;
    for (const kind of kinds.values()) add(kind, own, (open) => connectionOf(kind.ref, to.ref, open), any);
  }
  for (const from of options.to === null ? sources.ends : []) {
    if (unread.has(from)) continue;
    const found = pairsOf(beside).from(from, representatives);
    const opened = new Map(representatives.map((end, i) => [end, found[i]!.open]));
    const own = ({ ends: kind }: Kind): Open =>
      narrowed(shared(kind.map((to) => opened.get(to)!)), options.protocol, null);
    const any = kinds.has(ANY_POD) ? own(kinds.get(ANY_POD)!) : NOTHING;
    for (const kind of kinds.values()) add(kind, own, (open) => connectionOf(from.ref, kind.ref, open), any);
  }
  const used = [...kinds.values()].filter(({ ref }) => listed.some(({ from, to }) => from === ref || to === ref));
  const classes = used.map(({ ref, ends: [end] }) => ({
    ref,
    kind: 'class' as const,
    identity: identityOf(beside, end!.pods[0]!)!.number,
  }));
  const cut = `policies tell more kinds of pods apart than the ${MOST_KINDS} that one selector may stand for`;
  return {
    ...reach,
    endpoints: [...reach.endpoints, ...classes],
    unknown: [...reach.unknown, ...(isEvery ? [] : [{ ref: ANY_POD, depends: [cut] }])],
    exposure: listed,
  };
}

const NOTHING: Open = { ports: [], icmp: [] };

/** What is open to all: whatever a proxy asks of one of them, it asks of them all. */
function shared(all: readonly Open[]): Open {
  const [first = NOTHING, ...others] = all;
  return others.reduce(
    (one, other): Open => ({
      ports: one.ports.flatMap(({ protocol, ranges, layer7 = [] }) => {
        const found = other.ports.find((open) => open.protocol === protocol);
        const both = common(ranges, found?.ranges ?? []);
        if (both.length === 0) return [];
        const asks = [...layer7, ...(found?.layer7 ?? [])]
          .map((ask): Layer7 => ({ ...ask, ranges: common(ask.ranges, both) }))
          .filter((ask) => ask.ranges.length > 0);
        const once = [...new Map(asks.map((ask) => [JSON.stringify(ask), ask])).values()];
        return [{ protocol, ranges: both, ...(once.length > 0 ? { layer7: once } : {}) }];
      }),
      icmp: one.icmp.flatMap(({ protocol, types }) => {
        const both = common(types, other.icmp.find((open) => open.protocol === protocol)?.types ?? []);
        return both.length > 0 ? [{ protocol, types: both }] : [];
      }),
    }),
    first,
  );
}
