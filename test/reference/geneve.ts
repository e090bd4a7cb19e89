/** Geneve's header and its options (RFC 8926 sections 3.4 and 3.5), of which only those of direct server return are known. */
import { word } from './bytes.js';
import { DROP } from './numbers.js';
import { readOption, type Told } from './told.js';

const HEADER_LENGTH = 8;
/** The payload is an Ethernet frame. */
const TRANSPARENT_ETHERNET = 0x6558;
/** In the header: an option is critical; in an option's type: whoever does not know it must drop the packet. */
const HAS_CRITICAL = 0x40;
const IS_CRITICAL = 0x80;

/** The first four bytes of the header; version 0. All options that are written are critical. */
export const start = (options: number): Uint8Array =>
  Uint8Array.of(options / 4, options === 0 ? 0 : HAS_CRITICAL, TRANSPARENT_ETHERNET >>> 8, TRANSPARENT_ETHERNET & 255);

export interface Options {
  readonly length: number;
  readonly told: readonly Told[];
}

/** The options of a header, or the reason for which the packet is dropped. */
export function read(header: Uint8Array): Options | number {
  if (header[0]! >>> 6 !== 0 || word(header, 2) !== TRANSPARENT_ETHERNET) return DROP.noTunnelKey;
  const length = (header[0]! & 0x3f) * 4;
  if (HEADER_LENGTH + length > header.length) return DROP.noTunnelOption;
  let options = header.subarray(HEADER_LENGTH, HEADER_LENGTH + length);
  const told: Told[] = [];
  while (options.length > 0) {
    const end = 4 + (options[3]! & 0x1f) * 4;
    if (end > options.length) return DROP.invalidGeneve;
    const one = readOption(options.subarray(0, end));
    if (one) told.push(one);
    else if ((options[2]! & IS_CRITICAL) !== 0) return DROP.invalidGeneve;
    options = options.subarray(end);
  }
  return { length, told };
}
