/** A trace for people: the verdict first, then each hop with what changed, then the way back. */
import type { TupleText } from '../answers/records.js';
import type { Hop, Trace } from '../answers/trace.js';
import type { Decider } from '../answers/decide.js';
import { statusText } from '../words.js';

/** `10.0.0.1:80`, `[fd00::1]:80`. */
const end = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** An ICMP message has a type where others have a destination port; a packet in a packet has neither. */
const tuple = ({ source, sourcePort, destination, destinationPort, protocol }: TupleText): string =>
  protocol.startsWith('ICMP')
    ? `${source} → ${destination} ${protocol} type ${destinationPort}`
    : protocol === 'IPIP' || protocol === 'IPv6'
      ? `${source} → ${destination} ${protocol}`
      : `${end(source, sourcePort)} → ${end(destination, destinationPort)} ${protocol}`;

const same = (a: TupleText, b: TupleText): boolean => tuple(a) === tuple(b);

function hopLines(hop: Hop, number: number): string[] {
  const where = [hop.node, hop.point ?? hop.program].filter(Boolean).join(' ');
  const lines = [`${String(number).padStart(4)}  ${where.padEnd(28)} ${hop.action.padEnd(8)} ${hop.text}`];
  const indent = ' '.repeat(44);
  if (!same(hop.before, hop.after)) lines.push(`${indent}${tuple(hop.before)}`, `${indent}⇒ ${tuple(hop.after)}`);
  if (hop.outer && hop.action === 'encap') lines.push(`${indent}outer ${tuple(hop.outer)}`);
  if (hop.origin.length > 0 && ['policy', 'lb', 'drop', 'http'].includes(hop.action))
    lines.push(`${indent}${hop.origin.map(({ file, line }) => `${file}:${line}`).join('  ')}`);
  return lines;
}

export const deciderText = ({ kind, namespace, name, rule, effect, file, line, column }: Decider): string =>
  `${kind} ${namespace && `${namespace}/`}${name}${rule ? ` ${rule}` : ''} ${effect}  ${file}:${line}:${column}`;

export function traceText(trace: Trace): string {
  const { verdict, reason, direction, deciders, backend, service, http, depends, assumes, hints, forward, reply } =
    trace;
  const lines = [`${verdict}${reason ? `  ${reason.text} (${reason.code}, ${direction})` : ''}`];
  if (service && backend)
    lines.push(
      `  Service ${service.namespace}/${service.name}:${service.port} → ${backend.pod ?? backend.ip} ${end(backend.ip, backend.port)}`,
    );
  if (http) lines.push(`  ${statusText(http)}`);
  for (const hint of hints) lines.push(`  ${hint}`);
  for (const decider of deciders) lines.push(`  ${deciderText(decider)}`);
  for (const line of depends) lines.push(`  depends: ${line}`);
  for (const line of assumes) lines.push(`  assumes: ${line}`);
  if (forward.length > 0) lines.push('', 'forward', ...forward.flatMap((hop, i) => hopLines(hop, i + 1)));
  if (reply) lines.push('', 'reply', ...reply.flatMap((hop, i) => hopLines(hop, i + 1)));
  return `${lines.join('\n')}\n`;
}
