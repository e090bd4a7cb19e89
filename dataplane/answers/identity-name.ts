/** What an identity stands for, in words. */
import { ReservedIdentity } from '../../assembly/abi.js';
import { formatPrefix } from '../addresses.js';
import type { State } from '../state.js';

export function identityName(state: State, number: number): string {
  switch (number) {
    case ReservedIdentity.HOST:
      return 'host';
    case ReservedIdentity.WORLD:
      return 'world';
    case ReservedIdentity.REMOTE_NODE:
      return 'remote-node';
  }
  const pods = state.identities.pods.find((identity) => identity.number === number);
  if (pods) return pods.example.workload.ref;
  const prefix = state.identities.prefixes.find((identity) => identity.number === number);
  if (prefix) return formatPrefix(prefix.prefix);
  const name = state.identities.fqdns.find((identity) => identity.number === number)?.fqdn;
  return name?.matchName ?? name?.matchPattern ?? `${number}`;
}
