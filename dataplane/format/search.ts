/** What a search found, for people and for programs. */
import type { Search, Witness } from '../answers/search.js';
import { deciderText } from './trace-text.js';

export const searchJson = (found: Search): string => `${JSON.stringify(found, null, 1)}\n`;

function witnessLines({
  verdict,
  from,
  to,
  protocol,
  port,
  reason,
  direction,
  backend,
  depends,
  deciders,
}: Witness): string[] {
  const why = reason ? `  ${reason.text} (${reason.code}, ${direction})` : '';
  return [
    `${verdict}  ${from} → ${to}  ${protocol} ${port}${why}`,
    ...(backend
      ? [
          `  to ${backend.pod ?? backend.ip} ${backend.ip.includes(':') ? `[${backend.ip}]` : backend.ip}:${backend.port}`,
        ]
      : []),
    ...deciders.map((decider) => `  ${deciderText(decider)}`),
    ...depends.map((line) => `  depends: ${line}`),
  ];
}

/** `no packet from world to labels:app=db, TCP 5432, is ALLOWED`. */
export function searchText({ from, to, protocol, port, verdict, witnesses, unknown }: Search): string {
  const lines = witnesses.flatMap(witnessLines);
  for (const { from: sender, to: receiver, depends } of unknown)
    lines.push(`UNKNOWN  ${sender} → ${receiver}`, ...depends.map((line) => `  depends: ${line}`));
  if (lines.length === 0) {
    const traffic = `${protocol ?? 'TCP, UDP or SCTP'}${port === null ? ', whatever its port' : ` ${port}`}`;
    lines.push(`No packet from ${from ?? 'anyone'} to ${to ?? 'anyone'}, ${traffic}, is ${verdict}.`);
  }
  return `${lines.join('\n')}\n`;
}
