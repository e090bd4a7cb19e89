/** Frontends of the pods' own: `containers[].ports[].hostPort`. */
import { LbScope } from '../../assembly/abi.js';
import { contains, familyOf, formatEndpoint, parseAddress, UNSPECIFIED, type Address } from '../addresses.js';
import { addressIn, allAddresses, type ClusterBackend, type ClusterPod } from '../cluster/cluster.js';
import type { ContainerPort } from '../manifests/objects.js';
import type { Listening } from './frontends.js';

/** A hostIP on which only the node's own processes would find the port: 127.0.0.0/8 and ::1. */
export const isLoopback = (address: Address): boolean =>
  address === 1n || contains({ address: 0x7f000000, length: 8 }, address);

const NONE: readonly Listening[] = [];

/**
 * Each port that a pod has on its node's addresses, or on the one that `hostIP` names, as far as it has an address of that
 * family itself; only there, and with that pod alone behind it.
 */
export function hostPortsOf(pod: ClusterPod): readonly Listening[] {
  const ports = pod.spec.containers.flatMap((container) => container.ports.filter(({ hostPort }) => hostPort));
  // Those of a pod on the host's network are the node's anyway.
  if (pod.hostNetwork || ports.length === 0) return NONE;
  return ports.flatMap((port) => addressesOf(pod, port).flatMap((address) => frontendOf(pod, port, address) ?? []));
}

/** Of two pods that want the same port, the first has it: Kubernetes would not put them on one node. */
export function firstOfEach(all: readonly Listening[]): Listening[] {
  const found = new Map<string, Listening>();
  for (const one of all) {
    const key = `${formatEndpoint(one.address, one.number)}/${one.port.source.protocol}`;
    if (!found.has(key)) found.set(key, one);
  }
  return [...found.values()];
}

function addressesOf({ node }: ClusterPod, { hostIP }: ContainerPort): readonly Address[] {
  if (hostIP === null || hostIP === '') return allAddresses(node);
  const address = parseAddress(hostIP);
  if (address === null || isLoopback(address)) return [];
  return address === UNSPECIFIED[familyOf(address)] ? allAddresses(node) : [address];
}

function frontendOf(pod: ClusterPod, port: ContainerPort, address: Address): Listening | null {
  const own = addressIn(pod, familyOf(address));
  if (own === null) return null;
  const { at, containerPort, name, protocol } = port;
  const number = port.hostPort!;
  const backend: ClusterBackend = {
    address: own,
    port: containerPort.value,
    podKey: pod.key,
    node: pod.node,
    terminating: pod.terminating,
    forZones: [],
    forNodes: [],
    weight: 1,
    source: pod.source,
  };
  const source = { at, name: name?.value ?? null, protocol, port: number, targetPort: containerPort, nodePort: null };
  return {
    type: 'HostPort',
    service: null,
    port: { source, endpoints: [backend], backends: [backend], unresolved: [] },
    address,
    number: number.value,
    scope: LbScope.EXTERNAL,
    node: 0,
    endpoints: [backend],
    backends: [backend],
  };
}
