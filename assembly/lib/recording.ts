/**
 * What the answer to the packet in hand depends on, and what it did to the maps: taken down while the programs run, so that the
 * next packets of its flow are answered without them (`flow.ts`). Whoever asks or changes anything that cannot be taken down
 * spoils the recording.
 */

/** Conntrack entries that count the packet, from the front, and mappings of source NAT that it uses, from the end. */
export const MAX_ENTRIES: u32 = 5;
/** Tuples on whose connections the answer depends. */
export const MAX_TUPLES: u32 = 2;

const entries = memory.data(5 << 2, 16);
const tuples = memory.data(2 << 2, 16);

/** What the control plane has put in the maps, numbered: an answer that was kept under another number is asked for again. */
export let generation: u32 = 1;
/** Whether the packet in hand is recorded, and nothing has spoilt it. */
export let isOn: bool = false;
export let connections: u32 = 0;
export let mappings: u32 = 0;
export let tupleCount: u32 = 0;
/** The IP packet was found to fit in as many bytes. */
export let longest: u32 = 0xffff;
/** Addresses or ports were written, or written anew; likewise hardware addresses. */
export let isRewritten: bool = false;
export let isAddressed: bool = false;
/** The metric that counted the packet. */
export let metric: u32 = 0;

/** The maps are about to hold something else. */
export function outdate(): void {
  generation++;
}

export function start(): void {
  isOn = true;
  connections = 0;
  mappings = 0;
  tupleCount = 0;
  longest = 0xffff;
  isRewritten = false;
  isAddressed = false;
}

/** The answer is not to be kept, whatever it will be. */
export function spoil(): void {
  isOn = false;
}

export function entry(index: u32): u32 {
  return load<u32>(entries + ((<usize>index) << 2));
}

/** Address of the count of a tuple (`turnover.placeOf`). */
export function tuple(index: u32): u32 {
  return load<u32>(tuples + ((<usize>index) << 2));
}

function write(index: u32, at: usize): void {
  if (connections + mappings >= MAX_ENTRIES) spoil();
  else store<u32>(entries + ((<usize>index) << 2), <u32>at);
}

/** The entry of a connection at `at` has counted the packet. */
export function counted(at: usize): void {
  if (!isOn) return;
  write(connections, at);
  connections++;
}

/** The mapping at `at` was used. */
export function used(at: usize): void {
  if (!isOn) return;
  write(MAX_ENTRIES - 1 - mappings, at);
  mappings++;
}

/** The connections of a tuple were looked up; `place` is that of its count. */
export function asked(place: usize): void {
  for (let i: u32 = 0; i < tupleCount; i++) if (tuple(i) == <u32>place) return;
  if (tupleCount >= MAX_TUPLES) return spoil();
  store<u32>(tuples + ((<usize>tupleCount) << 2), <u32>place);
  tupleCount++;
}

/** The packet was found to fit in `mtu` bytes. */
export function fits(mtu: u32): void {
  longest = min<u32>(longest, mtu);
}

export function rewritten(): void {
  isRewritten = true;
}

export function addressed(): void {
  isAddressed = true;
}

export function measured(index: u32): void {
  metric = index;
}
