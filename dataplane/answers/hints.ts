/** What a refusal means for these manifests, and what would have had to be there. */
import { DropReason } from '../../assembly/abi.js';
import { familyOf, formatAddress, UNSPECIFIED } from '../addresses.js';
import { namedPort, podBehind, type ClusterPod } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import type { Frontend } from '../loader/frontends.js';
import { lineOf } from '../manifests/place.js';
import { isIcmp, PROTOCOL_NAMES, trafficName, type Tuple } from '../packet.js';
import type { PolicymapEntry } from '../policy/mapstate.js';
import type { RuleOrigin } from '../policy/rules.js';
import { holds } from '../policy/tierstate.js';
import { isKubeProxy } from '../settings.js';
import { policyOf, type State } from '../state.js';
import { identityName } from './identity-name.js';
import { isUnallocated } from './kube-proxy.js';
import type { Outcome } from './probe.js';

/** Rules told of, at most. */
const MOST = 3;

/** One line for each thing that would have let the packet through, most telling first; none for a packet that passed. */
export function hintsOf(state: State, outcome: Outcome): string[] {
  const { reason, refusedBy } = outcome;
  if (refusedBy?.mesh) return [refusedBy.mesh.text];
  if (!reason || refusedBy) return [];
  const addressless = withoutSource(outcome);
  if (addressless !== null) return [addressless];
  if (reason.code === DropReason.POLICY) return nearMisses(state, outcome);
  if (reason.code === DropReason.POLICY_AUTH_REQUIRED) return ['both ends must have authenticated to each other'];
  const why = whyDropped(state, reason.code, outcome.tuple);
  return why === null ? [] : [why];
}

/** A frontend in words. */
export function frontendName({ cluster }: State, { service, port }: Frontend): string {
  const number = port.source.port.value;
  const pod = podBehind(cluster, port.endpoints[0] ?? null);
  return service
    ? `Service ${service.namespace}/${service.name}:${number}`
    : `hostPort ${number} of ${pod ? `${pod.namespace}/${pod.name}` : 'a pod'}`;
}

/** Who sent from no address, since it has none of the destination's family; null for a packet with a source. */
function withoutSource({ probe: { sender, tuple } }: Outcome): string | null {
  const family = familyOf(tuple.source);
  if (tuple.source !== UNSPECIFIED[family]) return null;
  const name =
    sender.kind === 'pod'
      ? `pod ${sender.pod.namespace}/${sender.pod.name}`
      : sender.kind === 'host'
        ? `node ${sender.node.name}`
        : null;
  return name && `${name} has no ${family} address`;
}

/** Why a drop that no policy made was made, where the reason's own text does not say. */
export function whyDropped(
  state: State,
  reason: number,
  tuple: Pick<Tuple, 'destination' | 'destinationPort' | 'protocol'>,
): string | null {
  const { destination, destinationPort, protocol } = tuple;
  if (reason === DropReason.DSR_ENCAP_UNSUPP_PROTO)
    return 'IP in IP carries what the client sent as it came: the port of the Service must be that of its pods';
  if (reason === DropReason.NO_FIB) return `the node of ${formatAddress(destination)} has no address of its family`;
  if (reason === DropReason.UNENCRYPTED_TRAFFIC)
    return `${formatAddress(destination)} lies in encryption.strictCIDR ${state.settings['encryption.strictCIDR']}, and no node is known that it could be encrypted for`;
  const frontends = state.desired.frontends.filter(({ address }) => address === destination);
  const service = frontends.find((one) => one.service)?.service;
  if (!service) {
    const unallocated = isUnallocated(state, destination);
    return unallocated ? 'kube-proxy drops it: no Service has this address of their range' : null;
  }
  const name = `Service ${service.namespace}/${service.name}`;
  const asked = trafficName(protocol, destinationPort);
  const drops = isKubeProxy(state.settings) ? 'kube-proxy drops it: ' : '';
  const rejects = isKubeProxy(state.settings) ? 'kube-proxy rejects it: ' : '';
  switch (reason as DropReason) {
    case DropReason.IS_CLUSTER_IP:
      return `${name} has an address for the cluster only`;
    case DropReason.NOT_IN_SRC_RANGE: {
      const { loadBalancerSourceRanges, cilium } = service.source;
      const ranges = loadBalancerSourceRanges.map(({ value }) => value).join(', ');
      const denies = cilium.sourceRangesPolicy === 'deny' && !isKubeProxy(state.settings);
      return denies ? `${name} refuses clients from ${ranges}` : `${drops}${name} takes clients from ${ranges} only`;
    }
    case DropReason.NO_SERVICE:
    case DropReason.LB_NO_BACKEND:
    case DropReason.LB_NO_BACKEND_SLOT:
      break;
    default:
      return null;
  }
  const listening = frontends.filter(({ number, protocol: own }) => number === destinationPort && own === protocol);
  if (listening.length === 0) {
    const ports = new Set(frontends.map(({ number, protocol: own }) => trafficName(own, number)));
    const open = [...ports].join(', ');
    return isIcmp(protocol)
      ? `${name} answers ${open}, and no ICMP`
      : `${rejects}${name} has no port ${asked}, only ${open}`;
  }
  if (listening.some(({ backends }) => backends.length > 0))
    return `${drops}${name} keeps its clients to the endpoints of their node, and this node has none`;
  if (service.source.selector && service.selected.length === 0)
    return `${rejects}the selector of ${name} matches no pod`;
  const [{ port } = { port: null }] = listening;
  const target = port?.source.targetPort?.value;
  const hasName =
    typeof target !== 'string' || service.selected.some(({ spec }) => namedPort(spec, target, port!.source.protocol));
  return service.source.selector === null || hasName
    ? `${rejects}${name} has no endpoint that is ready`
    : `${rejects}no pod of ${name} has a port named ${target} (${port!.source.protocol})`;
}

/** Rules that nearly let the packet: those that know the peer but not the port, then those that know the port but not the peer. */
function nearMisses(state: State, outcome: Outcome): string[] {
  const { direction, probe, receiver, tuple } = outcome;
  const egress = direction === 'egress';
  const pod: ClusterPod | null = egress ? (probe.sender.kind === 'pod' ? probe.sender.pod : null) : receiver;
  const policy = pod && policyOf(state, pod);
  if (!policy) return [];
  const identity = egress ? outcome.destinationIdentity : outcome.sourceIdentity;
  const peer = identityName(state, identity);
  const traffic = trafficName(tuple.protocol, tuple.destinationPort);
  const verb = egress ? 'out to' : 'in from';
  const [known, open] = [new Map<RuleOrigin, PolicymapEntry[]>(), new Set<RuleOrigin>()];
  const asked = { protocol: tuple.protocol, port: tuple.destinationPort, length: FULL_LENGTH };
  for (const entry of policy.entries) {
    if (entry.egress !== egress || entry.deny) continue;
    for (const { origin: rule } of entry.grants) {
      if (entry.identity === identity || entry.identity === 0) known.set(rule, [...(known.get(rule) ?? []), entry]);
      if (holds(entry, asked)) open.add(rule);
    }
  }
  const rules = new Set(policy.applied.flatMap((one) => one.rules.map(({ origin }) => origin)));
  const lines = [...rules].flatMap((rule) => {
    const entries = known.get(rule);
    const verb = egress ? 'be reached' : 'in';
    return entries ? `${ruleText(rule)} lets ${peer} ${verb}, but on ${portsOf(entries)}, not on ${traffic}` : [];
  });
  for (const rule of rules)
    if (open.has(rule) && !known.has(rule))
      lines.push(`${ruleText(rule)} lets ${traffic} ${verb} others, but not ${egress ? 'to' : 'from'} ${peer}`);
  return lines.slice(0, MOST);
}

/** Bits of protocol and port, and of the protocol alone. */
const FULL_LENGTH = 24;
const PROTOCOL_LENGTH = 8;

function ruleText({ namespace, name, rule, at }: RuleOrigin): string {
  return `${namespace && `${namespace}/`}${name} ${rule} (${lineOf(at)})`;
}

/** `TCP 80, TCP 8080-8090`: prefixes that touch are one range again. */
function portsOf(entries: readonly PolicymapEntry[]): string {
  const ranges = entries
    .filter(({ protocol, length }) => length === 0 || (length >= PROTOCOL_LENGTH && protocol in PROTOCOL_NAMES))
    .map(({ protocol, port, length }) => ({
      protocol,
      first: port,
      last: port + 2 ** (FULL_LENGTH - Math.max(length, PROTOCOL_LENGTH)) - 1,
    }))
    .sort((a, b) => a.protocol - b.protocol || a.first - b.first);
  const merged: typeof ranges = [];
  for (const range of ranges) {
    const before = merged.at(-1);
    if (before && before.protocol === range.protocol && before.last + 1 >= range.first)
      before.last = Math.max(before.last, range.last);
    else merged.push({ ...range });
  }
  const texts = merged.map(({ protocol, first, last }) => {
    const name = PROTOCOL_NAMES[protocol] ?? `${protocol}`;
    const from = isIcmp(protocol) ? first : Math.max(first, 1);
    return last - first >= 65535 ? name : from === last ? `${name} ${last}` : `${name} ${from}-${last}`;
  });
  return [...new Set(texts)].sort(compare).join(', ');
}
