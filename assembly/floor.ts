/** The benchmark's floor: the memory that packets need, touched, and nothing else. No part of the datapath. */
import { MANY } from './batch';
import { Packet } from './lib/packet';
import { copy, copyFrame } from './wire/records';

/**
 * Receives `count` packets as `replay` does, from templates at `templates` into `packet` and `frame`, and counts each in its
 * flow: one line of memory, whose address stands in the template's `time`. As many are touched together as go through the stages.
 */
export function touch(
  templates: usize,
  packet: usize,
  frame: usize,
  first: u32,
  count: u32,
  total: u32,
  stride: u32,
): void {
  for (let done: u32 = 0; done < count; done += MANY) {
    const some = min<u32>(MANY, count - done);
    for (let i: u32 = 0; i < some; i++) {
      const template = changetype<Packet>(templates + <usize>((first + done + i) % total) * stride);
      const flow = <usize>template.time;
      store<u64>(flow, load<u64>(flow) + 1);
    }
    for (let i: u32 = 0; i < some; i++) {
      const template = templates + <usize>((first + done + i) % total) * stride;
      copy<Packet>(packet, template);
      copyFrame(frame, template + offsetof<Packet>(), changetype<Packet>(packet).length);
    }
  }
}
