/** Stable numbers for names: the same for the same name, whatever else is there. */

/** FNV-1a over UTF-16 units, with a last mix (MurmurHash3's) that spreads it over all 32 bits. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * Gives each name a number of its own between `first` and `first + size - 1`: the one its hash asks for, or the next free.
 * Names come in sorted order, so that a name's number changes only when one that it collides with comes or goes.
 * null for a name when all are taken.
 */
export function spread(
  names: Iterable<string>,
  first: number,
  size: number,
  taken = new Set<number>(),
): Map<string, number> {
  const numbers = new Map<string, number>();
  for (const name of [...new Set(names)].sort(compare)) {
    if (taken.size >= size) break;
    let offset = hashOf(name) % size;
    while (taken.has(first + offset)) offset = (offset + 1) % size;
    taken.add(first + offset);
    numbers.set(name, first + offset);
  }
  return numbers;
}

/** Orders texts by UTF-16 units: the same in every locale. */
export const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * Numbers that stay: a name keeps its number while it is used, and a new one takes the lowest that is free, as Cilium's agent hands
 * out service and backend ids. They are told what changes: names come and go, each as often as it is used.
 */
export class Numbers<Key extends string | number = string> {
  private readonly held = new Map<Key, { number: number; uses: number }>();
  private readonly taken = new Set<number>();
  /** No lower number is free. */
  private lowest = 1;

  /** Names may stand behind keys that are quicker to make and to find. */
  constructor(private readonly nameOf: (key: Key) => string = String) {}

  get(key: Key): number | undefined {
    return this.held.get(key)?.number;
  }

  change(gone: Iterable<Key>, come: Iterable<Key>): void {
    const fresh: { readonly key: Key; readonly name: string }[] = [];
    const left = new Set<Key>();
    for (const key of gone) if (--this.held.get(key)!.uses === 0) left.add(key);
    for (const key of come) {
      const held = this.held.get(key);
      if (held) {
        if (held.uses++ === 0) left.delete(key);
      } else {
        this.held.set(key, { number: 0, uses: 1 });
        fresh.push({ key, name: this.nameOf(key) });
      }
    }
    for (const key of left) {
      const { number } = this.held.get(key)!;
      this.held.delete(key);
      this.taken.delete(number);
      this.lowest = Math.min(this.lowest, number);
    }
    for (const { key } of fresh.sort((a, b) => compare(a.name, b.name))) {
      while (this.taken.has(this.lowest)) this.lowest++;
      this.held.get(key)!.number = this.lowest;
      this.taken.add(this.lowest);
    }
  }
}
