/** Which edits a flow comes from: those that, made alone, bring it about, or without which it would not come. */
import { Engine, type State } from '../state.js';
import { editsOf, type Edit } from './diff-edits.js';
import { changedServices, servicesIn } from './diff-services.js';
import { apartFrom, cutsOf, flowsOf, minus, sorted, type Flows } from './diff-flows.js';
import { outsideIn } from './outside.js';
import { rangeOf } from './ranges.js';
import { reach, type Reach } from './reach.js';

/** Flows that come from the same edits. */
export interface Caused {
  readonly flows: Flows;
  /** By their number. */
  readonly edits: readonly number[];
  /** Whether only all of these edits together bring them about; else each of them alone does. */
  readonly together: boolean;
}

export interface Causes {
  /** What was reachable, and what is. */
  readonly old: Reach;
  readonly now: Reach;
  readonly edits: readonly Edit[];
  readonly gained: readonly Caused[];
  readonly lost: readonly Caused[];
}

/** Who can talk to whom, a workload to itself as well, and what they get of some Services. */
export function reachOf(state: State, services: ReadonlySet<string>): Reach {
  const found = reach(state, { from: null, to: null, protocol: null, itself: true });
  if ('error' in found) throw new Error(found.error);
  const { connections, unknown } = servicesIn(state, services, unknownIn(found));
  return { ...found, connections: [...found.connections, ...connections], unknown: [...found.unknown, ...unknown] };
}

/** Ends about which not everything could be read in one of these. */
export const unknownIn = (...all: readonly Reach[]): Set<string> =>
  new Set(all.flatMap(({ unknown }) => unknown.map(({ ref }) => ref)));

/**
 * An edit brings a flow about that comes when it alone is made to what was before, or goes when it alone is taken back from
 * what is now. `module` is the tracing build of the datapath, for the states between.
 */
export function causesOf(before: State, after: State, module: WebAssembly.Module): Causes {
  const services = changedServices(before, after);
  const [old, now] = [reachOf(before, services), reachOf(after, services)];
  let cuts = cutsOf([old, now]);
  /** Ranges that are all the cluster's own, of which reachability says nothing. */
  const isInside = (end: string): boolean => {
    const range = rangeOf(end);
    return range !== null && [before, after].some((state) => outsideIn(state, ...range).length === 0);
  };
  /** What one reachability has that another has not, as far as both are known. */
  const beyond = (to: Reach, from: Reach): Flows => {
    const unknown = unknownIn(from, to);
    return apartFrom(minus(flowsOf(to, cuts), flowsOf(from, cuts)), (end) => unknown.has(end) || isInside(end));
  };
  if (beyond(now, old).size + beyond(old, now).size === 0) return { old, now, edits: [], gained: [], lost: [] };
  const { edits, filesWith, settingsWith } = editsOf(before, after);
  const engine = new Engine(module, before.settings);
  /** Who can talk to whom with some of the edits made. */
  const between = (made: ReadonlySet<Edit>): Reach => {
    const files = filesWith(made);
    for (const file of engine.manifests.files) if (!files.has(file)) engine.manifests.set(file, null);
    for (const [file, text] of files) {
      if (engine.manifests.text(file) === text) continue;
      // Anew, so that nothing of another trial stands in for what cannot be read.
      engine.manifests.set(file, null);
      engine.manifests.set(file, text);
    }
    engine.set(settingsWith(made));
    return reachOf(engine.current, services);
  };
  const trials = edits.map((edit) => ({
    alone: between(new Set([edit])),
    others: between(new Set(edits.filter((other) => other !== edit))),
  }));
  cuts = cutsOf([old, now, ...trials.flatMap(({ alone, others }) => [alone, others])]);

  const causedOf = (flows: Flows, sets: readonly Flows[], holds: (made: Reach) => Flows): Caused[] =>
    sorted(flows, sets).map(({ sets: own, flows: some }) => {
      const chosen = [...new Set(own.map((set) => set >> 1))];
      if (chosen.length > 0) {
        const isEach = chosen.every((edit) => own.includes(edit * 2));
        return { flows: some, edits: chosen, together: chosen.length > 1 && !isEach };
      }
      const least = leastOf(edits, (made) => minus(some, holds(between(made))).size === 0);
      return { flows: some, edits: least, together: least.length > 1 };
    });
  return {
    old,
    now,
    edits,
    gained: causedOf(
      beyond(now, old),
      trials.flatMap(({ alone, others }) => [beyond(alone, old), beyond(now, others)]),
      (made) => beyond(made, old),
    ),
    lost: causedOf(
      beyond(old, now),
      trials.flatMap(({ alone, others }) => [beyond(old, alone), beyond(others, now)]),
      (made) => beyond(old, made),
    ),
  };
}

/** Edits that together do what no one of them does alone, and of which none can be left out. */
function leastOf(edits: readonly Edit[], isDone: (made: ReadonlySet<Edit>) => boolean): number[] {
  let least = new Set(edits);
  for (const edit of edits) {
    const fewer = new Set([...least].filter((other) => other !== edit));
    if (isDone(fewer)) least = fewer;
  }
  return edits.flatMap((edit, i) => (least.has(edit) ? [i] : []));
}
