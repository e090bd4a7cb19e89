/** HS3004, HS3006: whether the ports of a policy's rules are ports of the pods that the rules lead to. */
import { namedPort } from '../../cluster/cluster.js';
import type { NetworkPolicyPort, ServicePort } from '../../manifests/objects.js';
import { nearest } from '../../nearest.js';
import { problem, type Problem } from '../../problems.js';
import type { State } from '../../state.js';
import { list, named } from '../../words.js';
import { networkPolicies, rulesOf, selectedBy, shapesOfPeer, type Rule } from './peers.js';
import { otherProtocol, shapesBehind, targetsOf } from './services.js';
import { portPlaces, portsOf, workloadsOf, type Shape, type Shapes } from './shapes.js';

/** The port of a Service, and the pods behind the Service. */
interface Listed {
  readonly service: string;
  readonly port: ServicePort;
  readonly shapes: readonly Shape[];
}

export function checkPorts(state: State, shapes: Shapes): Problem[] {
  const listed = listedPorts(state, shapes);
  return networkPolicies(state).flatMap((policy) =>
    rulesOf(policy).flatMap((rule) => {
      const ports = rule.rule.ports ?? [];
      const destinations = ports.length > 0 ? destinationsOf(state, rule, shapes) : null;
      if (!destinations) return [];
      return ports.flatMap((port) => {
        if (typeof port.port?.value === 'number') return checkNumber(port, port.port.value, rule, destinations, listed);
        const lacking = shapes.mayLack(rule.direction === 'ingress' ? policy.metadata.namespace : null);
        return port.port && !lacking ? checkName(port, port.port.value, rule, destinations) : [];
      });
    }),
  );
}

/** By protocol and number, those of Services that translate: a headless one is a name and no more. */
function listedPorts(state: State, shapes: Shapes): ReadonlyMap<string, readonly Listed[]> {
  const found = new Map<string, Listed[]>();
  for (const service of state.cluster.services) {
    if (service.source.headless || service.source.type === 'ExternalName') continue;
    const behind = shapesBehind(service, shapes);
    const name = `${service.namespace}/${service.name}`;
    for (const port of behind.length > 0 ? service.source.ports : []) {
      // Found by its own number, and by those where pods listen.
      for (const number of new Set([port.port.value, ...targetsOf(port, behind)])) {
        const key = `${port.protocol} ${number}`;
        const entry = { service: name, port, shapes: behind };
        const others = found.get(key);
        if (others) others.push(entry);
        else found.set(key, [entry]);
      }
    }
  }
  return found;
}

/**
 * The pods that a rule's ports are ports of: for ingress the pods that the policy selects, for egress the peers.
 * null where some of them are not in the manifests, so that nothing can be said of their ports.
 */
function destinationsOf(state: State, { policy, direction, rule }: Rule, shapes: Shapes): readonly Shape[] | null {
  if (direction === 'ingress') return nonEmpty(selectedBy(policy, shapes));
  if (!rule.peers?.length) return nonEmpty(shapes.all);
  const found = rule.peers.filter(({ ipBlock }) => !ipBlock).map((peer) => shapesOfPeer(state, policy, peer, shapes));
  return found.some((peers) => peers.length === 0) ? null : [...new Set(found.flat())];
}

const nonEmpty = (shapes: readonly Shape[]): readonly Shape[] | null => (shapes.length > 0 ? shapes : null);

/**
 * Policies see a packet after its Service was resolved. Not reported where the number may well be right:
 * 1. for an address, or anything at all, as the peer of egress,
 * 2. for a range of ports,
 * 3. where a pod declares it, or another Service leads to it,
 * 4. where the rule lists the container's port too.
 */
function checkNumber(
  port: NetworkPolicyPort,
  number: number,
  { direction, rule }: Rule,
  destinations: readonly Shape[],
  listed: ReadonlyMap<string, readonly Listed[]>,
): Problem[] {
  if (port.endPort && port.endPort.value !== number) return [];
  if (direction === 'egress' && (!rule.peers?.length || rule.peers.some(({ ipBlock }) => ipBlock))) return [];
  const candidates = listed.get(`${port.protocol} ${number}`);
  if (!candidates || declares(destinations, port, number)) return [];
  const destined = new Set(destinations);
  const misled = candidates.flatMap(({ service, port: servicePort, shapes }) => {
    const behind = shapes.filter((shape) => destined.has(shape));
    return behind.length > 0 ? [{ service, servicePort, behind, targets: [...targetsOf(servicePort, behind)] }] : [];
  });
  if (misled.some(({ targets }) => targets.includes(number))) return [];
  const telling = misled.find(
    ({ servicePort, targets }) =>
      servicePort.port.value === number &&
      targets.length > 0 &&
      !targets.some((target) => admits(rule.ports ?? [], port, target)),
  );
  if (!telling) return [];
  const { service, servicePort, targets, behind } = telling;
  const containers = list(targets.map(String), 'and', 4);
  const message = `${number} is the port of Service ${named(service)}, but its containers listen on ${containers}; policies see a packet after the Service is resolved, so this lets nothing through.`;
  const listening = portsOf(behind, port.protocol).filter(({ containerPort }) => targets.includes(containerPort.value));
  const related = [
    { at: servicePort.port.at, message: `The port of Service ${named(service)}.` },
    ...portPlaces(listening),
  ];
  const fixes = targets.slice(0, 4).map((target) => `use ${target}, the container's port`);
  return [problem('HS3004', port.port!.at, message, { related, fixes })];
}

const declares = (shapes: readonly Shape[], { protocol }: NetworkPolicyPort, number: number): boolean =>
  shapes.some(({ spec }) =>
    spec.containers.some(({ ports }) =>
      ports.some((port) => port.protocol === protocol && port.containerPort.value === number),
    ),
  );

/** Whether one of a rule's ports stands for a number; a name may. */
const admits = (ports: readonly NetworkPolicyPort[], { protocol }: NetworkPolicyPort, number: number): boolean =>
  ports.some((other) => {
    if (other.protocol !== protocol) return false;
    const first = other.port?.value ?? 0;
    if (typeof first === 'string') return true;
    return first <= number && number <= (other.port ? (other.endPort?.value ?? first) : 65535);
  });

function checkName(
  { port, protocol }: NetworkPolicyPort,
  name: string,
  { direction, rule }: Rule,
  destinations: readonly Shape[],
): Problem[] {
  if (destinations.some(({ spec }) => namedPort(spec, name, protocol) !== null)) return [];
  const declared = portsOf(destinations, protocol).filter((other) => other.name !== null);
  const names = [...new Set(declared.flatMap((other) => other.name?.value ?? []))];
  const meant = nearest(name, names);
  const subject = subjectOf(direction, rule.peers?.length ?? 0, destinations);
  const message = `${subject} has a ${protocol} port named ${named(name)}${otherProtocol(protocol, name, destinations)}, so this lets nothing through.`;
  const fixes = (meant === null ? names.slice(0, 5) : [meant]).map((other) => `change to ${named(other)}`);
  return [problem('HS3006', port!.at, message, { related: portPlaces(declared), fixes })];
}

function subjectOf(direction: Rule['direction'], peers: number, destinations: readonly Shape[]): string {
  if (destinations.length === 0) return 'The peers are addresses, and no address';
  if (direction === 'egress' && peers === 0) return 'No pod';
  const which = direction === 'ingress' ? 'which the policy selects' : 'which the peers are';
  return `No pod of ${workloadsOf(destinations)}, ${which},`;
}
