/** What the datapath is loaded with, as plain rows, and the search in them: row by row. */
import { sharePrefix, versionOf, type Address, type Version } from './bytes.js';

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
  readonly priority: number;
}

export interface Config {
  readonly trackFragments: boolean;
  readonly masquerade: boolean;
  readonly rejectNoBackend: boolean;
  /** 0 for no limit. */
  readonly mtu: number;
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

export const remoteOf = ({ ipcache }: Tables, address: Address): IpcacheRow | undefined => longest(ipcache, address);

export const isInSourceRanges = ({ sourceRanges }: Tables, revNatIndex: number, address: Address): boolean =>
  longest(
    sourceRanges.filter((row) => row.revNatIndex === revNatIndex),
    address,
  ) !== undefined;

export const endpointAt = ({ endpoints }: Tables, address: Address, node: number): EndpointRow | undefined =>
  endpoints.find((row) => row.address === address && row.node === node);

/** The node that has an address, 0 for none. */
export const nodeOf = ({ nodeAddresses }: Tables, address: Address): number =>
  nodeAddresses.find((row) => row.address === address)?.node ?? 0;

/** An endpoint whose programs are loaded, and which has a policy. */
export const readyEndpoint = ({ endpointConfigs }: Tables, id: number): EndpointConfig | undefined =>
  endpointConfigs.find((row) => row.id === id && row.policy !== 0);

export const nodeConfigOf = ({ nodeConfigs }: Tables, node: number): NodeConfig =>
  nodeConfigs.find((row) => row.node === node)!;

export const backendOf = ({ backends }: Tables, id: number, version: Version): BackendRow | undefined =>
  backends.find((row) => row.id === id && versionOf(row.address) === version);

export const frontendOf = ({ frontends }: Tables, revNatIndex: number, version: Version): FrontendRow | undefined =>
  frontends.find((row) => row.revNatIndex === revNatIndex && versionOf(row.address) === version);
