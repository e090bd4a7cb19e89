/** A difference in each of its formats. */
import type { Change, Diff } from '../answers/diff.js';
import { markdownText, portsText } from './reach.js';
import { deciderText } from './trace-text.js';

const KINDS = [
  ['lost', 'LOST'],
  ['gained', 'GAINED'],
] as const;

export const diffJson = (diff: Diff): string => `${JSON.stringify(diff, null, 1)}\n`;

const isEmpty = ({ gained, lost, unknown }: Diff): boolean => gained.length + lost.length + unknown.length === 0;

/** Changes with the same deciders belong to the same edit, and stand under them. */
function grouped(changes: readonly Change[]): [string, Change[]][] {
  const groups = new Map<string, Change[]>();
  for (const change of changes) {
    const by = change.deciders.map(deciderText).join('\n');
    groups.set(by, [...(groups.get(by) ?? []), change]);
  }
  return [...groups];
}

export function diffText(diff: Diff): string {
  if (isEmpty(diff)) return 'No flow is gained or lost.\n';
  const lines: string[] = [];
  for (const [kind, title] of KINDS) {
    for (const [by, changes] of grouped(diff[kind])) {
      for (const { from, to, ports } of changes)
        lines.push(`${title.padEnd(6)}  ${from} → ${to}  ${portsText({ ports })}`);
      if (by) lines.push(...by.split('\n').map((line) => `        by ${line}`));
    }
  }
  for (const ref of diff.unknown) lines.push(`UNKNOWN ${ref}: not everything about it could be read`);
  return `${lines.join('\n')}\n`;
}

export function diffMarkdown(diff: Diff): string {
  if (isEmpty(diff)) return 'No flow is gained or lost.\n';
  const rows = KINDS.flatMap(([kind, title]) =>
    diff[kind].map(({ from, to, ports, deciders }) => {
      const by = deciders.map((decider) => markdownText(deciderText(decider))).join('<br>');
      return `| ${title.toLowerCase()} | ${markdownText(from)} | ${markdownText(to)} | ${markdownText(portsText({ ports }))} | ${by} |`;
    }),
  );
  const unknown = diff.unknown.map((ref) => `| unknown | ${markdownText(ref)} | | | |`);
  return ['| | from | to | ports | decided by |', '|---|---|---|---|---|', ...rows, ...unknown, ''].join('\n');
}
