/** Addresses and address blocks as Kubernetes takes them in manifests. */
import { contains as holds, covers, maskOf, parseAddress, parseCidr as parse, type Prefix } from '../addresses.js';
import { quote, type Fields } from './fields.js';
import type { Located } from './place.js';

/** An address block: its address as written, and the length of its prefix in bits. */
export type Cidr = Prefix;

/** IPv4 addresses written as IPv6 (::ffff:1.2.3.4). RFC 4291, section 2.5.5.2. */
const MAPPED: Prefix = { address: 0xffff_0000_0000n, length: 96 };

/** Kubernetes treats an IPv4 address written as IPv6 differently from place to place: it is taken for none. */
export function isAddress(text: string): boolean {
  const address = parseAddress(text);
  return address !== null && !holds(MAPPED, address);
}

export function parseCidr(text: string): Cidr | null {
  const cidr = parse(text);
  return cidr && !holds(MAPPED, cidr.address) ? cidr : null;
}

/** Whether the address has bits set beyond the prefix; Kubernetes accepts and ignores them. */
export const hasHostBits = ({ address, length }: Cidr): boolean => maskOf(length, address) !== address;

/** Whether every address of `inner` is one of `outer`. */
export const contains = covers;

/** The string of a field where it is an address. An empty one stands for none. */
export function readAddress(fields: Fields, name: string): Located<string> | null | undefined {
  const found = fields.string(name);
  if (!found || found.value === '') return found && null;
  return isAddress(found.value) ? found : fields.refuse('HS1010', name, `${quote(found.value)} is not an IP address.`);
}
