/** Things of a list by keys, brought from one list to the next: only what came or went is looked at. */
import { difference } from './kept.js';

type Held<Thing> = Map<unknown, Thing | Several<Thing>>;

/** Things of one key, in their order. */
class Several<Thing> {
  constructor(readonly things: Thing[]) {}
}

/**
 * The things of one list by their keys. The next list's takes over what this one holds; an index that is asked after that makes
 * its own anew.
 */
export class Index<Key, Thing> {
  private held: Held<Thing> | null = null;

  constructor(
    private readonly things: readonly Thing[],
    private readonly keysOf: (thing: Thing) => Iterable<Key>,
  ) {}

  /** The last thing of a key. */
  get(key: Key): Thing | undefined {
    const found = this.filled().get(key);
    return found instanceof Several ? found.things.at(-1) : found;
  }

  has(key: Key): boolean {
    return this.filled().has(key);
  }

  /** All things of a key, in the order of the list. */
  all(key: Key): readonly Thing[] {
    const found = this.filled().get(key);
    return found instanceof Several ? found.things : found === undefined ? [] : [found];
  }

  /** The keys of things that only one of two lists has. */
  keysUnlike({ things }: Index<Key, Thing>): readonly Key[] {
    const { gone, come } = difference(things, this.things);
    return [...gone, ...come].flatMap((thing) => [...this.keysOf(thing)]);
  }

  /** The same of another list. */
  next(things: readonly Thing[]): Index<Key, Thing> {
    const next = new Index(things, this.keysOf);
    if (!this.held) return next;
    const { gone, come } = difference(this.things, things);
    if (gone.length + come.length > things.length) return next;
    next.held = this.held;
    this.held = null;
    next.take(gone, come);
    next.put(come);
    return next;
  }

  private filled(): Held<Thing> {
    if (this.held) return this.held;
    const held: Held<Thing> = new Map();
    for (const thing of this.things)
      for (const key of this.keysOf(thing)) {
        const found = held.get(key);
        if (found === undefined) held.set(key, thing);
        else if (!(found instanceof Several)) {
          if (found !== thing) held.set(key, new Several([found, thing]));
        } else if (found.things.at(-1) !== thing) found.things.push(thing);
      }
    return (this.held = held);
  }

  /** Where as many came as went, each of those takes the place of one of these, under the keys that both have. */
  private take(gone: readonly Thing[], come: readonly Thing[]): void {
    const heirs = gone.length === come.length ? come : [];
    const left = new Map(gone.map((thing, i) => [thing, heirs[i]]));
    const keys = new Map(heirs.map((heir) => [heir, new Set(this.keysOf(heir))]));
    for (const key of new Set(gone.flatMap((thing) => [...this.keysOf(thing)])))
      this.set(key, (things) =>
        things.flatMap((thing) => {
          if (!left.has(thing)) return [thing];
          const heir = left.get(thing);
          return heir !== undefined && keys.get(heir)!.has(key) ? [heir] : [];
        }),
      );
  }

  /** Those that share a key stand in the order of the list. */
  private put(come: readonly Thing[]): void {
    const shared = new Set<Key>();
    for (const thing of come)
      for (const key of this.keysOf(thing)) {
        this.set(key, (others) => {
          if (others.includes(thing)) return others;
          if (others.length > 0) shared.add(key);
          return [...others, thing];
        });
      }
    if (shared.size === 0) return;
    const sharing = new Set([...shared].flatMap((key) => this.all(key)));
    const places = new Map(this.things.filter((thing) => sharing.has(thing)).map((thing, place) => [thing, place]));
    for (const key of shared) this.set(key, (things) => [...things].sort((a, b) => places.get(a)! - places.get(b)!));
  }

  private set(key: Key, change: (things: readonly Thing[]) => readonly Thing[]): void {
    const things = change(this.all(key));
    if (things.length === 0) this.held!.delete(key);
    else this.held!.set(key, things.length === 1 ? things[0]! : new Several([...things]));
  }
}

/** The index of a list, by way of that of the list before. */
export function indexed<Key, Thing>(
  keysOf: (thing: Thing) => Iterable<Key>,
): (things: readonly Thing[]) => Index<Key, Thing> {
  let last: { readonly things: readonly Thing[]; readonly index: Index<Key, Thing> } | null = null;
  return (things) => {
    if (last?.things !== things)
      last = { things, index: last ? last.index.next(things) : new Index<Key, Thing>(things, keysOf) };
    return last.index;
  };
}
