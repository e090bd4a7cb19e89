/** The WebAssembly that is held against the reference: loaded with the same rows, asked for the same packets. */
import { AuthType, MapId, PACKET_HEADROOM, PACKET_ROOM } from '../../assembly/abi.js';
import { MAPS, type FamilyMaps } from '../../dataplane/loader/families.js';
import { Datapath, encode, type Bytes, type Sizes } from '../../dataplane/wasm.js';
import {
  AuthInfo,
  AuthKey,
  EdtId,
  EdtInfo,
  EndpointConfig,
  EndpointInfo,
  IpMasq,
  LbAffinityMatch,
  LbAffinityMatched,
  LbBackendKey,
  LbReverseNatKey,
  LbService,
  LbSourceRange,
  MaglevKey,
  NodeConfig,
  NodeValue,
  Packet,
  PolicyEntry,
  PolicyKey,
  RemoteEndpointInfo,
  RuntimeConfig,
} from '../../pkg/structs.js';
import { versionOf, type Address, type Version } from '../reference/bytes.js';
import { PACE_HORIZON } from '../reference/numbers.js';
import type { Arrival, Outcome } from '../reference/reference.js';
import type { MaglevRow, Tables } from '../reference/tables.js';
import type { Cluster } from './cluster.js';
import { runtimeOf } from './runtime.js';

/** More than one epoch fills: nothing is ever evicted. */
const FLOWS = { conntrack: 1 << 17, snat: 1 << 16, affinity: 1 << 14, fragments: 1 << 14, reverseSk: 1 << 14 };
const LOADED = {
  services: 1 << 14,
  backends: 256,
  reverseNat: 2048,
  maglev: 2048,
  sourceRange: 2048,
  ipcache: 64,
  lxc: 64,
  nodes: 16,
};
const both = <Name extends string>(sizes: Record<Name, number>): Record<`${Name}${4 | 6}`, number> =>
  Object.fromEntries(
    Object.entries<number>(sizes).flatMap(([name, size]) => [
      [`${name}4`, size],
      [`${name}6`, size],
    ]),
  ) as Record<`${Name}${4 | 6}`, number>;

const SIZES: Sizes = {
  ...both(FLOWS),
  ...both(LOADED),
  ...both({ ipmasq: 16, flows: 1 << 12, openings: 1 << 12 }),
  auth: 512,
  throttle: 64,
  affinityMatch: 1 << 14,
  policy: 512,
  endpointConfig: 64,
  nodeConfig: 8,
  runtimeConfig: 1,
  metrics: 512,
  events: 16,
  maglevTableSize: 251,
  maglevBackends: 64,
  scratch: 1 << 16,
  templates: 64,
};

/** Frames that the batch has room for. */
export const MAX_FRAME = PACKET_ROOM - 2 * PACKET_HEADROOM;

interface Entry {
  readonly map: MapId;
  readonly key: Bytes;
  readonly value: Bytes;
}

const family = (version: Version): FamilyMaps => MAPS[version === 4 ? 'IPv4' : 'IPv6'];

/** As the generated views take it: a number, or a bigint for IPv6. */
export function valueOf(address: Address): number | bigint {
  if (address.length === 4) return [...address].reduce((sum, unit) => sum * 256 + unit.charCodeAt(0), 0);
  return [...address].reduce((sum, unit) => (sum << 8n) | BigInt(unit.charCodeAt(0)), 0n);
}

const index = (at: number): Bytes => String.fromCharCode(at & 255, at >>> 8, 0, 0);

/** Six bytes, the first lowest. */
const macOf = (mac: Uint8Array): bigint => mac.reduce((sum, byte, i) => sum | (BigInt(byte) << BigInt(8 * i)), 0n);

const addressesOf = (addresses: Readonly<Partial<Record<Version, Address>>>): { ipv4: number; ipv6: bigint } => ({
  ipv4: addresses[4] === undefined ? 0 : (valueOf(addresses[4]) as number),
  ipv6: addresses[6] === undefined ? 0n : (valueOf(addresses[6]) as bigint),
});

/** Every row as the bytes of a key and a value. */
function entriesOf(tables: Omit<Tables, 'maglev'>): Entry[] {
  const entries: Entry[] = [];
  const add = (map: MapId, key: Bytes, value: Bytes): void => void entries.push({ map, key, value });
  for (const row of tables.services) {
    const { map, LbKey } = family(versionOf(row.address));
    const { address, port, protocol, slot, scope, node, revNatIndex, flags, flags2, count } = row;
    const backendId = slot === 0 ? ((row.algorithm << 24) | row.affinityTimeout) >>> 0 : row.backendId;
    const key = encode(LbKey, {
      address: valueOf(address),
      dport: port,
      backendSlot: slot,
      proto: protocol,
      scope,
      node,
    });
    add(map(MapId.LB4_SERVICES), key, encode(LbService, { backendId, count, revNatIndex, flags, flags2 }));
  }
  for (const { id, address, port, state } of tables.backends) {
    const { map, LbBackend } = family(versionOf(address));
    const value = encode(LbBackend, { address: valueOf(address), port, state, weight: 1 });
    add(map(MapId.LB4_BACKENDS), encode(LbBackendKey, { backendId: id }), value);
  }
  for (const { revNatIndex, address, port } of tables.frontends) {
    const { map, LbReverseNat } = family(versionOf(address));
    const value = encode(LbReverseNat, { address: valueOf(address), port });
    add(map(MapId.LB4_REVERSE_NAT), encode(LbReverseNatKey, { revNatIndex }), value);
  }
  for (const { revNatIndex, address, length } of tables.sourceRanges) {
    const { map, LbSourceRangeKey } = family(versionOf(address));
    const key = encode(LbSourceRangeKey, { revNatIndex, prefixLength: length, address: valueOf(address) });
    add(map(MapId.LB4_SOURCE_RANGE), key, encode(LbSourceRange, { present: 1 }));
  }
  for (const match of tables.affinityMatches)
    add(MapId.AFFINITY_MATCH, encode(LbAffinityMatch, match), encode(LbAffinityMatched, { present: 1 }));
  for (const { address, length, identity, tunnelEndpoint, hasKey } of tables.ipcache) {
    const { map, IpcacheKey } = family(versionOf(address));
    const end = tunnelEndpoint === null ? 0 : (valueOf(tunnelEndpoint) as number);
    const value = encode(RemoteEndpointInfo, {
      secIdentity: identity,
      tunnelEndpoint: end,
      key: hasKey ? 255 : 0,
    });
    add(map(MapId.IPCACHE4), encode(IpcacheKey, { prefixLength: length, address: valueOf(address) }), value);
  }
  for (const { address, node, endpoint, identity, isHost } of tables.endpoints) {
    const { map, EndpointKey } = family(versionOf(address));
    const value = encode(EndpointInfo, { lxcId: endpoint, secId: identity, flags: isHost ? 1 : 0 });
    add(map(MapId.LXC4), encode(EndpointKey, { address: valueOf(address), node }), value);
  }
  for (const { address, node } of tables.nodeAddresses) {
    const { map, NodeKey } = family(versionOf(address));
    add(map(MapId.NODES4), encode(NodeKey, { address: valueOf(address) }), encode(NodeValue, { node }));
  }
  for (const { id, node, identity, policy, mac, nodeMac, addresses } of tables.endpointConfigs) {
    const macs = { mac: macOf(mac), nodeMac: macOf(nodeMac) };
    const value = { ...macs, ...addressesOf(addresses), secId: identity, policyId: policy, node };
    add(MapId.ENDPOINT_CONFIG, index(id), encode(EndpointConfig, value));
  }
  for (const { node, policy, mac, addresses } of tables.nodeConfigs) {
    const value = { mac: macOf(mac), ...addressesOf(addresses), policyId: policy };
    add(MapId.NODE_CONFIG, index(node), encode(NodeConfig, value));
  }
  for (const { policy, egress, identity, protocol, port, length, deny, priority, proxyPort, auth } of tables.policies) {
    const place = { prefixLength: length, policyId: policy, secLabel: identity, egress: egress ? 1 : 0 };
    const key = encode(PolicyKey, { ...place, protocol, dport: port });
    const authType = auth.type | (auth.isExplicit ? AuthType.EXPLICIT : 0);
    const entry = { deny: deny ? 1 : 0, proxyPort, proxyPortPriority: priority, authType };
    add(MapId.POLICY, key, encode(PolicyEntry, entry));
  }
  for (const { node, local, remote, remoteNode, type, expiration } of tables.authenticated) {
    const who = { localSecLabel: local, remoteSecLabel: remote, remoteNodeId: remoteNode };
    const value = encode(AuthInfo, { expiration: BigInt(expiration) });
    add(MapId.AUTH, encode(AuthKey, { ...who, node, authType: type }), value);
  }
  for (const { endpoint, rate } of tables.paces) {
    const value = encode(EdtInfo, { bps: BigInt(rate), tHorizonDrop: PACE_HORIZON });
    add(MapId.THROTTLE, encode(EdtId, { id: BigInt(endpoint) }), value);
  }
  for (const { address, length } of tables.config.nonMasqueradeCidrs ?? []) {
    const { map, IpMasqKey } = family(versionOf(address));
    const key = encode(IpMasqKey, { prefixLength: length, address: valueOf(address) });
    add(map(MapId.IPMASQ4), key, encode(IpMasq, { present: 1 }));
  }
  add(MapId.RUNTIME_CONFIG, index(0), encode(RuntimeConfig, runtimeOf(tables.config)));
  return entries;
}

export class Subject {
  readonly datapath: Datapath;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  private readonly record: Packet;
  private loaded = new Map<string, Entry>();
  private tables: readonly { readonly map: MapId; readonly key: Bytes }[] = [];

  /** `sizes` of maps that have others than enough. */
  constructor(module: WebAssembly.Module, sizes: Partial<Sizes> = {}) {
    this.datapath = Datapath.create(module, { ...SIZES, ...sizes });
    const { memory } = this.datapath.wasm;
    this.bytes = new Uint8Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.record = new Packet(this.view);
  }

  /** Brings the maps to what a cluster says, and leaves what packets put into them. The rows, with the Maglev tables that were built. */
  load({ tables, maglev }: Cluster): Tables {
    const wanted = new Map(entriesOf(tables).map((entry) => [`${entry.map} ${entry.key}`, entry]));
    for (const [name, { map, key }] of this.loaded) if (!wanted.has(name)) this.datapath.delete(map, key);
    for (const [name, { map, key, value }] of wanted)
      if (this.loaded.get(name)?.value !== value) accepted(this.datapath.update(map, key, value));
    this.loaded = wanted;
    for (const { map, key } of this.tables) this.datapath.delete(map, key);
    const built = maglev.map((one) => ({ ...one, ...this.build(one) }));
    this.tables = built;
    return { ...tables, maglev: built };
  }

  private build({ revNatIndex, version, backends }: Cluster['maglev'][number]): MaglevRow & { map: MapId; key: Bytes } {
    const map = family(version).map(MapId.LB4_MAGLEV);
    const named = backends.map((id) => ({ backendId: id, weight: 1, name: `[backend ${id}/${version}]` }));
    accepted(this.datapath.buildMaglev(revNatIndex, named, map));
    const key = encode(MaglevKey, { revNatIndex });
    return { map, key, revNatIndex, version, table: this.datapath.maglevTable(revNatIndex, map)! };
  }

  forget(): void {
    this.datapath.flushConnections();
    // When pods sent last stands in the same entries as their pace.
    for (const [name, { map, key }] of this.loaded)
      if (map === MapId.THROTTLE && this.datapath.delete(map, key) === 0) this.loaded.delete(name);
  }

  /** Runs packets, in order, and looks at each in turn before the next batch; `isPlain`: each through the programs. */
  run(arrivals: readonly Arrival[], isPlain = false): Outcome[] {
    const { wasm } = this.datapath;
    const { record, bytes } = this;
    for (const [i, { frame, program, node, endpoint, mark }] of arrivals.entries()) {
      const data = wasm.frames() + i * PACKET_ROOM + PACKET_HEADROOM;
      bytes.set(frame, data);
      record.at = wasm.packets() + i * Packet.size;
      record.data = data;
      record.length = frame.length;
      record.node = node;
      record.program = program;
      record.endpoint = endpoint;
      record.mark = mark;
      record.verdict = 0;
      record.time = 0n;
    }
    if (isPlain) wasm.processPlain(arrivals.length);
    else wasm.process(arrivals.length);
    return arrivals.map((_, i) => {
      record.at = wasm.packets() + i * Packet.size;
      const { data, length } = record;
      return {
        verdict: record.verdict,
        program: record.program,
        node: record.node,
        endpoint: record.endpoint,
        sourceIdentity: record.sourceIdentity,
        destinationIdentity: record.destinationIdentity,
        backendId: record.backendId,
        revNatIndex: record.revNatIndex,
        answered: record.answered,
        mark: record.mark,
        audited: record.audited,
        delay: record.delay,
        frame: bytes.subarray(data, data + length),
      };
    });
  }
}

function accepted(error: number): void {
  if (error !== 0) throw new Error(`a map refused an entry: ${error}`);
}
