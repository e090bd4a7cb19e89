/** The door: a frame becomes a packet, or the reason why it is none. */
import { reassembled } from './fragments.js';
import type { Journey } from './journey.js';
import type { Packet } from './packet.js';
import { read } from './read.js';

/** What the packet in the frame is; its reason when it is none. */
export function receive(journey: Journey): Packet | number {
  const packet = read(journey.frame);
  if (typeof packet === 'number') return packet;
  const whole = reassembled(journey, packet);
  if (typeof whole !== 'number') journey.packet = whole;
  return whole;
}
