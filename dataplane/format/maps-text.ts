/** The maps for people: an entry a line, and the manifest lines it came from. */
import type { MapDump, Maps } from '../answers/maps.js';
import type { Presented } from '../loader/present.js';
import { table } from './table.js';

function fields(presented: Presented): string {
  return Object.entries(presented)
    .map(([name, value]) => `${name}=${text(name, value)}`)
    .join(' ');
}

function text(name: string, value: unknown): string {
  if (!Array.isArray(value)) return value as string;
  if (name !== 'backendIds') return value.length === 0 ? '-' : value.join(',');
  const counts = new Map<number, number>();
  for (const id of value as number[]) counts.set(id, (counts.get(id) ?? 0) + 1);
  return `${value.length} slots: ${[...counts]
    .sort(([a], [b]) => a - b)
    .map(([id, count]) => `${id}×${count}`)
    .join(' ')}`;
}

export function mapsText({ maps }: Maps): string {
  const sections = Object.entries(maps).map(([name, entries]) => {
    const rows = entries.map(({ key, value, origin }: MapDump) => [
      `  ${fields(key)}`,
      fields(value),
      origin.map(({ file, line }) => `${file}:${line}`).join(' '),
    ]);
    return [`${name} (${entries.length})`, ...(rows.length > 0 ? table(['  KEY', 'VALUE', 'ORIGIN'], rows) : [])].join(
      '\n',
    );
  });
  return `${sections.join('\n\n')}\n`;
}
