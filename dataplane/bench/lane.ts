/** One profile's dataplane with its packets, and the clock beside it. */
import { BATCH_SIZE, CtDirection, IpProto, MapId, PACKET_HEADROOM, PACKET_ROOM, Program } from '../../assembly/abi.js';
import { CtEntry, Packet } from '../../pkg/structs.js';
import { MAPS } from '../loader/families.js';
import { frameOf, reversed, tupleOf } from '../packet.js';
import { decode, encode, type Datapath } from '../wasm.js';
import { PATHS, type Path } from './paths.js';
import type { Profile } from './profiles.js';
import { WrongAnswer } from './subject.js';
import { openWith } from './templates.js';
import { survives } from './traffic.js';
import { load, workloadOf, type Workload } from './workload.js';

/** Calls that one sample times together: long enough for a browser's coarse clock. */
export const CALLS = 16;
/** Samples of one round. */
export const SAMPLES = 32;
/** FNV-1a's start and factor. */
export const FNV_OFFSET = 0x811c9dc5;
export const FNV_PRIME = 0x01000193;

export const PACKETS_PER_SAMPLE = CALLS * BATCH_SIZE;
export const PACKETS_PER_ROUND = SAMPLES * PACKETS_PER_SAMPLE;

/** What one pass over all templates gave. */
export interface Pass {
  readonly forwarded: number;
  /** Over the verdict and all bytes of each packet. */
  readonly digest: string;
}

/** Something that takes one profile's packets, burst by burst. */
export interface Runner {
  /** Takes `count` packets from template number `first` on. How many were forwarded. */
  readonly replay: (first: number, count: number) => number;
  readonly templates: number;
}

/** Where in the templates those are who share a dataplane: none sends again what another has just sent. */
export class Cursor {
  next = 0;
  taken = 0;

  constructor(readonly templates: number) {}

  /** The first of the templates of a burst. */
  advance(): number {
    const first = this.next;
    this.taken += BATCH_SIZE;
    this.next = (first + BATCH_SIZE) % this.templates;
    return first;
  }

  /** How often every template was taken. */
  get turns(): number {
    return Math.floor(this.taken / this.templates);
  }
}

/** The packets of `runner`, timed. */
export class Stopwatch {
  private forwarded = 0;
  private taken = 0;

  constructor(
    private readonly runner: Runner,
    private readonly cursor = new Cursor(runner.templates),
  ) {}

  private burst(): void {
    this.forwarded += this.runner.replay(this.cursor.advance(), BATCH_SIZE);
    this.taken += BATCH_SIZE;
  }

  /** Many small calls: only a function that is entered again gets the optimised code. */
  warmUp(calls: number): void {
    for (let i = 0; i < calls; i++) this.burst();
  }

  /** One round: nanoseconds a packet of each of its samples. */
  round(): number[] {
    const samples: number[] = [];
    for (let sample = 0; sample < SAMPLES; sample++) {
      const start = performance.now();
      for (let call = 0; call < CALLS; call++) this.burst();
      samples.push(((performance.now() - start) * 1e6) / PACKETS_PER_SAMPLE);
    }
    return samples;
  }

  /** Throws WrongAnswer unless all packets so far were forwarded, or none. */
  check(profile: Profile): void {
    const expected = profile.traffic.stop === null ? this.taken : 0;
    if (this.forwarded !== expected)
      throw new WrongAnswer(`${profile.name}: ${this.forwarded} packets forwarded instead of ${expected}`);
  }
}

function* batches(flows: Uint32Array): Generator<number[]> {
  for (let first = 0; first < flows.length; first += BATCH_SIZE) yield [...flows.subarray(first, first + BATCH_SIZE)];
}

export class Lane implements Runner {
  private readonly view: DataView;
  private readonly bytes: Uint8Array;

  private constructor(
    readonly profile: Profile,
    readonly datapath: Datapath,
    readonly workload: Workload,
    readonly path: Path,
  ) {
    this.view = new DataView(datapath.wasm.memory.buffer);
    this.bytes = new Uint8Array(datapath.wasm.memory.buffer);
  }

  /** A dataplane with all that the profile says, and no flow open. */
  static open(module: WebAssembly.Module, profile: Profile, path: Path = 'fast'): Lane {
    const workload = workloadOf(profile.traffic);
    return new Lane(profile, load(module, profile.traffic, workload), workload, path);
  }

  /** The same dataplane, by another path. */
  by(path: Path): Lane {
    return new Lane(this.profile, this.datapath, this.workload, path);
  }

  get templates(): number {
    return this.workload.templates;
  }

  replay(first: number, count: number): number {
    return PATHS[this.path].replay(this.datapath.wasm, first, count, this.workload.templates, this.workload.stride);
  }

  /** Puts the packets of these flows into the batch. */
  private receive(flows: readonly number[]): void {
    for (const [slot, flow] of flows.entries()) {
      const template = this.datapath.wasm.templates() + flow * this.workload.stride;
      const packet = this.packetAt(slot);
      this.bytes.copyWithin(packet.at, template, template + Packet.size);
      this.bytes.copyWithin(this.frameAt(slot), template + Packet.size, template + this.workload.stride);
      packet.data = this.frameAt(slot);
    }
  }

  private process(flows: readonly number[]): void {
    this.receive(flows);
    PATHS[this.path].process(this.datapath.wasm, flows.length);
  }

  private frameAt(slot: number): number {
    return this.datapath.wasm.frames() + slot * PACKET_ROOM + PACKET_HEADROOM;
  }

  private packetAt(slot: number): Packet {
    return new Packet(this.view, this.datapath.wasm.packets() + slot * Packet.size);
  }

  /** Sends the first packet of each of these flows. */
  private open(flows: readonly number[]): void {
    this.receive(flows);
    for (const slot of flows.keys()) openWith(this.profile.traffic, this.view, this.frameAt(slot));
    PATHS[this.path].process(this.datapath.wasm, flows.length);
  }

  /**
   * Opens every flow in an order unlike the one that follows, and has it go on, so that nothing that is kept of it stands in the order in
   * which it is used. First those that are to survive the others: they are answered before.
   */
  openFlows(): void {
    const { traffic } = this.profile;
    const { order } = this.workload;
    for (const flows of batches(order.filter((flow) => survives(traffic, flow)))) {
      this.open(flows);
      this.datapath.process(flows.map((_, slot) => this.answerTo(this.packetAt(slot))));
      this.process(flows);
    }
    for (const flows of batches(order.filter((flow) => !survives(traffic, flow)))) {
      this.open(flows);
      if (!traffic.opening) this.process(flows);
    }
  }

  /** What the pod that got a packet sends back. */
  private answerTo({ data, length, node, endpoint }: Packet): Parameters<Datapath['process']>[0][number] {
    const tuple = tupleOf(this.bytes.subarray(data, data + length));
    const back = tuple && reversed(tuple);
    if (!back || endpoint === 0) throw new WrongAnswer(`${this.profile.name}: a flow is not answered`);
    return { frame: frameOf(back, true), node, endpoint, program: Program.FROM_CONTAINER };
  }

  /** One packet of each flow, in whole batches, and what became of each. */
  pass(): Pass {
    const { wasm } = this.datapath;
    let forwarded = 0;
    let hash = FNV_OFFSET;
    for (const flows of batches(Uint32Array.from({ length: this.templates }, (_, flow) => flow))) {
      this.process(flows);
      for (const slot of flows.keys()) {
        forwarded += this.packetAt(slot).verdict === 0 ? 1 : 0;
        hash = wasm.digest(slot, hash);
      }
    }
    return { forwarded, digest: hexOf(hash) };
  }

  /** The same by `replay`, which is what is measured, one packet a call. */
  passByReplay(): Pass {
    let forwarded = 0;
    let hash = FNV_OFFSET;
    for (let flow = 0; flow < this.templates; flow++) {
      forwarded += this.replay(flow, 1);
      hash = this.datapath.wasm.digest(0, hash);
    }
    return { forwarded, digest: hexOf(hash) };
  }

  /** Throws WrongAnswer unless each flow that is to survive has counted all its packets: `turns` of them, and two before. */
  checkSurvivors(turns: number): void {
    const { traffic, name } = this.profile;
    if (traffic.survivor === 0) return;
    const { map, CtTuple } = MAPS[traffic.family];
    for (let flow = 0; flow < this.templates; flow += traffic.survivor) {
      const frame = this.datapath.wasm.templates() + flow * this.workload.stride + Packet.size;
      const { source, destination, sourcePort, destinationPort } = tupleOf(
        this.bytes.subarray(frame, frame + traffic.frameLength),
      )!;
      const key = encode(CtTuple, {
        saddr: source,
        daddr: destination,
        sport: sourcePort,
        dport: destinationPort,
        nexthdr: IpProto.TCP,
        flags: CtDirection.SERVICE,
        node: 1,
      });
      const found = this.datapath.lookup(map(MapId.CT4), key, CtEntry.size);
      if (!found || decode(CtEntry, found).packets < turns + 2)
        throw new WrongAnswer(`${name}: flow ${flow} did not survive`);
    }
  }

  /** The Maglev table of a Service: ids of backends. */
  maglevTable(revNatIndex: number): Uint32Array {
    return this.datapath.maglevTable(revNatIndex, MAPS[this.profile.traffic.family].map(MapId.LB4_MAGLEV))!;
  }

  get memoryBytes(): number {
    return this.datapath.wasm.memoryUsed();
  }
}

export const hexOf = (hash: number): string => (hash >>> 0).toString(16).padStart(8, '0');

/**
 * Opens the flows of `lane`, and holds passes of it against the profile and against a dataplane of its own, which goes packet by
 * packet. Throws WrongAnswer when the number of packets forwarded is not what the profile says, or a verdict or a byte differs.
 */
export function verify(profile: Profile, lane: Lane, reference: Lane): Pass {
  for (const each of [lane, reference]) each.openFlows();
  const expected = reference.pass();
  const pass = lane.pass();
  const forwarded = profile.traffic.stop === null ? lane.templates : 0;
  for (const each of [pass, lane.passByReplay()]) {
    if (each.forwarded !== forwarded)
      throw new WrongAnswer(`${profile.name}: ${each.forwarded} packets forwarded instead of ${forwarded}`);
    if (each.digest !== expected.digest)
      throw new WrongAnswer(`${profile.name}: digest ${each.digest} instead of ${expected.digest}`);
  }
  lane.checkSurvivors(2);
  return pass;
}
