/** One packet, hop by hop, there and back: the dataplane's own records, told in words. */
import { EventType, Family, MapId, Step } from '../../assembly/abi.js';
import { TraceNotify } from '../../pkg/structs.js';
import { formatAddress } from '../addresses.js';
import { pairOf } from '../loader/families.js';
import { tunnelOf } from '../loader/modes.js';
import { SCHEMAS, type Presented } from '../loader/present.js';
import { MAP_NAMES, POINT_NAMES, PROGRAM_NAMES, XLATE_NAMES, type Reason } from '../reasons.js';
import type { State } from '../state.js';
import { decode } from '../wasm.js';
import { count } from '../words.js';
import { decidersOf, type Decider } from './decide.js';
import { askDns, clusterDns, DNS_PORT } from './dns.js';
import { hopText, rulingText } from './hop-text.js';
import { deciding, readRequest, UNTOLD, type Request } from './layer7.js';
import { originAt, originOf, type Origin } from './maps.js';
import type { ClusterNode } from '../cluster/cluster.js';
import type { Through } from './ingress/through.js';
import { replyTo, runTraced, type Outcome, type Probe, type Recording } from './probe.js';
import type { MeshRuling, Ruled } from './proxy.js';
import { query, type Answer, type Question, type Verdict } from './query.js';
import {
  decidedIn,
  outerText,
  recordsOf,
  textOfTuple,
  tupleText,
  type Recorded,
  type TraceRecord,
  type TupleText,
} from './records.js';

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
  readonly http: Answer['http'];
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
  [Step.DSR]: 'dsr',
  [Step.IPIP]: 'encap',
  [Step.ENCRYPT]: 'encrypt',
  [Step.DECRYPT]: 'decrypt',
  [Step.PACE]: 'pace',
  [Step.SOCK]: 'lb',
  [Step.PROXY]: 'proxy',
};

/** Answers the question, then sends its telling packet once more with recording on, and the reply after it. */
export function trace(state: State, question: Question): Trace | { readonly error: string } {
  const traced = capture(state, question);
  return 'error' in traced ? traced : traced.trace;
}

/** A trace with what it was told from: all that the datapath recorded, the packet there first. */
export interface Captured {
  readonly trace: Trace;
  /** The frames that were seen on the way. */
  readonly captures: readonly Capture[];
  readonly recordings: readonly Recording[];
}

export function capture(state: State, question: Question): Captured | { readonly error: string } {
  const answered = query(state, question);
  if ('error' in answered) return answered;
  const { verdict, direction, reason, deciders, backend, service, http, depends, assumes, hints } = answered.answer;
  const head = {
    schema: 'hopscope.trace/1',
    verdict,
    direction,
    reason,
    deciders,
    backend,
    service,
    http,
    depends,
    assumes,
    hints,
  } as const;
  const telling = answered.outcomes.find((outcome) => !outcome.allowed) ?? answered.outcomes[0];
  if (answered.through) return captureThrough(state, question, head, answered.through, telling ?? null);
  if (!telling) return { trace: { ...head, forward: [], reply: null }, captures: [], recordings: [] };
  state.loader.current.flushConnections();
  const leg = legOf(state, question, telling);
  return {
    trace: {
      ...head,
      hints: [...hints, ...lossesOf(leg.recordings)],
      forward: [...nameHops(state, question, telling), ...leg.forward],
      reply: leg.reply,
    },
    captures: leg.recordings.flatMap(({ events }) => capturesOf(state, events)),
    recordings: leg.recordings,
  };
}

/** One connection: its first packet, and the reply to it. */
interface Leg {
  readonly forward: readonly Hop[];
  readonly reply: readonly Hop[] | null;
  readonly recordings: readonly Recording[];
}

function legOf(state: State, question: Question, telling: Outcome): Leg {
  const request = requestOf(state, question, telling);
  const asked = runTraced(state, telling.probe, false, deciding(state, request));
  const lent = telling.masqueraded ? untilLent(state, asked) : [];
  const forward = telling.masqueraded ? runTraced(state, telling.masqueraded.probe) : asked;
  const back = replyTo(state, forward.outcome);
  const reply = back && runTraced(state, back, true);
  const recordings = reply ? [forward, reply] : [forward];
  return {
    forward: [...lent, ...hopsOf(state, forward.outcome, forward.events, request)],
    reply: reply && hopsOf(state, reply.outcome, reply.events),
    recordings,
  };
}

/** The two connections of a request through an Ingress, and between them what its controller does. */
function captureThrough(
  state: State,
  question: Question,
  head: Omit<Trace, 'forward' | 'reply'>,
  { client, text, origin }: Through,
  upstream: Outcome | null,
): Captured {
  state.loader.current.flushConnections();
  const first = legOf(state, question, client);
  const second = upstream && legOf(state, question, upstream);
  const recordings = [...first.recordings, ...(second?.recordings ?? [])];
  const [from, to] = [textOfTuple(client.tuple), textOfTuple((upstream ?? client).probe.tuple)];
  const http: Hop = {
    node: (upstream ? nodeOfSender(upstream.probe) : client.receiver?.node)?.name ?? null,
    program: 'ingress',
    point: null,
    action: 'http',
    before: from,
    after: to,
    outer: null,
    lookups: [],
    identity: {
      source: client.sourceIdentity,
      destination: upstream?.destinationIdentity ?? client.destinationIdentity,
    },
    text,
    origin: origin.map(originAt),
  };
  const isAnswered = second === null || second.reply !== null;
  return {
    trace: {
      ...head,
      hints: [...head.hints, ...lossesOf(recordings)],
      forward: [...first.forward, http, ...(second?.forward ?? [])],
      reply: isAnswered ? [...(second?.reply ?? []), ...(first.reply ?? [])] : null,
    },
    captures: recordings.flatMap(({ events }) => capturesOf(state, events)),
    recordings,
  };
}

const nodeOfSender = ({ sender }: Probe): ClusterNode => (sender.kind === 'pod' ? sender.pod.node : sender.node);

/** What comes before kube-proxy sends a packet on in its node's name: until it has its backend. */
function untilLent(state: State, { outcome, events }: Recording): Hop[] {
  const hops = hopsOf(state, outcome, events);
  return hops.slice(0, hops.findIndex(({ action }) => action === 'lb') + 1);
}

/** That the ring had no more room is said: the packet went on after the last hop that is told. */
export function lossesOf(recordings: readonly Recording[]): string[] {
  const lost = recordings.reduce((sum, recording) => sum + recording.lost, 0);
  return lost === 0
    ? []
    : [`${count(lost, 'record')} of the datapath did not fit into cilium_events: hops are missing here`];
}

/** What the telling packet's connection is for: the question's request, or where that was refused its name, the look-up. */
function requestOf(state: State, { http, to }: Question, { probe }: Outcome): Request {
  const asked = readRequest(http);
  const isLookup = to.startsWith('dns:') && clusterDns(state) !== null && probe.tuple.destinationPort === DNS_PORT;
  return { http: asked && !('error' in asked) ? asked : null, name: isLookup ? to.slice('dns:'.length) : null };
}

/** What a proxy says of the request that it was handed; nothing of a reply. */
function rulingHop(handed: Hop, ruled: Ruled | undefined, request: Request): Hop[] {
  if (!ruled || ruled.port === 0) return [];
  const action = ruled.grants.find(({ l7 }) => l7 !== null)?.l7?.kind ?? 'http';
  const text = rulingText(ruled.fate, action, request);
  return [{ ...handed, before: handed.after, program: 'proxy', point: null, action, lookups: [], text, origin: [] }];
}

function capturesOf(state: State, events: readonly Uint8Array[]): Capture[] {
  return events.flatMap((event): Capture[] => {
    if (event[0] === EventType.LOOKUP) return [];
    const { type, node, point, captured, length } = decode(TraceNotify, event);
    if (type === EventType.TRACE_SOCK) return [];
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

/** How the sender comes by the address of a name: it asks the cluster's DNS, by a packet that was run as well. */
function nameHops(state: State, { to }: Question, { probe }: Outcome): Hop[] {
  const name = to.startsWith('dns:') ? to.slice('dns:'.length) : null;
  const { sender, tuple } = probe;
  const dns = clusterDns(state);
  if (name === null || !dns || sender.kind !== 'pod' || tuple.destinationPort === DNS_PORT) return [];
  const asked = askDns(state, sender.pod, name);
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

function hopsOf(state: State, outcome: Outcome, events: readonly Uint8Array[], request: Request = UNTOLD): Hop[] {
  const nodes = new Map(state.cluster.nodes.map((node) => [node.index, node.name]));
  let before: TupleText | null = null;
  const rulings = outcome.redirects.values();
  const hops = recordsOf(events).flatMap((recorded): Hop[] => {
    const { record, lookups } = recorded;
    const after = tupleText(record);
    const hop: Hop = {
      node: nodes.get(record.node) ?? null,
      program: programName(record),
      point: pointName(record),
      action: ACTIONS[record.step as Step] ?? `${record.step}`,
      before: before ?? after,
      after,
      outer: outerText(record, tunnelOf(state.settings).port),
      lookups: lookups.map(({ map, key, value }) => ({
        map: MAP_NAMES[map],
        key: SCHEMAS[map].key(key),
        value: value === null ? null : SCHEMAS[map].value(value),
      })),
      identity: { source: record.sourceIdentity, destination: record.destinationIdentity },
      text: hopText(state, outcome, record),
      origin: originsOf(state, outcome, recorded),
    };
    before = after;
    const isHanded = record.step === (Step.PROXY as number);
    return [hop, ...(isHanded ? rulingHop(hop, rulings.next().value, request) : [])];
  });
  const last = outcome.redirects.at(-1);
  return [...hops, ...(last?.mesh && hops.length > 0 ? [meshHop(hops.at(-1)!, last.mesh)] : [])];
}

/** What a proxy of the mesh says of what was delivered to its pod. */
const meshHop = (delivered: Hop, { text, deciders }: MeshRuling): Hop => ({
  ...delivered,
  before: delivered.after,
  program: 'istio-proxy',
  point: null,
  action: 'http',
  lookups: [],
  text,
  origin: deciders.map(({ file, line, column }) => ({ file, line, column })),
});

/** Programs on sockets are two, one a family. */
function programName({ program, family }: TraceRecord): string {
  const name = PROGRAM_NAMES[program as keyof typeof PROGRAM_NAMES] ?? `${program}`;
  return family === Family.IPV6 ? name.replace(/^cil_sock4/, 'cil_sock6') : name;
}

function pointName({ type, point }: TraceRecord): string | null {
  if (type === EventType.TRACE_SOCK) return XLATE_NAMES[point as keyof typeof XLATE_NAMES];
  return POINT_NAMES[point as keyof typeof POINT_NAMES] ?? null;
}

/** Maps, as IPv4's, whose entries say where a packet goes or whether it may; of the others a hit tells nothing of the manifests. */
const TELLING: Readonly<Record<number, readonly MapId[]>> = {
  [Step.LB]: [MapId.LB4_SERVICES, MapId.LB4_BACKENDS],
  [Step.SOCK]: [MapId.LB4_SERVICES, MapId.LB4_BACKENDS],
  [Step.REVERSE_LB]: [MapId.LB4_REVERSE_NAT],
  [Step.POLICY]: [MapId.POLICY],
  [Step.ENCAP]: [MapId.IPCACHE4],
  [Step.DELIVER]: [MapId.LXC4],
  [Step.DROP]: [MapId.LB4_SERVICES],
};

function originsOf(state: State, outcome: Outcome, { record, lookups }: Recorded): Origin[] {
  if (record.step === Step.DROP || (decidedIn(record)?.reason ?? 0) !== 0) {
    const deciders = outcome.allowed ? [] : decidersOf(state, outcome);
    if (deciders.length > 0) return deciders.map(({ file, line, column }) => ({ file, line, column }));
  }
  const telling = TELLING[record.step] ?? [];
  const origins = lookups
    .filter(({ map, value }) => value !== null && telling.includes(pairOf(map)))
    .flatMap(({ map, key }) => originOf(state, map, key));
  return [...new Map(origins.map((origin) => [JSON.stringify(origin), origin])).values()];
}
