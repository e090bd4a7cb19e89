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
  [ReservedIdentity.WORLD_IPV4]: 'world-ipv4',
  [ReservedIdentity.WORLD_IPV6]: 'world-ipv6',
};

/** What an identity stands for, in words. */
import { ReservedIdentity } from '../../assembly/abi.js';
import { formatPrefix } from '../addresses.js';
import type { State } from '../state.js';

export function identityName(state: State, number: number): string {
  const reserved: string | undefined = RESERVED_NAMES[number as ReservedIdentity];
  if (reserved !== undefined) return reserved;
  const pods = state.identities.pods.find((identity) => identity.number === number);
  if (pods) return pods.example.workload.ref;
  const prefix = state.identities.prefixes.find((identity) => identity.number === number);
  if (prefix) return formatPrefix(prefix.prefix);
  const name = state.identities.fqdns.find((identity) => identity.number === number)?.fqdn;
  return name?.matchName ?? name?.matchPattern ?? `${number}`;
}
