/** A difference in each of its formats. */
import { isDifferent, type Change, type Diff } from '../answers/diff.js';
import type { Edit } from '../answers/diff-edits.js';
import { markdownText, portsText } from './reach.js';
import { deciderText } from './trace-text.js';

export const diffJson = (diff: Diff): string => `${JSON.stringify(diff, null, 1)}\n`;

const NOTHING = 'No flow is gained or lost.\n';

/** `policies.yaml:12  NetworkPolicy shop/cart ingress[0] changed`. */
function editText({ file, line, object, rule, change }: Edit): string {
  const name = object ? `  ${object.kind} ${object.namespace && `${object.namespace}/`}${object.name}` : '';
  return `${file}${line === null ? '' : `:${line}`}${name}${rule === null ? '' : ` ${rule}`} ${change}`;
}

interface Flow {
  readonly kind: 'lost' | 'gained';
  readonly change: Change;
}

/** Flows that come from the same edits. */
interface Group {
  /** The edits, one a line. */
  readonly titles: readonly string[];
  readonly flows: readonly Flow[];
}

/** In the order of the edits; what is lost comes first. */
function groupsOf({ edits, gained, lost }: Diff): Group[] {
  const groups = new Map<string, { readonly numbers: readonly number[]; readonly together: boolean; flows: Flow[] }>();
  const add = (kind: Flow['kind'], change: Change): void => {
    const key = JSON.stringify([change.edits, change.together]);
    const group = groups.get(key) ?? { numbers: change.edits, together: change.together, flows: [] };
    groups.set(key, group);
    group.flows.push({ kind, change });
  };
  const first = ([number = edits.length]: readonly number[]): number => number;
  for (const change of lost) add('lost', change);
  for (const change of gained) add('gained', change);
  return [...groups.values()]
    .sort((a, b) => first(a.numbers) - first(b.numbers) || a.numbers.length - b.numbers.length)
    .map(({ numbers, together, flows }) => {
      const joint = together ? 'and ' : 'or ';
      return { titles: numbers.map((number, i) => `${i > 0 ? joint : ''}${editText(edits[number]!)}`), flows };
    });
}

export function diffText(diff: Diff): string {
  const lines: string[] = [];
  for (const { titles, flows } of groupsOf(diff)) {
    lines.push(...titles);
    flows.forEach(({ kind, change }, i) => {
      lines.push(`  ${kind.toUpperCase().padEnd(6)}  ${change.from} → ${change.to}  ${portsText(change)}`);
      const by = change.deciders.map(deciderText);
      const next = flows[i + 1]?.change.deciders.map(deciderText);
      if (by.join('\n') !== next?.join('\n')) lines.push(...by.map((line) => `          by ${line}`));
    });
  }
  for (const ref of diff.unknown) lines.push(`UNKNOWN ${ref}: not everything about it could be read`);
  return isDifferent(diff) ? `${lines.join('\n')}\n` : [...lines, NOTHING].join('\n');
}

export function diffMarkdown(diff: Diff): string {
  const rows = groupsOf(diff).flatMap(({ titles, flows }) =>
    flows.map(({ kind, change }) => {
      const by = change.deciders.map((decider) => markdownText(deciderText(decider))).join('<br>');
      const cells = [change.from, change.to, portsText(change)].map(markdownText);
      return `| ${kind} | ${cells.join(' | ')} | ${titles.map(markdownText).join('<br>')} | ${by} |`;
    }),
  );
  const unknown = diff.unknown.map((ref) => `| unknown | ${markdownText(ref)} | | | | |`);
  if (rows.length + unknown.length === 0) return NOTHING;
  const head = ['| | from | to | ports | edited | decided by |', '|---|---|---|---|---|---|'];
  return [...head, ...rows, ...unknown, ''].join('\n');
}
