/**
 * What was computed is kept while what it was computed from stays the same: the very same things, or lists, sets and maps of the
 * very same things in the same order. So an edit costs what it touches. Only what depends on its inputs alone may be kept.
 */

export function sameItems(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a)) return Array.isArray(b) && sameItems(a, b);
  if (a instanceof Set) return b instanceof Set && a.size === b.size && sameItems([...a], [...b]);
  if (a instanceof Map)
    return (
      b instanceof Map &&
      a.size === b.size &&
      sameItems([...a.keys()], [...b.keys()]) &&
      sameItems([...a.values()], [...b.values()])
    );
  return false;
}

const allSame = (a: readonly unknown[], b: readonly unknown[]): boolean => {
  for (let i = 0; i < a.length; i++) if (!same(a[i], b[i])) return false;
  return true;
};

/** A function that gives its last result again while it is asked with the same. */
export function kept<Inputs extends readonly unknown[], Result>(
  make: (...inputs: Inputs) => Result,
): (...inputs: Inputs) => Result {
  let last: { readonly inputs: Inputs; readonly result: Result } | null = null;
  return (...inputs) => {
    if (!last || !allSame(inputs, last.inputs)) last = { inputs, result: make(...inputs) };
    return last.result;
  };
}

/** The same, with a last result for each of its first inputs, for as long as those are there. */
export function keptFor<Of extends object, Inputs extends readonly unknown[], Result>(
  make: (of: Of, ...inputs: Inputs) => Result,
): (of: Of, ...inputs: Inputs) => Result {
  const results = new WeakMap<Of, { readonly inputs: Inputs; readonly result: Result }>();
  return (of, ...inputs) => {
    const last = results.get(of);
    if (last && allSame(inputs, last.inputs)) return last.result;
    const result = make(of, ...inputs);
    results.set(of, { inputs, result });
    return result;
  };
}

/** A result for each of some things, made anew where what it is made of, which the caller lists, is not the same. */
export function keptWhile<Result>(): (of: object, inputs: readonly unknown[], make: () => Result) => Result {
  const results = new WeakMap<object, { readonly inputs: readonly unknown[]; readonly result: Result }>();
  return (of, inputs, make) => {
    const last = results.get(of);
    if (last && allSame(inputs, last.inputs)) return last.result;
    const result = make();
    results.set(of, { inputs, result });
    return result;
  };
}

/** As many lists as one call takes. */
const MANY = 10_000;

/** Lists one after another; where they are long, many times as fast as `flat`. */
export function joined<Thing>(lists: readonly (readonly Thing[])[]): Thing[] {
  const none: Thing[] = [];
  if (lists.length <= MANY) return none.concat(...lists);
  const parts = Array.from({ length: Math.ceil(lists.length / MANY) }, (_, i) =>
    joined(lists.slice(i * MANY, (i + 1) * MANY)),
  );
  return joined(parts);
}

/** Lists one after another: the very same list while each has the same in it. */
export function keptJoined<Thing>(): (lists: readonly (readonly Thing[])[]) => readonly Thing[] {
  let last: { readonly lists: readonly (readonly Thing[])[]; readonly all: readonly Thing[] } | null = null;
  return (lists) => {
    const isSame = last?.lists.length === lists.length && allSame(lists, last.lists);
    last = { lists, all: isSame ? last!.all : joined(lists) };
    return last.all;
  };
}

/** Where two lists are not alike: from `head` on, and up to `tail` places before the end of each. */
function unlike(
  before: readonly unknown[],
  after: readonly unknown[],
): { readonly head: number; readonly tail: number } {
  if (before === after) return { head: after.length, tail: 0 };
  const most = Math.min(before.length, after.length);
  let head = 0;
  while (head < most && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < most - head && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  return { head, tail };
}

/**
 * What is only in one of two lists: an edit leaves most of a list where it was. Where it made the list longer or shorter, all that is
 * between counts, also what is in both.
 */
export function difference<Thing>(
  before: readonly Thing[],
  after: readonly Thing[],
): { readonly gone: readonly Thing[]; readonly come: readonly Thing[] } {
  const { head, tail } = unlike(before, after);
  const gone = before.slice(head, before.length - tail);
  const come = after.slice(head, after.length - tail);
  if (gone.length !== come.length) return { gone, come };
  return { gone: gone.filter((thing, i) => thing !== come[i]), come: come.filter((thing, i) => thing !== gone[i]) };
}

/** A result for each thing of a list, kept while the thing is in it and all else that results are made of stays the same. */
export function keptEach<Thing, Others extends readonly unknown[], Result>(
  make: (thing: Thing, ...others: Others) => Result,
): (things: readonly Thing[], ...others: Others) => readonly Result[] {
  let last: { things: readonly Thing[]; readonly others: Others; readonly results: readonly Result[] } | null = null;
  return (things, ...others) => {
    if (!last || !allSame(others, last.others)) {
      last = { things, others, results: things.map((thing) => make(thing, ...others)) };
      return last.results;
    }
    const { things: before, results } = last;
    const { head, tail } = unlike(before, things);
    if (head === before.length && head === things.length) return results;
    const known = new Map<Thing, Result>();
    for (let i = head; i < before.length - tail; i++) known.set(before[i]!, results[i]!);
    const between = things.slice(head, things.length - tail).map((thing) => {
      const result = known.get(thing);
      return result !== undefined || known.has(thing) ? result! : make(thing, ...others);
    });
    last = { things, others, results: results.slice(0, head).concat(between, results.slice(results.length - tail)) };
    return last.results;
  };
}

/** Things by what they have in common, in their order. */
export function groupedBy<Thing, Key>(things: readonly Thing[], keyOf: (thing: Thing) => Key): Map<Key, Thing[]> {
  const groups = new Map<Key, Thing[]>();
  for (const thing of things) {
    const key = keyOf(thing);
    const group = groups.get(key);
    if (group) group.push(thing);
    else groups.set(key, [thing]);
  }
  return groups;
}

/** Things by what they have in common, in their order; a group that has the same in it stays the very same list. */
export function keptGroups<Thing, Key>(
  keyOf: (thing: Thing) => Key,
): (things: readonly Thing[]) => ReadonlyMap<Key, readonly Thing[]> {
  let last: { things: readonly Thing[]; readonly groups: ReadonlyMap<Key, readonly Thing[]> } | null = null;
  return (things) => {
    if (last && sameItems(things, last.things)) return last.groups;
    const groups = groupedBy(things, keyOf);
    const before = last?.groups;
    last = {
      things,
      groups: new Map(
        [...groups].map(([key, group]) => {
          const former = before?.get(key);
          return [key, former && sameItems(group, former) ? former : group];
        }),
      ),
    };
    return last.groups;
  };
}

/** A function that gives its last result again where the next one would be the same: what others compare stays the very same. */
export function steady<Inputs extends readonly unknown[], Result>(
  make: (...inputs: Inputs) => Result,
  isSame: (a: Result, b: Result) => boolean = same,
): (...inputs: Inputs) => Result {
  let last: { readonly result: Result } | null = null;
  return (...inputs) => {
    const result = make(...inputs);
    if (!last || !isSame(result, last.result)) last = { result };
    return last.result;
  };
}
