/** The maps for people: each as the `cilium bpf` command for it lists it, with the manifest lines its entries came from. */
import type { MapDump, Maps } from '../answers/maps.js';
import type { Presented } from '../loader/present.js';
import { LISTINGS, type Listing, type Row } from './bpf-list.js';
import { table } from './table.js';

/** `entriesOf`: all entries of another map, where a listing tells of two together. */
export function mapsText({ maps }: Maps, entriesOf: (map: string) => readonly MapDump[]): string {
  const sections = Object.entries(maps).map(([name, entries]) => {
    const listing = LISTINGS[name] ?? OWN;
    const rows = [...listing.rows(entries, entriesOf)];
    const heading = `${name} (${entries.length})${listing.command === null ? '' : `: ${listing.command}`}`;
    const head = [...listing.head, 'ORIGIN'].map((title, i) => (i === 0 ? `  ${title}` : title));
    const body = rows.map(({ cells, entry }) =>
      [...cells, originText(entry)].map((cell, i) => (i === 0 ? `  ${cell}` : cell)),
    );
    return [heading, ...(rows.length > 0 ? table(head, body) : [])].join('\n');
  });
  return `${sections.join('\n\n')}\n`;
}

const originText = (entry: MapDump): string => entry.origin.map(({ file, line }) => `${file}:${line}`).join(' ');

/** Maps that only this datapath has: an entry a line. */
const OWN: Listing = {
  command: null,
  head: ['KEY', 'VALUE'],
  rows: (entries): Row[] => entries.map((entry) => ({ cells: [fields(entry.key), fields(entry.value)], entry })),
};

const fields = (presented: Presented): string =>
  Object.entries(presented)
    .map(([name, value]) => `${name}=${value as string}`)
    .join(' ');
