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
  return prefix ? formatPrefix(prefix.prefix) : `${number}`;
}

/** Names of reserved identities. Cilium `pkg/identity`, `reservedIdentities`. */
export const RESERVED_NAMES: Readonly<Record<ReservedIdentity, string>> = {
  [ReservedIdentity.UNKNOWN]: 'unknown',
  [ReservedIdentity.HOST]: 'host',
  [ReservedIdentity.WORLD]: 'world',
  [ReservedIdentity.UNMANAGED]: 'unmanaged',
  [ReservedIdentity.HEALTH]: 'health',
  [ReservedIdentity.INIT]: 'init',
  [ReservedIdentity.REMOTE_NODE]: 'remote-node',
  [ReservedIdentity.KUBE_APISERVER]: 'kube-apiserver',
  [ReservedIdentity.INGRESS]: 'ingress',
};
