/** Reachability in each of its formats. */
import type { Connection, Reach } from '../answers/reach.js';
import type { Layer7, Range, ReachPorts, Via } from '../answers/reach-open.js';
import { mergeRanges } from '../answers/ranges.js';
import { table } from './table.js';

const ALL = '1-65535';
const ALL_TYPES = '0-255';

const rangeText = ([first, last]: Range): string => (first === last ? `${first}` : `${first}-${last}`);

const rangesText = (ranges: readonly Range[]): string => ranges.map(rangeText).join(',');

/** `all` where nothing is missing. */
function shortText(ranges: readonly Range[], all: string): string {
  const text = rangesText(ranges);
  return text === all ? 'all' : text;
}

/** What a proxy lets: `HTTP GET /public | GET /health`, and for which ports where that is not all of them. */
function layer7Text({ ranges }: Pick<ReachPorts, 'ranges'>, { ranges: asked, kind, anyOf }: Layer7): string {
  const which = rangesText(asked) === rangesText(ranges) ? '' : `${rangesText(asked)}: `;
  return `${which}${kind.toUpperCase()} ${anyOf.join(' | ')}`;
}

function portText(open: ReachPorts): string {
  const asks = (open.layer7 ?? []).map((ask) => layer7Text(open, ask));
  const ports = shortText(open.ranges, ALL);
  return `${open.protocol} ${ports}${asks.length > 0 ? ` (${asks.join('; ')})` : ''}${open.via ? viaText(open.via) : ''}`;
}

/** ` at NodePort → shop/cart[Deployment]:8080, by node n1`: where a Service is asked for, if not by its name, and who answers. */
function viaText({ at, backend, nodes }: Via): string {
  const where = at === 'ClusterIP' ? '' : ` at ${at}`;
  return `${where} → ${backend}${nodes ? `, by ${nodes.length === 1 ? 'node' : 'nodes'} ${nodes.join(', ')}` : ''}`;
}

/** `TCP 80,8080-8090; UDP all; ICMP 8`; `all` where nothing is missing, `all ports` where that is only messages of ICMP. */
export function portsText({ ports, icmp = [] }: Pick<Connection, 'ports' | 'icmp'>): string {
  const isEveryPort = ports.length === 3 && ports.every((open) => portText(open).endsWith(' all'));
  const isEveryType = icmp.length > 0 && icmp.every(({ types }) => shortText(types, ALL_TYPES) === 'all');
  if (isEveryPort && isEveryType) return 'all';
  const messages = icmp.map(({ protocol, types }) => `${protocol} ${shortText(types, ALL_TYPES)}`);
  return [...(isEveryPort ? ['all ports'] : ports.map(portText)), ...messages].join('; ');
}

/** For people: ranges that touch and have the same ports are one. Scripts get them as the policies draw them. */
const rows = (connections: readonly Connection[]): string[][] =>
  mergeRanges(connections, (a, b) => portsText(a) === portsText(b)).map((connection) => [
    connection.from,
    connection.to,
    portsText(connection),
  ]);

/** Workloads that are listed nowhere, for people. */
const asides = ({ unknown, onNodes }: Reach): string[] => [
  ...unknown.map(({ ref, depends }) => `UNKNOWN ${ref}: ${depends.join('; ')}`),
  ...(onNodes.length > 0 ? [`On their nodes' networks, where policies see the node: ${onNodes.join(', ')}`] : []),
];

/** What an empty table would not say. */
function nothing({ endpoints, unknown }: Reach): string {
  const workloads = endpoints.filter(({ kind }) => kind === 'workload' || kind === 'pod').length;
  if (workloads === 0) return 'There are no workloads.\n';
  return `Nothing is allowed: ${workloads} ${workloads === 1 ? 'workload' : 'workloads'}, no connection.${unknown.length > 0 ? '' : ' hopscope trace tells which policies isolate.'}\n`;
}

/** What is open to and from pods that are not there yet. */
function exposureTable(exposure: Reach['exposure']): string[] {
  if (exposure === undefined) return [];
  if (exposure.length === 0) return ['', 'Nothing is open to or from pods that are not there yet.'];
  return ['', ...table(['EXPOSED FROM', 'TO', 'PORTS'], rows(exposure))];
}

export function reachTable(reach: Reach): string {
  const { connections, exposure } = reach;
  const isEmpty = connections.length === 0 && reach.unknown.length === 0;
  if (isEmpty && exposure === undefined) return nothing(reach);
  const lines = isEmpty ? [nothing(reach).trimEnd()] : table(['FROM', 'TO', 'PORTS'], rows(connections));
  const besides = asides(reach);
  return [...lines, ...exposureTable(exposure), ...(besides.length > 0 ? ['', ...besides] : [])].join('\n') + '\n';
}

/** A line for each endpoint and each connection: what a line-wise tool compares. In pieces, since all may be longer than a text can be. */
export function* reachJson(reach: Reach): Generator<string> {
  let before = '{\n ';
  for (const [name, value] of Object.entries(reach)) {
    const listed: unknown = value;
    yield `${before}"${name}": `;
    before = ',\n ';
    if (!Array.isArray(listed) || listed.length === 0) yield JSON.stringify(listed);
    else if (name === 'connections') yield* itemsOf(listed as Connection[], connectionJson());
    else yield* itemsOf(listed, JSON.stringify);
  }
  yield '\n}\n';
}

function* itemsOf<Item>(items: readonly Item[], textOf: (item: Item) => string): Generator<string> {
  let before = '[\n  ';
  for (const item of items) {
    yield before + textOf(item);
    before = ',\n  ';
  }
  yield '\n ]';
}

/** A connection as JSON. What is open between ends that are alike is the same list, and written out once. */
function connectionJson(): (connection: Connection) => string {
  const known = new WeakMap<object, string>();
  const once = (list: object): string => {
    const text = known.get(list) ?? JSON.stringify(list);
    known.set(list, text);
    return text;
  };
  return ({ from, to, ports, icmp }) =>
    `{"from":${JSON.stringify(from)},"to":${JSON.stringify(to)},"ports":${once(ports)}${icmp ? `,"icmp":${once(icmp)}` : ''}}`;
}

/** RFC 4180; a cell that a spreadsheet would run as a formula gets a quote in front. */
const csvCell = (text: string): string => {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

export function* reachCsv({ connections, exposure = [], unknown }: Reach): Generator<string> {
  const all = [connections, exposure];
  const hasLayer7 = all.some((some) => some.some(({ ports }) => ports.some(({ layer7 }) => layer7 !== undefined)));
  const line = (cells: readonly string[], layer7: string): string =>
    `${[...cells, ...(hasLayer7 ? [layer7] : [])].map(csvCell).join(',')}\r\n`;
  yield line(['from', 'to', 'protocol', 'first', 'last'], 'layer7');
  for (const { from, to, ports, icmp = [] } of all.flat()) {
    for (const { protocol, ranges, layer7 = [] } of ports) {
      const asks = layer7.map((ask) => layer7Text({ ranges }, ask)).join('; ');
      for (const [first, last] of ranges) yield line([from, to, protocol, `${first}`, `${last}`], asks);
    }
    for (const { protocol, types } of icmp)
      for (const [first, last] of types) yield line([from, to, protocol, `${first}`, `${last}`], '');
  }
  for (const { ref } of unknown) yield line([ref, '', 'UNKNOWN', '', ''], '');
}

/** Text of manifests in Markdown: nothing in it is markup. */
export const markdownText = (text: string): string =>
  text.replace(/[\\`*_{}[\]()#+\-.!|<>~&@:/$]/g, (mark) => `&#${mark.charCodeAt(0)};`).replace(/[\r\n]+/g, ' ');

export function reachMarkdown(reach: Reach): string {
  const { connections, exposure = [] } = reach;
  const cells = [...rows(connections), ...rows(exposure)].map((row) => `| ${row.map(markdownText).join(' | ')} |`);
  const besides = asides(reach).map((line) => `- ${markdownText(line)}`);
  const head = ['| from | to | ports |', '|---|---|---|'];
  return [...head, ...cells, ...(besides.length > 0 ? ['', ...besides] : [])].join('\n') + '\n';
}

const dotText = (text: string): string => `"${text.replace(/["\\]/g, '\\$&').replace(/[\r\n]+/g, ' ')}"`;

export function reachDot({ endpoints, connections, exposure = [], unknown }: Reach): string {
  const nodes = endpoints.map(
    ({ ref, kind }) =>
      `  ${dotText(ref)} [shape=${kind === 'external' ? 'ellipse' : 'box'}${kind === 'class' ? ', style=dotted' : ''}${unknown.some((end) => end.ref === ref) ? ', style=dashed' : ''}];`,
  );
  const edges = [...connections, ...exposure].map(
    (connection) =>
      `  ${dotText(connection.from)} -> ${dotText(connection.to)} [label=${dotText(portsText(connection))}];`,
  );
  return ['digraph reach {', '  rankdir=LR;', ...nodes, ...edges, '}', ''].join('\n');
}
