/** What the rules of an AuthorizationPolicy say of a connection, and of the request on it. Istio `pilot/pkg/security/authz/model`. */
import { contains, parseAddress, parsePrefix, type Address } from '../addresses.js';
import type { AuthorizationRule, Clause } from '../manifests/istio.js';
import { compileRegex } from '../regex.js';
import type { HttpRequest } from './http.js';

/** What a proxy of the mesh knows of a connection. */
export interface MeshConnection {
  readonly source: Address;
  readonly destination: Address;
  /** Of the pod. */
  readonly port: number;
  /** Who the certificate says it is; null where the connection is not secured by mutual TLS. */
  readonly principal: Principal | null;
  /** null where it was not told. */
  readonly request: HttpRequest | null;
  /** Whether the request has something where tokens are. */
  readonly hasToken: boolean;
}

export interface Principal {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** Whether something holds: that may depend on the request, which was not told, or on what cannot be read from here. */
export type Truth = 'yes' | 'no' | 'untold' | 'unread';

/** All must hold. */
const all = (truths: readonly Truth[]): Truth =>
  (['no', 'unread', 'untold'] as const).find((one) => truths.includes(one)) ?? 'yes';

/** One must hold. */
export const any = (truths: readonly Truth[]): Truth =>
  (['yes', 'unread', 'untold'] as const).find((one) => truths.includes(one)) ?? 'no';

const not = (truth: Truth): Truth => (truth === 'yes' ? 'no' : truth === 'no' ? 'yes' : truth);

/** One of the sources, one of the operations, and all of the conditions. */
export const ruleHolds = ({ from, to, when }: AuthorizationRule, connection: MeshConnection): Truth =>
  all([oneOf(from, connection), oneOf(to, connection), ...when.map((clause) => clauseHolds(clause, connection))]);

const oneOf = (parts: AuthorizationRule['from'], connection: MeshConnection): Truth =>
  parts === null ? 'yes' : any(parts.map((clauses) => all(clauses.map((clause) => clauseHolds(clause, connection)))));

function clauseHolds({ attribute, negated, values }: Clause, connection: MeshConnection): Truth {
  const truth = attributeIs(attribute, values, connection);
  return negated ? not(truth) : truth;
}

const truthOf = (holds: boolean): Truth => (holds ? 'yes' : 'no');

/** The trust domain of a mesh that is not told otherwise. `meshConfig.trustDomain`. */
const TRUST_DOMAIN = 'cluster.local';

/** Whether an attribute is one of the values; an attribute that is absent is none of them. */
function attributeIs(attribute: string, values: readonly string[], connection: MeshConnection): Truth {
  const { source, destination, port, principal, request, hasToken } = connection;
  const text = (found: string | null, matches = matchesText): Truth =>
    truthOf(found !== null && values.some((value) => matches(value, found)));
  const header = /^request\.headers\[(.*)\]$/.exec(attribute)?.[1];
  if (header !== undefined) return request ? text(request.headers.get(header.toLowerCase()) ?? null) : 'untold';
  // A token in a request is only as good as what has issued it.
  if (attribute.startsWith('request.auth.')) {
    if (!request) return 'untold';
    return hasToken ? 'unread' : 'no';
  }
  switch (attribute) {
    case 'source.principal':
      return text(principal && `${TRUST_DOMAIN}/ns/${principal.namespace}/sa/${principal.serviceAccount}`);
    case 'source.namespace':
      return text(principal && principal.namespace);
    case 'source.serviceAccount':
      return text(principal && `${principal.namespace}/${principal.serviceAccount}`);
    case 'source.ip':
      return truthOf(isWithin(values, source));
    // Without a header that says otherwise, whoever connects is whoever asks.
    case 'remote.ip':
      return request?.headers.has('x-forwarded-for') ? 'unread' : truthOf(isWithin(values, source));
    case 'destination.ip':
      return truthOf(isWithin(values, destination));
    case 'destination.port':
      return truthOf(values.some((value) => Number(value) === port));
    case 'request.host':
      return request
        ? text(request.host.toLowerCase(), (value, host) => matchesText(value.toLowerCase(), host))
        : 'untold';
    case 'request.method':
      return request ? text(request.method) : 'untold';
    case 'request.path':
      if (!request) return 'untold';
      return NORMALIZED.test(request.path) ? 'unread' : text(request.path.replace(/[?#].*$/s, ''), matchesPath);
    default:
      return 'unread';
  }
}

/** Parts of a path that the mesh may have written otherwise before it is compared, by its `pathNormalization`. */
const NORMALIZED = /^[^?#]*(\/\.\.?([/?#]|$)|\\|%)/;

/** `*` for any that is there, `a*` for a prefix, `*z` for a suffix, else the whole. */
function matchesText(value: string, text: string): boolean {
  if (value === '*') return text !== '';
  if (value.endsWith('*')) return text.startsWith(value.slice(0, -1));
  return value.startsWith('*') ? text.endsWith(value.slice(1)) : value === text;
}

/** Besides, `{*}` for one element of a path, and `{**}` for whatever follows. Envoy `UriTemplateMatchConfig`. */
function matchesPath(value: string, path: string): boolean {
  if (!/\{\*{1,2}\}/.test(value)) return matchesText(value, path);
  const parts = value
    .split(/(\{\*{1,2}\})/)
    .map((part) => TEMPLATES.get(part) ?? part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return compileRegex(parts.join(''))?.matches(path) ?? false;
}

const TEMPLATES: ReadonlyMap<string, string> = new Map([
  ['{*}', '[^/]+'],
  ['{**}', '.*'],
]);

const isWithin = (values: readonly string[], address: Address): boolean =>
  values.some((value) => {
    const prefix = parsePrefix(value);
    return prefix ? contains(prefix, address) : parseAddress(value) === address;
  });

/** Attributes of requests, which nobody sees who reads connections alone. */
export const isOfRequest = ({ attribute }: Clause): boolean =>
  attribute.startsWith('request.') || attribute === 'remote.ip';

/** All clauses of a rule. */
export const clausesOf = ({ from, to, when }: AuthorizationRule): Clause[] => [
  ...(from ?? []).flat(),
  ...(to ?? []).flat(),
  ...when,
];
