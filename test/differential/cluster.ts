/** Clusters, drawn at random: what the maps hold, and the addresses and ports that packets may ask for. */
import { addressAt, putAddress, type Address, type Version } from '../reference/bytes.js';
import { ALGORITHM, BACKEND, IDENTITY, PROTOCOL, SERVICE_FLAG, SERVICE_FLAG2 } from '../reference/numbers.js';
import type {
  AuthRow,
  BackendRow,
  Config,
  EndpointConfig,
  FrontendRow,
  IpcacheRow,
  PolicyRow,
  Prefix,
  ServiceRow,
  SourceRangeRow,
  Tables,
} from '../reference/tables.js';
import type { Random } from './random.js';

/** `10.1.0.5`, or `fd00:1::5` with one `::` at most. */
export function address(text: string): Address {
  if (!text.includes(':')) return String.fromCharCode(...text.split('.').map(Number));
  const [head = '', tail = ''] = text.split('::');
  const groups = (side: string): number[] => (side === '' ? [] : side.split(':').map((group) => parseInt(group, 16)));
  const [front, back] = [groups(head), groups(tail)];
  const all = [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back];
  return String.fromCharCode(...all.flatMap((group) => [group >>> 8, group & 255]));
}

export type Addresses = Readonly<Partial<Record<Version, Address>>>;

export interface Pod {
  readonly endpoint: number;
  readonly node: number;
  readonly addresses: Addresses;
}

/** Where a Service listens. */
export interface Frontend {
  readonly address: Address;
  readonly port: number;
  readonly protocol: number;
}

export interface Cluster {
  readonly tables: Omit<Tables, 'maglev'>;
  /** Backends of each Maglev table. */
  readonly maglev: readonly { readonly revNatIndex: number; readonly version: Version; readonly backends: number[] }[];
  readonly nodes: readonly { readonly node: number; readonly addresses: Addresses }[];
  readonly pods: readonly Pod[];
  readonly frontends: readonly Frontend[];
  readonly world: readonly Addresses[];
}

const FAMILIES: readonly Version[] = [4, 6];
export const PROTOCOLS = [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp] as const;
/** What pods listen on. */
export const POD_PORTS: Readonly<Record<number, number>> = {
  [PROTOCOL.tcp]: 8080,
  [PROTOCOL.udp]: 5353,
  [PROTOCOL.sctp]: 9000,
};
const SERVICE_PORTS: Readonly<Record<number, number>> = {
  [PROTOCOL.tcp]: 80,
  [PROTOCOL.udp]: 53,
  [PROTOCOL.sctp]: 9,
};
export const OTHER_PORTS = [443, 8000, 8443, 9090, 22] as const;

const WORLD_PREFIXES: readonly (readonly [text: string, length: number])[] = [
  ['203.0.113.0', 24],
  ['203.0.113.128', 25],
  ['203.0.113.9', 32],
  ['198.18.0.0', 15],
  ['2001:db8::', 32],
  ['2001:db8:1::', 48],
  ['2001:db8:1::9', 128],
  ['2001:db8:8000::', 33],
];

/** Of nodes and pods. */
const CLUSTER_PREFIXES: readonly (readonly [text: string, length: number])[] = [
  ['10.0.0.0', 8],
  ['10.2.0.0', 16],
  ['192.168.0.0', 24],
  ['fd00::', 8],
  ['fd00:2::', 32],
  ['fd00:c0::', 64],
];

const WORLD: readonly Addresses[] = [
  { 4: address('203.0.113.9'), 6: address('2001:db8:1::9') },
  { 4: address('203.0.113.10'), 6: address('2001:db8:1::a') },
  { 4: address('203.0.113.200'), 6: address('2001:db8:2::1') },
  { 4: address('198.19.7.7'), 6: address('2001:db8:8001::1') },
  { 4: address('192.0.2.77'), 6: address('2a00::77') },
];

/** A node that has gone, and a pod of its: what is sent there leaves the cluster as it is on the wire. */
const GONE_POOLS = [
  { address: address('10.9.0.0'), length: 16 },
  { address: address('fd00:9::'), length: 32 },
].map((prefix) => ({ ...prefix, identity: 1000, tunnelEndpoint: address('192.168.0.9'), hasKey: true }));
export const GONE: Addresses = { 4: address('10.9.0.7'), 6: address('fd00:9::7') };

/** Where nothing leaves a node unencrypted: from pods to pods, or from anywhere to anywhere. */
const STRICT_PODS: Prefix = { address: address('10.0.0.0'), length: 8 };
const STRICT_ALL: Prefix = { address: address('0.0.0.0'), length: 0 };

const mac = (role: number, number: number): Uint8Array => Uint8Array.of(2, role, 0, 0, 0, number);

/** One backend address of a kind for both families. */
interface Host {
  readonly addresses: Addresses;
  readonly port: Readonly<Record<number, number>>;
}

export function drawCluster(random: Random): Cluster {
  const nodes = Array.from({ length: random.between(2, 3) }, (_, i) => ({
    node: i + 1,
    addresses: {
      4: address(`192.168.0.${i + 1}`),
      ...(random.chance(90) ? { 6: address(`fd00:c0::${i + 1}`) } : {}),
    },
  }));
  const identities = Array.from({ length: random.between(3, 5) }, (_, i) => 1000 + i);
  const pods = nodes.flatMap(({ node }) =>
    Array.from({ length: random.between(2, 3) }, (_, i) => drawPod(random, node, i)),
  );
  const ipcache = drawIpcache(random);
  const cidrs = ipcache.map(({ identity }) => identity);
  const configs = pods.map(({ endpoint, node, addresses }): EndpointConfig => {
    const index = random.below(identities.length);
    const policy = random.chance(3) ? 0 : index + 1;
    return {
      id: endpoint,
      node,
      identity: identities[index]!,
      policy,
      mac: mac(2, endpoint),
      nodeMac: mac(1, node),
      addresses,
    };
  });
  for (const [i, { node, addresses }] of pods.entries())
    for (const own of Object.values(addresses))
      ipcache.push({
        address: own,
        length: own.length * 8,
        identity: configs[i]!.identity,
        tunnelEndpoint: nodes[node - 1]!.addresses[4],
        hasKey: random.chance(85),
      });
  for (const { addresses } of nodes)
    for (const own of Object.values(addresses))
      ipcache.push({
        address: own,
        length: own.length * 8,
        identity: IDENTITY.remoteNode,
        tunnelEndpoint: null,
        hasKey: false,
      });
  if (random.chance(60)) ipcache.push(...GONE_POOLS);
  const services = new Services(random, nodes, pods);
  const peers = [...identities, ...cidrs, IDENTITY.host, IDENTITY.world, IDENTITY.remoteNode, 0, 0, 0];
  return {
    tables: {
      ...services.rows,
      ipcache,
      endpoints: [
        ...pods.flatMap(({ endpoint, node, addresses }, i) =>
          Object.values(addresses).map((own) => ({
            address: own,
            node,
            endpoint,
            identity: configs[i]!.identity,
            isHost: false,
          })),
        ),
        ...nodes.flatMap(({ node, addresses }) =>
          Object.values(addresses).map((own) => ({
            address: own,
            node,
            endpoint: 0,
            identity: IDENTITY.host,
            isHost: true,
          })),
        ),
      ],
      nodeAddresses: nodes.flatMap(({ node, addresses }) =>
        Object.values(addresses).map((own) => ({ address: own, node })),
      ),
      endpointConfigs: configs,
      nodeConfigs: nodes.map(({ node, addresses }) => ({
        node,
        policy: random.chance(75) ? identities.length + 1 : 0,
        mac: mac(1, node),
        addresses,
      })),
      policies: [...identities, IDENTITY.host].flatMap((_, i) =>
        [true, false].flatMap((egress) => drawPolicy(random, i + 1, egress, peers)),
      ),
      paces: random.some(pods, 4).map(({ endpoint }) => ({ endpoint, rate: random.pick([0, 125, 2000, 50_000]) })),
      authenticated: drawAuthenticated(random, nodes.length, [...identities, IDENTITY.host], peers),
      config: { ...drawConfig(random), ...drawModes(random) },
    },
    maglev: services.maglev,
    nodes,
    pods,
    frontends: services.listening,
    world: WORLD,
  };
}

function drawPod(random: Random, node: number, i: number): Pod {
  const families = random.chance(85) ? FAMILIES : [random.pick(FAMILIES)];
  const own = { 4: address(`10.${node}.0.${i + 5}`), 6: address(`fd00:${node}::${i + 5}`) };
  return {
    endpoint: node * 8 + i,
    node,
    addresses: Object.fromEntries(families.map((family) => [family, own[family]])),
  };
}

/** What may change while packets are on their way. */
type Changing = 'trackFragments' | 'masquerade' | 'rejectNoBackend' | 'mtu' | 'audit';

const drawConfig = (random: Random): Pick<Config, Changing> => ({
  trackFragments: random.chance(90),
  masquerade: random.chance(90),
  rejectNoBackend: random.chance(80),
  mtu: random.pick([1500, 1500, 1500, 1400, 1300, 0]),
  audit: random.chance(15),
});

/** How packets get from node to node, and out. */
function drawModes(random: Random): Pick<Config, Exclude<keyof Config, Changing>> {
  const isNative = random.chance(35);
  const cidrs = (all: readonly (readonly [string, number])[], most: number): Prefix[] =>
    random.some(all, most).map(([text, length]) => ({ address: address(text), length }));
  const [narrow, wide] = [WORLD_PREFIXES, CLUSTER_PREFIXES].map((all) => cidrs(all, 1)) as [Prefix[], Prefix[]];
  const native = random.chance(50) ? [...(random.chance(80) ? wide : narrow)] : [];
  const other = random.chance(30) ? cidrs(CLUSTER_PREFIXES, 1) : [];
  return {
    isNative,
    hostFirewall: random.chance(40),
    wireguard: random.chance(30),
    strictCidr: random.chance(30) ? random.pick([STRICT_PODS, STRICT_ALL]) : null,
    paced: random.chance(30),
    socketLb: random.pick(['off', 'off', 'off', 'all', 'all', 'node']),
    serviceMasquerade: random.chance(75) ? null : random.pick(['external', 'nonLocal', 'all']),
    ...drawTunnel(random, isNative),
    nativeCidrs: [...native, ...other.filter(({ address: own }) => own.length !== native[0]?.address.length)],
    nonMasqueradeCidrs: random.chance(30) ? cidrs([...WORLD_PREFIXES, ...CLUSTER_PREFIXES], 3) : null,
  };
}

/** As the loader allows it: the tunnel says how the Service is told, and native routing has a tunnel for that alone. */
function drawTunnel(random: Random, isNative: boolean): Pick<Config, 'tunnel' | 'dsr'> {
  const tunnel = isNative ? null : random.pick(['vxlan', 'geneve'] as const);
  if (random.chance(45)) return { tunnel, dsr: null };
  const mode = random.pick(['all', 'all', 'tcp', 'annotated'] as const);
  const dispatch = isNative
    ? random.pick(['option', 'ipip', 'ipip', 'geneve'] as const)
    : tunnel === 'vxlan'
      ? 'option'
      : 'geneve';
  return { tunnel: dispatch === 'geneve' ? 'geneve' : tunnel, dsr: { mode, dispatch } };
}

/** The world, and some prefixes in it. */
function drawIpcache(random: Random): IpcacheRow[] {
  const worlds = FAMILIES.filter(() => random.chance(90)).map((family) => ({
    address: '\0'.repeat(family === 4 ? 4 : 16),
    length: 0,
    identity: random.chance(80) ? (family === 4 ? 9 : 10) : IDENTITY.world,
    tunnelEndpoint: null,
    hasKey: false,
  }));
  const prefixes = random.some(WORLD_PREFIXES, 5).map(([text, length], i) => ({
    address: address(text),
    length,
    identity: 0x1000001 + i,
    tunnelEndpoint: null,
    hasKey: false,
  }));
  return [...worlds, ...prefixes];
}

const PORTS = [...Object.values(POD_PORTS), ...Object.values(SERVICE_PORTS), ...OTHER_PORTS];

const NO_AUTH = { type: 0, isExplicit: false } as const;
/** Cilium has one that is done, and one that always fails; the numbers alone count. */
const AUTH_TYPES = [1, 2];

/** What a policy says in one direction: everything, or what its rows do. */
function drawPolicy(random: Random, policy: number, egress: boolean, peers: readonly number[]): PolicyRow[] {
  const rows = new Map<string, PolicyRow>();
  const add = (row: PolicyRow): void => void rows.set([row.identity, row.protocol, row.port, row.length].join(), row);
  const all = {
    policy,
    egress,
    identity: 0,
    protocol: 0,
    port: 0,
    length: 0,
    deny: false,
    priority: 0,
    proxyPort: 0,
    auth: NO_AUTH,
  };
  const open = random.chance(55);
  if (open) add(all);
  for (let i = random.between(open ? 0 : 2, open ? 4 : 12); i > 0; i--) {
    const length = random.pick([0, 8, 24, 24, 24, random.between(9, 23)]);
    const free = length <= 8 ? 16 : 24 - length;
    const isIcmp = random.chance(15);
    const port = isIcmp ? random.pick([0, 3, 8, 1, 2, 128, 129]) : random.pick(PORTS);
    const isProxied = random.chance(20);
    add({
      ...all,
      identity: random.pick(peers),
      protocol: length === 0 ? 0 : isIcmp ? random.pick([PROTOCOL.icmp, PROTOCOL.icmpv6]) : random.pick(PROTOCOLS),
      port: (port >>> free) << free,
      length,
      deny: random.chance(open ? 60 : 15),
      priority: isProxied ? random.between(1, 3) : random.chance(10) ? random.below(3) : 0,
      proxyPort: isProxied ? 10000 + random.below(4) : 0,
      auth: random.chance(12) ? { type: random.pick(AUTH_TYPES), isExplicit: random.chance(40) } : NO_AUTH,
    });
  }
  return [...rows.values()];
}

/** Who has authenticated to whom, and until when. */
function drawAuthenticated(
  random: Random,
  nodes: number,
  locals: readonly number[],
  peers: readonly number[],
): AuthRow[] {
  const rows = new Map<string, AuthRow>();
  for (let i = 60; i > 0; i--) {
    const node = random.between(1, nodes);
    const other = random.between(1, nodes);
    const remoteNode = other === node ? 0 : other;
    const who = {
      node,
      local: random.pick(locals),
      remote: random.pick(peers),
      remoteNode,
      type: random.pick(AUTH_TYPES),
    };
    rows.set(Object.values(who).join(), { ...who, expiration: random.pick([1, 500, 3000, 1e6]) });
  }
  return [...rows.values()];
}

/** Cilium `SVC_FLAG_*`, by what a frontend is. */
const KINDS = { ClusterIP: 0, ExternalIP: 1, NodePort: 2, HostPort: 8, LoadBalancer: 32 } as const;

/** Rows of Services, and all that belongs to them. */
class Services {
  readonly maglev: { revNatIndex: number; version: Version; backends: number[] }[] = [];
  readonly listening: Frontend[] = [];
  private readonly services: ServiceRow[] = [];
  private readonly backends: BackendRow[] = [];
  private readonly frontends: FrontendRow[] = [];
  private readonly sourceRanges: SourceRangeRow[] = [];
  private readonly affinityMatches: { backendId: number; revNatIndex: number }[] = [];
  private lastIndex = 0;

  constructor(
    private readonly random: Random,
    private readonly nodes: Cluster['nodes'],
    private readonly pods: readonly Pod[],
  ) {
    for (let i = random.between(3, 6); i > 0; i--) this.draw(i);
  }

  get rows(): Pick<Tables, 'services' | 'backends' | 'frontends' | 'sourceRanges' | 'affinityMatches'> {
    const { services, backends, frontends, sourceRanges, affinityMatches } = this;
    return { services, backends, frontends, sourceRanges, affinityMatches };
  }

  private draw(number: number): void {
    const { random } = this;
    const hosts = this.drawHosts();
    const affinityTimeout = random.chance(40) ? random.pick([1, 2, 5, 10, 30]) : 0;
    const traits = {
      algorithm: random.pick([ALGORITHM.maglev, ALGORITHM.maglev, ALGORITHM.random]),
      affinityTimeout,
      affinity: affinityTimeout === 0 ? 0 : SERVICE_FLAG.affinity,
      isExternalLocal: random.chance(25),
      isInternalLocal: random.chance(20),
      ranges: random.chance(25) ? random.some(WORLD_PREFIXES, 3) : null,
      isDenying: random.chance(30),
      isDirect: random.chance(40),
    };
    const external = random.chance(60);
    const isHostPort = random.chance(30);
    // A port that is the backends' own goes through IP in IP too.
    const isSame = random.chance(50);
    for (const version of FAMILIES.filter(() => random.chance(85)))
      for (const protocol of random.some(PROTOCOLS, 3)) {
        const own = address(version === 4 ? `10.96.0.${number}` : `fd00:96::${number}`);
        const port = (isSame ? POD_PORTS : SERVICE_PORTS)[protocol]!;
        this.listen(own, port, protocol, version, hosts, traits, 'ClusterIP');
        if (!external) continue;
        const balancer = address(version === 4 ? `198.51.100.${number}` : `2001:db8:ffff::${number}`);
        this.listen(balancer, port, protocol, version, hosts, traits, 'LoadBalancer');
        // Sockets find what no node's address has at the address of nobody.
        const at = this.nodes.flatMap(({ addresses }) => (random.chance(75) ? (addresses[version] ?? []) : []));
        for (const one of ['\0'.repeat(own.length), ...at])
          this.listen(one, 30000 + number, protocol, version, hosts, traits, 'NodePort');
        if (isHostPort)
          for (const one of ['\0'.repeat(own.length), ...at.slice(0, 1)])
            this.listen(one, 7100 + number, protocol, version, hosts, traits, 'HostPort');
        const taken = random.chance(50) ? address(version === 4 ? '203.0.113.200' : '2001:db8:2::1') : null;
        if (taken) this.listen(taken, 8000 + number, protocol, version, hosts, traits, 'ExternalIP');
      }
  }

  /** Pods, seldom a node or somebody outside. */
  private drawHosts(): Host[] {
    const { random, pods, nodes } = this;
    const hosts: Host[] = random.some(pods, 4).map(({ addresses }) => ({ addresses, port: POD_PORTS }));
    const same = { [PROTOCOL.tcp]: 7000, [PROTOCOL.udp]: 7000, [PROTOCOL.sctp]: 7000 };
    const port = random.chance(50) ? same : POD_PORTS;
    if (random.chance(20)) hosts.push({ addresses: random.pick(nodes).addresses, port });
    if (random.chance(20)) hosts.push({ addresses: random.pick(WORLD), port });
    if (random.chance(20)) hosts.push({ addresses: GONE, port: POD_PORTS });
    return random.chance(8) ? [] : hosts;
  }

  private listen(
    own: Address,
    port: number,
    protocol: number,
    version: Version,
    hosts: readonly Host[],
    traits: {
      algorithm: number;
      affinityTimeout: number;
      affinity: number;
      isExternalLocal: boolean;
      isInternalLocal: boolean;
      ranges: (readonly [string, number])[] | null;
      isDenying: boolean;
      isDirect: boolean;
    },
    type: keyof typeof KINDS,
  ): void {
    const { algorithm, affinityTimeout, affinity, isExternalLocal, isInternalLocal, ranges, isDenying, isDirect } =
      traits;
    const inside = type === 'ClusterIP';
    const isLocal = inside ? isInternalLocal : isExternalLocal;
    const ranged = type === 'LoadBalancer' && ranges !== null;
    const kind = KINDS[type];
    const flags =
      kind |
      affinity |
      (inside ? 0 : SERVICE_FLAG.routable) |
      (ranged ? SERVICE_FLAG.sourceRange : 0) |
      (isLocal && !inside ? SERVICE_FLAG.extLocalScope : 0);
    const flags2 =
      (isLocal && inside ? SERVICE_FLAG2.intLocalScope : 0) |
      (ranged && isDenying ? SERVICE_FLAG2.sourceRangeDeny : 0) |
      (isDirect && !inside ? SERVICE_FLAG2.dsr : 0);
    const shape = { address: own, port, protocol, algorithm, affinityTimeout, flags, flags2 };
    this.listening.push({ address: own, port, protocol });
    const ids = hosts.flatMap(({ addresses, port: ports }) => {
      const backend = addresses[version];
      return backend ? [this.backend(backend, ports[protocol]!)] : [];
    });
    const scopes = isLocal ? this.nodes.map(({ node }) => ({ scope: inside ? 1 : 0, node })) : [];
    for (const { scope, node } of [{ scope: 0, node: 0 }, ...scopes]) {
      const revNatIndex = ++this.lastIndex;
      const here = node === 0 ? ids : ids.filter((id) => this.isOn(id, node));
      const row = { ...shape, scope, node, revNatIndex };
      this.services.push({ ...row, slot: 0, backendId: 0, count: here.length });
      for (const [i, id] of here.entries())
        if (!this.random.chance(1)) this.services.push({ ...row, slot: i + 1, backendId: id, count: 0 });
      if (affinity !== 0) for (const id of here) this.affinityMatches.push({ backendId: id, revNatIndex });
      this.frontends.push({ revNatIndex, address: own, port });
      if (ranged)
        for (const [text, length] of ranges) {
          const start = address(text);
          if (start.length === own.length) this.sourceRanges.push({ revNatIndex, address: start, length });
        }
      if (here.length > 0 && algorithm === ALGORITHM.maglev && this.random.chance(95))
        this.maglev.push({ revNatIndex, version, backends: here });
    }
    if (type !== 'ClusterIP' && type !== 'LoadBalancer') return;
    if (this.services.some((row) => row.address === own && row.port === 0)) return;
    const nothing = {
      port: 0,
      protocol: 0,
      slot: 0,
      scope: 0,
      node: 0,
      backendId: 0,
      algorithm: 0,
      affinityTimeout: 0,
    };
    this.services.push({
      ...nothing,
      address: own,
      count: 0,
      revNatIndex: 0,
      flags: kind | (inside ? 0 : SERVICE_FLAG.routable),
      flags2: 0,
    });
  }

  private isOn(id: number, node: number): boolean {
    const { address: own } = this.backends.find((row) => row.id === id)!;
    return this.pods.some((pod) => pod.node === node && Object.values(pod.addresses).includes(own));
  }

  private backend(own: Address, port: number): number {
    const known = this.backends.find((row) => row.address === own && row.port === port);
    if (known) return known.id;
    const id = this.backends.length + 1;
    this.backends.push({ id, address: own, port, state: BACKEND.active });
    return id;
  }
}

/** What a cluster may be like at another time: backends come and go, and what the agent is configured with changes. */
export function evolve(cluster: Cluster, random: Random): Cluster {
  const states = [
    BACKEND.active,
    BACKEND.active,
    BACKEND.terminating,
    BACKEND.terminating,
    BACKEND.quarantined,
    BACKEND.maintenance,
  ];
  const backends = cluster.tables.backends
    .filter(() => !random.chance(5))
    .map((row) => (random.chance(30) ? { ...row, state: random.pick(states) } : row));
  const isActive = new Set(backends.filter(({ state }) => state === BACKEND.active).map(({ id }) => id));
  const frontends = cluster.tables.services.filter(({ slot }) => slot === 0);
  const services = frontends.flatMap((row) => {
    const ids = cluster.tables.services
      .filter((one) => one.slot > 0 && one.revNatIndex === row.revNatIndex && isActive.has(one.backendId))
      .map(({ backendId }) => backendId);
    const slots = ids.map((backendId, i) => ({ ...row, slot: i + 1, backendId, count: 0 }));
    return [{ ...row, count: ids.length }, ...slots];
  });
  return {
    ...cluster,
    tables: {
      ...cluster.tables,
      backends,
      services,
      frontends: cluster.tables.frontends.filter(() => !random.chance(3)),
      affinityMatches: cluster.tables.affinityMatches.filter(({ backendId }) => isActive.has(backendId)),
      config: { ...cluster.tables.config, ...(random.chance(30) ? drawConfig(random) : {}) },
    },
    maglev: cluster.maglev
      .map((one) => ({ ...one, backends: one.backends.filter((id) => isActive.has(id)) }))
      .filter((one) => one.backends.length > 0),
  };
}

/** An address with its last byte changed: a neighbour, who may be nobody. */
export function neighbour(own: Address, random: Random): Address {
  const bytes = new Uint8Array(own.length);
  putAddress(bytes, 0, own);
  bytes[own.length - 1]! ^= 1 + random.below(3);
  return addressAt(bytes, 0, own.length === 4 ? 4 : 6);
}
