/** A request through an Ingress: a packet to its controller, and from there another to the backend that the rules name. */
import { DropReason } from '../../../assembly/abi.js';
import { podBehind, type ClusterPod, type ClusterService, type ClusterServicePort } from '../../cluster/cluster.js';
import { classOf, controllersOf, isAssumedController, isCilium, untakenSince } from '../../cluster/ingress.js';
import type { Ingress } from '../../manifests/ingress.js';
import { unreadName } from '../../manifests/objects.js';
import { lineOf, type Place } from '../../manifests/place.js';
import type { HttpRequest } from '../../policy/http.js';
import type { State } from '../../state.js';
import type { Decider } from '../decide.js';
import { deciderAt } from '../decider.js';
import type { Outcome } from '../probe.js';
import type { Answer, Answered, Verdict } from '../query.js';
import type { Target } from '../refs.js';
import { refused, unknown } from '../unknown.js';
import { hostOf, routesOf, rulesFor, unreadable, type Route } from './route.js';

/** What stands between the packet of whoever asks and the controller's. */
export interface Through {
  /** The telling packet to the controller. */
  readonly client: Outcome;
  /** What the controller does with the request. */
  readonly text: string;
  readonly origin: readonly Place[];
}

/** The answer for a connection to a port, as if it were asked for alone. */
export type Send = (from: Target, to: Target, port: number) => Answered;

type IngressTarget = Extract<Target, { readonly kind: 'ingress' }>;

/** What the controllers of one class do with a request: one way, or none. */
interface Way {
  readonly className: string | null;
  readonly route: Route | null;
}

export function throughIngress(
  state: State,
  { label, ingress }: IngressTarget,
  request: HttpRequest | null,
  reach: (controller: Target) => Answered,
  send: Send,
): Answered {
  const { cluster } = state;
  const all = ingress ? [ingress] : cluster.ingresses;
  const asked = all.filter((one) => untakenSince(cluster, one) === null);
  const missing = missingIn(state, asked, request);
  if (missing.length > 0 || !request) return { answer: unknown(missing), outcomes: [] };
  const answers = waysOf(state, asked, request).map((way) => answerOf(state, way, all, request, reach, send));
  const answered = agreed(answers);
  const others = ingress ? takenBy(state, ingress, request) : [];
  const { answer } = answered;
  return {
    ...answered,
    answer: {
      ...answer,
      hints: [...others, ...answer.hints],
      assumes: [...answer.assumes, ...tlsAssumed(all, request, label)],
    },
  };
}

/** Documents that could be Ingresses and could not be read, one line each. */
export const unreadIngresses = (state: State): string[] =>
  state.manifests.unread
    .filter(({ kind }) =>
      kind === null || kind === 'List' ? state.cluster.ingresses.length > 0 : /^ingress(class)?$/i.test(kind),
    )
    .map((document) => `${lineOf(document.at)}: ${unreadName(document)} could not be read`);

/** What cannot be told of the way of a request, one line each. */
function missingIn(state: State, asked: readonly Ingress[], request: HttpRequest | null): string[] {
  const lines = unreadIngresses(state);
  if (!request) return [...lines, 'the HTTP request, which an Ingress goes by: it was not told'];
  const met = new Set([
    ...rulesFor(asked, request).map(({ ingress }) => ingress),
    ...routesOf(asked, request).map(({ ingress }) => ingress),
  ]);
  for (const ingress of met)
    for (const { name, at } of ingress.annotations)
      lines.push(`${lineOf(at)}: ${name} of ${nameOf(ingress)} is not evaluated`);
  for (const { ingress, at, what } of unreadable(asked, request))
    lines.push(`${lineOf(at)}: what the controller makes of ${what} in ${nameOf(ingress)}`);
  return lines;
}

/**
 * The ways of a request, one for each class of Ingress that has one: the controllers of different classes are different ones, and
 * nobody tells which of them is asked. A path counts before a default backend.
 */
function waysOf(state: State, asked: readonly Ingress[], request: HttpRequest): Way[] {
  const classes = new Map<string | null, Ingress[]>();
  for (const ingress of asked) {
    const name = classOf(state.cluster, ingress);
    classes.set(name, [...(classes.get(name) ?? []), ingress]);
  }
  const ways = [...classes].flatMap(([className, own]) =>
    distinct(routesOf(own, request)).map((route): Way => ({ className, route })),
  );
  const byPath = ways.filter(({ route }) => route?.path);
  if (byPath.length > 0) return byPath;
  return ways.length > 0 ? ways : [{ className: [...classes.keys()][0] ?? null, route: null }];
}

/** Routes to one port of one Service are one. */
const distinct = (routes: readonly Route[]): Route[] => {
  const keyOf = ({ ingress, backend: { service, at } }: Route): unknown =>
    service ? `${ingress.metadata.namespace} ${service.name.value} ${service.port.value}` : at;
  return [...new Map(routes.map((route) => [keyOf(route), route])).values()];
};

function answerOf(
  state: State,
  way: Way,
  all: readonly Ingress[],
  request: HttpRequest,
  reach: (controller: Target) => Answered,
  send: Send,
): Answered {
  const pods = controllersOf(state.cluster, way.className);
  if (isCilium(state.cluster, way.className) && state.cluster.policies.length > 0) {
    const line = `what policies say of Cilium's own Ingress, class ${way.className}: it sends as the identity ingress`;
    return { answer: unknown([line]), outcomes: [] };
  }
  const taken = assumedIn(state, pods, way.route);
  if (state.settings.undeclaredIngressParts === 'unknown' && taken.length > 0)
    return { answer: unknown(taken.map((line) => `whether ${line}`)), outcomes: [] };
  const controller: Target = { kind: 'pods', label: 'the Ingress controller', pods };
  const client = reach(frontOf(state, controller, pods, request));
  if (client.answer.verdict === 'DENIED') {
    const hints = ['the Ingress controller is not reached', ...client.answer.hints];
    return { ...client, answer: { ...client.answer, hints, backend: null, service: null } };
  }
  const ended = (status: number, why: string, deciders: readonly Decider[], origin: readonly Place[]): Answered => ({
    answer: refused(DropReason.NO_SERVICE, status === 404 ? 'ingress' : 'egress', {
      deciders,
      http: { status, backend: way.route?.backend.service ? backendName(way.route) : null },
      assumes: [...client.answer.assumes, ...taken],
      hints: [why],
    }),
    outcomes: [],
    ...throughOf(client, `answers ${requestText(request)} with ${status}: ${why}`, origin),
  });
  const { route } = way;
  if (!route) {
    const { why, places } = unrouted(state, all, request);
    const deciders = [...places].map(([ingress, at]) => deciderOf(ingress, null, at, 'denies'));
    return ended(404, why, deciders, [...places.values()]);
  }
  if (!route.backend.service) {
    const line = `${lineOf(route.backend.at)}: ${route.backend.resource} in ${nameOf(route.ingress)} is the controller's own`;
    return { answer: unknown([line]), outcomes: client.outcomes };
  }
  const { service, port, problem } = backendOf(state, route);
  const decider = (effect: Decider['effect']): Decider => routeDecider(route, effect);
  if (!service || !port) return ended(503, problem, [decider('denies')], [route.backend.at]);
  const upstream = toService(state, service, port, controller, send);
  if (!upstream)
    return ended(
      503,
      `Service ${service.namespace}/${service.name} has no endpoint that is ready`,
      [decider('denies')],
      [route.backend.at],
    );
  const joined = join(client.answer, upstream, decider('allows'), backendName(route));
  const text = `sends ${requestText(request)} on to Service ${service.namespace}/${service.name}:${port.source.port.value}, as ${route.rule} of ${nameOf(route.ingress)} says`;
  const assumes = [...joined.assumes, ...taken];
  return {
    answer: { ...joined, assumes: [...new Set(assumes)] },
    outcomes: upstream.outcomes,
    ...throughOf(client, text, [route.at]),
  };
}

const throughOf = ({ outcomes: [first] }: Answered, text: string, origin: readonly Place[]): { through?: Through } =>
  first ? { through: { client: first, text, origin } } : {};

/** Where clients find a controller: its Service for those outside, else its pods. */
function frontOf(state: State, controller: Target, pods: readonly ClusterPod[], { scheme }: HttpRequest): Target {
  const port = scheme === 'https' ? 443 : 80;
  const service = state.cluster.services.find(
    ({ source, selected }) =>
      source.type !== 'ClusterIP' &&
      isAllotted(source) &&
      selected.some((pod) => pods.includes(pod)) &&
      source.ports.some((one) => one.port.value === port),
  );
  return service ? { kind: 'service', label: controller.label, service, viaName: null } : controller;
}

/** Whether the manifests tell where clients outside find a Service. */
const isAllotted = ({ ports, ingressIPs, externalIPs, loadBalancerIP }: ClusterService['source']): boolean =>
  ports.some(({ nodePort }) => nodePort !== null && nodePort.value > 0) ||
  ingressIPs.length + externalIPs.length > 0 ||
  loadBalancerIP !== null;

/** Why nothing takes a request, and the Ingresses that would, did a controller take them, or else that have a rule for its host. */
function unrouted(
  { cluster }: State,
  all: readonly Ingress[],
  request: HttpRequest,
): { readonly why: string; readonly places: ReadonlyMap<Ingress, Place> } {
  const idle = all.filter((one) => untakenSince(cluster, one) !== null && routesOf([one], request).length > 0);
  if (idle.length > 0) {
    const why = idle.map((one) => `no controller takes ${nameOf(one)}: ${untakenSince(cluster, one)}`).join('; ');
    return { why, places: new Map(idle.map((one) => [one, (one.className ?? one.metadata.name).at])) };
  }
  const met = [...new Set(rulesFor(all, request).map(({ ingress }) => ingress))];
  const why =
    met.length > 0
      ? `no path of ${met.map(nameOf).join(', ')} takes ${request.path}`
      : `no rule is for host ${hostOf(request) || '""'}`;
  return { why, places: new Map(met.map((one) => [one, one.metadata.name.at])) };
}

/** The port that a route leads to; what is wrong, where there is none. */
export function backendOf(
  state: State,
  { ingress, backend }: Route,
): {
  readonly service: ClusterService | null;
  readonly port: ClusterServicePort | null;
  readonly problem: string;
} {
  const { namespace } = ingress.metadata;
  const asked = backend.service;
  const service = state.cluster.services.find((one) => one.namespace === namespace && one.name === asked?.name.value);
  if (!asked || !service)
    return { service: null, port: null, problem: `there is no Service ${namespace}/${asked?.name.value}` };
  const { value } = asked.port;
  const port = service.ports.find(
    ({ source }) => (typeof value === 'string' ? source.name : source.port.value) === value,
  );
  const has = service.source.ports.map(({ port: { value: number }, name }) =>
    name ? `${number} (${name})` : `${number}`,
  );
  const problem = `Service ${namespace}/${service.name} has no port ${value}, only ${has.join(', ')}`;
  return { service, port: port ?? null, problem };
}

/** The controller's own connection; of a headless Service, which has no address, to its pods. null where there is nobody. */
function toService(
  { cluster }: State,
  service: ClusterService,
  port: ClusterServicePort,
  controller: Target,
  send: Send,
): Answered | null {
  const label = `svc:${service.namespace}/${service.name}`;
  if (!service.source.headless)
    return send(controller, { kind: 'service', label, service, viaName: null }, port.source.port.value);
  const numbers = [...new Set(port.backends.map((backend) => backend.port))];
  if (numbers.length === 0) return null;
  return agreed(
    numbers.map((number) => {
      const behind = port.backends.filter((backend) => backend.port === number);
      const pods = [...new Set(behind.flatMap((one) => podBehind(cluster, one) ?? []))];
      return send(
        controller,
        pods.length > 0 ? { kind: 'pods', label, pods } : { kind: 'address', label, address: behind[0]!.address },
        number,
      );
    }),
  );
}

const WORST: readonly Verdict[] = ['DENIED', 'UNKNOWN', 'CONDITIONAL', 'ALLOWED'];

/** The answer for both connections: what the second says, as far as the first gets there. */
function join(client: Answer, { answer: upstream, outcomes }: Answered, decider: Decider, backend: string): Answer {
  const verdict = WORST.find((one) => one === upstream.verdict || one === client.verdict)!;
  const status =
    verdict === 'ALLOWED' ? 200 : verdict === 'DENIED' ? (upstream.http?.status ?? statusOf(upstream, outcomes)) : null;
  return {
    ...upstream,
    verdict,
    deciders: [...client.deciders, decider, ...upstream.deciders],
    http: status === null ? null : { status, backend },
    depends: verdict === 'DENIED' ? [] : [...client.depends, ...upstream.depends],
    assumes: [...client.assumes, ...upstream.assumes],
  };
}

const WITHOUT_ENDPOINT = new Set<number>([
  DropReason.NO_SERVICE,
  DropReason.LB_NO_BACKEND,
  DropReason.LB_NO_BACKEND_SLOT,
]);

/** What the client is told of a connection that fails: 503 where nobody is there, 502 where it ends at once, 504 after a while of silence. */
function statusOf({ reason }: Answer, outcomes: readonly Outcome[]): number {
  if (reason && WITHOUT_ENDPOINT.has(reason.code)) return 503;
  return outcomes.some(({ refusedBy }) => refusedBy?.mesh) ? 502 : 504;
}

/** One answer of several ways, of which nobody tells which is taken. */
export function agreed(answers: readonly Answered[]): Answered {
  const [first, ...others] = answers;
  if (others.length === 0) return first!;
  const textOf = ({ answer: { verdict, http, service } }: Answered): string =>
    `${verdict}${http ? ` with ${http.status} of ${http.backend}` : service ? ` by ${service.namespace}/${service.name}` : ''}`;
  const texts = [...new Set(answers.map(textOf))];
  if (texts.length === 1) return first!;
  const verdict = answers.some(({ answer }) => answer.verdict === 'UNKNOWN') ? 'UNKNOWN' : 'CONDITIONAL';
  const depends = [...new Set(answers.flatMap(({ answer }) => answer.depends))];
  const which = `which way the request takes, of several with the same right to it: ${texts.join(', ')}`;
  return {
    ...first!,
    answer: {
      ...first!.answer,
      verdict,
      deciders: [
        ...new Map(answers.flatMap(({ answer }) => answer.deciders.map((one) => [JSON.stringify(one), one]))).values(),
      ],
      http: null,
      depends: [...depends, which],
    },
  };
}

/** What the way of a request takes for granted. */
export function assumedIn({ cluster }: State, pods: readonly ClusterPod[], route: Route | null): string[] {
  const lines: string[] = [];
  if (pods.some(isAssumedController))
    lines.push('the Ingress controller is a pod without labels in a namespace of its own: the manifests hold none');
  const name = route?.backend.service?.name.value;
  const behind =
    route && cluster.services.find((one) => one.namespace === route.ingress.metadata.namespace && one.name === name);
  if (behind?.selected.some((pod) => cluster.assumed.has(pod)))
    lines.push(
      `Service ${behind.namespace}/${behind.name} and a pod behind it are there: the manifests hold Ingresses alone`,
    );
  if (route?.path?.pathType === 'ImplementationSpecific')
    lines.push(
      `path ${route.path.path.value || '/'} of ${nameOf(route.ingress)} is taken for a Prefix: what it is, is the controller's own`,
    );
  return lines;
}

/** Where the Ingresses and a request do not say the same of TLS. */
function tlsAssumed(asked: readonly Ingress[], request: HttpRequest, label: string): string[] {
  const host = hostOf(request);
  const covers = (name: string): boolean =>
    name === host || (name.startsWith('*.') && name.slice(1) === host.slice(host.indexOf('.')));
  const isCovered = asked.some(({ tls }) => tls.some(({ hosts }) => hosts.length === 0 || hosts.some(covers)));
  if (request.scheme === 'https')
    return isCovered ? [] : [`the controller has a certificate for ${host || label}: no tls names it`];
  return isCovered ? [`the controller takes ${host} without TLS too: some redirect to https`] : [];
}

/** Another Ingress of the class that would take the request before the one that was asked for. */
function takenBy(state: State, ingress: Ingress, request: HttpRequest): string[] {
  const { cluster } = state;
  const className = classOf(cluster, ingress);
  const routes = routesOf(
    cluster.ingresses.filter((one) => classOf(cluster, one) === className),
    request,
  );
  const [taker] = routes;
  return taker && routes.every((route) => route.ingress !== ingress)
    ? [`${taker.rule} of ${nameOf(taker.ingress)} takes this request first (${lineOf(taker.at)})`]
    : [];
}

export const nameOf = ({ metadata }: Ingress): string => `Ingress ${metadata.namespace}/${metadata.name.value}`;

const requestText = ({ method, host, path }: HttpRequest): string => `${method} ${host}${path}`;

const backendName = ({ ingress, backend }: Route): string =>
  `svc:${ingress.metadata.namespace}/${backend.service!.name.value}`;

export const routeDecider = ({ ingress, rule, at }: Route, effect: Decider['effect']): Decider =>
  deciderOf(ingress, rule, at, effect);
const deciderOf = ({ metadata }: Ingress, rule: string | null, at: Place, effect: Decider['effect']): Decider =>
  deciderAt({ kind: 'Ingress', namespace: metadata.namespace, name: metadata.name.value, rule, at }, effect);
