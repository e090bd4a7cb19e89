/** What Ingresses expose: the pods and ports that their controllers send requests to. */
import { DropReason } from '../../../assembly/abi.js';
import type { ClusterService, ClusterServicePort } from '../../cluster/cluster.js';
import { classOf, controllersOf, untakenSince } from '../../cluster/ingress.js';
import type { Ingress } from '../../manifests/ingress.js';
import type { State } from '../../state.js';
import type { Answered } from '../query.js';
import type { Target } from '../refs.js';
import { refused, unknown } from '../unknown.js';
import { allRoutes, type Route } from './route.js';
import { agreed, assumedIn, backendOf, nameOf, routeDecider, unreadIngresses, type Send } from './through.js';

/** A port of a Service that an Ingress leads to. */
export interface Exposure {
  readonly route: Route;
  readonly service: ClusterService;
  readonly port: ClusterServicePort;
}

/** Every port that there is behind an Ingress. */
export const exposures = (state: State): Exposure[] =>
  takenIngresses(state)
    .flatMap(allRoutes)
    .flatMap((route) => {
      const { service, port } = backendOf(state, route);
      return service && port ? [{ route, service, port }] : [];
    });

const takenIngresses = ({ cluster }: State): Ingress[] =>
  cluster.ingresses.filter((ingress) => untakenSince(cluster, ingress) === null);

type IngressTarget = Extract<Target, { readonly kind: 'ingress' }>;

/** Whether an Ingress's controller gets to a port: it does where a rule leads there and the policies let it. */
export function fromIngress(
  state: State,
  { label, ingress }: IngressTarget,
  to: Target,
  port: number,
  send: Send,
): Answered {
  const leading = exposures(state).filter(
    (exposure) => (ingress === null || exposure.route.ingress === ingress) && leadsTo(exposure, to, port),
  );
  const unread = ingress === null ? unreadIngresses(state) : [];
  if (unread.length > 0) return { answer: unknown(unread), outcomes: [] };
  if (leading.length === 0) {
    const why = ingress && untakenSince(state.cluster, ingress);
    const untaken = ingress && why !== null ? [`no controller takes ${nameOf(ingress)}: ${why}`] : [];
    const hints = [...untaken, `${label} leads no request to ${to.label}, TCP ${port}`];
    return { answer: refused(DropReason.NO_SERVICE, 'egress', { hints }), outcomes: [] };
  }
  // Each class has its own controllers.
  const classes = new Map<string | null, Route[]>();
  for (const { route } of leading) {
    const name = classOf(state.cluster, route.ingress);
    classes.set(name, [...(classes.get(name) ?? []), route]);
  }
  return agreed(
    [...classes].map(([name, routes]): Answered => {
      const pods = controllersOf(state.cluster, name);
      const answered = send({ kind: 'pods', label, pods }, to, port);
      const { answer } = answered;
      const rules = answer.verdict === 'ALLOWED' ? routes.map((route) => routeDecider(route, 'allows')) : [];
      return {
        ...answered,
        answer: {
          ...answer,
          deciders: [...rules, ...answer.deciders],
          assumes: [...answer.assumes, ...assumedIn(state, pods, routes[0]!)],
        },
      };
    }),
  );
}

function leadsTo({ service, port }: Exposure, to: Target, number: number): boolean {
  switch (to.kind) {
    case 'service':
      return service === to.service && port.source.port.value === number;
    case 'pods':
      return port.backends.some(
        ({ podKey, port: target }) => target === number && to.pods.some(({ key }) => key === podKey),
      );
    case 'address':
      return port.backends.some(({ address, port: target }) => target === number && address === to.address);
    default:
      return false;
  }
}
