/** What comes back for a frame that arrived: the reply to it, or an ICMP error about it, as its receiver or a router sends it. */
import { Mark, Program } from '../../assembly/abi.js';
import { ethernet, icmp, icmp6, ipv4, ipv6, Width, type Layer } from './frames.js';
import type { Packet } from '../../pkg/structs.js';
import { WORLD } from './families.js';
import type { Template } from './templates.js';

/** Where an IP header of each family has its addresses, and ends unless it has options. */
const V4 = { source: 26, destination: 30, end: 34, ttl: 22, protocol: 23 } as const;
const V6 = { source: 22, destination: 38, end: 54, ttl: 21, protocol: 20 } as const;

/** Where who got it sends from. */
const SENDS: Readonly<Partial<Record<Program, Program>>> = {
  [Program.DELIVERED]: Program.FROM_CONTAINER,
  [Program.HOST]: Program.FROM_HOST,
  [Program.WORLD]: Program.FROM_NETDEV,
  [Program.PROXY]: Program.FROM_PROXY,
};

/** Where a plain answer can lie, as if it were IPv4. */
const LENGTHS: Layer['lengths'] = [
  [14, Width.LOW],
  [16, Width.WORD],
  [38, Width.WORD],
  [46, Width.HIGH],
];
const KINDS = [12, 13, 14, 20, 21, 22, 23, 34, 47];

/** Where a frame ended, and whose it was. */
type End = Pick<Packet, 'program' | 'node' | 'endpoint' | 'sourceIdentity'>;

/** The answer to a frame that ended there; null where there is none. `draw` says which. A proxy sends the frame on as often. */
export function answer(frame: Uint8Array, end: End, draw: number): Template | null {
  const { program, node, endpoint, sourceIdentity } = end;
  const from = SENDS[program as Program];
  const at = frame[12] === 0x08 ? V4 : frame[12] === 0x86 ? V6 : null;
  if (from === undefined || at === null || frame.length < at.end + 8) return null;
  const isOn = from === Program.FROM_PROXY && (draw & 0x1000) !== 0;
  const layer = isOn
    ? plain(frame.slice())
    : (draw & 1) === 0
      ? reply(frame, at)
      : error(frame, at, from === Program.FROM_NETDEV, draw >>> 1);
  const magic = (draw & 0x2000) !== 0 ? Mark.PROXY_EGRESS : Mark.PROXY_INGRESS;
  return {
    frame: Uint8Array.from(layer.bytes),
    lengths: layer.lengths,
    kinds: layer.kinds,
    ports: -1,
    program: from,
    node,
    endpoint: from === Program.FROM_CONTAINER ? endpoint : 0,
    mark: from === Program.FROM_PROXY ? ((sourceIdentity << 16) | magic | ((sourceIdentity >>> 16) & 255)) >>> 0 : 0,
    then: null,
    cut: 0,
  };
}

const plain = (bytes: Uint8Array): Layer => ({ bytes: [...bytes], lengths: LENGTHS, kinds: KINDS, ports: -1, type: 0 });

/** The same, from there to here. */
function reply(frame: Uint8Array, { source, destination, end, ttl }: typeof V4 | typeof V6): Layer {
  const bytes = frame.slice();
  bytes.set(frame.subarray(destination, end), source);
  bytes.set(frame.subarray(source, destination), destination);
  bytes[ttl] = 64;
  const ports = end === V4.end ? 14 + (frame[14]! & 15) * 4 : end;
  if (ports + 4 <= frame.length) {
    bytes.set(frame.subarray(ports + 2, ports + 4), ports);
    bytes.set(frame.subarray(ports, ports + 2), ports + 2);
  }
  return plain(bytes);
}

/** Quotes the frame: little more than its headers, or a good deal of it. Only outside is there a router to send it. */
function error(frame: Uint8Array, at: typeof V4 | typeof V6, outside: boolean, draw: number): Layer {
  const six = at.end === V6.end;
  const quoted: Layer = {
    bytes: [...frame.subarray(14, at.end + ((draw & 2) === 0 ? 8 : 8 + ((draw >>> 8) & 127)))],
    lengths: six
      ? [[4, Width.WORD]]
      : [
          [0, Width.LOW],
          [2, Width.WORD],
        ],
    kinds: [0, 6, at.protocol - 14],
    ports: -1,
    type: 0,
  };
  const router = WORLD[1]!;
  const source = outside && (draw & 1) === 0 ? (six ? router.v6 : router.v4) : frame.subarray(at.destination, at.end);
  const destination = frame.subarray(at.source, at.destination);
  const types = six ? [1, 2, 3, 4] : [3, 3, 11, 12];
  const type = types[(draw >>> 2) & 3]!;
  const code = (draw >>> 4) & 7;
  return ethernet(
    six ? ipv6(source, destination, icmp6(type, quoted, code)) : ipv4(source, destination, icmp(type, quoted, code)),
  );
}
