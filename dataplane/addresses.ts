/** Addresses and prefixes of both families, as numbers in host order. Texts of IPv6 go through ipaddr.js. */
import ipaddr from 'ipaddr.js';

/** An IPv4 address is a number below 2^32, an IPv6 address a bigint below 2^128: its type is its family, and `===` tells any two apart. */
export type Address = number | bigint;

/** Kubernetes `v1.IPFamily`. */
export type Family = 'IPv4' | 'IPv6';

/** A prefix: an address and a length in bits. It holds addresses of its own family only. */
export interface Prefix {
  readonly address: Address;
  readonly length: number;
}

export const FAMILIES: readonly Family[] = ['IPv4', 'IPv6'];

/** Bits of a family's addresses. */
export const BITS: Readonly<Record<Family, number>> = { IPv4: 32, IPv6: 128 };

/** 0.0.0.0 and ::, nobody's address. */
export const UNSPECIFIED: Readonly<Record<Family, Address>> = { IPv4: 0, IPv6: 0n };

export const isIpv6 = (address: Address): address is bigint => typeof address === 'bigint';

export const familyOf = (address: Address): Family => (isIpv6(address) ? 'IPv6' : 'IPv4');

const bitsOf = (address: Address): number => BITS[familyOf(address)];

/** IPv4 first, then by value. */
export const compareAddresses = (a: Address, b: Address): number =>
  isIpv6(a) === isIpv6(b) ? (a < b ? -1 : a > b ? 1 : 0) : isIpv6(a) ? 1 : -1;

/** By address, then the wider one first. */
export const comparePrefixes = (a: Prefix, b: Prefix): number =>
  compareAddresses(a.address, b.address) || a.length - b.length;

/** The address so many further on. */
export const plus = (address: Address, offset: number): Address =>
  isIpv6(address) ? address + BigInt(offset) : address + offset;

/** IPv6 letters, and an IPv4 address at the end: RFC 4291, section 2.2. No zone: it means nothing off its own machine. */
const IPV6 = /^([0-9a-fA-F:]*:)((?:\d{1,3}\.){3}\d{1,3}|[0-9a-fA-F]*)$/;

/** A dotted IPv4 address with four decimal parts, none with a leading zero, or an IPv6 address; null for anything else. */
export function parseAddress(text: string): Address | null {
  const ipv4 = parseIpv4(text);
  if (ipv4 !== null) return ipv4;
  const [, groups, last] = IPV6.exec(text) ?? [];
  if (groups === undefined || last === undefined) return null;
  const dotted = last.includes('.') ? parseAddress(last) : null;
  if (dotted === null && last.includes('.')) return null;
  const plain = dotted === null ? text : `${groups}${hex(Number(dotted) >>> 16)}:${hex(Number(dotted) & 0xffff)}`;
  if (!ipaddr.IPv6.isValid(plain)) return null;
  return ipaddr.IPv6.parse(plain).parts.reduce((value, part) => (value << 16n) | BigInt(part), 0n);
}

const DOT = 0x2e;
const ZERO = 0x30;

/** Read letter by letter: a large cluster has hundreds of thousands of them. */
function parseIpv4(text: string): number | null {
  let address = 0;
  let dots = 0;
  let part = -1;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === DOT) {
      if (part < 0 || ++dots > 3) return null;
      address = address * 256 + part;
      part = -1;
    } else {
      const digit = unit - ZERO;
      if (digit < 0 || digit > 9 || part === 0) return null;
      part = part < 0 ? digit : part * 10 + digit;
      if (part > 255) return null;
    }
  }
  return dots === 3 && part >= 0 ? address * 256 + part : null;
}

const hex = (value: number): string => value.toString(16);

/** As RFC 5952 wants it: lower case, the longest run of zeros as `::`. */
export function formatAddress(address: Address): string {
  if (!isIpv6(address)) return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
  const parts = Array.from({ length: 8 }, (_, i) => Number((address >> BigInt(16 * (7 - i))) & 0xffffn));
  return new ipaddr.IPv6(parts).toRFC5952String();
}

/** `10.0.0.1:80`, `[fd00::1]:80`. RFC 3986, section 3.2.2. */
export const formatEndpoint = (address: Address, port: number): string =>
  isIpv6(address) ? `[${formatAddress(address)}]:${port}` : `${formatAddress(address)}:${port}`;

/** The prefix of a CIDR text as it is written, host bits and all; null for anything else. */
export function parseCidr(text: string): Prefix | null {
  const [written, bits, ...rest] = text.split('/');
  const address = parseAddress(written ?? '');
  if (address === null || rest.length > 0 || bits === undefined || !/^(0|[1-9]\d{0,2})$/.test(bits)) return null;
  const length = Number(bits);
  return length <= bitsOf(address) ? { address, length } : null;
}

/** The prefix of a CIDR text, host bits cleared; null for anything else. */
export function parsePrefix(text: string): Prefix | null {
  const cidr = parseCidr(text);
  return cidr && { address: maskOf(cidr.length, cidr.address), length: cidr.length };
}

export const formatPrefix = (prefix: Prefix): string => `${formatAddress(prefix.address)}/${prefix.length}`;

/** The first `length` bits of an address. */
export function maskOf(length: number, address: number): number;
export function maskOf(length: number, address: Address): Address;
export function maskOf(length: number, address: Address): Address {
  if (!isIpv6(address)) return length === 0 ? 0 : (address & (-1 << (32 - length))) >>> 0;
  const rest = BigInt(128 - length);
  return (address >> rest) << rest;
}

/** Whether a prefix holds an address. */
export const contains = (prefix: Prefix, address: Address): boolean =>
  maskOf(prefix.length, address) === maskOf(prefix.length, prefix.address);

/** Whether a prefix holds another one, or is it. */
export const covers = (outer: Prefix, inner: Prefix): boolean =>
  outer.length <= inner.length && contains(outer, inner.address);

/** The prefix of one address alone. */
export const prefixOf = (address: Address): Prefix => ({ address, length: bitsOf(address) });

/** How many addresses a prefix has, as far as numbers are handed out of it: never more than 2^32. */
export const sizeOf = ({ address, length }: Prefix): number => 2 ** Math.min(bitsOf(address) - length, 32);

/** How many addresses `to` is further on than `from`, of the same family. */
export const distance = (from: Address, to: Address): number => Number(BigInt(to) - BigInt(from));

/** The last address of a prefix. */
export function lastOf({ address, length }: Prefix): Address {
  return isIpv6(address) ? address + (1n << BigInt(128 - length)) - 1n : address + 2 ** (32 - length) - 1;
}
