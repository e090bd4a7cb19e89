import type { ProblemCode } from '../problems.js';

/** In bytes; in UTF-16 units where an editor gives the text. */
export const MAX_FILE_SIZE = 20_000_000;

/** Why a whole file is refused, and the stretch of its text that shows it. */
export interface Refusal {
  readonly code: ProblemCode;
  readonly message: string;
  readonly start: number;
  readonly end: number;
}

export interface Decoded {
  /** Without a byte order mark, as editors hold it. Empty for a file over the limit. */
  readonly text: string;
  readonly refusal: Refusal | null;
}

/** Characters that the YAML reader of Kubernetes refuses anywhere in a file, and halves of surrogate pairs. */
// eslint-disable-next-line no-control-regex
const REFUSED = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]|\p{Surrogate}/u;

/** The text of a file: UTF-8, or UTF-16 where its byte order mark says so. Never throws. */
export function decode(content: string | Uint8Array): Decoded {
  if (content.length > MAX_FILE_SIZE) {
    const message = `The file is larger than ${MAX_FILE_SIZE / 1e6} MB.`;
    return { text: '', refusal: { code: 'HS1006', message, start: 0, end: 0 } };
  }
  if (typeof content !== 'string') return decodeBytes(content);
  return refuseCharacters(content.charCodeAt(0) === 0xfeff ? content.slice(1) : content);
}

function decodeBytes(bytes: Uint8Array): Decoded {
  const encoding = encodingOf(bytes);
  try {
    return refuseCharacters(new TextDecoder(encoding, { fatal: true }).decode(bytes));
  } catch {
    const text = new TextDecoder(encoding).decode(bytes);
    const start = Math.max(0, text.indexOf('\ufffd'));
    const message = `The file is not valid ${encoding.toUpperCase()}.`;
    return { text, refusal: { code: 'HS1005', message, start, end: Math.min(start + 1, text.length) } };
  }
}

function encodingOf(bytes: Uint8Array): 'utf-8' | 'utf-16le' | 'utf-16be' {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le';
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be';
  return 'utf-8';
}

function refuseCharacters(text: string): Decoded {
  const found = REFUSED.exec(text);
  if (!found) return { text, refusal: null };
  const unit = text.charCodeAt(found.index).toString(16).toUpperCase().padStart(4, '0');
  const message = `The character U+${unit} is not allowed in a manifest.`;
  return { text, refusal: { code: 'HS1005', message, start: found.index, end: found.index + 1 } };
}
