/** Frontends of the pods' own: `containers[].ports[].hostPort`. */
import { LbScope } from '../../assembly/abi.js';
import { parseAddress } from '../addresses.js';
import type { Cluster, ClusterBackend, ClusterPod } from '../cluster/cluster.js';
import type { ContainerPort } from '../manifests/objects.js';
import type { Listening } from './entries.js';

const LOOPBACK = 127;

/** A hostIP on which only the node's own processes would find the port. */
export const isLoopback = (address: number): boolean => address >>> 24 === LOOPBACK;

/**
 * Each port that a pod has on its node's addresses, or on the one that `hostIP` names; only there, and with that pod alone
 * behind it. Of two pods that want the same one, the first has it: Kubernetes would not put them on one node.
 */
export function hostPorts(cluster: Cluster): Listening[] {
  const found = new Map<string, Listening>();
  for (const pod of cluster.pods) {
    // Its ports are the node's anyway.
    if (pod.hostNetwork) continue;
    for (const port of pod.spec.containers.flatMap(({ ports }) => ports)) {
      for (const address of port.hostPort ? addressesOf(pod, port) : []) {
        const one = frontendOf(pod, port, address);
        const key = `${address} ${one.number} ${port.protocol}`;
        if (!found.has(key)) found.set(key, one);
      }
    }
  }
  return [...found.values()];
}

function addressesOf({ node }: ClusterPod, { hostIP }: ContainerPort): readonly number[] {
  if (hostIP === null || hostIP === '' || hostIP === '0.0.0.0') return [node.address, ...node.others];
  const address = parseAddress(hostIP);
  return address === null || isLoopback(address) ? [] : [address];
}

function frontendOf(pod: ClusterPod, port: ContainerPort, address: number): Listening {
  const { at, containerPort, name, protocol } = port;
  const number = port.hostPort!;
  const backend: ClusterBackend = {
    address: pod.address,
    port: containerPort.value,
    pod,
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
    backends: [backend],
  };
}
