import ipaddr from 'ipaddr.js';
import { quote, type Fields } from './fields.js';
import type { Located } from './place.js';

/** An address block: the bytes of its address as written, 4 or 16, and the length of its prefix in bits. */
export interface Cidr {
  readonly bytes: readonly number[];
  readonly prefix: number;
}

const IPV4 = /^(?:(?:0|[1-9]\d?|1\d\d|2[0-4]\d|25[0-5])(?:\.(?!$)|$)){4}$/;
const IPV6 = /^[0-9a-fA-F:.]{2,45}$/;
const PREFIX = /^(0|[1-9]\d{0,2})$/;

/**
 * Bytes of an address, or null. An octet with a leading zero is none, as it is octal to some programs; neither is an
 * IPv4 address written as IPv6 (::ffff:1.2.3.4), which Kubernetes treats differently from place to place.
 */
function parseAddress(text: string): readonly number[] | null {
  if (IPV4.test(text)) return text.split('.').map(Number);
  if (!IPV6.test(text) || !ipaddr.IPv6.isValid(text)) return null;
  const dotted = text.includes('.') ? text.slice(text.lastIndexOf(':') + 1) : null;
  if (dotted !== null && !IPV4.test(dotted)) return null;
  const address = ipaddr.IPv6.parse(text);
  return address.isIPv4MappedAddress() ? null : address.toByteArray();
}

export const isAddress = (text: string): boolean => parseAddress(text) !== null;

export function parseCidr(text: string): Cidr | null {
  const [address, prefix, ...more] = text.split('/');
  if (prefix === undefined || more.length > 0 || !PREFIX.test(prefix)) return null;
  const bytes = parseAddress(address!);
  return bytes && Number(prefix) <= bytes.length * 8 ? { bytes, prefix: Number(prefix) } : null;
}

/** The bits of a byte that belong to the prefix. */
const maskOf = (prefix: number, byte: number): number => (0xff00 >> Math.min(8, Math.max(0, prefix - byte * 8))) & 0xff;

/** Whether the address has bits set beyond the prefix; Kubernetes accepts and ignores them. */
export const hasHostBits = ({ bytes, prefix }: Cidr): boolean =>
  bytes.some((byte, index) => (byte & ~maskOf(prefix, index)) !== 0);

/** Whether every address of `inner` is one of `outer`. */
export const contains = (outer: Cidr, inner: Cidr): boolean =>
  outer.bytes.length === inner.bytes.length &&
  outer.prefix <= inner.prefix &&
  outer.bytes.every((byte, index) => ((byte ^ inner.bytes[index]!) & maskOf(outer.prefix, index)) === 0);

/** The string of a field where it is an address. An empty one stands for none. */
export function readAddress(fields: Fields, name: string): Located<string> | null | undefined {
  const found = fields.string(name);
  if (!found || found.value === '') return found && null;
  return isAddress(found.value) ? found : fields.refuse('HS1010', name, `${quote(found.value)} is not an IP address.`);
}
