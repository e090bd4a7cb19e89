/** What a benchmark's dataplane holds and is sent: two nodes, clients on the first, and Services before their backends. */
import { EndpointFlag, IpProto, LbAlgorithm, MapId, Program, ReservedIdentity } from '../../assembly/abi.js';
import {
  Capacities,
  EndpointConfig,
  EndpointInfo,
  EndpointKey4,
  IpcacheKey4,
  LbBackend4,
  LbBackendKey,
  LbKey4,
  LbReverseNat4,
  LbReverseNatKey,
  LbService,
  NodeConfig,
  NodeKey4,
  NodeValue,
  Packet,
  PolicyEntry,
  PolicyKey,
  RemoteEndpointInfo,
} from '../../pkg/structs.js';
import { formatAddress } from '../addresses.js';
import { checksum, frameOf } from '../packet.js';
import { Datapath, encode, type Bytes, type Sizes } from '../wasm.js';

/** What one profile is about. */
export interface Traffic {
  readonly services: number;
  /** Flows from pods to Services, each with a tuple of its own and one packet template. */
  readonly flows: number;
  /** Peers that the policy of the clients names, and as many that the backends' names: entries on either side. */
  readonly peers: number;
  /** Whether the backends are on the clients' node; else the way leads through the tunnel. */
  readonly local: boolean;
  /** Whether the clients' policy names the backends that are there, or others. */
  readonly allowed: boolean;
  /** Bytes of each frame. */
  readonly frameLength: number;
  /** Whether each packet opens its flow (SYN) or belongs to one (ACK). */
  readonly opening: boolean;
  /** Connections that fit. A flow takes three: the Service's, the sender's and the receiver's. */
  readonly connections: number;
  readonly maglevTableSize: number;
}

/** One entry of a map, as bytes. */
export interface Entry {
  readonly map: MapId;
  readonly key: Bytes;
  readonly value: Bytes;
}

/** Everything that a dataplane needs to run a profile. */
export interface Workload {
  readonly sizes: Sizes;
  readonly entries: readonly Entry[];
  readonly maglev: readonly {
    readonly revNatIndex: number;
    readonly backends: readonly { readonly backendId: number; readonly weight: number; readonly name: string }[];
  }[];
  readonly templates: number;
  /** Bytes from one template to the next. */
  readonly stride: number;
  /** The order in which the flows are opened, unlike that in which they are used: neighbours in memory are no help later. */
  readonly order: Uint32Array;
  /** Writes all templates from address `at` on. */
  readonly writeTemplates: (memory: DataView, at: number) => void;
}

const CLIENTS = 250;
const BACKENDS_PER_SERVICE = 3;
const SERVICE_PORT = 80;
const BACKEND_PORT = 8080;
const POD_BASE = 0x0af40001; // 10.244.0.1
const SERVICE_BASE = 0x0a600001; // 10.96.0.1
const NODE_BASE = 0x0a000000; // 10.0.0.1 is node 1
const CLIENT_IDENTITY = 1000;
const BACKEND_IDENTITY = 10000;
/** Named by the clients' policy in place of the backends where packets are to be dropped. */
const OTHER_IDENTITY = 30000;
const CLIENT_POLICY = 1;
const BACKEND_POLICY = 2;
const FIRST_SOURCE_PORT = 1024;
const PORTS = 65536 - FIRST_SOURCE_PORT;

const ONE_TCP_PORT = { prefixLength: 24, protocol: IpProto.TCP } as const;

/** The index of an array map as bytes. */
const word = (index: number): Bytes =>
  String.fromCharCode(index & 255, (index >>> 8) & 255, (index >>> 16) & 255, index >>> 24);

/** A hardware address as the datapath keeps it: first byte on the wire lowest. */
const macOf = (role: number, number: number): bigint => {
  const bytes = [0x02, role, 0, 0, number >>> 8, number & 255];
  return bytes.reduce((mac, byte, i) => mac | (BigInt(byte) << BigInt(8 * i)), 0n);
};

/** Numbers that look drawn, the same each time. Marsaglia's xorshift32. */
function* draws(seed: number): Generator<number, never> {
  for (let state = seed; ;) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield state >>> 0;
  }
}

/** 0 to `count - 1` in a drawn order. */
function shuffled(count: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  const random = draws(count + 1);
  for (let i = count - 1; i > 0; i--) {
    const j = random.next().value % (i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** Maps that a workload does not use. */
const NONE = Object.fromEntries(Capacities.fields.map((field) => [field, 0])) as Sizes;

export function workloadOf(traffic: Traffic): Workload {
  const { services, flows, peers, connections, maglevTableSize, frameLength } = traffic;
  const backends = services * BACKENDS_PER_SERVICE;
  const stride = (Packet.size + frameLength + 63) & ~63;
  const sizes: Sizes = {
    ...NONE,
    services4: services * (BACKENDS_PER_SERVICE + 2),
    backends4: backends,
    reverseNat4: services,
    maglev4: services,
    conntrack4: connections,
    flows4: flows,
    ipcache4: CLIENTS + backends + 4,
    policy: 2 * peers + 2,
    lxc4: CLIENTS + backends + 2,
    endpointConfig: CLIENTS + backends + 1,
    nodeConfig: 4,
    nodes4: 2,
    runtimeConfig: 1,
    metrics: 512,
    events: 16,
    maglevTableSize,
    maglevBackends: BACKENDS_PER_SERVICE,
    scratch: 1 << 16,
    templates: flows * stride,
  };
  return {
    sizes,
    entries: [...nodeEntries(), ...podEntries(traffic), ...serviceEntries(services), ...policyEntries(traffic)],
    maglev: Array.from({ length: services }, (_, service) => ({
      revNatIndex: service + 1,
      backends: backendsOf(service)
        .map(({ id, address }) => ({
          backendId: id,
          weight: 1,
          name: `[${formatAddress(address)}:${BACKEND_PORT}/TCP,State:active]`,
        }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    })),
    templates: flows,
    stride,
    order: shuffled(flows),
    writeTemplates: (memory, at) => writeTemplates(traffic, stride, memory, at),
  };
}

const clientAddress = (client: number): number => POD_BASE + client;

/** Backends have the ids from 1 on, and the endpoints after the clients'. */
const backendsOf = (service: number): { id: number; endpoint: number; address: number }[] =>
  Array.from({ length: BACKENDS_PER_SERVICE }, (_, i) => {
    const number = service * BACKENDS_PER_SERVICE + i;
    return { id: number + 1, endpoint: CLIENTS + number + 1, address: POD_BASE + CLIENTS + number };
  });

function nodeEntries(): Entry[] {
  const world = {
    map: MapId.IPCACHE4,
    key: encode(IpcacheKey4, {}),
    value: encode(RemoteEndpointInfo, { secIdentity: ReservedIdentity.WORLD }),
  };
  const nodes = [1, 2].flatMap((node): Entry[] => {
    const address = NODE_BASE + node;
    return [
      { map: MapId.NODE_CONFIG, key: word(node), value: encode(NodeConfig, { ipv4: address, mac: macOf(1, node) }) },
      { map: MapId.NODES4, key: encode(NodeKey4, { address }), value: encode(NodeValue, { node }) },
      {
        map: MapId.LXC4,
        key: encode(EndpointKey4, { address, node }),
        value: encode(EndpointInfo, { secId: ReservedIdentity.HOST, flags: EndpointFlag.HOST }),
      },
      {
        map: MapId.IPCACHE4,
        key: encode(IpcacheKey4, { prefixLength: 32, address }),
        value: encode(RemoteEndpointInfo, { secIdentity: ReservedIdentity.REMOTE_NODE }),
      },
    ];
  });
  return [world, ...nodes];
}

function podEntries({ services, peers, local }: Traffic): Entry[] {
  const pod = (lxcId: number, address: number, node: number, secId: number, policyId: number): Entry[] => [
    { map: MapId.LXC4, key: encode(EndpointKey4, { address, node }), value: encode(EndpointInfo, { lxcId, secId }) },
    {
      map: MapId.ENDPOINT_CONFIG,
      key: word(lxcId),
      value: encode(EndpointConfig, {
        mac: macOf(2, lxcId),
        nodeMac: macOf(1, node),
        ipv4: address,
        secId,
        policyId,
        node,
      }),
    },
    {
      map: MapId.IPCACHE4,
      key: encode(IpcacheKey4, { prefixLength: 32, address }),
      value: encode(RemoteEndpointInfo, { secIdentity: secId, tunnelEndpoint: NODE_BASE + node }),
    },
  ];
  const clients = Array.from({ length: CLIENTS }, (_, client) =>
    pod(client + 1, clientAddress(client), 1, CLIENT_IDENTITY + (client % peers), CLIENT_POLICY),
  );
  const backends = Array.from({ length: services }, (_, service) =>
    backendsOf(service).flatMap(({ endpoint, address }) =>
      pod(endpoint, address, local ? 1 : 2, BACKEND_IDENTITY + (service % peers), BACKEND_POLICY),
    ),
  );
  return [...clients.flat(), ...backends.flat()];
}

function serviceEntries(services: number): Entry[] {
  return Array.from({ length: services }, (_, service): Entry[] => {
    const address = SERVICE_BASE + service;
    const revNatIndex = service + 1;
    const entry = (backendSlot: number, value: Partial<LbService>): Entry => ({
      map: MapId.LB4_SERVICES,
      key: encode(LbKey4, { address, dport: SERVICE_PORT, backendSlot, proto: IpProto.TCP }),
      value: encode(LbService, { revNatIndex, ...value }),
    });
    return [
      entry(0, { backendId: LbAlgorithm.MAGLEV << 24, count: BACKENDS_PER_SERVICE }),
      ...backendsOf(service).map(({ id }, i) => entry(i + 1, { backendId: id })),
      ...backendsOf(service).map(({ id, address: to }) => ({
        map: MapId.LB4_BACKENDS,
        key: encode(LbBackendKey, { backendId: id }),
        value: encode(LbBackend4, { address: to, port: BACKEND_PORT, proto: IpProto.TCP, weight: 1 }),
      })),
      { map: MapId.LB4_SERVICES, key: encode(LbKey4, { address }), value: encode(LbService, {}) },
      {
        map: MapId.LB4_REVERSE_NAT,
        key: encode(LbReverseNatKey, { revNatIndex }),
        value: encode(LbReverseNat4, { address, port: SERVICE_PORT }),
      },
    ];
  }).flat();
}

/** Three of four peers may use the one port, the fourth any; and everybody may ask for names. */
function policyEntries({ peers, allowed }: Traffic): Entry[] {
  const value = encode(PolicyEntry, {});
  const entry = (policyId: number, egress: number, secLabel: number, traffic: Partial<PolicyKey>): Entry => ({
    map: MapId.POLICY,
    key: encode(PolicyKey, { policyId, egress, secLabel, ...traffic }),
    value,
  });
  const names = entry(CLIENT_POLICY, 1, 0, { prefixLength: 24, protocol: IpProto.UDP, dport: 53 });
  return Array.from({ length: peers }, (_, peer) => {
    const ports = peer % 4 === 3 ? { prefixLength: 0 } : { ...ONE_TCP_PORT, dport: BACKEND_PORT };
    const backend = (allowed ? BACKEND_IDENTITY : OTHER_IDENTITY) + peer;
    return [entry(CLIENT_POLICY, 1, backend, ports), entry(BACKEND_POLICY, 0, CLIENT_IDENTITY + peer, ports)];
  })
    .flat()
    .concat(names);
}

const TCP = 14 + 20;
const SYN = 0x02;
const ACK = 0x10;
const NOTHING = new Uint8Array(0);

/** One packet a flow: of client `flow % CLIENTS`, from ports counted up, to a drawn Service. */
function writeTemplates(
  { services, flows, frameLength, opening }: Traffic,
  stride: number,
  memory: DataView,
  at: number,
): void {
  if (Math.ceil(flows / CLIENTS) > PORTS) throw new RangeError(`${flows} flows have no ports of their own`);
  const blank = new Uint8Array(frameLength);
  blank.set(
    frameOf({ source: 0, destination: 0, protocol: IpProto.TCP, sourcePort: 0, destinationPort: SERVICE_PORT }),
  );
  const view = new DataView(blank.buffer);
  view.setUint16(16, frameLength - 14);
  view.setUint8(TCP + 13, opening ? SYN : ACK);
  view.setUint16(24, 0);
  view.setUint16(TCP + 16, 0);
  // What all frames have in common is summed once, and the sums of what differs are added.
  const headerSum = ~checksum(blank.subarray(14, TCP)) & 0xffff;
  const segmentSum = (~checksum(blank.subarray(TCP)) & 0xffff) + IpProto.TCP + frameLength - TCP;
  const service = draws(flows + services);
  for (let flow = 0; flow < flows; flow++) {
    const source = clientAddress(flow % CLIENTS);
    const destination = SERVICE_BASE + (service.next().value % services);
    const sourcePort = FIRST_SOURCE_PORT + Math.floor(flow / CLIENTS);
    const addresses = (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff);
    view.setUint32(26, source);
    view.setUint32(30, destination);
    view.setUint16(24, checksum(NOTHING, headerSum + addresses));
    view.setUint16(TCP, sourcePort);
    view.setUint16(TCP + 16, checksum(NOTHING, segmentSum + addresses + sourcePort));
    const template = at + flow * stride;
    const packet = new Packet(memory, template);
    packet.length = frameLength;
    packet.node = 1;
    packet.program = Program.FROM_CONTAINER;
    packet.endpoint = (flow % CLIENTS) + 1;
    new Uint8Array(memory.buffer, template + Packet.size, frameLength).set(blank);
  }
}

/** A fresh dataplane with all that a workload says. */
export function load(module: WebAssembly.Module, workload: Workload): Datapath {
  const datapath = Datapath.create(module, workload.sizes);
  for (const { map, key, value } of workload.entries) {
    const error = datapath.update(map, key, value);
    if (error !== 0) throw new Error(`map ${map} refused an entry of the benchmark: ${error}`);
  }
  for (const { revNatIndex, backends } of workload.maglev) {
    const error = datapath.buildMaglev(revNatIndex, backends);
    if (error !== 0) throw new Error(`Maglev table ${revNatIndex} of the benchmark refused: ${error}`);
  }
  workload.writeTemplates(new DataView(datapath.wasm.memory.buffer), datapath.wasm.templates());
  return datapath;
}
