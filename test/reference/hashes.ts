/** Hashes by which flows are spread. All take words as a little-endian machine loads them from the wire. */
import type { Address } from './bytes.js';

/** Seeds of Cilium's default installation: of `JLfvgnHc2kaSUFaI` in base64, the second and third big-endian word. */
const SEED_V4 = 0x71dcda46;
const SEED_V6 = 0x92505688;

const swap = (port: number): number => ((port & 255) << 8) | (port >>> 8);

/** Both ports as one word of four bytes: the source port's come first. */
export const portsWord = (sourcePort: number, destinationPort: number): number =>
  (swap(destinationPort) << 16) | swap(sourcePort);

const addressWord = (address: Address, i: number): number =>
  address.charCodeAt(4 * i) |
  (address.charCodeAt(4 * i + 1) << 8) |
  (address.charCodeAt(4 * i + 2) << 16) |
  (address.charCodeAt(4 * i + 3) << 24);

/** One word for an address of either family: of IPv6's four, the exclusive or. */
export function folded(address: Address): number {
  let all = 0;
  for (let i = 0; i < address.length >>> 2; i++) all ^= addressWord(address, i);
  return all;
}

const rotate = (value: number, by: number): number => (value << by) | (value >>> (32 - by));

type Words = readonly [a: number, b: number, c: number];

/** Bob Jenkins' lookup3 ("hash.c", May 2006), its `mix`: rotations 4 6 8 16 19 4. */
function mix([a, b, c]: Words): Words {
  a = (a - c) ^ rotate(c, 4);
  c = (c + b) | 0;
  b = (b - a) ^ rotate(a, 6);
  a = (a + c) | 0;
  c = (c - b) ^ rotate(b, 8);
  b = (b + a) | 0;
  a = (a - c) ^ rotate(c, 16);
  c = (c + b) | 0;
  b = (b - a) ^ rotate(a, 19);
  a = (a + c) | 0;
  c = (c - b) ^ rotate(b, 4);
  b = (b + a) | 0;
  return [a, b, c];
}

/** lookup3's `final`: rotations 14 11 25 16 4 14 24. */
function final([a, b, c]: Words): number {
  c = ((c ^ b) - rotate(b, 14)) | 0;
  a = ((a ^ c) - rotate(c, 11)) | 0;
  b = ((b ^ a) - rotate(a, 25)) | 0;
  c = ((c ^ b) - rotate(b, 16)) | 0;
  a = ((a ^ c) - rotate(c, 4)) | 0;
  b = ((b ^ a) - rotate(a, 14)) | 0;
  return ((c ^ b) - rotate(b, 24)) >>> 0;
}

/** The kernel's `jhash_3words`, with the length in bytes in its start, as Cilium has it. */
export function jhash3(a: number, b: number, c: number, seed: number): number {
  const start = (seed + 0xdeadbeef + 12) | 0;
  return final([(a + start) | 0, (b + start) | 0, (c + start) | 0]);
}

/** Cilium `hash_from_tuple_v4`, `hash_from_tuple_v6`: the destination's address does not count, and its port stands higher. */
export function hashOfTuple(source: Address, sourcePort: number, destinationPort: number, protocol: number): number {
  const ports = portsWord(sourcePort, destinationPort);
  if (source.length === 4) return jhash3(addressWord(source, 0), ports, protocol, SEED_V4);
  const [a, b, c] = mix([addressWord(source, 0), addressWord(source, 1), addressWord(source, 2)]);
  const [x, y, z] = mix([a + addressWord(source, 3), b + ports, c + protocol]);
  return final([(x + SEED_V6) | 0, y, z]);
}

/** Of a whole flow: where the search for a port begins, and the tunnel's source port. */
export const hashOfFlow = (
  source: Address,
  destination: Address,
  sourcePort: number,
  destinationPort: number,
  protocol: number,
): number => jhash3(folded(source), folded(destination), portsWord(sourcePort, destinationPort), protocol);

const DRAW_SEED = 0x5bd1e9955bd1e995n;
const DRAW_FACTOR = 0xff51afd7ed558ccdn;

/** Stands for a random draw: the datapath's own hash of two words. */
export function draw(low: number, high: number): number {
  const words = BigInt(low >>> 0) | (BigInt(high >>> 0) << 32n);
  const mixed = DRAW_SEED ^ words;
  const product = BigInt.asUintN(64, (mixed ^ (mixed >> 32n)) * DRAW_FACTOR);
  return Number(BigInt.asUintN(32, (product >> 32n) ^ (product >> 47n)));
}
