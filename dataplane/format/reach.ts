/** Reachability in each of its formats. */
import type { Connection, Reach, ReachPorts } from '../answers/reach.js';
import { mergeRanges } from '../answers/ranges.js';
import { table } from './table.js';

const ALL = '1-65535';

const rangeText = ([first, last]: readonly [number, number]): string =>
  first === last ? `${first}` : `${first}-${last}`;

/** `TCP 80,8080-8090, UDP all`. */
export function portsText(ports: readonly ReachPorts[]): string {
  if (ports.length === 3 && ports.every(({ ranges }) => ranges.map(rangeText).join() === ALL)) return 'all';
  return ports
    .map(({ protocol, ranges }) => `${protocol} ${ranges.map(rangeText).join(',').replace(ALL, 'all')}`)
    .join('; ');
}

/** For people: ranges that touch and have the same ports are one. Scripts get them as the policies draw them. */
const rows = ({ connections }: Reach): string[][] =>
  mergeRanges(connections, (a, b) => portsText(a.ports) === portsText(b.ports)).map(({ from, to, ports }) => [
    from,
    to,
    portsText(ports),
  ]);

/** What an empty table would not say. */
function nothing({ endpoints, unknown }: Reach): string {
  const workloads = endpoints.filter(({ kind }) => kind === 'workload' || kind === 'pod').length;
  if (workloads === 0) return 'There are no workloads.\n';
  return `Nothing is allowed: ${workloads} ${workloads === 1 ? 'workload' : 'workloads'}, no connection.${unknown.length > 0 ? '' : ' hopscope trace tells which policies isolate.'}\n`;
}

export function reachTable(reach: Reach): string {
  if (reach.connections.length === 0 && reach.unknown.length === 0) return nothing(reach);
  const lines = table(['FROM', 'TO', 'PORTS'], rows(reach));
  const unknown = reach.unknown.map(({ ref, depends }) => `UNKNOWN ${ref}: ${depends.join('; ')}`);
  return [...lines, ...(unknown.length > 0 ? ['', ...unknown] : [])].join('\n') + '\n';
}

export const reachJson = (reach: Reach): string => `${JSON.stringify(reach, null, 1)}\n`;

/** RFC 4180; a cell that a spreadsheet would run as a formula gets a quote in front. */
const csvCell = (text: string): string => {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

export function reachCsv({ connections, unknown }: Reach): string {
  const lines = [['from', 'to', 'protocol', 'first', 'last']];
  for (const { from, to, ports } of connections) {
    for (const { protocol, ranges } of ports)
      for (const [first, last] of ranges) lines.push([from, to, protocol, `${first}`, `${last}`]);
  }
  for (const { ref } of unknown) lines.push([ref, '', 'UNKNOWN', '', '']);
  return lines.map((line) => `${line.map(csvCell).join(',')}\r\n`).join('');
}

/** Text of manifests in Markdown: nothing in it is markup. */
export const markdownText = (text: string): string =>
  text.replace(/[\\`*_{}[\]()#+\-.!|<>~&@:/$]/g, (mark) => `&#${mark.charCodeAt(0)};`).replace(/[\r\n]+/g, ' ');

export function reachMarkdown(reach: Reach): string {
  const cells = rows(reach).map((row) => `| ${row.map(markdownText).join(' | ')} |`);
  const unknown = reach.unknown.map(
    ({ ref, depends }) => `- UNKNOWN ${markdownText(ref)}: ${depends.map(markdownText).join('; ')}`,
  );
  return (
    ['| from | to | ports |', '|---|---|---|', ...cells, ...(unknown.length > 0 ? ['', ...unknown] : [])].join('\n') +
    '\n'
  );
}

const dotText = (text: string): string => `"${text.replace(/["\\]/g, '\\$&').replace(/[\r\n]+/g, ' ')}"`;

export function reachDot({ endpoints, connections, unknown }: Reach): string {
  const nodes = endpoints.map(
    ({ ref, kind }) =>
      `  ${dotText(ref)} [shape=${kind === 'external' ? 'ellipse' : 'box'}${unknown.some((end) => end.ref === ref) ? ', style=dashed' : ''}];`,
  );
  const edges = connections.map(
    ({ from, to, ports }: Connection) => `  ${dotText(from)} -> ${dotText(to)} [label=${dotText(portsText(ports))}];`,
  );
  return ['digraph reach {', '  rankdir=LR;', ...nodes, ...edges, '}', ''].join('\n');
}
