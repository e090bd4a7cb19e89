/** HS3001 and HS7001: whether a policy of the mesh is about any pod, and whether anything of the mesh is before those. */
import { ROOT_NAMESPACE } from '../../manifests/istio.js';
import { isFor, proxyOf, type MeshPolicy } from '../../policy/mesh.js';
import { problem, type Problem } from '../../problems.js';
import type { State } from '../../state.js';
import { count, list, named } from '../../words.js';
import { slipHint, type Shapes } from './shapes.js';

export function checkMesh(state: State, shapes: Shapes): Problem[] {
  const { authorizationPolicies, peerAuthentications, requestAuthentications } = state.cluster;
  const ofPods = [...authorizationPolicies, ...requestAuthentications].filter(({ targetRefs }) => targetRefs === null);
  return [...ofPods, ...peerAuthentications].flatMap((policy) => checkPolicy(state, policy, shapes));
}

function checkPolicy({ cluster }: State, policy: MeshPolicy, shapes: Shapes): Problem[] {
  const { kind, metadata, selector } = policy;
  const { namespace, name } = metadata;
  const isOfMesh = namespace === ROOT_NAMESPACE;
  if (shapes.mayLack(isOfMesh ? null : namespace)) return [];
  const pods = cluster.pods.filter((pod) => !cluster.assumed.has(pod) && isFor(policy, pod));
  const subject = `${kind} ${named(name.value)}`;
  if (pods.length === 0) {
    if (!selector || shapes.all.length === 0) return [];
    const wanted = list([...selector].map(([key, { value }]) => named(`${key}: ${value}`)));
    const hint = slipHint(selector, isOfMesh ? shapes.all : shapes.in(namespace));
    const where = isOfMesh ? 'none of the mesh' : `none in namespace ${named(namespace)}`;
    const at = hint.slip ?? [...selector.values()][0]!.at;
    return [problem('HS3001', at, `${subject} selects no pod: ${where} has ${wanted}${hint.text}.`, hint)];
  }
  const without = pods.filter((pod) => proxyOf(cluster, pod) === 'none');
  if (without.length < pods.length || isOfMesh) return [];
  const refs = [...new Set(without.map(({ workload }) => named(workload.ref)))];
  const message = `${subject} has no effect: nothing of the mesh is before the ${count(without.length, 'pod')} of ${list(refs, 'and', 3)}.`;
  const fixes = [`label namespace ${named(namespace)} with \`istio-injection: enabled\``];
  return [problem('HS7001', name.at, message, { fixes })];
}
