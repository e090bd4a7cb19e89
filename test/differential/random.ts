/** Numbers that look random and are the same for the same seed: xorshift128 (Marsaglia, "Xorshift RNGs", 2003). */
export class Random {
  private readonly state: Int32Array;

  constructor(...seeds: readonly number[]) {
    this.state = Int32Array.of(0x2545f491, 0x5851f42d, 0x14057b7e, 0x6c078965);
    for (const [i, seed] of seeds.entries()) this.state[i & 3]! ^= Math.imul(seed + 1, 0x9e3779b1) ^ (seed << 7);
    for (let i = 0; i < 32; i++) this.next();
  }

  /** 32 bits. */
  next(): number {
    const { state } = this;
    let t = state[3]!;
    t ^= t << 11;
    t ^= t >>> 8;
    state[3] = state[2]!;
    state[2] = state[1]!;
    const s = state[0]!;
    state[1] = s;
    state[0] = t ^ s ^ (s >>> 19);
    return state[0] >>> 0;
  }

  below(end: number): number {
    return this.next() % end;
  }

  /** From `from` to `to`, both included. */
  between(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  /** True for so many of a hundred. */
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  /** So many of them at most, in their order. */
  some<T>(from: readonly T[], most: number): T[] {
    const chosen = new Set(Array.from({ length: most }, () => this.below(from.length)));
    return from.filter((_, i) => chosen.has(i));
  }
}
