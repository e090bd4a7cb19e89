/** Addresses for what the manifests give none. */
import { contains, distance, plus, sizeOf, type Address, type Prefix } from '../addresses.js';
import { spread } from '../hash.js';

/**
 * Gives each name an address of a range, from number `first` on: the same for the same name, whatever else is there. The
 * range's last address, IPv4's broadcast, is nobody's.
 */
export function allocate(
  names: Iterable<string>,
  range: Prefix,
  first: number,
  taken: Iterable<Address>,
): Map<string, Address> {
  const count = sizeOf(range) - first - 1;
  const used = new Set<number>();
  for (const address of taken) {
    const offset = contains(range, address) ? distance(range.address, address) : -1;
    if (offset >= first && offset < first + count) used.add(offset);
  }
  const offsets = spread(names, first, count, used);
  return new Map([...offsets].map(([name, offset]) => [name, plus(range.address, offset)]));
}
