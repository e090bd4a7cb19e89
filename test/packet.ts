/** Builds frames for tests, layer by layer: `packet().eth().ipv4('10.0.0.1', '10.0.0.2').tcp(40000, 80).bytes()`. */
import { parseAddress } from '../dataplane/addresses.js';
import { checksum } from '../dataplane/packet.js';

const addressBytes = (text: string): number[] => {
  const address = parseAddress(text);
  if (address === null) throw new Error(`${text} is no address`);
  const size = typeof address === 'bigint' ? 16 : 4;
  return Array.from({ length: size }, (_, i) => Number((BigInt(address) >> BigInt(8 * (size - 1 - i))) & 255n));
};
const word = (value: number): number[] => [(value >>> 8) & 255, value & 255];

interface Layer {
  readonly bytes: number[];
  /** Bytes of its own checksum in it; -1 for none. */
  readonly checksumAt: number;
  readonly protocol: number;
}

interface Ip {
  readonly version: 4 | 6;
  readonly source: string;
  readonly destination: string;
  readonly options: number[];
  readonly ttl: number;
  readonly fragment: number;
  readonly id: number;
  /** IPv6 extension headers: kind and bytes, the first of which is filled in. */
  readonly extensions: readonly (readonly [kind: number, bytes: number[]])[];
}

const PLAIN = { options: [], ttl: 64, fragment: 0, id: 0, extensions: [] };

export class PacketBuilder {
  private ethernet: number[] = [];
  private ip: Ip | null = null;
  private transport: Layer | null = null;
  private body: number[] = [];

  /** With the EtherType of the IP header to come, unless another is given. */
  eth(type?: number): this {
    this.ethernet = [...new Array<number>(12).fill(0x02), ...(type === undefined ? [] : word(type))];
    return this;
  }

  /** `fragment`: the flags and the offset, as the header has them. */
  ipv4(source: string, destination: string, more: Partial<Ip> = {}): this {
    this.ip = { ...PLAIN, fragment: 0x4000, version: 4, source, destination, ...more };
    return this;
  }

  ipv6(source: string, destination: string, more: Partial<Ip> = {}): this {
    this.ip = { ...PLAIN, version: 6, source, destination, ...more };
    return this;
  }

  tcp(sport: number, dport: number, flags = 0x02): this {
    const bytes = [...word(sport), ...word(dport), 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
    this.transport = { bytes, checksumAt: 16, protocol: 6 };
    return this;
  }

  udp(sport: number, dport: number, withChecksum = true): this {
    const bytes = [...word(sport), ...word(dport), 0, 0, 0, 0];
    this.transport = { bytes, checksumAt: withChecksum ? 6 : -1, protocol: 17 };
    return this;
  }

  sctp(sport: number, dport: number): this {
    this.transport = { bytes: [...word(sport), ...word(dport), 0, 0, 0, 0, 0, 0, 0, 0], checksumAt: -1, protocol: 132 };
    return this;
  }

  /** ICMP or ICMPv6, by the IP header before; `rest` is the last word of its header. */
  icmp(type: number, code = 0, rest = 0): this {
    const bytes = [type, code, 0, 0, ...word(rest >>> 16), ...word(rest & 0xffff)];
    this.transport = { bytes, checksumAt: 2, protocol: this.ip?.version === 6 ? 58 : 1 };
    return this;
  }

  /** A later piece of a datagram: what follows is not a transport header, though its protocol is told. */
  rest(protocol: number): this {
    this.transport = { bytes: [], checksumAt: -1, protocol };
    return this;
  }

  payload(...bytes: number[]): this {
    this.body = bytes;
    return this;
  }

  bytes(): Uint8Array {
    const { ip, transport } = this;
    if (!ip) return Uint8Array.from([...this.ethernet, ...this.body]);
    const ethernet =
      this.ethernet.length === 12 ? [...this.ethernet, ...word(ip.version === 6 ? 0x86dd : 0x0800)] : this.ethernet;
    const segment = Uint8Array.from([...(transport?.bytes ?? []), ...this.body]);
    if (transport?.protocol === 17 && transport.bytes.length > 0) segment.set(word(segment.length), 4);
    if (transport && transport.checksumAt >= 0) {
      const sum = checksum(Uint8Array.from([...pseudo(ip, transport.protocol, segment.length), ...segment]));
      segment.set(word(sum === 0 && transport.protocol === 17 ? 0xffff : sum), transport.checksumAt);
    }
    const header =
      ip.version === 6 ? ipv6Header(ip, transport, segment.length) : ipv4Header(ip, transport, segment.length);
    return Uint8Array.from([...ethernet, ...header, ...segment]);
  }
}

/** ICMP has no pseudo header. */
const pseudo = ({ source, destination }: Ip, protocol: number, length: number): number[] =>
  protocol === 1 ? [] : [...addressBytes(source), ...addressBytes(destination), 0, protocol, ...word(length)];

function ipv4Header(ip: Ip, transport: Layer | null, length: number): Uint8Array {
  const header = Uint8Array.from([
    0x40 + 5 + ip.options.length / 4,
    0,
    ...word(20 + ip.options.length + length),
    ...word(ip.id),
    ...word(ip.fragment),
    ip.ttl,
    transport?.protocol ?? 0,
    0,
    0,
    ...addressBytes(ip.source),
    ...addressBytes(ip.destination),
    ...ip.options,
  ]);
  header.set(word(checksum(header)), 10);
  return header;
}

function ipv6Header({ source, destination, ttl, extensions }: Ip, transport: Layer | null, length: number): number[] {
  const kinds = [...extensions.map(([kind]) => kind), transport?.protocol ?? 59];
  const chain = extensions.flatMap(([, bytes], i) => [kinds[i + 1]!, ...bytes.slice(1)]);
  return [
    0x60,
    0,
    0,
    0,
    ...word(chain.length + length),
    kinds[0]!,
    ttl,
    ...addressBytes(source),
    ...addressBytes(destination),
    ...chain,
  ];
}

export const packet = (): PacketBuilder => new PacketBuilder();

/** Whether the checksums of a frame are right; of IPv6 extension headers it may start with one of options for the destination. */
export function checksumsHold(frame: Uint8Array): boolean {
  const six = frame[12] === 0x86;
  const ip = frame.subarray(14);
  const options = six && ip[6] === 60;
  const headerLength = six ? 40 + (options ? (ip[41]! + 1) * 8 : 0) : (ip[0]! & 15) * 4;
  const length = six ? 40 + ((ip[4]! << 8) | ip[5]!) : (ip[2]! << 8) | ip[3]!;
  const segment = ip.subarray(headerLength, length);
  const protocol = options ? ip[40]! : six ? ip[6]! : ip[9]!;
  const addresses = six ? ip.subarray(8, 40) : ip.subarray(12, 20);
  const front = protocol === 1 ? [] : [...addresses, 0, protocol, ...word(segment.length)];
  const none = protocol === 17 && segment[6] === 0 && segment[7] === 0;
  return (
    (six || checksum(ip.subarray(0, headerLength)) === 0) &&
    (protocol === 132 || none || checksum(Uint8Array.from([...front, ...segment])) === 0)
  );
}
