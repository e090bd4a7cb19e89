/** Connections over typed arrays, as `assembly/lib/conntrack.ts` keeps them: without the answers, which no profile sends. */
import { CtDirection, CtFlag, CtLifetime, IpProto, TcpFlag } from '../../../assembly/abi.js';
import { LruMap } from './map.js';

/** Words of an entry's value. */
const enum Word {
  LIFETIME,
  /** Bits of `CtFlag`. */
  FLAGS,
  REV_NAT,
  BACKEND,
  SOURCE_IDENTITY,
  /** Bits of `TcpFlag`: what was sent, and eight bits above what was received. */
  FLAGS_SEEN,
  COUNT,
}

const REPORTED = TcpFlag.SYN | TcpFlag.FIN | TcpFlag.RST;

/** What conntrack sees of a packet. Addresses and ports in network order. */
export interface Seen {
  readonly saddr: number;
  readonly daddr: number;
  readonly ports: number;
  readonly protocol: number;
  readonly tcpFlags: number;
  readonly length: number;
  readonly node: number;
}

export class Conntrack {
  private readonly map: LruMap;
  /** Packets and bytes of each entry. */
  private readonly counters: Float64Array;
  private readonly key = new Int32Array(4);

  constructor(capacity: number) {
    this.map = new LruMap(capacity, 4, Word.COUNT);
    this.counters = new Float64Array(2 * (capacity + 1));
  }

  private setKey(daddr: number, saddr: number, ports: number, { protocol, node }: Seen, direction: number): void {
    const { key } = this;
    key[0] = daddr;
    key[1] = saddr;
    key[2] = ports;
    key[3] = protocol | (direction << 8) | (node << 16);
  }

  /** The entry that the packet goes on with, seen from `direction`, with the packet counted in it; 0 for a new flow. */
  lookup(seen: Seen, direction: CtDirection): number {
    const { saddr, daddr, ports } = seen;
    const opposite = direction === CtDirection.EGRESS ? CtDirection.INGRESS : CtDirection.EGRESS;
    this.setKey(saddr, daddr, (ports << 16) | (ports >>> 16), seen, opposite);
    if (this.map.find(this.key) !== 0) throw new RangeError('no profile in JavaScript sends answers');
    return this.lookupForward(seen, direction);
  }

  /** The entry of a Service's flow, likewise. */
  lookupService(seen: Seen, revNat: number): number {
    const entry = this.lookupForward(seen, CtDirection.SERVICE);
    return entry !== 0 && this.map.word(entry, Word.REV_NAT) === revNat ? entry : 0;
  }

  private lookupForward(seen: Seen, direction: CtDirection): number {
    this.setKey(seen.daddr, seen.saddr, seen.ports, seen, direction);
    const entry = this.map.find(this.key);
    if (entry === 0) return 0;
    if ((seen.tcpFlags & (TcpFlag.FIN | TcpFlag.RST)) !== 0)
      throw new RangeError('no profile in JavaScript closes flows');
    this.map.use(entry);
    this.count(entry, seen.length);
    this.refresh(entry, seen.protocol, seen.tcpFlags, direction);
    return entry;
  }

  backendOf(entry: number): number {
    return this.map.word(entry, Word.BACKEND);
  }

  revNatOf(entry: number): number {
    return this.map.word(entry, Word.REV_NAT);
  }

  /** Remembers the packet as the first of a flow. */
  create(seen: Seen, direction: CtDirection, revNat: number, backend: number, identity: number): void {
    this.setKey(seen.daddr, seen.saddr, seen.ports, seen, direction);
    const known = this.map.find(this.key);
    const entry = known !== 0 ? known : this.map.admit(this.key);
    const at = entry * Word.COUNT;
    this.map.values.fill(0, at, at + Word.COUNT);
    this.map.values[at + Word.REV_NAT] = revNat;
    this.map.values[at + Word.BACKEND] = backend;
    this.map.values[at + Word.SOURCE_IDENTITY] = identity;
    this.counters.fill(0, 2 * entry, 2 * entry + 2);
    this.count(entry, seen.length);
    this.refresh(entry, seen.protocol, seen.protocol === IpProto.TCP ? TcpFlag.SYN : 0, direction);
  }

  private count(entry: number, length: number): void {
    this.counters[2 * entry]!++;
    this.counters[2 * entry + 1]! += length;
  }

  private refresh(entry: number, protocol: number, flags: number, direction: CtDirection): void {
    const { values } = this.map;
    const at = entry * Word.COUNT;
    let seconds = CtLifetime.NONTCP;
    if (protocol === IpProto.TCP) {
      if ((flags & TcpFlag.SYN) === 0) values[at + Word.FLAGS]! |= CtFlag.SEEN_NON_SYN;
      seconds = (values[at + Word.FLAGS]! & CtFlag.SEEN_NON_SYN) !== 0 ? CtLifetime.TCP : CtLifetime.SYN;
    }
    values[at + Word.LIFETIME] = seconds;
    values[at + Word.FLAGS_SEEN]! |= (flags & REPORTED) << (direction === CtDirection.INGRESS ? 8 : 0);
  }
}
