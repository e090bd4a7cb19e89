/** A batch of TCP packets, each written in place over a frame that is there: what changes from flow to flow is a few words. */
import { BATCH_SIZE, IpProto, PACKET_HEADROOM, PACKET_ROOM, Program, TcpFlag } from '../../assembly/abi.js';
import type { Address } from '../../dataplane/addresses.js';
import { checksum, frameOf } from '../../dataplane/packet.js';
import { Packet } from '../../pkg/structs.js';
import { PLANS, type Entrance, type SoakCluster } from './cluster.js';
import type { Flow } from './flows.js';
import { tupleHash } from './maglev.js';

export const SYN_ACK = TcpFlag.SYN | TcpFlag.ACK;

const ETHERNET = 14;
/** Where things are in an IP header of each family, from its start; TCP comes right behind. IPv6 has no checksum. */
const LAYOUTS = {
  IPv4: { source: 12, destination: 16, address: 4, checksum: 10, length: 20 },
  IPv6: { source: 8, destination: 24, address: 16, checksum: -1, length: 40 },
} as const;
const TCP_FLAGS = 13;
const TCP_CHECKSUM = 16;
const PORT = 80;
/** The first of the hosts outside: 200.0.0.0, 2001:db8:ffff::. */
const OUTSIDE = { IPv4: 0xc8000000, IPv6: 0x20010db8ffff00000000000000000000n } as const;

const NOTHING = new Uint8Array(0);

/** The last 32 bits of an address: what differs between the clients or the Services of a kind. */
const tail = (address: Address): number => Number(BigInt(address) & 0xffffffffn);

/** A frame but for what differs from flow to flow, and the sums of what it has. */
interface Template {
  readonly frame: Uint8Array;
  /** Last words of the first client's and the first Service's address. */
  readonly source: number;
  readonly destination: number;
  readonly headerSum: number;
  readonly segmentSum: number;
}

export class Batch {
  count = 0;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly record: Packet;
  private readonly layout: (typeof LAYOUTS)[keyof typeof LAYOUTS];
  private readonly inside: Template;
  private readonly outside: Template;

  constructor(private readonly cluster: SoakCluster) {
    const { memory } = cluster.datapath.wasm;
    this.bytes = new Uint8Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.record = new Packet(this.view);
    this.layout = LAYOUTS[cluster.family];
    const plan = PLANS[cluster.family];
    this.inside = this.template(plan.client(0), plan.clusterIP(0));
    this.outside = this.template(OUTSIDE[cluster.family], plan.externalIP(0));
  }

  private template(source: Address, destination: Address): Template {
    const ports = { sourcePort: 0, destinationPort: PORT };
    const frame = frameOf({ source, destination, protocol: IpProto.TCP, ...ports });
    const { layout } = this;
    const view = new DataView(frame.buffer);
    const tcp = ETHERNET + layout.length;
    view.setUint32(ETHERNET + layout.source + layout.address - 4, 0);
    view.setUint32(ETHERNET + layout.destination + layout.address - 4, 0);
    view.setUint8(tcp + TCP_FLAGS, 0);
    view.setUint16(tcp + TCP_CHECKSUM, 0);
    if (layout.checksum >= 0) view.setUint16(ETHERNET + layout.checksum, 0);
    const sum = (from: number, to: number): number => ~checksum(frame.subarray(from, to)) & 0xffff;
    const addresses = sum(ETHERNET + layout.source, tcp);
    return {
      frame,
      source: tail(source),
      destination: tail(destination),
      headerSum: sum(ETHERNET, tcp),
      segmentSum: sum(tcp, frame.length) + addresses + IpProto.TCP + frame.length - tcp,
    };
  }

  private frameAt(i: number): number {
    return this.cluster.datapath.wasm.frames() + i * PACKET_ROOM + PACKET_HEADROOM;
  }

  private recordOf(i: number): Packet {
    this.record.at = this.cluster.datapath.wasm.packets() + i * Packet.size;
    return this.record;
  }

  get isFull(): boolean {
    return this.count === BATCH_SIZE;
  }

  /** The Service's address that a flow asks for. */
  private entrance({ outside, service }: Flow): Entrance {
    return (outside ? this.cluster.outside : this.cluster.inside)[service]!;
  }

  /** Adds a packet of a flow's opener, with `TcpFlag`s. */
  add(flow: Flow, flags: number): void {
    const { view, layout } = this;
    const { frame, source, destination, headerSum, segmentSum } = flow.outside ? this.outside : this.inside;
    const at = this.frameAt(this.count);
    const ip = at + ETHERNET;
    const tcp = ip + layout.length;
    const from = source + flow.client;
    const to = destination + flow.service;
    const sum = (from >>> 16) + (from & 0xffff) + (to >>> 16) + (to & 0xffff);
    this.bytes.set(frame, at);
    view.setUint32(ip + layout.source + layout.address - 4, from);
    view.setUint32(ip + layout.destination + layout.address - 4, to);
    if (layout.checksum >= 0) view.setUint16(ip + layout.checksum, checksum(NOTHING, headerSum + sum));
    view.setUint16(tcp, flow.port);
    view.setUint8(tcp + TCP_FLAGS, flags);
    view.setUint16(tcp + TCP_CHECKSUM, checksum(NOTHING, segmentSum + sum + flow.port + flags));
    const record = this.recordOf(this.count++);
    record.data = at;
    record.length = frame.length;
    record.node = 1;
    record.program = flow.outside ? Program.FROM_NETDEV : Program.FROM_CONTAINER;
    record.endpoint = flow.outside ? 0 : this.cluster.endpoints[flow.client]!;
  }

  /** The backend that Maglev names for packet `i`, not run yet. */
  named(i: number, flow: Flow): number {
    const { table } = this.entrance(flow);
    const at = this.frameAt(i) + ETHERNET + this.layout.source;
    return table[tupleHash(this.view, at, this.cluster.family === 'IPv6', flow.port, PORT) % table.length]!;
  }

  /** Runs the packets; the batch is then to be filled anew. */
  run(): void {
    this.cluster.datapath.wasm.process(this.count);
    this.count = 0;
  }

  /** The backend that got packet `i`; 0 when it was not delivered to one. */
  backend(i: number): number {
    const { verdict, program, backendId } = this.recordOf(i);
    return verdict === 0 && program === Program.DELIVERED ? backendId : 0;
  }

  /**
   * Lets the pods that got the packets of `flows`, run last, answer with `flags`. How many answers reached who had asked,
   * from the address that had been asked.
   */
  answer(flows: readonly Flow[], flags: number): number {
    flows.forEach((_, i) => this.turn(i, flags));
    this.cluster.datapath.wasm.process(flows.length);
    return flows.filter((flow, i) => this.isAnswered(flow, i)).length;
  }

  /** Makes the answer to packet `i` of it: what it was addressed to is the sender now. */
  private turn(i: number, flags: number): void {
    const { view, layout } = this;
    const record = this.recordOf(i);
    const ip = record.data + ETHERNET;
    const tcp = ip + layout.length;
    for (let byte = 0; byte < layout.address; byte++)
      this.swap(ip + layout.source + byte, ip + layout.destination + byte);
    for (let byte = 0; byte < 2; byte++) this.swap(tcp + byte, tcp + 2 + byte);
    const change = (~view.getUint8(tcp + TCP_FLAGS) & 0xffff) + flags;
    view.setUint8(tcp + TCP_FLAGS, flags);
    view.setUint16(tcp + TCP_CHECKSUM, checksum(NOTHING, (~view.getUint16(tcp + TCP_CHECKSUM) & 0xffff) + change));
    record.program = Program.FROM_CONTAINER;
  }

  private swap(a: number, b: number): void {
    const byte = this.bytes[a]!;
    this.bytes[a] = this.bytes[b]!;
    this.bytes[b] = byte;
  }

  private isAnswered(flow: Flow, i: number): boolean {
    const { view, layout } = this;
    const { verdict, program, endpoint, data } = this.recordOf(i);
    const { source, destination } = flow.outside ? this.outside : this.inside;
    const ip = data + ETHERNET;
    const last = layout.address - 4;
    const arrived = flow.outside
      ? program === Program.WORLD
      : program === Program.DELIVERED && endpoint === this.cluster.endpoints[flow.client];
    return (
      verdict === 0 &&
      arrived &&
      view.getUint32(ip + layout.source + last) === destination + flow.service &&
      view.getUint32(ip + layout.destination + last) === source + flow.client &&
      view.getUint16(ip + layout.length) === PORT &&
      view.getUint16(ip + layout.length + 2) === flow.port
    );
  }
}
