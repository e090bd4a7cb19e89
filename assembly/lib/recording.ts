/**
 * What the answer to the packet in hand depends on, and what it did to the maps: taken down while the programs run, so that the
 * next packets like it are answered without them (`flow.ts`, `opening.ts`). Whoever asks or changes anything that cannot be taken down
 * spoils the recording.
 */

import { endTurn } from '../maps/turn';

/** Conntrack entries that count the packet, from the front, and mappings of source NAT that it uses, from the end. */
const MAX_ENTRIES: u32 = 5;
/** Groups of conntrack on whose connections the answer depends. */
export const MAX_GROUPS: u32 = 2;

/** Connections that the packet opened. */
const MAX_CREATIONS: u32 = 3;

const entries = memory.data(5 << 2, 16);
const groups = memory.data(2 << 2, 16);
const created = memory.data(3 << 3, 16);

/** An entry of conntrack that a packet opens. */
@unmanaged
export class Creation {
  /** Bits of `CtFlag`. */
  flags: u16;
  revNatIndex: u16;
  node: u16;
  /** A `CtDirection`. */
  direction: u8;
  /** Whether its tuple is that which the packet leaves with, and whether the backend is in it. */
  marks: u8;

  get isRewritten(): bool {
    return (this.marks & REWRITTEN) != 0;
  }

  get isLent(): bool {
    return (this.marks & LENT) != 0;
  }
}

const REWRITTEN: u8 = 1;
const LENT: u8 = 2;

/** What the control plane has put in the maps, numbered: an answer that was kept under another number is asked for again. */
export let generation: u32 = 1;
/** Whether the packet in hand is recorded, and nothing has spoilt it. */
export let isOn: bool = false;
/** It is recorded as one that opens a connection, of which nothing is known. */
let isOpening: bool = false;
export let creations: u32 = 0;
/** What all connections that it opens have in common. */
let creator: u32 = 0;
let creationLength: u32 = 0;
/** The backend that some name, 0 for none. */
let lent: u32 = 0;
export let connections: u32 = 0;
export let mappings: u32 = 0;
export let groupCount: u32 = 0;
/** A mapping of source NAT was looked for. */
export let asksMappings: bool = false;
/** The IP packet was found to fit in as many bytes. */
export let longest: u32 = 0xffff;
/** How often addresses or ports were written. */
let rewritings: u32 = 0;
/** Hardware addresses were written, or written anew. */
export let isAddressed: bool = false;
/** The metric that counted the packet. */
export let metric: u32 = 0;

/** The maps are about to hold something else. No generation is 0. */
export function outdate(): void {
  generation = max<u32>(generation + 1, 1);
  endTurn();
}

/** The packet in hand is recorded from here on; `opening`: as one that opens a connection. */
export function start(opening: bool): void {
  isOn = true;
  isOpening = opening;
  creations = 0;
  lent = 0;
  connections = 0;
  mappings = 0;
  groupCount = 0;
  asksMappings = false;
  longest = 0xffff;
  rewritings = 0;
  isAddressed = false;
}

/** The answer is not to be kept, whatever it will be. */
export function spoil(): void {
  isOn = false;
}

/** The answer depends on the packet's source port. */
export function dependsOnPort(): void {
  if (isOpening) spoil();
}

/** Address of an entry of conntrack. */
export function connection(index: u32): u32 {
  return load<u32>(entries + ((<usize>index) << 2));
}

/** Address of a mapping of source NAT. */
export function mapping(index: u32): u32 {
  return connection(MAX_ENTRIES - 1 - index);
}

/** Number of a group of conntrack. */
export function group(index: u32): u32 {
  return load<u32>(groups + ((<usize>index) << 2));
}

function write(index: u32, at: usize): void {
  if (connections + mappings >= MAX_ENTRIES) spoil();
  else store<u32>(entries + ((<usize>index) << 2), <u32>at);
}

/** The entry of a connection at `at` has counted the packet. */
export function counted(at: usize): void {
  if (!isOn) return;
  if (isOpening) return spoil();
  write(connections, at);
  connections++;
}

/** The mapping at `at` was used. */
export function used(at: usize): void {
  if (!isOn) return;
  if (isOpening) return spoil();
  write(MAX_ENTRIES - 1 - mappings, at);
  mappings++;
}

/** Connections were looked up that are in the group of conntrack with this number. */
export function asked(number: u32): void {
  for (let i: u32 = 0; i < groupCount; i++) if (group(i) == number) return;
  if (groupCount >= MAX_GROUPS) return spoil();
  store<u32>(groups + ((<usize>groupCount) << 2), number);
  groupCount++;
}

export function askedMapping(): void {
  asksMappings = true;
}

/** The packet was found to fit in `mtu` bytes. */
export function fits(mtu: u32): void {
  longest = min<u32>(longest, mtu);
}

export function rewritten(): void {
  rewritings++;
}

export function isRewritten(): bool {
  return rewritings != 0;
}

/** A connection was opened whose tuple was the packet's in hand, of `length` bytes. */
export function opened(
  direction: u32,
  node: u32,
  flags: u32,
  revNatIndex: u32,
  backendId: u32,
  sourceIdentity: u32,
  length: u32,
): void {
  if (!isOn) return;
  if (!isOpening || creations == MAX_CREATIONS) return spoil();
  if (creations > 0 && (creator != sourceIdentity || creationLength != length)) return spoil();
  if (lent != 0 && backendId != 0 && lent != backendId) return spoil();
  creator = sourceIdentity;
  creationLength = length;
  lent |= backendId;
  const creation = changetype<Creation>(created + ((<usize>creations) << 3));
  creation.flags = <u16>flags;
  creation.revNatIndex = <u16>revNatIndex;
  creation.node = <u16>node;
  creation.direction = <u8>direction;
  creation.marks = (rewritings != 0 ? REWRITTEN : 0) | (backendId != 0 ? LENT : 0);
  creations++;
}

/** Whether all connections that were opened can be opened again for another port: each under the first tuple or the last. */
export function canOpen(sourceIdentity: u32, backendId: u32, length: u32): bool {
  if (rewritings > 1) return false;
  if (creations == 0) return true;
  return creator == sourceIdentity && creationLength == length && (lent == 0 || lent == backendId);
}

/** A `Creation`, as one word. */
export function creation(index: u32): u64 {
  return load<u64>(created + ((<usize>index) << 3));
}

export function addressed(): void {
  isAddressed = true;
}

export function measured(index: u32): void {
  metric = index;
}
