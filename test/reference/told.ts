/**
 * What direct server return tells a backend's node: the address and port that the client asked for. Cilium `bpf/lib/dsr.h`
 * (`struct dsr_opt_v4`, `dsr_opt_v6`), `bpf/lib/encap.h` (`struct geneve_dsr_opt4`, `geneve_dsr_opt6`).
 */
import { addressAt, putAddress, putWord, versionOf, word, type Address, type Version } from './bytes.js';
import { ETHERNET } from './packet.js';

export interface Told {
  readonly address: Address;
  readonly port: number;
}

/** Geneve: `DSR_GENEVE_OPT_CLASS`, `DSR_GENEVE_OPT_TYPE`. */
const CLASS = 0x014b;
const TYPE = 0x81;
/** IPv4: copied to all pieces, number 26 (`DSR_IPV4_OPT_TYPE`). IPv6: `DSR_IPV6_OPT_TYPE`, in a destination options header. */
const TYPE_V4 = 0x9a;
const LENGTH_V4 = 8;
const TYPE_V6 = 0x1b;
const DESTINATION_OPTIONS = 60;

/** The option of Geneve's header: class, type, words of data; address, port, two bytes of padding. */
export function option({ address, port }: Told): Uint8Array {
  const bytes = new Uint8Array(8 + address.length);
  putWord(bytes, 0, CLASS);
  bytes[2] = TYPE;
  bytes[3] = (4 + address.length) / 4;
  putAddress(bytes, 4, address);
  putWord(bytes, 4 + address.length, port);
  return bytes;
}

/** One whole option of Geneve's; null for any other. */
export function readOption(bytes: Uint8Array): Told | null {
  const length = bytes.length - 8;
  if (word(bytes, 0) !== CLASS || bytes[2] !== TYPE || bytes[3]! >>> 5 !== 0) return null;
  if (length !== 4 && length !== 16) return null;
  return { address: addressAt(bytes, 4, length === 4 ? 4 : 6), port: word(bytes, 4 + length) };
}

/** What goes behind the fixed part of the packet's own header; `next` is what stood there (IPv6). */
export function inHeader({ address, port }: Told, next: number): Uint8Array {
  if (versionOf(address) === 4)
    // Cilium turns both from network order to its own, so that their lowest bytes come first.
    return Uint8Array.of(
      TYPE_V4,
      LENGTH_V4,
      port,
      port >>> 8,
      ...[...address].reverse().map((unit) => unit.charCodeAt(0)),
    );
  const bytes = new Uint8Array(24);
  bytes.set([next, 2, TYPE_V6, 20]);
  putAddress(bytes, 4, address);
  putWord(bytes, 20, port);
  return bytes;
}

/** What a packet's own header tells; null for nothing. Only where Cilium puts it: first of all. */
export function readHeader(frame: Uint8Array, version: Version): Told | null {
  const at = ETHERNET + (version === 4 ? 20 : 40);
  if (version === 4) {
    if ((frame[ETHERNET]! & 15) < 7 || frame[at] !== TYPE_V4 || frame[at + 1] !== LENGTH_V4) return null;
    const address = String.fromCharCode(frame[at + 7]!, frame[at + 6]!, frame[at + 5]!, frame[at + 4]!);
    return { address, port: frame[at + 2]! | (frame[at + 3]! << 8) };
  }
  if (frame[ETHERNET + 6] !== DESTINATION_OPTIONS || frame[at + 1] !== 2) return null;
  if (frame[at + 2] !== TYPE_V6 || frame[at + 3] !== 20) return null;
  return { address: addressAt(frame, at + 4, 6), port: word(frame, at + 20) };
}
