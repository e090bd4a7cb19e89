/**
 * Who reaches whom: ends that are alike are one class, and what is open between two classes is the answer to their pair of rows. One
 * class is asked against all others, or all against all, as a matrix whose rows are sets of bits.
 */
import { keptFor } from '../kept.js';
import type { State } from '../state.js';
import { alike, endGroups, endsIn, unreadOf, type End } from './reach-ends.js';
import type { Found } from './reach-open.js';
import { KINDS, pairsOf, type Pairs, type Row, type Side } from './reach-pairs.js';

/** Where no packet goes: from an address outside to another. */
const NONE = 0;

/** An end to which something is open. */
export interface Opening {
  readonly to: End;
  readonly found: Found;
}

/** What is open from or to a class. */
export interface OpenClass {
  readonly number: number;
  readonly found: Found;
}

/** The ends of a state, class by class. */
export class Classes {
  readonly ends: readonly End[];
  /** What of ends could not be read: these are in no class. */
  readonly unread: ReadonlyMap<End, readonly string[]>;
  readonly all: readonly (readonly End[])[];
  private readonly numbers: ReadonlyMap<string, number>;
  private readonly pairs: Pairs;
  /** Of each class; null for those of which more matters than rows say. */
  readonly sides: readonly (Side | null)[];
  private readonly senders: (readonly OpenClass[])[] = [];
  private readonly receivers: (readonly OpenClass[])[] = [];

  constructor(state: State) {
    const groups = endGroups(state);
    this.ends = endsIn(groups);
    this.unread = new Map(groups.flatMap((group) => [...unreadOf(state, group)]));
    this.pairs = pairsOf(state);
    const { all, numbers } = grouped(groups, [...this.unread.keys()]);
    this.all = all;
    this.numbers = numbers;
    this.sides = all.map(([end]) => this.pairs.sideOf(end!));
  }

  /** The class of an end; none has those that could not be read. */
  numberOf(end: End): number {
    return this.numbers.get(end.like)!;
  }

  /** The classes from which something is open to an end's. */
  openTo(end: End): readonly OpenClass[] {
    const to = this.numberOf(end);
    return (this.senders[to] ??= this.open(to, true));
  }

  /** The classes to which something is open from an end's. */
  openFrom(end: End): readonly OpenClass[] {
    const from = this.numberOf(end);
    return (this.receivers[from] ??= this.open(from, false));
  }

  /** `isTo`: towards a class, else from it. */
  private open(number: number, isTo: boolean): readonly OpenClass[] {
    const { all, sides, pairs } = this;
    const own = sides[number]!;
    const found = sides.map((side, other) =>
      other === number || !side || !own ? null : isTo ? pairs.ofSides(side, own) : pairs.ofSides(own, side),
    );
    const unknown = found.map((known, other) =>
      known ? null : isTo ? exampleOf(all, other, number) : exampleOf(all, number, other),
    );
    const asked = pairs.openBetween(unknown);
    const open: OpenClass[] = [];
    found.forEach((known, other) => {
      const between = known ?? asked[other];
      if (between && isAnyOpen(between)) open.push({ number: other, found: between });
    });
    return open;
  }
}

/** Two ends whose packets answer for those of two classes; null for none: an end to itself, and from outside to outside. */
function exampleOf(all: Classes['all'], from: number, to: number): readonly [End, End] | null {
  const sender = all[from]![0]!;
  const receiver = all[to]![from === to ? 1 : 0];
  return receiver && (sender.external === null || receiver.external === null) ? [sender, receiver] : null;
}

/** Ends by what they are alike in, without those that could not be read. */
const grouped = keptFor((groups: readonly (readonly End[])[], unread: readonly End[]) => {
  const isUnread = new Set(unread);
  const numbers = new Map<string, number>();
  const all: (readonly End[])[] = [];
  for (const group of groups)
    for (const [like, ends] of alike(group)) {
      const read = isUnread.size === 0 ? ends : ends.filter((end) => !isUnread.has(end));
      if (read.length === 0) continue;
      const number = numbers.get(like);
      if (number === undefined) numbers.set(like, all.push(read) - 1);
      else all[number] = [...all[number]!, ...read];
    }
  return { all, numbers };
});

/** The classes of a state, made when they are asked for. */
export const classesOf = keptFor((state: State) => new Classes(state));

/** What is open between all classes. */
export class Matrix {
  readonly classes: Classes;
  /** Of each class what is open to each other: where it stands in `found`. */
  private readonly cells: readonly Uint32Array[];
  private readonly found: readonly (Found | null)[];
  private readonly openings: (readonly Opening[])[] = [];

  constructor(state: State) {
    this.classes = classesOf(state);
    const pairs = pairsOf(state);
    const { cells, examples } = new Cells(this.classes);
    this.cells = cells;
    this.found = pairs.openBetween(examples);
  }

  /** The ends to which something is, or may be, open from an end, in their order; itself perhaps among them. */
  openFrom(from: End): readonly Opening[] {
    const number = this.classes.numberOf(from);
    return (this.openings[number] ??= this.openingsOf(number));
  }

  private openingsOf(from: number): readonly Opening[] {
    const open: (Opening & { readonly place: number })[] = [];
    const places = placesOf(this.classes.ends);
    this.cells[from]!.forEach((cell, i) => {
      const found = this.found[cell]!;
      if (!found || (!isAnyOpen(found) && found.depends.length === 0)) return;
      for (const to of this.classes.all[i]!) open.push({ to, found, place: places.get(to)! });
    });
    return open.sort((a, b) => a.place - b.place);
  }

  /** Of each class a bit for each class of which anything is open to it. */
  bits(): Uint32Array[] {
    const isOpen = Uint8Array.from(this.found, (found) => Number(found !== null && isAnyOpen(found)));
    return this.cells.map((row) => {
      const bits = new Uint32Array((row.length + 31) >>> 5);
      for (let i = 0; i < row.length; i++) if (isOpen[row[i]!]) bits[i >>> 5]! |= 1 << (i & 31);
      return bits;
    });
  }
}

const placesOf = keptFor((ends: readonly End[]) => new Map(ends.map((end, place) => [end, place])));

export const isAnyOpen = ({ open: { ports, icmp } }: Found): boolean => ports.length + icmp.length > 0;

/** The cells of the matrix, and of each two ends whose packets answer for it. */
class Cells {
  readonly cells: Uint32Array[] = [];
  readonly examples: (readonly [End, End] | null)[] = [null];
  private readonly classes: Classes['all'];
  private readonly sides: Classes['sides'];
  private readonly byIdentity = new Map<number, number[]>();
  /** Rows in place of their numbers, with the kind of the end whose they are. */
  private readonly senders = new Map<number, number>();
  private readonly receivers = new Map<number, number>();
  /** Cells by row of the sender and of the receiver; 0 where there is none yet. */
  private readonly byRows: Uint32Array[] = [];

  constructor({ all, sides }: Classes) {
    this.classes = all;
    this.sides = sides;
    this.sides.forEach((side, i) => {
      if (!side) return;
      const same = this.byIdentity.get(side.identity);
      if (same) same.push(i);
      else this.byIdentity.set(side.identity, [i]);
    });
    this.fill();
  }

  private fill(): void {
    const { sides, classes } = this;
    const rest = new Uint32Array(classes.length);
    /** Of each class the receivers whose policies name it, each with its row. */
    const naming: number[][] = classes.map(() => []);
    sides.forEach((side, to) => {
      if (!side) return;
      rest[to] = numberIn(this.receivers, side, side.ingress.rest);
      for (const [identity, row] of side.ingress.named)
        for (const from of this.byIdentity.get(identity) ?? [])
          naming[from]!.push(to, numberIn(this.receivers, side, row));
    });
    const outside = Uint8Array.from(classes, ([end]) => (end!.external ? 1 : 0));
    const egress = new Uint32Array(classes.length);
    const ingress = new Uint32Array(classes.length);
    sides.forEach((side, from) => {
      const row = new Uint32Array(classes.length);
      this.cells.push(row);
      if (side) {
        egress.fill(numberIn(this.senders, side, side.egress.rest));
        for (const [identity, named] of side.egress.named)
          for (const to of this.byIdentity.get(identity) ?? []) egress[to] = numberIn(this.senders, side, named);
        ingress.set(rest);
        const named = naming[from]!;
        for (let i = 0; i < named.length; i += 2) ingress[named[i]!] = named[i + 1]!;
      }
      const isOutside = outside[from] === 1;
      let sender = -1;
      let cells: Uint32Array | undefined;
      for (let to = 0; to < row.length; to++) {
        if (isOutside && outside[to] === 1) row[to] = NONE;
        else if (!side || !sides[to]) row[to] = this.examples.push(exampleOf(this.classes, from, to)) - 1;
        else {
          if (egress[to] !== sender) {
            sender = egress[to]!;
            cells = this.byRows[sender] ??= new Uint32Array(this.receivers.size);
          }
          const cell = cells![ingress[to]!]!;
          row[to] = cell !== 0 && this.examples[cell] ? cell : this.cellOf(cells!, ingress[to]!, from, to);
        }
      }
    });
  }

  private cellOf(cells: Uint32Array, receiver: number, from: number, to: number): number {
    const example = exampleOf(this.classes, from, to);
    const known = cells[receiver]!;
    if (known === 0) return (cells[receiver] = this.examples.push(example) - 1);
    this.examples[known] = example;
    return known;
  }
}

function numberIn(numbers: Map<number, number>, { kind }: Side, { number }: Row): number {
  const key = number * KINDS + kind;
  let found = numbers.get(key);
  if (found === undefined) numbers.set(key, (found = numbers.size));
  return found;
}

/** The matrix of a state, made when it is asked for. */
export const matrixOf = keptFor((state: State) => new Matrix(state));
