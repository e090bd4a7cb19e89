/** What differs between the address families, and who is outside of the cluster. */
import { data, fragment6, icmp, icmp6, ipv4, ipv6, type Layer } from './frames.js';

export const WORLD = [
  { v4: '203.0.113.9', v6: '2001:db8::9' },
  { v4: '203.0.113.200', v6: '2001:db8:ffff::1' },
  { v4: '192.0.2.7', v6: '2001:db8:2::7' },
];
/** Addresses of Services outside. */
export const LOAD_BALANCERS = ['1', '2', '3', '4', '5', '6', '9'].map((host) => ({
  v4: `198.51.100.${host}`,
  v6: `2001:db8:99::${host}`,
}));

export interface Family {
  readonly of: (end: { readonly v4: string; readonly v6: string }) => string;
  readonly ip: (source: string, destination: string, inner: Layer) => Layer;
  readonly echo: Layer;
  /** A piece of a packet; `offset` in units of 8 bytes. All have the same id. */
  readonly piece: (source: string, destination: string, inner: Layer, offset: number, more: boolean) => Layer;
}

export const FAMILIES: readonly Family[] = [
  {
    of: ({ v4 }) => v4,
    ip: ipv4,
    echo: icmp(8, data(16)),
    piece: (source, destination, inner, offset, more) =>
      ipv4(source, destination, inner, { fragment: offset | (more ? 0x2000 : 0) }),
  },
  {
    of: ({ v6 }) => v6,
    ip: ipv6,
    echo: icmp6(128, data(16)),
    piece: (source, destination, inner, offset, more) => ipv6(source, destination, fragment6(inner, offset, more)),
  },
];
