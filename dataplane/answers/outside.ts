/** The addresses outside the cluster, in ranges that no policy tells apart. */
import { ReservedIdentity } from '../../assembly/abi.js';
import {
  compareAddresses,
  contains,
  familyOf,
  lastOf,
  parsePrefix,
  plus,
  UNSPECIFIED,
  type Address,
  type Family,
  type Prefix,
} from '../addresses.js';
import type { ClusterService } from '../cluster/cluster.js';
import { joined, kept, keptEach, keptFor } from '../kept.js';
import type { Identities } from '../policy/identities.js';
import { prefixesIn, type Settings } from '../settings.js';
import { overStates, type State } from '../state.js';
import { insideOf } from './at.js';

/** Addresses outside the cluster that no policy tells apart: from `first` to `last`, all with one identity. */
export interface ExternalClass {
  readonly first: Address;
  readonly last: Address;
  readonly identity: number;
  /** One of them that is no pod's, node's or Service's. */
  readonly example: Address;
}

/** What is nobody's outside: 0.0.0.0, :: and ::1. RFC 1122, section 3.2.1.3; RFC 4291, section 2.5. */
const isNobodys = (address: Address): boolean => address === 0 || address === 0n || address === 1n;

/** The first address of a range that is not the cluster's own; none where all are. A range of nobody's addresses alone has its last. */
export const outsideIn = (state: State, first: Address, last: Address): Address[] =>
  firstOutside(insideOf(state), first, last);

function firstOutside(isInside: (address: Address) => boolean, first: Address, last: Address): Address[] {
  let address = first;
  while (address < last && isNobodys(address)) address = plus(address, 1);
  while (address <= last && isInside(address)) address = plus(address, 1);
  return address <= last ? [address] : [];
}

/** What two ranges of addresses of one family have in common; null for nothing. */
export function overlap(
  a: { readonly first: Address; readonly last: Address },
  b: { readonly first: Address; readonly last: Address },
): { readonly first: Address; readonly last: Address } | null {
  if (familyOf(a.first) !== familyOf(b.first)) return null;
  const first = a.first < b.first ? b.first : a.first;
  const last = a.last < b.last ? a.last : b.last;
  return first <= last ? { first, last } : null;
}

/**
 * The whole space of each family that the cluster has, cut where the policies' prefixes begin and end, and those of settings:
 * where pods are not masqueraded, and where kube-proxy refuses what no Service has. Addresses of the cluster's own lie in these
 * ranges too, and are never the example of one.
 */
export const externalClasses = keptFor((state: State): readonly ExternalClass[] => outsides(state).classes(state));

const outsides = overStates(() => new Outside());

/** The classes of states, which stay the very same while they are alike. */
class Outside {
  private readonly takenBy = keptEach(sourceRanges);
  private readonly taken = kept((lists: readonly (readonly Prefix[])[]) => joined(lists));
  private readonly stretches = kept(stretchesOf);
  private before: readonly ExternalClass[] = [];

  classes(state: State): readonly ExternalClass[] {
    const { cluster, identities, settings } = state;
    const { prefixes, world } = identities;
    // Whom load balancers take is no matter of identities.
    const taken = this.taken(this.takenBy(cluster.services));
    const isInside = insideOf(state);
    const classes: ExternalClass[] = [];
    for (const { first, last, identity, isCut } of this.stretches(cluster.families, prefixes, world, taken, settings)) {
      const [example] = firstOutside(isInside, first, last);
      if (example === undefined) continue;
      const before = classes.at(-1);
      if (before && before.identity === identity && plus(before.last, 1) === first && !isCut)
        classes[classes.length - 1] = { ...before, last };
      else classes.push({ first, last, identity, example });
    }
    const isSame = classes.length === this.before.length && classes.every((one, i) => sameClass(one, this.before[i]!));
    return isSame ? this.before : (this.before = classes);
  }
}

const sameClass = (a: ExternalClass, b: ExternalClass): boolean =>
  a.first === b.first && a.last === b.last && a.identity === b.identity && a.example === b.example;

const sourceRanges = ({ source }: ClusterService): readonly Prefix[] =>
  source.loadBalancerSourceRanges.flatMap(({ value }) => parsePrefix(value) ?? []);

/** Addresses between two cuts. `isCut`: where it begins, something else than an identity may be another. */
interface Stretch {
  readonly first: Address;
  readonly last: Address;
  readonly identity: number;
  readonly isCut: boolean;
}

function stretchesOf(
  families: readonly Family[],
  named: Identities['prefixes'],
  world: Identities['world'],
  taken: readonly Prefix[],
  { engine, serviceCIDR, nativeRoutingCIDR, 'ipMasqAgent.nonMasqueradeCIDRs': unmasqueraded }: Settings,
): readonly Stretch[] {
  const refused = engine === 'kube-proxy-nftables' ? [serviceCIDR] : [];
  const set = [...[nativeRoutingCIDR, ...unmasqueraded, ...refused].flatMap(prefixesIn), ...taken];
  return families.flatMap((family) => {
    const edgesOf = (prefixes: readonly Prefix[]): Address[] =>
      prefixes
        .filter(({ address }) => familyOf(address) === family)
        .flatMap((prefix) => [prefix.address, plus(lastOf(prefix), 1)]);
    const cuts = new Set(edgesOf(set));
    const whole = { address: UNSPECIFIED[family], length: 0 };
    const edges = new Set([...edgesOf([whole, ...named.map(({ prefix }) => prefix)]), ...cuts]);
    const sorted = [...edges].sort(compareAddresses);
    const identities = identitiesAt(sorted, named, world[family] ?? ReservedIdentity.WORLD);
    return sorted.slice(0, -1).map((first, i) => {
      return { first, last: plus(sorted[i + 1]!, -1), identity: identities[i]!, isCut: cuts.has(first) };
    });
  });
}

/** The identity of the longest prefix that holds each of some addresses of one family, which ascend, as the prefixes do. */
function identitiesAt(addresses: readonly Address[], named: Identities['prefixes'], world: number): number[] {
  const [first] = addresses;
  const ofFamily = named.filter(({ prefix }) => first !== undefined && familyOf(prefix.address) === familyOf(first));
  const around: Identities['prefixes'][number][] = [];
  let next = 0;
  return addresses.map((address) => {
    while (next < ofFamily.length && ofFamily[next]!.prefix.address <= address) around.push(ofFamily[next++]!);
    while (around.length > 0 && !contains(around.at(-1)!.prefix, address)) around.pop();
    return around.at(-1)?.number ?? world;
  });
}

/** The identity of the longest prefix that holds an address: what the ipcache would say of an outside address. */
export function identityAt(state: State, address: Address): number {
  let identity = state.identities.world[familyOf(address)] ?? ReservedIdentity.WORLD;
  let longest = -1;
  for (const { number, prefix } of state.identities.prefixes) {
    if (prefix.length > longest && contains(prefix, address)) {
      identity = number;
      longest = prefix.length;
    }
  }
  return identity;
}
