/** Each step of the datapath in plain words: what happened and why. */
import {
  CtDirection,
  CtStatus,
  DropReason,
  IPV4_LOOPBACK_WORD,
  IpProto,
  PolicyMatch,
  Program,
  Step,
  XlatePoint,
} from '../../assembly/abi.js';
import { formatAddress, formatEndpoint, type Address } from '../addresses.js';
import { algorithmOf } from '../loader/entries.js';
import { isIcmp, trafficName } from '../packet.js';
import type { Direction } from '../policy/rules.js';
import { reasonOf } from '../reasons.js';
import type { State } from '../state.js';
import { allowing, decidersOf, isolating, type Decider } from './decide.js';
import { frontendName, whyDropped } from './hints.js';
import { identityName } from './identity-name.js';
import { nodeAt, podAt, type Outcome } from './probe.js';
import { decidedIn, tupleIn, type TraceRecord } from './records.js';

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
      if (record.program === Program.FROM_NETDEV)
        return record.outerDaddr ? `the tunnel's packet arrives at ${node}` : `${source} arrives at ${node}`;
      if (record.program === Program.FROM_PROXY)
        return `the proxy of ${node} goes on for ${identityName(state, record.sourceIdentity)}: ${traffic} to ${destination}`;
      return `${source} sends ${traffic} to ${destination}`;
    case Step.SOCK:
      return socketText(state, outcome, record);
    case Step.PROXY:
      return info === 0
        ? `a reply to the proxy of ${node}, whose connection this is`
        : `handed to the proxy of ${node} at port ${info}`;
    case Step.LB:
      return pickText(state, outcome, to, LOOPBACKS.has(saddr));
    case Step.REVERSE_LB:
      return `the source becomes the Service's address again: ${from}`;
    case Step.CT:
      return conntrackText(record.ctStatus, info, LOOPBACKS.has(saddr) || LOOPBACKS.has(daddr));
    case Step.POLICY:
      return policyText(state, outcome, record);
    case Step.ENCAP:
      return `into the VXLAN tunnel from ${formatAddress(record.outerSaddr)} to ${nameOf(state, formatAddress(record.outerDaddr), record.outerDaddr)} (${formatAddress(record.outerDaddr)}), VNI ${info}: the identity of ${identityName(state, info)}`;
    case Step.DECAP:
      return `out of the tunnel at ${node}: VNI ${info} is the identity of ${identityName(state, info)}`;
    case Step.ROUTE:
      if (record.program === Program.TO_NETDEV) return `leaves ${node} by its network device`;
      return `not an address of the cluster: routed out by ${node}`;
    case Step.DELIVER:
      if (record.program === Program.SOCK_CONNECT) return `${destination} speaks to itself: no packet leaves it`;
      return record.program === Program.LXC_POLICY
        ? `delivered to ${receiver}`
        : `delivered to ${node} itself, ${traffic}`;
    case Step.NAT:
      return `leaves in the name of ${node}: the source becomes ${from}`;
    case Step.REVERSE_NAT:
      return `a reply to what ${node} sent in its own name: the destination becomes ${receiver} again`;
    case Step.DROP: {
      const { text, code } = reasonOf(info);
      const why = whyDropped(state, info, tuple);
      const what = record.program === Program.SOCK_CONNECT ? 'the connection fails' : 'dropped';
      return `${what}: ${text} (${code})${why ? `: ${why}` : ''}`;
    }
  }
}

/** Which backend a Service picks, and how. */
function pickText(state: State, { frontend, backend }: Outcome, to: string, itself: boolean): string {
  const count = frontend?.backends.length ?? 0;
  const service = frontend ? frontendName(frontend) : 'the Service';
  const how = frontend && algorithmOf(frontend, state.settings) === 'maglev' ? 'Maglev' : 'a hash of the flow';
  const sender = itself ? ', which is the sender itself' : '';
  return `${service} picks backend ${backend?.pod ? `${backend.pod.namespace}/${backend.pod.name} ` : ''}${to}${sender} (${how}, one of ${count})`;
}

/** What a socket is given in the place of a Service's address, and the other way round. */
function socketText(
  state: State,
  outcome: Outcome,
  { point, saddr, daddr, sport, dport, protocol }: TraceRecord,
): string {
  const sender = nameOf(state, formatAddress(saddr), saddr);
  const receiver = nameOf(state, formatAddress(daddr), daddr);
  switch (point as XlatePoint) {
    case XlatePoint.PRE_DIRECTION_FWD:
      return `${sender} ${protocol === (IpProto.UDP as number) ? 'sends' : 'connects'} to ${receiver}, ${trafficName(protocol, dport)}`;
    case XlatePoint.POST_DIRECTION_FWD:
      return `${pickText(state, outcome, formatEndpoint(daddr, dport), saddr === daddr)}: the socket speaks to it, and no packet to the Service`;
    case XlatePoint.PRE_DIRECTION_REV:
      return `the socket of ${receiver} has heard from ${sender}, ${formatEndpoint(saddr, sport)}`;
    case XlatePoint.POST_DIRECTION_REV:
      return `it is told the Service's address in its place: ${formatEndpoint(saddr, sport)}`;
  }
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

function policyText(state: State, outcome: Outcome, record: TraceRecord): string {
  const { sourceIdentity, destinationIdentity, protocol, endpoint } = record;
  const { direction, reason, audited, match } = decidedIn(record)!;
  const egress = direction === 'egress';
  const peer = egress
    ? `to ${identityName(state, destinationIdentity)}`
    : `from ${identityName(state, sourceIdentity)}`;
  const traffic = trafficName(protocol, tupleIn(record).destinationPort);
  if (endpoint === 0) return hostPolicyText(direction, `${traffic} ${peer}`, reason, audited);
  const pod = state.podsByEndpoint.get(endpoint) ?? null;
  const isolatedBy = pod ? isolating(state, pod, direction) : [];
  const names = isolatedBy.map(deciderName).join(', ');
  if (reason !== 0) {
    const refused = `${direction} ${audited ? 'would be ' : ''}refused`;
    const passes = audited ? ': policies are only tried out, and it passes' : '';
    if (reason === DropReason.POLICY_AUTH_REQUIRED)
      return `${refused}: both ends must have authenticated, and have not${passes}`;
    if (reason === DropReason.POLICY_DENY) {
      const asRefused = { ...outcome, allowed: false, direction, reason: reasonOf(reason) };
      const rules = decidersOf(state, asRefused).map((rule) => `${deciderName(rule)} ${rule.rule}`);
      return `${refused}: ${rules.join(', ') || 'a rule'} denies ${traffic} ${peer}${passes}`;
    }
    return `${refused}: ${names || 'a policy'} isolate${isolatedBy.length === 1 ? 's' : ''} the pod, and no rule lets ${traffic} ${peer} through${passes}`;
  }
  if (match === PolicyMatch.NONE) return `${direction} allowed: an error that says a packet is too large always passes`;
  if (isolatedBy.length === 0) return `${direction} allowed: no policy isolates the pod`;
  const rules = allowing(state, outcome, direction).map((rule) => `${deciderName(rule)} ${rule.rule}`);
  return rules.length > 0
    ? `${direction} allowed by ${rules.join(', ')}`
    : `${direction} allowed: a pod's own node always reaches it`;
}

/** What the firewall of a node says. */
function hostPolicyText(direction: Direction, traffic: string, reason: number, audited: boolean): string {
  if (reason === 0) return `${direction} allowed by the policy of the node`;
  const passes = audited ? ': policies are only tried out, and it passes' : '';
  return `${direction} ${audited ? 'would be ' : ''}refused: no rule of the node's own policy lets ${traffic} through${passes}`;
}
