/** Whom policies of the mesh are about, and how that is told. */
import type { ClusterPod } from '../cluster/cluster.js';
import { isFor, proxyOf, type MeshPolicy } from '../policy/mesh.js';
import type { State } from '../state.js';
import { count } from '../words.js';

/** The pods that a policy is about, by its selector; none of one for a Gateway or a waypoint. */
export const podsOfMesh = ({ cluster }: State, policy: MeshPolicy): ClusterPod[] =>
  'targetRefs' in policy && policy.targetRefs
    ? []
    : cluster.pods.filter((pod) => !cluster.assumed.has(pod) && isFor(policy, pod));

/** `applies to 2 pods of 1 workload · 1 without a sidecar`. */
export function meshTitle({ cluster }: State, pods: readonly ClusterPod[]): string {
  if (pods.length === 0) return 'applies to no pod';
  const workloads = new Set(pods.map(({ workload }) => workload));
  const without = pods.filter((pod) => proxyOf(cluster, pod) === 'none');
  const idle = without.length > 0 ? ` · ${count(without.length, 'pod')} without a sidecar` : '';
  return `applies to ${count(pods.length, 'pod')} of ${count(workloads.size, 'workload')}${idle}`;
}
