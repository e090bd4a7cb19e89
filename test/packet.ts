/** Builds frames for tests, layer by layer: `packet().eth().ipv4('10.0.0.1', '10.0.0.2').tcp(40000, 80).bytes()`. */
import { checksum } from '../dataplane/packet.js';

const addressBytes = (text: string): number[] => text.split('.').map(Number);
const word = (value: number): number[] => [(value >>> 8) & 255, value & 255];

interface Layer {
  readonly bytes: number[];
  /** Bytes of its own checksum in it, and whether the pseudo header counts; -1 for none. */
  readonly checksumAt: number;
  readonly protocol: number;
}

export class PacketBuilder {
  private ethernet: number[] = [];
  private ip: { source: string; destination: string; options: number[]; ttl: number; fragment: number } | null = null;
  private transport: Layer | null = null;
  private body: number[] = [];

  eth(type = 0x0800): this {
    this.ethernet = [...new Array<number>(12).fill(0x02), ...word(type)];
    return this;
  }

  ipv4(source: string, destination: string, more: { options?: number[]; ttl?: number; fragment?: number } = {}): this {
    this.ip = {
      source,
      destination,
      options: more.options ?? [],
      ttl: more.ttl ?? 64,
      fragment: more.fragment ?? 0x4000,
    };
    return this;
  }

  tcp(sport: number, dport: number, flags = 0x02): this {
    this.transport = {
      bytes: [...word(sport), ...word(dport), 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0],
      checksumAt: 16,
      protocol: 6,
    };
    return this;
  }

  udp(sport: number, dport: number, withChecksum = true): this {
    this.transport = {
      bytes: [...word(sport), ...word(dport), 0, 0, 0, 0],
      checksumAt: withChecksum ? 6 : -1,
      protocol: 17,
    };
    return this;
  }

  sctp(sport: number, dport: number): this {
    this.transport = { bytes: [...word(sport), ...word(dport), 0, 0, 0, 0, 0, 0, 0, 0], checksumAt: -1, protocol: 132 };
    return this;
  }

  payload(...bytes: number[]): this {
    this.body = bytes;
    return this;
  }

  bytes(): Uint8Array {
    const { ip, transport } = this;
    if (!ip) return Uint8Array.from([...this.ethernet, ...this.body]);
    const segment = Uint8Array.from([...(transport?.bytes ?? []), ...this.body]);
    if (transport?.protocol === 17) segment.set(word(segment.length), 4);
    const addresses = [...addressBytes(ip.source), ...addressBytes(ip.destination)];
    if (transport && transport.checksumAt >= 0) {
      const pseudo = Uint8Array.from([...addresses, 0, transport.protocol, ...word(segment.length), ...segment]);
      const sum = checksum(pseudo);
      segment.set(word(sum === 0 && transport.protocol === 17 ? 0xffff : sum), transport.checksumAt);
    }
    const header = Uint8Array.from([
      0x40 + 5 + ip.options.length / 4,
      0,
      ...word(20 + ip.options.length + segment.length),
      0,
      0,
      ...word(ip.fragment),
      ip.ttl,
      transport?.protocol ?? 0,
      0,
      0,
      ...addresses,
      ...ip.options,
    ]);
    header.set(word(checksum(header)), 10);
    return Uint8Array.from([...this.ethernet, ...header, ...segment]);
  }
}

export const packet = (): PacketBuilder => new PacketBuilder();

/** Whether the checksums of an IPv4 frame with TCP or UDP are right. */
export function checksumsHold(frame: Uint8Array): boolean {
  const headerLength = (frame[14]! & 15) * 4;
  const header = frame.subarray(14, 14 + headerLength);
  const segment = frame.subarray(14 + headerLength, 14 + ((frame[16]! << 8) | frame[17]!));
  const protocol = frame[23]!;
  const pseudo = Uint8Array.from([...frame.subarray(26, 34), 0, protocol, ...word(segment.length), ...segment]);
  const none = protocol === 17 && segment[6] === 0 && segment[7] === 0;
  return checksum(header) === 0 && (protocol === 132 || none || checksum(pseudo) === 0);
}
