/** A profile's packets through the JavaScript pipeline. */
import { PACKET_ROOM } from '../../../assembly/abi.js';
import { Packet } from '../../../pkg/structs.js';
import { FNV_OFFSET, FNV_PRIME, hexOf, type Lane, type Pass, type Runner } from '../lane.js';
import type { Profile } from '../profiles.js';
import { openWith, writeTemplates } from '../templates.js';
import type { Traffic } from '../traffic.js';
import { Pipeline } from './pipeline.js';

/** Whether the pipeline knows all that a profile sends. */
export const isInJavaScript = ({ family, clients, local, survivor, stop }: Traffic): boolean =>
  family === 'IPv4' && clients === 'pods' && local && survivor === 0 && stop !== 'receive';

export class JavaScriptLane implements Runner {
  private readonly pipeline: Pipeline;
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  private readonly traffic: Traffic;
  private readonly order: Uint32Array;
  private readonly stride: number;
  readonly templates: number;

  /** With the Maglev tables of `lane`. */
  constructor({ traffic }: Profile, lane: Lane) {
    const { workload } = lane;
    this.traffic = traffic;
    this.order = workload.order;
    this.stride = workload.stride;
    this.templates = workload.templates;
    this.bytes = new Uint8Array(PACKET_ROOM + this.templates * this.stride);
    this.view = new DataView(this.bytes.buffer);
    writeTemplates(traffic, this.view, PACKET_ROOM);
    const maglev: Uint32Array[] = [];
    for (const { revNatIndex } of workload.maglev) maglev[revNatIndex] = lane.maglevTable(revNatIndex);
    this.pipeline = new Pipeline(this.view, workload, maglev);
  }

  /** Receives a flow's packet. Its length. */
  private receive(flow: number): number {
    const template = PACKET_ROOM + flow * this.stride;
    const length = this.view.getUint32(template + 4, true);
    this.bytes.copyWithin(this.pipeline.frame, template + Packet.size, template + Packet.size + length);
    return length;
  }

  private run(flow: number, length: number): number {
    return this.pipeline.run(length, this.view.getUint32(PACKET_ROOM + flow * this.stride + 12, true));
  }

  openFlows(): void {
    for (const flow of this.order) {
      const length = this.receive(flow);
      openWith(this.traffic, this.view, this.pipeline.frame);
      this.run(flow, length);
    }
  }

  pass(): Pass {
    const { frame } = this.pipeline;
    let forwarded = 0;
    let hash = FNV_OFFSET;
    for (let flow = 0; flow < this.templates; flow++) {
      const length = this.receive(flow);
      const verdict = this.run(flow, length);
      if (verdict === 0) forwarded++;
      hash = Math.imul(hash ^ verdict, FNV_PRIME);
      for (let i = 0; i < length; i++) hash = Math.imul(hash ^ this.bytes[frame + i]!, FNV_PRIME);
    }
    return { forwarded, digest: hexOf(hash) };
  }

  replay(first: number, count: number): number {
    let forwarded = 0;
    for (let i = 0; i < count; i++) {
      const flow = (first + i) % this.templates;
      if (this.run(flow, this.receive(flow)) === 0) forwarded++;
    }
    return forwarded;
  }
}
