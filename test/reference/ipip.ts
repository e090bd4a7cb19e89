/** A packet in an IP header of the same family (RFC 2003, RFC 2473), as direct server return sends it. */
import { addressAt, type Address } from './bytes.js';
import type { Journey } from './journey.js';
import { PROTOCOL } from './numbers.js';
import { ETHERNET } from './packet.js';
import { readLayer3 } from './read.js';

export interface IpInIp {
  readonly destination: Address;
  /** A frame of its own. */
  readonly inner: Uint8Array;
}

/** Null for any other packet, and where there is no such return. */
export function readIpInIp({ tables, frame }: Journey): IpInIp | null {
  if (tables.config.dsr?.dispatch !== 'ipip') return null;
  const outer = readLayer3(frame);
  if (typeof outer === 'number' || outer.piece === 'later') return null;
  const { version, protocol, bodyAt, end } = outer;
  if (protocol !== (version === 4 ? PROTOCOL.ipip : PROTOCOL.ipv6)) return null;
  return {
    destination: addressAt(frame, ETHERNET + (version === 4 ? 16 : 24), version),
    inner: Uint8Array.from([...frame.subarray(0, ETHERNET), ...frame.subarray(bodyAt, end)]),
  };
}
