/** HS2001, HS2003, HS2004: whether a Service leads to a container that listens. */
import { namedPort, type ClusterService } from '../../cluster/cluster.js';
import type { Protocol, Service, ServicePort } from '../../manifests/objects.js';
import type { Located } from '../../manifests/place.js';
import { PROTOCOLS } from '../../manifests/pods.js';
import { nearest } from '../../nearest.js';
import { problem, type Problem } from '../../problems.js';
import type { State } from '../../state.js';
import { count, list, named } from '../../words.js';
import { portPlaces, portsOf, portText, slipHint, tidy, workloadsOf, type Shape, type Shapes } from './shapes.js';

export function checkServices(state: State, shapes: Shapes): Problem[] {
  return state.cluster.services.flatMap((service) => {
    if (service.source.type === 'ExternalName') return [];
    const selected = shapesBehind(service, shapes);
    if (selected.length === 0) return checkSelector(state, service, shapes);
    return service.source.ports.flatMap((port) =>
      typeof port.targetPort?.value === 'string'
        ? checkName(port, port.targetPort as Located<string>, selected)
        : checkNumber(port, service.source, selected),
    );
  });
}

/** The pods that a Service selects, those of workloads scaled to none included. */
export function shapesBehind({ source, namespace }: ClusterService, shapes: Shapes): Shape[] {
  const terms = source.selector?.labels;
  if (!terms) return [];
  return shapes.in(namespace).filter((shape) => hasAll(shape, terms));
}

const hasAll = (shape: Shape, terms: ReadonlyMap<string, Located<string>>): boolean =>
  [...terms].every(([key, { value }]) => shape.labels.get(key) === value);

/** What the manifests hold is what will be applied: a Service whose pods stand elsewhere says so with a suppressing comment. */
function checkSelector(state: State, { source, namespace, name }: ClusterService, shapes: Shapes): Problem[] {
  const { selector } = source;
  const listed = state.cluster.endpoints.some(
    (slice) => slice.metadata.namespace === namespace && slice.service === name,
  );
  if (!selector || listed || shapes.mayLack(namespace)) return [];
  const wanted = list(
    [...selector.labels].map(([key, { value }]) => named(`${key}: ${value}`)),
    'and',
    4,
  );
  const local = shapes.in(namespace);
  const elsewhere = shapes.all.filter((shape) => hasAll(shape, selector.labels));
  const hint = slipHint(selector.labels, local);
  const other =
    hint.text === '' && elsewhere.length > 0 ? `; ${workloadsOf(elsewhere)} would match, but in another namespace` : '';
  const message = `Service ${named(name)} selects ${wanted}, and no pod in namespace ${named(namespace)} has ${selector.labels.size > 1 ? 'all of these labels' : 'this label'}${hint.text}${other}.`;
  const at = hint.slip && selector.labels.size > 1 ? hint.slip : tidy(selector.at);
  return [problem('HS2001', at, message, hint)];
}

/** Pods that declare no port at all say nothing about where they listen. */
function checkNumber(port: ServicePort, service: Service, selected: readonly Shape[]): Problem[] {
  const target = port.targetPort ?? port.port;
  // A headless Service translates nothing: its port is a number for DNS, often a made-up one.
  if (service.headless && !port.targetPort) return [];
  const declared = portsOf(selected, port.protocol);
  if (declared.some(({ containerPort }) => containerPort.value === target.value)) return [];
  const [meant] = otherProtocols(port, service, selected);
  if (meant) return [wrongProtocol(port, meant, selected)];
  if (selected.some((shape) => portsOf([shape], port.protocol).length === 0)) return [];
  const subject = port.targetPort ? `targetPort ${target.value}` : `Port ${target.value}, which is the targetPort too,`;
  const ports = list(declared.map(portText), 'and', 5);
  const pods = podsIn(selected);
  const who =
    pods === 1 ? 'not declared by the matched pod; it declares' : `declared by none of ${allOf(pods)}; they declare`;
  const message = `${subject} is ${who} ${ports}.`;
  const related = portPlaces(declared);
  const numbers = [...new Set(declared.map(({ containerPort }) => containerPort.value))];
  const fixes = numbers
    .slice(0, 5)
    .map((number) => (port.targetPort ? `change to \`${number}\`` : `add \`targetPort: ${number}\``));
  return [problem('HS2003', target.at, message, { related, fixes })];
}

const targetOf = ({ targetPort, port }: ServicePort): number | string => targetPort?.value ?? port.value;

/** The protocols for which each of these pods declares the target, and for which the Service has no port that leads there. */
function otherProtocols(port: ServicePort, service: Service, selected: readonly Shape[]): Protocol[] {
  const target = targetOf(port);
  return PROTOCOLS.filter(
    (other) =>
      other !== port.protocol &&
      !service.ports.some((sibling) => sibling.protocol === other && targetOf(sibling) === target) &&
      selected.every((shape) => portsOf([shape], other).some(({ containerPort }) => containerPort.value === target)),
  );
}

function wrongProtocol(port: ServicePort, meant: Protocol, selected: readonly Shape[]): Problem {
  const target = port.targetPort ?? port.port;
  const declared = portsOf(selected, meant).filter(({ containerPort }) => containerPort.value === target.value);
  const who = podsIn(selected) === 1 ? 'The container declares' : 'The containers declare';
  const message = `${who} ${target.value} for ${meant}, while the Service's port is ${port.protocol}.`;
  return problem('HS2003', target.at, message, {
    related: portPlaces(declared),
    fixes: [`write \`protocol: ${meant}\``],
  });
}

function checkName(port: ServicePort, name: Located<string>, selected: readonly Shape[]): Problem[] {
  const without = selected.filter(({ spec }) => namedPort(spec, name.value, port.protocol) === null);
  if (without.length === 0) return [];
  const declared = portsOf(selected, port.protocol);
  const pods = podsIn(selected);
  const everyOne = pods === 1 ? 'The matched pod has no' : `None of ${allOf(pods)} has a`;
  const [subject, effect] =
    without.length === selected.length
      ? [everyOne, '']
      : [`${workloadsOf(without)}: no container has a`, ', so no traffic of this Service gets to these pods'];
  const other = otherProtocol(port.protocol, name.value, without);
  const message = `${subject} ${port.protocol} port named ${named(name.value)}${other}${effect}.`;
  const names = new Set(declared.flatMap((declaredPort) => declaredPort.name?.value ?? []));
  names.delete(name.value);
  const meant = nearest(name.value, names);
  const fixes = (meant === null ? [...names].slice(0, 5) : [meant]).map((fix) => `change to ${named(fix)}`);
  return [problem('HS2004', name.at, message, { related: portPlaces(portsOf(without, port.protocol)), fixes })];
}

/** Names of ports are looked for among those of the same protocol. */
export function otherProtocol(protocol: Protocol, name: string, shapes: readonly Shape[]): string {
  const others = PROTOCOLS.filter(
    (other) => other !== protocol && shapes.some(({ spec }) => namedPort(spec, name, other) !== null),
  );
  return others.length === 0 ? '' : ` (the port of that name is ${list(others, 'and')})`;
}

const podsIn = (shapes: readonly Shape[]): number => shapes.reduce((sum, shape) => sum + shape.pods.length, 0);

const allOf = (pods: number): string => (pods === 0 ? 'the matched pods' : `the ${count(pods, 'matched pod')}`);

/** The numbers to which a port of a Service leads on these pods. */
export function targetsOf(port: ServicePort, shapes: readonly Shape[]): Set<number> {
  const target = targetOf(port);
  if (typeof target === 'number') return new Set([target]);
  return new Set(shapes.flatMap(({ spec }) => namedPort(spec, target, port.protocol)?.containerPort.value ?? []));
}
