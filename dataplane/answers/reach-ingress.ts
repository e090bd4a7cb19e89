/** What Ingresses expose: the workloads that their controllers lead to. */
import { classOf, controllersOf } from '../cluster/ingress.js';
import type { Ingress } from '../manifests/ingress.js';
import type { State } from '../state.js';
import { exposures } from './ingress/exposure.js';
import type { End, OpenPort } from './reach-ends.js';

/** An Ingress as an end that only sends: the pod of its controller does. */
export function ingressEnd(state: State, ingress: Ingress): End {
  const { namespace, name } = ingress.metadata;
  const ref = `ingress:${namespace}/${name.value}`;
  const [controller] = controllersOf(state.cluster, classOf(state.cluster, ingress));
  return { ref, kind: 'ingress', pods: [controller!], external: null, like: ref };
}

/** The ports of an end's pods to which an Ingress leads. */
export function portsBehind(state: State, ingress: Ingress, { pods }: End): OpenPort[] {
  const backends = exposures(state)
    .filter(({ route }) => route.ingress === ingress)
    .flatMap(({ port }) => port.backends);
  return backends.flatMap((one) =>
    pods.some(({ key }) => key === one.podKey) ? [{ protocol: 'TCP' as const, port: one.port }] : [],
  );
}
