/** Sizes of the suffixes of a quantity. Kubernetes `k8s.io/apimachinery/pkg/api/resource`. */
const SUFFIXES: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

const QUANTITY = /^([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([eE][+-]?[0-9]{1,3})|([numkMGTPE]|[KMGTPE]i)?)$/;

/** The number that a Kubernetes quantity stands for: `10M`, `1.5Gi`, `1e3`; null for none. */
export function parseQuantity(text: string): number | null {
  const match = QUANTITY.exec(text);
  if (!match) return null;
  const [, digits, exponent = '', suffix = ''] = match;
  return Number(`${digits}${exponent}`) * SUFFIXES[suffix]!;
}
