/** The host's side of the datapath: one instance of the wasm, its maps as bytes, its batch of packets and its events. */
import { BATCH_SIZE, EVENT_SIZE, MapId, PACKET_HEADROOM, PACKET_ROOM } from '../assembly/abi.js';
import { instantiate, type Dataplane } from '../pkg/dataplane.js';
import {
  Capacities,
  FlowCounters,
  MaglevBackend,
  MaglevKey,
  MaglevTable,
  MapCounters,
  Packet,
} from '../pkg/structs.js';

/** A generated view of a struct of the datapath. */
export interface StructType<T> {
  new (view: DataView, at?: number): T;
  readonly size: number;
  readonly fields: readonly string[];
}

/** Bytes of a struct as a text with one UTF-16 unit a byte: cheap to compare, and good as a key of a Map. */
export type Bytes = string;

const staging = new DataView(new ArrayBuffer(256));
const stagingBytes = new Uint8Array(staging.buffer);
/** A view of each struct at the start of that. */
const staged = new Map<StructType<object>, object>();

/** The bytes of a struct with these fields; the others are zero. */
export function encode<T extends object>(type: StructType<T>, fields: Partial<T>): Bytes {
  const view = viewOf(type);
  stagingBytes.fill(0, 0, type.size);
  for (const name in fields) view[name] = fields[name]!;
  return textOf(stagingBytes, 0, type.size);
}

/** The same of a struct whose fields `set` sets: faster where there are hundreds of thousands of one kind. */
export function packed<T extends object>(type: StructType<T>, set: (view: T) => void): Bytes {
  stagingBytes.fill(0, 0, type.size);
  set(viewOf(type));
  return textOf(stagingBytes, 0, type.size);
}

function viewOf<T extends object>(type: StructType<T>): T {
  let view = staged.get(type) as T | undefined;
  if (!view) staged.set(type, (view = new type(staging)));
  return view;
}

/** Bytes on their way into a text, in a list for each length: `apply` is quick with plain lists alone. */
const units: number[][] = [];

function textOf(bytes: Uint8Array, at: number, length: number): Bytes {
  const list = (units[length] ??= Array.from({ length }, () => 0));
  for (let i = 0; i < length; i++) list[i] = bytes[at + i]!;
  return String.fromCharCode.apply(null, list);
}

/** A struct read from its bytes: a plain object with its fields. */
export function decode<T extends object>(
  type: StructType<T>,
  bytes: Bytes | Uint8Array,
): { [Field in keyof T]: T[Field] } {
  const copy = new Uint8Array(type.size);
  for (let i = 0; i < type.size; i++) copy[i] = typeof bytes === 'string' ? bytes.charCodeAt(i) : (bytes[i] ?? 0);
  const view = new type(new DataView(copy.buffer));
  return Object.fromEntries(type.fields.map((field) => [field, view[field as keyof T]])) as {
    [Field in keyof T]: T[Field];
  };
}

/** Seeds of Cilium's default installation: the words of base64 `JLfvgnHc2kaSUFaI`, big-endian. */
const MURMUR_SEED = 0x24b7ef82;
export const JHASH_SEED = 0x71dcda46;
const JHASH6_SEED = 0x92505688;
/** Fixed, so that the same input gives the same answer; a dataplane on real traffic would draw it. */
const HASH_SEED = 0x5bd1e9955bd1e995n;

export type Sizes = { -readonly [Key in (typeof Capacities.fields)[number]]: number };

export interface PacketIn {
  readonly frame: Uint8Array;
  readonly node: number;
  /** A `Program`: where the packet enters. */
  readonly program: number;
  readonly endpoint: number;
  /** A `Mark`, of what a proxy sends; 0 unless given. */
  readonly mark?: number;
  /** When it comes, in nanoseconds; unless given, after all packets before it have left their nodes. */
  readonly time?: number;
}

export interface PacketOut {
  /** 0, or a negated `DropReason`. */
  readonly verdict: number;
  readonly node: number;
  /** A `Program`: where it ended. */
  readonly program: number;
  readonly endpoint: number;
  readonly backendId: number;
  readonly revNatIndex: number;
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
  /** Where the ICMP error ended that told the sender of the drop, a `Program`; `frame` then is that error. 0 for none. */
  readonly answered: number;
  /** A `Mark`, of what goes to a proxy; else 0. */
  readonly mark: number;
  /** The `DropReason` in spite of which it passed a policy, and above it the `CtDirection` of that; 0 for none. */
  readonly audited: number;
  /** Microseconds that it waited for its time to leave a node. */
  readonly delay: number;
  readonly frame: Uint8Array;
}

/** `created` = `live` + `evicted` + `expired` + `deleted`. */
export type Counters = Readonly<Record<(typeof MapCounters.fields)[number] | 'live', number>>;

/** Nanoseconds from packet to packet: a large one takes as long at the slowest pace that Kubernetes lets a pod have, and none waits longer. */
const APART = 16e9;

export class Datapath {
  private bytes!: Uint8Array;
  private view!: DataView;
  private packets = 0;

  private constructor(
    readonly wasm: Dataplane,
    readonly sizes: Readonly<Sizes>,
  ) {
    Object.assign(new Capacities(new DataView(wasm.memory.buffer), wasm.capacitiesAt()), sizes);
    wasm.create(HASH_SEED, MURMUR_SEED, JHASH_SEED, JHASH6_SEED);
    // All memory is taken now and none is ever added, so these views stay good.
    this.bytes = new Uint8Array(wasm.memory.buffer);
    this.view = new DataView(wasm.memory.buffer);
  }

  /** A fresh dataplane. Throws when the machine has not the memory for `sizes`. */
  static create(module: WebAssembly.Module, sizes: Readonly<Sizes>): Datapath {
    return new Datapath(instantiate(module), sizes);
  }

  private write(at: number, bytes: Bytes): void {
    for (let i = 0; i < bytes.length; i++) this.bytes[at + i] = bytes.charCodeAt(i);
  }

  private read(at: number, length: number): Bytes {
    return textOf(this.bytes, at, length);
  }

  /** 0, or a `MapError`. */
  update(map: MapId, key: Bytes, value: Bytes): number {
    const at = this.wasm.scratch();
    this.write(at, key);
    this.write(at + 64, value);
    return this.wasm.mapUpdate(map, at, at + 64);
  }

  /** 0, or a `MapError`. */
  delete(map: MapId, key: Bytes): number {
    this.write(this.wasm.scratch(), key);
    return this.wasm.mapDelete(map, this.wasm.scratch());
  }

  /** The value's bytes, or null. */
  lookup(map: MapId, key: Bytes, valueSize: number): Bytes | null {
    this.write(this.wasm.scratch(), key);
    const at = this.wasm.mapLookup(map, this.wasm.scratch());
    return at === 0 ? null : this.read(at, valueSize);
  }

  /** All keys of a hash or prefix map, sorted by their bytes. */
  keys(map: MapId, keySize: number): Bytes[] {
    const at = this.wasm.scratch();
    const count = this.wasm.mapKeys(map, at, this.sizes.scratch);
    return Array.from({ length: count }, (_, i) => this.read(at + i * keySize, keySize)).sort();
  }

  /**
   * Builds a Service's Maglev table in `map` (LB4_MAGLEV or LB6_MAGLEV). `name` is the text that Cilium hashes; the order is
   * that of turns.
   */
  buildMaglev(
    revNatIndex: number,
    backends: readonly { backendId: number; weight: number; name: string }[],
    map = MapId.LB4_MAGLEV,
  ): number {
    const stride = MaglevBackend.size + 96;
    let at = this.wasm.scratch();
    for (const { backendId, weight, name } of backends) {
      Object.assign(new MaglevBackend(this.view, at), { backendId, weight, nameLength: name.length });
      this.write(at + MaglevBackend.size, name);
      at += stride;
    }
    return this.wasm.buildMaglev(map, revNatIndex, this.wasm.scratch(), backends.length);
  }

  /** The ids of backends in the slots of a Service's Maglev table; null for a Service without one. */
  maglevTable(revNatIndex: number, map = MapId.LB4_MAGLEV): Uint32Array | null {
    const found = this.lookup(map, encode(MaglevKey, { revNatIndex }), MaglevTable.size);
    if (found === null) return null;
    const { ids, slots, size, width } = decode(MaglevTable, found);
    return Uint32Array.from({ length: size }, (_, slot) => {
      const number = width === 1 ? this.view.getUint8(slots + slot) : this.view.getUint16(slots + slot * 2, true);
      return this.view.getUint32(ids + number * 4, true);
    });
  }

  /** Runs up to `BATCH_SIZE` packets, in order, in one call. */
  process(packets: readonly PacketIn[]): PacketOut[] {
    const count = Math.min(packets.length, BATCH_SIZE);
    for (let i = 0; i < count; i++) {
      const { frame, node, program, endpoint, mark = 0, time = ++this.packets * APART } = packets[i]!;
      const data = this.wasm.frames() + i * PACKET_ROOM + PACKET_HEADROOM;
      const length = Math.min(frame.length, PACKET_ROOM - 2 * PACKET_HEADROOM);
      this.bytes.set(frame.subarray(0, length), data);
      Object.assign(new Packet(this.view, this.wasm.packets() + i * Packet.size), {
        data,
        length,
        node,
        program,
        endpoint,
        mark,
        time: BigInt(time),
        verdict: 0,
      });
    }
    this.wasm.process(count);
    return Array.from({ length: count }, (_, i) => {
      const packet = new Packet(this.view, this.wasm.packets() + i * Packet.size);
      const {
        verdict,
        node,
        program,
        endpoint,
        backendId,
        revNatIndex,
        sourceIdentity,
        destinationIdentity,
        answered,
        mark,
        audited,
        delay,
        data,
        length,
      } = packet;
      const frame = this.bytes.slice(data, data + length);
      return {
        verdict,
        node,
        program,
        endpoint,
        backendId,
        revNatIndex,
        sourceIdentity,
        destinationIdentity,
        answered,
        mark,
        audited,
        delay,
        frame,
      };
    });
  }

  /** The verdicts alone of up to `BATCH_SIZE` packets, run in one call. */
  verdicts(packets: readonly PacketIn[]): number[] {
    return this.process(packets).map((packet) => packet.verdict);
  }

  /** Runs one packet and hands over all that was recorded of it: copies of the ring's records, and how many had no room in it. */
  traced(packet: PacketIn): { out: PacketOut; events: Uint8Array[]; lost: number } {
    this.wasm.drainEvents();
    this.wasm.setTracing(true);
    const [out] = this.process([packet]);
    this.wasm.setTracing(false);
    const first = this.wasm.events();
    const events = Array.from({ length: this.wasm.eventCount() }, (_, i) =>
      this.bytes.slice(first + i * EVENT_SIZE, first + (i + 1) * EVENT_SIZE),
    );
    return { out: out!, events, lost: this.wasm.eventsLost() };
  }

  /** What became of a map's entries. */
  counters(map: MapId): Counters {
    const { created, evicted, expired, deleted } = new MapCounters(this.view, this.wasm.mapCounters(map));
    return {
      created: Number(created),
      evicted: Number(evicted),
      expired: Number(expired),
      deleted: Number(deleted),
      live: this.wasm.mapCount(map),
    };
  }

  /** What became of packets whose outcome is kept, since the start. */
  flowCounters(): Readonly<Record<(typeof FlowCounters.fields)[number], number>> {
    const { followed, kept, opened } = new FlowCounters(this.view, this.wasm.flowCounters());
    return { followed: Number(followed), kept: Number(kept), opened: Number(opened) };
  }

  flushConnections(): void {
    this.wasm.flushConnections();
  }
}
