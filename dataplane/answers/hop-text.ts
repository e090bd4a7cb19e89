/** Each step of the datapath in plain words: what happened and why. */
import {
  CtDirection,
  CtStatus,
  DropReason,
  DsrDispatch,
  IPV4_LOOPBACK_WORD,
  IpProto,
  KeptSource,
  PolicyMatch,
  Program,
  Step,
  WIREGUARD_PORT,
  XlatePoint,
} from '../../assembly/abi.js';
import { formatAddress, formatEndpoint, type Address } from '../addresses.js';
import { podBehind } from '../cluster/cluster.js';
import { algorithmOf } from '../loader/entries.js';
import { tunnelOf } from '../loader/modes.js';
import type { L7Rules } from '../manifests/cilium.js';
import { isIcmp, trafficName } from '../packet.js';
import type { Direction } from '../policy/rules.js';
import { reasonOf } from '../reasons.js';
import type { State } from '../state.js';
import { allowing, denying, isolating, type Decider } from './decide.js';
import { frontendName, whyDropped } from './hints.js';
import { identityName } from './identity-name.js';
import type { Request } from './layer7.js';
import { nodeAt, podAt } from './at.js';
import { type Outcome } from './probe.js';
import type { Ruling } from './proxy.js';
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
      if (protocol === IpProto.IPIP || protocol === IpProto.IPV6)
        return `a packet in an IP header of ${source}'s arrives at ${node}, for ${destination}`;
      if (record.program === Program.FROM_NETDEV && protocol === (IpProto.UDP as number) && dport === WIREGUARD_PORT)
        return `WireGuard's message arrives at ${node}`;
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
      if (record.program === Program.SOCK_CONNECT) return `${destination} speaks to itself: no packet leaves it`;
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
    case Step.ENCRYPT:
      return `encrypted by WireGuard, in a message from ${formatAddress(record.outerSaddr)} to ${nameOf(state, formatAddress(record.outerDaddr), record.outerDaddr)} (${formatAddress(record.outerDaddr)}), UDP ${WIREGUARD_PORT}`;
    case Step.DECRYPT:
      return `decrypted by WireGuard at ${node}`;
    case Step.PACE:
      return paceText(state, record);
    case Step.DROP: {
      const { text, code } = reasonOf(info);
      const why = whyDropped(state, info, tuple);
      const what = record.program === Program.SOCK_CONNECT ? 'the connection fails' : 'dropped';
      return `${what}: ${text} (${code})${why ? `: ${why}` : ''}`;
    }
  }
}

const nodeNamed = (state: State, number: number): string =>
  state.cluster.nodes.find(({ index }) => index === number)?.name ?? `${number}`;

/** When a pod's packet leaves its node, by the bandwidth that the pod may take. */
function paceText(state: State, { info, endpoint }: TraceRecord): string {
  const { namespace, name, spec } = state.desired.endpointIds.podOf(endpoint)!;
  const rate = spec.egressBandwidth!.value.toLocaleString('en');
  return `${namespace}/${name} may send ${rate} bit/s: it leaves ${info === 0 ? 'at once' : `after ${info} µs`}`;
}

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

/** Which backend a Service picks, and how. */
function pickText(state: State, { frontend, backend }: Outcome, to: string, itself: boolean): string {
  const count = frontend?.backends.length ?? 0;
  const service = frontend ? frontendName(state, frontend) : 'the Service';
  const how = frontend && algorithmOf(frontend, state.settings) === 'maglev' ? 'Maglev' : 'a hash of the flow';
  const sender = itself ? ', which is the sender itself' : '';
  const pod = podBehind(state.cluster, backend);
  return `${service} picks backend ${pod ? `${pod.namespace}/${pod.name} ` : ''}${to}${sender} (${how}, one of ${count})`;
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

const ruleName = (rule: Decider): string => `${deciderName(rule)} ${rule.rule}`;

function policyText(state: State, outcome: Outcome, record: TraceRecord): string {
  const { sourceIdentity, destinationIdentity, protocol, endpoint } = record;
  const { direction, reason, audited, match } = decidedIn(record)!;
  const peer =
    direction === 'egress'
      ? `to ${identityName(state, destinationIdentity)}`
      : `from ${identityName(state, sourceIdentity)}`;
  const traffic = `${trafficName(protocol, tupleIn(record).destinationPort)} ${peer}`;
  const subject = endpoint === 0 ? 'the node' : 'the pod';
  if (reason !== 0) {
    const why = refusalText(state, outcome, direction, reason, traffic, subject);
    return audited
      ? `${direction} would be refused: ${why}: policies are only tried out, and it passes`
      : `${direction} refused: ${why}`;
  }
  if (match === PolicyMatch.NONE) return `${direction} allowed: an error that says a packet is too large always passes`;
  if (isolating(state, outcome, direction).length === 0) return `${direction} allowed: no policy isolates ${subject}`;
  const rules = allowing(state, outcome, direction).map(ruleName);
  return rules.length > 0
    ? `${direction} allowed by ${rules.join(', ')}`
    : `${direction} allowed: a pod's own node always reaches it`;
}

/** Why a policy refuses a packet. */
function refusalText(
  state: State,
  outcome: Outcome,
  direction: Direction,
  reason: number,
  traffic: string,
  subject: string,
): string {
  switch (reason as DropReason) {
    case DropReason.POLICY_AUTH_REQUIRED:
      return 'both ends must have authenticated, and have not';
    case DropReason.POLICY_DENY:
      return `${denying(state, outcome, direction).map(ruleName).join(', ') || 'a rule'} denies ${traffic}`;
    default: {
      const isolatedBy = isolating(state, outcome, direction).map(deciderName);
      const names = `${isolatedBy.join(', ') || 'a policy'} isolate${isolatedBy.length === 1 ? 's' : ''}`;
      return `${names} ${subject}, and no rule lets ${traffic} through`;
    }
  }
}

/** What a proxy says of the request that it was handed. */
export function rulingText(fate: Ruling['fate'], kind: L7Rules['kind'], { http, name }: Request): string {
  const request = http ? `${http.method} ${http.host}${http.path}` : 'the request';
  const asked = name ?? 'the name';
  switch (fate) {
    case 'let':
      return kind === 'http' ? `the proxy lets ${request}` : `the DNS proxy lets ${asked} be asked for`;
    case 'refused':
      return kind === 'http'
        ? `the proxy answers ${request} with 403: no rule lets it`
        : `the DNS proxy refuses to ask for ${asked}: no rule lets it`;
    case 'unread':
      return `what the proxy says of ${request} cannot be read from here`;
    case 'untold':
      return `the proxy lets some: ${kind === 'http' ? 'which request it is' : 'which name is asked for'} was not told`;
  }
}
