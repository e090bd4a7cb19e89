/** HS6001–HS6004: whether the paths of an Ingress lead somewhere, its class is there, and no path stands in another's way. */
import { backendsOf, classOf, untakenSince } from '../../cluster/ingress.js';
import type { Ingress, IngressBackend } from '../../manifests/ingress.js';
import type { Service } from '../../manifests/objects.js';
import { nearest } from '../../nearest.js';
import { problem, type Problem } from '../../problems.js';
import type { State } from '../../state.js';
import { list, named } from '../../words.js';
import { allRoutes, type Route } from '../ingress/route.js';

export function checkIngresses(state: State): Problem[] {
  const services = state.cluster.objects.filter((object): object is Service => object.kind === 'Service');
  return [
    ...state.cluster.ingresses.flatMap((ingress) => [
      ...backendsOf(ingress).flatMap((backend) => checkBackend(state, ingress, backend, services)),
      ...checkClass(state, ingress),
    ]),
    ...checkPaths(state),
  ];
}

function checkBackend(
  state: State,
  { metadata: { namespace } }: Ingress,
  { service: asked }: IngressBackend,
  services: readonly Service[],
): Problem[] {
  if (!asked) return [];
  const { name, port } = asked;
  const namesakes = services.filter(({ metadata }) => metadata.name.value === name.value);
  const service = namesakes.find(({ metadata }) => metadata.namespace === namespace);
  if (service) return checkPort(service, port);
  const isUnread = state.manifests.unread.some(
    ({ kind, namespace: own }) =>
      (kind === null || kind === 'Service' || kind === 'List') && (own === null || own === namespace),
  );
  if (isUnread) return [];
  const elsewhere = namesakes.map(({ metadata }) => metadata.namespace);
  const meant = nearest(
    name.value,
    services.filter(({ metadata }) => metadata.namespace === namespace).map(({ metadata }) => metadata.name.value),
  );
  const why =
    elsewhere.length > 0
      ? `; one of that name is in namespace ${list(elsewhere.map(named))}, where an Ingress of this one cannot send to`
      : '';
  const message = `There is no Service ${named(name.value)} in namespace ${named(namespace)}${why}: requests get 503.`;
  return [problem('HS6001', name.at, message, { fixes: meant === null ? [] : [`change to ${named(meant)}`] })];
}

function checkPort(
  { metadata, ports, type }: Service,
  port: NonNullable<IngressBackend['service']>['port'],
): Problem[] {
  const has = ports.some(({ name, port: own }) => (typeof port.value === 'string' ? name : own.value) === port.value);
  if (has || type === 'ExternalName') return [];
  const target = ports.find(({ targetPort }) => targetPort?.value === port.value);
  const open = ports.map(({ name, port: own }) => (name === null ? `${own.value}` : `${own.value} (${named(name)})`));
  const why = target ? `; it is a targetPort there, and an Ingress names the Service's port` : '';
  const message = `Service ${named(metadata.name.value)} has no port ${typeof port.value === 'string' ? named(port.value) : port.value}, only ${list(open, 'and', 5)}${why}: requests get 503.`;
  const meant = target ? [target] : ports.slice(0, 5);
  return [
    problem('HS6002', port.at, message, {
      related: ports.map(({ at }) => ({ at, message: `A port of Service ${metadata.name.value}.` })),
      fixes: meant.map(({ port: own }) => `write \`number: ${own.value}\``),
    }),
  ];
}

/** That the class is not there may be since its document could not be read. */
function checkClass({ cluster, manifests }: State, ingress: Ingress): Problem[] {
  const { className, metadata } = ingress;
  const untaken = untakenSince(cluster, ingress);
  if (untaken === null || manifests.unread.some(({ kind }) => kind === null || kind === 'IngressClass')) return [];
  const names = cluster.ingressClasses.map(({ metadata }) => metadata.name.value);
  if (className === null) {
    const message = 'The Ingress names no class, and no IngressClass is the default: no controller takes it.';
    return [problem('HS6003', metadata.name.at, message, { fixes: [`add \`ingressClassName: ${names[0]}\``] })];
  }
  const message = `There is no IngressClass ${named(className.value)}, only ${list(names.map(named), 'and', 5)}: no controller takes this Ingress.`;
  const meant = nearest(className.value, names) ?? names[0]!;
  return [problem('HS6003', className.at, message, { fixes: [`change to ${named(meant)}`] })];
}

/** Of two alike, the controller takes the one that was made first, which no manifest tells. */
function checkPaths({ cluster }: State): Problem[] {
  const first = new Map<string, Route>();
  return cluster.ingresses.flatMap((ingress) =>
    ingress.rules.flatMap(({ host, paths }) =>
      paths.flatMap((path): Problem[] => {
        const route = allRoutes(ingress).find((one) => one.path === path)!;
        const text = `${host?.value ?? '*'}${path.path.value.replace(/(?<=.)\/$/, '')}`;
        const key = `${classOf(cluster, ingress) ?? ''} ${path.pathType} ${text}`;
        const earlier = first.get(key);
        if (!earlier) first.set(key, route);
        if (!earlier || backendKey(earlier) === backendKey(route)) return [];
        const message = `${named(text)} stands twice for the same requests, and with another backend: which of both takes them is not told.`;
        const related = [
          { at: earlier.path!.path.at, message: `The other one, of Ingress ${earlier.ingress.metadata.name.value}.` },
        ];
        return [problem('HS6004', path.path.at, message, { related })];
      }),
    ),
  );
}

const backendKey = ({ ingress, backend: { service, at } }: Route): unknown =>
  service ? `${ingress.metadata.namespace} ${service.name.value} ${service.port.value}` : at;
