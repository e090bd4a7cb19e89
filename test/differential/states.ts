/** What packets left in the datapath's maps, held against what they left in the reference's. */
import { MapId } from '../../assembly/abi.js';
import {
  CtEntry,
  CtTuple4,
  CtTuple6,
  FragmentKey4,
  FragmentKey6,
  FragmentPorts,
  LbAffinityKey4,
  LbAffinityKey6,
  LbAffinityValue,
  NatEntry4,
  NatEntry6,
  ReverseSkEntry4,
  ReverseSkEntry6,
  ReverseSkKey4,
  ReverseSkKey6,
} from '../../pkg/structs.js';
import type { StructType } from '../../dataplane/wasm.js';
import { addressAt, type Address, type Version } from '../reference/bytes.js';
import type { Memory, State } from '../reference/journey.js';
import type { Subject } from './subject.js';

/** Where a field starts in a struct: the first byte that changes with it. */
function offsetOf<T extends object>(type: StructType<T>, field: keyof T & string): number {
  const view = new DataView(new ArrayBuffer(type.size));
  const struct = new type(view);
  const isWide = typeof struct[field] === 'bigint';
  struct[field] = (isWide ? (1n << 128n) - 1n : 0xffffffff) as T[keyof T & string];
  return new Uint8Array(view.buffer).findIndex((byte) => byte !== 0);
}

/** A key of the reference's, part by part: the node and the version stand first, then numbers, then addresses. */
class Key {
  readonly node: number;
  readonly version: Version;

  constructor(
    private readonly text: string,
    private readonly numbers: number,
  ) {
    this.node = text.charCodeAt(0);
    this.version = text.charCodeAt(1) as Version;
  }

  number(i: number): number {
    return this.text.charCodeAt(2 + 2 * i) * 0x10000 + this.text.charCodeAt(3 + 2 * i);
  }

  address(i: number): Address {
    const length = this.version === 4 ? 4 : 16;
    const from = 2 + 2 * this.numbers + i * length;
    return this.text.slice(from, from + length);
  }
}

type Fields = Readonly<Record<string, number | string>>;

/** One of the maps that packets fill, of both families. */
interface Filled {
  readonly name: string;
  readonly maps: Readonly<Record<Version, MapId>>;
  readonly sizes: Readonly<Record<Version, number>>;
  /** Writes the key at an address of the wasm's memory, which holds zeros. */
  readonly put: (subject: Subject, at: number, key: Key) => void;
  readonly numbers: number;
  readonly read: (subject: Subject, at: number, version: Version) => Fields;
  readonly of: (state: State) => Memory<unknown>;
  readonly expected: (value: unknown) => Fields;
}

const putText = (bytes: Uint8Array, at: number, text: string): void => {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
};

const TUPLES = { 4: CtTuple4, 6: CtTuple6 } as const;
const TUPLE_AT = {
  4: { saddr: offsetOf(CtTuple4, 'saddr'), daddr: offsetOf(CtTuple4, 'daddr') },
  6: { saddr: offsetOf(CtTuple6, 'saddr'), daddr: offsetOf(CtTuple6, 'daddr') },
} as const;

function putTuple({ bytes, view }: Subject, at: number, key: Key): void {
  const tuple = new TUPLES[key.version](view, at);
  tuple.node = key.node;
  tuple.nexthdr = key.number(0);
  tuple.flags = key.number(1);
  tuple.sport = key.number(2);
  tuple.dport = key.number(3);
  putText(bytes, at + TUPLE_AT[key.version].saddr, key.address(0));
  putText(bytes, at + TUPLE_AT[key.version].daddr, key.address(1));
}

const FRAGMENT_KEYS = { 4: FragmentKey4, 6: FragmentKey6 } as const;
const FRAGMENT_AT = {
  4: {
    id: offsetOf(FragmentKey4, 'id'),
    saddr: offsetOf(FragmentKey4, 'saddr'),
    daddr: offsetOf(FragmentKey4, 'daddr'),
  },
  6: {
    id: offsetOf(FragmentKey6, 'id'),
    saddr: offsetOf(FragmentKey6, 'saddr'),
    daddr: offsetOf(FragmentKey6, 'daddr'),
  },
} as const;

function putFragment({ bytes, view }: Subject, at: number, key: Key): void {
  const { version } = key;
  const struct = new FRAGMENT_KEYS[version](view, at);
  struct.node = key.node;
  struct.proto = key.number(0);
  const id = key.number(1);
  // As it lies in the header: two bytes of IPv4's, four of IPv6's.
  const own = version === 4 ? [id >>> 8, id & 255] : [id >>> 24, (id >>> 16) & 255, (id >>> 8) & 255, id & 255];
  bytes.set(own, at + FRAGMENT_AT[version].id);
  putText(bytes, at + FRAGMENT_AT[version].saddr, key.address(0));
  putText(bytes, at + FRAGMENT_AT[version].daddr, key.address(1));
}

const CLIENT_KEYS = { 4: LbAffinityKey4, 6: LbAffinityKey6 } as const;
const CLIENT_AT = { 4: offsetOf(LbAffinityKey4, 'address'), 6: offsetOf(LbAffinityKey6, 'address') } as const;

/** A network namespace's number takes the place of the address, its lowest byte first. */
function putClient({ bytes, view }: Subject, at: number, key: Key): void {
  const struct = new CLIENT_KEYS[key.version](view, at);
  const netns = key.number(1);
  struct.revNatIndex = key.number(0);
  struct.netnsCookie = netns === 0 ? 0 : 1;
  if (netns === 0) putText(bytes, at + CLIENT_AT[key.version], key.address(0));
  else view.setUint32(at + CLIENT_AT[key.version], netns, true);
}

const SOCKET_KEYS = { 4: ReverseSkKey4, 6: ReverseSkKey6 } as const;
const SOCKET_AT = { 4: offsetOf(ReverseSkKey4, 'address'), 6: offsetOf(ReverseSkKey6, 'address') } as const;
const SOCKET_ENTRIES = { 4: ReverseSkEntry4, 6: ReverseSkEntry6 } as const;
const ASKED_AT = { 4: offsetOf(ReverseSkEntry4, 'address'), 6: offsetOf(ReverseSkEntry6, 'address') } as const;

/** The kernel's number of a socket is made of its network namespace, its protocol, and its port as that lies in a header. */
function putSocket({ bytes, view }: Subject, at: number, key: Key): void {
  const struct = new SOCKET_KEYS[key.version](view, at);
  const port = key.number(2);
  const own = ((port & 255) << 8) | (port >>> 8);
  struct.cookie = (BigInt(key.number(0)) << 32n) | BigInt(key.number(1) * 0x10000 + own);
  struct.port = key.number(3);
  putText(bytes, at + SOCKET_AT[key.version], key.address(0));
}

const NAT_ENTRIES = { 4: NatEntry4, 6: NatEntry6 } as const;
const NAT_AT = { 4: offsetOf(NatEntry4, 'address'), 6: offsetOf(NatEntry6, 'address') } as const;

const CONNECTIONS: Filled = {
  name: 'conntrack',
  maps: { 4: MapId.CT4, 6: MapId.CT6 },
  sizes: { 4: CtTuple4.size, 6: CtTuple6.size },
  numbers: 4,
  put: putTuple,
  read: ({ view }, at) => {
    const entry = new CtEntry(view, at);
    const { lifetime, flags, revNatIndex, backendId, srcSecId, txFlagsSeen, rxFlagsSeen } = entry;
    return {
      packets: Number(entry.packets),
      bytes: Number(entry.bytes),
      lifetime,
      flags,
      revNatIndex,
      backendId,
      sourceIdentity: srcSecId,
      txFlagsSeen,
      rxFlagsSeen,
    };
  },
  of: ({ connections }) => connections,
  expected: (value) => value as Fields,
};

const MAPPINGS: Filled = {
  name: 'snat',
  maps: { 4: MapId.SNAT4, 6: MapId.SNAT6 },
  sizes: CONNECTIONS.sizes,
  numbers: 4,
  put: putTuple,
  read: ({ view, bytes }, at, version) => {
    const { port, created } = new NAT_ENTRIES[version](view, at);
    return { address: addressAt(bytes, at + NAT_AT[version], version), port, created };
  },
  of: ({ mappings }) => mappings,
  expected: (value) => value as Fields,
};

const CLIENTS: Filled = {
  name: 'affinity',
  maps: { 4: MapId.LB4_AFFINITY, 6: MapId.LB6_AFFINITY },
  sizes: { 4: LbAffinityKey4.size, 6: LbAffinityKey6.size },
  numbers: 2,
  put: putClient,
  read: ({ view }, at) => {
    const { backendId, lastUsed } = new LbAffinityValue(view, at);
    return { backendId, lastUsed };
  },
  of: ({ clients }) => clients,
  expected: (value) => value as Fields,
};

const FRAGMENTS: Filled = {
  name: 'fragments',
  maps: { 4: MapId.FRAGMENTS4, 6: MapId.FRAGMENTS6 },
  sizes: { 4: FragmentKey4.size, 6: FragmentKey6.size },
  numbers: 2,
  put: putFragment,
  read: ({ view }, at) => {
    const { sport, dport } = new FragmentPorts(view, at);
    return { sourcePort: sport, destinationPort: dport };
  },
  of: ({ fragments }) => fragments,
  expected: (value) => value as Fields,
};

const SOCKETS: Filled = {
  name: 'reverse-sk',
  maps: { 4: MapId.LB4_REVERSE_SK, 6: MapId.LB6_REVERSE_SK },
  sizes: { 4: ReverseSkKey4.size, 6: ReverseSkKey6.size },
  numbers: 4,
  put: putSocket,
  read: ({ view, bytes }, at, version) => {
    const { port, revNatIndex } = new SOCKET_ENTRIES[version](view, at);
    return { address: addressAt(bytes, at + ASKED_AT[version], version), port, revNatIndex };
  },
  of: ({ sockets }) => sockets,
  expected: (value) => value as Fields,
};

const ALL: readonly Filled[] = [CONNECTIONS, MAPPINGS, CLIENTS, FRAGMENTS, SOCKETS];

const hexOf = (text: string): string =>
  Array.from(text, (unit) => unit.charCodeAt(0).toString(16).padStart(2, '0')).join('');

const shown = (fields: Fields): string =>
  Object.entries(fields)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? hexOf(value) : value}`)
    .join(', ');

/** Under one key, both sides. A text about the difference, or null. */
function compareEntry(subject: Subject, filled: Filled, text: string, value: unknown): string | null {
  const { wasm } = subject.datapath;
  const at = wasm.scratch();
  const key = new Key(text, filled.numbers);
  const { version } = key;
  subject.bytes.fill(0, at, at + filled.sizes[version]);
  filled.put(subject, at, key);
  const found = wasm.mapLookup(filled.maps[version], at);
  const name = (): string => `${filled.name} of node ${key.node}, key ${hexOf(text)}`;
  if (value === undefined) return found === 0 ? null : `${name()}: the wasm has it, the reference does not`;
  const expected = filled.expected(value);
  if (found === 0) return `${name()}: the reference has it (${shown(expected)}), the wasm does not`;
  const actual = filled.read(subject, found, version);
  for (const field in expected)
    if (expected[field] !== actual[field])
      return `${name()}:\n    wasm      ${shown(actual)}\n    reference ${shown(expected)}`;
  return null;
}

/** What changed since the last look, or all of it. A text about the first difference, or null. */
export function compareStates(subject: Subject, state: State, all: boolean): string | null {
  const { wasm } = subject.datapath;
  for (const filled of ALL) {
    const memory = filled.of(state);
    const keys = all ? Array.from(memory, ([key]) => key) : [...memory.changed];
    memory.changed.clear();
    for (const key of keys) {
      const difference = compareEntry(subject, filled, key, memory.get(key));
      if (difference !== null) return difference;
    }
    const count = wasm.mapCount(filled.maps[4]) + wasm.mapCount(filled.maps[6]);
    if (count !== memory.size) return `${filled.name}: the wasm has ${count} entries, the reference ${memory.size}`;
  }
  return null;
}
