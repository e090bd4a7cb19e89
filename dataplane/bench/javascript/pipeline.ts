/**
 * The datapath of `assembly/` in JavaScript, over typed arrays: the same steps in the same order on the same maps, one packet at a
 * time. It is what the benchmark holds the WebAssembly against, and no part of the product. It knows what its profiles send: TCP
 * over IPv4, from pods to Services whose backends are on the same node.
 */
import { CtDirection, DropReason, IpProto, MapId, PACKET_HEADROOM, Program } from '../../../assembly/abi.js';
import { JHASH_SEED, type Bytes } from '../../wasm.js';
import type { Workload } from '../workload.js';
import { Conntrack, type Seen } from './conntrack.js';
import { DADDR, decrementTtl, ETHERNET, jhash3words, SADDR, setDestination } from './frame.js';
import { PrefixMap, WordMap } from './map.js';

/** Words of a struct's bytes. */
function wordsOf(bytes: Bytes): Int32Array {
  const copy = Uint8Array.from(bytes, (unit) => unit.charCodeAt(0));
  return new Int32Array(copy.buffer);
}

/** Where the words lie of what the maps hold (`pkg/structs.ts`). */
const enum Service {
  COUNT_AND_REV_NAT = 1,
}
const enum Endpoint {
  MAC = 0,
  NODE_MAC = 2,
  IPV4 = 8,
  IDENTITY = 9,
  POLICY = 10,
  NODE = 11,
  WORDS = 12,
}

/** The packet in hand. */
class Packet implements Seen {
  saddr = 0;
  daddr = 0;
  ports = 0;
  protocol = 0;
  tcpFlags = 0;
  length = 0;
  node = 0;
  l4 = 0;
}

export class Pipeline {
  /** The frame in hand, from `PACKET_HEADROOM` on. */
  readonly frame = PACKET_HEADROOM;
  private readonly packet = new Packet();
  private readonly services: WordMap;
  private readonly backends: WordMap;
  private readonly ipcache: PrefixMap;
  private readonly policies: PrefixMap;
  private readonly lxc: WordMap;
  private readonly endpoints: Int32Array;
  private readonly conntrack: Conntrack;
  /** Packets and bytes by what became of them and in which direction. */
  private readonly metrics = new Float64Array(2 * 512);
  private readonly serviceKey = new Int32Array(3);
  private readonly oneWord = new Int32Array(1);
  private readonly addressKey = new Int32Array(2);
  private readonly specific = new Int32Array(4);
  private readonly wildcard = new Int32Array(4);
  /** The result of the packet in hand, beside its verdict. */
  readonly result = { endpoint: 0, sourceIdentity: 0, destinationIdentity: 0, backendId: 0, revNatIndex: 0 };

  constructor(
    private readonly view: DataView,
    { sizes, entries }: Workload,
    private readonly maglev: readonly Uint32Array[],
  ) {
    this.services = new WordMap(sizes.services4, 3, 3);
    this.backends = new WordMap(sizes.backends4, 1, 3);
    this.ipcache = new PrefixMap(sizes.ipcache4, 2, 3, 1, 0, 32);
    this.policies = new PrefixMap(sizes.policy, 4, 2, 0, 3, 24);
    this.lxc = new WordMap(sizes.lxc4, 2, 4);
    this.endpoints = new Int32Array(sizes.endpointConfig * Endpoint.WORDS);
    this.conntrack = new Conntrack(sizes.conntrack4);
    const maps = new Map<MapId, WordMap>([
      [MapId.LB4_SERVICES, this.services],
      [MapId.LB4_BACKENDS, this.backends],
      [MapId.IPCACHE4, this.ipcache],
      [MapId.POLICY, this.policies],
      [MapId.LXC4, this.lxc],
    ]);
    for (const { map, key, value } of entries) {
      const [words, into] = [wordsOf(value), maps.get(map)];
      if (into) into.values.set(words, into.insert(wordsOf(key)) * into.valueWords);
      else if (map === MapId.ENDPOINT_CONFIG) this.endpoints.set(words, wordsOf(key)[0]! * Endpoint.WORDS);
    }
  }

  /** Runs the frame in hand, from the pod whose endpoint sent it. 0, or a negated drop reason. */
  run(length: number, endpoint: number): number {
    this.packet.length = length;
    const sent = this.fromContainer(endpoint);
    const verdict = sent < 0 ? sent : this.ingressPolicy();
    const received = sent >= 0;
    const metric = 2 * ((-verdict << 1) | (received ? 0 : 1));
    this.metrics[metric]!++;
    this.metrics[metric + 1]! += length;
    if (verdict < 0) this.result.endpoint = 0;
    return verdict;
  }

  private endpoint(number: number, word: Endpoint): number {
    return this.endpoints[number * Endpoint.WORDS + word]!;
  }

  /** `cil_from_container`. The next program, or a negated drop reason. */
  private fromContainer(own: number): number {
    const { packet, result } = this;
    result.backendId = 0;
    result.revNatIndex = 0;
    result.destinationIdentity = 0;
    result.sourceIdentity = this.endpoint(own, Endpoint.IDENTITY);
    if (this.endpoint(own, Endpoint.POLICY) === 0) return -DropReason.EP_NOT_READY;
    packet.node = this.endpoint(own, Endpoint.NODE);
    const parsed = this.parse();
    if (parsed < 0) return parsed;
    if (packet.saddr !== this.endpoint(own, Endpoint.IPV4)) return -DropReason.INVALID_SIP;
    const translated = this.translate();
    if (translated < 0) return translated;
    const connection = this.conntrack.lookup(packet, CtDirection.EGRESS);
    result.destinationIdentity = this.identityOf(packet.daddr);
    const allowed = this.canAccess(this.endpoint(own, Endpoint.POLICY), result.destinationIdentity, 1);
    if (allowed < 0) return allowed;
    if (connection === 0 || this.conntrack.revNatOf(connection) !== result.revNatIndex) {
      const { revNatIndex, backendId, sourceIdentity } = result;
      this.conntrack.create(packet, CtDirection.EGRESS, revNatIndex, backendId, sourceIdentity);
    }
    return this.deliver();
  }

  private parse(): number {
    const { view, frame, packet } = this;
    const available = packet.length - ETHERNET;
    if (available < 0) return -DropReason.UNSUPPORTED_L2;
    if (view.getUint16(frame + 12) !== 0x0800) return -DropReason.UNKNOWN_L3;
    if (available < 20) return -DropReason.INVALID;
    const ip = frame + ETHERNET;
    const versionIhl = view.getUint8(ip);
    const header = (versionIhl & 15) * 4;
    const total = view.getUint16(ip + 2);
    if (versionIhl >>> 4 !== 4 || header < 20 || total < header || total > available) return -DropReason.INVALID;
    if ((view.getUint16(ip + 6) & 0x3fff) !== 0) throw new RangeError('no profile in JavaScript sends fragments');
    packet.protocol = view.getUint8(ip + 9);
    if (packet.protocol !== IpProto.TCP) throw new RangeError('no profile in JavaScript sends anything but TCP');
    const l4 = ip + header;
    if (total - header < 20) return -DropReason.CT_INVALID_HDR;
    const own = (view.getUint8(l4 + 12) >>> 4) * 4;
    if (own < 20 || own > total - header) return -DropReason.CT_INVALID_HDR;
    packet.saddr = view.getInt32(frame + SADDR, true);
    packet.daddr = view.getInt32(frame + DADDR, true);
    packet.ports = view.getInt32(l4, true);
    packet.tcpFlags = view.getUint8(l4 + 13);
    packet.l4 = l4;
    return 0;
  }

  private findService(dport: number, protocol: number): number {
    const key = this.serviceKey;
    key[0] = this.packet.daddr;
    key[1] = dport;
    key[2] = protocol;
    return this.services.find(key);
  }

  /** A Service's address becomes a backend's. */
  private translate(): number {
    const { packet, result } = this;
    let service = this.findService(packet.ports >>> 16, packet.protocol);
    if (service === 0) service = this.findService(0, 0);
    if (service === 0) return 0;
    const word = this.services.word(service, Service.COUNT_AND_REV_NAT);
    result.revNatIndex = word >>> 16;
    const flow = this.conntrack.lookupService(packet, result.revNatIndex);
    let backend = flow === 0 ? 0 : this.findBackend(this.conntrack.backendOf(flow));
    if (backend === 0) {
      if ((word & 0xffff) === 0) return -DropReason.NO_SERVICE;
      backend = this.findBackend(this.select(result.revNatIndex));
      if (backend === 0) return -DropReason.NO_SERVICE;
      const { revNatIndex, backendId, sourceIdentity } = result;
      this.conntrack.create(packet, CtDirection.SERVICE, revNatIndex, backendId, sourceIdentity);
    }
    packet.daddr = this.backends.word(backend, 0);
    packet.ports = (packet.ports & 0xffff) | (this.backends.word(backend, 1) << 16);
    setDestination(this.view, this.frame, packet.l4, packet.daddr, packet.ports);
    return 0;
  }

  private findBackend(id: number): number {
    this.result.backendId = id;
    this.oneWord[0] = id;
    return this.backends.find(this.oneWord);
  }

  private select(revNat: number): number {
    const { saddr, ports, protocol } = this.packet;
    const table = this.maglev[revNat]!;
    return table[jhash3words(saddr, ports, protocol, JHASH_SEED) % table.length]!;
  }

  private identityOf(address: number): number {
    this.addressKey[0] = address;
    return this.ipcache.word(this.ipcache.longest(this.addressKey), 0);
  }

  private findPolicy(key: Int32Array, policy: number, identity: number, traffic: number): number {
    key[1] = policy;
    key[2] = identity;
    key[3] = traffic;
    return this.policies.longest(key);
  }

  private canAccess(policy: number, identity: number, egress: number): number {
    const { specific, wildcard, packet } = this;
    const traffic = egress | (packet.protocol << 8) | (packet.ports & 0xffff0000);
    const l3 = this.findPolicy(specific, policy, identity, traffic);
    const l4 = this.findPolicy(wildcard, policy, 0, traffic);
    if (l3 === 0 && l4 === 0) return -DropReason.POLICY;
    const denies = this.prefersL3(l3, l4) ? this.denies(l3) : this.denies(l4);
    return denies ? -DropReason.POLICY_DENY : 0;
  }

  private denies(entry: number): boolean {
    return (this.policies.word(entry, 0) & 0xff0000) !== 0;
  }

  private prefersL3(l3: number, l4: number): boolean {
    if (l3 === 0 || l4 === 0) return l4 === 0;
    if (this.denies(l3) !== this.denies(l4)) return this.denies(l3);
    const priority = this.policies.word(l3, 0) >>> 24;
    const other = this.policies.word(l4, 0) >>> 24;
    return priority === other ? this.specific[0]! >= this.wildcard[0]! : priority > other;
  }

  private deliver(): number {
    const { packet, view, frame } = this;
    this.addressKey[0] = packet.daddr;
    this.addressKey[1] = packet.node;
    const info = this.lxc.find(this.addressKey);
    if (info === 0) throw new RangeError('no profile in JavaScript leaves the node');
    if (!decrementTtl(view, frame)) return -DropReason.TTL_EXCEEDED;
    const to = this.lxc.word(info, 0);
    if (this.endpoint(to, Endpoint.POLICY) === 0) return -DropReason.EP_NOT_READY;
    view.setInt32(frame, this.endpoint(to, Endpoint.MAC), true);
    view.setUint16(frame + 4, this.endpoint(to, Endpoint.MAC + 1), true);
    view.setInt32(frame + 6, this.endpoint(to, Endpoint.NODE_MAC), true);
    view.setUint16(frame + 10, this.endpoint(to, Endpoint.NODE_MAC + 1), true);
    this.result.endpoint = to;
    return Program.LXC_POLICY;
  }

  /** `cil_lxc_policy`. 0, or a negated drop reason. */
  private ingressPolicy(): number {
    const { packet, result } = this;
    result.destinationIdentity = this.endpoint(result.endpoint, Endpoint.IDENTITY);
    const connection = this.conntrack.lookup(packet, CtDirection.INGRESS);
    const allowed = this.canAccess(this.endpoint(result.endpoint, Endpoint.POLICY), result.sourceIdentity, 0);
    if (allowed < 0) return allowed;
    if (connection === 0) this.conntrack.create(packet, CtDirection.INGRESS, 0, 0, result.sourceIdentity);
    return 0;
  }
}
