/** What is open from one end to others: one packet of each class of traffic, through the dataplane. */
import { familyOf, type Address } from '../addresses.js';
import { IpProto } from '../../assembly/abi.js';
import { addressIn } from '../cluster/cluster.js';
import { compare } from '../hash.js';
import type { HttpRule, FqdnSelector, L7Rules } from '../manifests/cilium.js';
import type { Protocol } from '../manifests/objects.js';
import { isIcmp } from '../packet.js';
import type { CompiledPolicy } from '../policy/compile.js';
import { meshPorts } from '../policy/mesh.js';
import { PROTOCOL_NUMBERS } from '../policy/networkpolicy.js';
import type { Direction, PortRange } from '../policy/rules.js';
import { policyOf, type State } from '../state.js';
import { deciding, UNTOLD, unreadOf } from './layer7.js';
import { run, type Outcome, type Probe, type Sender } from './probe.js';
import type { End } from './reach-ends.js';

/** First and last of a stretch. */
export type Range = readonly [number, number];

/** What a proxy on the way lets of the connections to some ports. */
export interface Layer7 {
  readonly ranges: readonly Range[];
  /** Of whose policy it is: the sender's or the receiver's. */
  readonly direction: Direction;
  readonly kind: L7Rules['kind'];
  /** Each lets what it says: `GET /public`, `*.example.com`. */
  readonly anyOf: readonly string[];
}

export interface ReachPorts {
  readonly protocol: Protocol;
  readonly ranges: readonly Range[];
  /** Where a proxy looks at what the connections are for; all that it asks for must hold. */
  readonly layer7?: readonly Layer7[];
  /** Of a Service's ports, as `diff` tells them: where they are asked for, and who answers. */
  readonly via?: Via;
}

/** How a client gets at a port of a Service. */
export interface Via {
  /** Its ClusterIP, or name where it is headless; the node ports, or an address that it has outside. */
  readonly at: 'ClusterIP' | 'NodePort' | (string & {});
  /** A workload and the port of its pods: `shop/cart[Deployment]:8080`; or an address and a port. */
  readonly backend: string;
  /** The nodes that the client is on, or comes in by; left out for all. */
  readonly nodes?: readonly string[];
}

export interface ReachIcmp {
  readonly protocol: 'ICMP' | 'ICMPv6';
  /** Types of messages. */
  readonly types: readonly Range[];
}

export interface Open {
  readonly ports: readonly ReachPorts[];
  readonly icmp: readonly ReachIcmp[];
}

const PROTOCOLS = Object.keys(PROTOCOL_NUMBERS) as Protocol[];
const LAST_PORT = 65535;
const LAST_TYPE = 255;

/** The types that the datapath itself tells apart: echoes and errors, and what asks for a neighbour. */
const KNOWN_TYPES: Readonly<Record<number, readonly number[]>> = {
  [IpProto.ICMP]: [0, 3, 8, 11, 12],
  [IpProto.ICMPV6]: [1, 2, 3, 4, 128, 129, 135],
};

/** Ports of a question's probes never meet its source port, so that no packet is taken for a reply to another. */
const SOURCE_PORT = 0;

/** One stretch of ports, or of types of ICMP, within which every packet fares alike. */
interface Stretch {
  readonly protocol: number;
  readonly first: number;
  readonly last: number;
}

/** Where ports, or types, stop being alike: for the policies of both ends, for the datapath, and for the single ports that the mesh knows. */
export const stretches = (
  policies: readonly (CompiledPolicy | null)[],
  single: readonly number[],
  protocol: number,
): Stretch[] =>
  cut(
    policies.flatMap((policy) => policy?.boundaries ?? []),
    single,
    protocol,
  );

/** The same, where ranges of ports stop. */
function cut(ranges: readonly PortRange[], single: readonly number[], protocol: number): Stretch[] {
  const [lowest, highest] = isIcmp(protocol) ? [0, LAST_TYPE] : [1, LAST_PORT];
  const starts = new Set([lowest, ...(KNOWN_TYPES[protocol] ?? []).flatMap((type) => [type, type + 1])]);
  if (protocol === IpProto.TCP) for (const port of single) starts.add(port).add(port + 1);
  for (const range of ranges) if (range.protocol === protocol) starts.add(range.first).add(range.last + 1);
  const sorted = [...starts].filter((start) => start >= lowest && start <= highest).sort((a, b) => a - b);
  return sorted.map((first, i) => ({ protocol, first, last: (sorted[i + 1] ?? highest + 1) - 1 }));
}

/** Addresses that stand for all of an end. */
const addressesOf = ({ pods, external }: End): readonly Address[] =>
  external ? [external.example] : pods[0]!.addresses;

/** One packet for each family that both ends have. */
function probesOf(from: End, to: End, { protocol, first }: Stretch): Probe[] {
  return addressesOf(to).flatMap((destination): Probe[] => {
    const source = addressIn({ addresses: addressesOf(from) }, familyOf(destination));
    if (source === null) return [];
    if (isIcmp(protocol) && (protocol === IpProto.ICMP) !== (familyOf(source) === 'IPv4')) return [];
    const [pod] = from.pods;
    const sender: Sender = pod ? { kind: 'pod', pod } : { kind: 'external', address: source, node: to.pods[0]!.node };
    return [{ sender, tuple: { source, destination, protocol, sourcePort: SOURCE_PORT, destinationPort: first } }];
  });
}

/** What is open, and what else that depends on which could not be read: ports about which it leaves nothing to be said are left out. */
export interface Found {
  readonly open: Open;
  readonly depends: readonly string[];
}

/** Two ends, and where the ports may stop to be alike for what goes from one to the other; null for wherever either's policy does. */
export interface Asked {
  readonly from: End;
  readonly to: End;
  readonly boundaries: readonly PortRange[] | null;
}

/** What is open between ends: all packets in as few calls as the batch allows. */
export function findOpen(state: State, pairs: readonly Asked[]): Found[] {
  const questions = pairs.map(({ from, to, boundaries }) => {
    const ranges =
      boundaries ?? [from, to].flatMap(({ pods }) => (pods[0] ? (policyOf(state, pods[0])?.boundaries ?? []) : []));
    const single = to.pods[0] ? meshPorts(state.cluster, to.pods[0]) : [];
    return [...Object.values(PROTOCOL_NUMBERS), IpProto.ICMP, IpProto.ICMPV6].flatMap((protocol) =>
      cut(ranges, single, protocol).map((stretch) => ({ stretch, probes: probesOf(from, to, stretch) })),
    );
  });
  const sent = questions.flat().flatMap(({ probes }) => probes);
  const outcomes = new Map(run(state, sent, deciding(state, UNTOLD)).map((outcome) => [outcome.probe, outcome]));
  return questions.map((ofPair) => {
    const opened: OpenStretch[] = [];
    const unread = new Set<string>();
    for (const { stretch, probes } of ofPair) {
      const ofProbes = probes.map((probe) => outcomes.get(probe)!);
      // What is open is so in each family that both ends have.
      if (ofProbes.length === 0 || !ofProbes.every(({ allowed }) => allowed)) continue;
      const depends = ofProbes.flatMap(unreadOf);
      for (const line of depends) unread.add(line);
      if (depends.length === 0) opened.push({ ...stretch, asks: asksOf(ofProbes) });
    }
    return { open: opensOf(opened), depends: [...unread] };
  });
}

/** A stretch that is open, as far as the proxies on its way let it. */
interface OpenStretch extends Stretch {
  readonly asks: readonly Omit<Layer7, 'ranges'>[];
}

/** What the proxies would have to know: of each, its rules. */
function asksOf(outcomes: readonly Outcome[]): Omit<Layer7, 'ranges'>[] {
  const asks = outcomes.flatMap(({ redirects }) =>
    redirects
      .filter(({ fate }) => fate === 'untold')
      .map(({ direction, grants, mesh }) => {
        if (mesh) return { direction, kind: 'http' as const, anyOf: mesh.depends };
        const rules = grants.flatMap(({ l7 }) => l7 ?? []);
        const anyOf = rules.flatMap((l7) => (l7.kind === 'http' ? l7.rules.map(httpText) : l7.rules.map(nameText)));
        return { direction, kind: rules[0]!.kind, anyOf: [...new Set(anyOf)].sort(compare) };
      }),
  );
  return [...new Map(asks.map((ask) => [JSON.stringify(ask), ask])).values()];
}

/** `GET example.com/public`; each part is an expression, and `*` where the rule leaves it open. */
function httpText({ method, host, path, headers }: HttpRule): string {
  const named = headers.map(({ name, value }) => ` ${name}${value === null ? '' : `: ${value}`}`);
  return `${method ?? '*'} ${host ?? ''}${path ?? (host === null ? '*' : '')}${named.join(',')}`;
}

const nameText = ({ matchName, matchPattern }: FqdnSelector): string => matchName ?? matchPattern ?? '';

const opensOf = (open: readonly OpenStretch[]): Open => ({
  ports: PROTOCOLS.flatMap((protocol) => {
    const ranges = open.filter((stretch) => stretch.protocol === PROTOCOL_NUMBERS[protocol]);
    const layer7 = layer7Of(ranges);
    if (ranges.length === 0) return [];
    return [{ protocol, ranges: joined(ranges), ...(layer7.length > 0 ? { layer7 } : {}) }];
  }),
  icmp: (['ICMP', 'ICMPv6'] as const).flatMap((protocol) => {
    const number = protocol === 'ICMP' ? IpProto.ICMP : IpProto.ICMPV6;
    const types = open.filter((stretch) => stretch.protocol === (number as number));
    return types.length > 0 ? [{ protocol, types: joined(types) }] : [];
  }),
});

function layer7Of(open: readonly OpenStretch[]): Layer7[] {
  const byAsk = new Map<string, { ask: OpenStretch['asks'][number]; stretches: OpenStretch[] }>();
  for (const stretch of open) {
    for (const ask of stretch.asks) {
      const key = JSON.stringify(ask);
      const asked = byAsk.get(key) ?? { ask, stretches: [] };
      byAsk.set(key, asked);
      asked.stretches.push(stretch);
    }
  }
  return [...byAsk.values()].map(({ ask, stretches }) => ({ ranges: joined(stretches), ...ask }));
}

/** Stretches that touch as one; they come in order. */
function joined(open: readonly Stretch[]): Range[] {
  const ranges: [number, number][] = [];
  for (const { first, last } of open) {
    const before = ranges.at(-1);
    if (before && before[1] + 1 === first) before[1] = last;
    else ranges.push([first, last]);
  }
  return ranges;
}
