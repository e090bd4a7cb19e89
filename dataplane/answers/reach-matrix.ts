/** Who reaches whom, all at once: a matrix of classes of ends, each cell the answer to its pair of rows, each row a set of bits. */
import { keptFor } from '../kept.js';
import type { State } from '../state.js';
import { endsOf, unreadOf, type End } from './reach-ends.js';
import type { Found } from './reach-open.js';
import { KINDS, pairsOf, type Pairs, type Row, type Side } from './reach-pairs.js';

/** Where no packet goes: from an address outside to another. */
const NONE = 0;

/** An end to which something is open. */
export interface Opening {
  readonly to: End;
  readonly found: Found;
}

export class Matrix {
  readonly ends: readonly End[];
  /** What of ends could not be read: these are in no class. */
  readonly unread: ReadonlyMap<End, readonly string[]>;
  /** Ends that are alike. */
  readonly classes: readonly (readonly End[])[];
  private readonly classOf = new Map<string, number>();
  /** Of each class what is open to each other: where it stands in `found`. */
  private readonly cells: readonly Uint32Array[];
  private readonly found: readonly (Found | null)[];
  private readonly places: ReadonlyMap<End, number>;
  private readonly openings: (readonly Opening[])[] = [];

  constructor(state: State) {
    this.ends = endsOf(state);
    this.unread = unreadOf(state, this.ends);
    this.places = new Map(this.ends.map((end, place) => [end, place]));
    const classes: End[][] = [];
    for (const end of this.ends) {
      if (this.unread.has(end)) continue;
      const known = this.classOf.get(end.like);
      if (known !== undefined) classes[known]!.push(end);
      else this.classOf.set(end.like, classes.push([end]) - 1);
    }
    this.classes = classes;
    const pairs = pairsOf(state);
    const { cells, examples } = new Cells(classes, pairs);
    this.cells = cells;
    pairs.ask(examples.flatMap((example) => (example ? [example] : [])));
    this.found = examples.map((example) => example && pairs.between(...example));
  }

  /** The ends to which something is, or may be, open from an end, in their order; itself perhaps among them. */
  openFrom(from: End): readonly Opening[] {
    const number = this.classOf.get(from.like)!;
    return (this.openings[number] ??= this.openingsOf(number));
  }

  private openingsOf(from: number): readonly Opening[] {
    const open: (Opening & { readonly place: number })[] = [];
    this.cells[from]!.forEach((cell, i) => {
      const found = this.found[cell]!;
      if (!found || (!isAnyOpen(found) && found.depends.length === 0)) return;
      for (const to of this.classes[i]!) open.push({ to, found, place: this.places.get(to)! });
    });
    return open.sort((a, b) => a.place - b.place);
  }

  /** Class by class what is open from each to one. */
  to(end: End): (Found | null)[] {
    const column = this.classOf.get(end.like)!;
    return this.cells.map((row) => this.found[row[column]!]!);
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

export const isAnyOpen = ({ open: { ports, icmp } }: Found): boolean => ports.length + icmp.length > 0;

/** The cells of the matrix, and of each two ends whose packets answer for it. */
class Cells {
  readonly cells: Uint32Array[] = [];
  readonly examples: (readonly [End, End] | null)[] = [null];
  private readonly sides: readonly (Side | null)[];
  private readonly byIdentity = new Map<number, number[]>();
  /** Rows in place of their numbers, with the kind of the end whose they are. */
  private readonly senders = new Map<number, number>();
  private readonly receivers = new Map<number, number>();
  /** Cells by row of the sender and of the receiver; 0 where there is none yet. */
  private readonly byRows: Uint32Array[] = [];

  constructor(
    private readonly classes: readonly (readonly End[])[],
    pairs: Pairs,
  ) {
    this.sides = classes.map(([end]) => pairs.sideOf(end!));
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
      const isOutside = classes[from]![0]!.external !== null;
      for (let to = 0; to < row.length; to++) {
        if (isOutside && classes[to]![0]!.external !== null) row[to] = NONE;
        else if (side && sides[to]) row[to] = this.cellOf(egress[to]!, ingress[to]!, from, to);
        else row[to] = this.examples.push(this.exampleOf(from, to)) - 1;
      }
    });
  }

  private cellOf(sender: number, receiver: number, from: number, to: number): number {
    const cells = (this.byRows[sender] ??= new Uint32Array(this.receivers.size));
    const known = cells[receiver]!;
    if (known === 0) return (cells[receiver] = this.examples.push(this.exampleOf(from, to)) - 1);
    if (from !== to) this.examples[known] ??= this.exampleOf(from, to);
    return known;
  }

  /** null for an end to itself. */
  private exampleOf(from: number, to: number): readonly [End, End] | null {
    const receiver = this.classes[to]![from === to ? 1 : 0];
    return receiver ? [this.classes[from]![0]!, receiver] : null;
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
