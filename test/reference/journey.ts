/** One packet on its way through the cluster, and what the nodes remember of those before it. */
import type { Address } from './bytes.js';
import type { Connection } from './conntrack.js';
import type { Packet } from './packet.js';
import type { Loaded } from './tables.js';
import type { Told } from './told.js';
import { write } from './write.js';

/** What source NAT put in the place of an address and a port, or what was there. */
export interface Mapping {
  readonly address: Address;
  readonly port: number;
  readonly created: number;
}

export interface LastBackend {
  readonly backendId: number;
  readonly lastUsed: number;
}

/** What a socket was connected to before a backend took its place. */
export interface AskedBySocket {
  readonly address: Address;
  readonly port: number;
  readonly revNatIndex: number;
}

export interface Ports {
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** The tables that the datapath fills itself. Keys are texts; those that changed are told, so that somebody can look. */
export class Memory<Value> {
  private readonly values = new Map<string, Value>();
  readonly changed = new Set<string>();

  get size(): number {
    return this.values.size;
  }

  get(key: string): Value | undefined {
    return this.values.get(key);
  }

  set(key: string, value: Value): void {
    this.values.set(key, value);
    this.changed.add(key);
  }

  delete(key: string): void {
    this.values.delete(key);
    this.changed.add(key);
  }

  [Symbol.iterator](): IterableIterator<[string, Value]> {
    return this.values[Symbol.iterator]();
  }
}

export class State {
  /** Seconds. */
  clock = 0;
  readonly connections = new Memory<Connection>();
  readonly mappings = new Memory<Mapping>();
  readonly clients = new Memory<LastBackend>();
  readonly fragments = new Memory<Ports>();
  readonly sockets = new Memory<AskedBySocket>();
  /** When the last packet of a pod leaves, in nanoseconds. */
  readonly departures = new Map<number, bigint>();
}

/** Why a connection is known, and what a packet that goes back along it must know. */
export type Status = 'new' | 'established' | 'reply' | 'related';

export class Journey {
  /** Null while nothing is known of the frame but its bytes. */
  packet: Packet | null = null;
  sourceIdentity = 0;
  destinationIdentity = 0;
  /** The backend that was picked last, and the Service of the last translation, done or to be undone. */
  backendId = 0;
  revNatIndex = 0;
  /** Likewise of its socket; null where that had no part in it. */
  socket: { readonly backendId: number; readonly revNatIndex: number } | null = null;
  /** How the last look-up of the connection on this node ended, and the entry along which the packet goes back. */
  status: Status = 'new';
  back: Connection | null = null;
  /** The entry with which it goes on, as this packet left it. */
  ongoing: Connection | null = null;
  /** A SYN opens the Service's flow anew. */
  reopened = false;
  /** A Service gave the packet to the pod that sent it. */
  looped = false;
  /** Its source was decided on already (`ctx_snat_done`). */
  isSourceDone = false;
  /** The end of the tunnel in which the packet is. */
  tunnelTo: Address | null = null;
  /** It is in a message of WireGuard's. */
  isEncrypted = false;
  /** The pod at whose pace it leaves the node; 0 for none. */
  paced = 0;
  /** Microseconds that it waited for that. */
  delay = 0;
  /** What the header of the tunnel told along with it. */
  told: readonly Told[] = [];
  /** The reason in spite of which it passed a policy, and above it the direction. */
  audited = 0;
  /** The reason that an ICMP error told the sender, and the program that did. */
  answered = 0;
  answeredBy = 0;

  constructor(
    readonly tables: Loaded,
    readonly state: State,
    /** The frame, as it came to this node. */
    public frame: Uint8Array,
    public program: number,
    public node: number,
    public endpoint: number,
    /** What the stack knows of it: of what a proxy sends, and of what goes to one. */
    public mark: number,
  ) {}

  /** The frame as it is now. */
  get bytes(): Uint8Array {
    return this.packet ? write(this.packet) : this.frame;
  }

  /** From one node to another: what the programs of the one know, those of the other do not. */
  moveTo(node: number): void {
    this.frame = this.bytes;
    this.packet = null;
    this.node = node;
    this.endpoint = 0;
    this.status = 'new';
    this.back = null;
    this.looped = false;
    this.isSourceDone = false;
    this.mark = 0;
    this.tunnelTo = null;
    this.told = [];
    this.isEncrypted = false;
    this.paced = 0;
  }
}
