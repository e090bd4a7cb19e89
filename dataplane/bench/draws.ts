/** Numbers that look drawn, the same each time. Marsaglia's xorshift32. */
export function* draws(seed: number): Generator<number, never> {
  for (let state = seed; ;) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield state >>> 0;
  }
}

/** 0 to `count - 1` in a drawn order. */
export function shuffled(count: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  const random = draws(count + 1);
  for (let i = count - 1; i > 0; i--) {
    const j = random.next().value % (i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
