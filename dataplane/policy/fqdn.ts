/** Names that selectors of DNS names match. Cilium `pkg/fqdn/matchpattern`. */
import { compileRegex, type Regex } from '../regex.js';
import type { FqdnSelector } from '../manifests/cilium.js';

/** Tells a selector from others. */
export const fqdnName = ({ matchName, matchPattern }: FqdnSelector): string =>
  JSON.stringify([matchName && canonical(matchName), matchPattern && canonical(matchPattern)]);

/** In lower case, without the last dot. */
const canonical = (name: string): string => name.toLowerCase().replace(/\.$/, '');

const CHARACTERS = '[-a-z0-9_]';

/** The pattern as an expression: `*` is any part of a label, `**.` before the rest one label or more, `*` alone any name. */
function expressionOf(pattern: string): string {
  if (/^\*+$/.test(pattern)) return `${CHARACTERS}+(\\.${CHARACTERS}+)*`;
  const rest = pattern.replace(/^\*\*+\./, '');
  const labels = rest === pattern ? '' : `(${CHARACTERS}+\\.)+`;
  return labels + rest.replace(/\*+|\./g, (part) => (part === '.' ? '\\.' : `${CHARACTERS}*`));
}

const compiled = new WeakMap<FqdnSelector, Regex | null>();

/** Whether a selector matches a name. */
export function matchesName(selector: FqdnSelector, name: string): boolean {
  const asked = canonical(name);
  const { matchName, matchPattern } = selector;
  if (matchName !== null && canonical(matchName) === asked) return true;
  if (matchPattern === null) return false;
  let regex = compiled.get(selector);
  if (regex === undefined) compiled.set(selector, (regex = compileRegex(expressionOf(canonical(matchPattern)))));
  return regex?.matches(asked) ?? false;
}

/** Whether a selector matches every name. */
export const matchesEveryName = ({ matchPattern }: FqdnSelector): boolean =>
  matchPattern !== null && /^\*+\.?$/.test(matchPattern);
