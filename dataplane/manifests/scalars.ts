/** The value of a scalar as Kubernetes reads it. */
export type ScalarValue = string | number | boolean | null;

/** Words with a meaning of their own; Kubernetes reads YAML 1.1 booleans, including `y` and `n`. */
const WORDS: ReadonlyMap<string, ScalarValue> = new Map<string, ScalarValue>([
  ...inCases(['y', 'yes', 'true', 'on'], true),
  ...inCases(['n', 'no', 'false', 'off'], false),
  ...inCases(['null'], null),
  ['', null],
  ['~', null],
  ...inCases(['.nan'], NaN),
  ...inCases(['.inf', '+.inf'], Infinity),
  ...inCases(['-.inf'], -Infinity),
]);

/** Each word in lower case, Capitalised and in UPPER CASE, and in no other mixture. */
function inCases(words: readonly string[], value: ScalarValue): [string, ScalarValue][] {
  return words.flatMap((word): [string, ScalarValue][] => [
    [word, value],
    [word.replace(/[a-z]/, (letter) => letter.toUpperCase()), value],
    [word.toUpperCase(), value],
  ]);
}

const LONGEST_WORD = Math.max(...[...WORDS.keys()].map(({ length }) => length));

const NINE = 0x39;

/** Whether a text may be a number: none begins beyond the digits, nor has two points. Most texts that are none end here. */
const mayBeNumber = (text: string): boolean =>
  text.charCodeAt(0) <= NINE && text.indexOf('.') === text.lastIndexOf('.');

const INTEGER = /^([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))$/;
const FLOAT = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/;

/**
 * A plain scalar by the rules of the YAML library in kubectl (sigs.k8s.io/yaml, resolve.go): `0777` is 511, `1_000`
 * is 1000, `yes` is true; `12:30:45` and dates are strings.
 */
export function resolvePlain(text: string): ScalarValue {
  const word = text.length > LONGEST_WORD ? undefined : WORDS.get(text);
  if (word !== undefined) return word;
  if (!mayBeNumber(text)) return text;
  const digits = text.replaceAll('_', '');
  const integer = INTEGER.exec(digits);
  if (integer) {
    const [, sign, hex, binary, octal, decimal] = integer;
    const size = hex ? parseInt(hex, 16) : binary ? parseInt(binary, 2) : octal ? parseInt(octal, 8) : Number(decimal);
    return Number.isFinite(size) ? (sign === '-' ? -size : size) : text;
  }
  return FLOAT.test(digits) && Number.isFinite(Number(digits)) ? Number(digits) : text;
}

const TAG_PREFIX = 'tag:yaml.org,2002:';
const TYPES_BY_TAG: ReadonlySet<string> = new Set(
  ['bool', 'int', 'float', 'null', 'timestamp'].map((name) => TAG_PREFIX + name),
);
const PLAIN_TAGS: ReadonlySet<string> = new Set(['!', ...['str', 'map', 'seq'].map((name) => TAG_PREFIX + name)]);

/** Whether Kubernetes gives a meaning to the tag. */
export const isKnownTag = (tag: string): boolean => TYPES_BY_TAG.has(tag) || PLAIN_TAGS.has(tag);

/** A scalar with its tag; without one, `text` counts as a word or number only where it is not quoted. */
export function resolveScalar(text: string, plain: boolean, tag: string | undefined): ScalarValue {
  const resolved = tag === undefined ? plain : TYPES_BY_TAG.has(tag);
  return resolved ? resolvePlain(text) : text;
}
