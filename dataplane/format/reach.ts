/** Reachability in each of its formats. */
import type { Connection, Reach } from '../answers/reach.js';
import type { Layer7, Range, ReachPorts } from '../answers/reach-open.js';
import { mergeRanges } from '../answers/ranges.js';
import { table } from './table.js';

const ALL = '1-65535';
const ALL_TYPES = '0-255';

const rangeText = ([first, last]: Range): string => (first === last ? `${first}` : `${first}-${last}`);

const rangesText = (ranges: readonly Range[]): string => ranges.map(rangeText).join(',');

/** What a proxy lets: `HTTP GET /public | GET /health`, and for which ports where that is not all of them. */
function layer7Text({ ranges }: Pick<ReachPorts, 'ranges'>, { ranges: asked, kind, anyOf }: Layer7): string {
  const which = rangesText(asked) === rangesText(ranges) ? '' : `${rangesText(asked)}: `;
  return `${which}${kind.toUpperCase()} ${anyOf.join(' | ')}`;
}

function portText(open: ReachPorts): string {
  const asks = (open.layer7 ?? []).map((ask) => layer7Text(open, ask));
  const ports = rangesText(open.ranges).replace(ALL, 'all');
  return `${open.protocol} ${ports}${asks.length > 0 ? ` (${asks.join('; ')})` : ''}`;
}

/** `TCP 80,8080-8090; UDP all; ICMP 8`; `all` where nothing is missing, `all ports` where that is only messages of ICMP. */
export function portsText({ ports, icmp = [] }: Pick<Connection, 'ports' | 'icmp'>): string {
  const isEveryPort = ports.length === 3 && ports.every((open) => portText(open).endsWith(' all'));
  const isEveryType = icmp.length > 0 && icmp.every(({ types }) => rangesText(types) === ALL_TYPES);
  if (isEveryPort && isEveryType) return 'all';
  const messages = icmp.map(({ protocol, types }) => `${protocol} ${rangesText(types).replace(ALL_TYPES, 'all')}`);
  return [...(isEveryPort ? ['all ports'] : ports.map(portText)), ...messages].join('; ');
}

/** For people: ranges that touch and have the same ports are one. Scripts get them as the policies draw them. */
const rows = ({ connections }: Reach): string[][] =>
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

export function reachTable(reach: Reach): string {
  if (reach.connections.length === 0 && reach.unknown.length === 0) return nothing(reach);
  const lines = table(['FROM', 'TO', 'PORTS'], rows(reach));
  const besides = asides(reach);
  return [...lines, ...(besides.length > 0 ? ['', ...besides] : [])].join('\n') + '\n';
}

/** A line for each endpoint and each connection: what a line-wise tool compares. */
export function reachJson(reach: Reach): string {
  const fields = Object.entries(reach).map(([name, value]) => {
    const listed: unknown = value;
    if (!Array.isArray(listed) || listed.length === 0) return `"${name}": ${JSON.stringify(listed)}`;
    return `"${name}": [\n  ${listed.map((item) => JSON.stringify(item)).join(',\n  ')}\n ]`;
  });
  return `{\n ${fields.join(',\n ')}\n}\n`;
}

/** RFC 4180; a cell that a spreadsheet would run as a formula gets a quote in front. */
const csvCell = (text: string): string => {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

export function reachCsv({ connections, unknown }: Reach): string {
  const hasLayer7 = connections.some(({ ports }) => ports.some(({ layer7 }) => layer7 !== undefined));
  const lines = [['from', 'to', 'protocol', 'first', 'last', ...(hasLayer7 ? ['layer7'] : [])]];
  const add = (from: string, to: string, protocol: string, ranges: readonly Range[], layer7: string): void => {
    for (const [first, last] of ranges)
      lines.push([from, to, protocol, `${first}`, `${last}`, ...(hasLayer7 ? [layer7] : [])]);
  };
  for (const { from, to, ports, icmp = [] } of connections) {
    for (const { protocol, ranges, layer7 = [] } of ports)
      add(from, to, protocol, ranges, layer7.map((ask) => layer7Text({ ranges }, ask)).join('; '));
    for (const { protocol, types } of icmp) add(from, to, protocol, types, '');
  }
  for (const { ref } of unknown) lines.push([ref, '', 'UNKNOWN', '', '', ...(hasLayer7 ? [''] : [])]);
  return lines.map((line) => `${line.map(csvCell).join(',')}\r\n`).join('');
}

/** Text of manifests in Markdown: nothing in it is markup. */
export const markdownText = (text: string): string =>
  text.replace(/[\\`*_{}[\]()#+\-.!|<>~&@:/$]/g, (mark) => `&#${mark.charCodeAt(0)};`).replace(/[\r\n]+/g, ' ');

export function reachMarkdown(reach: Reach): string {
  const cells = rows(reach).map((row) => `| ${row.map(markdownText).join(' | ')} |`);
  const besides = asides(reach).map((line) => `- ${markdownText(line)}`);
  const head = ['| from | to | ports |', '|---|---|---|'];
  return [...head, ...cells, ...(besides.length > 0 ? ['', ...besides] : [])].join('\n') + '\n';
}

const dotText = (text: string): string => `"${text.replace(/["\\]/g, '\\$&').replace(/[\r\n]+/g, ' ')}"`;

export function reachDot({ endpoints, connections, unknown }: Reach): string {
  const nodes = endpoints.map(
    ({ ref, kind }) =>
      `  ${dotText(ref)} [shape=${kind === 'external' ? 'ellipse' : 'box'}${unknown.some((end) => end.ref === ref) ? ', style=dashed' : ''}];`,
  );
  const edges = connections.map(
    (connection) =>
      `  ${dotText(connection.from)} -> ${dotText(connection.to)} [label=${dotText(portsText(connection))}];`,
  );
  return ['digraph reach {', '  rankdir=LR;', ...nodes, ...edges, '}', ''].join('\n');
}
