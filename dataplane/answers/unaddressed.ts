/** Pods that no packet can be sent to for sure: without an address, or with one that is another's as well. */
import { familyOf, formatAddress, UNSPECIFIED, type Address } from '../addresses.js';
import { allAddresses, type ClusterNode, type ClusterPod } from '../cluster/cluster.js';
import { difference } from '../kept.js';
import type { Frontend } from '../loader/frontends.js';
import { overStates, type State } from '../state.js';
import { frontendsAt, listeningAt } from './at.js';

/** Such pods, and why. */
export const withoutAddress = (state: State): ReadonlyMap<ClusterPod, string> => unaddressed(state).in(state);

const unaddressed = overStates(() => new Unaddressed());

const NOBODY: ReadonlyMap<ClusterPod, string> = new Map();

/** Pods at whose addresses a Service, or another pod's hostPort, listens. */
export function listenedAt(state: State): ReadonlySet<ClusterPod> {
  const { cluster, desired } = state;
  if (withoutAddress(state).size > 0) {
    const isListening = listeningAt(state);
    return new Set(cluster.pods.filter(({ addresses }) => addresses.some(isListening)));
  }
  const addresses: Address[] = Object.values(UNSPECIFIED);
  // Frontends of hostPorts are the last.
  for (let i = desired.frontends.length - 1; i >= 0 && desired.frontends[i]!.service === null; i--)
    addresses.push(desired.frontends[i]!.address);
  return new Set(addresses.flatMap((address) => cluster.podsByAddress.all(address)));
}

/** While nothing is mistaken, only what came since has to be looked at. */
class Unaddressed {
  private pods: readonly ClusterPod[] = [];
  private frontends: readonly Frontend[] = [];
  private nodes: readonly ClusterNode[] = [];
  private found: ReadonlyMap<ClusterPod, string> = NOBODY;

  in(state: State): ReadonlyMap<ClusterPod, string> {
    const { pods, nodes } = state.cluster;
    const { frontends } = state.desired;
    const isKnown = this.pods === pods && this.frontends === frontends && this.nodes === nodes;
    if (!isKnown && !(this.nodes === nodes && this.found.size === 0 && this.isPlain(state)))
      this.found = findUnaddressed(frontends, nodes, pods);
    this.pods = pods;
    this.frontends = frontends;
    this.nodes = nodes;
    return this.found;
  }

  /** Whether all pods and frontends that came have addresses that no other has: so it is where nothing is mistaken. */
  private isPlain(state: State): boolean {
    const { pods, nodes, podsByAddress } = state.cluster;
    const { frontends } = state.desired;
    const taken = nodes.flatMap(allAddresses);
    const ofNodes = new Set(taken);
    if (ofNodes.size < taken.length) return false;
    const atFrontends = frontendsAt(state);
    const owned = (address: Address): boolean => ofNodes.has(address) || atFrontends(address).some(isOwner);
    const come = difference(this.pods, pods).come.filter(({ hostNetwork }) => !hostNetwork);
    const fresh = difference(this.frontends, frontends).come.filter(isOwner);
    return (
      come.every(
        ({ addresses }) =>
          addresses.length > 0 && addresses.every((one) => podsByAddress.all(one).length === 1 && !owned(one)),
      ) && fresh.every(({ address }) => !podsByAddress.has(address))
    );
  }
}

/** Whether a frontend's address is its Service's own. */
const isOwner = ({ address, service }: Frontend): boolean =>
  service !== null && address !== UNSPECIFIED[familyOf(address)];

function findUnaddressed(
  frontends: readonly Frontend[],
  nodes: readonly ClusterNode[],
  all: readonly ClusterPod[],
): ReadonlyMap<ClusterPod, string> {
  const owners = new Map<Address, string>();
  const shared = new Set<Address>();
  for (const node of nodes) {
    for (const address of allAddresses(node)) {
      if (owners.has(address)) shared.add(address);
      owners.set(address, `node ${node.name}`);
    }
  }
  for (const frontend of frontends) {
    const { address, service } = frontend;
    if (isOwner(frontend) && !owners.has(address))
      owners.set(address, `Service ${service!.namespace}/${service!.name}`);
  }
  const found = new Map<ClusterPod, string>();
  const pods = all.filter((pod) => !pod.hostNetwork);
  const first = new Map<Address, ClusterPod>();
  const claim = (pod: ClusterPod, text: string, address: Address): void => {
    const owner = owners.get(address);
    const twin = first.get(address);
    if (owner) found.set(pod, `${text} has the address ${formatAddress(address)}, which is that of ${owner}`);
    else if (twin) {
      const both = `pods ${twin.namespace}/${twin.name} and ${pod.namespace}/${pod.name} have the same address ${formatAddress(address)}`;
      found.set(pod, both).set(twin, found.get(twin) ?? both);
    } else first.set(address, pod);
  };
  for (const pod of pods) {
    const text = `pod ${pod.namespace}/${pod.name}`;
    const ofNode = pod.node.addresses.find((address) => shared.has(address));
    if (ofNode !== undefined) {
      const why = `whose address ${formatAddress(ofNode)} another node has too`;
      found.set(pod, `${text} is on node ${pod.node.name}, ${why}`);
    } else if (pod.addresses.length === 0) found.set(pod, `${text} has no address: the pod range is used up`);
    else for (const address of pod.addresses) claim(pod, text, address);
  }
  return found;
}
