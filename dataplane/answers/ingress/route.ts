/** Which backend an Ingress has for a request. networking.k8s.io/v1 IngressRule, HTTPIngressPath; documentation, "Ingress". */
import type { Ingress, IngressBackend, IngressPath, IngressRule } from '../../manifests/ingress.js';
import type { Place } from '../../manifests/place.js';
import type { HttpRequest } from '../../policy/http.js';

/** One way of a request: the path of an Ingress that takes it, or its default backend. */
export interface Route {
  readonly ingress: Ingress;
  /** `rules[0].http.paths[1]`, `defaultBackend`. */
  readonly rule: string;
  readonly path: IngressPath | null;
  readonly backend: IngressBackend;
  readonly at: Place;
}

/** How closely a rule's host is the request's. */
enum HostMatch {
  EXACT,
  WILDCARD,
  ANY,
}

/** `*` stands for exactly one label. */
function hostMatch({ host }: IngressRule, asked: string): HostMatch | null {
  if (!host) return HostMatch.ANY;
  if (host.value === asked) return HostMatch.EXACT;
  const dot = asked.indexOf('.');
  return dot > 0 && host.value === `*${asked.slice(dot)}` ? HostMatch.WILDCARD : null;
}

/** The elements between the slashes; one at the end makes no further element. */
const elementsOf = (path: string): string[] =>
  path.split('/').filter((element, i, all) => element !== '' || (i > 0 && i < all.length - 1));

function pathMatches({ path, pathType }: IngressPath, asked: string): boolean {
  if (pathType === 'Exact') return path.value === asked;
  const wanted = elementsOf(path.value);
  const given = elementsOf(asked);
  return wanted.every((element, i) => element === given[i]);
}

/** The longer path comes first, and Exact before what is as long. */
const byPrecedence = (a: Route, b: Route): number => lengthOf(b) - lengthOf(a) || exactness(b) - exactness(a);
const lengthOf = ({ path }: Route): number => elementsOf(path?.path.value ?? '').join('/').length;
const exactness = ({ path }: Route): number => (path?.pathType === 'Exact' ? 1 : 0);

/** The host that a request names, without its port. */
export const hostOf = ({ host }: HttpRequest): string => host.toLowerCase().replace(/:\d+$/, '').replace(/\.$/, '');
const pathOf = ({ path }: HttpRequest): string => path.replace(/[?#].*$/s, '');

/** The rules that a request meets: those of the closest host alone. */
export function rulesFor(
  ingresses: readonly Ingress[],
  request: HttpRequest,
): { readonly ingress: Ingress; readonly rule: IngressRule; readonly index: number }[] {
  const all = ingresses.flatMap((ingress) =>
    ingress.rules.map((rule, index) => ({ ingress, rule, index, match: hostMatch(rule, hostOf(request)) })),
  );
  return (
    [HostMatch.EXACT, HostMatch.WILDCARD, HostMatch.ANY]
      .map((wanted) => all.filter(({ match }) => match === wanted))
      .find((met) => met.length > 0) ?? []
  );
}

/**
 * The ways of a request among Ingresses of one class; none where nothing takes it. In this order:
 *
 * 1. the rules of its host, else of the wildcard that stands for it, else those for every host
 * 2. of their paths that match, the longest, and of two as long the Exact one
 * 3. where none matches, the default backend of the Ingresses whose rules these are, else of any
 *
 * Several ways have the same rank where Ingresses name the same path: the controller takes whichever was made first.
 */
export function routesOf(ingresses: readonly Ingress[], request: HttpRequest): Route[] {
  const rules = rulesFor(ingresses, request);
  const matching = rules
    .flatMap(({ ingress, rule, index }) => pathsOf(ingress, rule, index))
    .filter(({ path }) => pathMatches(path!, pathOf(request)))
    .sort(byPrecedence);
  const best = matching.filter((route) => byPrecedence(matching[0]!, route) === 0);
  if (best.length > 0) return best;
  const own = rules.flatMap(({ ingress }) => defaultOf(ingress));
  return unique(own.length > 0 ? own : ingresses.flatMap(defaultOf));
}

const pathsOf = (ingress: Ingress, { paths }: IngressRule, index: number): Route[] =>
  paths.map((path, i) => ({
    ingress,
    rule: `rules[${index}].http.paths[${i}]`,
    path,
    backend: path.backend,
    at: path.at,
  }));

const defaultOf = (ingress: Ingress): Route[] => {
  const { defaultBackend } = ingress;
  return defaultBackend
    ? [{ ingress, rule: 'defaultBackend', path: null, backend: defaultBackend, at: defaultBackend.at }]
    : [];
};

const unique = (routes: readonly Route[]): Route[] => [...new Map(routes.map((route) => [route.at, route])).values()];

/** Every way there is through an Ingress. */
export const allRoutes = (ingress: Ingress): Route[] => [
  ...ingress.rules.flatMap((rule, index) => pathsOf(ingress, rule, index)),
  ...defaultOf(ingress),
];

/** Characters with which a path that the controller may read as it likes is an expression to some. */
const EXPRESSION = /[()[\]*+?^$|\\]/;

/** What of the rules that a request meets only the controller can read. */
export const unreadable = (
  ingresses: readonly Ingress[],
  request: HttpRequest,
): { readonly ingress: Ingress; readonly at: Place; readonly what: string }[] => [
  ...rulesFor(ingresses, request).flatMap(({ ingress, rule }) =>
    rule.paths
      .filter(({ path, pathType }) => pathType === 'ImplementationSpecific' && EXPRESSION.test(path.value))
      .map(({ path }) => ({ ingress, at: path.at, what: `path ${path.value} of pathType ImplementationSpecific` })),
  ),
];
