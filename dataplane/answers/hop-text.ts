/** Each step of the datapath in plain words: what happened and why. */
import {
  CtDirection,
  CtStatus,
  DropReason,
  DsrDispatch,
  IPV4_LOOPBACK_WORD,
  IpProto,
  KeptSource,
  Program,
  Step,
} from '../../assembly/abi.js';
import { formatAddress, formatEndpoint, type Address } from '../addresses.js';
import { algorithmOf } from '../loader/entries.js';
import { tunnelOf } from '../loader/modes.js';
import { isIcmp, trafficName } from '../packet.js';
import { reasonOf } from '../reasons.js';
import type { State } from '../state.js';
import { allowing, decidersOf, isolating, type Decider } from './decide.js';
import { frontendName, whyDropped } from './hints.js';
import { identityName } from './identity-name.js';
import { nodeAt, podAt, type Outcome } from './probe.js';
import { tupleIn, type TraceRecord } from './records.js';

/** The datapath's loopback addresses, one a family. */
const LOOPBACKS: ReadonlySet<Address> = new Set([
  new DataView(Uint32Array.of(IPV4_LOOPBACK_WORD).buffer).getUint32(0),
  (0xfe80n << 112n) | 1n,
]);

/** Who an address is, in words. */
function nameOf(state: State, text: string, address: Address): string {
  const pod = podAt(state, address);
  if (pod) return `${pod.namespace}/${pod.name}`;
  const node = nodeAt(state, address);
  if (node) return `node ${node.name}`;
  const service = state.cluster.services.find((candidate) => candidate.clusterIPs.includes(address));
  return service ? `Service ${service.namespace}/${service.name}` : text;
}

/** An address and a port, or of an echo its identifier, which source NAT treats as one. */
const placeOf = (address: Address, port: number, protocol: number): string =>
  isIcmp(protocol) ? `${formatAddress(address)}, echo ${port}` : formatEndpoint(address, port);

export function hopText(state: State, outcome: Outcome, record: TraceRecord): string {
  const { saddr, daddr, dport, info, protocol } = record;
  const tuple = tupleIn(record);
  const source = nameOf(state, formatAddress(saddr), saddr);
  const destination = nameOf(state, formatAddress(daddr), daddr);
  const node = state.cluster.nodes.find(({ index }) => index === record.node)?.name ?? 'the node';
  const traffic = trafficName(protocol, tuple.destinationPort);
  const from = placeOf(saddr, tuple.sourcePort, protocol);
  const to = placeOf(daddr, dport, protocol);
  const isNamed = destination !== formatAddress(daddr);
  const receiver = isIcmp(protocol) ? destination : isNamed ? `${destination}:${dport}` : formatEndpoint(daddr, dport);
  switch (record.step as Step) {
    case Step.RECEIVE:
      if (protocol === IpProto.IPIP || protocol === IpProto.IPV6)
        return `a packet in an IP header of ${source}'s arrives at ${node}, for ${destination}`;
      if (record.program === Program.FROM_NETDEV)
        return record.outerDaddr ? `the tunnel's packet arrives at ${node}` : `${source} arrives at ${node}`;
      return `${source} sends ${traffic} to ${destination}`;
    case Step.LB: {
      const { frontend, backend } = outcome;
      const count = frontend?.backends.length ?? 0;
      const service = frontend ? frontendName(frontend) : 'the Service';
      const how = frontend && algorithmOf(frontend, state.settings) === 'maglev' ? 'Maglev' : 'a hash of the flow';
      const itself = LOOPBACKS.has(saddr) ? ', which is the sender itself' : '';
      return `${service} picks backend ${backend?.pod ? `${backend.pod.namespace}/${backend.pod.name} ` : ''}${to}${itself} (${how}, one of ${count})`;
    }
    case Step.REVERSE_LB:
      return `the source becomes the Service's address again: ${from}`;
    case Step.CT:
      return conntrackText(record.ctStatus, info, LOOPBACKS.has(saddr) || LOOPBACKS.has(daddr));
    case Step.POLICY:
      return policyText(state, outcome, record);
    case Step.ENCAP:
      return `into the ${tunnelOf(state.settings).name} tunnel from ${formatAddress(record.outerSaddr)} to ${nameOf(state, formatAddress(record.outerDaddr), record.outerDaddr)} (${formatAddress(record.outerDaddr)}), VNI ${info}: the identity of ${identityName(state, info)}`;
    case Step.DECAP:
      return `out of the tunnel at ${node}: VNI ${info} is the identity of ${identityName(state, info)}`;
    case Step.ROUTE:
      if (record.program === Program.TO_NETDEV) return `leaves ${node} by its network device${keptText(state, record)}`;
      // What the network carries as it is has the number of the node that it goes to.
      if (info !== 0)
        return `routed by ${node} to node ${nodeNamed(state, info)} as it is: the network knows the way to pods' addresses`;
      return state.cluster.nodes.some(({ addresses }) => addresses.includes(daddr))
        ? `routed by ${node} to ${destination}`
        : `not an address of the cluster: routed out by ${node}`;
    case Step.DELIVER:
      return record.program === Program.LXC_POLICY
        ? `delivered to ${receiver}`
        : `delivered to ${node} itself, ${traffic}`;
    case Step.NAT:
      return `leaves in the name of ${node}: the source becomes ${from}`;
    case Step.REVERSE_NAT:
      return `a reply to what ${node} sent in its own name: the destination becomes ${receiver} again`;
    case Step.DSR:
      return dsrText(outcome, info, node);
    case Step.IPIP:
      return info >= RECEIVED
        ? `out of the IP header: what the client sent is as it came, for ${to}`
        : `direct server return: what the client sent goes as it came, in an IP header of ${node}'s from ${formatAddress(saddr)} to the backend ${formatAddress(daddr)}, which answers the client itself`;
    case Step.DROP: {
      const { text, code } = reasonOf(info);
      const why = whyDropped(state, info, tuple);
      return `dropped: ${text} (${code})${why ? `: ${why}` : ''}`;
    }
  }
}

const nodeNamed = (state: State, number: number): string =>
  state.cluster.nodes.find(({ index }) => index === number)?.name ?? `${number}`;

/** Why a pod keeps its address on the way out, where it might have been its node's. */
function keptText(state: State, { info, saddr, daddr }: TraceRecord): string {
  if (podAt(state, saddr) === null) return '';
  const to = formatAddress(daddr);
  switch (info as KeptSource) {
    case KeptSource.NATIVE_CIDR:
      return `; the pod keeps its address: ${to} lies in nativeRoutingCIDR ${state.settings.nativeRoutingCIDR}`;
    case KeptSource.IP_MASQ_AGENT:
      return `; the pod keeps its address: ip-masq-agent says so of ${to}`;
    case KeptSource.NODE:
      return '; the pod keeps its address: the network knows the way back to it';
    case KeptSource.POD:
    case KeptSource.NOT:
      return '';
  }
}

/** As the datapath adds it to the dispatch: the Service was learnt, not told. */
const RECEIVED = 256;

const CARRIERS: Readonly<Record<DsrDispatch, string>> = {
  [DsrDispatch.OPT]: 'an option in the IP header',
  [DsrDispatch.GENEVE]: "an option in the tunnel's header",
  [DsrDispatch.IPIP]: 'the packet itself',
};

function dsrText({ frontend }: Outcome, info: number, node: string): string {
  const carrier = CARRIERS[(info % RECEIVED) as DsrDispatch];
  const service = frontend ? formatEndpoint(frontend.address, frontend.number) : 'the Service';
  return info >= RECEIVED
    ? `${carrier} told ${node} that ${service} was asked: replies go straight to the client with that as their source`
    : `direct server return: the client keeps its address, and ${carrier} tells the backend's node that ${service} was asked`;
}

function conntrackText(status: number, direction: CtDirection, itself: boolean): string {
  const side = direction === CtDirection.EGRESS ? "at the sender's egress" : "at the receiver's ingress";
  if (itself) return `a pod to itself through a Service, ${side}: no policy is asked`;
  if (status === CtStatus.RELATED) return `an error about a known connection ${side}: no policy is asked`;
  if (status === CtStatus.REPLY) return `a reply to a known connection ${side}: no policy is asked`;
  return status === CtStatus.NEW ? `a new connection ${side}` : `an established connection ${side}`;
}

/** A policy as messages name it; one of the whole cluster has no namespace. */
const deciderName = ({ namespace, name }: Decider): string => `${namespace && `${namespace}/`}${name}`;

/** `info`: the match in the low byte, the direction in the next, a drop reason above. */
function policyText(state: State, outcome: Outcome, record: TraceRecord): string {
  const { info, sourceIdentity, destinationIdentity, protocol } = record;
  const egress = ((info >>> 8) & 0xff) === CtDirection.EGRESS;
  const direction = egress ? 'egress' : 'ingress';
  const peer = egress
    ? `to ${identityName(state, destinationIdentity)}`
    : `from ${identityName(state, sourceIdentity)}`;
  const { sender } = outcome.probe;
  const pod = egress ? (sender.kind === 'pod' ? sender.pod : null) : outcome.receiver;
  const isolatedBy = pod ? isolating(state, pod, direction) : [];
  const names = isolatedBy.map(deciderName).join(', ');
  const traffic = trafficName(protocol, tupleIn(record).destinationPort);
  const reason = info >>> 16;
  if (reason === DropReason.POLICY_DENY) {
    const rules = decidersOf(state, outcome).map((rule) => `${deciderName(rule)} ${rule.rule}`);
    return `${direction} refused: ${rules.join(', ') || 'a rule'} denies ${traffic} ${peer}`;
  }
  if (reason !== 0)
    return `${direction} refused: ${names || 'a policy'} isolate${isolatedBy.length === 1 ? 's' : ''} the pod, and no rule lets ${traffic} ${peer} through`;
  if (isolatedBy.length === 0) return `${direction} allowed: no policy isolates the pod`;
  const rules = allowing(state, outcome, direction).map((rule) => `${deciderName(rule)} ${rule.rule}`);
  return rules.length > 0
    ? `${direction} allowed by ${rules.join(', ')}`
    : `${direction} allowed: a pod's own node always reaches it`;
}
