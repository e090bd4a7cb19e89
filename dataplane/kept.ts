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
