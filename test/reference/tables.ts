/** What the datapath is loaded with, as plain rows, and the search in them: row by row. */
import { sharePrefix, versionOf, type Address, type Version } from './bytes.js';
import { IDENTITY, type TUNNEL_PORT } from './numbers.js';

/** A Service's frontend (slot 0) or one of its backends. `port` 0 stands for every port without a row of its own. */
export interface ServiceRow {
  readonly address: Address;
  readonly port: number;
  readonly protocol: number;
  readonly slot: number;
  /** 0 for clients outside, 1 for those within; with `node` 0 for all. */
  readonly scope: number;
  readonly node: number;
  /** Of a slot. */
  readonly backendId: number;
  /** Of a frontend. */
  readonly algorithm: number;
  readonly affinityTimeout: number;
  readonly count: number;
  readonly revNatIndex: number;
  readonly flags: number;
  readonly flags2: number;
}

export interface BackendRow {
  readonly id: number;
  readonly address: Address;
  readonly port: number;
  readonly state: number;
}

export interface FrontendRow {
  readonly revNatIndex: number;
  readonly address: Address;
  readonly port: number;
}

export interface SourceRangeRow {
  readonly revNatIndex: number;
  readonly address: Address;
  readonly length: number;
}

export interface MaglevRow {
  readonly revNatIndex: number;
  readonly version: Version;
  /** The backend in each slot. */
  readonly table: readonly number[] | Uint32Array;
}

export interface IpcacheRow {
  readonly address: Address;
  readonly length: number;
  readonly identity: number;
  /** IPv4; null for none. */
  readonly tunnelEndpoint: Address | null;
  /** What goes there is encrypted. */
  readonly hasKey: boolean;
}

export interface EndpointRow {
  readonly address: Address;
  readonly node: number;
  readonly endpoint: number;
  readonly identity: number;
  /** The node itself. */
  readonly isHost: boolean;
}

export interface EndpointConfig {
  readonly id: number;
  readonly node: number;
  readonly identity: number;
  /** 0 while there is none. */
  readonly policy: number;
  readonly mac: Uint8Array;
  readonly nodeMac: Uint8Array;
  readonly addresses: Readonly<Partial<Record<Version, Address>>>;
}

export interface NodeConfig {
  readonly node: number;
  /** Of the node itself, where it has a firewall; 0 for none. */
  readonly policy: number;
  readonly mac: Uint8Array;
  readonly addresses: Readonly<Partial<Record<Version, Address>>>;
}

export interface PolicyRow {
  readonly policy: number;
  readonly egress: boolean;
  /** 0 for any. */
  readonly identity: number;
  readonly protocol: number;
  readonly port: number;
  /** Bits of protocol (8) and port (16) that count. */
  readonly length: number;
  readonly deny: boolean;
  /** Of proxies' ports, the higher goes first. */
  readonly priority: number;
  /** 0 for no proxy. */
  readonly proxyPort: number;
  /** How both ends must have authenticated, 0 for not at all; `isExplicit` where no other row has a say in that. */
  readonly auth: { readonly type: number; readonly isExplicit: boolean };
}

export interface AuthRow {
  /** Whose knowledge it is. */
  readonly node: number;
  readonly local: number;
  readonly remote: number;
  /** 0 for the same. */
  readonly remoteNode: number;
  readonly type: number;
  readonly expiration: number;
}

export interface Prefix {
  readonly address: Address;
  readonly length: number;
}

export interface Dsr {
  /** For all Services, those of TCP, or those that say so. */
  readonly mode: 'all' | 'tcp' | 'annotated';
  /** Where the backend's node finds which Service was asked. */
  readonly dispatch: 'option' | 'ipip' | 'geneve';
}

export interface Config {
  readonly trackFragments: boolean;
  readonly masquerade: boolean;
  readonly rejectNoBackend: boolean;
  /** 0 for no limit. */
  readonly mtu: number;
  /** Whether the network carries pods' own addresses between nodes; else they take the tunnel. */
  readonly isNative: boolean;
  /** What the tunnel device speaks; null where there is none. */
  readonly tunnel: keyof typeof TUNNEL_PORT | null;
  /** Policies are only tried out. */
  readonly audit: boolean;
  readonly hostFirewall: boolean;
  /** What leaves a node for another is encrypted. */
  readonly wireguard: boolean;
  /** From there to there, of IPv4, nothing leaves a node unless it is; null for no such prefix. */
  readonly strictCidr: Prefix | null;
  /** Pods send out of their node at their pace. */
  readonly paced: boolean;
  /** Whose sockets translate Services where they are connected. */
  readonly socketLb: 'off' | 'node' | 'all';
  /** As kube-proxy masquerades, and whom beside for a ClusterIP; null where it does not. */
  readonly serviceMasquerade: 'external' | 'nonLocal' | 'all' | null;
  /** Direct server return; null where there is none. */
  readonly dsr: Dsr | null;
  /** What the network knows the way to, one prefix of a family at most: to there pods keep their addresses. */
  readonly nativeCidrs: readonly Prefix[];
  /** Likewise of ip-masq-agent, any number of them; null where that does not run. */
  readonly nonMasqueradeCidrs: readonly Prefix[] | null;
}

export interface Tables {
  readonly services: readonly ServiceRow[];
  readonly backends: readonly BackendRow[];
  readonly frontends: readonly FrontendRow[];
  readonly sourceRanges: readonly SourceRangeRow[];
  readonly maglev: readonly MaglevRow[];
  /** Backends that the Services have which keep clients to one. */
  readonly affinityMatches: readonly { readonly backendId: number; readonly revNatIndex: number }[];
  readonly ipcache: readonly IpcacheRow[];
  readonly endpoints: readonly EndpointRow[];
  readonly nodeAddresses: readonly { readonly address: Address; readonly node: number }[];
  readonly endpointConfigs: readonly EndpointConfig[];
  readonly nodeConfigs: readonly NodeConfig[];
  readonly policies: readonly PolicyRow[];
  readonly authenticated: readonly AuthRow[];
  /** Bytes a second that a pod may send; 0 for any number. */
  readonly paces: readonly { readonly endpoint: number; readonly rate: number }[];
  readonly config: Config;
}

/** Of the rows whose prefix holds the address, the one with the longest. */
function longest<Row extends { readonly address: Address; readonly length: number }>(
  rows: readonly Row[],
  address: Address,
): Row | undefined {
  let best: Row | undefined;
  for (const row of rows)
    if (
      row.address.length === address.length &&
      (best === undefined || row.length > best.length) &&
      sharePrefix(row.address, address, row.length)
    )
      best = row;
  return best;
}

function grouped<Row, Key>(rows: readonly Row[], keyOf: (row: Row) => Key): ReadonlyMap<Key, readonly Row[]> {
  const groups = new Map<Key, Row[]>();
  for (const row of rows) {
    const key = keyOf(row);
    const group = groups.get(key);
    if (group) group.push(row);
    else groups.set(key, [row]);
  }
  return groups;
}

/** Whether one of the prefixes holds the address. */
export const isIn = (prefixes: readonly Prefix[], address: Address): boolean =>
  longest(prefixes, address) !== undefined;

const NONE: readonly never[] = [];

/** The rows, by what is asked for first. */
export class Loaded {
  readonly config: Config;
  private readonly services: ReadonlyMap<Address, readonly ServiceRow[]>;
  private readonly endpoints: ReadonlyMap<Address, readonly EndpointRow[]>;
  private readonly policies: ReadonlyMap<number, readonly PolicyRow[]>;
  /** What was asked before. */
  private readonly remotes = new Map<Address, IpcacheRow | undefined>();

  constructor(private readonly rows: Tables) {
    this.config = rows.config;
    this.services = grouped(rows.services, ({ address }) => address);
    this.endpoints = grouped(rows.endpoints, ({ address }) => address);
    this.policies = grouped(rows.policies, ({ policy, egress }) => policy * 2 + (egress ? 1 : 0));
  }

  servicesAt(address: Address): readonly ServiceRow[] {
    return this.services.get(address) ?? NONE;
  }

  policyOf(policy: number, egress: boolean): readonly PolicyRow[] {
    return this.policies.get(policy * 2 + (egress ? 1 : 0)) ?? NONE;
  }

  /** Bytes a second of a pod; 0 for any number. */
  rateOf(endpoint: number): number {
    return this.rows.paces.find((row) => row.endpoint === endpoint)?.rate ?? 0;
  }

  /** What is known of an address. */
  remoteAt(address: Address): IpcacheRow | undefined {
    const { remotes } = this;
    if (!remotes.has(address)) remotes.set(address, longest(this.rows.ipcache, address));
    return remotes.get(address);
  }

  /** The identity of the addresses of a family of which nothing is known. */
  worldOf(version: Version): number {
    const all = this.rows.ipcache.find((row) => row.length === 0 && versionOf(row.address) === version);
    return all?.identity ?? IDENTITY.world;
  }

  isInSourceRanges(revNatIndex: number, address: Address): boolean {
    const ranges = this.rows.sourceRanges.filter((row) => row.revNatIndex === revNatIndex);
    return longest(ranges, address) !== undefined;
  }

  endpointAt(address: Address, node: number): EndpointRow | undefined {
    return this.endpoints.get(address)?.find((row) => row.node === node);
  }

  /** The node that has an address, 0 for none. */
  nodeAt(address: Address): number {
    return this.rows.nodeAddresses.find((row) => row.address === address)?.node ?? 0;
  }

  /** An endpoint whose programs are loaded, and which has a policy. */
  readyEndpoint(id: number): EndpointConfig | undefined {
    return this.rows.endpointConfigs.find((row) => row.id === id && row.policy !== 0);
  }

  node(node: number): NodeConfig {
    return this.rows.nodeConfigs.find((row) => row.node === node)!;
  }

  authenticatedAs(node: number, local: number, remote: number, remoteNode: number, type: number): AuthRow | undefined {
    return this.rows.authenticated.find(
      (row) =>
        row.node === node &&
        row.local === local &&
        row.remote === remote &&
        row.remoteNode === remoteNode &&
        row.type === type,
    );
  }

  backend(id: number, version: Version): BackendRow | undefined {
    return this.rows.backends.find((row) => row.id === id && versionOf(row.address) === version);
  }

  frontend(revNatIndex: number, version: Version): FrontendRow | undefined {
    return this.rows.frontends.find((row) => row.revNatIndex === revNatIndex && versionOf(row.address) === version);
  }

  maglevTable(revNatIndex: number, version: Version): MaglevRow['table'] | undefined {
    return this.rows.maglev.find((row) => row.revNatIndex === revNatIndex && row.version === version)?.table;
  }

  isAffinityMatch(backendId: number, revNatIndex: number): boolean {
    return this.rows.affinityMatches.some((row) => row.backendId === backendId && row.revNatIndex === revNatIndex);
  }
}
