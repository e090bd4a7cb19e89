/** HS3004, HS3006: whether the ports of a policy's rules are ports of the pods that the rules lead to. */
import { namedPort } from '../../cluster/cluster.js';
import type { NetworkPolicyPort, ServicePort } from '../../manifests/objects.js';
import type { Located } from '../../manifests/place.js';
import { nearest } from '../../nearest.js';
import { problem, type Problem } from '../../problems.js';
import type { State } from '../../state.js';
import { list, named } from '../../words.js';
import { rulesOf, selectedBy, shapesOfPeer, type Rule } from './peers.js';
import { otherProtocol, shapesBehind, targetsOf } from './services.js';
import { portPlaces, portsOf, workloadsOf, type Shape } from './shapes.js';
import { mayHidePods } from './unread.js';

/** A Service with the pods that it selects. */
interface Selecting {
  readonly name: string;
  readonly namespace: string;
  readonly ports: readonly ServicePort[];
  readonly shapes: readonly Shape[];
}

export function checkPorts(state: State, shapes: readonly Shape[]): Problem[] {
  const services = state.cluster.services
    .filter(({ source }) => !source.headless)
    .map((service): Selecting => ({ name: service.name, namespace: service.namespace, ports: service.source.ports, shapes: shapesBehind(service, shapes) }));
  return state.cluster.policies.flatMap((policy) =>
    rulesOf(policy).flatMap((rule) => {
      const destinations = destinationsOf(state, rule, shapes);
      if (!destinations) return [];
      return (rule.rule.ports ?? []).flatMap((port) => [
        ...checkNumber(port, rule, destinations, services),
        ...(mayHidePods(state) ? [] : checkName(port, rule, destinations)),
      ]);
    }),
  );
}

/**
 * The pods that a rule's ports are ports of: for ingress the pods that the policy selects, for egress the peers.
 * null where some of them are not in the manifests, so that nothing can be said of their ports.
 */
function destinationsOf(state: State, { policy, direction, rule }: Rule, shapes: readonly Shape[]): readonly Shape[] | null {
  if (direction === 'ingress') return nonEmpty(selectedBy(policy, shapes));
  if (!rule.peers?.length) return nonEmpty(shapes);
  const found = rule.peers.filter(({ ipBlock }) => !ipBlock).map((peer) => shapesOfPeer(state, policy, peer, shapes));
  return found.some((peers) => peers.length === 0) ? null : [...new Set(found.flat())];
}

const nonEmpty = (shapes: readonly Shape[]): readonly Shape[] | null => (shapes.length > 0 ? shapes : null);

/**
 * Policies see a packet after its Service was resolved. Not reported where the number may well be right:
 * 1. for an address or anything at all as peer,
 * 2. for a range of ports,
 * 3. where a pod declares it or another Service leads to it,
 * 4. where the rule lists the container's port too.
 */
function checkNumber(port: NetworkPolicyPort, { direction, rule }: Rule, destinations: readonly Shape[], services: readonly Selecting[]): Problem[] {
  const number = port.port?.value;
  if (typeof number !== 'number' || !port.port || (port.endPort && port.endPort.value !== number)) return [];
  if (direction === 'egress' && (!rule.peers?.length || rule.peers.some(({ ipBlock }) => ipBlock))) return [];
  if (portsOf(destinations, port.protocol).some(({ containerPort }) => containerPort.value === number)) return [];
  const misled: { service: Selecting; listed: ServicePort; targets: number[]; behind: readonly Shape[] }[] = [];
  for (const service of services) {
    const behind = service.shapes.filter((shape) => destinations.includes(shape));
    for (const listed of behind.length > 0 ? service.ports : []) {
      if (listed.protocol !== port.protocol) continue;
      const targets = [...targetsOf(listed, behind)];
      if (targets.includes(number)) return [];
      if (listed.port.value === number && targets.length > 0) misled.push({ service, listed, targets, behind });
    }
  }
  const telling = misled.find(({ targets }) => !targets.some((target) => lists(rule.ports ?? [], port, target)));
  if (!telling) return [];
  const { service, listed, targets, behind } = telling;
  const containers = list(targets.map((target) => `${target}`), 'and', 4);
  const message = `${number} is the port of Service ${named(`${service.namespace}/${service.name}`)}, but its containers listen on ${containers}; policies see a packet after the Service is resolved, so this lets nothing through.`;
  const related = [
    { at: listed.port.at, message: `The port of Service ${named(service.name)}.` },
    ...portPlaces(portsOf(behind, port.protocol).filter(({ containerPort }) => targets.includes(containerPort.value))),
  ];
  return [problem('HS3004', port.port.at, message, { related, fixes: targets.slice(0, 4).map((target) => `use ${target}, the container's port`) })];
}

const lists = (ports: readonly NetworkPolicyPort[], { protocol }: NetworkPolicyPort, target: number): boolean =>
  ports.some(
    ({ port, endPort, protocol: other }) =>
      other === protocol &&
      (port === null || typeof port.value === 'string' || (port.value <= target && target <= (endPort?.value ?? port.value))),
  );

function checkName({ port, protocol }: NetworkPolicyPort, { direction, rule }: Rule, destinations: readonly Shape[]): Problem[] {
  if (typeof port?.value !== 'string') return [];
  const name = port as Located<string>;
  if (destinations.some(({ spec }) => namedPort(spec, name.value, protocol) !== null)) return [];
  const declared = portsOf(destinations, protocol).filter((other) => other.name !== null);
  const names = [...new Set(declared.flatMap((other) => other.name?.value ?? []))];
  const meant = nearest(name.value, names);
  const message = `${missing(direction, rule.peers?.length ?? 0, destinations)} has a ${protocol} port named ${named(name.value)}${otherProtocol(protocol, name.value, destinations)}, so this lets nothing through.`;
  const fixes = (meant === null ? names.slice(0, 5) : [meant]).map((other) => `change to ${named(other)}`);
  return [problem('HS3006', name.at, message, { related: portPlaces(declared), fixes })];
}

function missing(direction: Rule['direction'], peers: number, destinations: readonly Shape[]): string {
  if (destinations.length === 0) return 'The peers are addresses, and no address';
  if (direction === 'egress' && peers === 0) return 'No pod';
  return `No pod of ${workloadsOf(destinations)}${direction === 'ingress' ? ', which the policy selects,' : ', which the peers are,'}`;
}
