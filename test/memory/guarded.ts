/** A loaded dataplane of an instrumented build: says which bytes may be touched when, and what was touched that may not be. */
import { BATCH_SIZE, PACKET_HEADROOM, PACKET_ROOM } from '../../assembly/abi.js';
import { Datapath } from '../../dataplane/wasm.js';
import { Packet } from '../../pkg/structs.js';
import type { Loaded } from './cluster.js';
import { BULK, CONTROL, Control, GUARD, HEADROOMS, May, SHADOW, STATIC_BASE } from './instrument.js';

/** What bytes hold that nobody may write. */
const CANARY = 0xa5;

/** What `digest` starts from. */
const FNV_OFFSET = 0x811c9dc5;

/** Memory was touched that is neither the packet's nor a region's. */
export class Violation extends Error {}

/** Where a packet enters. */
type Placed = Pick<Packet, 'program' | 'node' | 'endpoint' | 'mark'>;

interface Range {
  readonly start: number;
  readonly end: number;
}

/** Names of the functions that are not the datapath's. */
const HOOK = /^(refuse|memory_\w+|(load|store)_ptr_\d+)$/;

/** Runs what enters the wasm; a refused access becomes a Violation that says what was refused. */
function watched<T>(run: () => T, refusal: () => string): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    const text = /out of bounds/.test(error.message) ? 'an access outside all memory' : refusal();
    if (text === '') throw error;
    const where = [...(error.stack ?? '').matchAll(/^ +at (\S+) \(wasm:/gm)].find(([, name]) => !HOOK.test(name!));
    throw new Violation(where ? `${text}, in ${where[1]}` : text);
  }
}

/** Runs of bytes with which something may be done. */
function runs(shadow: Uint8Array, from: number, end: number): Range[] {
  const found: Range[] = [];
  for (let at = from; at < end; at++) {
    if (shadow[at] === May.NOTHING) continue;
    const start = at;
    while (at < end && shadow[at] !== May.NOTHING) at++;
    found.push({ start, end: at });
  }
  return found;
}

const round16 = (length: number): number => (length + 15) & ~15;

export class Guarded {
  readonly datapath: Datapath;
  readonly memory: Uint8Array;
  /** Static data first, then what the arena handed out, in its order. */
  readonly regions: readonly Range[];
  /** Bytes that are nobody's: below the static data, and behind each region. */
  private readonly guards: readonly Range[];
  private readonly shadow: Uint8Array;
  private readonly words: Uint32Array;
  private readonly record: Packet;
  private readonly records: number;
  private readonly frames: number;
  private readonly scratch: Range;
  /** The packet that is replayed in the first one's room. */
  private replayed = 0;

  /** A fresh dataplane with all that the cluster asks for. Throws a Violation when filling the maps is one. */
  constructor(
    module: WebAssembly.Module,
    readonly cluster: Loaded,
  ) {
    this.datapath = watched(
      () => Datapath.create(module, cluster.sizes),
      () => 'an access that is refused while memory is taken',
    );
    const { wasm } = this.datapath;
    this.memory = new Uint8Array(wasm.memory.buffer);
    this.shadow = this.memory.subarray(SHADOW);
    this.words = new Uint32Array(wasm.memory.buffer, CONTROL, Control.LIMITS + 2 * BATCH_SIZE);
    this.record = new Packet(new DataView(wasm.memory.buffer));
    this.records = wasm.packets();
    this.frames = wasm.frames();
    this.words.set([this.records, Packet.size, this.frames], Control.RECORDS);
    this.regions = runs(this.shadow, STATIC_BASE, wasm.memoryUsed());
    this.guards = [
      { start: 0, end: STATIC_BASE },
      ...this.regions.map(({ end }, i) => ({ start: end, end: this.regions[i + 1]?.start ?? end + GUARD })),
    ];
    this.scratch = this.regions.find(({ start }) => start === wasm.scratch())!;
    for (const at of [wasm.scratch(), wasm.packets(), wasm.frames(), wasm.templates()]) {
      const { start, end } = this.regions.find((region) => region.start === at)!;
      this.shadow.fill(May.NOTHING, start, end);
    }
    for (const { start, end } of this.guards) this.memory.fill(CANARY, start, end);
    this.load();
  }

  /** As the loader would, entry by entry. */
  private load(): void {
    const { desired } = this.cluster;
    this.host(() => {
      for (const { map, key, value } of desired.entries)
        if (this.datapath.update(map, key, value) !== 0) throw new Error(`map ${map} is too small`);
      for (const { map, revNatIndex, backends } of desired.maglev)
        if (this.datapath.buildMaglev(revNatIndex, backends, map) !== 0) throw new Error('too few Maglev tables');
    });
  }

  /** Calls that are not about packets: they may use the room for keys and values. */
  host<T>(run: () => T): T {
    this.shadow.fill(May.ALL, this.scratch.start, this.scratch.end);
    const result = this.watch(run);
    this.shadow.fill(May.NOTHING, this.scratch.start, this.scratch.end);
    return result;
  }

  /** Where the frame of packet `i` of the batch starts. */
  frameAt(i: number): number {
    return this.frames + i * PACKET_ROOM + PACKET_HEADROOM;
  }

  /** The record of packet `i` of the batch. */
  recordOf(i: number): Packet {
    this.record.at = this.records + i * Packet.size;
    return this.record;
  }

  /** Fills in the record of packet `i`, whose frame of `length` bytes is there. */
  place(i: number, length: number, { program, node, endpoint, mark }: Placed): void {
    const record = this.recordOf(i);
    record.data = this.frameAt(i);
    record.length = length;
    record.node = node;
    record.program = program;
    record.endpoint = endpoint;
    record.mark = mark;
    record.verdict = 0;
    const limits = Control.LIMITS + 2 * i;
    this.words[limits] = this.frameAt(i);
    this.words[limits + 1] = this.frameAt(i) + length;
  }

  /** The packet in hand; after a batch its last; -1 before its first. */
  get current(): number {
    return (this.words[Control.CURRENT]! | 0) + this.replayed;
  }

  /** Accesses that were checked so far. */
  get accesses(): number {
    return this.words[Control.ACCESSES]! + this.words[Control.ACCESSES + 1]! * 2 ** 32;
  }

  /**
   * Runs the first `count` packets through the programs; `asked` may be more than a batch holds, of which the datapath takes no
   * notice. While one is in hand the others are closed.
   */
  processPlain(count: number, asked = count): void {
    this.replayed = 0;
    this.words[Control.CURRENT] = -1;
    this.words[Control.COUNT] = count;
    this.watch(() => this.datapath.wasm.processPlain(asked));
    this.words[Control.COUNT] = 0;
    this.close(this.current);
    if (this.current !== count - 1) throw new Violation(`packet ${this.current + 1} of the batch was not run`);
    for (let i = 0; i < count; i++) this.result(i);
  }

  /** The same in stages, for which all of them are open: a violation is the last one's, whosever it was. */
  process(count: number, asked = count): void {
    this.replayed = 0;
    this.words[Control.CURRENT] = count - 1;
    for (let i = 0; i < count; i++) this.open(i);
    this.watch(() => this.datapath.wasm.process(asked));
    for (let i = 0; i < count; i++) this.close(i);
    for (let i = 0; i < count; i++) this.result(i);
  }

  private watch<T>(run: () => T): T {
    return watched(run, () => this.refusal());
  }

  /** The frame that came out lies where the one that went in did, or in front of it. */
  private result(i: number): void {
    const { data, length } = this.recordOf(i);
    const limits = Control.LIMITS + 2 * i;
    const [start, end] = [this.words[limits]!, this.words[limits + 1]!];
    const inside = data >= start - PACKET_HEADROOM && data <= end && data + length <= end;
    if (inside && this.isWritten(i, data - start)) return;
    this.words[Control.CURRENT] = i;
    throw new Violation(
      `the result is said to be ${this.describe(data)}, of ${length} bytes${inside ? ', not all written' : ''}`,
    );
  }

  /** Whether a frame that begins `by` bytes before or behind its old start has nothing in front but what was written for it. */
  private isWritten(i: number, by: number): boolean {
    const start = HEADROOMS + (i + 1) * PACKET_HEADROOM;
    for (let at = start + by; at < start; at++) if ((this.memory[at]! & May.READ) === 0) return false;
    return true;
  }

  private open(i: number): void {
    const record = this.records + i * Packet.size;
    const [start, end] = [this.words[Control.LIMITS + 2 * i]!, this.words[Control.LIMITS + 2 * i + 1]!];
    this.shadow.fill(May.ALL, record, record + Packet.size);
    this.shadow.fill(May.WRITE | May.OPENS, start - PACKET_HEADROOM, start);
    this.shadow.fill(May.ALL, start, end);
  }

  private close(i: number): void {
    const [record, room] = [this.records + i * Packet.size, this.frames + i * PACKET_ROOM];
    this.memory.copyWithin(HEADROOMS + i * PACKET_HEADROOM, SHADOW + room, SHADOW + room + PACKET_HEADROOM);
    this.shadow.fill(May.NOTHING, record, record + Packet.size);
    this.shadow.fill(May.NOTHING, room, room + PACKET_ROOM);
  }

  /**
   * Runs packet `i`, placed, by way of `replay`: from a template to the first room. What lies up to 15 bytes behind the
   * frame is copied along, and never looked at.
   */
  replay(i: number): void {
    const { wasm } = this.datapath;
    const template = wasm.templates();
    const { length } = this.recordOf(i);
    const [record, frame] = [this.record.at, this.frameAt(i)];
    const end = template + Packet.size + round16(length);
    this.memory.copyWithin(template, record, record + Packet.size);
    this.memory.copyWithin(template + Packet.size, frame, frame + length);
    this.shadow.fill(May.READ, template, end);
    const to = this.frameAt(0);
    this.shadow.fill(May.ALL, this.records, this.records + Packet.size);
    this.shadow.fill(May.WRITE | May.OPENS, to - PACKET_HEADROOM, to + length);
    this.shadow.fill(May.WRITE, to + length, to + round16(length));
    this.words[Control.CURRENT] = 0;
    this.replayed = i;
    this.watch(() => wasm.replay(0, 1, 1, end - template));
    this.close(0);
    this.shadow.fill(May.NOTHING, template, end);
    this.words[Control.LIMITS] = to;
    this.words[Control.LIMITS + 1] = to + length;
    this.result(0);
  }

  /** The digest of packet `i` of the batch that ran last: of its bytes and of no others. */
  digest(i: number): number {
    const { data, length } = this.recordOf(i);
    this.shadow.fill(May.READ, this.record.at, this.record.at + Packet.size);
    this.shadow.fill(May.READ, data, data + length);
    this.words[Control.CURRENT] = i;
    const digest = this.watch(() => this.datapath.wasm.digest(i, FNV_OFFSET));
    this.close(i);
    return digest;
  }

  /** Fills what lies behind the frame of packet `i`, placed, so that `intact` sees what is written there. */
  plant(i: number): void {
    this.memory.fill(CANARY, this.words[Control.LIMITS + 2 * i + 1], this.frameAt(i + 1) - PACKET_HEADROOM);
  }

  /** Throws a Violation when a byte that nobody may write was written: behind a region, or beside one of `count` packets. */
  intact(count: number): void {
    const check = (start: number, end: number): void => {
      for (let at = start; at < end; at++)
        if (this.memory[at] !== CANARY) throw new Violation(`a guard byte was written: ${this.describe(at)}`);
    };
    for (const { start, end } of this.guards) check(start, end);
    for (let i = 0; i < count; i++)
      check(this.words[Control.LIMITS + 2 * i + 1]!, this.frameAt(i + 1) - PACKET_HEADROOM);
  }

  private refusal(): string {
    const refused = this.words[Control.REFUSED]!;
    if (refused === 0) return '';
    const [address, bytes] = [this.words[Control.ADDRESS]!, this.words[Control.BYTES]!];
    const what = this.words[Control.STORES] === 0 ? 'read' : 'write';
    const number = refused - 1 === BULK ? '' : ` (number ${refused - 1})`;
    return `a ${what} of ${bytes} byte${bytes === 1 ? '' : 's'}${number} ${this.describe(address)}`;
  }

  /** Where an address is. */
  private describe(at: number): string {
    if (at < STATIC_BASE) return `at ${at}: through null`;
    const room = Math.floor((at - this.frames) / PACKET_ROOM);
    if (room >= 0 && room < BATCH_SIZE) {
      const [start, end] = [this.frameAt(room), this.words[Control.LIMITS + 2 * room + 1]!];
      const other = room === this.words[Control.CURRENT] ? '' : ` of packet ${room} of the batch, which is not in hand`;
      return `${at - start} bytes into a frame of ${end - start}${other}`;
    }
    const before = this.regions.findLastIndex(({ start }) => start <= at);
    const { start, end } = this.regions[before]!;
    const name = before === 0 ? 'the static data' : `region ${before} of ${this.regions.length - 1}`;
    return at < end ? `${at - start} bytes into ${name}, which is closed to it` : `${at - end} bytes behind ${name}`;
  }
}
