/** How messages name what stands in manifests. */

const LONGEST = 60;

// eslint-disable-next-line no-control-regex
const UNSEEN = /[\0-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** A text with a visible sign for each character that has none, or that turns the direction of what follows. */
export const visible = (text: string): string => text.replace(UNSEEN, '\ufffd');

/** A name from a manifest: on one line, bounded, between backticks. */
export function named(text: string): string {
  // Half a surrogate pair may be left where the text is cut.
  const shown = text.length > LONGEST ? `${text.slice(0, LONGEST).replace(/[\ud800-\udbff]$/, '')}…` : text;
  return `\`${visible(shown).replaceAll('`', "'")}\``;
}

/** `a, b and c`; beyond `most`, the rest is counted. */
export function list(items: readonly string[], word: 'and' | 'or' = 'and', most = 12): string {
  if (items.length > most) return `${items.slice(0, most).join(', ')} ${word} ${items.length - most} more`;
  if (items.length < 2) return items.join('');
  return `${items.slice(0, -1).join(', ')} ${word} ${items.at(-1)!}`;
}

/** `1 pod`, `3 pods`. */
export const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;

/** What a client sees of its request, and which backend was meant: `HTTP 503, backend svc:shop/cart`. */
export const statusText = ({ status, backend }: { readonly status: number; readonly backend: string | null }): string =>
  `HTTP ${status}${backend === null ? '' : `, backend ${backend}`}`;
