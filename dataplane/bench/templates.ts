/** The packets of a benchmark, one template a flow: a record as the datapath takes it, and behind it the frame. */
import { IpProto, Program } from '../../assembly/abi.js';
import { Packet } from '../../pkg/structs.js';
import type { Family } from '../addresses.js';
import { checksum, frameOf } from '../packet.js';
import { addressOf, CLIENTS, clientOf, frontendOf } from './cluster.js';
import { draws } from './draws.js';
import { opens, type Traffic } from './traffic.js';

const ETHERNET = 14;
const FIRST_SOURCE_PORT = 32768;
const PORTS = 65536 - FIRST_SOURCE_PORT;
const SYN = 0x02;
const ACK = 0x10;
const NOTHING = new Uint8Array(0);

/** Where a family has the lowest words of its addresses, its total length with what that does not count, and TCP. */
const LAYOUT: Readonly<
  Record<Family, { source: number; destination: number; length: number; fixed: number; tcp: number }>
> = {
  IPv4: { source: 26, destination: 30, length: 16, fixed: 0, tcp: 34 },
  IPv6: { source: 34, destination: 50, length: 18, fixed: 40, tcp: 54 },
};
const IPV4_CHECKSUM = 24;
const TCP_FLAGS = 13;
const TCP_CHECKSUM = 16;

const sumOf = (word: number): number => (word >>> 16) + (word & 0xffff);

/** Bytes from one template to the next. */
export const strideOf = ({ frameLength }: Traffic): number => (Packet.size + frameLength + 63) & ~63;

/** Whose packet a template is, and where it goes. */
interface Flow {
  readonly client: number;
  readonly frontend: { readonly low: number; readonly port: number };
  readonly sourcePort: number;
}

/** The worker of a flow, and of its answers: by a hash to which both directions are one. */
function workerOf({ workers }: Traffic, source: number, destination: number, ports: number): number {
  const hash = Math.imul(source ^ destination ^ Math.imul(ports, 0x85ebca6b), 0xc2b2ae35);
  return ((hash ^ (hash >>> 15)) >>> 0) % workers;
}

/** Of client `flow % CLIENTS`, from ports counted up, to a drawn Service: those flows that are this worker's. */
function* flowsOf(traffic: Traffic): Generator<Flow> {
  const { services, flows, worker } = traffic;
  if (Math.ceil(flows / CLIENTS) > PORTS) throw new RangeError(`${flows} flows have no ports of their own`);
  const service = draws(flows + services);
  for (let flow = 0; flow < flows; flow++) {
    const client = flow % CLIENTS;
    const frontend = frontendOf(traffic, service.next().value % services);
    const sourcePort = FIRST_SOURCE_PORT + Math.floor(flow / CLIENTS);
    if (workerOf(traffic, clientOf(traffic, client).low, frontend.low, sourcePort ^ frontend.port) === worker)
      yield { client, frontend, sourcePort };
  }
}

/** How many templates there are. */
export function countOf(traffic: Traffic): number {
  if (traffic.workers === 1) return traffic.flows;
  const flows = flowsOf(traffic);
  let count = 0;
  while (flows.next().done !== true) count++;
  return count;
}

/** Writes all templates from address `at` on. */
export function writeTemplates(traffic: Traffic, memory: DataView, at: number): void {
  const { family, clients, frameLength, stop } = traffic;
  const stride = strideOf(traffic);
  const { source, destination, length, fixed, tcp } = LAYOUT[family];
  const none = addressOf(family, 0);
  const frame = new Uint8Array(frameLength);
  frame.set(frameOf({ source: none, destination: none, protocol: IpProto.TCP, sourcePort: 0, destinationPort: 0 }));
  const view = new DataView(frame.buffer);
  view.setUint16(length, frameLength - ETHERNET - fixed);
  view.setUint8(tcp + TCP_FLAGS, 0);
  view.setUint16(tcp + TCP_CHECKSUM, 0);
  if (family === 'IPv4') view.setUint16(IPV4_CHECKSUM, 0);
  // What all frames have in common is summed once, and the sums of what differs are added.
  const headerSum = ~checksum(frame.subarray(ETHERNET, tcp)) & 0xffff;
  const addressesSum = ~checksum(frame.subarray(source - (family === 'IPv6' ? 12 : 0), destination + 4)) & 0xffff;
  const segmentSum = (~checksum(frame.subarray(tcp)) & 0xffff) + addressesSum + IpProto.TCP + frameLength - tcp;
  let number = 0;
  for (const { client, frontend, sourcePort } of flowsOf(traffic)) {
    const sender = clientOf(traffic, stop === 'parse' ? (client + 1) % CLIENTS : client);
    const flags = opens(traffic, number) ? SYN : ACK;
    const addresses = sumOf(sender.low) + sumOf(frontend.low);
    view.setUint32(source, sender.low);
    view.setUint32(destination, frontend.low);
    if (family === 'IPv4') view.setUint16(IPV4_CHECKSUM, checksum(NOTHING, headerSum + addresses));
    view.setUint16(tcp, sourcePort);
    view.setUint16(tcp + 2, frontend.port);
    view.setUint8(tcp + TCP_FLAGS, flags);
    view.setUint16(tcp + TCP_CHECKSUM, checksum(NOTHING, segmentSum + addresses + sourcePort + frontend.port + flags));
    const template = at + number++ * stride;
    const packet = new Packet(memory, template);
    packet.length = frameLength;
    packet.node = 1;
    packet.program = stop === 'receive' ? 0 : clients === 'pods' ? Program.FROM_CONTAINER : Program.FROM_NETDEV;
    packet.endpoint = clientOf(traffic, client).endpoint;
    new Uint8Array(memory.buffer, template + Packet.size, frameLength).set(frame);
  }
}

/** Turns the packet of a template that goes on with its flow, at `at` in memory, into the one that opens it. */
export function openWith({ family }: Traffic, memory: DataView, at: number): void {
  const { tcp } = LAYOUT[family];
  const before = memory.getUint8(at + tcp + TCP_FLAGS);
  memory.setUint8(at + tcp + TCP_FLAGS, SYN);
  const sum = (~memory.getUint16(at + tcp + TCP_CHECKSUM) & 0xffff) + SYN + (~before & 0xffff);
  memory.setUint16(at + tcp + TCP_CHECKSUM, checksum(NOTHING, sum));
}
