/** What no implementation can do without: each packet received, and one line of memory a flow touched. */
import { PACKET_HEADROOM } from '../../assembly/abi.js';
import { Packet } from '../../pkg/structs.js';
import { Datapath } from '../wasm.js';
import { shuffled } from './draws.js';
import type { Runner } from './lane.js';
import type { Profile } from './profiles.js';
import { strideOf, writeTemplates } from './templates.js';
import { NOTHING } from './workload.js';

/** Bytes of a line of memory. */
const LINE = 64;

export class Floor implements Runner {
  readonly templates: number;
  private readonly stride: number;

  private constructor(
    private readonly datapath: Datapath,
    { traffic }: Profile,
  ) {
    this.templates = traffic.flows;
    this.stride = strideOf(traffic);
  }

  static open(module: WebAssembly.Module, profile: Profile): Floor {
    const { traffic } = profile;
    const sizes = { ...NOTHING, scratch: traffic.flows * LINE, templates: traffic.flows * strideOf(traffic) };
    const floor = new Floor(Datapath.create(module, sizes), profile);
    const { wasm } = floor.datapath;
    const memory = new DataView(wasm.memory.buffer);
    writeTemplates(traffic, memory, wasm.templates());
    // Flows lie in memory in the order in which they were opened.
    for (const [place, flow] of shuffled(traffic.flows).entries())
      new Packet(memory, wasm.templates() + flow * floor.stride).time = BigInt(wasm.scratch() + place * LINE);
    return floor;
  }

  replay(first: number, count: number): number {
    const { wasm } = this.datapath;
    wasm.touch(
      wasm.templates(),
      wasm.packets(),
      wasm.frames() + PACKET_HEADROOM,
      first,
      count,
      this.templates,
      this.stride,
    );
    return count;
  }

  /** How often each flow's line was touched. */
  get touched(): readonly number[] {
    const { wasm } = this.datapath;
    const memory = new DataView(wasm.memory.buffer);
    return Array.from({ length: this.templates }, (_, i) =>
      Number(memory.getBigUint64(wasm.scratch() + i * LINE, true)),
    );
  }
}
