/** What the datapath recorded of a packet, read back: its steps, and the look-ups that led to each. */
import {
  CtDirection,
  EventType,
  Family,
  PolicyBit,
  Step,
  WIREGUARD_PORT,
  type PolicyMatch,
} from '../../assembly/abi.js';
import { LookupNotify, TraceNotify } from '../../pkg/structs.js';
import { formatAddress, type Address } from '../addresses.js';
import type { SCHEMAS } from '../loader/present.js';
import { isIcmp, protocolName, type Tuple } from '../packet.js';
import type { Direction } from '../policy/rules.js';
import { decode, type Bytes } from '../wasm.js';

export interface TupleText {
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export const textOfTuple = ({ source, destination, protocol, sourcePort, destinationPort }: Tuple): TupleText => ({
  source: formatAddress(source),
  destination: formatAddress(destination),
  protocol: protocolName(protocol),
  sourcePort,
  destinationPort,
});

/** A record with its addresses in host order. */
export type TraceRecord = {
  [Field in keyof TraceNotify]: Field extends 'saddr' | 'daddr' ? Address : TraceNotify[Field];
};

/** An address as it lies in a record: an IPv4 one in the first four of its bytes. */
const addressOf = (family: number, bytes: bigint): Address => (family === Family.IPV6 ? bytes : Number(bytes >> 96n));

function decodeRecord(event: Uint8Array): TraceRecord {
  const record = decode(TraceNotify, event);
  const { family, saddr, daddr } = record;
  return { ...record, saddr: addressOf(family, saddr), daddr: addressOf(family, daddr) };
}

/** A record with the look-ups that led to it, and as much of the frame as was kept. */
export interface Recorded {
  readonly record: TraceRecord;
  readonly frame: Uint8Array;
  readonly lookups: readonly {
    readonly map: keyof typeof SCHEMAS;
    readonly key: Bytes;
    readonly value: Bytes | null;
  }[];
}

export function recordsOf(events: readonly Uint8Array[]): Recorded[] {
  const records: Recorded[] = [];
  let lookups: Recorded['lookups'][number][] = [];
  for (const event of events) {
    if (event[0] !== EventType.LOOKUP) {
      const record = decodeRecord(event);
      const frame = event.subarray(TraceNotify.size, TraceNotify.size + record.captured);
      records.push({ record, frame, lookups });
      lookups = [];
      continue;
    }
    const { map, keyLength, valueLength } = decode(LookupNotify, event);
    const at = LookupNotify.size;
    const key = String.fromCharCode(...event.subarray(at, at + keyLength));
    const value =
      valueLength === 0 ? null : String.fromCharCode(...event.subarray(at + keyLength, at + keyLength + valueLength));
    lookups.push({ map: map, key, value });
  }
  return records;
}

/** The tuple of a record. Of ICMP, its ports are the identifier of an echo and the type (`Tuple`). */
export function tupleIn({ saddr, daddr, protocol, sport, dport, icmpType }: TraceRecord): Tuple {
  const ends = { source: saddr, destination: daddr, protocol };
  return isIcmp(protocol)
    ? { ...ends, sourcePort: sport | dport, destinationPort: icmpType }
    : { ...ends, sourcePort: sport, destinationPort: dport };
}

/** What a policy decided, as `policy.canAccess` tells it. */
export interface Decided {
  readonly match: PolicyMatch;
  readonly direction: Direction;
  /** A `DropReason` that stands against it; 0 for none. */
  readonly reason: number;
  /** Whether it passed all the same. */
  readonly audited: boolean;
  /** Whether it goes to a proxy. */
  readonly redirected: boolean;
}

/** The decision in a record; null for a record of another step. */
export const decidedIn = ({ step, info }: TraceRecord): Decided | null =>
  step === (Step.POLICY as number)
    ? {
        match: info & 0xff,
        direction: ((info >>> 8) & 0xff) === (CtDirection.EGRESS as number) ? 'egress' : 'ingress',
        reason: (info >>> 16) & 0xff,
        audited: (info & PolicyBit.AUDITED) !== 0,
        redirected: (info & PolicyBit.REDIRECTED) !== 0,
      }
    : null;

export const tupleText = (record: TraceRecord): TupleText => textOfTuple(tupleIn(record));

/** The tuple around the packet: WireGuard's, or the tunnel's with `port`; null while it is in none. */
export const outerText = ({ outerSaddr, outerDaddr, outerSport }: TraceRecord, port: number): TupleText | null =>
  outerDaddr === 0
    ? null
    : {
        source: formatAddress(outerSaddr),
        destination: formatAddress(outerDaddr),
        protocol: 'UDP',
        sourcePort: outerSport,
        // WireGuard's device speaks from the port at which it listens, where no tunnel speaks from.
        destinationPort: outerSport === WIREGUARD_PORT ? WIREGUARD_PORT : port,
      };
