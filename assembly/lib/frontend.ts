/**
 * What direct server return tells a backend's node: which Service was asked, its address and port. It goes along in an IPv4
 * option, an IPv6 destination option, or an option of Geneve's. Cilium `bpf/lib/dsr.h`, `encap.h`.
 *
 *  0      4                      n      n+2    n+4
 *  +------+----------------------+------+------+
 *  | head | address, 4 or 16     | port | 0    |   Geneve (class 0x014b, type 0x81), IPv6 (type 0x1b)
 *  +------+----------------------+------+------+
 *  +------+------+------+
 *  | head | port | addr |                          IPv4 (type 0x9a): 8 bytes, both lowest byte first, as Cilium writes them
 *  +------+------+------+
 */
import { be16, ntohl, ntohs } from '../wire/bytes';
import { IPV4_LENGTH } from '../wire/ipv4';
import { Extension, Ipv6, IPV6_LENGTH, NextHeader } from '../wire/ipv6';
import { Context } from './packet';

/** The first two bytes of the IPv4 option: its type, to be copied to every fragment, and its length. */
const OPTION4: u32 = 0x089a;
/** Bytes of the IPv4 option. */
const OPTION4_LENGTH: u32 = 8;
/** Type and length of the IPv6 option, behind two bytes of the extension header around it. */
const OPTION6: u32 = 0x141b;
/** The first three bytes of the Geneve option: its class and its type, which is critical. */
const GENEVE_HEAD: u32 = 0x814b01;

/** Bytes of a header's four, the address, the port and two of padding. */
function lengthOf<A>(): u32 {
  return 8 + <u32>sizeof<A>();
}

/** Bytes that the packet's own header grows by. */
export function headerLength<A>(): u32 {
  return isVector<A>() ? lengthOf<A>() : OPTION4_LENGTH;
}

/** Bytes of the option in Geneve's header. */
export function optionLength<A>(): u32 {
  return lengthOf<A>();
}

function write<A>(at: usize, head: u32, address: A, port: u32): void {
  store<u32>(at, head);
  store<A>(at + 4, address);
  store<u32>(at + 4 + sizeof<A>(), port);
}

/** Writes Geneve's option at `at`. */
export function writeOption<A>(at: usize, address: A, port: u32): void {
  write<A>(at, GENEVE_HEAD | (((<u32>(4 + sizeof<A>())) >>> 2) << 24), address, port);
}

/** Writes the option at `at`, behind the fixed part of the packet's own header; `next` is what follows it there (IPv6). */
export function writeHeader<A>(at: usize, next: u32, address: A, port: u32): void {
  if (isVector<A>()) {
    write<A>(at, next | ((lengthOf<A>() / 8 - 1) << 8) | (OPTION6 << 16), address, port);
    return;
  }
  store<u32>(at, OPTION4 | (ntohs(port) << 16));
  store<u32>(at + 4, ntohl(<u32>address));
}

/** What the packet in hand told last. */
@unmanaged
class Told<A> {
  address: A;
  /** 0 for nothing. */
  port: be16;
  pad: u16;
}

function told<A>(): Told<A> {
  return changetype<Told<A>>(memory.data(offsetof<Told<A>>(), 16));
}

export function address<A>(): A {
  return told<A>().address;
}

/** Network order; 0 where the packet told nothing. */
export function port<A>(): u32 {
  return told<A>().port;
}

export function forget(): void {
  told<u32>().port = 0;
  told<v128>().port = 0;
}

/** Takes down what stands at `at`, behind the four bytes of a header. */
function read<A>(at: usize): void {
  told<A>().address = load<A>(at + 4);
  told<A>().port = load<u16>(at + 4 + sizeof<A>());
}

/** Takes down Geneve's option at `at`, whole. Whether it was one. */
export function readOption(at: usize): bool {
  const head = load<u32>(at);
  const words = head >>> 24;
  if ((head & 0xffffff) != GENEVE_HEAD) return false;
  if (words == 2) read<u32>(at);
  else if (words == 5) read<v128>(at);
  else return false;
  return true;
}

/** Takes down the option of the header of the packet in hand, parsed; in IPv6 the first extension header is looked at. */
export function readHeader<A>(ctx: Context<A>): void {
  const start = ctx.ip + (isVector<A>() ? IPV6_LENGTH : IPV4_LENGTH);
  told<A>().port = 0;
  if (isVector<A>()) {
    if (changetype<Ipv6>(ctx.ip).nextHeader != <u8>NextHeader.DESTINATION) return;
    const length = changetype<Extension>(start).lengthOf(NextHeader.DESTINATION);
    if (length == lengthOf<A>() && load<u16>(start + 2) == OPTION6) read<A>(start);
  } else {
    const length = <u32>(((<u32>load<u8>(ctx.ip)) & 0x0f) << 2);
    if (length < IPV4_LENGTH + OPTION4_LENGTH || load<u16>(start) != OPTION4) return;
    told<A>().port = <u16>ntohs(load<u16>(start + 2));
    told<A>().address = <A>ntohl(load<u32>(start + 4));
  }
}
