/** Bytes, addresses and the Internet checksum's arithmetic. All in network order. */

/** An address as the text of its bytes, a UTF-16 unit each: 4 of IPv4, 16 of IPv6. `===` compares, and a Map takes it as its key. */
export type Address = string;

export type Version = 4 | 6;

export const versionOf = (address: Address): Version => (address.length === 4 ? 4 : 6);

/** The source of what a pod sends to itself through a Service: 169.254.42.1 and fe80::1, Cilium's defaults. */
export const LOOPBACK: Readonly<Record<Version, Address>> = {
  4: '\u00a9\u00fe\u002a\u0001',
  6: `\u00fe\u0080${'\0'.repeat(13)}\u0001`,
};

const fourAt = (bytes: Uint8Array, at: number): string =>
  String.fromCharCode(bytes[at]!, bytes[at + 1]!, bytes[at + 2]!, bytes[at + 3]!);

export const addressAt = (bytes: Uint8Array, at: number, version: Version): Address =>
  version === 4
    ? fourAt(bytes, at)
    : fourAt(bytes, at) + fourAt(bytes, at + 4) + fourAt(bytes, at + 8) + fourAt(bytes, at + 12);

export function putAddress(bytes: Uint8Array, at: number, address: Address): void {
  for (let i = 0; i < address.length; i++) bytes[at + i] = address.charCodeAt(i);
}

export const word = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;

export function putWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

/** Whether the first `length` bits of both are the same. */
export function sharePrefix(a: Address, b: Address, length: number): boolean {
  const whole = length >>> 3;
  for (let i = 0; i < whole; i++) if (a.charCodeAt(i) !== b.charCodeAt(i)) return false;
  const rest = length & 7;
  return rest === 0 || (a.charCodeAt(whole) ^ b.charCodeAt(whole)) >>> (8 - rest) === 0;
}

/** RFC 1071: the sum of 16-bit words, not yet folded; an odd last byte counts as if a zero followed. */
export function sumOf(bytes: Uint8Array, from = 0, to = bytes.length): number {
  let sum = 0;
  let at = from;
  for (; at + 1 < to; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  return at < to ? sum + (bytes[at]! << 8) : sum;
}

export function sumOfAddress(address: Address): number {
  let sum = 0;
  for (let i = 0; i < address.length; i += 2) sum += (address.charCodeAt(i) << 8) | address.charCodeAt(i + 1);
  return sum;
}

/** The checksum that brings a sum without it to `total`. Sums count modulo 65535; what is right totals 0. */
export const checksumFor = (sum: number, total = 0): number => (((total - sum) % 0xffff) + 0xffff) % 0xffff;
