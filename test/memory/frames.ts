/** Frames layer by layer, innermost first, each with the places in it that are worth lying about. */
import { GENEVE_PORT, VXLAN_PORT, WIREGUARD_PORT } from '../../assembly/abi.js';
import { checksum } from '../../dataplane/packet.js';

export const enum Width {
  /** The lower four bits of a byte: IPv4's header length. */
  LOW,
  /** The upper four: TCP's data offset. */
  HIGH,
  BYTE,
  WORD,
}

export interface Layer {
  readonly bytes: readonly number[];
  /** Where lengths stand. */
  readonly lengths: readonly (readonly [at: number, width: Width])[];
  /** Bytes that say what this is, or what follows: versions, types, protocols, flags, offsets. */
  readonly kinds: readonly number[];
  /** Where the innermost source port stands; -1 for none. */
  readonly ports: number;
  /** What the layer around it calls this one: an IP protocol, an EtherType. */
  readonly type: number;
}

const word = (value: number): number[] => [(value >>> 8) & 255, value & 255];

/** As text, or as it lies. */
type Address = string | Uint8Array;

export function addressBytes(text: Address): readonly number[] {
  if (typeof text !== 'string') return [...text];
  if (!text.includes(':')) return text.split('.').map(Number);
  const [head, tail] = text.split('::').map((side) => (side === '' ? [] : side.split(':')));
  const groups = tail ? [...head!, ...new Array<string>(8 - head!.length - tail.length).fill('0'), ...tail] : head!;
  return groups.flatMap((group) => word(parseInt(group, 16)));
}

const NOTHING: Layer = { bytes: [], lengths: [], kinds: [], ports: -1, type: 59 };

export const data = (length: number): Layer => ({
  ...NOTHING,
  bytes: Array.from({ length }, (_, i) => i & 255),
});

/** Puts a header in front. */
function around(inner: Layer, type: number, header: number[], own: Partial<Layer> = {}): Layer {
  const by = header.length;
  return {
    bytes: [...header, ...inner.bytes],
    lengths: [...(own.lengths ?? []), ...inner.lengths.map(([at, width]) => [at + by, width] as const)],
    kinds: [...(own.kinds ?? []), ...inner.kinds.map((at) => at + by)],
    ports: inner.ports >= 0 ? inner.ports + by : (own.ports ?? -1),
    type,
  };
}

export const tcp = (sport: number, dport: number, inner = NOTHING, flags = 0x02, options = 0): Layer =>
  around(
    inner,
    6,
    [...word(sport), ...word(dport), 0, 0, 0, 1, 0, 0, 0, 0, (5 + options) << 4, flags, 255, 255, 0, 0, 0, 0].concat(
      new Array<number>(options * 4).fill(1),
    ),
    { lengths: [[12, Width.HIGH]], kinds: [13], ports: 0 },
  );

/** With a checksum that is not zero, unless it shall be. */
export const udp = (sport: number, dport: number, inner = NOTHING, sum = 0x1234): Layer =>
  around(inner, 17, [...word(sport), ...word(dport), ...word(8 + inner.bytes.length), ...word(sum)], {
    lengths: [[4, Width.WORD]],
    kinds: [6, 7],
    ports: 0,
  });

export const sctp = (sport: number, dport: number, inner = NOTHING): Layer =>
  around(inner, 132, [...word(sport), ...word(dport), 0, 0, 0, 0, 0, 0, 0, 0], { ports: 0 });

/** An echo, or an error about the packet `inner`. */
export const icmp = (type: number, inner = NOTHING, code = 0): Layer =>
  around(inner, 1, [type, code, 0, 0, 0, 7, 0, 1], { kinds: [0, 1], ports: inner.ports >= 0 ? -1 : 4 });
export const icmp6 = (type: number, inner = NOTHING, code = 0): Layer => ({ ...icmp(type, inner, code), type: 58 });

interface V4 {
  readonly ttl?: number;
  /** A multiple of four bytes. */
  readonly options?: readonly number[];
  /** Flags and offset. */
  readonly fragment?: number;
}

export function ipv4(source: Address, destination: Address, inner: Layer, more: V4 = {}): Layer {
  const { options = [] } = more;
  const header = 20 + options.length;
  const bytes = [
    0x40 | (header >> 2),
    0,
    ...word(header + inner.bytes.length),
    ...word(0x1111),
    ...word(more.fragment ?? 0x4000),
    more.ttl ?? 64,
    inner.type,
    0,
    0,
    ...addressBytes(source),
    ...addressBytes(destination),
    ...options,
  ];
  bytes.splice(10, 2, ...word(checksum(Uint8Array.from(bytes))));
  return around(inner, 0x0800, bytes, {
    lengths: [
      [0, Width.LOW],
      [2, Width.WORD],
    ],
    kinds: [0, 6, 7, 8, 9],
  });
}

export const ipv6 = (source: Address, destination: Address, inner: Layer, hopLimit = 64): Layer =>
  around(
    inner,
    0x86dd,
    [
      0x60,
      0,
      0,
      0,
      ...word(inner.bytes.length),
      inner.type,
      hopLimit,
      ...addressBytes(source),
      ...addressBytes(destination),
    ],
    { lengths: [[4, Width.WORD]], kinds: [0, 6, 7] },
  );

/** An IPv6 extension header of `words` times 8 bytes: hop-by-hop 0, routing 43, destination 60. RFC 8200 section 4. */
export const extension = (type: number, inner: Layer, words = 1): Layer =>
  optioned(type, inner, new Array<number>(words * 8 - 2).fill(0));

/** One with `options` in it, which fill it. */
export const optioned = (type: number, inner: Layer, options: readonly number[]): Layer =>
  around(inner, type, [inner.type, (options.length + 2) / 8 - 1, ...options], {
    lengths: [[1, Width.BYTE]],
    kinds: [0, 2, 3],
  });

/** The authentication header counts its length in words of 4 bytes, less 2. RFC 4302. */
export const authentication = (inner: Layer): Layer =>
  around(inner, 51, [inner.type, 4, ...new Array<number>(22).fill(0)], { lengths: [[1, Width.BYTE]], kinds: [0] });

/** `offset` in units of 8 bytes. */
export const fragment6 = (inner: Layer, offset: number, more: boolean): Layer =>
  around(inner, 44, [inner.type, 0, ...word((offset << 3) | (more ? 1 : 0)), 0, 0, 0, 9], { kinds: [0, 2, 3] });

export const vxlan = (vni: number, inner: Layer, flags = 0x08): Layer =>
  udp(
    50000,
    VXLAN_PORT,
    around(inner, 0, [flags, 0, 0, 0, (vni >>> 16) & 255, ...word(vni), 0], { kinds: [0, 4, 5, 6] }),
    0,
  );

/** RFC 8926 section 3.4. */
export const geneve = (vni: number, inner: Layer, ...options: readonly (readonly number[])[]): Layer => {
  const behind = options.reduceRight(
    (rest, option) => around(rest, 0, [...option], { lengths: [[3, Width.BYTE]], kinds: [0, 1, 2, 3] }),
    inner,
  );
  const words = options.flat().length / 4;
  const header = [words, 0, 0x65, 0x58, (vni >>> 16) & 255, ...word(vni), 0];
  const own = { lengths: [[0, Width.BYTE]] as const, kinds: [0, 1, 2, 3, 4, 5, 6] };
  return udp(50000, GENEVE_PORT, around(behind, 0, header, own), 0);
};

/** An option of Geneve's, whose length counts in words of 4 bytes. */
export const geneveOption = (type: number, content: readonly number[]): readonly number[] => [
  ...word(0x014b),
  type,
  content.length / 4,
  ...content,
];

/** The Service that was asked, where direct server return tells it: in IPv4's options (lowest byte first), IPv6's, Geneve's. */
export const frontend = {
  option4: (address: Address, port: number): readonly number[] => [
    0x9a,
    8,
    ...word(port).reverse(),
    ...[...addressBytes(address)].reverse(),
  ],
  extension6: (address: Address, port: number, inner: Layer): Layer =>
    optioned(60, inner, [0x1b, 0x14, ...addressBytes(address), ...word(port), 0, 0]),
  geneve: (address: Address, port: number): readonly number[] =>
    geneveOption(0x81, [...addressBytes(address), ...word(port), 0, 0]),
};

/** A message of WireGuard's for data (type 4), as the datapath sees it: with the packet in it as it is. */
export const wireguard = (inner: Layer, type = 4): Layer =>
  udp(
    WIREGUARD_PORT,
    WIREGUARD_PORT,
    around(inner, 0, [type, 0, 0, 0, 2, 0, 0, 0, ...new Array<number>(8).fill(0)], { kinds: [0] }),
    0,
  );

/** A packet in a packet of the same family. RFC 2003, RFC 2473. */
export const inIp = (source: Address, destination: Address, inner: Layer): Layer =>
  inner.type === 0x86dd
    ? ipv6(source, destination, { ...inner, type: 41 })
    : ipv4(source, destination, { ...inner, type: 4 });

export const ethernet = (inner: Layer, type = inner.type): Layer =>
  around(inner, 0, [2, 1, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, ...word(type)], { kinds: [12, 13] });

/** An 802.1Q tag (0x8100), or the outer of two (0x88a8). */
export const vlan = (inner: Layer, type = 0x8100): Layer =>
  around(inner, type, [0, 5, ...word(inner.type)], { kinds: [2, 3] });
