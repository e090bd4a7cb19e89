/** To a proxy of the node, and from it. Cilium `bpf/lib/proxy.h`, `bpf/lib/identity.h`. */
import { DROP, IDENTITY, MARK, PROGRAM, PROTOCOL } from './numbers.js';
import type { Journey } from './journey.js';
import type { Packet } from './packet.js';

/** To the proxy that listens at the port; with 0, whose connection it is. The mark has the port's first byte lowest. */
export function redirect(journey: Journey, port: number): number {
  const { protocol } = journey.packet!.flow;
  const swapped = ((port & 255) << 8) | (port >>> 8);
  journey.mark = (MARK.toProxy | (swapped << 16)) >>> 0;
  const hasSockets = protocol === PROTOCOL.tcp || protocol === PROTOCOL.udp;
  return port !== 0 && !hasSockets ? -DROP.proxyUnknownProtocol : PROGRAM.proxy;
}

/** Whether a proxy of that kind sent the packet. */
export const isFrom = ({ mark }: Journey, kind: number): boolean => (mark & MARK.magic) === kind;

/** Bits of an identity that a mark has; above stands the scope of those of prefixes. */
const MARKED = 0xffffff;

/** For whom a proxy speaks (`get_identity`). The whole of a prefix's identity is known by the address. */
export function identityOf({ tables, mark }: Journey, { flow }: Packet): number {
  const marked = ((mark & 0xff) << 16) | (mark >>> 16);
  const known = tables.remoteAt(flow.source)?.identity ?? IDENTITY.world;
  return (known & MARKED) === marked ? known : marked;
}
