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
export class Numbers {
  private readonly held = new Map<string, number>();
  private readonly uses = new Map<string, number>();
  private readonly taken = new Set<number>();
  /** No lower number is free. */
  private lowest = 1;

  get(name: string): number | undefined {
    return this.held.get(name);
  }

  change(gone: Iterable<string>, come: Iterable<string>): void {
    const fresh: string[] = [];
    const left = new Set<string>();
    for (const name of gone) {
      const uses = this.uses.get(name)! - 1;
      this.uses.set(name, uses);
      if (uses === 0) left.add(name);
    }
    for (const name of come) {
      const uses = this.uses.get(name) ?? 0;
      this.uses.set(name, uses + 1);
      if (uses === 0 && !left.delete(name)) fresh.push(name);
    }
    for (const name of left) {
      const number = this.held.get(name)!;
      this.uses.delete(name);
      this.held.delete(name);
      this.taken.delete(number);
      this.lowest = Math.min(this.lowest, number);
    }
    for (const name of fresh.sort(compare)) {
      while (this.taken.has(this.lowest)) this.lowest++;
      this.held.set(name, this.lowest);
      this.taken.add(this.lowest);
    }
  }
}
