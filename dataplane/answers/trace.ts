/** One packet, hop by hop, there and back: the dataplane's own records, told in words. */
import {
  CtDirection,
  CtStatus,
  DropReason,
  EventType,
  IPV4_LOOPBACK_WORD,
  MapId,
  Program,
  Step,
  VXLAN_PORT,
} from '../../assembly/abi.js';
import { LookupNotify, TraceNotify } from '../../pkg/structs.js';
import { formatAddress } from '../addresses.js';
import { SCHEMAS, type Presented } from '../loader/present.js';
import { PROTOCOL_NAMES, type Tuple } from '../packet.js';
import { MAP_NAMES, POINT_NAMES, PROGRAM_NAMES, reasonOf, type Reason } from '../reasons.js';
import type { State } from '../state.js';
import { decode, type Bytes } from '../wasm.js';
import { allowing, decidersOf, isolating, type Decider } from './decide.js';
import { askDns, clusterDns, DNS_PORT } from './dns.js';
import { whyDropped } from './hints.js';
import { identityName } from './identity-name.js';
import { readRequest } from './layer7.js';
import { originOf, type Origin } from './maps.js';
import { podAt, replyTo, runTraced, type Outcome } from './probe.js';
import { query, type Answer, type Question, type Verdict } from './query.js';

export interface TupleText {
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export interface Lookup {
  readonly map: string;
  readonly key: Presented;
  readonly value: Presented | null;
}

export interface Hop {
  readonly node: string | null;
  readonly program: string;
  readonly point: string | null;
  readonly action: string;
  readonly before: TupleText;
  readonly after: TupleText;
  readonly outer: TupleText | null;
  readonly lookups: readonly Lookup[];
  readonly identity: { readonly source: number; readonly destination: number };
  readonly text: string;
  readonly origin: readonly Origin[];
}

/** A frame as it was at an observation point; cut where the recording had no more room. */
export interface Capture {
  readonly node: string;
  readonly point: string;
  readonly frame: Uint8Array;
  readonly length: number;
}

export interface Trace {
  readonly schema: 'hopscope.trace/1';
  readonly verdict: Verdict;
  readonly direction: Answer['direction'];
  readonly reason: Reason | null;
  readonly deciders: readonly Decider[];
  readonly backend: Answer['backend'];
  readonly service: Answer['service'];
  readonly depends: readonly string[];
  readonly assumes: readonly string[];
  readonly hints: readonly string[];
  readonly forward: readonly Hop[];
  readonly reply: readonly Hop[] | null;
}

const ACTIONS: Readonly<Record<Step, string>> = {
  [Step.RECEIVE]: 'receive',
  [Step.LB]: 'lb',
  [Step.CT]: 'ct',
  [Step.POLICY]: 'policy',
  [Step.REVERSE_LB]: 'lb',
  [Step.ENCAP]: 'encap',
  [Step.DECAP]: 'decap',
  [Step.ROUTE]: 'route',
  [Step.DELIVER]: 'deliver',
  [Step.DROP]: 'drop',
  [Step.NAT]: 'nat',
  [Step.REVERSE_NAT]: 'nat',
};

/** Answers the question, then sends its telling packet once more with recording on, and the reply after it. */
export function trace(state: State, question: Question): Trace | { readonly error: string } {
  const traced = capture(state, question);
  return 'error' in traced ? traced : traced.trace;
}

/** The same, with the frames that were seen on the way. */
export function capture(
  state: State,
  question: Question,
): { readonly trace: Trace; readonly captures: readonly Capture[] } | { readonly error: string } {
  const answered = query(state, question);
  if ('error' in answered) return answered;
  const { verdict, direction, reason, deciders, backend, service, depends, assumes, hints } = answered.answer;
  const head = {
    schema: 'hopscope.trace/1',
    verdict,
    direction,
    reason,
    deciders,
    backend,
    service,
    depends,
    assumes,
    hints,
  } as const;
  const telling = answered.outcomes.find((outcome) => !outcome.allowed) ?? answered.outcomes[0];
  if (!telling) return { trace: { ...head, forward: [], reply: null }, captures: [] };
  const names = nameHops(state, question, telling);
  state.loader.current.flushConnections();
  const forward = runTraced(state, telling.probe);
  const back = replyTo(state, forward.outcome);
  const hops = hopsOf(state, forward.outcome, forward.events);
  if (telling.proxied.length > 0) {
    const whole = [...names, ...refusedByProxy(hops, telling, question)];
    return { trace: { ...head, forward: whole, reply: null }, captures: capturesOf(state, forward.events) };
  }
  const reply = back && runTraced(state, back, true);
  return {
    trace: {
      ...head,
      forward: [...names, ...hops],
      reply: reply && hopsOf(state, reply.outcome, reply.events),
    },
    captures: [...capturesOf(state, forward.events), ...(reply ? capturesOf(state, reply.events) : [])],
  };
}

/** The way of a request as far as the proxy that refuses it: the policy of the sender, or of the receiver, handed it over. */
function refusedByProxy(hops: readonly Hop[], { direction }: Outcome, { http }: Question): Hop[] {
  const isPolicy = ({ action }: Hop): boolean => action === 'policy';
  const last = direction === 'egress' ? hops.findIndex(isPolicy) : hops.findLastIndex(isPolicy);
  const way = hops.slice(0, last + 1);
  const at = way.at(-1);
  if (!at) return way;
  const asked = readRequest(http);
  const request = asked && !('error' in asked) ? `${asked.method} ${asked.host}${asked.path}` : 'the request';
  const text = `the proxy answers ${request} with 403: no rule lets it`;
  return [...way, { ...at, before: at.after, program: 'proxy', point: 'to-proxy', action: 'http', lookups: [], text }];
}

function capturesOf(state: State, events: readonly Uint8Array[]): Capture[] {
  return events.flatMap((event): Capture[] => {
    if (event[0] === EventType.LOOKUP) return [];
    const { node, point, captured, length } = decode(TraceNotify, event);
    const name = POINT_NAMES[point as keyof typeof POINT_NAMES];
    if (name === undefined) return [];
    const at = TraceNotify.size;
    return [
      {
        node: state.cluster.nodes.find(({ index }) => index === node)?.name ?? '',
        point: name,
        frame: event.slice(at, at + captured),
        length,
      },
    ];
  });
}

/** The datapath's loopback address, in host order as records are read. */
const LOOPBACK = new DataView(Uint32Array.of(IPV4_LOOPBACK_WORD).buffer).getUint32(0);

/** How the sender comes by the address of a name: it asks the cluster's DNS, by a packet that was run as well. */
function nameHops(state: State, { to }: Question, { probe }: Outcome): Hop[] {
  const name = to.startsWith('dns:') ? to.slice('dns:'.length) : null;
  const { sender, tuple } = probe;
  const dns = clusterDns(state);
  if (name === null || !dns || sender.kind !== 'pod' || tuple.destinationPort === DNS_PORT) return [];
  const asked = askDns(state, sender.pod);
  if (!asked?.allowed) return [];
  const question = textOfTuple(asked.probe.tuple);
  return [
    {
      node: sender.pod.node.name,
      program: 'dns',
      point: null,
      action: 'dns',
      before: question,
      after: question,
      outer: null,
      lookups: [],
      identity: { source: asked.sourceIdentity, destination: asked.destinationIdentity },
      text: `asks ${dns.name} for ${name}: ${formatAddress(tuple.destination)}`,
      origin: [],
    },
  ];
}

const textOfTuple = ({ source, destination, protocol, sourcePort, destinationPort }: Tuple): TupleText => ({
  source: formatAddress(source),
  destination: formatAddress(destination),
  protocol: protocolName(protocol),
  sourcePort,
  destinationPort,
});

type TraceRecord = { [Field in keyof TraceNotify]: TraceNotify[Field] };

/** A record with the look-ups that led to it. */
interface Recorded {
  readonly record: TraceRecord;
  readonly lookups: readonly {
    readonly map: keyof typeof SCHEMAS;
    readonly key: Bytes;
    readonly value: Bytes | null;
  }[];
}

function recordsOf(events: readonly Uint8Array[]): Recorded[] {
  const records: Recorded[] = [];
  let lookups: Recorded['lookups'][number][] = [];
  for (const event of events) {
    if (event[0] !== EventType.LOOKUP) {
      records.push({ record: decode(TraceNotify, event), lookups });
      lookups = [];
      continue;
    }
    const { map, keyLength, valueLength } = decode(LookupNotify, event);
    const at = LookupNotify.size;
    const key = String.fromCharCode(...event.subarray(at, at + keyLength));
    const value =
      valueLength === 0 ? null : String.fromCharCode(...event.subarray(at + keyLength, at + keyLength + valueLength));
    lookups.push({ map: map, key, value });
  }
  return records;
}

const protocolName = (protocol: number): string => PROTOCOL_NAMES[protocol] ?? `${protocol}`;

function tupleText({ saddr, daddr, protocol, sport, dport }: TraceRecord): TupleText {
  return {
    source: formatAddress(saddr),
    destination: formatAddress(daddr),
    protocol: protocolName(protocol),
    sourcePort: sport,
    destinationPort: dport,
  };
}

/** The tunnel's own tuple; null while the packet is in none. */
const outerText = ({ outerSaddr, outerDaddr, outerSport }: TraceRecord): TupleText | null =>
  outerDaddr === 0
    ? null
    : {
        source: formatAddress(outerSaddr),
        destination: formatAddress(outerDaddr),
        protocol: 'UDP',
        sourcePort: outerSport,
        destinationPort: VXLAN_PORT,
      };

function hopsOf(state: State, outcome: Outcome, events: readonly Uint8Array[]): Hop[] {
  const nodes = new Map(state.cluster.nodes.map((node) => [node.index, node.name]));
  let before: TupleText | null = null;
  return recordsOf(events).map((recorded): Hop => {
    const { record, lookups } = recorded;
    const after = tupleText(record);
    const hop: Hop = {
      node: nodes.get(record.node) ?? null,
      program: PROGRAM_NAMES[record.program as Program] ?? `${record.program}`,
      point: POINT_NAMES[record.point as keyof typeof POINT_NAMES] ?? null,
      action: ACTIONS[record.step as Step] ?? `${record.step}`,
      before: before ?? after,
      after,
      outer: outerText(record),
      lookups: lookups.map(({ map, key, value }) => ({
        map: MAP_NAMES[map],
        key: SCHEMAS[map].key(key),
        value: value === null ? null : SCHEMAS[map].value(value),
      })),
      identity: { source: record.sourceIdentity, destination: record.destinationIdentity },
      text: textOf(state, outcome, record),
      origin: originsOf(state, outcome, recorded),
    };
    before = after;
    return hop;
  });
}

/** Maps whose entries say where a packet goes or whether it may; of the others a hit tells nothing of the manifests. */
const TELLING: Readonly<Record<number, readonly MapId[]>> = {
  [Step.LB]: [MapId.LB4_SERVICES, MapId.LB4_BACKENDS],
  [Step.REVERSE_LB]: [MapId.LB4_REVERSE_NAT],
  [Step.POLICY]: [MapId.POLICY],
  [Step.ENCAP]: [MapId.IPCACHE],
  [Step.DELIVER]: [MapId.LXC],
  [Step.DROP]: [MapId.LB4_SERVICES],
};

function originsOf(state: State, outcome: Outcome, { record, lookups }: Recorded): Origin[] {
  if (record.step === Step.DROP || (record.step === Step.POLICY && record.info >>> 16 !== 0)) {
    const deciders = outcome.allowed ? [] : decidersOf(state, outcome);
    if (deciders.length > 0) return deciders.map(({ file, line, column }) => ({ file, line, column }));
  }
  const telling = TELLING[record.step] ?? [];
  const origins = lookups
    .filter(({ map, value }) => value !== null && telling.includes(map))
    .flatMap(({ map, key }) => originOf(state, map, key));
  return [...new Map(origins.map((origin) => [JSON.stringify(origin), origin])).values()];
}

/** Who an address is, in words. */
function nameOf(state: State, text: string, address: number): string {
  const pod = podAt(state, address);
  if (pod) return `${pod.namespace}/${pod.name}`;
  const node = state.cluster.nodes.find((candidate) => candidate.address === address);
  if (node) return `node ${node.name}`;
  const service = state.cluster.services.find((candidate) => candidate.clusterIP === address);
  return service ? `Service ${service.namespace}/${service.name}` : text;
}

function textOf(state: State, outcome: Outcome, record: TraceRecord): string {
  const { saddr, daddr, sport, dport, info } = record;
  const source = nameOf(state, formatAddress(saddr), saddr);
  const destination = nameOf(state, formatAddress(daddr), daddr);
  const node = state.cluster.nodes.find(({ index }) => index === record.node)?.name ?? 'the node';
  const traffic = `${protocolName(record.protocol)} ${dport}`;
  switch (record.step as Step) {
    case Step.RECEIVE:
      if (record.program === Program.FROM_NETDEV)
        return record.outerDaddr ? `the tunnel's packet arrives at ${node}` : `${source} arrives at ${node}`;
      return `${source} sends ${traffic} to ${destination}`;
    case Step.LB: {
      const { frontend, backend } = outcome;
      const count = frontend?.backends.length ?? 0;
      const service = frontend
        ? `Service ${frontend.service.namespace}/${frontend.service.name}:${frontend.port.source.port.value}`
        : 'the Service';
      const how = state.settings['loadBalancer.algorithm'] === 'maglev' ? 'Maglev' : 'a hash of the flow';
      const itself = saddr === LOOPBACK ? ', which is the sender itself' : '';
      return `${service} picks backend ${backend?.pod ? `${backend.pod.namespace}/${backend.pod.name} ` : ''}${formatAddress(daddr)}:${dport}${itself} (${how}, one of ${count})`;
    }
    case Step.REVERSE_LB:
      return `the source becomes the Service's address again: ${formatAddress(saddr)}:${sport}`;
    case Step.CT:
      return conntrackText(record.ctStatus, info, saddr === LOOPBACK || daddr === LOOPBACK);
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
      return record.program === Program.LXC_POLICY
        ? `delivered to ${destination}:${dport}`
        : `delivered to ${node} itself, port ${dport}`;
    case Step.NAT:
      return `leaves in the name of ${node}: the source becomes ${formatAddress(saddr)}:${sport}`;
    case Step.REVERSE_NAT:
      return `a reply to what ${node} sent in its own name: the destination becomes ${destination}:${dport} again`;
    case Step.DROP: {
      const { text, code } = reasonOf(info);
      const why = whyDropped(state, info, { destination: daddr, destinationPort: dport, protocol: record.protocol });
      return `dropped: ${text} (${code})${why ? `: ${why}` : ''}`;
    }
  }
}

function conntrackText(status: number, direction: CtDirection, itself: boolean): string {
  const side = direction === CtDirection.EGRESS ? "at the sender's egress" : "at the receiver's ingress";
  if (itself) return `a pod to itself through a Service, ${side}: no policy is asked`;
  if (status === CtStatus.REPLY) return `a reply to a known connection ${side}: no policy is asked`;
  return status === CtStatus.NEW ? `a new connection ${side}` : `an established connection ${side}`;
}

/** A policy as messages name it; one of the whole cluster has no namespace. */
const deciderName = ({ namespace, name }: Decider): string => `${namespace && `${namespace}/`}${name}`;

/** `info`: the match in the low byte, the direction in the next, a drop reason above. */
function policyText(
  state: State,
  outcome: Outcome,
  { info, sourceIdentity, destinationIdentity, protocol, dport }: TraceRecord,
): string {
  const egress = ((info >>> 8) & 0xff) === CtDirection.EGRESS;
  const direction = egress ? 'egress' : 'ingress';
  const peer = egress
    ? `to ${identityName(state, destinationIdentity)}`
    : `from ${identityName(state, sourceIdentity)}`;
  const { sender } = outcome.probe;
  const pod = egress ? (sender.kind === 'pod' ? sender.pod : null) : outcome.receiver;
  const isolatedBy = pod ? isolating(state, pod, direction) : [];
  const names = isolatedBy.map(deciderName).join(', ');
  const traffic = `${protocolName(protocol)} ${dport}`;
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
