/**
 * What kube-proxy does to a packet beside choosing its backend, where Cilium does otherwise. Kubernetes
 * `pkg/proxy/iptables`, `pkg/proxy/nftables`.
 */
import { contains, familyOf, type Address } from '../addresses.js';
import { rangeOf } from '../cluster/families.js';
import { isExternal } from '../loader/scopes.js';
import { isKubeProxy } from '../settings.js';
import type { State } from '../state.js';
import type { Outcome } from './probe.js';

/**
 * Whether a node sends a packet on in its own name:
 *
 * 1. a packet that would go back to its sender
 * 2. to a ClusterIP: from whoever is not known to be a pod, or, if the setting says so, from all
 * 3. to an address of a Service's for outside: with externalTrafficPolicy Cluster always, with Local the node's own
 */
export function masquerades({ settings }: State, { probe, frontend, backend }: Outcome): boolean {
  if (!isKubeProxy(settings) || !frontend?.service || !backend) return false;
  if (backend.address === probe.tuple.source) return true;
  const { kind } = probe.sender;
  const isPod = kind === 'unlisted' || (kind === 'pod' && !probe.sender.pod.hostNetwork);
  if (!isExternal(frontend.type)) return settings.masqueradeAll || (settings.localDetector && !isPod);
  if (frontend.service.source.externalTrafficPolicy === 'Cluster') return true;
  return kind === 'host' || (kind === 'pod' && !isPod);
}

/** Whether an address is one of the range of ClusterIPs that no Service has: kube-proxy's nftables then drop the packet. */
export const isUnallocated = (state: State, address: Address): boolean =>
  state.settings.engine === 'kube-proxy-nftables' &&
  isOfServices(state, address) &&
  !state.desired.frontends.some((one) => one.address === address);

/** Whether an address is one of the range of ClusterIPs. */
export const isOfServices = ({ settings }: State, address: Address): boolean =>
  contains(rangeOf(settings, 'serviceCIDR', familyOf(address)), address);
