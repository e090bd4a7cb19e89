/**
 * Addresses of both families. Code that serves both is generic over `A`, the address as loaded from the wire (network
 * order): `u32` for IPv4, `v128` for IPv6. The compiler makes one instance of it for each; `isVector<A>()` tells them apart.
 */
import { IPV4_LOOPBACK_WORD, MapId } from '../abi';
import { ntohl } from './bytes';

/** Bits of an address. */
export function bitsOf<A>(): u32 {
  return (<u32>sizeof<A>()) << 3;
}

/** The address that is nobody's: 0.0.0.0 or ::. */
export function unspecified<A>(): A {
  if (isVector<A>()) return i64x2.splat(0);
  return <A>0;
}

/** Source of a packet that a pod sends to itself through a Service. Cilium's defaults: 169.254.42.1, fe80::1. */
export function loopback<A>(): A {
  if (isVector<A>()) return i64x2(0x80fe, 0x0100000000000000);
  return <A>IPV4_LOOPBACK_WORD;
}

/** Whether an address is that of whoever asks: 127.0.0.0/8, ::1. */
export function isLoopback<A>(address: A): bool {
  if (isVector<A>()) return address == i64x2(0, 0x0100000000000000);
  return ((<u32>address) & 0xff) == 127;
}

/** Of a pair of maps, one a family, the one that holds this family's entries. `map` is that of IPv4; IPv6's is next to it. */
export function mapOf<A>(map: MapId): MapId {
  return isVector<A>() ? map + 1 : map;
}

/** Whether an address is IPv6's of one link only (fe80::/10). */
export function isLinkLocal<A>(address: A): bool {
  if (isVector<A>()) return (i32x4.extract_lane(address, 0) & 0xc0ff) == 0x80fe;
  return false;
}

/** 32 bits that stand for an address in a hash: IPv4's own, IPv6's four words combined. */
export function folded<A>(address: A): u32 {
  if (isVector<A>())
    return (
      i32x4.extract_lane(address, 0) ^
      i32x4.extract_lane(address, 1) ^
      i32x4.extract_lane(address, 2) ^
      i32x4.extract_lane(address, 3)
    );
  return <u32>address;
}

/** Clears the bits of the address at `at` beyond its first `length`. */
export function truncate<A>(at: usize, length: u32): void {
  for (let i: u32 = 0; i < bitsOf<A>(); i += 32) {
    const kept = length > i ? min<u32>(length - i, 32) : 0;
    const word = at + (i >>> 3);
    store<u32>(word, kept == 0 ? 0 : load<u32>(word) & ntohl((<u32>-1) << (32 - kept)));
  }
}
