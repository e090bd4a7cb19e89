/**
 * What the programs are about to look up for packets whose flow is not known, touched for a whole batch before the first of them
 * runs: the Service, its Maglev slot and the backend, the connections of either side, and those that will have to make room. A guess:
 * nothing is decided here, and nothing depends on it but how long the look-ups take.
 */
import { CtDirection, LbAlgorithm, Program, SvcFlag } from '../abi';
import * as ct from './conntrack';
import { CtTuple } from './conntrack';
import * as endpoint from './endpoint';
import * as ipcache from './ipcache';
import * as lb from './lb';
import { LbBackendKey, LbKey } from './lb';
import * as maglev from './maglev';
import { Packet } from './packet';
import * as turnover from './turnover';

/** Tuples that are looked up: the Service's, and of the connection as it is then, either way round, the sender's and the receiver's. */
const TUPLES: u32 = 5;

@unmanaged
export class Foreseen<A> {
  saddr: A;
  daddr: A;
  ports: u32;
  protocol: u32;
  node: u32;
  /** Where the number of the backend stands; 0 for a packet that no Maglev table lends to one. */
  slot: usize;
  /** Addresses of the buckets of the tuples. */
  bucket0: usize;
  bucket1: usize;
  bucket2: usize;
  bucket3: usize;
  bucket4: usize;
  pad: u32;

  /** The packet as it comes, and the Maglev slot that it will be lent by. Returns something of what was touched, as do all here. */
  start(packet: Packet, saddr: A, daddr: A, ports: u32, protocol: u32): u32 {
    this.saddr = saddr;
    this.daddr = daddr;
    this.ports = ports;
    this.protocol = protocol;
    this.node = nodeOf(packet);
    this.slot = 0;
    const tuple = scratch<A>();
    tuple.set(daddr, saddr, ports, protocol, CtDirection.SERVICE, this.node);
    this.bucket0 = ct.connections<A>().bucketFor(tuple);
    let touched = load<u32>(this.bucket0);
    const key = serviceKey<A>();
    key.address = daddr;
    key.dport = <u16>(ports >>> 16);
    key.proto = <u8>protocol;
    const service = lb.services<A>().lookup(key);
    if (service === null || service.backendId >>> 24 != LbAlgorithm.MAGLEV) return touched;
    this.slot = maglev.slotOf<A>(service.revNatIndex, saddr, ports, protocol, (service.flags & SvcFlag.AFFINITY) != 0);
    if (this.slot != 0) touched += load<u32>(this.slot);
    return touched + load<u32>(turnover.placeOf<A>(saddr, daddr, ports));
  }

  /** The connection to the backend. */
  goOn(): u32 {
    if (this.slot != 0) {
      backendKey.backendId = load<u32>(this.slot);
      const backend = lb.backends<A>().lookup(backendKey);
      if (backend !== null) {
        this.daddr = backend.address;
        this.ports = (this.ports & 0xffff) | ((<u32>backend.port) << 16);
      }
    }
    const node = receiver<A>(this.daddr, this.node);
    this.bucket1 = this.bucketOf(CtDirection.EGRESS, this.node);
    this.bucket2 = this.bucketBack(CtDirection.INGRESS, this.node);
    this.bucket3 = this.bucketOf(CtDirection.INGRESS, node);
    this.bucket4 = this.bucketBack(CtDirection.EGRESS, node);
    return (
      load<u32>(this.bucket1) +
      load<u32>(this.bucket2) +
      load<u32>(this.bucket3) +
      load<u32>(this.bucket4) +
      load<u32>(turnover.placeOf<A>(this.saddr, this.daddr, this.ports))
    );
  }

  /** The first entries in the buckets. */
  end(): u32 {
    const map = ct.connections<A>();
    return (
      load<u8>(map.first(this.bucket0)) +
      load<u8>(map.first(this.bucket1)) +
      load<u8>(map.first(this.bucket2)) +
      load<u8>(map.first(this.bucket3)) +
      load<u8>(map.first(this.bucket4))
    );
  }

  private bucketOf(direction: u32, node: u32): usize {
    const tuple = scratch<A>();
    tuple.set(this.daddr, this.saddr, this.ports, this.protocol, direction, node);
    return ct.connections<A>().bucketFor(tuple);
  }

  private bucketBack(direction: u32, node: u32): usize {
    const tuple = scratch<A>();
    tuple.set(this.saddr, this.daddr, rotl(this.ports, 16), this.protocol, direction, node);
    return ct.connections<A>().bucketFor(tuple);
  }
}

if (TUPLES != 5) ERROR('a bucket for each tuple');

/** Room for those of a batch. */
export function foreseen<A>(index: u32): Foreseen<A> {
  return changetype<Foreseen<A>>(
    memory.data(32 * offsetof<Foreseen<A>>(), 64) + <usize>index * offsetof<Foreseen<A>>(),
  );
}

function scratch<A>(): CtTuple<A> {
  return changetype<CtTuple<A>>(memory.data(offsetof<CtTuple<A>>(), 16));
}

/** Of a master: the slot and all else stay zero. */
function serviceKey<A>(): LbKey<A> {
  return changetype<LbKey<A>>(memory.data(offsetof<LbKey<A>>(), 16));
}

const backendKey = changetype<LbBackendKey>(memory.data(offsetof<LbBackendKey>(), 16));

function nodeOf(packet: Packet): u32 {
  if (packet.program != <u16>Program.FROM_CONTAINER) return packet.node;
  const own = endpoint.configs.lookup(packet.endpoint);
  return own === null ? packet.node : own.node;
}

/** The node on which an address is, seen from `node`. */
function receiver<A>(address: A, node: u32): u32 {
  const remote = ipcache.peek<A>(address);
  if (remote === null || remote.tunnelEndpoint == 0) return node;
  return endpoint.nodeOf<u32>(remote.tunnelEndpoint);
}

/** Conntrack entries that one packet makes at most. */
const MADE: u32 = 3;
const MOST: u32 = 96;

/** Entries that will make room for those of `count` packets. */
export function makeRoom<A>(count: u32): u32 {
  const map = ct.connections<A>();
  if (!map.isFull) return 0;
  const keys = memory.data(96 << 2, 16);
  const going = min<u32>(count * MADE, MOST);
  let touched: u32 = 0;
  let index = map.firstToGo;
  for (let i: u32 = 0; i < going; i++, index = map.afterIt(index)) {
    const key = map.keyAt(index);
    store<u32>(keys + ((<usize>i) << 2), <u32>changetype<usize>(key));
    touched += load<u8>(changetype<usize>(key));
  }
  for (let i: u32 = 0; i < going; i++) {
    const key = changetype<CtTuple<A>>(<usize>load<u32>(keys + ((<usize>i) << 2)));
    touched += load<u32>(map.bucketFor(key)) + load<u32>(key.turnover);
  }
  return touched;
}
