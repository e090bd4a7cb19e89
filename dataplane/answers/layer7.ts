/** What the proxies say of a request, once the policies have handed them its connection. Cilium: Envoy for HTTP, the agent for DNS. */
import { ReservedIdentity } from '../../assembly/abi.js';
import { lineOf } from '../manifests/place.js';
import { meantKey } from '../nearest.js';
import { matchesEveryName, matchesName } from '../policy/fqdn.js';
import { letsEveryRequest, letsRequest, type HttpRequest } from '../policy/http.js';
import type { CompiledPolicy } from '../policy/compile.js';
import type { Grant } from '../policy/mapstate.js';
import { policyOf, type State } from '../state.js';
import { grantsFor } from './decide.js';
import type { Outcome } from './probe.js';
import { meshRuling } from './sidecar.js';
import { LETS, type Decision, type Redirect, type Ruling } from './proxy.js';

/** What the connection is for: an HTTP request, a question to the DNS, or not told. */
export interface Request {
  readonly http: HttpRequest | null;
  readonly name: string | null;
}

/** The fields of a request, as a question has it. */
const REQUEST = ['scheme', 'method', 'host', 'path', 'headers'];

export const UNTOLD: Request = { http: null, name: null };

/** What is asked, as a question has it: an object, or text of the form `GET host/path` or `GET https://host/path`. An error where it is neither. */
export function readRequest(value: unknown): HttpRequest | null | { readonly error: string } {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') {
    const [, method, scheme, host, path] =
      /^([A-Za-z]+)\s+(?:(https?):\/\/)?([^\s/]*)(\/\S*)?$/.exec(value.trim()) ?? [];
    if (method === undefined) return { error: `${value} is no request: expected GET host/path` };
    return {
      scheme: scheme === 'https' ? 'https' : 'http',
      method: method.toUpperCase(),
      host: host ?? '',
      path: path ?? '/',
      headers: new Map(),
    };
  }
  if (typeof value !== 'object' || Array.isArray(value)) return { error: '"http" is not an object' };
  const other = Object.keys(value).find((key) => !REQUEST.includes(key));
  if (other !== undefined) {
    const meant = meantKey(other, REQUEST);
    return { error: `"http" has no "${other}"${meant === null ? '' : `: did you mean "${meant}"?`}` };
  }
  const {
    scheme = 'http',
    method = 'GET',
    host = '',
    path = '/',
    headers = {},
  } = value as Readonly<Record<string, unknown>>;
  if (scheme !== 'http' && scheme !== 'https') return { error: '"http" has a "scheme" that is neither http nor https' };
  if (typeof method !== 'string' || typeof host !== 'string' || typeof path !== 'string')
    return { error: '"http" has a "method", "host" or "path" that is no text' };
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers))
    return { error: '"http" has "headers" that are no object' };
  const pairs = Object.entries(headers).map(([name, text]): [string, string] => [name.toLowerCase(), String(text)]);
  return { scheme, method, host, path, headers: new Map(pairs) };
}

/** What one rule says: it lets the request, or does not, or that depends on what was not told. */
function fateOf({ l7 }: Grant, { http, name }: Request): Ruling['fate'] {
  if (l7 === null) return 'let';
  if (l7.kind === 'http') {
    if (l7.rules.some(letsEveryRequest)) return 'let';
    if (!http) return 'untold';
    return l7.rules.some((rule) => letsRequest(rule, http)) ? 'let' : 'refused';
  }
  if (l7.rules.some(matchesEveryName)) return 'let';
  if (name === null) return 'untold';
  return l7.rules.some((rule) => matchesName(rule, name)) ? 'let' : 'refused';
}

/**
 * What proxies decide about a request. Of what the rules that let the connection say:
 *
 * 1. one that lets the request, or asks nothing of it
 * 2. one that would have to know more of it
 * 3. none lets it
 *
 * A pod's own node is let whatever it asks for, as far as it always reaches the pod. Cilium `hostWildcardL7`.
 */
export const deciding =
  (state: State, request: Request): Decision =>
  (redirect) => {
    if (redirect.client !== undefined) return meshRuling(state, redirect, request.http);
    const { direction, port, sourceIdentity } = redirect;
    if (port === 0) return LETS(redirect);
    const grants = grantsFor(state, policyOfRedirect(state, redirect), redirect, direction, 'allows');
    const isOwnNode = direction === 'ingress' && sourceIdentity === (ReservedIdentity.HOST as number);
    if (isOwnNode && state.settings.allowLocalhost !== 'policy') return { fate: 'let', grants };
    const fates = grants.map((grant) => fateOf(grant, request));
    const fate = (['let', 'untold', 'refused'] as const).find((one) => fates.includes(one)) ?? 'let';
    return { fate, grants };
  };

const policyOfRedirect = (state: State, { pod, node }: Redirect): CompiledPolicy | null =>
  pod ? policyOf(state, pod) : (state.policies.ofNode.get(node) ?? null);

/** What an outcome depends on that the question does not tell, one line for each rule. */
export const untoldOf = ({ allowed, redirects }: Outcome): string[] =>
  allowed
    ? redirects
        .filter(({ fate }) => fate === 'untold')
        .flatMap(({ grants, mesh }) => [...grants.map(dependency), ...(mesh?.depends ?? [])])
    : [];

/** What a proxy would have to know that nobody can tell it, one line each. */
export const unreadOf = ({ redirects }: Outcome): string[] =>
  redirects.filter(({ fate }) => fate === 'unread').flatMap(({ mesh }) => mesh?.depends ?? []);

function dependency({ origin: { namespace, name, rule, at }, l7 }: Grant): string {
  const what = l7?.kind === 'dns' ? 'the name that is asked for' : 'the HTTP request';
  return `${what}: ${namespace && `${namespace}/`}${name} ${rule} (${lineOf(at)}) lets some`;
}
