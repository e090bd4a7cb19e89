/** Which slot of a Maglev table a flow picks: Cilium's `hash_from_tuple_v4` and `_v6`, written down once more. */
import { IpProto } from '../../assembly/abi.js';

/** Cilium's default `maglev.hashSeed`: three big-endian words, for murmur, jhash over IPv4 and over IPv6. */
const SEED = Buffer.from('JLfvgnHc2kaSUFaI', 'base64');
const [SEED4, SEED6] = [SEED.readUInt32BE(4), SEED.readUInt32BE(8)];
const INITVAL = 0xdeadbeef;

const rotl = (word: number, bits: number): number => (word << bits) | (word >>> (32 - bits));

/** `include/linux/jhash.h`, `__jhash_final`. */
function final(a: number, b: number, c: number): number {
  c = ((c ^ b) - rotl(b, 14)) | 0;
  a = ((a ^ c) - rotl(c, 11)) | 0;
  b = ((b ^ a) - rotl(a, 25)) | 0;
  c = ((c ^ b) - rotl(b, 16)) | 0;
  a = ((a ^ c) - rotl(c, 4)) | 0;
  b = ((b ^ a) - rotl(a, 14)) | 0;
  return ((c ^ b) - rotl(b, 24)) >>> 0;
}

const swap16 = (port: number): number => ((port & 255) << 8) | (port >>> 8);

/** Hash of a TCP flow whose source address lies at `at` in `bytes`. */
export function tupleHash(
  bytes: DataView,
  at: number,
  isIpv6: boolean,
  sourcePort: number,
  destinationPort: number,
): number {
  const ports = (swap16(destinationPort) << 16) | swap16(sourcePort);
  const word = (i: number): number => bytes.getUint32(at + 4 * i, true);
  if (!isIpv6) {
    const start = (SEED4 + INITVAL + 12) | 0;
    return final((word(0) + start) | 0, (ports + start) | 0, (IpProto.TCP + start) | 0);
  }
  let [a, b, c] = [word(0) | 0, word(1) | 0, word(2) | 0];
  const mix = (): void => {
    a = ((a - c) | 0) ^ rotl(c, 4);
    c = (c + b) | 0;
    b = ((b - a) | 0) ^ rotl(a, 6);
    a = (a + c) | 0;
    c = ((c - b) | 0) ^ rotl(b, 8);
    b = (b + a) | 0;
    a = ((a - c) | 0) ^ rotl(c, 16);
    c = (c + b) | 0;
    b = ((b - a) | 0) ^ rotl(a, 19);
    a = (a + c) | 0;
    c = ((c - b) | 0) ^ rotl(b, 4);
    b = (b + a) | 0;
  };
  mix();
  a = (a + word(3)) | 0;
  b = (b + ports) | 0;
  c = (c + IpProto.TCP) | 0;
  mix();
  return final((a + SEED6) | 0, b, c);
}
