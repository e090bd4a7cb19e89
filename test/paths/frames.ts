/** Packets of a path as they are written in its `path.json`, and bytes as they are read. */
import { packet, type PacketBuilder } from '../packet.js';

/** One packet. */
export interface Sent {
  /** Whose it is: `pod client`, `host n1`, `wire n1` (it arrives there), `socket client`, `proxy n1`. */
  readonly at: string;
  /** `10.1.0.5:40000 > 10.96.0.10:80 TCP SYN`; of ICMP `10.1.0.5 > 10.1.0.6 ICMP 8/0`. */
  readonly packet: string;
  /** Bytes behind the transport header. */
  readonly size?: number;
  /** The word behind an ICMP message's checksum: an echo's id and number, an MTU. */
  readonly rest?: number;
  /** The packet that an ICMP error quotes. */
  readonly quotes?: string;
  /** Which piece it is, of the datagram with this id: `first`, or `last` without its transport header. */
  readonly piece?: 'first' | 'last';
  readonly id?: number;
  /** When it comes, in milliseconds; unless given, after all before it. */
  readonly time?: number;
  /** Of a proxy's packet: the identity for which it speaks, by the name of its pod. */
  readonly for?: string;
}

const FLAGS: Readonly<Record<string, number>> = { SYN: 0x02, ACK: 0x10, 'SYN,ACK': 0x12, 'FIN,ACK': 0x11, RST: 0x04 };

const LINE = /^(\S+) > (\S+) (TCP|UDP|SCTP|ICMP)(?: (\S+))?$/;

/** `10.1.0.5:80`, `[fd00::5]:80`, `10.1.0.5`. */
const END = /^(?:\[(.+)\]|([^:]+))(?::(\d+))?$/;

function endOf(text: string): { readonly address: string; readonly port: number } {
  const match = END.exec(text);
  if (!match) return { address: text, port: 0 };
  return { address: match[1] ?? match[2]!, port: Number(match[3] ?? 0) };
}

/** A piece that is not the last has More Fragments set, one that is not the first an offset, in words of 8 bytes. RFC 791 section 3.1. */
const PIECES = { first: 0x2000, last: 0x0002 } as const;

export function frameOf({ packet: line, size = 0, rest = 0, quotes, piece, id = 0 }: Sent): Uint8Array {
  const body =
    quotes === undefined ? new Array<number>(size).fill(0) : [...frameOf({ at: '', packet: quotes }).subarray(14)];
  return built(line, piece === undefined ? { id } : { id, fragment: PIECES[piece] }, rest, piece === 'last')
    .payload(...body)
    .bytes();
}

function built(line: string, more: { id: number; fragment?: number }, rest: number, headless: boolean): PacketBuilder {
  const [, from = '', to = '', protocol, detail = ''] = LINE.exec(line) ?? [];
  const [source, destination] = [endOf(from), endOf(to)];
  const ip = source.address.includes(':')
    ? packet().eth().ipv6(source.address, destination.address)
    : packet().eth().ipv4(source.address, destination.address, more);
  if (headless) return ip.rest(protocol === 'UDP' ? 17 : 6);
  const [type = 0, code = 0] = detail.split('/').map(Number);
  switch (protocol) {
    case 'TCP':
      return ip.tcp(source.port, destination.port, FLAGS[detail] ?? 0x02);
    case 'UDP':
      return ip.udp(source.port, destination.port);
    case 'SCTP':
      return ip.sctp(source.port, destination.port);
    case 'ICMP':
      return ip.icmp(type, code, rest);
    default:
      throw new Error(`${line} is no packet`);
  }
}

const ROW = 16;

const row = (bytes: Uint8Array): string =>
  [...bytes]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join(' ')
    .padEnd(3 * ROW - 1);

/** Two frames beside each other, with a star at the rows that differ; rows that say the same as the one above are left out. */
export function hexBeside(before: Uint8Array, after: Uint8Array): string {
  const count = Math.ceil(Math.max(before.length, after.length) / ROW);
  const rows = Array.from({ length: count }, (_, i) => {
    const [left = '', right = ''] = [before, after].map((bytes) => row(bytes.subarray(i * ROW, (i + 1) * ROW)));
    return { at: i * ROW, text: `${left} ${left === right ? ' ' : '*'} ${right}`.trimEnd() };
  });
  return rows
    .filter(({ text }, i) => text !== rows[i - 1]?.text)
    .map(({ at, text }) => `   ${at.toString(16).padStart(4, '0')}  ${text}`)
    .join('\n');
}
