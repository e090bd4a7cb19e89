/** NetworkPolicy as policies and rules of identities. Cilium `pkg/k8s/network_policy.go`. */
import { IpProto } from '../../assembly/abi.js';
import { parsePrefix } from '../addresses.js';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, Protocol } from '../manifests/objects.js';
import { DIRECTIONS, EVERY_PORT, type Peer, type Policy, type PortMatch, type Rule } from './rules.js';
import { DERIVED, requirement, requirementsOf, type EndpointSelector } from './selectors.js';

export const PROTOCOL_NUMBERS: Readonly<Record<Protocol, number>> = {
  TCP: IpProto.TCP,
  UDP: IpProto.UDP,
  SCTP: IpProto.SCTP,
};

/** Kubernetes' name of a protocol; null for one of which it has none, as ICMP. */
export const protocolOf = (number: number): Protocol | null =>
  (Object.keys(PROTOCOL_NUMBERS) as Protocol[]).find((name) => PROTOCOL_NUMBERS[name] === number) ?? null;

export function fromNetworkPolicy(source: NetworkPolicy): Policy {
  const { kind, metadata, podSelector, policyTypes } = source;
  const { namespace } = metadata;
  const name = metadata.name.value;
  const isolates = DIRECTIONS.filter((direction) =>
    policyTypes.includes(direction === 'ingress' ? 'Ingress' : 'Egress'),
  );
  return {
    source,
    key: `${kind} ${namespace}/${name}`,
    aboutNodes: false,
    subject: inNamespace(namespace, podSelector),
    isolates,
    rules: isolates.flatMap((direction) =>
      (source[direction]?.rules ?? []).map(({ at, peers, ports }, index): Rule => ({
        origin: { kind, namespace, name, direction, rule: `${direction}[${index}]`, at },
        deny: false,
        // An absent or empty list of peers is every peer; of ports, every port.
        peers: peers?.length ? peers.flatMap((peer) => peerOf(peer, namespace) ?? []) : null,
        ports: ports?.length ? ports.map(portOf) : null,
        authentication: null,
      })),
    ),
    unevaluated: [],
  };
}

const inNamespace = (namespace: string, selector: NetworkPolicy['podSelector'] | null): EndpointSelector => ({
  requirements: [requirement(DERIVED.namespace, 'In', namespace), ...(selector ? requirementsOf(selector) : [])],
  written: selector,
});

function peerOf({ at, podSelector, namespaceSelector, ipBlock }: NetworkPolicyPeer, namespace: string): Peer | null {
  if (ipBlock) {
    const cidr = parsePrefix(ipBlock.cidr.value);
    const except = ipBlock.except.map((hole) => parsePrefix(hole.value)).filter((hole) => hole !== null);
    return cidr && { kind: 'prefix', at, cidr, except, pods: true };
  }
  if (!namespaceSelector) return { kind: 'endpoints', at, selector: inNamespace(namespace, podSelector) };
  const requirements = [
    requirement(DERIVED.namespace, 'Exists'),
    ...requirementsOf(namespaceSelector, DERIVED.namespaceLabels),
    ...(podSelector ? requirementsOf(podSelector) : []),
  ];
  // Behind whichever of the two selectors ends last.
  const written = podSelector && podSelector.at.end > namespaceSelector.at.end ? podSelector : namespaceSelector;
  return { kind: 'endpoints', at, selector: { requirements, written } };
}

/** No port at all is every port of the protocol. */
function portOf({ at, protocol, port, endPort }: NetworkPolicyPort): PortMatch {
  const number = PROTOCOL_NUMBERS[protocol];
  if (port === null) return { at, protocol: number, port: EVERY_PORT, l7: null };
  const { value } = port;
  const numbers = typeof value === 'string' ? value : { first: value, last: endPort?.value ?? value };
  return { at: port.at, protocol: number, port: numbers, l7: null };
}
