/** IPv4 addresses as numbers (host order), through ipaddr.js; IPv6 is recognised, and waits for its half of the datapath. */
import ipaddr from 'ipaddr.js';

/** An address in host order: a number is IPv4's, a bigint IPv6's. */
export type Address = number | bigint;

/** A prefix: its lowest address and its length in bits. */
export interface Prefix {
  readonly address: number;
  readonly length: number;
}

/** The number of a dotted IPv4 address with four decimal parts; null for anything else. */
export function parseAddress(text: string): number | null {
  if (!ipaddr.IPv4.isValidFourPartDecimal(text)) return null;
  const [a, b, c, d] = ipaddr.IPv4.parse(text).octets as [number, number, number, number];
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

/** Whether a text is an IPv6 address. */
export const isIpv6 = (text: string): boolean => ipaddr.IPv6.isValid(text);

export function formatAddress(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** The IPv4 prefix of a CIDR text, host bits cleared; null for anything else. */
export function parsePrefix(text: string): Prefix | null {
  const [address, bits, ...rest] = text.split('/');
  const number = parseAddress(address ?? '');
  if (number === null || rest.length > 0 || bits === undefined || !/^(\d|[12]\d|3[0-2])$/.test(bits)) return null;
  const length = Number(bits);
  return { address: maskOf(length, number), length };
}

export const formatPrefix = (prefix: Prefix): string => `${formatAddress(prefix.address)}/${prefix.length}`;

/** The first `length` bits of an address. */
export function maskOf(length: number, address: number): number {
  return length === 0 ? 0 : (address & (-1 << (32 - length))) >>> 0;
}

/** Whether a prefix holds an address. */
export const contains = (prefix: Prefix, address: number): boolean => maskOf(prefix.length, address) === prefix.address;

/** Whether a prefix holds another one, or is it. */
export const covers = (outer: Prefix, inner: Prefix): boolean =>
  outer.length <= inner.length && contains(outer, inner.address);

/** The last address of a prefix. */
export const lastOf = (prefix: Prefix): number => prefix.address + 2 ** (32 - prefix.length) - 1;
