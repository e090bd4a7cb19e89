/** What the proxies say of a request, once the policies have let its connection. Cilium: Envoy for HTTP, the agent for DNS. */
import { DropReason, ReservedIdentity } from '../../assembly/abi.js';
import type { ClusterPod } from '../cluster/cluster.js';
import { locate } from '../manifests/place.js';
import { matchesEveryName, matchesName } from '../policy/fqdn.js';
import { letsEveryRequest, letsRequest, type HttpRequest } from '../policy/http.js';
import type { Grant } from '../policy/mapstate.js';
import { DIRECTIONS, type Direction } from '../policy/rules.js';
import { reasonOf } from '../reasons.js';
import type { State } from '../state.js';
import { grantsFor } from './decide.js';
import type { Outcome } from './probe.js';

/** What the connection is for: an HTTP request, a question to the DNS, or not told. */
export interface Request {
  readonly http: HttpRequest | null;
  readonly name: string | null;
}

export const UNTOLD: Request = { http: null, name: null };

/** What is asked, as a question has it: an object, or text of the form `GET host/path`. An error where it is neither. */
export function readRequest(value: unknown): HttpRequest | null | { readonly error: string } {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') {
    const [, method, host, path] = /^([A-Za-z]+)\s+([^\s/]*)(\/\S*)?$/.exec(value.trim()) ?? [];
    if (method === undefined) return { error: `${value} is no request: expected GET host/path` };
    return { method: method.toUpperCase(), host: host ?? '', path: path ?? '/', headers: new Map() };
  }
  if (typeof value !== 'object' || Array.isArray(value)) return { error: '"http" is not an object' };
  const { method = 'GET', host = '', path = '/', headers = {} } = value as Readonly<Record<string, unknown>>;
  if (typeof method !== 'string' || typeof host !== 'string' || typeof path !== 'string')
    return { error: '"http" has a "method", "host" or "path" that is no text' };
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers))
    return { error: '"http" has "headers" that are no object' };
  const pairs = Object.entries(headers).map(([name, text]): [string, string] => [name.toLowerCase(), String(text)]);
  return { method, host, path, headers: new Map(pairs) };
}

type Fate = 'let' | 'refused' | 'untold';

/** What one rule says: it lets the request, or does not, or that depends on what was not told. */
function fateOf({ l7 }: Grant, { http, name }: Request): Fate {
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

/** The end of a packet whose policy is asked in a direction; null where none is. */
function endOf({ probe, receiver, sourceIdentity }: Outcome, direction: Direction): ClusterPod | null {
  const sender = probe.sender.kind === 'pod' ? probe.sender.pod : null;
  if (direction === 'egress') return sender;
  // The proxy lets whatever comes from the pod's own node. Cilium `hostWildcardL7`.
  return receiver === sender || sourceIdentity === ReservedIdentity.HOST ? null : receiver;
}

/** What the rules that let a connection at one of its ends say; none where no proxy is asked. */
export function proxiedGrants(state: State, outcome: Outcome, direction: Direction): readonly Grant[] {
  const pod = outcome.allowed ? endOf(outcome, direction) : null;
  const grants = pod ? grantsFor(state, pod, outcome, direction, 'allows') : [];
  return grants.some(({ l7 }) => l7 !== null) ? grants : [];
}

/** The outcome with what the proxies say, egress first; and what that depends on, where the question does not tell. */
export function askProxies(
  state: State,
  outcome: Outcome,
  request: Request,
): { readonly outcome: Outcome; readonly depends: readonly string[] } {
  const depends: string[] = [];
  for (const direction of DIRECTIONS.toReversed()) {
    const grants = proxiedGrants(state, outcome, direction);
    const fates = grants.map((grant) => fateOf(grant, request));
    if (grants.length === 0 || fates.includes('let')) continue;
    if (fates.includes('untold')) depends.push(...grants.map((grant) => dependency(grant)));
    else {
      const proxied = [...new Set(grants.map(({ origin }) => origin))];
      return {
        outcome: { ...outcome, allowed: false, direction, reason: reasonOf(DropReason.POLICY), proxied },
        depends: [],
      };
    }
  }
  return { outcome, depends };
}

function dependency({ origin: { namespace, name, rule, at }, l7 }: Grant): string {
  const { file, range } = locate(at);
  const what = l7?.kind === 'dns' ? 'the name that is asked for' : 'the HTTP request';
  return `${what}: ${namespace && `${namespace}/`}${name} ${rule} (${file}:${range.start.line}) lets some`;
}
