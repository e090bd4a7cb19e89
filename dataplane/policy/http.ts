/** What the proxy says of a request, as Envoy matches it. Cilium `pkg/envoy`, `getHTTPRule`. */
import type { HttpRule } from '../manifests/cilium.js';
import { compileRegex, type Regex } from '../regex.js';

/** An HTTP request as a question names it. */
export interface HttpRequest {
  readonly scheme: 'http' | 'https';
  readonly method: string;
  readonly host: string;
  readonly path: string;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
}

/** Each expression must match the whole of its text, and each header must be there. */
export function letsRequest(rule: HttpRule, { method, host, path, headers }: HttpRequest): boolean {
  const matches = (pattern: string | null, text: string): boolean => pattern === null || regexOf(pattern).matches(text);
  return (
    matches(rule.method, method) &&
    matches(rule.path, path) &&
    matches(rule.host, host) &&
    rule.headers.every(({ name, value }) => {
      const found = headers.get(name.toLowerCase());
      return found !== undefined && (value === null || found === value);
    })
  );
}

/** Whether a rule asks nothing of a request. */
export const letsEveryRequest = ({ method, path, host, headers }: HttpRule): boolean =>
  method === null && path === null && host === null && headers.length === 0;

const NOTHING: Regex = { matches: () => false };
const compiled = new Map<string, Regex>();
/** Expressions kept, at most. */
const MOST = 1000;

/** Readers refuse a policy whose expressions cannot be compiled. */
function regexOf(pattern: string): Regex {
  let regex = compiled.get(pattern);
  if (!regex) {
    if (compiled.size >= MOST) compiled.clear();
    compiled.set(pattern, (regex = compileRegex(pattern) ?? NOTHING));
  }
  return regex;
}
